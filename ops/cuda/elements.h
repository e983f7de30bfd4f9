/// Inside the CUDA kernels: functions of single elements over rows of tensors, moved in packs of 16
/// bytes where memory allows.
#pragma once
#include "ops/cuda/cuda.h"

enum { ELEMENT_THREADS = 256 };

/// How many elements make a pack if the widest type at hand has `size` bytes.
constexpr int pack_length(size_t size) { return (int)(16 / size); }
constexpr size_t widest(size_t a, size_t b, size_t c = 0) {
    return a > b ? (a > c ? a : c) : b > c ? b : c;
}

template <int N, typename T>
static __device__ __forceinline__ void load_pack(const T *from, float (&values)[N]) {
    Pack<T, N> pack = *reinterpret_cast<const Pack<T, N> *>(from);
    UNROLL
    for (int i = 0; i < N; i++) values[i] = to_float(pack.values[i]);
}

template <int N, typename T>
static __device__ __forceinline__ void store_pack(T *to, const float (&values)[N]) {
    Pack<T, N> pack;
    UNROLL
    for (int i = 0; i < N; i++) pack.values[i] = from_float<T>(values[i]);
    *reinterpret_cast<Pack<T, N> *>(to) = pack;
}

/// Rows of elements, `stride` elements from one to the next; a stride of 0 repeats one row. NULL
/// data where a result is not wanted.
template <typename T> struct Rows {
    T *data;
    int64_t stride;
};

/// Whether a row can be cut into packs of N elements from its first on, each at a multiple of its
/// size.
template <int N, typename T> static inline bool packs_fit(Rows<T> rows, int64_t count) {
    return reinterpret_cast<uintptr_t>(rows.data) % (sizeof(T) * N) == 0 &&
           (count == 1 || rows.stride % N == 0);
}

// ---- grids over [layers,rows,columns]: columns lie along x, as many rows as fill a block along y,
// layers along z. Loops have the stride of the whole grid, so any grid does any size.

struct RowGrid {
    dim3 grid, block;
};

/// Enough blocks to fill the GPU several times over, no more.
static inline RowGrid row_grid(const Tensor *x, int64_t layers, int64_t rows, int64_t columns) {
    unsigned width = 1, height = 1;
    while (width < ELEMENT_THREADS && width < columns) width *= 2;
    while (height * width < ELEMENT_THREADS && height < rows) height *= 2;
    int64_t left = 32ll * cuda_device(x)->multiprocessors;
    auto take = [&left](int64_t wanted) {
        int64_t taken = wanted < 1 ? 1 : wanted < left ? wanted : left;
        left = left / taken;
        return (unsigned)taken;
    };
    unsigned across = take(ceil_divide(columns, width)), down = take(ceil_divide(rows, height));
    return {dim3(across, down, take(layers)), dim3(width, height)};
}

#define FOR_COLUMNS(column, columns)                                                          \
    for (int64_t column = (int64_t)blockIdx.x * blockDim.x + threadIdx.x; column < (columns); \
         column += (int64_t)gridDim.x * blockDim.x)
#define FOR_ROWS(row, rows)                                                          \
    for (int64_t row = (int64_t)blockIdx.y * blockDim.y + threadIdx.y; row < (rows); \
         row += (int64_t)gridDim.y * blockDim.y)
#define FOR_LAYERS(layer, layers) \
    for (int64_t layer = blockIdx.z; layer < (layers); layer += gridDim.z)

// ---- y = f(x) and y = f(a, b), element by element; y may be an input. f is a function object, its
// arguments and result floats.

template <int N, typename F, typename X, typename Y>
static __global__ void map_kernel(F f, const X *x, Y *y, int64_t n) {
    FOR_COLUMNS(i, n / N) {
        float values[N];
        load_pack<N>(x + i * N, values);
        UNROLL
        for (int j = 0; j < N; j++) values[j] = f(values[j]);
        store_pack<N>(y + i * N, values);
    }
    int64_t done = n / N * N;
    FOR_COLUMNS(i, n - done) y[done + i] = from_float<Y>(f(to_float(x[done + i])));
}

template <typename F, typename X, typename Y>
static void map(const Tensor *like, F f, const X *x, Y *y, int64_t n) {
    if (n == 0) return;
    constexpr int N = pack_length(widest(sizeof(X), sizeof(Y)));
    if (packs_fit<N>(Rows<const X>{x, n}, 1) && packs_fit<N>(Rows<Y>{y, n}, 1))
        LAUNCH((map_kernel<N, F, X, Y>), blocks_for(like, ceil_divide(n, N), ELEMENT_THREADS),
               ELEMENT_THREADS, 0, stream_of(like), f, x, y, n);
    else
        LAUNCH((map_kernel<1, F, X, Y>), blocks_for(like, n, ELEMENT_THREADS), ELEMENT_THREADS, 0,
               stream_of(like), f, x, y, n);
}

template <int N, typename F, typename A, typename B, typename Y>
static __global__ void map_rows_kernel(F f, Rows<const A> a, Rows<const B> b, Rows<Y> y,
                                       int64_t rows, int64_t columns) {
    int64_t done = columns / N * N;
    FOR_ROWS(row, rows) {
        const A *left = a.data + row * a.stride;
        const B *right = b.data + row * b.stride;
        Y *out = y.data + row * y.stride;
        FOR_COLUMNS(i, columns / N) {
            float l[N], r[N];
            load_pack<N>(left + i * N, l);
            load_pack<N>(right + i * N, r);
            UNROLL
            for (int j = 0; j < N; j++) l[j] = f(l[j], r[j]);
            store_pack<N>(out + i * N, l);
        }
        FOR_COLUMNS(i, columns - done)
            out[done + i] = from_float<Y>(f(to_float(left[done + i]), to_float(right[done + i])));
    }
}

template <typename F, typename A, typename B, typename Y>
static void map_rows(const Tensor *like, F f, Rows<const A> a, Rows<const B> b, Rows<Y> y,
                     int64_t rows, int64_t columns) {
    if (rows == 0 || columns == 0) return;
    constexpr int N = pack_length(widest(sizeof(A), sizeof(B), sizeof(Y)));
    if (packs_fit<N>(a, rows) && packs_fit<N>(b, rows) && packs_fit<N>(y, rows)) {
        RowGrid grid = row_grid(like, 1, rows, ceil_divide(columns, N));
        LAUNCH((map_rows_kernel<N, F, A, B, Y>), grid.grid, grid.block, 0, stream_of(like), f, a, b,
               y, rows, columns);
    } else {
        RowGrid grid = row_grid(like, 1, rows, columns);
        LAUNCH((map_rows_kernel<1, F, A, B, Y>), grid.grid, grid.block, 0, stream_of(like), f, a, b,
               y, rows, columns);
    }
}
