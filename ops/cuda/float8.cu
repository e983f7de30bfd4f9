// Rounding to FLOAT8, a block a row: once over it for its largest magnitude, once for its bytes,
// which finds the row in the caches. And the way back.
#include "ops/cuda/elements.h"
#include "ops/cuda/float8.h"

namespace {

constexpr int THREADS = 256;

/// float8_scale() on the device.
__device__ __forceinline__ float scale_of(float largest) {
    unsigned bits = __float_as_uint(largest), exponent = bits >> 23;
    unsigned above = (bits & 0x7fffffu) > 0x600000u;
    if (exponent == 255) return NAN;
    return __uint_as_float((exponent < 18 ? 10 : exponent - 8 + above) << 23);
}

/// fmaxf() passes over NaN, so that counts as infinite.
__device__ __forceinline__ float magnitude(float x) { return x == x ? fabsf(x) : INFINITY; }

/// Rows of packs of N elements.
template <typename T, int N>
__global__ void quantize_kernel(const T *x, int64_t columns, float8 *y, float *scales) {
    x += blockIdx.x * columns;
    y += blockIdx.x * columns;
    float largest = 0;
    for (int64_t c = (int64_t)threadIdx.x * N; c < columns; c += (int64_t)blockDim.x * N) {
        float values[N];
        load_pack<N>(x + c, values);
        UNROLL
        for (int i = 0; i < N; i++) largest = fmaxf(largest, magnitude(values[i]));
    }
    float scale = scale_of(block_max(largest));
    float inverse = scale == scale ? 1.0f / scale : 0.0f;
    if (threadIdx.x == 0) scales[blockIdx.x] = scale;
    for (int64_t c = (int64_t)threadIdx.x * N; c < columns; c += (int64_t)blockDim.x * N) {
        float values[N];
        load_pack<N>(x + c, values);
        UNROLL
        for (int i = 0; i < N; i++) values[i] = inverse > 0 ? values[i] * inverse : 0.0f;
        store_pack<N>(y + c, values);
    }
}

template <typename T, int N> void launch_quantize(const Tensor *x, Tensor *y) {
    int64_t rows = tensor_rows(x);
    CHECK(rows <= INT32_MAX, "quantize_rows: x is %s", tensor_describe(x));
    LAUNCH((quantize_kernel<T, N>), (unsigned)rows, THREADS, 0, stream_of(x), data_of<T>(x),
           tensor_columns(x), data_of<float8>(y), data_of<float>(y->scales));
}

void quantize_rows(const Tensor *x, Tensor *y) {
    if (tensor_numel(x) == 0) return;
    WITH_TYPE(x->dtype, T, {
        constexpr int N = pack_length(sizeof(T));
        Rows<const T> from = {data_of<T>(x), tensor_columns(x)};
        Rows<float8> to = {data_of<float8>(y), tensor_columns(x)};
        bool whole = tensor_columns(x) % N == 0 && packs_fit<N>(from, tensor_rows(x)) &&
                     packs_fit<N>(to, tensor_rows(x));
        if (whole)
            launch_quantize<T, N>(x, y);
        else
            launch_quantize<T, 1>(x, y);
    });
}

/// N divides the columns.
template <typename T, int N>
__global__ void widen_kernel(const float8 *x, const float *scales, int64_t packs, int64_t columns,
                             T *y) {
    for (int64_t i = (int64_t)blockIdx.x * blockDim.x + threadIdx.x; i < packs;
         i += (int64_t)gridDim.x * blockDim.x) {
        float scale = scales[i * N / columns], values[N];
        load_pack<N>(x + i * N, values);
        UNROLL
        for (int j = 0; j < N; j++) values[j] *= scale;
        store_pack<N>(y + i * N, values);
    }
}

template <typename T, int N> void launch_widen(const Tensor *x, T *to) {
    int64_t packs = tensor_numel(x) / N;
    LAUNCH((widen_kernel<T, N>), blocks_for(x, packs, THREADS), THREADS, 0, stream_of(x),
           data_of<float8>(x), data_of<float>(x->scales), packs, tensor_columns(x), to);
}

} // namespace

void widen_rows(const Tensor *x, DType type, void *to) {
    if (tensor_numel(x) == 0) return;
    WITH_TYPE(type, T, {
        constexpr int N = pack_length(sizeof(T));
        uintptr_t addresses =
            reinterpret_cast<uintptr_t>(x->data) * 16 / N | reinterpret_cast<uintptr_t>(to);
        if (tensor_columns(x) % N == 0 && addresses % 16 == 0)
            launch_widen<T, N>(x, static_cast<T *>(to));
        else
            launch_widen<T, 1>(x, static_cast<T *>(to));
    });
}

FILL_FAMILY(float8)
