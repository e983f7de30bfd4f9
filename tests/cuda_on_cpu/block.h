/// Inside the emulator: a grid of blocks of threads.
#pragma once
#include "cuda_runtime.h"

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
