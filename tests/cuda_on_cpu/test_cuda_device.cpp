// What only a GPU can do wrong: no driver, no memory, errors that come late. Copies and counts are
// in tests/unit/autograd/test_device.c.
#include "emulator.h"

#include "autograd/block_cache.h"
#include "autograd/transfer_buffer.h"
#include "ops/cuda/cuda.h"

#include <csetjmp>
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

static const size_t MEBIBYTE = 1u << 20;

static Device *open_device() {
    Error error = {};
    Device *device = ops_cuda_open(0, &error);
    if (!device) fail_msg("%s", error.message);
    return device;
}

static void expect_text(const std::string &said, const char *part) {
    if (said.find(part) == std::string::npos) fail_msg("'%s' not in: %s", part, said.c_str());
}

/// What the function says on stderr in a process of its own, which must end with exit code 1.
static std::string say_and_exit(void (*function)()) {
    int ends[2];
    assert_int_equal(pipe(ends), 0);
    fflush(nullptr);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        dup2(ends[1], 2);
        close(ends[0]);
        close(ends[1]);
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
    if (!WIFEXITED(status) || WEXITSTATUS(status) != 1)
        fail_msg("status %d, said: %s", status, said.c_str());
    return said;
}

/// What ops_cuda_open says when it refuses.
static std::string refusal(int ordinal) {
    Error error = {};
    assert_null(ops_cuda_open(ordinal, &error));
    return error.message;
}

// ---- opening

static void what_is_missing_is_said(void **) {
    cuda_on_cpu_no_driver(true);
    assert_int_equal(ops_cuda_count(), 0);
    expect_text(refusal(0), "CUDA finds no NVIDIA driver");
    cuda_on_cpu_no_driver(false);
    cuda_on_cpu_fail_next("cudaGetDeviceCount", cudaErrorInsufficientDriver);
    expect_text(refusal(0), "needs a driver for CUDA 13.0 or newer");
    cuda_on_cpu_devices(0);
    setenv("CUDA_VISIBLE_DEVICES", "7", 1);
    assert_int_equal(ops_cuda_count(), 0);
    expect_text(refusal(0), "CUDA finds no GPU; CUDA_VISIBLE_DEVICES is '7'");
    unsetenv("CUDA_VISIBLE_DEVICES");
    cuda_on_cpu_devices(2);
    assert_int_equal(ops_cuda_count(), 2);
    expect_text(refusal(2), "there is no CUDA device 2: this machine has 2, numbered from 0");
    expect_text(refusal(-1), "there is no CUDA device -1");
    cuda_on_cpu_fail_next("cudaStreamCreateWithFlags", cudaErrorDevicesUnavailable);
    expect_text(refusal(0), "cudaErrorDevicesUnavailable");
    cuda_on_cpu_fail_next("cudaGetDeviceCount", cudaErrorSystemDriverMismatch);
    expect_text(refusal(0), "cudaErrorSystemDriverMismatch");
    cuda_on_cpu_devices(1);
    assert_int_equal(cudaGetLastError(), cudaSuccess); // or the first launch would fail
}

static void a_process_has_one_device(void **) {
    Device *device = open_device();
    assert_ptr_equal(open_device(), device);
    expect_text(device->name, "cuda:0 CUDA executed on the host");
    expect_text(refusal(1), "this process computes on cuda:0");
}

static void no_kernel_is_missing(void **) {
    // a table of nothing but pointers
    void *pointers[sizeof(Kernels) / sizeof(void *)];
    memcpy(pointers, open_device()->kernels, sizeof pointers);
    for (size_t i = 0; i < sizeof pointers / sizeof *pointers; i++)
        if (!pointers[i]) fail_msg("pointer %zu of the table is not set", i);
}

// ---- memory

static void *take(size_t mebibytes) {
    Device *device = open_device();
    return device->allocate(device, mebibytes * MEBIBYTE);
}

static void give(void *block, size_t mebibytes) {
    Device *device = open_device();
    device->release(device, block, mebibytes * MEBIBYTE);
}

/// The limit counts from what is in use.
static void limit_to(size_t mebibytes) {
    size_t free_bytes = 0, total = 0;
    device_trim(open_device());
    cuda_on_cpu_limit_memory(0);
    assert_int_equal(cudaMemGetInfo(&free_bytes, &total), cudaSuccess);
    cuda_on_cpu_limit_memory(total - free_bytes + mebibytes * MEBIBYTE);
}

static void cached_blocks_are_given_back_when_memory_is_short(void **) {
    limit_to(64);
    Device *device = open_device();
    give(take(40), 40);
    assert_int_equal(device->bytes_cached, 40 * MEBIBYTE);
    void *other = take(48);
    assert_int_equal(device->bytes_cached, 0);
    give(other, 48);
    device_trim(device);
    size_t free_bytes, total;
    assert_int_equal(cudaMemGetInfo(&free_bytes, &total), cudaSuccess);
    assert_true(free_bytes == 64 * MEBIBYTE);
    cuda_on_cpu_limit_memory(0);
}

static void a_step_gets_its_blocks_back_without_asking_cuda(void **) {
    Device *device = open_device();
    for (int i = 0; i < 3; i++) give(take(64), 64);
    void *block = take(64);
    cuda_on_cpu_fail_next("cudaMalloc", cudaErrorUnknown);
    give(block, 64);
    assert_ptr_equal(take(64), block);
    give(block, 64);
    device_trim(device);
    void *none;
    assert_int_equal(cudaMalloc(&none, 1), cudaErrorUnknown); // nobody had called it
    cudaGetLastError();
}

static void a_full_gpu_says_what_it_has(void **) {
    std::string said = say_and_exit([] {
        limit_to(64);
        take(40);
        take(32);
    });
    expect_text(said, "out of memory on cuda:0 CUDA executed on the host: 32.0 MiB were asked for");
    expect_text(said, "workspace 40.0 MiB");
    expect_text(said, "The GPU has 64.0 MiB: 24.0 MiB are free, 40.0 MiB are this program's");
    expect_text(said, "model.recompute");
}

// ---- memory of the host

/// Two buffers of one mebibyte with all numbers 1, of which no more than `locked` can be pinned;
/// their sum is computed after both were overwritten.
static void copy_two(int locked) {
    Device *device = open_device();
    const int64_t shape[] = {(int64_t)MEBIBYTE / 4};
    cuda_on_cpu_limit_pinned((size_t)locked * MEBIBYTE);
    scope_begin();
    TransferBuffer buffers[2];
    Tensor *copies[2];
    for (int i = 0; i < 2; i++) {
        buffers[i] = transfer_buffer_new(device, MEBIBYTE);
        if (buffers[i].is_pinned != (i < locked)) _exit(4);
    }
    cuda_on_cpu_limit_pinned(SIZE_MAX); // a copy from ordinary memory needs some itself
    for (int i = 0; i < 2; i++) {
        float *numbers = static_cast<float *>(buffers[i].data);
        for (int64_t k = 0; k < shape[0]; k++) numbers[k] = 1;
        copies[i] = tensor_from_transfer_buffer(&buffers[i], FLOAT32, 1, shape);
        transfer_buffer_wait(&buffers[i]);
        for (int64_t k = 0; k < shape[0]; k++) numbers[k] = 5;
    }
    kernels(copies[0])->add(copies[0], copies[1], copies[0]);
    std::vector<float> sums((size_t)shape[0]);
    tensor_to_host_float(copies[0], sums.data());
    for (float sum : sums)
        if (sum != 2) _exit(5);
    for (TransferBuffer &buffer : buffers) transfer_buffer_free(&buffer);
    scope_end();
    if (cudaGetLastError() != cudaSuccess) _exit(6);
    _exit(1); // what say_and_exit expects
}

static void what_cannot_be_pinned_is_ordinary_memory_and_said_once(void **) {
    assert_string_equal(say_and_exit([] { copy_two(2); }).c_str(), "");
    for (auto copy : {+[] { copy_two(0); }, +[] { copy_two(1); }}) {
        std::string said = say_and_exit(copy);
        expect_text(said, "cuda:0 CUDA executed on the host: no memory for batches could be "
                          "page-locked (cudaErrorMemoryAllocation, out of memory)");
        assert_true(said.find('\n') == said.size() - 1);
    }
}

// ---- errors

static void add_one() {
    Device *device = open_device();
    const int64_t shape[] = {4};
    scope_begin();
    Tensor *x = tensor_zeros(device, FLOAT32, 1, shape);
    kernels(x)->scale(x, 2.0f, x);
    device->synchronize(device);
    scope_end();
}

static void an_error_says_where_it_was_met(void **) {
    std::string said = say_and_exit([] {
        cuda_on_cpu_fail_next("cudaMemsetAsync", cudaErrorInvalidValue);
        add_one();
    });
    expect_text(said, "CUDA error in filling with zeros: cudaErrorInvalidValue, invalid argument.");
    assert_true(said.find("CUDA_LAUNCH_BLOCKING") == std::string::npos);
    said = say_and_exit([] {
        cuda_on_cpu_fail_next("cudaLaunchKernel", cudaErrorInvalidConfiguration);
        add_one();
    });
    expect_text(said, "CUDA error in (map_kernel");
    expect_text(said, "cudaErrorInvalidConfiguration");
}

static void a_late_error_says_how_to_find_its_cause(void **) {
    std::string said = say_and_exit([] {
        cuda_on_cpu_fail_next("cudaStreamSynchronize", cudaErrorIllegalAddress);
        add_one();
    });
    expect_text(said, "cudaErrorIllegalAddress, an illegal memory access was encountered.");
    expect_text(said, "CUDA_LAUNCH_BLOCKING=1");
    assert_true(said.find('\n') == said.size() - 1); // one line
}

int main() {
    const CMUnitTest tests[] = {
        cmocka_unit_test(what_is_missing_is_said),
        cmocka_unit_test(a_process_has_one_device),
        cmocka_unit_test(no_kernel_is_missing),
        cmocka_unit_test(cached_blocks_are_given_back_when_memory_is_short),
        cmocka_unit_test(a_step_gets_its_blocks_back_without_asking_cuda),
        cmocka_unit_test(a_full_gpu_says_what_it_has),
        cmocka_unit_test(what_cannot_be_pinned_is_ordinary_memory_and_said_once),
        cmocka_unit_test(an_error_says_where_it_was_met),
        cmocka_unit_test(a_late_error_says_how_to_find_its_cause),
    };
    return cmocka_run_group_tests(tests, nullptr, nullptr);
}
