// The processor's memory. Blocks are rounded up to eight size classes an octave and kept when freed: a step asks for the same
// sizes again, and fresh pages from the system cost more than most of the kernels that fill them.
#include "autograd/device.h"

#include "autograd/error.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

enum {
    CLASSES_PER_OCTAVE = 8,
    OCTAVES = 48,
    CLASSES = CLASSES_PER_OCTAVE * OCTAVES,
    SMALLEST_BITS = 6
};
static const size_t HUGE_PAGE = 2u << 20;
static const int64_t CACHE_ALLOWANCE = 256ll << 20;

typedef struct FreeList {
    void **blocks;
    int count, capacity;
} FreeList;

static FreeList free_lists[CLASSES];
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

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
    return (bits - SMALLEST_BITS) * CLASSES_PER_OCTAVE + (int)steps;
}

/// The size of a class's blocks: the inverse of size_class().
static size_t class_bytes(int class) {
    if (class == 0) return (size_t)1 << SMALLEST_BITS;
    size_t octave = (size_t)1 << (SMALLEST_BITS + (class - 1) / CLASSES_PER_OCTAVE);
    size_t steps = (size_t)((class - 1) % CLASSES_PER_OCTAVE + 1);
    return (octave + steps * (octave / CLASSES_PER_OCTAVE) + 63) & ~(size_t)63;
}

/// Large blocks come from the system and go back to it: malloc would keep them, scattered over its heap.
static bool is_large(size_t bytes) { return bytes >= HUGE_PAGE / 2; }

static void *system_allocate(size_t bytes) {
    if (!is_large(bytes)) return aligned_alloc(64, bytes);
    size_t padded = (bytes + HUGE_PAGE - 1) & ~(HUGE_PAGE - 1), whole = padded + HUGE_PAGE;
    char *start = mmap(NULL, whole, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (start == MAP_FAILED) return NULL;
    char *block = (char *)(((uintptr_t)start + HUGE_PAGE - 1) & ~(uintptr_t)(HUGE_PAGE - 1));
    if (block > start) munmap(start, (size_t)(block - start));
    if (block + padded < start + whole)
        munmap(block + padded, (size_t)(start + whole - block - padded));
    madvise(block, padded, MADV_HUGEPAGE);
    return block;
}

static void system_release(void *block, size_t bytes) {
    if (is_large(bytes))
        munmap(block, (bytes + HUGE_PAGE - 1) & ~(HUGE_PAGE - 1));
    else
        free(block);
}

static void trim_locked(Device *device) {
    for (int c = 0; c < CLASSES; c++) {
        for (int i = 0; i < free_lists[c].count; i++)
            system_release(free_lists[c].blocks[i], class_bytes(c));
        free_lists[c].count = 0;
    }
    device->bytes_cached = 0;
}

static void *cpu_allocate(Device *device, size_t bytes) {
    size_t rounded;
    int class = size_class(bytes, &rounded);
    CHECK(class < CLASSES, "a tensor of %zu bytes", bytes);
    pthread_mutex_lock(&lock);
    FreeList *list = &free_lists[class];
    void *block = NULL;
    if (list->count) {
        block = list->blocks[--list->count];
        device->bytes_cached -= (int64_t)rounded;
    } else {
        block = system_allocate(rounded);
        if (!block) {
            trim_locked(device);
            block = system_allocate(rounded);
        }
    }
    if (!block) {
        fprintf(stderr,
                "out of memory: %zu bytes for a tensor, beside %lld bytes in use for tensors and "
                "%lld for prepared weights. "
                "Use a smaller batch or sequence, bfloat16, or recompute.\n",
                bytes, (long long)device->bytes_in_use, (long long)device->bytes_prepared);
        exit(1);
    }
    device->bytes_in_use += (int64_t)rounded;
    if (device->bytes_in_use > device->bytes_peak) device->bytes_peak = device->bytes_in_use;
    pthread_mutex_unlock(&lock);
    return block;
}

static void cpu_release(Device *device, void *pointer, size_t bytes) {
    if (!pointer) return;
    size_t rounded;
    int class = size_class(bytes, &rounded);
    pthread_mutex_lock(&lock);
    FreeList *list = &free_lists[class];
    if (list->count == list->capacity) {
        list->capacity = list->capacity ? 2 * list->capacity : 8;
        list->blocks = checked_realloc(list->blocks, (size_t)list->capacity * sizeof *list->blocks);
    }
    list->blocks[list->count++] = pointer;
    device->bytes_in_use -= (int64_t)rounded;
    device->bytes_cached += (int64_t)rounded;
    if (device->bytes_cached > CACHE_ALLOWANCE + device->bytes_peak / 2) trim_locked(device);
    pthread_mutex_unlock(&lock);
}

static void cpu_copy(Device *device, void *to, const void *from, size_t bytes) {
    (void)device;
    if (bytes) memcpy(to, from, bytes);
}

static void cpu_fill_zero(Device *device, void *pointer, size_t bytes) {
    (void)device;
    if (bytes) memset(pointer, 0, bytes);
}

static void cpu_synchronize(Device *device) { (void)device; }

Device *device_cpu(void) {
    static Device device = {
        .name = "cpu",
        .allocate = cpu_allocate,
        .release = cpu_release,
        .from_host = cpu_copy,
        .to_host = cpu_copy,
        .fill_zero = cpu_fill_zero,
        .synchronize = cpu_synchronize,
    };
    return &device;
}

void device_reset_peak(Device *device) {
    pthread_mutex_lock(&lock);
    device->bytes_peak = device->bytes_in_use;
    pthread_mutex_unlock(&lock);
}

void device_trim(Device *device) {
    pthread_mutex_lock(&lock);
    trim_locked(device);
    pthread_mutex_unlock(&lock);
}
