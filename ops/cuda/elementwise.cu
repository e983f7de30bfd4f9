// Element by element: sums, products, conversions, dropout, and normal numbers that are the CPU's
// to the last bit.
#include "ops/cuda/elements.h"

// ---- sums and products

namespace {

struct Sum {
    __device__ __forceinline__ float operator()(float a, float b) const { return a + b; }
};
struct Product {
    __device__ __forceinline__ float operator()(float a, float b) const { return a * b; }
};

/// F with one element of the device for its second argument.
template <typename F, typename B> struct WithOne {
    const B *b;
    __device__ __forceinline__ float operator()(float a) const { return F()(a, to_float(*b)); }
};

template <typename F, typename A, typename B, typename Y>
static void combine_typed(const Tensor *a, const Tensor *b, Tensor *y) {
    int64_t n = tensor_numel(a), period = tensor_numel(b);
    if (n == 0) return;
    if (period == 1)
        map(a, WithOne<F, B>{data_of<B>(b)}, data_of<A>(a), data_of<Y>(y), n);
    else
        map_rows(a, F(), Rows<const A>{data_of<A>(a), period}, Rows<const B>{data_of<B>(b), 0},
                 Rows<Y>{data_of<Y>(y), period}, n / period, period);
}

template <typename F> static void combine(const Tensor *a, const Tensor *b, Tensor *y) {
    WITH_TYPE(a->dtype, A,
              WITH_TYPE(b->dtype, B, WITH_TYPE(y->dtype, Y, combine_typed<F, A, B, Y>(a, b, y))));
}

static void add(const Tensor *a, const Tensor *b, Tensor *y) { combine<Sum>(a, b, y); }

static void multiply(const Tensor *a, const Tensor *b, Tensor *y) { combine<Product>(a, b, y); }

struct Scale {
    float factor;
    __device__ __forceinline__ float operator()(float x) const { return x * factor; }
};
struct Identity {
    __device__ __forceinline__ float operator()(float x) const { return x; }
};

static void scale(const Tensor *x, float factor, Tensor *y) {
    WITH_TYPE(x->dtype, X,
              WITH_TYPE(y->dtype, Y,
                        map(x, Scale{factor}, data_of<X>(x), data_of<Y>(y), tensor_numel(x))));
}

static void convert(const Tensor *x, Tensor *y) {
    WITH_TYPE(
        x->dtype, X,
        WITH_TYPE(y->dtype, Y, map(x, Identity(), data_of<X>(x), data_of<Y>(y), tensor_numel(x))));
}

// ---- random numbers. Element i of a stream is word i % 4 of block i / 4.

struct RandomWords {
    uint32_t words[4];
};

/// philox4x32() of autograd/philox.h.
static __device__ __forceinline__ RandomWords random_words(RandomStream stream, int64_t block) {
    uint32_t c0 = (uint32_t)block, c1 = (uint32_t)((uint64_t)block >> 32);
    uint32_t c2 = (uint32_t)stream.index, c3 = (uint32_t)(stream.index >> 32);
    uint32_t k0 = (uint32_t)stream.key, k1 = (uint32_t)(stream.key >> 32);
    UNROLL
    for (int round = 0; round < 10; round++) {
        uint64_t p0 = (uint64_t)0xD2511F53u * c0, p1 = (uint64_t)0xCD9E8D57u * c2;
        c0 = (uint32_t)(p1 >> 32) ^ c1 ^ k0;
        c1 = (uint32_t)p1;
        c2 = (uint32_t)(p0 >> 32) ^ c3 ^ k1;
        c3 = (uint32_t)p0;
        k0 += 0x9E3779B9u;
        k1 += 0xBB67AE85u;
    }
    return {{c0, c1, c2, c3}};
}

struct Dropout {
    RandomStream stream;
    /// [rows,2]: a number and a position, or NULL
    const int32_t *rows;
    /// of a word's 24 high bits: below it an element is dropped
    uint32_t threshold;
    float kept;

    /// Row `row` draws from blocks `*first`, ... of the stream returned.
    __device__ __forceinline__ RandomStream stream_of_row(int64_t row, int64_t *first) const {
        *first = 0;
        if (!rows) return stream;
        *first = (int64_t)((uint64_t)(uint32_t)rows[2 * row + 1] << 32);
        // random_number_key()
        uint64_t number = (uint32_t)rows[2 * row] * 0x9e3779b97f4a7c15ull;
        return {stream.key + number, stream.index};
    }

    /// The element's share: a choice, not a product, so that a dropped infinity is 0.
    __device__ __forceinline__ float apply(float x, uint32_t word) const {
        return word >> 8 >= threshold ? x * kept : 0.0f;
    }
};

/// Groups of N elements, or of four where no packs fit (N = 1): then they are moved one by one.
template <int N, typename T>
static __global__ void dropout_kernel(Dropout dropout, const T *x, T *y, int64_t rows,
                                      int64_t columns) {
    constexpr int GROUP = N < 4 ? 4 : N;
    FOR_ROWS(row, rows) {
        int64_t first;
        RandomStream stream = dropout.stream_of_row(row, &first);
        const T *in = x + row * columns;
        T *out = y + row * columns;
        FOR_COLUMNS(group, (columns + GROUP - 1) / GROUP) {
            RandomWords bits[GROUP / 4];
            UNROLL
            for (int i = 0; i < GROUP / 4; i++)
                bits[i] = random_words(stream, first + group * (GROUP / 4) + i);
            if (N == GROUP && (group + 1) * GROUP <= columns) {
                float values[GROUP];
                load_pack<GROUP>(in + group * GROUP, values);
                UNROLL
                for (int i = 0; i < GROUP; i++)
                    values[i] = dropout.apply(values[i], bits[i / 4].words[i % 4]);
                store_pack<GROUP>(out + group * GROUP, values);
            } else {
                UNROLL
                for (int i = 0; i < GROUP; i++) {
                    int64_t at = group * GROUP + i;
                    if (at < columns)
                        out[at] = from_float<T>(
                            dropout.apply(to_float(in[at]), bits[i / 4].words[i % 4]));
                }
            }
        }
    }
}

static void dropout(const Tensor *x, float probability, RandomStream stream, const Tensor *rows,
                    Tensor *y) {
    int64_t n = tensor_numel(x);
    if (n == 0) return;
    int64_t count = rows ? tensor_rows(x) : 1, columns = n / count;
    // A uniform number is a whole multiple of 2^-24, so comparing whole numbers is exact.
    Dropout dropout = {stream, data_or_null<int32_t>(rows), (uint32_t)ceilf(probability * 0x1p24f),
                       1.0f / (1.0f - probability)};
    WITH_TYPE(x->dtype, T, {
        constexpr int N = pack_length(sizeof(T));
        const T *in = data_of<T>(x);
        T *out = data_of<T>(y);
        bool packs = packs_fit<N>(Rows<const T>{in, columns}, count) &&
                     packs_fit<N>(Rows<T>{out, columns}, count);
        RowGrid grid = row_grid(x, 1, count, ceil_divide(columns, packs ? N : 4));
        if (packs)
            LAUNCH((dropout_kernel<N, T>), grid.grid, grid.block, 0, stream_of(x), dropout, in, out,
                   count, columns);
        else
            LAUNCH((dropout_kernel<1, T>), grid.grid, grid.block, 0, stream_of(x), dropout, in, out,
                   count, columns);
    });
}

// ---- the autoencoder's latents

template <int N>
static __global__ void gaussian_sample_kernel(const float *moments, const float *noise, float *y,
                                              int64_t rows, int64_t columns) {
    FOR_ROWS(row, rows)
        FOR_COLUMNS(i, columns / N) {
            float mean[N], log_variance[N], values[N];
            load_pack<N>(moments + row * 2 * columns + i * N, mean);
            load_pack<N>(moments + row * 2 * columns + columns + i * N, log_variance);
            load_pack<N>(noise + row * columns + i * N, values);
            UNROLL
            for (int j = 0; j < N; j++) {
                float v = log_variance[j] < -30.0f ? -30.0f : log_variance[j];
                v = v > 20.0f ? 20.0f : v; // a NaN stays
                values[j] = mean[j] + expf(0.5f * v) * values[j];
            }
            store_pack<N>(y + row * columns + i * N, values);
        }
}

static void gaussian_sample(const Tensor *moments, const Tensor *noise, Tensor *y) {
    int64_t rows = tensor_rows(y), columns = tensor_columns(y);
    if (rows == 0 || columns == 0) return;
    const float *in = data_of<float>(moments), *random = data_of<float>(noise);
    float *out = data_of<float>(y);
    bool packs = columns % 4 == 0 && packs_fit<4>(Rows<const float>{in, columns}, rows) &&
                 packs_fit<4>(Rows<const float>{random, columns}, rows) &&
                 packs_fit<4>(Rows<float>{out, columns}, rows);
    RowGrid grid = row_grid(y, 1, rows, packs ? columns / 4 : columns);
    if (packs)
        LAUNCH(gaussian_sample_kernel<4>, grid.grid, grid.block, 0, stream_of(y), in, random, out,
               rows, columns);
    else
        LAUNCH(gaussian_sample_kernel<1>, grid.grid, grid.block, 0, stream_of(y), in, random, out,
               rows, columns);
}

} // namespace

FILL_FAMILY(elementwise)
