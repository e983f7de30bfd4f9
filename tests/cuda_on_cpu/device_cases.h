/// Shared by the emulator's own tests: launches, copies, and failures that a child process is to
/// die of. Each program includes it once.
#pragma once
#include "emulator.h"

#include "ops/cuda/cuda.h"

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

#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wunused-function"

/// Of the launch before.
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

template <typename... Parameters, typename... Arguments>
static void launch_and_wait(void (*kernel)(Parameters...), unsigned threads,
                            Arguments... arguments) {
    cudaStream_t stream = make_stream();
    LAUNCH(kernel, 1, threads, 0, stream, arguments...);
    cudaStreamSynchronize(stream);
    cudaDeviceSynchronize();
}

static int *some_ints() {
    int *pointer;
    assert_success(cudaMalloc(&pointer, 4096));
    return pointer;
}

#pragma GCC diagnostic pop
