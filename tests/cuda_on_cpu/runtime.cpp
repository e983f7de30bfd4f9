// The calls of the CUDA runtime. One lock around everything: which host thread makes progress is of
// no interest here.
#include "block.h"
#include "device_memory.h"
#include "emulator.h"
#include "executed.h"
#include "sanitizers.h"
#include "stream.h"

#include "autograd/error.h"

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <map>
#include <mutex>
#include <string>
#include <unordered_map>
#include <vector>

namespace {

const size_t default_shared = 48 * 1024;
/// A GPU of sm_86, or of sm_90 where the environment variable CUDA_ON_CPU_LEVEL is sm_90a.
bool is_hopper() {
    const char *level = getenv("CUDA_ON_CPU_LEVEL");
    return level && !strcmp(level, "sm_90a");
}
size_t most_shared() { return (is_hopper() ? 227 : 99) * 1024; }
const unsigned most_threads = 1024, most_z_threads = 64;

std::recursive_mutex lock;
int device_count = [] {
    const char *count = getenv("CUDA_ON_CPU_DEVICES");
    return count ? atoi(count) : 1;
}();
size_t pinned_limit = [] {
    const char *bytes = getenv("CUDA_ON_CPU_PINNED");
    return bytes ? strtoull(bytes, nullptr, 10) : SIZE_MAX;
}();
bool without_driver;
cudaError_t lasting = cudaSuccess; // nothing works after it
thread_local cudaError_t last = cudaSuccess;
thread_local int device_now;
std::map<std::string, cudaError_t> to_fail;
std::unordered_map<const void *, size_t> allowed_shared; // by kernel
uint64_t launches;

/// Errors after which the device's context is lost.
bool is_lasting(cudaError_t error) {
    switch (error) {
    case cudaErrorECCUncorrectable:
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

cudaError_t result(cudaError_t error) {
    if (is_lasting(error)) lasting = error;
    if (error != cudaSuccess) last = error;
    return error;
}

/// What every call begins with: why it fails before it does anything, or cudaSuccess.
cudaError_t begin(const char *function) {
    if (without_driver) return cudaErrorInsufficientDriver;
    if (!device_count) return cudaErrorNoDevice;
    if (lasting != cudaSuccess) return lasting;
    auto planned = to_fail.find(function);
    if (planned == to_fail.end()) return cudaSuccess;
    cudaError_t error = planned->second;
    to_fail.erase(planned);
    return error;
}

#define BEGIN                                           \
    std::lock_guard<std::recursive_mutex> locked(lock); \
    if (cudaError_t failed = begin(__func__)) return result(failed)

/// Stops at what orders nothing with the streams in use.
void refuse_default_stream(const char *function, cudaStream_t stream) {
    if (stream && stream != cudaStreamLegacy && stream != cudaStreamPerThread) return;
    fprintf(stderr, "%s: the default stream is not ordered with the streams in use\n", function);
    abort();
}

#define BEGIN_IN(stream)                     \
    BEGIN;                                   \
    refuse_default_stream(__func__, stream); \
    if (!stream_exists(stream)) return result(cudaErrorInvalidResourceHandle)

double seconds() {
    timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

} // namespace

// ---- switches for tests

void cuda_on_cpu_fail_next(const char *function, cudaError_t error) { to_fail[function] = error; }
void cuda_on_cpu_reset_errors() { lasting = last = cudaSuccess; }
void cuda_on_cpu_no_driver(bool none) { without_driver = none; }
void cuda_on_cpu_devices(int count) { device_count = count; }
void cuda_on_cpu_limit_pinned(size_t bytes) { pinned_limit = bytes; }

// ---- devices and errors

cudaError_t cudaGetDeviceCount(int *count) {
    *count = 0;
    BEGIN;
    *count = device_count;
    return cudaSuccess;
}

cudaError_t cudaSetDevice(int device) {
    BEGIN;
    if (device < 0 || device >= device_count) return result(cudaErrorInvalidDevice);
    device_now = device;
    return cudaSuccess;
}

cudaError_t cudaGetDevice(int *device) {
    BEGIN;
    *device = device_now;
    return cudaSuccess;
}

cudaError_t cudaGetDeviceProperties(cudaDeviceProp *properties, int device) {
    BEGIN;
    if (device < 0 || device >= device_count) return result(cudaErrorInvalidDevice);
    memset(properties, 0, sizeof *properties);
    snprintf(properties->name, sizeof properties->name, "CUDA executed on the host");
    properties->totalGlobalMem = device_memory_limit();
    properties->sharedMemPerBlock = default_shared;
    properties->sharedMemPerBlockOptin = most_shared();
    properties->sharedMemPerMultiprocessor = most_shared() + 1024;
    properties->regsPerBlock = 65536;
    properties->warpSize = 32;
    properties->maxThreadsPerBlock = most_threads;
    properties->maxThreadsPerMultiProcessor = is_hopper() ? 2048 : 1536;
    for (int i = 0; i < 3; i++) {
        properties->maxThreadsDim[i] = i == 2 ? most_z_threads : most_threads;
        properties->maxGridSize[i] = i == 0 ? 0x7fffffff : 65535;
    }
    properties->totalConstMem = 65536;
    properties->major = is_hopper() ? 9 : 8;
    properties->minor = is_hopper() ? 0 : 6;
    properties->multiProcessorCount = 4;
    properties->l2CacheSize = 4 << 20;
    properties->pciBusID = device + 1;
    return cudaSuccess;
}

cudaError_t cudaDeviceGetPCIBusId(char *text, int size, int device) {
    BEGIN;
    cudaDeviceProp p;
    if (cudaError_t failed = cudaGetDeviceProperties(&p, device)) return failed;
    int length = snprintf(text, (size_t)size, "0000:%02x:00.0", (unsigned)p.pciBusID);
    return result(length < size ? cudaSuccess : cudaErrorInvalidValue);
}

cudaError_t cudaDeviceGetAttribute(int *value, cudaDeviceAttr attribute, int device) {
    BEGIN;
    cudaDeviceProp p;
    if (cudaError_t failed = cudaGetDeviceProperties(&p, device)) return failed;
    switch (attribute) {
    case cudaDevAttrMaxThreadsPerBlock:
        *value = p.maxThreadsPerBlock;
        break;
    case cudaDevAttrMaxSharedMemoryPerBlock:
        *value = (int)p.sharedMemPerBlock;
        break;
    case cudaDevAttrWarpSize:
        *value = p.warpSize;
        break;
    case cudaDevAttrMultiProcessorCount:
        *value = p.multiProcessorCount;
        break;
    case cudaDevAttrL2CacheSize:
        *value = p.l2CacheSize;
        break;
    case cudaDevAttrMaxThreadsPerMultiProcessor:
        *value = p.maxThreadsPerMultiProcessor;
        break;
    case cudaDevAttrComputeCapabilityMajor:
        *value = p.major;
        break;
    case cudaDevAttrComputeCapabilityMinor:
        *value = p.minor;
        break;
    case cudaDevAttrMaxSharedMemoryPerMultiprocessor:
        *value = (int)p.sharedMemPerMultiprocessor;
        break;
    case cudaDevAttrMaxSharedMemoryPerBlockOptin:
        *value = (int)p.sharedMemPerBlockOptin;
        break;
    default:
        return result(cudaErrorInvalidValue);
    }
    return cudaSuccess;
}

cudaError_t cudaDeviceSynchronize() {
    BEGIN;
    stream_run_all(device_now);
    device_memory_check_guards();
    return result(lasting);
}

cudaError_t cudaRuntimeGetVersion(int *version) {
    *version = CUDART_VERSION;
    return cudaSuccess;
}

cudaError_t cudaDriverGetVersion(int *version) {
    *version = without_driver ? 0 : CUDART_VERSION;
    return cudaSuccess;
}

cudaError_t cudaGetLastError() {
    cudaError_t error = cudaPeekAtLastError();
    last = cudaSuccess;
    return error;
}

cudaError_t cudaPeekAtLastError() { return lasting != cudaSuccess ? lasting : last; }

#define ERRORS(X)                                                                                  \
    X(cudaSuccess, "no error")                                                                     \
    X(cudaErrorInvalidValue, "invalid argument")                                                   \
    X(cudaErrorMemoryAllocation, "out of memory")                                                  \
    X(cudaErrorInitializationError, "initialization error")                                        \
    X(cudaErrorCudartUnloading, "driver shutting down")                                            \
    X(cudaErrorInvalidConfiguration, "invalid configuration argument")                             \
    X(cudaErrorInvalidMemcpyDirection, "invalid copy direction for memcpy")                        \
    X(cudaErrorInsufficientDriver, "CUDA driver version is insufficient for CUDA runtime version") \
    X(cudaErrorCallRequiresNewerDriver, "API call is not supported in the installed CUDA driver")  \
    X(cudaErrorDevicesUnavailable, "CUDA-capable device(s) is/are busy or unavailable")            \
    X(cudaErrorInvalidDeviceFunction, "invalid device function")                                   \
    X(cudaErrorNoDevice, "no CUDA-capable device is detected")                                     \
    X(cudaErrorInvalidDevice, "invalid device ordinal")                                            \
    X(cudaErrorInvalidKernelImage, "device kernel image is invalid")                               \
    X(cudaErrorNoKernelImageForDevice, "no kernel image is available for execution on the device") \
    X(cudaErrorECCUncorrectable, "uncorrectable ECC error encountered")                            \
    X(cudaErrorInvalidPtx, "a PTX JIT compilation failed")                                         \
    X(cudaErrorUnsupportedPtxVersion,                                                              \
      "the provided PTX was compiled with an unsupported toolchain.")                              \
    X(cudaErrorInvalidResourceHandle, "invalid resource handle")                                   \
    X(cudaErrorNotReady, "device not ready")                                                       \
    X(cudaErrorIllegalAddress, "an illegal memory access was encountered")                         \
    X(cudaErrorLaunchOutOfResources, "too many resources requested for launch")                    \
    X(cudaErrorLaunchTimeout, "the launch timed out and was terminated")                           \
    X(cudaErrorAssert, "device-side assert triggered")                                             \
    X(cudaErrorHostMemoryAlreadyRegistered,                                                        \
      "part or all of the requested memory range is already mapped")                               \
    X(cudaErrorHostMemoryNotRegistered,                                                            \
      "pointer does not correspond to a registered memory region")                                 \
    X(cudaErrorHardwareStackError, "hardware stack error")                                         \
    X(cudaErrorIllegalInstruction, "an illegal instruction was encountered")                       \
    X(cudaErrorMisalignedAddress, "misaligned address")                                            \
    X(cudaErrorLaunchFailure, "unspecified launch failure")                                        \
    X(cudaErrorNotPermitted, "operation not permitted")                                            \
    X(cudaErrorNotSupported, "operation not supported")                                            \
    X(cudaErrorSystemDriverMismatch,                                                               \
      "system has unsupported display driver / cuda driver combination")                           \
    X(cudaErrorCompatNotSupportedOnDevice,                                                         \
      "forward compatibility was attempted on non supported HW")                                   \
    X(cudaErrorUnknown, "unknown error")

const char *cudaGetErrorName(cudaError_t error) {
    switch (error) {
#define X(value, text) \
    case value:        \
        return #value;
        ERRORS(X)
#undef X
    }
    return "unrecognized error code";
}

const char *cudaGetErrorString(cudaError_t error) {
    switch (error) {
#define X(value, text) \
    case value:        \
        return text;
        ERRORS(X)
#undef X
    }
    return "unrecognized error code";
}

// ---- memory

cudaError_t cudaMemGetInfo(size_t *free_bytes, size_t *total_bytes) {
    BEGIN;
    *total_bytes = device_memory_limit();
    size_t used = device_memory_in_use(device_now);
    *free_bytes = *total_bytes > used ? *total_bytes - used : 0;
    return cudaSuccess;
}

cudaError_t cudaMalloc(void **pointer, size_t bytes) {
    BEGIN;
    *pointer = nullptr;
    if (!bytes) return cudaSuccess;
    *pointer = device_memory_take(device_now, bytes);
    return result(*pointer ? cudaSuccess : cudaErrorMemoryAllocation);
}

cudaError_t cudaFree(void *pointer) {
    BEGIN;
    if (!pointer) return cudaSuccess;
    int device = device_memory_owner(pointer, 0);
    if (device < 0) return result(cudaErrorInvalidValue);
    stream_run_all(device);
    return result(device_memory_give_back(pointer) ? cudaSuccess : cudaErrorInvalidValue);
}

cudaError_t cudaHostAlloc(void **pointer, size_t bytes, unsigned) {
    BEGIN;
    *pointer = nullptr;
    if (!bytes) return cudaSuccess;
    size_t used = pinned_memory_bytes();
    if (used > pinned_limit || bytes > pinned_limit - used)
        return result(cudaErrorMemoryAllocation);
    *pointer = aligned_alloc(4096, (bytes + 4095) / 4096 * 4096); // whole pages
    if (!*pointer) return result(cudaErrorMemoryAllocation);
    memset(*pointer, 0xff, bytes);
    MARK_UNDEFINED(*pointer, bytes);
    pinned_memory_add(*pointer, bytes);
    return cudaSuccess;
}

cudaError_t cudaMallocHost(void **pointer, size_t bytes) {
    *pointer = nullptr;
    BEGIN;
    return cudaHostAlloc(pointer, bytes, cudaHostAllocDefault);
}

cudaError_t cudaFreeHost(void *pointer) {
    BEGIN;
    if (!pointer) return cudaSuccess;
    for (int device = 0; device < device_count; device++) stream_run_all(device);
    if (!pinned_memory_remove(pointer)) return result(cudaErrorInvalidValue);
    free(pointer);
    return cudaSuccess;
}

cudaError_t cudaHostRegister(void *pointer, size_t bytes, unsigned) {
    BEGIN;
    if (!pointer || !bytes) return result(cudaErrorInvalidValue);
    if (pinned_memory_overlaps(pointer, bytes)) return result(cudaErrorHostMemoryAlreadyRegistered);
    pinned_memory_add(pointer, bytes);
    return cudaSuccess;
}

cudaError_t cudaHostUnregister(void *pointer) {
    BEGIN;
    for (int device = 0; device < device_count; device++) stream_run_all(device);
    return result(pinned_memory_remove(pointer) ? cudaSuccess : cudaErrorHostMemoryNotRegistered);
}

// ---- copies

/// Whether both sides are what `kind` says, whole; finds out what cudaMemcpyDefault means.
static bool is_valid_copy(const void *to, const void *from, size_t bytes, cudaMemcpyKind *kind) {
    bool to_device = device_memory_has(to), from_device = device_memory_has(from);
    if (*kind == cudaMemcpyDefault)
        *kind = to_device     ? from_device ? cudaMemcpyDeviceToDevice : cudaMemcpyHostToDevice
                : from_device ? cudaMemcpyDeviceToHost
                              : cudaMemcpyHostToHost;
    bool wants_to = *kind == cudaMemcpyHostToDevice || *kind == cudaMemcpyDeviceToDevice;
    bool wants_from = *kind == cudaMemcpyDeviceToHost || *kind == cudaMemcpyDeviceToDevice;
    return to_device == wants_to && from_device == wants_from &&
           (!to_device || device_memory_owner(to, bytes) >= 0) &&
           (!from_device || device_memory_owner(from, bytes) >= 0);
}

cudaError_t cudaMemcpy(void *to, const void *from, size_t bytes, cudaMemcpyKind kind) {
    BEGIN;
    if (!bytes) return cudaSuccess;
    if (!is_valid_copy(to, from, bytes, &kind)) return result(cudaErrorInvalidValue);
    DeviceMemoryOpen open;
    memmove(to, from, bytes); // not ordered with non-blocking streams
    return cudaSuccess;
}

cudaError_t cudaMemcpyAsync(void *to, const void *from, size_t bytes, cudaMemcpyKind kind,
                            cudaStream_t stream) {
    BEGIN_IN(stream);
    if (!bytes) return cudaSuccess;
    if (!is_valid_copy(to, from, bytes, &kind)) return result(cudaErrorInvalidValue);
    bool from_host = kind == cudaMemcpyHostToDevice || kind == cudaMemcpyHostToHost;
    bool to_host = kind == cudaMemcpyDeviceToHost || kind == cudaMemcpyHostToHost;
    if (from_host && !pinned_memory_has(from, bytes)) {
        const char *first = static_cast<const char *>(from);
        auto staged = std::make_shared<std::vector<char>>(first, first + bytes);
        stream_queue(stream, __func__, [=] { memcpy(to, staged->data(), bytes); });
    } else {
        stream_queue(stream, __func__, [=] { memmove(to, from, bytes); });
    }
    if (to_host && !pinned_memory_has(to, bytes)) return cudaStreamSynchronize(stream);
    return cudaSuccess;
}

cudaError_t cudaMemset(void *pointer, int value, size_t bytes) {
    BEGIN;
    if (!bytes) return cudaSuccess;
    if (device_memory_owner(pointer, bytes) < 0) return result(cudaErrorInvalidValue);
    DeviceMemoryOpen open;
    memset(pointer, value, bytes);
    return cudaSuccess;
}

cudaError_t cudaMemsetAsync(void *pointer, int value, size_t bytes, cudaStream_t stream) {
    BEGIN_IN(stream);
    if (!bytes) return cudaSuccess;
    if (device_memory_owner(pointer, bytes) < 0) return result(cudaErrorInvalidValue);
    stream_queue(stream, __func__, [=] { memset(pointer, value, bytes); });
    return cudaSuccess;
}

void cuda_on_cpu_hand_out(void *pointer, size_t bytes, size_t whole, cudaStream_t stream) {
    std::lock_guard<std::recursive_mutex> locked(lock);
    if (!whole || lasting != cudaSuccess) return;
    CHECK(bytes <= whole && device_memory_owner(pointer, whole) >= 0,
          "no block of %zu bytes of device memory at %p", whole, pointer);
    stream_queue(stream, __func__, [=] {
        ASAN_UNPOISON_MEMORY_REGION(pointer, whole);
        memset(pointer, 0xff, whole);
        MARK_UNDEFINED(pointer, whole);
        ASAN_POISON_MEMORY_REGION(static_cast<char *>(pointer) + bytes, whole - bytes);
    });
}

void cuda_on_cpu_mark_undefined(void *pointer, size_t bytes, cudaStream_t stream) {
    cuda_on_cpu_hand_out(pointer, bytes, bytes, stream);
}

void cuda_on_cpu_mark_undefined(void *pointer, size_t bytes) {
    std::lock_guard<std::recursive_mutex> locked(lock);
    cudaStream_t stream = stream_first(device_memory_owner(pointer, bytes));
    if (stream) cuda_on_cpu_mark_undefined(pointer, bytes, stream);
}

// ---- streams and events

cudaError_t cudaStreamCreateWithFlags(cudaStream_t *stream, unsigned flags) {
    BEGIN;
    if (flags != cudaStreamNonBlocking) {
        fprintf(stderr, "%s: only non-blocking streams are in use\n", __func__);
        abort();
    }
    *stream = stream_create(device_now);
    return cudaSuccess;
}

cudaError_t cudaStreamCreateWithPriority(cudaStream_t *stream, unsigned flags, int) {
    BEGIN;
    return cudaStreamCreateWithFlags(stream, flags);
}

cudaError_t cudaStreamDestroy(cudaStream_t stream) {
    BEGIN_IN(stream);
    stream_destroy(stream);
    return cudaSuccess;
}

cudaError_t cudaStreamSynchronize(cudaStream_t stream) {
    BEGIN_IN(stream);
    stream_run_until(stream, UINT64_MAX);
    return result(lasting);
}

cudaError_t cudaStreamQuery(cudaStream_t stream) {
    BEGIN_IN(stream);
    return result(stream_run_one(stream) ? cudaErrorNotReady : lasting);
}

cudaError_t cudaStreamWaitEvent(cudaStream_t stream, cudaEvent_t event, unsigned) {
    BEGIN_IN(stream);
    if (!event) return result(cudaErrorInvalidResourceHandle);
    if (event->recording) stream_queue(stream, __func__, nullptr, event->recording);
    return cudaSuccess;
}

cudaError_t cudaLaunchHostFunc(cudaStream_t stream, cudaHostFn_t function, void *user_data) {
    BEGIN_IN(stream);
    stream_queue(stream, __func__, [=] {
        DeviceMemoryClosed closed;
        function(user_data);
    });
    return cudaSuccess;
}

cudaError_t cudaEventCreateWithFlags(cudaEvent_t *event, unsigned flags) {
    BEGIN;
    *event = new cudaOnCpuEvent;
    (*event)->timed = !(flags & cudaEventDisableTiming);
    (*event)->device = device_now;
    return cudaSuccess;
}

cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t stream) {
    BEGIN_IN(stream);
    if (!event || event->device != stream->device) return result(cudaErrorInvalidResourceHandle);
    auto recording = std::make_shared<Recording>();
    recording->stream = stream;
    recording->number = stream_queue(stream, __func__, [recording] {
        recording->done = true;
        recording->time = seconds();
    });
    event->recording = recording;
    return cudaSuccess;
}

cudaError_t cudaEventSynchronize(cudaEvent_t event) {
    BEGIN;
    if (!event) return result(cudaErrorInvalidResourceHandle);
    std::shared_ptr<Recording> recording = event->recording;
    if (recording && !recording->done) stream_run_until(recording->stream, recording->number);
    return result(lasting);
}

cudaError_t cudaEventQuery(cudaEvent_t event) {
    BEGIN;
    if (!event) return result(cudaErrorInvalidResourceHandle);
    std::shared_ptr<Recording> recording = event->recording;
    if (!recording || recording->done) return result(lasting);
    stream_run_one(recording->stream);
    return result(cudaErrorNotReady);
}

cudaError_t cudaEventElapsedTime(float *milliseconds, cudaEvent_t start, cudaEvent_t end) {
    BEGIN;
    if (!start || !end || !start->timed || !end->timed || !start->recording || !end->recording)
        return result(cudaErrorInvalidResourceHandle);
    if (!start->recording->done || !end->recording->done) return result(cudaErrorNotReady);
    *milliseconds = (float)(1e3 * (end->recording->time - start->recording->time));
    return cudaSuccess;
}

cudaError_t cudaEventDestroy(cudaEvent_t event) {
    BEGIN;
    if (!event) return result(cudaErrorInvalidResourceHandle);
    delete event;
    return cudaSuccess;
}

// ---- work of kernels and libraries

cudaError_t cudaFuncSetAttribute(const void *function, cudaFuncAttribute attribute, int value) {
    BEGIN;
    if (attribute == cudaFuncAttributePreferredSharedMemoryCarveout) return cudaSuccess;
    if (attribute != cudaFuncAttributeMaxDynamicSharedMemorySize || value < 0 ||
        (size_t)value > most_shared())
        return result(cudaErrorInvalidValue);
    allowed_shared[function] = (size_t)value;
    return cudaSuccess;
}

static bool is_valid_launch(dim3 grid, dim3 block) {
    uint64_t threads = (uint64_t)block.x * block.y * block.z;
    return threads && threads <= most_threads && block.x <= most_threads &&
           block.y <= most_threads && block.z <= most_z_threads && grid.x && grid.y && grid.z &&
           grid.x <= 0x7fffffff && grid.y <= 65535 && grid.z <= 65535;
}

void cuda_on_cpu_queue_kernel(const char *name, dim3 blocks, dim3 threads, size_t shared,
                              cudaStream_t stream, const void *kernel, void (*run)(const void *),
                              std::shared_ptr<void> arguments) {
    std::lock_guard<std::recursive_mutex> locked(lock);
    cudaError_t failed = begin("cudaLaunchKernel");
    if (!failed) refuse_default_stream(name, stream);
    if (!failed && !stream_exists(stream)) failed = cudaErrorInvalidResourceHandle;
    if (!failed && !is_valid_launch(blocks, threads)) failed = cudaErrorInvalidConfiguration;
    auto allowed = allowed_shared.find(kernel);
    size_t most_dynamic = allowed != allowed_shared.end() ? allowed->second : default_shared;
    if (!failed && shared > most_dynamic) failed = cudaErrorInvalidValue;
    result(failed);
    if (failed) return;
    Grid grid = {};
    grid.name = name;
    grid.blocks = blocks;
    grid.threads = threads;
    grid.dynamic_shared = shared;
    grid.most_shared = most_dynamic > default_shared ? most_shared() : default_shared;
    grid.run = run;
    grid.arguments = arguments.get();
    grid.number = launches++;
    stream_queue(stream, name, [grid, arguments, kernel] {
        grid_run(grid);
        executed_record(kernel);
    });
}

void cuda_on_cpu_queue(const char *name, cudaStream_t stream, std::function<void()> work) {
    std::lock_guard<std::recursive_mutex> locked(lock);
    refuse_default_stream(name, stream);
    CHECK(stream_exists(stream), "%s: no such stream", name);
    stream_queue(stream, name, std::move(work));
}

void cuda_on_cpu_queue(const char *name, cudaStream_t stream, std::function<void()> work,
                       std::function<bool()> ready) {
    std::lock_guard<std::recursive_mutex> locked(lock);
    refuse_default_stream(name, stream);
    CHECK(stream_exists(stream), "%s: no such stream", name);
    auto outside = std::make_shared<Recording>();
    outside->outside = std::move(ready);
    stream_queue(stream, name, std::move(work), outside);
}
