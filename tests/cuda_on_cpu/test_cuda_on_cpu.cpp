// What kernels do: the emulator finds what a GPU would leave undefined, and computes what is
// defined.
#include "device_cases.h"
#include "ops/cuda/warp_matrix.h"
#include "sanitizers.h"

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

/// elements from one staged row to the next
enum { MATRIX_PITCH = 24 };

/// c += a b; b is [16,8], or its transpose [8,16]. Without `barrier` rows may be loaded before they
/// are written.
static __global__ void product_kernel(const bfloat16 *a, const bfloat16 *b, float *c,
                                      bool transposed, bool barrier) {
    SHARED_ARRAY(bfloat16, left, 16 * MATRIX_PITCH);
    SHARED_ARRAY(bfloat16, right, 16 * MATRIX_PITCH);
    int lane = (int)threadIdx.x, width = transposed ? 16 : 8;
    for (int i = lane; i < 256; i += 32) left[i / 16 * MATRIX_PITCH + i % 16] = a[i];
    for (int i = lane; i < 128; i += 32) right[i / width * MATRIX_PITCH + i % width] = b[i];
    if (barrier) __syncwarp();
    unsigned a_matrices[4], b_matrices[4];
    load_matrices(a_matrices, left + lane % 16 * MATRIX_PITCH + lane / 16 * 8);
    if (transposed) // the last two matrices are the first two again
        load_matrices(b_matrices, right + lane % 8 * MATRIX_PITCH + lane / 8 % 2 * 8);
    else
        load_transposed(b_matrices, right + lane % 16 * MATRIX_PITCH);
    float sums[4];
    for (int i = 0; i < 4; i++) sums[i] = c[(lane / 4 + i / 2 * 8) * 8 + lane % 4 * 2 + i % 2];
    multiply_add(sums, a_matrices, b_matrices[0], b_matrices[1]);
    for (int i = 0; i < 4; i++) c[(lane / 4 + i / 2 * 8) * 8 + lane % 4 * 2 + i % 2] = sums[i];
}

/// How many elements of the product are wrong.
static int count_wrong_products(cudaStream_t stream, bool transposed, bool barrier) {
    std::vector<bfloat16> a(16 * 16), b(16 * 8);
    std::vector<float> c(16 * 8), expected(16 * 8);
    auto value = [](int i) { return (float)(i * 37 % 19 - 9); }; // small integers: sums are exact
    for (int i = 0; i < 256; i++) a[i] = __float2bfloat16(value(i));
    for (int k = 0; k < 16; k++)
        for (int n = 0; n < 8; n++)
            b[transposed ? n * 16 + k : k * 8 + n] = __float2bfloat16(value(k * 8 + n + 3));
    for (int i = 0; i < 128; i++) {
        c[i] = expected[i] = (float)i;
        for (int k = 0; k < 16; k++)
            expected[i] += value(i / 8 * 16 + k) * value(k * 8 + i % 8 + 3);
    }
    bfloat16 *device_a = on_device(stream, a), *device_b = on_device(stream, b);
    float *device_c = on_device(stream, c);
    LAUNCH(product_kernel, 1, 32, 0, stream, device_a, device_b, device_c, transposed, barrier);
    c = to_host(stream, device_c, 128);
    MARK_DEFINED(c.data(), 128 * sizeof(float)); // looked at on purpose
    int wrong = 0;
    for (int i = 0; i < 128; i++) wrong += c[i] != expected[i];
    assert_success(cudaFree(device_a));
    assert_success(cudaFree(device_b));
    assert_success(cudaFree(device_c));
    return wrong;
}

static void matrices_multiply_either_way_round(void **) {
    cudaStream_t stream = make_stream();
    assert_int_equal(count_wrong_products(stream, false, true), 0);
    assert_int_equal(count_wrong_products(stream, true, true), 0);
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

static void matrices_need_a_barrier_before_loads(void **) {
    cudaStream_t stream = make_stream();
    assert_true(count_wrong_products(stream, false, false) > 0);
    assert_true(count_wrong_products(stream, true, false) > 0);
    assert_success(cudaStreamDestroy(stream));
}

/// Threads copy four floats each, every other thread none. y: what is there before the wait, and
/// after it.
static __global__ void copy_kernel(const float *x, float *y) {
    SHARED_ARRAY(float, values, 128);
    float *mine = values + threadIdx.x * 4;
    for (int i = 0; i < 4; i++) mine[i] = -1;
    copy_async(mine, x + threadIdx.x * 4, threadIdx.x % 2 == 0);
    for (int i = 0; i < 4; i++) y[threadIdx.x * 4 + i] = mine[i];
    wait_for_copies();
    for (int i = 0; i < 4; i++) y[128 + threadIdx.x * 4 + i] = mine[i];
}

static void copies_come_when_they_are_waited_for(void **) {
    cudaStream_t stream = make_stream();
    std::vector<float> x(128);
    for (int i = 0; i < 128; i++) x[i] = (float)(i + 1);
    float *device_x = on_device(stream, x), *device_y = on_device(stream, std::vector<float>(256));
    LAUNCH(copy_kernel, 1, 32, 0, stream, device_x, device_y);
    std::vector<float> y = to_host(stream, device_y, 256);
    assert_int_equal(count_nan({y.begin(), y.begin() + 128}), 128);
    for (int i = 0; i < 128; i++) {
        int expected = i / 4 % 2 ? 0 : i + 1;
        assert_float_equal(y[128 + i], expected, 0);
    }
    assert_success(cudaFree(device_x));
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
static __global__ void misaligned_load_kernel(const bfloat16 *x) {
    unsigned matrices[4];
    load_matrices(matrices, x);
}
static __global__ void misaligned_copy_kernel(const float *x) {
    SHARED_ARRAY(float, values, 8);
    copy_async(values + 2, x, true);
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
    expect_death([] { launch_and_wait(misaligned_load_kernel, 32, (bfloat16 *)some_ints() + 4); },
                 "not a multiple of 16");
    expect_death([] { launch_and_wait(misaligned_copy_kernel, 1, (float *)some_ints()); },
                 "must be multiples of 16");
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
        cmocka_unit_test(matrices_multiply_either_way_round),
        cmocka_unit_test(bfloat16_rounds_to_nearest_even),
        cmocka_unit_test(a_missing_barrier_gives_nan_in_either_direction),
        cmocka_unit_test(matrices_need_a_barrier_before_loads),
        cmocka_unit_test(copies_come_when_they_are_waited_for),
        cmocka_unit_test(barriers_that_not_all_reach_are_found),
        cmocka_unit_test(touches_of_what_is_not_theirs_are_found),
        cmocka_unit_test(fresh_memory_is_nan),
        cmocka_unit_test(uninitialised_reads_are_found_exactly),
    };
    return cmocka_run_group_tests(tests, nullptr, nullptr);
}
