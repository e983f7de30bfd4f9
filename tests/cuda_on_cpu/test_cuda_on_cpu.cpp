// What kernels do: the emulator finds what a GPU would leave undefined, and computes what is defined.
#include "device_cases.h"
#include "sanitizers.h"

#include <mma.h>

static const bool address_sanitizer = WITH_ADDRESS_SANITIZER;

// ---- what is defined is computed

static __global__ void sum_kernel(const float *x, int n, float *sums) {
    float sum = 0;
    for (int i = threadIdx.x + blockIdx.x * blockDim.x; i < n; i += gridDim.x * blockDim.x)
        sum += x[i];
    sum = block_sum(sum);
    float largest = block_max((float)threadIdx.x);
    if (threadIdx.x == blockDim.x / 2) sums[blockIdx.x] = sum + largest;
}

static void blocks_sum_with_shuffles_and_barriers(void **) {
    cudaStream_t stream = make_stream();
    std::vector<float> x(10000);
    for (size_t i = 0; i < x.size(); i++) x[i] = (float)(i % 7);
    float *device_x = on_device(stream, x);
    for (unsigned threads : {32u, 96u, 1024u}) {
        float *sums = on_device(stream, std::vector<float>(3));
        LAUNCH(sum_kernel, 3, threads, 0, stream, device_x, (int)x.size(), sums);
        std::vector<float> y = to_host(stream, sums, 3), expected(3);
        for (size_t i = 0; i < x.size(); i++) expected[i / threads % 3] += x[i];
        for (int i = 0; i < 3; i++) assert_float_equal(y[i], expected[i] + (float)(threads - 1), 0);
        assert_success(cudaFree(sums));
    }
    assert_success(cudaFree(device_x));
    assert_success(cudaStreamDestroy(stream));
}

static __global__ void shuffle_kernel(int *y) {
    int lane = threadIdx.x;
    y[lane] = __shfl_sync(0xffffffffu, 100 + lane, 5);
    y[32 + lane] = __shfl_xor_sync(0xffffffffu, 100 + lane, 3);
    y[64 + lane] = __shfl_down_sync(0xffffffffu, 100 + lane, 4);
    y[96 + lane] = __shfl_up_sync(0xffffffffu, 100 + lane, 1);
    y[128 + lane] = (int)__ballot_sync(0xffffffffu, lane % 2);
    y[160 + lane] = __shfl_sync(0xffffffffu, 100 + lane, 1, 8);
    y[192 + lane] = (int)(__shfl_sync(0xffffffffu, 1e10 + lane, 7) - 1e10);
}

static void shuffles_move_values_between_lanes(void **) {
    cudaStream_t stream = make_stream();
    int *device_y = on_device(stream, std::vector<int>(224));
    LAUNCH(shuffle_kernel, 1, 32, 0, stream, device_y);
    std::vector<int> y = to_host(stream, device_y, 224);
    for (int lane = 0; lane < 32; lane++) {
        assert_int_equal(y[lane], 105);
        assert_int_equal(y[32 + lane], 100 + (lane ^ 3));
        assert_int_equal(y[64 + lane], lane < 28 ? 104 + lane : 100 + lane);
        assert_int_equal(y[96 + lane], lane ? 99 + lane : 100);
        assert_int_equal(y[128 + lane], (int)0xaaaaaaaa);
        assert_int_equal(y[160 + lane], 100 + lane / 8 * 8 + 1);
        assert_int_equal(y[192 + lane], 7);
    }
    assert_success(cudaFree(device_y));
    assert_success(cudaStreamDestroy(stream));
}

static __global__ void index_kernel(int *y) {
    int block = (int)(blockIdx.x + gridDim.x * (blockIdx.y + gridDim.y * blockIdx.z));
    int thread = (int)(threadIdx.x + blockDim.x * (threadIdx.y + blockDim.y * threadIdx.z));
    y[block * (int)(blockDim.x * blockDim.y * blockDim.z) + thread] = block * 1000 + thread;
}

static void every_thread_of_every_block_runs_once(void **) {
    cudaStream_t stream = make_stream();
    int *device_y = on_device(stream, std::vector<int>(30 * 24, -1));
    LAUNCH(index_kernel, dim3(2, 3, 5), dim3(4, 3, 2), 0, stream, device_y);
    std::vector<int> y = to_host(stream, device_y, 30 * 24);
    for (int i = 0; i < 30 * 24; i++) assert_int_equal(y[i], i / 24 * 1000 + i % 24);
    assert_success(cudaFree(device_y));
    assert_success(cudaStreamDestroy(stream));
}

using namespace nvcuda::wmma;

template <typename LayoutA, typename LayoutB>
static __global__ void product_kernel(const bfloat16 *a, const bfloat16 *b, float *c,
                                      layout_t layout) {
    fragment<matrix_a, 16, 16, 16, bfloat16, LayoutA> fragment_a;
    fragment<matrix_b, 16, 16, 16, bfloat16, LayoutB> fragment_b;
    fragment<accumulator, 16, 16, 16, float> sum;
    fill_fragment(sum, 0.0f);
    for (int k = 0; k < 32; k += 16) {
        load_matrix_sync(fragment_a, a + (std::is_same_v<LayoutA, row_major> ? k : k * 16),
                         std::is_same_v<LayoutA, row_major> ? 32 : 16);
        load_matrix_sync(fragment_b, b + (std::is_same_v<LayoutB, row_major> ? k * 16 : k),
                         std::is_same_v<LayoutB, row_major> ? 16 : 32);
        mma_sync(sum, fragment_a, fragment_b, sum);
    }
    for (int i = 0; i < sum.num_elements; i++) sum.x[i] *= 2;
    store_matrix_sync(c, sum, 16, layout);
}

template <typename LayoutA, typename LayoutB>
static void check_product(cudaStream_t stream, layout_t layout) {
    std::vector<bfloat16> a(16 * 32), b(32 * 16);
    std::vector<float> expected(16 * 16);
    auto value = [](int i) { return (float)(i * 37 % 19 - 9); }; // small integers: sums are exact
    for (int row = 0; row < 16; row++)
        for (int k = 0; k < 32; k++) {
            a[std::is_same_v<LayoutA, row_major> ? row * 32 + k : k * 16 + row] =
                __float2bfloat16(value(row * 32 + k));
            b[std::is_same_v<LayoutB, row_major> ? k * 16 + row : row * 32 + k] =
                __float2bfloat16(value(row + k * 16 + 3));
        }
    for (int row = 0; row < 16; row++)
        for (int column = 0; column < 16; column++)
            for (int k = 0; k < 32; k++)
                expected[layout == mem_row_major ? row * 16 + column : column * 16 + row] +=
                    2 * value(row * 32 + k) * value(column + k * 16 + 3);
    bfloat16 *device_a = on_device(stream, a), *device_b = on_device(stream, b);
    float *device_c = on_device(stream, std::vector<float>(256));
    LAUNCH((product_kernel<LayoutA, LayoutB>), 1, 32, 0, stream, device_a, device_b, device_c,
           layout);
    std::vector<float> c = to_host(stream, device_c, 256);
    assert_memory_equal(c.data(), expected.data(), 256 * sizeof(float));
    assert_success(cudaFree(device_a));
    assert_success(cudaFree(device_b));
    assert_success(cudaFree(device_c));
}

static void fragments_multiply_in_every_layout(void **) {
    cudaStream_t stream = make_stream();
    for (layout_t layout : {mem_row_major, mem_col_major}) {
        check_product<row_major, row_major>(stream, layout);
        check_product<row_major, col_major>(stream, layout);
        check_product<col_major, row_major>(stream, layout);
        check_product<col_major, col_major>(stream, layout);
    }
    assert_success(cudaStreamDestroy(stream));
}

static void bfloat16_rounds_to_nearest_even(void **) {
    const struct {
        float from;
        unsigned short to;
    } cases[] = {{1.0f, 0x3f80},        {1.00390625f, 0x3f80}, {1.01171875f, 0x3f82},
                 {1.0039064f, 0x3f81},  {-0.0f, 0x8000},       {3.4e38f, 0x7f80},
                 {INFINITY, 0x7f80},    {-INFINITY, 0xff80},   {1e-40f, 0x0001},
                 {-1.00390625f, 0xbf80}};
    for (const auto &c : cases)
        assert_int_equal(__bfloat16_as_ushort(__float2bfloat16(c.from)), c.to);
    assert_true(isnan(__bfloat162float(__float2bfloat16(NAN))));
}

// ---- what is missing shows

static __global__ void neighbour_kernel(float *y, bool barrier) {
    SHARED_ARRAY(float, values, 64);
    values[threadIdx.x] = 1;
    if (barrier) __syncthreads();
    y[blockIdx.x * 64 + threadIdx.x] =
        values[(threadIdx.x + 1) % 64] + values[(threadIdx.x + 63) % 64];
}

/// Of values that may be undefined: they are looked at on purpose.
static int count_nan(std::vector<float> values) {
    MARK_DEFINED(values.data(), values.size() * sizeof(float));
    int count = 0;
    for (float x : values) count += isnan(x);
    return count;
}

static void a_missing_barrier_gives_nan_in_either_direction(void **) {
    cudaStream_t stream = make_stream();
    float *device_y = on_device(stream, std::vector<float>(128));
    LAUNCH(neighbour_kernel, 2, 64, 0, stream, device_y, false);
    std::vector<float> y = to_host(stream, device_y, 128);
    assert_true(count_nan({y.begin(), y.begin() + 64}) >= 63);
    assert_true(count_nan({y.begin() + 64, y.end()}) >= 63);
    LAUNCH(neighbour_kernel, 2, 64, 0, stream, device_y, true);
    assert_int_equal(count_nan(to_host(stream, device_y, 128)), 0);
    assert_success(cudaFree(device_y));
    assert_success(cudaStreamDestroy(stream));
}

static __global__ void tile_kernel(float *y, bool before, bool after) {
    SHARED_ARRAY(float, tile, 256);
    for (int i = threadIdx.x; i < 256; i += 32) tile[i] = (float)i;
    if (before) __syncwarp();
    fragment<accumulator, 16, 16, 16, float> sum;
    load_matrix_sync(sum, tile, 16, mem_row_major);
    for (int i = 0; i < sum.num_elements; i++) sum.x[i] += 1;
    store_matrix_sync(tile, sum, 16, mem_row_major);
    if (after) __syncwarp();
    for (int i = threadIdx.x; i < 256; i += 32) y[i] = tile[i];
}

static void fragments_need_a_barrier_before_loads_and_after_stores(void **) {
    cudaStream_t stream = make_stream();
    float *device_y = on_device(stream, std::vector<float>(256));
    for (int missing = 0; missing < 3; missing++) {
        LAUNCH(tile_kernel, 1, 32, 0, stream, device_y, missing != 1, missing != 2);
        std::vector<float> y = to_host(stream, device_y, 256);
        MARK_DEFINED(y.data(), 256 * sizeof(float)); // looked at on purpose
        int wrong = 0;
        for (int i = 0; i < 256; i++) wrong += y[i] != (float)(i + 1);
        if (missing)
            assert_true(wrong > 0);
        else
            assert_int_equal(wrong, 0);
    }
    assert_success(cudaFree(device_y));
    assert_success(cudaStreamDestroy(stream));
}

static __global__ void early_return_kernel(int limit) {
    if ((int)threadIdx.x >= limit) return;
    __syncthreads();
}
static __global__ void divergent_kernel(int limit) {
    if ((int)threadIdx.x < limit) __syncwarp();
    if ((int)threadIdx.x >= limit) __shfl_sync(0xffffffffu, 1, 0);
}
static __global__ void two_barriers_kernel() {
    if (threadIdx.x < 32)
        __syncthreads();
    else
        __syncwarp();
}
static __global__ void partial_shuffle_kernel() { __shfl_sync(0xffffffffu, 1, 0); }
static __global__ void partial_mask_kernel() { __shfl_sync(0xffffu, 1, 0); }

static void barriers_that_not_all_reach_are_found(void **) {
    expect_death([] { launch_and_wait(early_return_kernel, 64, 40); },
                 "not all threads reach the same barrier: threads 0 to 39 wait at __syncthreads, "
                 "threads 40 to 63 have ended");
    expect_death([] { launch_and_wait(divergent_kernel, 32, 10); },
                 "lanes of one warp are at __syncwarp and at __shfl_sync");
    expect_death([] { launch_and_wait(two_barriers_kernel, 64); },
                 "threads 0 to 31 wait at __syncthreads, threads 32 to 63 have ended");
    expect_death([] { launch_and_wait(partial_shuffle_kernel, 48); },
                 "not all of a warp's lanes exist");
    expect_death([] { launch_and_wait(partial_mask_kernel, 32); }, "only whole warps");
}

static __global__ void shared_overrun_kernel(int index) {
    SHARED_ARRAY(int, before, 5);
    SHARED_ARRAY(int, values, 5);
    if (threadIdx.x < 5) before[threadIdx.x] = 1;
    if (threadIdx.x == 0) values[index] = 7;
}
static __global__ void write_kernel(int *y, int index) {
    if (threadIdx.x == 0) y[index] = 1;
}
static __global__ void read_kernel(const int *x, int *y) { y[0] = x[0]; }
static __global__ void deep_kernel(float *y, int depth) {
    float values[20000];
    for (int i = 0; i < 20000; i++) values[i] = (float)(i + depth);
    __syncthreads();
    if (depth) deep_kernel(y, depth - 1);
    y[0] = values[depth];
}
static __global__ void misaligned_load_kernel(const float *x, unsigned leading) {
    fragment<accumulator, 16, 16, 16, float> sum;
    load_matrix_sync(sum, x, leading, mem_row_major);
}

static void touches_of_what_is_not_theirs_are_found(void **) {
    const char *shared =
        address_sanitizer ? "use-after-poison" : "beside the shared array of 20 bytes";
    expect_death([] { launch_and_wait(shared_overrun_kernel, 32, 5); }, shared);
    expect_death([] { launch_and_wait(shared_overrun_kernel, 32, -1); }, shared);
    expect_death([] { launch_and_wait(write_kernel, 32, some_ints(), 1024); },
                 address_sanitizer ? "use-after-poison" : "a write 0 bytes past the end");
    if (address_sanitizer) // the block is larger than what a cache hands out of it
        expect_death(
            [] {
                int *x = some_ints();
                cuda_on_cpu_hand_out(x, 40, 4096, make_stream());
                cudaDeviceSynchronize();
                launch_and_wait(write_kernel, 32, x, 10);
            },
            "use-after-poison");
    expect_death(
        [] {
            volatile int *x = some_ints();
            x[3] = 1;
        },
        "was touched from host code");
    expect_death(
        [] {
            volatile int *x = some_ints();
            launch_and_wait(write_kernel, 32, (int *)x, 0);
            printf("%d", x[0]);
        },
        "was touched from host code");
    static int on_host[4];
    expect_death([] { launch_and_wait(read_kernel, 1, on_host, some_ints()); }, "argument 1: 0x");
    expect_death([] { launch_and_wait(write_kernel, 1, (int *)nullptr, 0); },
                 address_sanitizer ? "null pointer" : "a thread touched no memory");
    expect_death([] { launch_and_wait(misaligned_load_kernel, 32, (float *)some_ints() + 4, 16u); },
                 "not a multiple of 32");
    expect_death([] { launch_and_wait(misaligned_load_kernel, 32, (float *)some_ints(), 18u); },
                 "not a multiple of 16 bytes");
    if (!address_sanitizer) // which has a message of its own
        expect_death([] { launch_and_wait(deep_kernel, 2, (float *)some_ints(), 50); },
                     "a thread's stack is full");
}

static __global__ void undefined_kernel(float *y) {
    SHARED_ARRAY(float, values, 3);
    DYNAMIC_SHARED(float, more);
    y[0] = values[1];
    y[1] = more[2];
    values[1] = more[2] = 1;
}

static __global__ void branch_kernel(const int *x, int *y) {
    if (x[0] == 3) y[0] = 1;
}

static void uninitialised_reads_are_found_exactly(void **) {
    if (!WITH_MEMORY_SANITIZER) skip();
    expect_death([] { launch_and_wait(branch_kernel, 1, some_ints(), some_ints()); },
                 "use-of-uninitialized-value");
    expect_death(
        [] {
            cudaStream_t stream = make_stream();
            float *y = (float *)some_ints();
            LAUNCH(undefined_kernel, 1, 1, 12, stream, y);
            if (to_host(stream, y, 1)[0] > 0) printf("reached");
        },
        "use-of-uninitialized-value");
}

static void fresh_memory_is_nan(void **) {
    cudaStream_t stream = make_stream();
    float *first, *second;
    assert_success(cudaMalloc(&first, 4096));
    assert_int_equal(count_nan(to_host(stream, first, 1024)), 1024);
    assert_success(cudaMemsetAsync(first, 0, 4096, stream));
    assert_int_equal(count_nan(to_host(stream, first, 1024)), 0);
    cuda_on_cpu_mark_undefined(first + 10, 20 * sizeof(float), stream);
    assert_int_equal(count_nan(to_host(stream, first, 1024)), 20);
    assert_success(cudaMemsetAsync(first, 0, 4096, stream));
    assert_success(cudaFree(first));
    assert_success(cudaMalloc(&second, 4096));
    assert_ptr_equal(first, second);
    assert_int_equal(count_nan(to_host(stream, second, 1024)), 1024);
    for (int i = 0; i < 2; i++) {
        assert_success(cudaMemsetAsync(second, 0, 4096, stream));
        LAUNCH(undefined_kernel, 2, 1, 12, stream, second);
        assert_int_equal(count_nan(to_host(stream, second, 2)), 2);
    }
    assert_success(cudaFree(second));
    assert_success(cudaStreamDestroy(stream));
}

int main() {
    const CMUnitTest tests[] = {
        cmocka_unit_test(blocks_sum_with_shuffles_and_barriers),
        cmocka_unit_test(shuffles_move_values_between_lanes),
        cmocka_unit_test(every_thread_of_every_block_runs_once),
        cmocka_unit_test(fragments_multiply_in_every_layout),
        cmocka_unit_test(bfloat16_rounds_to_nearest_even),
        cmocka_unit_test(a_missing_barrier_gives_nan_in_either_direction),
        cmocka_unit_test(fragments_need_a_barrier_before_loads_and_after_stores),
        cmocka_unit_test(barriers_that_not_all_reach_are_found),
        cmocka_unit_test(touches_of_what_is_not_theirs_are_found),
        cmocka_unit_test(fresh_memory_is_nan),
        cmocka_unit_test(uninitialised_reads_are_found_exactly),
    };
    return cmocka_run_group_tests(tests, nullptr, nullptr);
}
