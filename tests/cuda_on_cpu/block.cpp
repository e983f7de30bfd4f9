// One fiber runs threads from the first to the last for as long as none of them waits; a thread
// that waits keeps its fiber, and another fiber goes on with the next thread. A kernel without
// barriers is so a plain loop over blocks and threads on one fiber.
//
// Threads that can go on run before threads that have not started, so a warp's lanes follow one
// another from shuffle to shuffle. Blocks alternate between ascending and descending order of
// threads: a value read before another thread wrote it is still NaN in one of the two.
#include "block.h"

#include "autograd/error.h"
#include "fiber.h"
#include "sanitizers.h"
#include "warp_instructions.h"

#include <algorithm>
#include <cstdarg>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <utility>
#include <vector>

__thread uint3 threadIdx, blockIdx, blockDim, gridDim;

namespace {

enum { lanes = 32, warpgroup = 4 * lanes, most_threads = 1024 };

} // namespace

struct Thread : Fiber {
    int index = 0;              // in the block
    const char *wait = nullptr; // what it waits for
};

namespace {

/// Threads that do something together.
template <int SIZE> struct Team {
    int arrived;
    const char *operation;
    void *records[SIZE];
    Thread *waiting[SIZE];
};

/// Arrays are aligned to 32 bytes and no more, as ops/cuda/cuda.h promises.
struct SharedArray {
    const char *file;
    int line;
    size_t bytes;
    unsigned char *data;
};
const size_t shared_guard = 64, shared_space = 256 * 1024;

/// Threads that can go on, first come first; never more than a block has.
class Queue {
  public:
    bool empty() const { return first == last; }
    void push(Thread *thread) { threads[last++ % most_threads] = thread; }
    Thread *pop() { return threads[first++ % most_threads]; }

  private:
    Thread *threads[most_threads];
    unsigned first = 0, last = 0;
};

struct Executor {
    const Grid *grid = nullptr;
    Fiber host;
    Thread *running = nullptr;
    std::vector<Thread *> idle;
    Queue ready;

    int threads, started, ended;
    bool descending;
    uint64_t block, blocks;
    std::vector<Thread *> at_barrier, all;
    std::vector<Team<lanes>> warps;
    std::vector<Team<warpgroup>> warpgroups;
    std::vector<std::vector<AsyncCopy>> copies; // of each thread, that it has not waited for

    unsigned char *shared = nullptr;
    size_t shared_used, shared_asked;
    std::vector<SharedArray> arrays;
    unsigned char *dynamic;
};
thread_local Executor *current; // made once per host thread, kept

// ---- messages

void append(std::string *text, const char *format, ...) __attribute__((format(printf, 2, 3)));
void append(std::string *text, const char *format, ...) {
    char part[256];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(part, sizeof part, format, arguments);
    va_end(arguments);
    *text += part;
}

/// No thread can go on: says where they are.
[[noreturn]] void report_deadlock(Executor *e) {
    std::string text = "not all threads reach the same barrier:";
    std::vector<const char *> wait(e->threads, nullptr);
    for (Thread *t : e->all)
        if (t->wait) wait[t->index] = t->wait;
    for (int i = 0, groups = 0; i < e->threads && groups < 8; groups++) {
        int last = i;
        while (last + 1 < e->threads && wait[last + 1] == wait[i]) last++;
        append(&text, "%s threads %d to %d %s%s", groups ? "," : "", i, last,
               wait[i] ? "wait at " : "have ended", wait[i] ? wait[i] : "");
        i = last + 1;
    }
    kernel_failed("%s", text.c_str());
}

// ---- shared memory

unsigned char *shared_take(Executor *e, const char *file, int line, size_t bytes) {
    size_t rounded = (bytes + 31) / 32 * 32;
    e->shared_asked += rounded;
    if (e->shared_asked > e->grid->most_shared)
        kernel_failed("%zu bytes of shared memory, of %zu that a block may have", e->shared_asked,
                      e->grid->most_shared);
    // 32 modulo 64, so that more alignment than promised does not come by chance
    unsigned char *data = e->shared + ((e->shared_used + shared_guard + 63) / 64 * 64 + 32);
    e->shared_used = (size_t)(data - e->shared) + rounded + shared_guard;
    CHECK(e->shared_used <= shared_space, "too many arrays of shared memory");
    ASAN_UNPOISON_MEMORY_REGION(data, bytes);
    memset(data, 0xff, bytes);
    MARK_UNDEFINED(data, bytes);
    e->arrays.push_back({file, line, bytes, data});
    return data;
}

#if WITH_ADDRESS_SANITIZER
void check_guards(Executor *) {}
#else
bool is_untouched(const unsigned char *from, const unsigned char *to) {
    return std::all_of(from, to, [](unsigned char byte) { return byte == 0xff; });
}

void check_guards(Executor *e) {
    const unsigned char *end = e->shared; // of the array before
    for (size_t i = 0; i <= e->arrays.size(); i++) {
        const unsigned char *next =
            i < e->arrays.size() ? e->arrays[i].data : e->shared + e->shared_used;
        if (!is_untouched(end, next)) {
            const SharedArray &a = e->arrays[i ? i - 1 : 0];
            kernel_failed("a write out of bounds beside the shared array of %zu bytes at %s:%d",
                          a.bytes, a.file, a.line);
        }
        if (i < e->arrays.size()) end = next + e->arrays[i].bytes;
    }
}
#endif

void begin_shared(Executor *e) {
    if (!e->shared) {
        e->shared = static_cast<unsigned char *>(aligned_alloc(1024, shared_space));
        CHECK(e->shared, "no memory for shared memory");
        memset(e->shared, 0xff, shared_space);
        ASAN_POISON_MEMORY_REGION(e->shared, shared_space);
    }
    e->shared_used = e->shared_asked = 0;
    e->dynamic = nullptr;
    if (e->grid->dynamic_shared) e->dynamic = shared_take(e, "dynamic", 0, e->grid->dynamic_shared);
}

void end_shared(Executor *e) {
    if (e->arrays.empty()) return;
    check_guards(e);
    for (const SharedArray &a : e->arrays) {
        memset(a.data, 0xff, a.bytes);
        ASAN_POISON_MEMORY_REGION(a.data, a.bytes);
    }
    e->arrays.clear();
}

// ---- threads and blocks

void begin_block(Executor *e) {
    const uint3 &n = e->grid->blocks;
    blockIdx = {(unsigned)(e->block % n.x), (unsigned)(e->block / n.x % n.y),
                (unsigned)(e->block / n.x / n.y)};
    e->started = e->ended = 0;
    e->descending = (e->grid->number ^ e->block) & 1;
    for (auto &copies : e->copies) copies.clear();
    warpgroups_begin_block();
    begin_shared(e);
}

void set_thread(int index) {
    threadIdx = {(unsigned)index, 0, 0};
    if (threadIdx.x < blockDim.x) return; // no divisions in blocks of one dimension
    threadIdx = {index % blockDim.x, index / blockDim.x % blockDim.y,
                 index / (blockDim.x * blockDim.y)};
}

void fiber_main();

/// The fiber to go on with; `self` has nothing to do.
Fiber *choose(Executor *e) {
    if (!e->ready.empty()) return e->ready.pop();
    if (e->started < e->threads) {
        if (e->idle.empty()) {
            Thread *made = new Thread;
            fiber_create(made, fiber_main);
            return made;
        }
        Thread *next = e->idle.back();
        e->idle.pop_back();
        return next;
    }
    if (e->ended < e->threads) report_deadlock(e);
    return &e->host; // the grid is done
}

void go_on(Executor *e, Thread *self) {
    Fiber *next = choose(e);
    e->running = next == &e->host ? nullptr : static_cast<Thread *>(next);
    fiber_switch(self, next);
    e->running = self;
}

/// Until release() of this thread.
void wait(Executor *e, const char *what) {
    Thread *self = e->running;
    self->wait = what;
    go_on(e, self);
    set_thread(self->index);
}

void release(Executor *e, Thread *thread) {
    thread->wait = nullptr;
    e->ready.push(thread);
}

/// Runs one thread that has not started.
void run_thread(Executor *e, Thread *self) {
    int i = e->started++;
    self->index = e->descending ? e->threads - 1 - i : i;
    set_thread(self->index);
    e->grid->run(e->grid->arguments);
    e->ended++;
}

/// A fiber comes here whenever there are threads to start.
void fiber_main() {
    fiber_entered();
    Executor *e = current;
    Thread *self = e->running;
    e->all.push_back(self);
    for (;;) {
        while (e->ready.empty() && e->started < e->threads) {
            run_thread(e, self);
            if (e->ended < e->threads) continue;
            end_shared(e);
            if (++e->block < e->blocks) begin_block(e);
        }
        e->idle.push_back(self);
        go_on(e, self);
    }
}

} // namespace

void grid_run(const Grid &grid) {
    if (!current) current = new Executor;
    Executor *e = current;
    CHECK(!e->grid, "a kernel launched from a kernel");
    e->grid = &grid;
    blockDim = grid.threads;
    gridDim = grid.blocks;
    e->threads = (int)(grid.threads.x * grid.threads.y * grid.threads.z);
    e->block = 0;
    e->blocks = (uint64_t)grid.blocks.x * grid.blocks.y * grid.blocks.z;
    e->warps.assign((e->threads + lanes - 1) / lanes, {});
    e->warpgroups.assign((e->threads + warpgroup - 1) / warpgroup, {});
    e->copies.resize(e->threads);
    begin_block(e);
    Fiber *first = choose(e);
    e->running = static_cast<Thread *>(first);
    fiber_switch(&e->host, first);
    e->grid = nullptr;
}

const char *grid_running() { return current && current->grid ? current->grid->name : nullptr; }

void kernel_failed(const char *format, ...) {
    fflush(stdout);
    if (grid_running())
        fprintf(stderr,
                "kernel %s, block (%u, %u, %u) of (%u, %u, %u), %d threads, thread (%u, %u, %u): ",
                grid_running(), blockIdx.x, blockIdx.y, blockIdx.z, gridDim.x, gridDim.y, gridDim.z,
                current->threads, threadIdx.x, threadIdx.y, threadIdx.z);
    va_list arguments;
    va_start(arguments, format);
    vfprintf(stderr, format, arguments);
    va_end(arguments);
    fputc('\n', stderr);
    abort();
}

// ---- what kernels call

void *cuda_on_cpu_shared(const char *file, int line, size_t bytes) {
    Executor *e = current;
    for (const SharedArray &a : e->arrays)
        if (a.line == line && a.bytes == bytes && (a.file == file || !strcmp(a.file, file)))
            return a.data;
    return shared_take(e, file, line, bytes);
}

void *cuda_on_cpu_dynamic_shared() {
    if (!current->dynamic) kernel_failed("dynamic shared memory that the launch did not ask for");
    return current->dynamic;
}

int cuda_on_cpu_lane() { return current->running->index % lanes; }

void __syncthreads() {
    Executor *e = current;
    if ((int)e->at_barrier.size() + 1 < e->threads) {
        e->at_barrier.push_back(e->running);
        wait(e, "__syncthreads");
        return;
    }
    for (Thread *t : e->at_barrier) release(e, t);
    e->at_barrier.clear();
}

template <int SIZE>
static void meet(std::vector<Team<SIZE>> &teams, const char *operation, void *record,
                 void (*together)(void *const *), int count) {
    Executor *e = current;
    int index = e->running->index;
    Team<SIZE> *team = &teams[index / SIZE];
    if (team->arrived && team->operation != operation && strcmp(team->operation, operation) != 0)
        kernel_failed("lanes of one warp are at %s and at %s", team->operation, operation);
    team->operation = operation;
    team->records[index % SIZE] = record;
    if (team->arrived + 1 < count) {
        team->waiting[team->arrived++] = e->running;
        wait(e, operation);
        return;
    }
    if (together) together(team->records);
    int arrived = team->arrived;
    team->arrived = 0;
    for (int i = 0; i < arrived; i++) release(e, team->waiting[i]);
}

void cuda_on_cpu_meet(const char *operation, void *record, void (*together)(void *const *)) {
    if (current->threads % lanes)
        kernel_failed("%s in a block of %d threads: not all of a warp's lanes exist", operation,
                      current->threads);
    meet(current->warps, operation, record, together, lanes);
}

void block_meet_warpgroup(const char *operation, void *record, void (*together)(void *const *)) {
    if (current->threads % warpgroup)
        kernel_failed("%s in a block of %d threads: not all of a warpgroup's threads exist",
                      operation, current->threads);
    meet(current->warpgroups, operation, record, together, warpgroup);
}

void cuda_on_cpu_check_mask(const char *operation, unsigned mask) {
    if (mask != 0xffffffffu)
        kernel_failed("%s of mask %08x: only whole warps are allowed", operation, mask);
}

void __syncwarp(unsigned mask) {
    cuda_on_cpu_check_mask("__syncwarp", mask);
    int first = current->running->index / lanes * lanes; // the last warp may be a part of one
    meet(current->warps, "__syncwarp", nullptr, nullptr,
         std::min<int>(lanes, current->threads - first));
}

unsigned __ballot_sync(unsigned mask, int predicate) {
    struct Vote {
        bool given;
        unsigned all;
    } mine = {predicate != 0, 0};
    cuda_on_cpu_check_mask("__ballot_sync", mask);
    cuda_on_cpu_meet("__ballot_sync", &mine, [](void *const *records) {
        auto votes = reinterpret_cast<Vote *const *>(records);
        unsigned all = 0;
        for (int lane = 0; lane < lanes; lane++) all |= (unsigned)votes[lane]->given << lane;
        for (int lane = 0; lane < lanes; lane++) votes[lane]->all = all;
    });
    return mine.all;
}

void cuda_on_cpu_copy_async(void *to, const void *from, bool exists) {
    enum { bytes = 16 };
    if ((uintptr_t)to % bytes || (uintptr_t)from % bytes)
        kernel_failed("cp.async from %p to %p: both must be multiples of %d", from, to, bytes);
    memset(to, 0xff, bytes);
    MARK_UNDEFINED(to, bytes);
    current->copies[current->running->index].push_back({to, from, exists});
}

void block_copy(const std::vector<AsyncCopy> &copies) {
    for (const AsyncCopy &copy : copies) {
        if (copy.exists)
            memcpy(copy.to, copy.from, 16);
        else
            memset(copy.to, 0, 16);
    }
}

void cuda_on_cpu_wait_for_copies() { block_copy(block_take_copies()); }

std::vector<AsyncCopy> block_take_copies() {
    return std::exchange(current->copies[block_thread()], {});
}

int block_thread() { return current->running->index; }
Thread *block_running() { return current->running; }
void block_wait(const char *what) { wait(current, what); }
void block_release(Thread *thread) { release(current, thread); }
unsigned char *block_shared() { return current->shared; }

bool grid_fiber_overflowed(const void *address) {
    return current && current->running && fiber_overflowed(current->running, address);
}
