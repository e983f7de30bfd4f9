// A GPU's memory. All kernels run in one stream, so a block that is freed may be handed out at
// once: its next use is queued behind its last. Only what leaves that stream (large copies, sums
// over processes) needs events.
#include "ops/cuda/device.h"

#include "autograd/block_cache.h"
#include "ops/cuda/staging.h"

#include <initializer_list>
#include <stdio.h>
#include <stdlib.h>

namespace {

struct OpenDevice : CudaDevice {
    BlockCache cache;
    Staging staging;
    char name[sizeof cudaDeviceProp::name + 16];
};

/// Makes the device that of this thread's calls: CUDA keeps one per thread, the first at the
/// beginning.
cudaError_t choose(int ordinal) {
    static thread_local int chosen = 0;
    if (ordinal == chosen) return cudaSuccess;
    cudaError_t status = cudaSetDevice(ordinal);
    if (status == cudaSuccess) chosen = ordinal;
    return status;
}

OpenDevice *use(Device *device) {
    OpenDevice *opened = static_cast<OpenDevice *>(reinterpret_cast<CudaDevice *>(device));
    cuda_check(choose(opened->ordinal), "choosing the device");
    return opened;
}

// ---- memory

void *new_block(Device *, size_t bytes) {
    void *block;
    cudaError_t status = cudaMalloc(&block, bytes);
    if (status == cudaSuccess) return block;
    cudaGetLastError(); // or the next launch would report it
    if (status != cudaErrorMemoryAllocation) cuda_check(status, "allocating memory");
    return nullptr;
}

/// Kernels in the queue may still use it.
void free_block(Device *device, void *block, size_t) {
    use(device);
    cuda_check(cudaDeviceSynchronize(), "freeing memory");
    cuda_check(cudaFree(block), "freeing memory");
}

[[noreturn]] void out_of_memory(const Device *device, size_t bytes) {
    size_t free_bytes = 0, total = 0;
    cudaMemGetInfo(&free_bytes, &total);
    double mebibyte = 0x1p20, own = (double)(device->bytes_in_use + device->bytes_cached);
    char capacity[256];
    snprintf(capacity, sizeof capacity,
             "The GPU has %.1f MiB: %.1f MiB are free, %.1f MiB are this program's as listed, "
             "%.1f MiB are used otherwise (CUDA itself, other processes)",
             (double)total / mebibyte, (double)free_bytes / mebibyte, own / mebibyte,
             ((double)total - (double)free_bytes - own) / mebibyte);
    device_out_of_memory(device, bytes, capacity);
}

void *allocate(Device *device, size_t bytes) {
    use(device);
    void *block = block_cache_take(device, bytes);
    if (!block) out_of_memory(device, bytes);
#ifndef __CUDACC__ // where kernels are executed on the host, what is undefined is made to show
    cuda_on_cpu_hand_out(block, bytes, block_cache_block_bytes(bytes), use(device)->compute);
#endif
    return block;
}

// ---- copies

void from_host(Device *device, void *to, const void *from, size_t bytes) {
    OpenDevice *opened = use(device);
    if (bytes) opened->staging.copy(opened, to, from, bytes);
}

void to_host(Device *device, void *to, const void *from, size_t bytes) {
    cudaStream_t stream = use(device)->compute;
    if (bytes)
        cuda_check(cudaMemcpyAsync(to, from, bytes, cudaMemcpyDeviceToHost, stream),
                   "copying from the device");
    cuda_check(cudaStreamSynchronize(stream), "computing");
}

void fill_zero(Device *device, void *pointer, size_t bytes) {
    cudaStream_t stream = use(device)->compute;
    if (bytes) cuda_check(cudaMemsetAsync(pointer, 0, bytes, stream), "filling with zeros");
}

void synchronize(Device *device) {
    cuda_check(cudaStreamSynchronize(use(device)->compute), "computing");
}

void accumulate(const Tensor *x, Tensor *sum) { kernels(sum)->add(sum, x, sum); }

/// The three streams, which wait for each other only where an event says so.
cudaError_t create_streams(CudaDevice *device) {
    cudaError_t status = choose(device->ordinal);
    for (cudaStream_t *stream : {&device->compute, &device->copy, &device->reduce})
        if (status == cudaSuccess)
            status = cudaStreamCreateWithFlags(stream, cudaStreamNonBlocking);
    return status;
}

/// Errors of what ran on the device, which show at whatever call comes next.
bool is_late(cudaError_t status) {
    switch (status) {
    case cudaErrorIllegalAddress:
    case cudaErrorLaunchTimeout:
    case cudaErrorAssert:
    case cudaErrorHardwareStackError:
    case cudaErrorIllegalInstruction:
    case cudaErrorMisalignedAddress:
    case cudaErrorLaunchFailure:
        return true;
    default:
        return false;
    }
}

} // namespace

CudaDevice *cuda_device_new(int ordinal, const cudaDeviceProp &properties, Error *error) {
    OpenDevice *opened = new OpenDevice();
    opened->ordinal = ordinal;
    opened->multiprocessors = properties.multiProcessorCount;
    opened->warpgroups = false;
    cudaError_t status = create_streams(opened);
    if (status != cudaSuccess) {
        cudaGetLastError();
        error_set(error, "CUDA device %d (%s) cannot be used: %s, %s", ordinal, properties.name,
                  cudaGetErrorName(status), cudaGetErrorString(status));
        delete opened;
        return nullptr;
    }
    snprintf(opened->name, sizeof opened->name, "cuda:%d %s", ordinal, properties.name);
    opened->cache.allocate = new_block;
    opened->cache.release = free_block;
    opened->cache.allowance = -1; // the next step wants it all back
    pthread_mutex_init(&opened->cache.lock, nullptr);
    Device *device = &opened->base;
    device->name = opened->name;
    device->cache = &opened->cache;
    device->pinned_memory = &cuda_pinned_memory;
    device->allocate = allocate;
    device->release = block_cache_give;
    device->from_host = from_host;
    device->to_host = to_host;
    device->fill_zero = fill_zero;
    device->synchronize = synchronize;
    device->accumulate = accumulate;
    return opened;
}

CudaDevice *cuda_device_use(Device *device) { return use(device); }

void ops_cuda_bus_id(const Device *device, char text[GPU_BUS_ID_BYTES]) {
    text[0] = 0;
    if (device == device_cpu()) return;
    int ordinal = reinterpret_cast<const CudaDevice *>(device)->ordinal;
    cuda_check(cudaDeviceGetPCIBusId(text, GPU_BUS_ID_BYTES, ordinal), "asking for a GPU's place");
}

void cuda_check(cudaError_t status, const char *what) {
    if (status == cudaSuccess) return;
    stop_program(
        "CUDA error in %s: %s, %s.%s", what, cudaGetErrorName(status), cudaGetErrorString(status),
        is_late(status) ? " Something queued earlier may have caused it: run again with the "
                          "environment variable CUDA_LAUNCH_BLOCKING=1 to see what."
                        : "");
}

Workspace::Workspace(const Tensor *like, size_t size)
    : device(like->device), bytes(size), pointer(size ? device->allocate(device, size) : nullptr) {}

Workspace::~Workspace() {
    if (pointer) device->release(device, pointer, bytes);
}
