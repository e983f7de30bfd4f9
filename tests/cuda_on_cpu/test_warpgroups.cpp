// Products of a warpgroup and barriers in shared memory: what is defined is computed, what is
// missing shows.
#include "device_cases.h"
#include "ops/cuda/warpgroup_matrix.h"
#include "sanitizers.h"

enum { ROWS = 64, DEPTH = 64, SLACK = 1024 };

/// What a kernel leaves out.
enum Omission { NOTHING, THE_BEGIN, THE_COMMIT, THE_WAIT, THE_VIEW, THE_SWIZZLE };

static __device__ unsigned char *aligned(unsigned char *shared) {
    return shared + (SLACK - shared_address(shared) % SLACK) % SLACK;
}

/// Where a lane's number i of its tile is.
static __device__ int tile_row(int i) {
    return (int)(threadIdx.x / 32 * 16 + threadIdx.x % 32 / 4) + i / 2 % 2 * 8;
}
static __device__ int tile_column(int i) { return i / 4 * 8 + (int)threadIdx.x % 4 * 2 + i % 2; }

/// Rows of 64 columns to one slab.
static __device__ void stage(const bfloat16 *from, int rows, unsigned char *slab, bool swizzled) {
    for (int i = (int)threadIdx.x; i < rows * SLAB; i += WARPGROUP) {
        int row = i / SLAB, column = i % SLAB;
        int at = swizzled ? slab_offset(row, column) : row * SLAB_ROW_BYTES + column / 8 * 16;
        memcpy(slab + at + column % 8 * 2, from + i, 2);
    }
}

/// c += a b^T: a [64,64], b [8 N,64]
template <int N>
static __global__ void rows_kernel(const bfloat16 *a, const bfloat16 *b, float *c, int omission) {
    SHARED_ARRAY(unsigned char, space, SLACK + (ROWS + 8 * N) * SLAB_ROW_BYTES);
    unsigned char *left = aligned(space), *right = left + ROWS * SLAB_ROW_BYTES;
    stage(a, ROWS, left, omission != THE_SWIZZLE);
    stage(b, 8 * N, right, true);
    SHARED_ARRAY(uint64_t, barrier, 1);
    if (threadIdx.x == 0) barrier_open(barrier, WARPGROUP);
    __syncthreads();
    barrier_arrive(barrier);
    barrier_wait(barrier, 0);
    if (omission != THE_VIEW) show_to_products();
    float sums[N][4];
    for (int i = 0; i < 4 * N; i++) sums[i / 4][i % 4] = c[tile_row(i) * 8 * N + tile_column(i)];
    if (omission != THE_BEGIN) products_begin();
    for (int d = 0; d < DEPTH; d += 16)
        multiply_rows(sums, matrix_address(shared_address(left) + d * 2, 0),
                      matrix_address(shared_address(right) + d * 2, 0), true);
    if (omission != THE_COMMIT) products_commit();
    if (omission == THE_WAIT)
        products_wait<1>();
    else
        products_wait<0>();
    tile_changed(sums);
    for (int i = 0; i < 4 * N; i++) c[tile_row(i) * 8 * N + tile_column(i)] = sums[i / 4][i % 4];
}

/// c += a b: a [64,16], b [16,8 N], of whole slabs. The values are overwritten behind the wait, or
/// before it.
template <int N>
static __global__ void columns_kernel(const bfloat16 *a, const bfloat16 *b, float *c, bool early) {
    constexpr int slabs = 8 * N / SLAB;
    SHARED_ARRAY(unsigned char, space, SLACK + slabs * SLACK * 2);
    unsigned char *right = aligned(space);
    for (int row = 0; row < 16; row++)
        for (int column = (int)threadIdx.x; column < 8 * N; column += WARPGROUP)
            memcpy(right + column / SLAB * 16 * SLAB_ROW_BYTES + slab_offset(row, column % SLAB) +
                       column % 8 * 2,
                   b + row * 8 * N + column, 2);
    __syncthreads();
    show_to_products();
    unsigned left[4];
    for (int i = 0; i < 4; i++)
        memcpy(&left[i], a + tile_row(i % 2 * 2) * 16 + threadIdx.x % 4 * 2 + i / 2 * 8,
               sizeof left[i]);
    float sums[N][4];
    for (int i = 0; i < 4 * N; i++) sums[i / 4][i % 4] = c[tile_row(i) * 8 * N + tile_column(i)];
    products_begin();
    multiply_columns(sums, left, matrix_address(shared_address(right), 16 * SLAB_ROW_BYTES));
    products_commit();
    if (early && threadIdx.x == 0) memset(right, 0, 16 * SLAB_ROW_BYTES);
    products_wait<0>();
    tile_changed(sums);
    for (int i = 0; i < 4 * N; i++) c[tile_row(i) * 8 * N + tile_column(i)] = sums[i / 4][i % 4];
}

/// A small integer: sums are exact.
static float value(int i) { return (float)(i * 37 % 19 - 9); }

static std::vector<bfloat16> values(int count, int from) {
    std::vector<bfloat16> all((size_t)count);
    for (int i = 0; i < count; i++) all[(size_t)i] = __float2bfloat16(value(from + i));
    return all;
}

/// How many of the sums are wrong. b is [columns,depth], or [depth,columns].
template <typename Launch>
static int count_wrong(Launch launch, int columns, int depth, bool transposed) {
    cudaStream_t stream = make_stream();
    std::vector<bfloat16> a = values(ROWS * depth, 0), b = values(columns * depth, 5);
    std::vector<float> c((size_t)(ROWS * columns));
    for (size_t i = 0; i < c.size(); i++) c[i] = (float)(i % 23);
    bfloat16 *device_a = on_device(stream, a), *device_b = on_device(stream, b);
    float *device_c = on_device(stream, c);
    launch(stream, device_a, device_b, device_c);
    std::vector<float> got = to_host(stream, device_c, c.size());
    MARK_DEFINED(got.data(), got.size() * sizeof(float)); // looked at on purpose
    int wrong = 0;
    for (int row = 0; row < ROWS; row++)
        for (int n = 0; n < columns; n++) {
            float sum = c[(size_t)(row * columns + n)];
            for (int k = 0; k < depth; k++)
                sum += value(row * depth + k) *
                       value(5 + (transposed ? k * columns + n : n * depth + k));
            wrong += got[(size_t)(row * columns + n)] != sum;
        }
    assert_success(cudaFree(device_a));
    assert_success(cudaFree(device_b));
    assert_success(cudaFree(device_c));
    assert_success(cudaStreamDestroy(stream));
    return wrong;
}

template <int N> static int wrong_rows(int omission) {
    return count_wrong(
        [=](cudaStream_t stream, const bfloat16 *a, const bfloat16 *b, float *c) {
            LAUNCH(rows_kernel<N>, 1, WARPGROUP, 0, stream, a, b, c, omission);
        },
        8 * N, DEPTH, false);
}
template <int N> static int wrong_columns(bool early) {
    return count_wrong(
        [=](cudaStream_t stream, const bfloat16 *a, const bfloat16 *b, float *c) {
            LAUNCH(columns_kernel<N>, 1, WARPGROUP, 0, stream, a, b, c, early);
        },
        8 * N, 16, true);
}

static void warpgroups_multiply_rows_and_columns(void **) {
    assert_int_equal(wrong_rows<8>(NOTHING), 0);
    assert_int_equal(wrong_rows<12>(NOTHING), 0);
    assert_int_equal(wrong_rows<16>(NOTHING), 0);
    assert_int_equal(wrong_columns<8>(false), 0);
    assert_int_equal(wrong_columns<16>(false), 0);
    assert_int_equal(wrong_columns<24>(false), 0);
}

static void what_products_need_is_missed(void **) {
    assert_int_equal(wrong_rows<8>(THE_WAIT), ROWS * 64); // NaN
    assert_true(wrong_rows<8>(THE_SWIZZLE) > 0);
    assert_true(wrong_columns<8>(true) > 0); // read when they are waited for
    expect_death([] { wrong_rows<8>(THE_BEGIN); }, "without products_begin()");
    expect_death([] { wrong_rows<8>(THE_COMMIT); }, "that are in no group");
    expect_death([] { wrong_rows<8>(THE_VIEW); }, "show_to_products() is missing");
}

static __global__ void address_kernel(uint64_t bits, int columns) {
    SHARED_ARRAY(unsigned char, space, 4 * SLACK);
    memset(space, 0, 4 * SLACK);
    float sums[8][4] = {};
    unsigned left[4] = {};
    uint64_t address = matrix_address(shared_address(aligned(space)), SLACK) ^ bits;
    products_begin();
    if (columns && threadIdx.x / 32 == 1) address += 8 * SLAB_ROW_BYTES / 16;
    multiply_columns(sums, left, address);
    products_commit();
    products_wait<0>();
}

static void addresses_that_the_chip_would_misread_are_refused(void **) {
    launch_and_wait(address_kernel, WARPGROUP, (uint64_t)0, 0);
    expect_death([] { launch_and_wait(address_kernel, WARPGROUP, (uint64_t)3 << 62, 0); },
                 "not swizzled by 128 bytes");
    expect_death([] { launch_and_wait(address_kernel, WARPGROUP, (uint64_t)1 << 49, 0); },
                 "begins within 8 rows");
    expect_death([] { launch_and_wait(address_kernel, WARPGROUP, (uint64_t)128 >> 4, 0); },
                 "does not begin with 8 rows");
    expect_death([] { launch_and_wait(address_kernel, WARPGROUP, (uint64_t)0, 1); },
                 "ask for different products");
    expect_death([] { launch_and_wait(address_kernel, 96, (uint64_t)0, 0); },
                 "not all of a warpgroup's threads exist");
}

/// One half of the block copies number after number to a place, the other sums them up. With
/// `reckless` the former does not wait until the latter has read.
static __global__ void passing_kernel(const float *x, float *sums, int count, bool reckless) {
    SHARED_ARRAY(float, place, WARPGROUP * 4);
    SHARED_ARRAY(uint64_t, barriers, 2);
    uint64_t *full = &barriers[0], *empty = &barriers[1];
    if (threadIdx.x < 2) barrier_open(&barriers[threadIdx.x], WARPGROUP);
    __syncthreads();
    int thread = (int)threadIdx.x % WARPGROUP;
    float sum = 0;
    for (int i = 0; i < count; i++) {
        if (threadIdx.x < WARPGROUP) {
            if (!reckless) barrier_wait(empty, (unsigned)(i + 1) % 2);
            copy_async(place + thread * 4, x + (i * WARPGROUP + thread) * 4, true);
            barrier_arrive_with_copies(full);
        } else {
            barrier_wait(full, (unsigned)i % 2);
            for (int j = 0; j < 4; j++) sum += place[(WARPGROUP - 1 - thread) * 4 + j];
            barrier_arrive(empty);
        }
    }
    if (threadIdx.x >= WARPGROUP) sums[thread] = sum;
}

static int count_wrong_sums(bool reckless) {
    enum { COUNT = 7 };
    cudaStream_t stream = make_stream();
    std::vector<float> x(COUNT * WARPGROUP * 4);
    for (size_t i = 0; i < x.size(); i++) x[i] = value((int)i);
    float *device_x = on_device(stream, x),
          *sums = on_device(stream, std::vector<float>(WARPGROUP));
    LAUNCH(passing_kernel, 1, 2 * WARPGROUP, 0, stream, device_x, sums, (int)COUNT, reckless);
    std::vector<float> got = to_host(stream, sums, WARPGROUP);
    MARK_DEFINED(got.data(), got.size() * sizeof(float));
    int wrong = 0;
    for (int thread = 0; thread < WARPGROUP; thread++) {
        float sum = 0;
        for (int i = 0; i < 4 * COUNT; i++)
            sum += x[(size_t)(i / 4 * WARPGROUP + WARPGROUP - 1 - thread) * 4 + (size_t)i % 4];
        wrong += got[(size_t)thread] != sum;
    }
    assert_success(cudaFree(device_x));
    assert_success(cudaFree(sums));
    assert_success(cudaStreamDestroy(stream));
    return wrong;
}

static __global__ void unopened_kernel() {
    SHARED_ARRAY(uint64_t, barrier, 1);
    *barrier = 0;
    barrier_arrive(barrier);
}
static __global__ void lonely_kernel() {
    SHARED_ARRAY(uint64_t, barrier, 1);
    if (threadIdx.x == 0) barrier_open(barrier, 2);
    __syncthreads();
    if (threadIdx.x == 0) barrier_arrive(barrier);
    barrier_wait(barrier, 0);
}
static __global__ void registers_kernel() { take_registers<100>(); }

static void barriers_pass_on_what_was_copied(void **) {
    assert_int_equal(count_wrong_sums(false), 0);
    // phases that nobody waits for are lost
    expect_death([] { count_wrong_sums(true); }, "threads 128 to 255 wait at barrier_wait");
    expect_death([] { launch_and_wait(unopened_kernel, 1); }, "a barrier that is not open");
    expect_death([] { launch_and_wait(lonely_kernel, 4); }, "threads 0 to 3 wait at barrier_wait");
    expect_death([] { launch_and_wait(registers_kernel, 1); }, "setmaxnreg of 100");
}

int main() {
    const CMUnitTest tests[] = {
        cmocka_unit_test(warpgroups_multiply_rows_and_columns),
        cmocka_unit_test(what_products_need_is_missed),
        cmocka_unit_test(addresses_that_the_chip_would_misread_are_refused),
        cmocka_unit_test(barriers_pass_on_what_was_copied),
    };
    return cmocka_run_group_tests(tests, nullptr, nullptr);
}
