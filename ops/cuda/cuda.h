/// Inside the CUDA kernels only: the device, launches, shared memory and element types.
///
/// The files in this folder are written against a small subset of CUDA and compile twice: with nvcc
/// for a GPU, and as plain C++ against tests/cuda_on_cpu, where every kernel is executed on the
/// host. So: kernels are launched with LAUNCH(), all shared memory comes from SHARED_ARRAY() or
/// DYNAMIC_SHARED(), warps have 32 lanes that all take part in every shuffle and in every call of
/// warp_matrix.h, warpgroups all of theirs in those of warpgroup_matrix.h, and nothing else than
/// this header and what it includes is used.
///
/// Kernels are deterministic: no atomics on floating point, every sum in a fixed order.
#pragma once
#include "ops/kernels.h"

#include <cuda_bf16.h>
#include <cuda_runtime.h>

using bfloat16 = __nv_bfloat16;

/// A GPU. `base` is what the engine sees; its tensors' `device` points here.
struct CudaDevice {
    Device base;
    int ordinal;
    int multiprocessors;
    /// whether kernels of warpgroup_matrix.h are to be used
    bool warpgroups;
    /// all kernels; memory freed and taken again is safe within it
    cudaStream_t compute;
    /// large copies to the device, beside computing
    cudaStream_t copy;
    /// gradients' reduction over processes, beside computing
    cudaStream_t reduce;
};

static inline CudaDevice *cuda_device(const Tensor *x) {
    return reinterpret_cast<CudaDevice *>(x->device);
}

/// The stream on which x's kernels run.
static inline cudaStream_t stream_of(const Tensor *x) { return cuda_device(x)->compute; }

/// Stops the program with one message if a CUDA call failed; `what` says what was being done.
void cuda_check(cudaError_t status, const char *what);

/// Scratch memory of a kernel call, returned when it goes out of scope: safe, since only work that
/// is queued later on the same stream can get the block.
class Workspace {
  public:
    Workspace(const Tensor *like, size_t bytes);
    ~Workspace();
    Workspace(const Workspace &) = delete;
    Workspace &operator=(const Workspace &) = delete;
    template <typename T> T *as() const { return static_cast<T *>(pointer); }

  private:
    Device *device;
    size_t bytes;
    void *pointer;
};

// ---- launching

#ifdef __CUDACC__
/// LAUNCH(kernel<T>, grid, block, dynamic shared bytes, stream, arguments...). A name with commas
/// goes in parentheses.
#define LAUNCH(kernel, grid, block, shared_bytes, stream, ...)                \
    do {                                                                      \
        (kernel)<<<(grid), (block), (shared_bytes), (stream)>>>(__VA_ARGS__); \
        cuda_check(cudaGetLastError(), #kernel);                              \
    } while (0)
/// An array of a block's shared memory, its size known when compiled, 32-byte aligned.
#define SHARED_ARRAY(type, name, count) __shared__ __align__(32) type name[count]
/// The block's dynamic shared memory (32-byte aligned). More than 48 KiB must be asked for with
/// allow_shared() before.
#define DYNAMIC_SHARED(type, name)                                \
    extern __shared__ __align__(32) unsigned char cuda_dynamic[]; \
    type *name = reinterpret_cast<type *>(cuda_dynamic)
#define UNROLL _Pragma("unroll")
#else
#define LAUNCH(kernel, grid, block, shared_bytes, stream, ...)                           \
    do {                                                                                 \
        cuda_on_cpu_launch(#kernel, (grid), (block), (shared_bytes), (stream), (kernel), \
                           __VA_ARGS__);                                                 \
        cuda_check(cudaGetLastError(), #kernel);                                         \
    } while (0)
#define SHARED_ARRAY(type, name, count) \
    type *name = static_cast<type *>(cuda_on_cpu_shared(__FILE__, __LINE__, sizeof(type) * (count)))
#define DYNAMIC_SHARED(type, name) type *name = static_cast<type *>(cuda_on_cpu_dynamic_shared())
#define UNROLL
#endif

/// Lets a kernel have more than 48 KiB of dynamic shared memory (every GPU from sm_80 on has 99 KiB
/// for a block).
template <typename Kernel> static inline void allow_shared(Kernel *kernel, size_t bytes) {
    if (bytes > 48 * 1024)
        cuda_check(cudaFuncSetAttribute(reinterpret_cast<const void *>(kernel),
                                        cudaFuncAttributeMaxDynamicSharedMemorySize, (int)bytes),
                   "asking for shared memory");
}

/// Calls `function` with a null pointer of the element type of `dtype`, so that it can be a
/// template: WITH_TYPE(x->dtype, T, code).
#define WITH_TYPE(dtype, T, ...)                                   \
    do {                                                           \
        if ((dtype) == FLOAT32) {                                  \
            using T = float;                                       \
            __VA_ARGS__;                                           \
        } else {                                                   \
            CHECK((dtype) == BFLOAT16, "no kernel for this type"); \
            using T = bfloat16;                                    \
            __VA_ARGS__;                                           \
        }                                                          \
    } while (0)

template <typename T> static inline const T *data_of(const Tensor *x) {
    return static_cast<const T *>(x->data);
}
template <typename T> static inline T *data_of(Tensor *x) { return static_cast<T *>(x->data); }
/// NULL for no tensor.
template <typename T> static inline const T *data_or_null(const Tensor *x) {
    return x ? static_cast<const T *>(x->data) : nullptr;
}
template <typename T> static inline T *data_or_null(Tensor *x) {
    return x ? static_cast<T *>(x->data) : nullptr;
}

static inline int64_t ceil_divide(int64_t a, int64_t b) { return (a + b - 1) / b; }

/// Blocks for a loop over n elements with a stride of the whole grid: enough to fill the GPU, no
/// more.
static inline unsigned blocks_for(const Tensor *x, int64_t n, int threads) {
    int64_t blocks = ceil_divide(n, threads), most = 16ll * cuda_device(x)->multiprocessors;
    return (unsigned)(blocks < 1 ? 1 : blocks < most ? blocks : most);
}

// ---- elements

static __device__ __forceinline__ float to_float(float x) { return x; }
static __device__ __forceinline__ float to_float(bfloat16 x) { return __bfloat162float(x); }
template <typename T> static __device__ __forceinline__ T from_float(float x);
template <> __device__ __forceinline__ float from_float<float>(float x) { return x; }
template <> __device__ __forceinline__ bfloat16 from_float<bfloat16>(float x) {
    return __float2bfloat16(x); // to nearest even
}

/// N elements moved in one instruction; the address must be a multiple of sizeof(T) * N.
template <typename T, int N> struct alignas(sizeof(T) * N) Pack { T values[N]; };

// ---- sums within a warp and a block

static __device__ __forceinline__ float warp_sum(float x) {
    for (int offset = 16; offset; offset /= 2) x += __shfl_xor_sync(0xffffffffu, x, offset);
    return x;
}

static __device__ __forceinline__ float warp_max(float x) {
    for (int offset = 16; offset; offset /= 2)
        x = fmaxf(x, __shfl_xor_sync(0xffffffffu, x, offset));
    return x;
}

/// The sum over a block of up to 1024 threads (a multiple of 32), in every thread. All threads call
/// it.
static __device__ __forceinline__ float block_sum(float x) {
    SHARED_ARRAY(float, partial, 32);
    int lane = threadIdx.x % 32, warp = threadIdx.x / 32, warps = (blockDim.x + 31) / 32;
    x = warp_sum(x);
    __syncthreads(); // the array may still be read from the call before
    if (lane == 0) partial[warp] = x;
    __syncthreads();
    return warp_sum(lane < warps ? partial[lane] : 0.0f);
}

/// The largest over a block, in every thread.
static __device__ __forceinline__ float block_max(float x) {
    SHARED_ARRAY(float, partial, 32);
    int lane = threadIdx.x % 32, warp = threadIdx.x / 32, warps = (blockDim.x + 31) / 32;
    x = warp_max(x);
    __syncthreads();
    if (lane == 0) partial[warp] = x;
    __syncthreads();
    return warp_max(lane < warps ? partial[lane] : -INFINITY);
}

// ---- the families

#define DECLARE_FAMILY(family, unused) void fill_##family(Kernels *table);
KERNEL_FAMILIES(DECLARE_FAMILY, )
#undef DECLARE_FAMILY

/// The end of each file: a family's kernels are the functions of their names.
#define FILL_FAMILY(family) \
    void fill_##family(Kernels *table) { TAKE_KERNELS(family) }
