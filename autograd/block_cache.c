#include "autograd/block_cache.h"

#include "autograd/error.h"

#include <string.h>

enum { CLASSES_PER_OCTAVE = 8, SMALLEST_BITS = 6 };

/// The class of a request and the size of that class's blocks.
static int size_class(size_t bytes, size_t *rounded) {
    if (bytes <= (size_t)1 << SMALLEST_BITS) {
        *rounded = (size_t)1 << SMALLEST_BITS;
        return 0;
    }
    int bits = 63 - __builtin_clzll(bytes - 1); // 2^bits <= bytes - 1 < 2^(bits+1)
    size_t step = ((size_t)1 << bits) / CLASSES_PER_OCTAVE;
    size_t steps = (bytes - 1 - ((size_t)1 << bits)) / step + 1;
    *rounded = (((size_t)1 << bits) + steps * step + 63) & ~(size_t)63;
    int class = (bits - SMALLEST_BITS) * CLASSES_PER_OCTAVE + (int)steps;
    CHECK(class < BLOCK_CACHE_CLASSES, "a block of %zu bytes", bytes);
    return class;
}

/// The size of a class's blocks: the inverse of size_class().
static size_t class_bytes(int class) {
    if (class == 0) return (size_t)1 << SMALLEST_BITS;
    size_t octave = (size_t)1 << (SMALLEST_BITS + (class - 1) / CLASSES_PER_OCTAVE);
    size_t steps = (size_t)((class - 1) % CLASSES_PER_OCTAVE + 1);
    return (octave + steps * (octave / CLASSES_PER_OCTAVE) + 63) & ~(size_t)63;
}

size_t block_cache_block_bytes(size_t bytes) {
    size_t rounded;
    size_class(bytes, &rounded);
    return rounded;
}

/// The class with kept blocks that none was taken from or given to for longest; -1: nothing is
/// kept.
static int stalest_class(const BlockCache *cache) {
    int stalest = -1;
    for (int c = 0; c < BLOCK_CACHE_CLASSES; c++)
        if (cache->free_lists[c].count &&
            (stalest < 0 || cache->free_lists[c].last_use < cache->free_lists[stalest].last_use))
            stalest = c;
    return stalest;
}

/// Gives back what was not used for longest until no more than `bytes` are kept.
static void trim_locked(Device *device, int64_t bytes) {
    BlockCache *cache = device->cache;
    for (int class; device->bytes_cached > bytes && (class = stalest_class(cache)) >= 0;) {
        BlockList *list = &cache->free_lists[class];
        int64_t size = (int64_t)class_bytes(class);
        while (list->count && device->bytes_cached > bytes) {
            cache->release(device, list->blocks[--list->count], (size_t)size);
            device->bytes_cached -= size;
        }
    }
}

static void remember_peak(Device *device) {
    device->bytes_peak = device->bytes_in_use;
    memcpy(device->bytes_by_kind_at_peak, device->bytes_by_kind, sizeof device->bytes_by_kind);
}

static void *take_locked(Device *device, int class, size_t rounded) {
    BlockCache *cache = device->cache;
    BlockList *list = &cache->free_lists[class];
    list->last_use = ++cache->uses;
    if (list->count) {
        device->bytes_cached -= (int64_t)rounded;
        return list->blocks[--list->count];
    }
    // What is kept must not make the memory that is held grow far beyond what was ever in use at
    // once.
    int64_t in_use = device->bytes_in_use + (int64_t)rounded;
    if (cache->allowance >= 0) trim_locked(device, device->bytes_peak + cache->allowance - in_use);
    void *block = cache->allocate(device, rounded);
    if (block || !device->bytes_cached) return block;
    trim_locked(device, 0);
    return cache->allocate(device, rounded);
}

void *block_cache_take(Device *device, size_t bytes) {
    size_t rounded;
    int class = size_class(bytes, &rounded);
    pthread_mutex_lock(&device->cache->lock);
    void *block = take_locked(device, class, rounded);
    if (block) {
        device->bytes_in_use += (int64_t)rounded;
        device->bytes_by_kind[MEMORY_WORKSPACE] += (int64_t)rounded;
        if (device->bytes_in_use > device->bytes_peak) remember_peak(device);
    }
    pthread_mutex_unlock(&device->cache->lock);
    return block;
}

void block_cache_give(Device *device, void *block, size_t bytes) {
    if (!block) return;
    BlockCache *cache = device->cache;
    size_t rounded;
    BlockList *list = &cache->free_lists[size_class(bytes, &rounded)];
    pthread_mutex_lock(&cache->lock);
    if (list->count == list->capacity) {
        list->capacity = list->capacity ? 2 * list->capacity : 8;
        list->blocks = checked_realloc(list->blocks, (size_t)list->capacity * sizeof *list->blocks);
    }
    list->blocks[list->count++] = block;
    list->last_use = ++cache->uses;
    device->bytes_in_use -= (int64_t)rounded;
    device->bytes_by_kind[MEMORY_WORKSPACE] -= (int64_t)rounded;
    device->bytes_cached += (int64_t)rounded;
    if (cache->allowance >= 0) trim_locked(device, cache->allowance + device->bytes_peak / 2);
    pthread_mutex_unlock(&cache->lock);
}

void block_cache_recount(Device *device, size_t bytes, MemoryKind from, MemoryKind to) {
    size_t rounded;
    size_class(bytes, &rounded);
    pthread_mutex_lock(&device->cache->lock);
    device->bytes_by_kind[from] -= (int64_t)rounded;
    device->bytes_by_kind[to] += (int64_t)rounded;
    // The block that made the peak now has its kind; one on its way to being freed does not change
    // what the peak was.
    if (device->bytes_in_use == device->bytes_peak && to != MEMORY_WORKSPACE) remember_peak(device);
    pthread_mutex_unlock(&device->cache->lock);
}

void block_cache_count_borrowed(Device *device, size_t bytes, MemoryKind kind, bool in_use) {
    int64_t counted = (int64_t)block_cache_block_bytes(bytes) * (in_use ? 1 : -1);
    pthread_mutex_lock(&device->cache->lock);
    device->bytes_in_use += counted;
    device->bytes_by_kind[kind] += counted;
    if (device->bytes_in_use > device->bytes_peak) remember_peak(device);
    pthread_mutex_unlock(&device->cache->lock);
}

void device_reset_peak(Device *device) {
    pthread_mutex_lock(&device->cache->lock);
    remember_peak(device);
    pthread_mutex_unlock(&device->cache->lock);
}

void device_trim(Device *device) {
    pthread_mutex_lock(&device->cache->lock);
    trim_locked(device, 0);
    pthread_mutex_unlock(&device->cache->lock);
}
