// The arena is reserved at once and protected as a whole: open for the time in which queued work
// runs, closed otherwise. Only the part that was ever handed out changes protection, so opening it
// is one short system call per wait of the host.
#include "device_memory.h"

#include "autograd/error.h"
#include "block.h"
#include "emulator.h"
#include "sanitizers.h"

#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <map>
#include <sys/mman.h>
#include <unistd.h>

namespace {

const size_t arena_bytes = (size_t)8 << 30;
const size_t alignment = 256; // what cudaMalloc gives
const size_t guard = 256;     // after every block
const size_t step = (size_t)2 << 20;

struct Block {
    /// asked for; with rounding and guard
    size_t bytes, whole;
    int device;
};

char *arena;
size_t opened_bytes; // what changes protection: multiples of `step`
int open_depth;
size_t limit = arena_bytes;
std::map<char *, Block> blocks;
std::map<char *, size_t> holes; // below `end`
char *end;                      // nothing was handed out from here on
std::map<const char *, size_t> pinned;
struct sigaction earlier;

void say(const char *text) { (void)!write(2, text, strlen(text)); }

void say_address(const void *address) {
    char text[19] = "0x0000000000000000";
    for (uintptr_t i = 17, a = (uintptr_t)address; i > 1; i--, a >>= 4)
        text[i] = "0123456789abcdef"[a & 15];
    say(text);
}

void on_fault(int number, siginfo_t *info, void *context) {
    const char *address = static_cast<const char *>(info->si_addr);
    const char *kernel = grid_running();
    if (device_memory_has(address) && !open_depth) {
        say("device memory at ");
        say_address(address);
        say(" was touched from host code\n");
        abort();
    }
    if (kernel) {
        say("kernel ");
        say(kernel);
        say(grid_fiber_overflowed(address)
                ? ": a thread's stack is full (too large local arrays), at "
                : ": a thread touched no memory of the device, at ");
        say_address(address);
        say("\n");
    }
    if (earlier.sa_flags & SA_SIGINFO && earlier.sa_sigaction) {
        earlier.sa_sigaction(number, info, context);
        return;
    }
    sigaction(number, &earlier, nullptr); // the same fault again ends the program
}

/// A thread whose stack is full has no room for the handler.
void give_signal_stack() {
    stack_t now;
    if (sigaltstack(nullptr, &now) || !(now.ss_flags & SS_DISABLE)) return;
    stack_t own = {};
    own.ss_size = 64 * 1024;
    own.ss_sp = malloc(own.ss_size);
    if (own.ss_sp) sigaltstack(&own, nullptr);
}

/// Again whenever memory is opened: test frameworks set handlers of their own for every test.
void watch_faults() {
    struct sigaction now, action = {};
    if (sigaction(SIGSEGV, nullptr, &now) || now.sa_sigaction == on_fault) return;
    earlier = now;
    action.sa_sigaction = on_fault;
    action.sa_flags = SA_SIGINFO | SA_ONSTACK;
    sigaction(SIGSEGV, &action, nullptr);
}

void reserve() {
    if (arena) return;
    void *memory = mmap(nullptr, arena_bytes + step, PROT_NONE,
                        MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    CHECK(memory != MAP_FAILED, "no address space for device memory");
    arena = (char *)(((uintptr_t)memory + step - 1) / step * step);
    end = arena;
    give_signal_stack();
}

void protect(int protection) {
    if (opened_bytes) mprotect(arena, opened_bytes, protection);
}

/// Makes the arena's used part reach `to`.
void grow(char *to) {
    size_t bytes = ((size_t)(to - arena) + step - 1) / step * step;
    if (bytes <= opened_bytes) return;
    mprotect(arena + opened_bytes, bytes - opened_bytes, PROT_READ | PROT_WRITE);
    madvise(arena + opened_bytes, bytes - opened_bytes, MADV_HUGEPAGE); // fewer entries to change
    ASAN_POISON_MEMORY_REGION(arena + opened_bytes, bytes - opened_bytes);
    opened_bytes = bytes;
}

/// A hole that is large enough, or room at the end; NULL when full.
char *find_room(size_t whole) {
    for (auto hole = holes.begin(); hole != holes.end(); ++hole) {
        if (hole->second < whole) continue;
        char *start = hole->first;
        if (hole->second > whole) holes[start + whole] = hole->second - whole;
        holes.erase(hole);
        return start;
    }
    if ((size_t)(end - arena) + whole > arena_bytes) return nullptr;
    char *start = end;
    end += whole;
    grow(end);
    return start;
}

void add_hole(char *start, size_t bytes) {
    auto next = holes.lower_bound(start);
    if (next != holes.end() && next->first == start + bytes) {
        bytes += next->second;
        next = holes.erase(next);
    }
    if (next != holes.begin()) {
        auto before = std::prev(next);
        if (before->first + before->second == start) {
            before->second += bytes;
            return;
        }
    }
    holes[start] = bytes;
}

std::map<char *, Block>::iterator block_at(const void *pointer) {
    char *p = static_cast<char *>(const_cast<void *>(pointer));
    auto after = blocks.upper_bound(p);
    if (after == blocks.begin()) return blocks.end();
    auto block = std::prev(after);
    return p <= block->first + block->second.bytes ? block : blocks.end();
}

void check_guard(char *start, const Block &block) {
    if (WITH_ADDRESS_SANITIZER) return;
    for (char *p = start + block.bytes; p < start + block.whole; p++)
        if (*p != (char)0xff)
            kernel_failed("a write %td bytes past the end of a block of %zu bytes of device memory",
                          p - start - (ptrdiff_t)block.bytes, block.bytes);
}

} // namespace

DeviceMemoryOpen::DeviceMemoryOpen() {
    if (open_depth++) return;
    watch_faults();
    protect(PROT_READ | PROT_WRITE);
}

DeviceMemoryOpen::~DeviceMemoryOpen() {
    if (!--open_depth) protect(PROT_NONE);
}

DeviceMemoryClosed::DeviceMemoryClosed() : depth(open_depth) {
    open_depth = 0;
    protect(PROT_NONE);
}

DeviceMemoryClosed::~DeviceMemoryClosed() {
    open_depth = depth;
    if (depth) protect(PROT_READ | PROT_WRITE);
}

void *device_memory_take(int device, size_t bytes) {
    reserve();
    if (bytes > arena_bytes || device_memory_in_use(device) + bytes > limit) return nullptr;
    DeviceMemoryOpen open;
    size_t whole = (bytes + guard + alignment - 1) / alignment * alignment;
    char *start = find_room(whole);
    if (!start) return nullptr;
    blocks[start] = {bytes, whole, device};
    ASAN_UNPOISON_MEMORY_REGION(start, whole);
    memset(start, 0xff, whole);
    ASAN_POISON_MEMORY_REGION(start, whole);
    ASAN_UNPOISON_MEMORY_REGION(start, bytes);
    MARK_UNDEFINED(start, bytes);
    return start;
}

bool device_memory_give_back(void *pointer) {
    auto block = blocks.find(static_cast<char *>(pointer));
    if (block == blocks.end()) return false;
    DeviceMemoryOpen open;
    check_guard(block->first, block->second);
    ASAN_UNPOISON_MEMORY_REGION(pointer, block->second.bytes); // a cache may have handed out less
    memset(pointer, 0xff, block->second.bytes);
    ASAN_POISON_MEMORY_REGION(pointer, block->second.whole);
    add_hole(block->first, block->second.whole);
    blocks.erase(block);
    return true;
}

int device_memory_owner(const void *pointer, size_t bytes) {
    auto block = block_at(pointer);
    if (block == blocks.end()) return -1;
    size_t left = (size_t)(block->first + block->second.bytes - static_cast<const char *>(pointer));
    return bytes <= left ? block->second.device : -1;
}

bool device_memory_has(const void *pointer) {
    const char *p = static_cast<const char *>(pointer);
    return arena && p >= arena && p < arena + arena_bytes;
}

size_t device_memory_in_use(int device) {
    size_t sum = 0;
    for (const auto &block : blocks)
        if (block.second.device == device) sum += block.second.bytes;
    return sum;
}

size_t device_memory_limit() { return limit; }
void device_memory_set_limit(size_t bytes) { limit = bytes ? bytes : arena_bytes; }

void device_memory_check_guards() {
    DeviceMemoryOpen open;
    for (const auto &block : blocks) check_guard(block.first, block.second);
}

void pinned_memory_add(void *pointer, size_t bytes) {
    pinned[static_cast<char *>(pointer)] = bytes;
}

bool pinned_memory_remove(void *pointer) { return pinned.erase(static_cast<char *>(pointer)) == 1; }

size_t pinned_memory_bytes() {
    size_t bytes = 0;
    for (const auto &range : pinned) bytes += range.second;
    return bytes;
}

bool pinned_memory_overlaps(const void *pointer, size_t bytes) {
    const char *p = static_cast<const char *>(pointer);
    auto next = pinned.lower_bound(p + bytes);
    if (next == pinned.begin()) return false;
    auto before = std::prev(next);
    return before->first + before->second > p;
}

bool pinned_memory_has(const void *pointer, size_t bytes) {
    const char *p = static_cast<const char *>(pointer);
    auto next = pinned.upper_bound(p);
    if (next == pinned.begin()) return false;
    auto before = std::prev(next);
    return p + bytes <= before->first + before->second;
}

bool cuda_on_cpu_is_device_memory(const void *pointer, size_t bytes) {
    return device_memory_owner(pointer, bytes) >= 0;
}

void cuda_on_cpu_limit_memory(size_t bytes) { device_memory_set_limit(bytes); }

void cuda_on_cpu_check_argument(const char *kernel, int position, const volatile void *pointer) {
    const void *p = const_cast<const void *>(pointer);
    if (!p || device_memory_has(p) || pinned_memory_has(p, 0)) return;
    kernel_failed("kernel %s, argument %d: %p is neither device nor pinned memory", kernel,
                  position, p);
}
