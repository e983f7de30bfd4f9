// A switch saves what the System V ABI lets a function rely on across a call, and nothing else:
// floating-point control words are the same for all fibers. (swapcontext makes a system call for
// the signal mask, which costs more than most kernels' work between two barriers.)
#include "fiber.h"

#include "sanitizers.h"

#include "autograd/error.h"

#include <cstdint>
#include <sys/mman.h>

// Thread-local arrays of a kernel and frames that the sanitizers widen; the memory is taken when
// touched.
static const size_t stack_bytes = 256 * 1024, guard_bytes = 64 * 1024;

#if defined(__x86_64__)
extern "C" void cuda_on_cpu_switch_stacks(void **from, void *to);
asm(R"(
    .text
    .type cuda_on_cpu_switch_stacks, @function
cuda_on_cpu_switch_stacks:
    push %rbp
    push %rbx
    push %r12
    push %r13
    push %r14
    push %r15
    mov %rsp, (%rdi)
    mov %rsi, %rsp
    pop %r15
    pop %r14
    pop %r13
    pop %r12
    pop %rbx
    pop %rbp
    ret
    .size cuda_on_cpu_switch_stacks, . - cuda_on_cpu_switch_stacks
)");

static void prepare(Fiber *fiber, void (*entry)()) {
    uintptr_t *top = reinterpret_cast<uintptr_t *>(fiber->stack + fiber->stack_bytes);
    top[-1] = 0; // where a return address would be: with it the stack is aligned as after a call
    top[-2] = reinterpret_cast<uintptr_t>(entry);
    for (int i = 3; i <= 8; i++) top[-i] = 0;
    fiber->context = top - 8;
}

static void switch_stacks(Fiber *from, Fiber *to) {
    cuda_on_cpu_switch_stacks(&from->context, to->context);
}
#else
#include <ucontext.h>

static void prepare(Fiber *fiber, void (*entry)()) {
    ucontext_t *context = new ucontext_t;
    getcontext(context);
    context->uc_stack.ss_sp = fiber->stack;
    context->uc_stack.ss_size = fiber->stack_bytes;
    makecontext(context, entry, 0);
    fiber->context = context;
}

static void switch_stacks(Fiber *from, Fiber *to) {
    if (!from->context) from->context = new ucontext_t;
    swapcontext(static_cast<ucontext_t *>(from->context), static_cast<ucontext_t *>(to->context));
}
#endif

#if WITH_ADDRESS_SANITIZER
static thread_local Fiber
    *left; // the fiber switched from, whose stack's bounds may have to be learnt

static void announce(Fiber *from, Fiber *to) {
    left = from;
    __sanitizer_start_switch_fiber(&from->fake_stack, to->stack, to->stack_bytes);
}

static void arrived(void *fake_stack) {
    const void *bottom;
    size_t bytes;
    __sanitizer_finish_switch_fiber(fake_stack, &bottom, &bytes);
    if (!left->stack) {
        left->stack = static_cast<char *>(const_cast<void *>(bottom));
        left->stack_bytes = bytes;
    }
}
#else
static void announce(Fiber *, Fiber *) {}
static void arrived(void *) {}
#endif

void fiber_create(Fiber *fiber, void (*entry)()) {
    void *memory = mmap(nullptr, guard_bytes + stack_bytes, PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    CHECK(memory != MAP_FAILED, "no memory for a fiber's stack");
    mprotect(memory, guard_bytes, PROT_NONE);
    fiber->stack = static_cast<char *>(memory) + guard_bytes;
    // Stacks that all began at the same distance from a multiple of a large power of two would
    // share a few sets of the caches.
    static unsigned made;
    fiber->stack_bytes = stack_bytes - made++ % 64 * (9 * 64);
    prepare(fiber, entry);
}

void fiber_entered() { arrived(nullptr); }

void fiber_switch(Fiber *from, Fiber *to) {
    announce(from, to);
    switch_stacks(from, to);
    arrived(from->fake_stack);
}

bool fiber_overflowed(const Fiber *fiber, const void *address) {
    const char *a = static_cast<const char *>(address);
    return fiber->stack && a < fiber->stack && a >= fiber->stack - guard_bytes;
}
