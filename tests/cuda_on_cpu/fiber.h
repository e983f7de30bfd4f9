/// Inside the emulator: fibers, each with a stack of its own, switched without system calls.
#pragma once
#include <cstddef>

struct Fiber {
    /// the stack pointer, where it is not running
    void *context = nullptr;
    /// lowest address; NULL for the thread's own stack
    char *stack = nullptr;
    size_t stack_bytes = 0;
    /// the address sanitizer's
    void *fake_stack = nullptr;
};

/// Gives the fiber a stack; its first switch calls `entry`, which must never return.
void fiber_create(Fiber *fiber, void (*entry)());
/// Goes on with `to`; returns when something switches back to `from`, the fiber that runs now.
void fiber_switch(Fiber *from, Fiber *to);
/// Must be the first call in `entry`.
void fiber_entered();
/// Whether the address lies in the guard below a fiber's stack.
bool fiber_overflowed(const Fiber *fiber, const void *address);
