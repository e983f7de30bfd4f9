// Batches are made by threads in memory that the GPU reads by itself: nothing is staged, and the
// thread that queues a step's kernels does not copy. Such copies run beside computing, as large
// ones out of ordinary memory do (staging.h). `copied` is an event that is recorded behind each.
#include "ops/cuda/device.h"

namespace {

/// An error that has been dealt with: the next launch would report it.
bool failed(cudaError_t status, Error *reason) {
    if (status == cudaSuccess) return false;
    cudaGetLastError();
    error_set(reason, "%s, %s", cudaGetErrorName(status), cudaGetErrorString(status));
    return true;
}

void *allocate(Device *device, size_t bytes, void **copied, Error *reason) {
    cuda_device_use(device);
    void *memory;
    cudaEvent_t event;
    if (failed(cudaHostAlloc(&memory, bytes, cudaHostAllocDefault), reason)) return nullptr;
    cuda_check(cudaEventCreateWithFlags(&event, cudaEventDisableTiming), "creating an event");
    *copied = event;
    return memory;
}

void release(Device *device, void *pointer, void *copied) {
    cuda_device_use(device);
    cuda_check(cudaEventDestroy(static_cast<cudaEvent_t>(copied)), "freeing an event");
    cuda_check(cudaFreeHost(pointer), "freeing pinned memory");
}

void copy(Device *device, void *to, const void *from, size_t bytes, void *copied) {
    const char what[] = "copying to the device";
    const CudaDevice *cuda = cuda_device_use(device);
    const cudaEvent_t event = static_cast<cudaEvent_t>(copied);
    // The block may be one that a kernel in the queue still uses for what it was before.
    cuda_check(cudaEventRecord(event, cuda->compute), what);
    cuda_check(cudaStreamWaitEvent(cuda->copy, event, 0), what);
    cuda_check(cudaMemcpyAsync(to, from, bytes, cudaMemcpyHostToDevice, cuda->copy), what);
    cuda_check(cudaEventRecord(event, cuda->copy), what);
    cuda_check(cudaStreamWaitEvent(cuda->compute, event, 0), what);
}

/// Of an event that was never recorded there is nothing to wait for.
void wait(Device *device, void *copied) {
    cuda_device_use(device);
    cuda_check(cudaEventSynchronize(static_cast<cudaEvent_t>(copied)), "copying to the device");
}

} // namespace

const PinnedMemory cuda_pinned_memory = {allocate, release, copy, wait};
