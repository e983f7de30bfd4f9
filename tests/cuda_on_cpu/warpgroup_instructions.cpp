// A warpgroup's products and barriers in shared memory. Products wait in line until they are waited
// for; the thread that comes last computes them for all.
#include "warpgroup_instructions.h"
#include "block.h"

#include <cmath>
#include <cstring>
#include <deque>
#include <map>
#include <memory>
#include <utility>
#include <vector>

namespace {

enum { threads = 128, rows = 64, depth = 16, most_threads = 1024 };

// ---- barriers

/// What the 8 bytes of a barrier hold.
struct Barrier {
    uint16_t arrivals, missing;
    /// phases
    uint32_t complete;
};
static_assert(sizeof(Barrier) == sizeof(uint64_t));

/// What the threads of the block are at.
struct Waiting {
    std::vector<Thread *> threads;
    /// copies after which their thread arrives
    std::vector<std::vector<AsyncCopy>> copies;
};

/// Sums that products are adding to: their values are here until all of these are computed.
struct Sums {
    int n;
    std::vector<float> values; // [64,n]
    float *of_thread[threads];
    int products = 0;
};

struct Product {
    std::shared_ptr<Sums> sums;
    bool add, a_in_registers;
    float a[rows][depth];
    uint64_t a_address, b_address;
};

struct Warpgroup {
    bool begun = false;
    std::deque<std::vector<Product>> groups; // the last is not committed yet
    std::map<float *, std::shared_ptr<Sums>> sums;
};

thread_local std::map<Barrier *, Waiting> barriers;
thread_local Warpgroup warpgroups[most_threads / threads];
/// Threads that have waited for others' writes that products cannot see yet.
thread_local bool unseen[most_threads];

void release_all(Waiting *waiting) {
    for (Thread *thread : waiting->threads) block_release(thread);
    waiting->threads.clear();
}

void arrive(Barrier *barrier) {
    if (!barrier->missing) kernel_failed("an arrival at a barrier that is not open");
    if (--barrier->missing) return;
    barrier->missing = barrier->arrivals;
    barrier->complete++;
    release_all(&barriers[barrier]);
}

void finish_copies(Barrier *barrier) {
    for (const auto &copies : std::exchange(barriers[barrier].copies, {})) {
        block_copy(copies);
        arrive(barrier);
    }
}

Barrier *barrier_at(uint64_t *address) {
    if ((uintptr_t)address % sizeof *address) kernel_failed("a barrier at %p", (void *)address);
    return reinterpret_cast<Barrier *>(address);
}

// ---- matrices in shared memory

struct Descriptor {
    unsigned start, leading, stride;

    explicit Descriptor(uint64_t bits)
        : start((bits & 0x3fff) << 4), leading((bits >> 16 & 0x3fff) << 4),
          stride((bits >> 32 & 0x3fff) << 4) {
        if (bits >> 62 != 1) kernel_failed("wgmma: the matrix is not swizzled by 128 bytes");
        if (bits >> 49 & 7) kernel_failed("wgmma: a matrix that begins within 8 rows");
        if (start & 0x380)
            kernel_failed("wgmma: the matrix at %u does not begin with 8 rows", start);
    }
    /// A row's element, of rows that lie in one slab.
    float row_element(int row, int k) const {
        return at(start + row / 8 * stride + row % 8 * 128 + k * 2);
    }
    /// The same of a matrix whose columns lie in rows of slabs.
    float column_element(int n, int k) const {
        return at(start + n / 64 * leading + n % 64 * 2 + k / 8 * stride + k % 8 * 128);
    }

  private:
    static float at(unsigned address) {
        address ^= (address >> 7 & 7) << 4;
        __nv_bfloat16 value;
        memcpy(&value, block_shared() + address, sizeof value);
        return (float)value;
    }
};

// ---- products

Warpgroup *own_warpgroup() { return &warpgroups[block_thread() / threads]; }

/// Of a thread's element i of its row of 4s: where it is in a matrix of 64 rows.
int row_of(int thread, int i) { return thread / 32 * 16 + thread % 32 / 4 + i / 2 % 2 * 8; }
int column_of(int thread, int i) { return i / 4 * 8 + thread % 4 * 2 + i % 2; }

void compute(const Product &product) {
    Sums &sums = *product.sums;
    int n = sums.n;
    static thread_local float a[rows][depth], b[depth][256];
    Descriptor right(product.b_address);
    for (int k = 0; k < depth; k++)
        for (int j = 0; j < n; j++)
            b[k][j] = product.a_in_registers ? right.column_element(j, k) : right.row_element(j, k);
    if (product.a_in_registers) {
        memcpy(a, product.a, sizeof a);
    } else {
        Descriptor left(product.a_address);
        for (int row = 0; row < rows; row++)
            for (int k = 0; k < depth; k++) a[row][k] = left.row_element(row, k);
    }
    for (int row = 0; row < rows; row++) {
        float *to = &sums.values[(size_t)row * n];
        if (!product.add) memset(to, 0, n * sizeof *to);
        for (int k = 0; k < depth; k++)
            for (int j = 0; j < n; j++) to[j] += a[row][k] * b[k][j];
    }
}

/// Gives out what no product is left for.
void give_out(Warpgroup *group, const std::shared_ptr<Sums> &sums) {
    if (--sums->products) return;
    for (int thread = 0; thread < threads; thread++)
        for (int i = 0; i < sums->n / 2; i++)
            sums->of_thread[thread][i] =
                sums->values[(size_t)row_of(thread, i) * sums->n + column_of(thread, i)];
    group->sums.erase(sums->of_thread[0]);
}

struct Issue {
    float *c;
    int n;
    const unsigned *a;
    uint64_t a_address, b_address;
    bool add, unseen;
    Warpgroup *group;
};

std::shared_ptr<Sums> sums_of(Issue *const *all) {
    std::shared_ptr<Sums> &sums = all[0]->group->sums[all[0]->c];
    if (sums) {
        if (sums->n != all[0]->n)
            kernel_failed("wgmma: sums of %d columns and of %d", sums->n, all[0]->n);
        return sums;
    }
    sums = std::make_shared<Sums>();
    sums->n = all[0]->n;
    sums->values.resize((size_t)rows * sums->n);
    for (int thread = 0; thread < threads; thread++) {
        sums->of_thread[thread] = all[thread]->c;
        for (int i = 0; i < sums->n / 2; i++) {
            sums->values[(size_t)row_of(thread, i) * sums->n + column_of(thread, i)] =
                all[thread]->c[i];
            all[thread]->c[i] = NAN;
        }
    }
    return sums;
}

void issue_product(void *const *records) {
    auto all = reinterpret_cast<Issue *const *>(records);
    Issue &first = *all[0];
    Warpgroup *group = first.group;
    if (!group->begun) kernel_failed("wgmma without products_begin() before it");
    Product product = {};
    product.add = first.add;
    product.a_in_registers = first.a != nullptr;
    product.a_address = first.a_address;
    product.b_address = first.b_address;
    for (int thread = 0; thread < threads; thread++) {
        const Issue &issue = *all[thread];
        if (issue.unseen)
            kernel_failed("wgmma may not see what others wrote: show_to_products() is missing");
        if (issue.b_address != first.b_address || issue.a_address != first.a_address ||
            issue.add != first.add || issue.n != first.n)
            kernel_failed("wgmma: threads of a warpgroup ask for different products");
    }
    for (int thread = 0; thread < threads && first.a; thread++)
        for (int i = 0; i < 4; i++) {
            int row = thread / 32 * 16 + thread % 32 / 4 + i % 2 * 8;
            int column = thread % 4 * 2 + i / 2 * 8;
            unsigned pair = all[thread]->a[i];
            product.a[row][column] = cuda_on_cpu_bits<float>(pair << 16);
            product.a[row][column + 1] = cuda_on_cpu_bits<float>(pair & 0xffff0000u);
        }
    product.sums = sums_of(all);
    product.sums->products++;
    if (group->groups.empty()) group->groups.emplace_back();
    group->groups.back().push_back(std::move(product));
}

struct Meeting {
    Warpgroup *group;
    int groups;
};

void commit(void *const *records) {
    static_cast<Meeting *>(records[0])->group->groups.emplace_back();
}

void wait_for_groups(void *const *records) {
    auto *meeting = static_cast<Meeting *>(records[0]);
    Warpgroup *group = meeting->group;
    if (!group->groups.empty() && !group->groups.back().empty())
        kernel_failed("products are waited for that are in no group");
    while ((int)group->groups.size() - 1 > meeting->groups) {
        for (const Product &product : group->groups.front()) {
            compute(product);
            give_out(group, product.sums);
        }
        group->groups.pop_front();
    }
    if (meeting->groups == 0) group->begun = false;
}

void begin(void *const *records) { static_cast<Meeting *>(records[0])->group->begun = true; }

} // namespace

void warpgroups_begin_block() {
    barriers.clear();
    for (Warpgroup &group : warpgroups)
        if (!group.groups.empty() || group.begun) group = Warpgroup();
    memset(unseen, 0, sizeof unseen);
}

unsigned cuda_on_cpu_shared_address(const void *pointer) {
    return (unsigned)(static_cast<const unsigned char *>(pointer) - block_shared());
}

void cuda_on_cpu_barrier_open(uint64_t *barrier, unsigned arrivals) {
    Barrier opened = {(uint16_t)arrivals, (uint16_t)arrivals, 0};
    memcpy(barrier_at(barrier), &opened, sizeof opened);
}

void cuda_on_cpu_barrier_arrive(uint64_t *barrier) { arrive(barrier_at(barrier)); }

void cuda_on_cpu_barrier_arrive_with_copies(uint64_t *address) {
    Barrier *barrier = barrier_at(address);
    Waiting &waiting = barriers[barrier];
    waiting.copies.push_back(block_take_copies());
    if (!waiting.threads.empty()) finish_copies(barrier);
}

void cuda_on_cpu_barrier_wait(uint64_t *address, unsigned parity) {
    Barrier *barrier = barrier_at(address);
    unsigned wanted = parity & 1;
    if ((barrier->complete & 1) == wanted) finish_copies(barrier);
    while ((barrier->complete & 1) == wanted) {
        barriers[barrier].threads.push_back(block_running());
        block_wait("barrier_wait");
    }
    unseen[block_thread()] = true;
}

void cuda_on_cpu_show_to_products() { unseen[block_thread()] = false; }

void cuda_on_cpu_set_registers(int count) {
    if (count < 24 || count > 256 || count % 8)
        kernel_failed("setmaxnreg of %d: a multiple of 8 from 24 to 256 is allowed", count);
}

void cuda_on_cpu_products_begin() {
    Meeting meeting = {own_warpgroup(), 0};
    block_meet_warpgroup("wgmma.fence", &meeting, begin);
}

void cuda_on_cpu_products_commit() {
    Meeting meeting = {own_warpgroup(), 0};
    block_meet_warpgroup("wgmma.commit_group", &meeting, commit);
}

void cuda_on_cpu_products_wait(int groups) {
    Meeting meeting = {own_warpgroup(), groups};
    block_meet_warpgroup("wgmma.wait_group", &meeting, wait_for_groups);
}

void cuda_on_cpu_wgmma(float *c, int n, const unsigned *a, uint64_t a_address, uint64_t b_address,
                       bool add) {
    Issue issue = {c, n, a, a_address, b_address, add, unseen[block_thread()], own_warpgroup()};
    block_meet_warpgroup("wgmma", &issue, issue_product);
}
