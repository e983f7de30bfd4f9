/// Inside the emulator: a grid of blocks of threads.
#pragma once
#include "cuda_runtime.h"

/// What a launch asked for.
struct Grid {
    const char *name; ///< of the kernel, a literal
    uint3 blocks, threads;
    size_t dynamic_shared; ///< bytes
    size_t most_shared;    ///< that a block may have in all
    void (*run)(const void *arguments);
    const void *arguments;
    uint64_t number; ///< counts launches
};

/// Executes all blocks. Device memory must be open.
void grid_run(const Grid &grid);

/// The kernel that is being executed by this thread, or NULL.
const char *grid_running();

/// Prints a message with the kernel, block and thread, and aborts.
[[noreturn]] void kernel_failed(const char *format, ...) __attribute__((format(printf, 1, 2)));

/// Whether the address is in the guard below a stack of the kernel that is being executed.
bool grid_fiber_overflowed(const void *address);
