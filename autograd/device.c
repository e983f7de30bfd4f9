// The processor's memory, and what every device says when its memory is full.
#include "autograd/device.h"

#include "autograd/block_cache.h"
#include "autograd/error.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

static const size_t HUGE_PAGE = 2u << 20;

/// Large blocks come from the system and go back to it: malloc would keep them, scattered over its
/// heap.
static bool is_large(size_t bytes) { return bytes >= HUGE_PAGE / 2; }

/// Whole pages; what is left over of a block after its huge ones is made of small ones.
static size_t in_pages(size_t bytes) {
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    return (bytes + page - 1) & ~(page - 1);
}

static void *system_allocate(size_t bytes) {
    if (!is_large(bytes)) return aligned_alloc(64, bytes);
    size_t padded = in_pages(bytes), whole = padded + HUGE_PAGE;
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
        munmap(block, in_pages(bytes));
    else
        free(block);
}

static void *new_block(Device *device, size_t bytes) {
    (void)device;
    return system_allocate(bytes);
}

static void free_block(Device *device, void *block, size_t bytes) {
    (void)device;
    system_release(block, bytes);
}

static void *cpu_allocate(Device *device, size_t bytes) {
    void *block = block_cache_take(device, bytes);
    if (block) return block;
    char capacity[128];
    double page = (double)sysconf(_SC_PAGESIZE);
    snprintf(capacity, sizeof capacity,
             "The machine has %.0f MiB, of which this process may have less (ulimit, container)",
             (double)sysconf(_SC_PHYS_PAGES) * page / 0x1p20);
    device_out_of_memory(device, bytes, capacity);
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
    static BlockCache cache = {.allocate = new_block,
                               .release = free_block,
                               .allowance = 256ll << 20,
                               .lock = PTHREAD_MUTEX_INITIALIZER};
    static Device device = {
        .name = "cpu",
        .cache = &cache,
        .allocate = cpu_allocate,
        .release = block_cache_give,
        .from_host = cpu_copy,
        .to_host = cpu_copy,
        .fill_zero = cpu_fill_zero,
        .synchronize = cpu_synchronize,
        .shares_host_memory = true,
    };
    return &device;
}

// ---- a full device

char *device_describe_memory(const int64_t bytes_by_kind[MEMORY_KINDS]) {
    const double mebibyte = 0x1p20;
    return format_string("weights %.1f MiB, gradients %.1f MiB, optimizer %.1f MiB, "
                         "activations %.1f MiB, workspace %.1f MiB",
                         (double)bytes_by_kind[MEMORY_WEIGHTS] / mebibyte,
                         (double)bytes_by_kind[MEMORY_GRADIENTS] / mebibyte,
                         (double)bytes_by_kind[MEMORY_OPTIMIZER] / mebibyte,
                         (double)bytes_by_kind[MEMORY_ACTIVATIONS] / mebibyte,
                         (double)bytes_by_kind[MEMORY_WORKSPACE] / mebibyte);
}

void device_out_of_memory(const Device *device, size_t bytes, const char *capacity) {
    char prepared[64] = "", *in_use = device_describe_memory(device->bytes_by_kind);
    if (device->bytes_prepared)
        snprintf(prepared, sizeof prepared, ", prepared weights %.1f MiB",
                 (double)device->bytes_prepared / 0x1p20);
    stop_program("out of memory on %s: %.1f MiB were asked for, beside what is in use: %s%s.\n%s.\n"
                 "What helps: a smaller training.per_device_train_batch_size with as much more "
                 "training.gradient_accumulation_steps (the updates stay the same), "
                 "model.recompute: all, model.dtype: bfloat16, a smaller data.model_max_length.",
                 device->name, (double)bytes / 0x1p20, in_use, prepared, capacity);
}
