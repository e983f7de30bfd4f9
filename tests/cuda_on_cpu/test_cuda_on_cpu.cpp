// The emulator finds what a GPU would leave undefined, and computes what is defined.
#include "emulator.h"
#include "sanitizers.h"

#include "ops/cuda/cuda.h"

#include <mma.h>

#include <csetjmp>
#include <csignal>
#include <cstdarg>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <sys/wait.h>
#include <unistd.h>
#include <vector>

extern "C" {
#include <cmocka.h>
}

static const bool address_sanitizer = WITH_ADDRESS_SANITIZER;

static cudaError_t launch_error;
void cuda_check(cudaError_t status, const char *) { launch_error = status; }

#define assert_success(call) assert_int_equal((call), cudaSuccess)

static cudaStream_t make_stream() {
    cudaStream_t stream;
    assert_success(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking));
    return stream;
}

template <typename T> static T *on_device(cudaStream_t stream, const std::vector<T> &values) {
    T *pointer;
    assert_success(cudaMalloc(&pointer, values.size() * sizeof(T)));
    assert_success(cudaMemcpyAsync(pointer, values.data(), values.size() * sizeof(T),
                                   cudaMemcpyHostToDevice, stream));
    return pointer;
}

template <typename T>
static std::vector<T> to_host(cudaStream_t stream, const T *pointer, size_t count) {
    std::vector<T> values(count);
    assert_success(
        cudaMemcpyAsync(values.data(), pointer, count * sizeof(T), cudaMemcpyDeviceToHost, stream));
    return values;
}

/// Runs the function in a child process, which must fail with a message that has `text` in it.
static void expect_death(void (*function)(), const char *text) {
    int ends[2];
    assert_int_equal(pipe(ends), 0);
    fflush(nullptr);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        dup2(ends[1], 2);
        close(ends[0]);
        close(ends[1]);
        signal(SIGSEGV, SIG_DFL); // cmocka's handler is for the parent
        function();
        _exit(0);
    }
    close(ends[1]);
    std::string said;
    char part[4096];
    for (ssize_t n; (n = read(ends[0], part, sizeof part)) > 0;) said.append(part, (size_t)n);
    close(ends[0]);
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    if (status == 0 || said.find(text) == std::string::npos)
        fail_msg("expected a failure that says \"%s\"; status %d, said: %s", text, status,
                 said.c_str());
}

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

template <typename... Parameters, typename... Arguments>
static void launch_and_wait(void (*kernel)(Parameters...), unsigned threads,
                            Arguments... arguments) {
    cudaStream_t stream = make_stream();
    LAUNCH(kernel, 1, threads, 0, stream, arguments...);
    cudaStreamSynchronize(stream);
    cudaDeviceSynchronize();
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

static int *some_ints() {
    int *pointer;
    assert_success(cudaMalloc(&pointer, 4096));
    return pointer;
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

// ---- streams

static __global__ void copy_kernel(const float *x, float *y) { y[0] = x[0]; }

/// How often, of 32 times, a stream reads what another has written or was to write later, in the wrong order.
static int count_disorder(bool with_event, bool write_first) {
    cudaStream_t writer = make_stream(), reader = make_stream();
    cudaEvent_t event;
    assert_success(cudaEventCreateWithFlags(&event, cudaEventDisableTiming));
    float *x, *y;
    assert_success(cudaMalloc(&x, 4));
    assert_success(cudaMalloc(&y, 4));
    int wrong = 0;
    for (int i = 0; i < 32; i++) {
        assert_success(cudaMemsetAsync(x, 0, 4, reader));
        assert_success(cudaDeviceSynchronize());
        const float one = 1;
        cudaStream_t first = write_first ? writer : reader, then = write_first ? reader : writer;
        for (int turn = 0; turn < 2; turn++) {
            cudaStream_t stream = turn ? then : first;
            if (turn && with_event) assert_success(cudaStreamWaitEvent(then, event, 0));
            if (stream == writer)
                assert_success(cudaMemcpyAsync(x, &one, 4, cudaMemcpyHostToDevice, writer));
            else
                LAUNCH(copy_kernel, 1, 1, 0, reader, x, y);
            if (!turn) assert_success(cudaEventRecord(event, first));
        }
        float expected = write_first ? 1 : 0;
        wrong += to_host(reader, y, 1)[0] != expected;
        assert_success(cudaDeviceSynchronize());
    }
    assert_success(cudaFree(x));
    assert_success(cudaFree(y));
    assert_success(cudaEventDestroy(event));
    assert_success(cudaStreamDestroy(writer));
    assert_success(cudaStreamDestroy(reader));
    return wrong;
}

static void streams_are_out_of_order_unless_an_event_orders_them(void **) {
    for (bool write_first : {false, true}) {
        assert_true(count_disorder(false, write_first) >= 4);
        assert_int_equal(count_disorder(true, write_first), 0);
    }
}

static void a_wait_for_an_event_ignores_later_recordings(void **) {
    cudaStream_t a = make_stream(), b = make_stream();
    cudaEvent_t event;
    assert_success(cudaEventCreate(&event));
    assert_success(cudaStreamWaitEvent(b, event, 0)); // never recorded: nothing to wait for
    assert_success(cudaEventRecord(event, a));
    assert_success(cudaStreamWaitEvent(b, event, 0));
    assert_success(cudaStreamWaitEvent(a, event, 0));
    assert_success(cudaEventRecord(event, b));
    assert_success(cudaEventDestroy(event)); // queued waits stay valid
    assert_success(cudaStreamSynchronize(b));
    assert_success(cudaStreamSynchronize(a));
    assert_success(cudaStreamDestroy(a));
    assert_success(cudaStreamDestroy(b));
}

static void polling_and_timing_come_to_an_end(void **) {
    cudaStream_t stream = make_stream();
    cudaEvent_t start, end;
    assert_success(cudaEventCreate(&start));
    assert_success(cudaEventCreate(&end));
    int *x = some_ints();
    assert_success(cudaEventRecord(start, stream));
    assert_success(cudaMemsetAsync(x, 0, 4096, stream));
    assert_success(cudaEventRecord(end, stream));
    assert_int_equal(cudaEventQuery(end), cudaErrorNotReady);
    assert_int_equal(cudaGetLastError(), cudaErrorNotReady);
    int polls = 0;
    while (cudaStreamQuery(stream) == cudaErrorNotReady) assert_true(++polls < 10);
    cudaGetLastError();
    assert_success(cudaEventQuery(end));
    float milliseconds = -1;
    assert_success(cudaEventElapsedTime(&milliseconds, start, end));
    assert_true(milliseconds >= 0);
    assert_success(cudaEventDestroy(start));
    assert_success(cudaEventDestroy(end));
    assert_success(cudaFree(x));
    assert_success(cudaStreamDestroy(stream));
}

static void pinned_memory_is_read_late_and_pageable_memory_at_once(void **) {
    cudaStream_t stream = make_stream();
    int *pinned, pageable = 1, *device = some_ints();
    assert_success(cudaMallocHost(&pinned, sizeof(int)));
    *pinned = 1;
    assert_success(cudaMemcpyAsync(device, pinned, 4, cudaMemcpyHostToDevice, stream));
    assert_success(cudaMemcpyAsync(device + 1, &pageable, 4, cudaMemcpyHostToDevice, stream));
    *pinned = pageable = 2;
    std::vector<int> y = to_host(stream, device, 2);
    assert_int_equal(y[0], 2);
    assert_int_equal(y[1], 1);
    assert_success(cudaMemcpyAsync(pinned, device + 1, 4, cudaMemcpyDeviceToHost, stream));
    assert_int_equal(*pinned, 2);
    assert_success(cudaStreamSynchronize(stream));
    assert_int_equal(*pinned, 1);
    assert_success(cudaFreeHost(pinned));
    assert_success(cudaFree(device));
    assert_success(cudaStreamDestroy(stream));
}

static __global__ void increment_kernel(int *y) { y[0]++; }

static void a_long_queue_drains(void **) {
    cudaStream_t stream = make_stream();
    int *y = on_device(stream, std::vector<int>(1));
    for (int i = 0; i < 10000; i++) LAUNCH(increment_kernel, 1, 1, 0, stream, y);
    assert_int_equal(to_host(stream, y, 1)[0], 10000);
    assert_success(cudaFree(y));
    assert_success(cudaStreamDestroy(stream));
}

// ---- limits and errors

static __global__ void dynamic_kernel(float *y) {
    DYNAMIC_SHARED(float, values);
    values[0] = 1;
    y[0] = values[0];
}
static __global__ void large_static_kernel(float *y) {
    SHARED_ARRAY(float, values, 12 * 1024 + 1);
    y[0] = values[0];
}

static void launches_keep_to_the_limits_of_a_gpu(void **) {
    cudaStream_t stream = make_stream();
    int *y = some_ints();
    const struct {
        dim3 grid, block;
        size_t shared;
        cudaError_t expected;
    } cases[] = {
        {1, 1024, 0, cudaSuccess},
        {1, 1025, 0, cudaErrorInvalidConfiguration},
        {1, dim3(512, 3), 0, cudaErrorInvalidConfiguration},
        {1, dim3(1, 1, 65), 0, cudaErrorInvalidConfiguration},
        {0, 32, 0, cudaErrorInvalidConfiguration},
        {1, 0, 0, cudaErrorInvalidConfiguration},
        {dim3(1, 65536), 1, 0, cudaErrorInvalidConfiguration},
        {dim3(1, 1, 65536), 1, 0, cudaErrorInvalidConfiguration},
        {dim3(1, 65535), 1, 0, cudaSuccess},
        {1, 1, 48 * 1024, cudaSuccess},
        {1, 1, 48 * 1024 + 1, cudaErrorInvalidValue},
    };
    for (const auto &c : cases) {
        LAUNCH(increment_kernel, c.grid, c.block, c.shared, stream, y);
        assert_int_equal(launch_error, c.expected);
    }
    const void *kernel = reinterpret_cast<const void *>(dynamic_kernel);
    const cudaFuncAttribute attribute = cudaFuncAttributeMaxDynamicSharedMemorySize;
    assert_int_equal(cudaFuncSetAttribute(kernel, attribute, 99 * 1024 + 1), cudaErrorInvalidValue);
    assert_success(cudaFuncSetAttribute(kernel, attribute, 99 * 1024));
    cudaGetLastError();
    LAUNCH(dynamic_kernel, 1, 32, 99 * 1024, stream, (float *)y);
    assert_success(launch_error);
    assert_success(cudaFree(y));
    assert_success(cudaStreamDestroy(stream));
    expect_death([] { launch_and_wait(large_static_kernel, 1, (float *)some_ints()); },
                 "bytes of shared memory, of 49152");
    expect_death([] { launch_and_wait(dynamic_kernel, 1, (float *)some_ints()); },
                 "did not ask for");
    expect_death([] { LAUNCH(increment_kernel, 1, 1, 0, nullptr, some_ints()); }, "default stream");
}

static void memory_ends_at_the_limit(void **) {
    void *x, *y;
    size_t free_bytes, total_bytes;
    cuda_on_cpu_limit_memory(10000);
    assert_success(cudaMalloc(&x, 6000));
    assert_success(cudaMemGetInfo(&free_bytes, &total_bytes));
    assert_int_equal(free_bytes, 4000);
    assert_int_equal(total_bytes, 10000);
    assert_int_equal(cudaMalloc(&y, 4001), cudaErrorMemoryAllocation);
    assert_null(y);
    assert_int_equal(cudaGetLastError(), cudaErrorMemoryAllocation);
    assert_success(cudaGetLastError());
    assert_success(cudaFree(x));
    assert_success(cudaMalloc(&y, 4001));
    assert_success(cudaFree(y));
    cuda_on_cpu_limit_memory(0);
}

static void planned_errors_happen_once_or_stay(void **) {
    cudaStream_t stream = make_stream();
    int x = 0, *device = some_ints();
    cuda_on_cpu_fail_next("cudaMemsetAsync", cudaErrorInvalidValue);
    assert_int_equal(cudaMemsetAsync(device, 0, 4, stream), cudaErrorInvalidValue);
    assert_success(cudaMemsetAsync(device, 0, 4, stream));
    cuda_on_cpu_fail_next("cudaMemcpyAsync", cudaErrorIllegalAddress);
    for (int i = 0; i < 2; i++)
        assert_int_equal(cudaMemcpyAsync(device, &x, 4, cudaMemcpyHostToDevice, stream),
                         cudaErrorIllegalAddress);
    assert_int_equal(cudaGetLastError(), cudaErrorIllegalAddress);
    assert_int_equal(cudaDeviceSynchronize(), cudaErrorIllegalAddress);
    cuda_on_cpu_reset_errors();
    assert_success(cudaFree(device));
    assert_success(cudaStreamDestroy(stream));
}

static void copies_that_do_not_fit_are_refused(void **) {
    cudaStream_t stream = make_stream();
    std::vector<int> host(2000);
    int *device = some_ints();
    const cudaMemcpyKind kind = cudaMemcpyHostToDevice;
    assert_int_equal(cudaMemcpyAsync(device, host.data(), 4100, kind, stream),
                     cudaErrorInvalidValue);
    assert_int_equal(cudaMemcpyAsync(device + 1000, host.data(), 100, kind, stream),
                     cudaErrorInvalidValue);
    assert_int_equal(cudaMemcpyAsync(host.data(), device, 4, kind, stream), cudaErrorInvalidValue);
    assert_int_equal(
        cudaMemcpyAsync(host.data(), host.data() + 4, 4, cudaMemcpyDeviceToDevice, stream),
        cudaErrorInvalidValue);
    assert_success(cudaMemcpyAsync(device, host.data(), 4096, cudaMemcpyDefault, stream));
    cudaGetLastError();
    assert_success(cudaFree(device));
    assert_success(cudaStreamDestroy(stream));
}

static void devices_and_drivers_can_be_missing(void **) {
    int count = -1, device = -1;
    cuda_on_cpu_no_driver(true);
    assert_int_equal(cudaGetDeviceCount(&count), cudaErrorInsufficientDriver);
    assert_int_equal(count, 0);
    cuda_on_cpu_no_driver(false);
    cuda_on_cpu_devices(3);
    assert_success(cudaGetDeviceCount(&count));
    assert_int_equal(count, 3);
    assert_success(cudaSetDevice(2));
    assert_success(cudaGetDevice(&device));
    assert_int_equal(device, 2);
    assert_int_equal(cudaSetDevice(3), cudaErrorInvalidDevice);
    assert_success(cudaSetDevice(0));
    cuda_on_cpu_devices(1);
    cuda_on_cpu_reset_errors();
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
        cmocka_unit_test(streams_are_out_of_order_unless_an_event_orders_them),
        cmocka_unit_test(a_wait_for_an_event_ignores_later_recordings),
        cmocka_unit_test(polling_and_timing_come_to_an_end),
        cmocka_unit_test(pinned_memory_is_read_late_and_pageable_memory_at_once),
        cmocka_unit_test(a_long_queue_drains),
        cmocka_unit_test(launches_keep_to_the_limits_of_a_gpu),
        cmocka_unit_test(memory_ends_at_the_limit),
        cmocka_unit_test(planned_errors_happen_once_or_stay),
        cmocka_unit_test(copies_that_do_not_fit_are_refused),
        cmocka_unit_test(devices_and_drivers_can_be_missing),
    };
    return cmocka_run_group_tests(tests, nullptr, nullptr);
}
