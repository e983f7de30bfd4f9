/// Inside the emulator: a grid of blocks of threads.
#pragma once
#include "cuda_runtime.h"

#include <vector>

/// What a launch asked for.
struct Grid {
    /// of the kernel, a literal
    const char *name;
    uint3 blocks, threads;
    /// bytes
    size_t dynamic_shared;
    /// that a block may have in all
    size_t most_shared;
    void (*run)(const void *arguments);
    const void *arguments;
    /// counts launches
    uint64_t number;
};

/// Executes all blocks. Device memory must be open.
void grid_run(const Grid &grid);

/// The kernel that is being executed by this thread, or NULL.
const char *grid_running();

/// Prints a message with the kernel, block and thread, and aborts.
[[noreturn]] void kernel_failed(const char *format, ...) __attribute__((format(printf, 1, 2)));

/// Whether the address is in the guard below a stack of the kernel that is being executed.
bool grid_fiber_overflowed(const void *address);

// ---- for instructions, which a thread of the block that runs calls

struct Thread;

/// Of 16 bytes, zeros if there is nothing to copy.
struct AsyncCopy {
    void *to;
    const void *from;
    bool exists;
};

/// Its number in the block.
int block_thread();
Thread *block_running();
/// Until another thread releases this one. `what` is for messages.
void block_wait(const char *what);
void block_release(Thread *thread);
/// Where the multiprocessor's shared memory begins, a multiple of 1024.
unsigned char *block_shared();
/// The thread's copies that have not been waited for, which it has no more.
std::vector<AsyncCopy> block_take_copies();
void block_copy(const std::vector<AsyncCopy> &copies);
/// As cuda_on_cpu_meet(), for the 128 threads of a warpgroup.
void block_meet_warpgroup(const char *operation, void *record, void (*together)(void *const *));

/// Another block: warpgroup_instructions.cpp forgets what the last one left.
void warpgroups_begin_block();
