// Moving rows and pixels. Rows are copied as bytes, in the widest words that all of them begin and
// end with. Gradients are gathered, never scattered with +=: each element of the result is written
// by one thread, which adds up its terms in a fixed order.
#include "ops/cuda/elements.h"

// ---- words

using Word16 = Pack<uint32_t, 4>;
using Word8 = Pack<uint32_t, 2>;

/// The widest word, up to 16 bytes, that divides all of the sizes and addresses that were or-ed
/// together.
static inline unsigned word_of(uint64_t all) {
    unsigned word = 16;
    while (all % word) word /= 2;
    return word;
}

static inline uint64_t address(const void *pointer) { return reinterpret_cast<uintptr_t>(pointer); }

#define WITH_WORD(bytes, W, ...)                                  \
    do {                                                          \
        if ((bytes) == 16) {                                      \
            using W = Word16;                                     \
            __VA_ARGS__;                                          \
        } else if ((bytes) == 8) {                                \
            using W = Word8;                                      \
            __VA_ARGS__;                                          \
        } else if ((bytes) == 4) {                                \
            using W = uint32_t;                                   \
            __VA_ARGS__;                                          \
        } else {                                                  \
            CHECK((bytes) == 2, "elements of %u bytes", (bytes)); \
            using W = uint16_t;                                   \
            __VA_ARGS__;                                          \
        }                                                         \
    } while (0)

static int64_t row_bytes(const Tensor *x) {
    return tensor_columns(x) * (int64_t)dtype_size(x->dtype);
}

// ---- columns

/// Rows of `words` words, copied between matrices whose rows are `from.stride` and `to.stride`
/// words long.
template <typename W>
static __global__ void copy_columns_kernel(Rows<const W> from, Rows<W> to, int64_t rows,
                                           int64_t words) {
    FOR_ROWS(row, rows)
        FOR_COLUMNS(i, words) to.data[row * to.stride + i] = from.data[row * from.stride + i];
}

/// All sizes in bytes.
static void copy_columns(const Tensor *like, const void *from, int64_t from_stride, void *to,
                         int64_t to_stride, int64_t rows, int64_t bytes) {
    if (rows == 0 || bytes == 0) return;
    unsigned word = word_of(address(from) | address(to) |
                            (uint64_t)(rows == 1 ? 0 : from_stride | to_stride) | (uint64_t)bytes);
    RowGrid grid = row_grid(like, 1, rows, bytes / word);
    WITH_WORD(word, W,
              LAUNCH(copy_columns_kernel<W>, grid.grid, grid.block, 0, stream_of(like),
                     (Rows<const W>{static_cast<const W *>(from), from_stride / word}),
                     (Rows<W>{static_cast<W *>(to), to_stride / word}), rows, bytes / word));
}

static void concatenate(const Tensor *a, const Tensor *b, Tensor *y) {
    int64_t rows = tensor_rows(y), width = row_bytes(y);
    char *out = data_of<char>(y);
    copy_columns(y, a->data, row_bytes(a), out, width, rows, row_bytes(a));
    copy_columns(y, b->data, row_bytes(b), out + row_bytes(a), width, rows, row_bytes(b));
}

static void split(const Tensor *y, Tensor *a, Tensor *b) {
    int64_t rows = tensor_rows(y), width = row_bytes(y);
    const char *in = data_of<char>(y);
    if (a) copy_columns(y, in, width, a->data, row_bytes(a), rows, row_bytes(a));
    if (b)
        copy_columns(y, in + width - row_bytes(b), width, b->data, row_bytes(b), rows,
                     row_bytes(b));
}

// ---- rows by index

/// y[i] = index[i] >= 0 ? a[index[i]] : b[~index[i]]
template <typename W>
static __global__ void merge_rows_kernel(const W *a, const W *b, const int32_t *index, W *y,
                                         int64_t rows, int64_t words) {
    FOR_ROWS(row, rows) {
        int64_t place = index[row];
        const W *from = place >= 0 ? a + place * words : b + ~place * words;
        FOR_COLUMNS(i, words) y[row * words + i] = from[i];
    }
}

static void merge_rows(const Tensor *a, const Tensor *b, const Tensor *index, Tensor *y) {
    int64_t rows = tensor_numel(index), bytes = row_bytes(y);
    if (rows == 0 || bytes == 0) return;
    const void *second = b ? b->data : nullptr;
    unsigned word =
        word_of(address(a->data) | address(second) | address(y->data) | (uint64_t)bytes);
    RowGrid grid = row_grid(y, 1, rows, bytes / word);
    WITH_WORD(word, W,
              LAUNCH(merge_rows_kernel<W>, grid.grid, grid.block, 0, stream_of(y), data_of<W>(a),
                     static_cast<const W *>(second), data_of<int32_t>(index), data_of<W>(y), rows,
                     bytes / word));
}

static void gather_rows(const Tensor *table, const Tensor *index, Tensor *y) {
    merge_rows(table, nullptr, index, y);
}

/// The inverse of merge_rows_kernel(); a and b may be NULL.
template <typename W>
static __global__ void unmerge_rows_kernel(const W *y, const int32_t *index, W *a, W *b,
                                           int64_t rows, int64_t words) {
    FOR_ROWS(row, rows) {
        int64_t place = index[row];
        W *base = place >= 0 ? a : b;
        if (base) {
            W *to = base + (place >= 0 ? place : ~place) * words;
            FOR_COLUMNS(i, words) to[i] = y[row * words + i];
        }
    }
}

static void fill_zero(Tensor *x) {
    size_t bytes = (size_t)tensor_numel(x) * dtype_size(x->dtype);
    if (bytes) cuda_check(cudaMemsetAsync(x->data, 0, bytes, stream_of(x)), "filling with zeros");
}

static void unmerge_rows(const Tensor *y, const Tensor *index, Tensor *a, Tensor *b) {
    int64_t rows = tensor_numel(index), bytes = row_bytes(y);
    if (rows == 0 || bytes == 0 || (!a && !b)) return;
    void *first = a ? a->data : nullptr, *second = b ? b->data : nullptr;
    unsigned word = word_of(address(first) | address(second) | address(y->data) | (uint64_t)bytes);
    RowGrid grid = row_grid(y, 1, rows, bytes / word);
    WITH_WORD(word, W,
              LAUNCH(unmerge_rows_kernel<W>, grid.grid, grid.block, 0, stream_of(y), data_of<W>(y),
                     data_of<int32_t>(index), static_cast<W *>(first), static_cast<W *>(second),
                     rows, bytes / word));
}

static void merge_rows_gradient(const Tensor *grad_y, const Tensor *index, Tensor *grad_a,
                                Tensor *grad_b) {
    if (grad_a) fill_zero(grad_a);
    if (grad_b) fill_zero(grad_b);
    unmerge_rows(grad_y, index, grad_a, grad_b);
}

static void scatter_rows(const Tensor *rows, const Tensor *index, Tensor *y) {
    merge_rows_gradient(rows, index, y, nullptr);
}

static void write_rows(const Tensor *rows, const Tensor *index, Tensor *y) {
    unmerge_rows(rows, index, y, nullptr);
}

// ---- resizing. Along an axis, output o is (1 - fraction) x[low] + fraction x[low + 1]; everything
// is computed in whole numbers but the fraction. In the grid, channels lie along x, pixels of an
// image's row along y, rows of all images along z.

static __device__ __forceinline__ int64_t clamp(int64_t x, int64_t low, int64_t high) {
    return x < low ? low : x > high ? high : x;
}
/// a / b rounded up for a >= 0; at most 0 for a < 0.
static __device__ __forceinline__ int64_t divide_up(int64_t a, int64_t b) {
    return (a + b - 1) / b;
}

/// Output o takes input floor(o * input / output).
struct NearestAxis {
    int64_t input, output;
    __device__ __forceinline__ int64_t source(int64_t o) const { return o * input / output; }
    /// Outputs first(i) .. end(i) - 1 take input i.
    __device__ __forceinline__ int64_t first(int64_t i) const {
        return divide_up(i * output, input);
    }
    __device__ __forceinline__ int64_t end(int64_t i) const { return first(i + 1); }
    __device__ __forceinline__ float weight(int64_t, int64_t) const { return 1.0f; }
};

/// Pixels are squares: the centre of output o lies at (o + 1/2) input / output in the input, whose
/// pixel i has its centre at i + 1/2. What falls outside takes the border pixel.
struct BilinearAxis {
    int64_t input, output;

    /// The place of output o between input pixels, times 2 output: (2 o + 1) input - output.
    __device__ __forceinline__ int64_t low(int64_t o, float *fraction) const {
        int64_t place = (2 * o + 1) * input - output;
        if (place < 0) place = 0;
        int64_t below = place / (2 * output);
        *fraction = (float)(place - below * 2 * output) / (float)(2 * output);
        return below;
    }
    __device__ __forceinline__ int64_t high(int64_t low) const {
        return low + 1 < input ? low + 1 : low;
    }

    /// Outputs first(i) .. end(i) - 1 are all that give input i a weight: low(o) >= i - 1 and
    /// low(o) <= i, solved for o.
    __device__ __forceinline__ int64_t first(int64_t i) const {
        return clamp(divide_up((2 * i - 1) * output - input, 2 * input), 0, output);
    }
    __device__ __forceinline__ int64_t end(int64_t i) const {
        return clamp(divide_up((2 * i + 3) * output - input, 2 * input), 0, output);
    }
    __device__ __forceinline__ float weight(int64_t o, int64_t i) const {
        float fraction;
        int64_t below = low(o, &fraction);
        return (below == i ? 1.0f - fraction : 0.0f) + (high(below) == i ? fraction : 0.0f);
    }
};

template <typename W>
static __global__ void upsample_nearest_kernel(const W *x, W *y, NearestAxis vertical,
                                               NearestAxis horizontal, int64_t lines,
                                               int64_t words) {
    FOR_LAYERS(line, lines) {
        int64_t image = line / vertical.output;
        int64_t from_line = image * vertical.input + vertical.source(line % vertical.output);
        FOR_ROWS(column, horizontal.output) {
            const W *from = x + (from_line * horizontal.input + horizontal.source(column)) * words;
            W *to = y + (line * horizontal.output + column) * words;
            FOR_COLUMNS(i, words) to[i] = from[i];
        }
    }
}

static void upsample_nearest(const Tensor *x, Tensor *y) {
    if (tensor_numel(y) == 0) return;
    int64_t lines = y->shape[0] * y->shape[1], bytes = row_bytes(y);
    unsigned word = word_of(address(x->data) | address(y->data) | (uint64_t)bytes);
    RowGrid grid = row_grid(y, lines, y->shape[2], bytes / word);
    NearestAxis vertical = {x->shape[1], y->shape[1]}, horizontal = {x->shape[2], y->shape[2]};
    WITH_WORD(word, W,
              LAUNCH(upsample_nearest_kernel<W>, grid.grid, grid.block, 0, stream_of(y),
                     data_of<W>(x), data_of<W>(y), vertical, horizontal, lines, bytes / word));
}

template <int N, typename T>
static __global__ void resize_bilinear_kernel(const T *x, T *y, BilinearAxis vertical,
                                              BilinearAxis horizontal, int64_t lines,
                                              int64_t channels) {
    FOR_LAYERS(line, lines) {
        float down, over;
        int64_t image = line / vertical.output * vertical.input;
        int64_t above = vertical.low(line % vertical.output, &down), below = vertical.high(above);
        const T *top = x + (image + above) * horizontal.input * channels;
        const T *bottom = x + (image + below) * horizontal.input * channels;
        FOR_ROWS(column, horizontal.output) {
            int64_t left = horizontal.low(column, &over), right = horizontal.high(left);
            T *to = y + (line * horizontal.output + column) * channels;
            FOR_COLUMNS(i, channels / N) {
                float a[N], b[N], c[N], d[N];
                load_pack<N>(top + left * channels + i * N, a);
                load_pack<N>(top + right * channels + i * N, b);
                load_pack<N>(bottom + left * channels + i * N, c);
                load_pack<N>(bottom + right * channels + i * N, d);
                UNROLL
                for (int j = 0; j < N; j++)
                    a[j] = (1.0f - down) * ((1.0f - over) * a[j] + over * b[j]) +
                           down * ((1.0f - over) * c[j] + over * d[j]);
                store_pack<N>(to + i * N, a);
            }
        }
    }
}

static void resize_bilinear(const Tensor *x, Tensor *y) {
    if (tensor_numel(y) == 0) return;
    int64_t lines = y->shape[0] * y->shape[1], channels = tensor_columns(y);
    BilinearAxis vertical = {x->shape[1], y->shape[1]}, horizontal = {x->shape[2], y->shape[2]};
    WITH_TYPE(x->dtype, T, {
        constexpr int N = pack_length(sizeof(T));
        const T *in = data_of<T>(x);
        T *out = data_of<T>(y);
        bool packs =
            packs_fit<N>(Rows<const T>{in, channels}, 2) && packs_fit<N>(Rows<T>{out, channels}, 2);
        RowGrid grid = row_grid(y, lines, y->shape[2], packs ? channels / N : channels);
        if (packs)
            LAUNCH((resize_bilinear_kernel<N, T>), grid.grid, grid.block, 0, stream_of(y), in, out,
                   vertical, horizontal, lines, channels);
        else
            LAUNCH((resize_bilinear_kernel<1, T>), grid.grid, grid.block, 0, stream_of(y), in, out,
                   vertical, horizontal, lines, channels);
    });
}

/// The gradient of an input pixel: the weighted sum of the gradients of the outputs that read it.
template <int N, typename Axis, typename T>
static __global__ void resize_gradient_kernel(const T *grad_y, T *grad_x, Axis vertical,
                                              Axis horizontal, int64_t lines, int64_t channels) {
    FOR_LAYERS(line, lines) {
        int64_t image = line / vertical.input, i = line % vertical.input;
        int64_t top = vertical.first(i), bottom = vertical.end(i);
        FOR_ROWS(j, horizontal.input) {
            int64_t left = horizontal.first(j), right = horizontal.end(j);
            FOR_COLUMNS(c, channels / N) {
                float sum[N] = {}, values[N];
                for (int64_t o = top; o < bottom; o++) {
                    float down = vertical.weight(o, i);
                    const T *from =
                        grad_y + (image * vertical.output + o) * horizontal.output * channels;
                    for (int64_t p = left; p < right; p++) {
                        float weight = down * horizontal.weight(p, j);
                        load_pack<N>(from + p * channels + c * N, values);
                        UNROLL
                        for (int k = 0; k < N; k++) sum[k] += weight * values[k];
                    }
                }
                store_pack<N>(grad_x + (line * horizontal.input + j) * channels + c * N, sum);
            }
        }
    }
}

template <typename Axis> static void resize_gradient(const Tensor *grad_y, Tensor *grad_x) {
    if (tensor_numel(grad_x) == 0) return;
    int64_t lines = grad_x->shape[0] * grad_x->shape[1], channels = tensor_columns(grad_x);
    Axis vertical = {grad_x->shape[1], grad_y->shape[1]};
    Axis horizontal = {grad_x->shape[2], grad_y->shape[2]};
    WITH_TYPE(grad_y->dtype, T, {
        constexpr int N = pack_length(sizeof(T));
        const T *in = data_of<T>(grad_y);
        T *out = data_of<T>(grad_x);
        bool packs =
            packs_fit<N>(Rows<const T>{in, channels}, 2) && packs_fit<N>(Rows<T>{out, channels}, 2);
        RowGrid grid = row_grid(grad_x, lines, grad_x->shape[2], packs ? channels / N : channels);
        if (packs)
            LAUNCH((resize_gradient_kernel<N, Axis, T>), grid.grid, grid.block, 0,
                   stream_of(grad_x), in, out, vertical, horizontal, lines, channels);
        else
            LAUNCH((resize_gradient_kernel<1, Axis, T>), grid.grid, grid.block, 0,
                   stream_of(grad_x), in, out, vertical, horizontal, lines, channels);
    });
}

static void upsample_nearest_gradient(const Tensor *grad_y, Tensor *grad_x) {
    resize_gradient<NearestAxis>(grad_y, grad_x);
}

static void resize_bilinear_gradient(const Tensor *grad_y, Tensor *grad_x) {
    resize_gradient<BilinearAxis>(grad_y, grad_x);
}

FILL_FAMILY(shape)
