/// Memory kept for the next tensor: blocks of eight size classes an octave, freed and handed out
/// again. A training step asks for the same sizes again and again, and a system's own allocation
/// costs more than most kernels.
///
/// One cache per device, which it counts in (Device.bytes_in_use and so on). Any thread may call.
#pragma once
#include "autograd/device.h"

#include <pthread.h>

#ifdef __cplusplus
extern "C" {
#endif

enum { BLOCK_CACHE_CLASSES = 8 * 48 };

typedef struct BlockList {
    void **blocks;
    int count, capacity;
    /// when a block of this class was last taken or given
    uint64_t last_use;
} BlockList;

typedef struct BlockCache {
    /// new memory; NULL: there is none
    void *(*allocate)(Device *device, size_t bytes);
    void (*release)(Device *device, void *block, size_t bytes);
    /// Bytes kept beyond half of the peak, and held beyond the peak, before those not used for
    /// longest are given back; negative: kept until memory is short.
    int64_t allowance;
    pthread_mutex_t lock;
    uint64_t uses;
    BlockList free_lists[BLOCK_CACHE_CLASSES];
} BlockCache;

/// A block of at least that many bytes, counted as MEMORY_WORKSPACE. NULL if there is no memory
/// even after giving back what is kept.
void *block_cache_take(Device *device, size_t bytes);
/// Keeps a block that was taken with `bytes`. NULL is allowed.
void block_cache_give(Device *device, void *block, size_t bytes);
/// Counts a block that was taken with `bytes` as another kind of memory.
void block_cache_recount(Device *device, size_t bytes, MemoryKind from, MemoryKind to);
/// Counts memory that somebody else owns as in use (or no longer), as a block for so many bytes
/// would be.
void block_cache_count_borrowed(Device *device, size_t bytes, MemoryKind kind, bool in_use);
/// The bytes that a block for `bytes` really has.
size_t block_cache_block_bytes(size_t bytes);

#ifdef __cplusplus
}
#endif
