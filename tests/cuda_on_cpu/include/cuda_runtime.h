/// The CUDA runtime calls and the device language in use by ops/cuda, for a plain C++ compiler:
/// kernels are executed on the host.
///
/// Names, signatures and values are those of CUDA, so that the same sources compile with nvcc. What
/// is emulated, and how strictly, is said in tests/cuda_on_cpu/emulator.h, which also has the
/// switches for tests.
#pragma once
#include <math.h>
#include <stddef.h>
#include <stdint.h>

#include <memory>
#include <tuple>
#include <type_traits>

// ---- the language

#define __global__
#define __device__
#define __host__
#define __forceinline__ inline __attribute__((always_inline))
#define __launch_bounds__(...)
#define __align__(bytes) alignas(bytes)

struct uint3 {
    unsigned x, y, z;
};

struct dim3 {
    unsigned x, y, z;
    constexpr dim3(unsigned x_ = 1, unsigned y_ = 1, unsigned z_ = 1) : x(x_), y(y_), z(z_) {}
    constexpr dim3(uint3 v) : x(v.x), y(v.y), z(v.z) {}
    constexpr operator uint3() const { return {x, y, z}; }
};

extern __thread uint3 threadIdx, blockIdx, blockDim, gridDim;
constexpr int warpSize = 32;

#define CUDA_ON_CPU_VECTORS(type, name, align2, align4)                     \
    struct alignas(align2) name##2 {                                        \
        type x, y;                                                          \
    };                                                                      \
    struct alignas(align4) name##4 {                                        \
        type x, y, z, w;                                                    \
    };                                                                      \
    static inline name##2 make_##name##2(type x, type y) { return {x, y}; } \
    static inline name##4 make_##name##4(type x, type y, type z, type w) { return {x, y, z, w}; }
CUDA_ON_CPU_VECTORS(float, float, 8, 16)
CUDA_ON_CPU_VECTORS(int, int, 8, 16)
CUDA_ON_CPU_VECTORS(unsigned, uint, 8, 16)
CUDA_ON_CPU_VECTORS(short, short, 4, 8)
CUDA_ON_CPU_VECTORS(unsigned short, ushort, 4, 8)
CUDA_ON_CPU_VECTORS(signed char, char, 2, 4)
CUDA_ON_CPU_VECTORS(unsigned char, uchar, 2, 4)
#undef CUDA_ON_CPU_VECTORS
struct float3 {
    float x, y, z;
};
struct int3 {
    int x, y, z;
};
struct alignas(16) double2 {
    double x, y;
};
struct alignas(16) longlong2 {
    long long x, y;
};
struct alignas(16) ulonglong2 {
    unsigned long long x, y;
};

// ---- types of the runtime

enum cudaError {
    cudaSuccess = 0,
    cudaErrorInvalidValue = 1,
    cudaErrorMemoryAllocation = 2,
    cudaErrorInitializationError = 3,
    cudaErrorCudartUnloading = 4,
    cudaErrorInvalidConfiguration = 9,
    cudaErrorInvalidMemcpyDirection = 21,
    cudaErrorInsufficientDriver = 35,
    cudaErrorCallRequiresNewerDriver = 36,
    cudaErrorDevicesUnavailable = 46,
    cudaErrorInvalidDeviceFunction = 98,
    cudaErrorNoDevice = 100,
    cudaErrorInvalidDevice = 101,
    cudaErrorInvalidKernelImage = 200,
    cudaErrorNoKernelImageForDevice = 209,
    cudaErrorECCUncorrectable = 214,
    cudaErrorInvalidPtx = 218,
    cudaErrorUnsupportedPtxVersion = 222,
    cudaErrorInvalidResourceHandle = 400,
    cudaErrorNotReady = 600,
    cudaErrorIllegalAddress = 700,
    cudaErrorLaunchOutOfResources = 701,
    cudaErrorLaunchTimeout = 702,
    cudaErrorAssert = 710,
    cudaErrorHostMemoryAlreadyRegistered = 712,
    cudaErrorHostMemoryNotRegistered = 713,
    cudaErrorHardwareStackError = 714,
    cudaErrorIllegalInstruction = 715,
    cudaErrorMisalignedAddress = 716,
    cudaErrorLaunchFailure = 719,
    cudaErrorNotPermitted = 800,
    cudaErrorNotSupported = 801,
    cudaErrorSystemDriverMismatch = 803,
    cudaErrorCompatNotSupportedOnDevice = 804,
    cudaErrorUnknown = 999,
};
typedef enum cudaError cudaError_t;

enum cudaMemcpyKind {
    cudaMemcpyHostToHost = 0,
    cudaMemcpyHostToDevice = 1,
    cudaMemcpyDeviceToHost = 2,
    cudaMemcpyDeviceToDevice = 3,
    cudaMemcpyDefault = 4,
};

enum cudaDeviceAttr {
    cudaDevAttrMaxThreadsPerBlock = 1,
    cudaDevAttrMaxSharedMemoryPerBlock = 8,
    cudaDevAttrWarpSize = 10,
    cudaDevAttrMultiProcessorCount = 16,
    cudaDevAttrL2CacheSize = 38,
    cudaDevAttrMaxThreadsPerMultiProcessor = 39,
    cudaDevAttrComputeCapabilityMajor = 75,
    cudaDevAttrComputeCapabilityMinor = 76,
    cudaDevAttrMaxSharedMemoryPerMultiprocessor = 81,
    cudaDevAttrMaxSharedMemoryPerBlockOptin = 97,
};

enum cudaFuncAttribute {
    cudaFuncAttributeMaxDynamicSharedMemorySize = 8,
    cudaFuncAttributePreferredSharedMemoryCarveout = 9,
};

struct cudaDeviceProp {
    char name[256];
    size_t totalGlobalMem;
    size_t sharedMemPerBlock;
    int regsPerBlock;
    int warpSize;
    int maxThreadsPerBlock;
    int maxThreadsDim[3];
    int maxGridSize[3];
    size_t totalConstMem;
    int major;
    int minor;
    int multiProcessorCount;
    int pciBusID;
    int pciDeviceID;
    int pciDomainID;
    int l2CacheSize;
    int maxThreadsPerMultiProcessor;
    size_t sharedMemPerMultiprocessor;
    size_t sharedMemPerBlockOptin;
};

typedef struct cudaOnCpuStream *cudaStream_t;
typedef struct cudaOnCpuEvent *cudaEvent_t;
typedef void (*cudaHostFn_t)(void *user_data);

#define cudaStreamDefault 0x00
#define cudaStreamNonBlocking 0x01
#define cudaStreamLegacy ((cudaStream_t)0x1)
#define cudaStreamPerThread ((cudaStream_t)0x2)
#define cudaEventDefault 0x00
#define cudaEventBlockingSync 0x01
#define cudaEventDisableTiming 0x02
#define cudaHostAllocDefault 0x00
#define cudaHostAllocPortable 0x01
#define cudaHostAllocMapped 0x02
#define cudaHostAllocWriteCombined 0x04
#define cudaHostRegisterDefault 0x00
#define cudaHostRegisterPortable 0x01
#define cudaHostRegisterMapped 0x02
#define cudaHostRegisterReadOnly 0x08
#define CUDART_VERSION 13000

// ---- calls of the runtime

extern "C" {
cudaError_t cudaGetDeviceCount(int *count);
cudaError_t cudaSetDevice(int device);
cudaError_t cudaGetDevice(int *device);
cudaError_t cudaGetDeviceProperties(cudaDeviceProp *properties, int device);
cudaError_t cudaDeviceGetPCIBusId(char *text, int size, int device);
cudaError_t cudaDeviceGetAttribute(int *value, cudaDeviceAttr attribute, int device);
cudaError_t cudaDeviceSynchronize(void);
cudaError_t cudaRuntimeGetVersion(int *version);
cudaError_t cudaDriverGetVersion(int *version);
cudaError_t cudaGetLastError(void);
cudaError_t cudaPeekAtLastError(void);
const char *cudaGetErrorName(cudaError_t error);
const char *cudaGetErrorString(cudaError_t error);

cudaError_t cudaMemGetInfo(size_t *free_bytes, size_t *total_bytes);
cudaError_t cudaMalloc(void **pointer, size_t bytes);
cudaError_t cudaFree(void *pointer);
cudaError_t cudaMallocHost(void **pointer, size_t bytes);
cudaError_t cudaHostAlloc(void **pointer, size_t bytes, unsigned flags);
cudaError_t cudaFreeHost(void *pointer);
cudaError_t cudaHostRegister(void *pointer, size_t bytes, unsigned flags);
cudaError_t cudaHostUnregister(void *pointer);
cudaError_t cudaMemcpy(void *to, const void *from, size_t bytes, cudaMemcpyKind kind);
cudaError_t cudaMemcpyAsync(void *to, const void *from, size_t bytes, cudaMemcpyKind kind,
                            cudaStream_t stream);
cudaError_t cudaMemset(void *pointer, int value, size_t bytes);
cudaError_t cudaMemsetAsync(void *pointer, int value, size_t bytes, cudaStream_t stream);

cudaError_t cudaStreamCreateWithFlags(cudaStream_t *stream, unsigned flags);
cudaError_t cudaStreamCreateWithPriority(cudaStream_t *stream, unsigned flags, int priority);
cudaError_t cudaStreamDestroy(cudaStream_t stream);
cudaError_t cudaStreamSynchronize(cudaStream_t stream);
cudaError_t cudaStreamQuery(cudaStream_t stream);
cudaError_t cudaStreamWaitEvent(cudaStream_t stream, cudaEvent_t event, unsigned flags);
cudaError_t cudaLaunchHostFunc(cudaStream_t stream, cudaHostFn_t function, void *user_data);
cudaError_t cudaEventCreateWithFlags(cudaEvent_t *event, unsigned flags);
cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t stream);
cudaError_t cudaEventSynchronize(cudaEvent_t event);
cudaError_t cudaEventQuery(cudaEvent_t event);
cudaError_t cudaEventElapsedTime(float *milliseconds, cudaEvent_t start, cudaEvent_t end);
cudaError_t cudaEventDestroy(cudaEvent_t event);
cudaError_t cudaFuncSetAttribute(const void *function, cudaFuncAttribute attribute, int value);
}

static inline cudaError_t cudaEventCreate(cudaEvent_t *event) {
    return cudaEventCreateWithFlags(event, cudaEventDefault);
}
template <typename T> static inline cudaError_t cudaMalloc(T **pointer, size_t bytes) {
    return cudaMalloc(reinterpret_cast<void **>(pointer), bytes);
}
template <typename T> static inline cudaError_t cudaMallocHost(T **pointer, size_t bytes) {
    return cudaMallocHost(reinterpret_cast<void **>(pointer), bytes);
}
static inline cudaError_t cudaStreamWaitEvent(cudaStream_t stream, cudaEvent_t event) {
    return cudaStreamWaitEvent(stream, event, 0);
}

// ---- for a caching allocator

/// Makes the contents of device memory undefined (NaN) once the stream gets there: call it for a
/// block that is handed out again.
void cuda_on_cpu_mark_undefined(void *pointer, size_t bytes, cudaStream_t stream);
/// The same in the first stream made on the block's device.
void cuda_on_cpu_mark_undefined(void *pointer, size_t bytes);

/// What a block of `whole` bytes becomes when it is handed out for `bytes` of use, once the stream
/// gets there: undefined, and out of bounds (for the address sanitizer) past the bytes asked for.
void cuda_on_cpu_hand_out(void *pointer, size_t bytes, size_t whole, cudaStream_t stream);

// ---- launches (behind the macros of ops/cuda/cuda.h)

/// Queues a kernel. `run` executes one thread of it, given `arguments`, which live as long as
/// needed.
void cuda_on_cpu_queue_kernel(const char *name, dim3 grid, dim3 block, size_t shared,
                              cudaStream_t stream, const void *kernel, void (*run)(const void *),
                              std::shared_ptr<void> arguments);
/// Stops the program if a pointer given to a kernel is neither null nor device or pinned memory.
void cuda_on_cpu_check_argument(const char *kernel, int position, const volatile void *pointer);
/// The block's array of shared memory that is declared there: the same for all threads.
void *cuda_on_cpu_shared(const char *file, int line, size_t bytes);
/// The block's dynamic shared memory.
void *cuda_on_cpu_dynamic_shared();

template <typename T> static inline T cuda_on_cpu_as(T value) { return value; }
template <typename T>
static inline void cuda_on_cpu_check_if_pointer(const char *kernel, int position, const T &value) {
    if constexpr (std::is_pointer_v<T>) cuda_on_cpu_check_argument(kernel, position, value);
}

template <typename... Parameters, typename... Arguments>
void cuda_on_cpu_launch(const char *name, dim3 grid, dim3 block, size_t shared, cudaStream_t stream,
                        void (*kernel)(Parameters...), Arguments &&...arguments) {
    // 4 KiB is what toolkits before 12.1 take
    static_assert((sizeof(Parameters) + ... + 0) <= 4096, "too many bytes of kernel arguments");
    struct Call {
        void (*kernel)(Parameters...);
        std::tuple<Parameters...> values;
    };
    auto call =
        std::make_shared<Call>(Call{kernel, std::tuple<Parameters...>(cuda_on_cpu_as<Parameters>(
                                                std::forward<Arguments>(arguments))...)});
    std::apply(
        [name](const auto &...values) {
            int position = 0;
            (cuda_on_cpu_check_if_pointer(name, ++position, values), ...);
        },
        call->values);
    cuda_on_cpu_queue_kernel(
        name, grid, block, shared, stream, reinterpret_cast<const void *>(kernel),
        [](const void *raw) {
            const Call *c = static_cast<const Call *>(raw);
            std::apply(c->kernel, c->values);
        },
        call);
}

// ---- barriers and shuffles

void __syncthreads();
void __syncwarp(unsigned mask = 0xffffffffu);

/// All 32 lanes of a warp come here with a record each; the last one to come calls `together` with
/// all of them, in the order of lanes, before any goes on. `operation` (a literal) must be the same
/// for all lanes.
void cuda_on_cpu_meet(const char *operation, void *record, void (*together)(void *const *records));
void cuda_on_cpu_check_mask(const char *operation, unsigned mask);

template <typename T> struct CudaOnCpuShuffle {
    T given, taken;
    int source;
};
template <typename T>
static inline T cuda_on_cpu_shuffle(const char *operation, unsigned mask, T value, int source) {
    static_assert(sizeof(T) == 4 || sizeof(T) == 8, "shuffles move 4 or 8 bytes");
    cuda_on_cpu_check_mask(operation, mask);
    CudaOnCpuShuffle<T> mine = {value, value, source};
    cuda_on_cpu_meet(operation, &mine, [](void *const *records) {
        auto all = reinterpret_cast<CudaOnCpuShuffle<T> *const *>(records);
        for (int lane = 0; lane < 32; lane++) all[lane]->taken = all[all[lane]->source]->given;
    });
    return mine.taken;
}
int cuda_on_cpu_lane();

template <typename T>
static inline T __shfl_sync(unsigned mask, T value, int source, int width = 32) {
    int lane = cuda_on_cpu_lane(), first = lane & ~(width - 1);
    return cuda_on_cpu_shuffle("__shfl_sync", mask, value, first + (source & (width - 1)));
}
template <typename T>
static inline T __shfl_xor_sync(unsigned mask, T value, int bits, int width = 32) {
    int lane = cuda_on_cpu_lane(), source = lane ^ bits;
    return cuda_on_cpu_shuffle("__shfl_xor_sync", mask, value,
                               source < (lane | (width - 1)) + 1 ? source : lane);
}
template <typename T>
static inline T __shfl_down_sync(unsigned mask, T value, unsigned delta, int width = 32) {
    int lane = cuda_on_cpu_lane();
    bool inside = (lane & (width - 1)) + (int)delta < width;
    return cuda_on_cpu_shuffle("__shfl_down_sync", mask, value, inside ? lane + (int)delta : lane);
}
template <typename T>
static inline T __shfl_up_sync(unsigned mask, T value, unsigned delta, int width = 32) {
    int lane = cuda_on_cpu_lane();
    bool inside = (lane & (width - 1)) >= (int)delta;
    return cuda_on_cpu_shuffle("__shfl_up_sync", mask, value, inside ? lane - (int)delta : lane);
}
unsigned __ballot_sync(unsigned mask, int predicate);
static inline int __any_sync(unsigned mask, int predicate) {
    return __ballot_sync(mask, predicate) != 0;
}
static inline int __all_sync(unsigned mask, int predicate) {
    return __ballot_sync(mask, predicate) == 0xffffffffu;
}
static inline void __threadfence() {}
static inline void __threadfence_block() {}

// ---- functions of the device

// Contraction (a * b + c in one rounding) is the compiler's choice on both sides; these never
// contract.
static inline float __fmul_rn(float a, float b) {
    volatile float product = a * b;
    return product;
}
static inline float __fadd_rn(float a, float b) {
    volatile float sum = a + b;
    return sum;
}
static inline float __fsub_rn(float a, float b) { return __fadd_rn(a, -b); }
static inline float __fdiv_rn(float a, float b) { return a / b; }
static inline float __fsqrt_rn(float a) { return sqrtf(a); }
static inline float __fmaf_rn(float a, float b, float c) { return fmaf(a, b, c); }
static inline float cuda_on_cpu_rsqrtf(float a) { return 1.0f / sqrtf(a); }
#define rsqrtf cuda_on_cpu_rsqrtf // newer C libraries have one of that name

static inline int __mulhi(int a, int b) { return (int)((int64_t)a * b >> 32); }
static inline unsigned __umulhi(unsigned a, unsigned b) {
    return (unsigned)((uint64_t)a * b >> 32);
}
static inline unsigned long long __umul64hi(unsigned long long a, unsigned long long b) {
    return (unsigned long long)((unsigned __int128)a * b >> 64);
}
static inline long long __mul64hi(long long a, long long b) {
    return (long long)((__int128)a * b >> 64);
}
static inline int __popc(unsigned a) { return __builtin_popcount(a); }
static inline int __popcll(unsigned long long a) { return __builtin_popcountll(a); }
static inline int __clz(int a) { return a ? __builtin_clz((unsigned)a) : 32; }
static inline int __ffs(int a) { return __builtin_ffs(a); }

template <typename To, typename From> static inline To cuda_on_cpu_bits(From from) {
    static_assert(sizeof(To) == sizeof(From));
    To to;
    __builtin_memcpy(&to, &from, sizeof to);
    return to;
}
static inline int __float_as_int(float a) { return cuda_on_cpu_bits<int>(a); }
static inline unsigned __float_as_uint(float a) { return cuda_on_cpu_bits<unsigned>(a); }
static inline float __int_as_float(int a) { return cuda_on_cpu_bits<float>(a); }
static inline float __uint_as_float(unsigned a) { return cuda_on_cpu_bits<float>(a); }
/// To nearest even.
static inline int __float2int_rn(float a) { return (int)rintf(a); }
static inline float __uint2float_rn(unsigned a) { return (float)a; }

template <typename T> static inline T __ldg(const T *pointer) { return *pointer; }
template <typename T> static inline T __ldcs(const T *pointer) { return *pointer; }
template <typename T> static inline void __stcs(T *pointer, T value) { *pointer = value; }

#define CUDA_ON_CPU_MIN_MAX(type)                                    \
    static inline type min(type a, type b) { return b < a ? b : a; } \
    static inline type max(type a, type b) { return a < b ? b : a; }
CUDA_ON_CPU_MIN_MAX(int)
CUDA_ON_CPU_MIN_MAX(unsigned)
CUDA_ON_CPU_MIN_MAX(long)
CUDA_ON_CPU_MIN_MAX(unsigned long)
CUDA_ON_CPU_MIN_MAX(long long)
CUDA_ON_CPU_MIN_MAX(unsigned long long)
#undef CUDA_ON_CPU_MIN_MAX
static inline float min(float a, float b) { return fminf(a, b); }
static inline float max(float a, float b) { return fmaxf(a, b); }
static inline double min(double a, double b) { return fmin(a, b); }
static inline double max(double a, double b) { return fmax(a, b); }

#define CUDA_ON_CPU_ATOMICS(type)                                                                \
    static inline type atomicAdd(type *a, type b) {                                              \
        return __atomic_fetch_add(a, b, __ATOMIC_RELAXED);                                       \
    }                                                                                            \
    static inline type atomicExch(type *a, type b) {                                             \
        return __atomic_exchange_n(a, b, __ATOMIC_RELAXED);                                      \
    }                                                                                            \
    static inline type atomicCAS(type *a, type expected, type b) {                               \
        __atomic_compare_exchange_n(a, &expected, b, false, __ATOMIC_RELAXED, __ATOMIC_RELAXED); \
        return expected;                                                                         \
    }                                                                                            \
    static inline type atomicMax(type *a, type b) {                                              \
        type old = *a;                                                                           \
        while (old < b && !__atomic_compare_exchange_n(a, &old, b, false, __ATOMIC_RELAXED,      \
                                                       __ATOMIC_RELAXED))                        \
            ;                                                                                    \
        return old;                                                                              \
    }                                                                                            \
    static inline type atomicMin(type *a, type b) {                                              \
        type old = *a;                                                                           \
        while (b < old && !__atomic_compare_exchange_n(a, &old, b, false, __ATOMIC_RELAXED,      \
                                                       __ATOMIC_RELAXED))                        \
            ;                                                                                    \
        return old;                                                                              \
    }
CUDA_ON_CPU_ATOMICS(int)
CUDA_ON_CPU_ATOMICS(unsigned)
CUDA_ON_CPU_ATOMICS(unsigned long long)
#undef CUDA_ON_CPU_ATOMICS
