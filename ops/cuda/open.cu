// The runtime is linked in and looks for the driver by itself, so all that can
// be missing shows here, in one message each.
#include "ops/cuda/cublaslt.h"
#include "ops/cuda/device.h"

#include <mutex>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

namespace {

const int LEAST_MAJOR = 8; // bfloat16 tensor cores, copies that bypass registers: Ampere and newer

Kernels table;
CudaDevice *device; // one per process: cuBLASLt's handle belongs to the device on which it was made
std::mutex lock;

void fill_table() {
    table.name = "cuda";
#define FILL(family, unused) fill_##family(&table);
    KERNEL_FAMILIES(FILL, )
#undef FILL
}

/// Why there is no device at all.
bool no_device(cudaError_t status, Error *error) {
    int driver = 0, runtime = 0;
    cudaDriverGetVersion(&driver);
    cudaRuntimeGetVersion(&runtime);
    if (status == cudaErrorNoDevice || status == cudaSuccess) {
        const char *visible = getenv("CUDA_VISIBLE_DEVICES");
        return error_set(error, "CUDA finds no GPU%s%s%s",
                         visible ? "; CUDA_VISIBLE_DEVICES is '" : "", visible ? visible : "",
                         visible ? "'" : "");
    }
    if (driver == 0)
        return error_set(error, "CUDA finds no NVIDIA driver (libcuda.so.1) on this machine");
    if (status == cudaErrorInsufficientDriver)
        return error_set(error,
                         "the NVIDIA driver is for CUDA %d.%d and older; this program needs a "
                         "driver for CUDA %d.%d or newer",
                         driver / 1000, driver % 1000 / 10, runtime / 1000, runtime % 1000 / 10);
    return error_set(error, "CUDA cannot be started: %s, %s", cudaGetErrorName(status),
                     cudaGetErrorString(status));
}

/// The number of devices; 0 with a message if there are none.
int count_devices(Error *error) {
    int count = 0;
    cudaError_t status = cudaGetDeviceCount(&count);
    if (status == cudaSuccess && count > 0) return count;
    cudaGetLastError();
    no_device(status, error);
    return 0;
}

bool check_device(int ordinal, cudaDeviceProp *properties, Error *error) {
    int count = count_devices(error);
    if (!count) return false;
    if (ordinal < 0 || ordinal >= count)
        return error_set(error, "there is no CUDA device %d: this machine has %d, numbered from 0",
                         ordinal, count);
    cudaError_t status = cudaGetDeviceProperties(properties, ordinal);
    if (status != cudaSuccess) return no_device(status, error);
    if (properties->major < LEAST_MAJOR)
        return error_set(error,
                         "CUDA device %d (%s) has compute capability %d.%d; %d.0 or newer is "
                         "needed",
                         ordinal, properties->name, properties->major, properties->minor,
                         LEAST_MAJOR);
    return true;
}

#if defined(DIFFLMM_CUDA_SM_90A) || !defined(__CUDACC__)
const bool has_sm_90a = true;
#else
const bool has_sm_90a = false;
#endif

/// Why the kernels of sm_90a cannot be used, or NULL.
const char *no_sm_90a() {
    int major = 0, minor = 0;
    cudaDeviceGetAttribute(&major, cudaDevAttrComputeCapabilityMajor, device->ordinal);
    cudaDeviceGetAttribute(&minor, cudaDevAttrComputeCapabilityMinor, device->ordinal);
    if (major != 9 || minor != 0) return "this GPU is not of that kind";
    return has_sm_90a ? nullptr : "this program was built without them (CMAKE_CUDA_ARCHITECTURES)";
}

/// NULL, or why not.
const char *use_level(const char *level) {
    bool hopper = !strcmp(level, "sm_90a");
    if (!hopper && strcmp(level, "sm_80") != 0) return "there are levels sm_80 and sm_90a";
    const char *reason = hopper ? no_sm_90a() : nullptr;
    if (reason) return reason;
    device->warpgroups = hopper;
    table.name = hopper ? "cuda sm_90a" : "cuda";
    return nullptr;
}

void choose_level() {
    const char *level = getenv("DIFFLMM_CUDA_LEVEL"), *reason = level ? use_level(level) : nullptr;
    if (reason)
        fprintf(stderr,
                "DIFFLMM_CUDA_LEVEL: no kernels of level '%s': %s; those of sm_80 are used\n",
                level, reason);
}

} // namespace

int ops_cuda_count(void) { return count_devices(nullptr); }

Device *ops_cuda_open(int ordinal, Error *error) {
    std::lock_guard<std::mutex> locked(lock);
    if (device && device->ordinal == ordinal) return &device->base;
    if (device) {
        error_set(error, "this process computes on %s already", device->base.name);
        return nullptr;
    }
    cudaDeviceProp properties;
    if (!check_device(ordinal, &properties, error)) return nullptr;
    CudaDevice *opened = cuda_device_new(ordinal, properties, error);
    if (!opened || !cublaslt_open(error)) return nullptr;
    fill_table();
    opened->base.kernels = &table;
    device = opened;
    choose_level();
    return &device->base;
}

bool ops_cuda_use_level(const char *level) { return device && !use_level(level); }
