// What lies around kernels: the emulator's streams, events and copies, limits and errors.
#include "device_cases.h"

// ---- streams

static __global__ void copy_kernel(const float *x, float *y) { y[0] = x[0]; }

/// How often, of 32 times, a stream reads what another has written or was to write later, in the
/// wrong order.
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
