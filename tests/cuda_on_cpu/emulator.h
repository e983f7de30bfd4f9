/// CUDA kernels executed on the host, for tests: what the headers in include/ stand for, and the
/// switches that tests need.
///
/// A kernel's blocks run one after another, a block's threads as fibers. What a GPU would leave
/// undefined is made to show:
///
/// - A barrier, shuffle or call of ops/cuda/warp_matrix.h that not every thread (lane) reaches
/// stops the program with the kernel's name.
/// - Shared memory starts as NaN (0xff bytes) in every block, with guards that are checked when the
/// block ends; so does device memory.
///   Under the address sanitizer what lies beyond an array is poisoned.
/// - Threads run in ascending order in one block and in descending order in the next one, so that a
/// missing barrier gives NaN.
/// - Device memory touched from host code is a fault, and so is a pointer to ordinary host memory
/// among a kernel's arguments.
/// - Work is queued and runs late: at a call that waits for it. Work of other streams that no event
/// orders runs before or
///   after it, by CUDA_ON_CPU_SEED. Copies read pinned memory when they run, pageable memory when
///   they are issued.
/// - The default stream is refused: it does not order anything with non-blocking streams.
#pragma once
#include "cuda_runtime.h"

#include <functional>

/// Queues host code that works on device memory, as a library's kernels do. `name` (a literal) is
/// for messages.
void cuda_on_cpu_queue(const char *name, cudaStream_t stream, std::function<void()> work);
/// The same for work that needs something from outside of this process: it runs after `ready`,
/// which is asked again and again, has said so. `ready` must not wait.
void cuda_on_cpu_queue(const char *name, cudaStream_t stream, std::function<void()> work,
                       std::function<bool()> ready);

/// Whether all of the bytes lie in one block of device memory.
bool cuda_on_cpu_is_device_memory(const void *pointer, size_t bytes);

/// cudaMalloc fails when a device would have more than that in use; 0: as much as there is.
void cuda_on_cpu_limit_memory(size_t bytes);

/// cudaHostAlloc fails when the process would have more than that in use; SIZE_MAX: as much as
/// there is, which is so at first unless the environment variable CUDA_ON_CPU_PINNED says how many
/// bytes.
void cuda_on_cpu_limit_pinned(size_t bytes);

/// The next call of the runtime function (or "cudaLaunchKernel") fails. Errors as an illegal
/// address stay until cuda_on_cpu_reset_errors.
void cuda_on_cpu_fail_next(const char *function, cudaError_t error);
void cuda_on_cpu_reset_errors();

/// As on a machine without a driver.
void cuda_on_cpu_no_driver(bool none);
/// How many devices there are; 1 at first, or what the environment variable CUDA_ON_CPU_DEVICES
/// says.
void cuda_on_cpu_devices(int count);
/// Which order among streams that no event orders; 1 at first, or what the environment variable
/// CUDA_ON_CPU_SEED says.
void cuda_on_cpu_seed(uint64_t seed);
