// Convolutions of frozen networks. Images are channels-last and a weight's row is [kernel row,
// kernel column, channel], so what one output pixel sees is kernel_height runs of kernel_width *
// channels elements that lie together in the image. They are gathered into a matrix of columns, a
// bounded slice of output pixels at a time, and cuBLASLt does the rest:
//
//   y [pixels,Co] = columns [pixels,K] weight^T + bias,   K = kernel_height kernel_width Ci
//
// The input gradient goes the other way: grad_columns = grad_y weight in FLOAT32, then every input
// pixel sums its contributions in the order of the kernel's taps and rounds once. No atomics.
#include "ops/cuda/cublaslt.h"

#include <initializer_list>

namespace {

constexpr int THREADS = 256;
/// What the columns of a slice may take.
constexpr int64_t SLICE_BYTES = 64 << 20;

/// Sizes as kernels use them; `channels` counts input channels in the unit of the kernel at hand.
struct Geometry {
    int height, width, channels, height_out, width_out;
    int kernel_height, kernel_width, stride, pad_top, pad_left;
};

Geometry geometry_of(const Tensor *x, const Tensor *weight, const Conv2d *shape, const Tensor *y) {
    for (const Tensor *image : {x, y})
        CHECK(tensor_numel(image) / tensor_columns(image) < INT32_MAX &&
                  image->shape[2] * image->shape[3] < INT32_MAX,
              "conv2d: an image %s is too large", tensor_describe(image));
    return {(int)x->shape[1], (int)x->shape[2],      (int)x->shape[3],      (int)y->shape[1],
            (int)y->shape[2], (int)weight->shape[1], (int)weight->shape[2], shape->stride,
            shape->pad_top,   shape->pad_left};
}

/// A convolution that is a product of the pixels as they are.
bool is_pointwise(const Tensor *weight, const Conv2d *shape) {
    return weight->shape[1] == 1 && weight->shape[2] == 1 && shape->stride == 1 &&
           shape->pad_top == 0 && shape->pad_left == 0 && shape->pad_bottom == 0 &&
           shape->pad_right == 0;
}

bool aligned_to(const void *pointer, int64_t bytes) {
    return reinterpret_cast<uintptr_t>(pointer) % (uintptr_t)bytes == 0;
}

// ---- forward

/// Writes the columns of output pixels first, first + 1, ...: `count` words in all, a word being a
/// part of a pixel's channels.
template <typename Word>
__global__ void gather_kernel(const Word *x, Geometry g, unsigned first, unsigned count,
                              Word *columns) {
    unsigned run = g.kernel_width * g.channels, per_pixel = g.kernel_height * run;
    int row_words = g.width * g.channels;
    for (unsigned i = blockIdx.x * blockDim.x + threadIdx.x; i < count;
         i += gridDim.x * blockDim.x) {
        unsigned pixel = i / per_pixel, in_pixel = i - pixel * per_pixel;
        unsigned kernel_row = in_pixel / run, in_run = in_pixel - kernel_row * run;
        unsigned row_out = (first + pixel) / g.width_out;
        int column_out = first + pixel - row_out * g.width_out;
        unsigned image = row_out / g.height_out;
        int row = (int)(row_out - image * g.height_out) * g.stride - g.pad_top + (int)kernel_row;
        int at = (column_out * g.stride - g.pad_left) * g.channels + (int)in_run;
        Word word = {};
        if (row >= 0 && row < g.height && at >= 0 && at < row_words)
            word = x[((int64_t)image * g.height + row) * row_words + at];
        columns[i] = word;
    }
}

template <typename Word>
void gather_words(const Tensor *x, Geometry g, int64_t first, int64_t pixels, void *columns) {
    g.channels = (int)(g.channels * dtype_size(x->dtype) / sizeof(Word));
    int64_t count = pixels * g.kernel_height * g.kernel_width * g.channels;
    CHECK(count < UINT32_MAX / 2, "conv2d: one output pixel sees %lld elements",
          (long long)(count / pixels));
    LAUNCH(gather_kernel<Word>, blocks_for(x, count, THREADS), THREADS, 0, stream_of(x),
           static_cast<const Word *>(x->data), g, (unsigned)first, (unsigned)count,
           static_cast<Word *>(columns));
}

/// Copies in the widest words that a pixel's channels consist of.
void gather(const Tensor *x, const Geometry &g, int64_t first, int64_t pixels, void *columns) {
    int64_t pixel_bytes = (int64_t)g.channels * (int64_t)dtype_size(x->dtype);
    auto fits = [&](int64_t bytes) {
        return pixel_bytes % bytes == 0 && aligned_to(x->data, bytes);
    };
    if (fits(16))
        gather_words<Pack<uint32_t, 4>>(x, g, first, pixels, columns);
    else if (fits(8))
        gather_words<Pack<uint32_t, 2>>(x, g, first, pixels, columns);
    else if (fits(4))
        gather_words<Pack<uint32_t, 1>>(x, g, first, pixels, columns);
    else
        gather_words<Pack<uint16_t, 1>>(x, g, first, pixels, columns);
}

/// Output pixels at a time: a multiple of a product's tile where that fits.
int64_t slice_pixels(int64_t pixels, int64_t column_bytes) {
    constexpr int64_t TILE = 128;
    int64_t slice = SLICE_BYTES / column_bytes;
    if (slice >= TILE) slice = slice / TILE * TILE;
    if (slice < 1) slice = 1;
    return slice < pixels ? slice : pixels;
}

void conv2d(const Tensor *x, Tensor *weight, const Tensor *bias, const Conv2d *shape, Tensor *y) {
    if (tensor_numel(y) == 0) return;
    Geometry g = geometry_of(x, weight, shape, y);
    int64_t pixels = tensor_rows(y), k = tensor_numel(weight) / weight->shape[0];
    ProductOperand matrix(x, weight, x->dtype), added(x, bias, y->dtype);
    Product product = {pixels, y->shape[3], k, x->dtype, y->dtype, false, true, false, false};
    if (is_pointwise(weight, shape)) {
        multiply(x, product, x->data, matrix.data(), added.data(), y->data);
        return;
    }
    int64_t column_bytes = k * (int64_t)dtype_size(x->dtype),
            slice = slice_pixels(pixels, column_bytes);
    Workspace columns(x, (size_t)(slice * column_bytes));
    for (int64_t first = 0; first < pixels; first += slice) {
        product.m = pixels - first < slice ? pixels - first : slice;
        gather(x, g, first, product.m, columns.as<void>());
        char *out =
            static_cast<char *>(y->data) + first * y->shape[3] * (int64_t)dtype_size(y->dtype);
        multiply(x, product, columns.as<void>(), matrix.data(), added.data(), out);
    }
}

// ---- input gradient

/// Input rows of some images, and the output rows that touch them (the columns at hand; there may
/// be none).
struct Slice {
    int first_image, images;
    int first_row, rows;
    int first_row_out, rows_out;
};

/// grad_x of a slice's pixels, `count` packs of N channels: the sum over the taps (r, t) that
/// joined the pixel to an output pixel of the column's element (r, t, channel).
template <typename T, int N>
__global__ void sum_taps_kernel(const float *columns, Geometry g, Slice s, unsigned count,
                                T *grad_x) {
    unsigned packs = g.channels / N;
    int64_t k = (int64_t)g.kernel_height * g.kernel_width * g.channels;
    for (unsigned i = blockIdx.x * blockDim.x + threadIdx.x; i < count;
         i += gridDim.x * blockDim.x) {
        unsigned pixel = i / packs, line = pixel / g.width, image = line / s.rows;
        int channel = (int)(i - pixel * packs) * N, column = (int)(pixel - line * g.width);
        int row = s.first_row + (int)(line - image * s.rows);
        int below = row + g.pad_top,
            beside = column + g.pad_left; // output coordinate times stride, plus tap
        float sum[N] = {};
        for (int r = below % g.stride; r < g.kernel_height && r <= below; r += g.stride) {
            int row_out = (below - r) / g.stride;
            if (row_out >= g.height_out) continue;
            int64_t line_out = (int64_t)image * s.rows_out + row_out - s.first_row_out;
            for (int t = beside % g.stride; t < g.kernel_width && t <= beside; t += g.stride) {
                int column_out = (beside - t) / g.stride;
                if (column_out >= g.width_out) continue;
                int64_t at = (line_out * g.width_out + column_out) * k +
                             (r * g.kernel_width + t) * g.channels + channel;
                Pack<float, N> part = *reinterpret_cast<const Pack<float, N> *>(columns + at);
                UNROLL
                for (int j = 0; j < N; j++) sum[j] += part.values[j];
            }
        }
        Pack<T, N> result;
        UNROLL
        for (int j = 0; j < N; j++) result.values[j] = from_float<T>(sum[j]);
        int64_t line_in = (int64_t)(s.first_image + image) * g.height + row;
        int64_t to = (line_in * g.width + column) * g.channels + channel;
        *reinterpret_cast<Pack<T, N> *>(grad_x + to) = result;
    }
}

template <typename T>
void sum_taps(const float *columns, const Geometry &g, const Slice &s, Tensor *grad_x) {
    T *out = data_of<T>(grad_x);
    int64_t elements = (int64_t)s.images * s.rows * g.width * g.channels;
    CHECK(elements < UINT32_MAX / 2, "conv2d: a slice of %lld elements", (long long)elements);
    unsigned count = (unsigned)elements;
    cudaStream_t stream = stream_of(grad_x);
    if (g.channels % 4 == 0 && aligned_to(out, 4 * (int64_t)sizeof(T)))
        LAUNCH((sum_taps_kernel<T, 4>), blocks_for(grad_x, count / 4, THREADS), THREADS, 0, stream,
               columns, g, s, count / 4, out);
    else
        LAUNCH((sum_taps_kernel<T, 1>), blocks_for(grad_x, count, THREADS), THREADS, 0, stream,
               columns, g, s, count, out);
}

/// How many images, or else rows of one image, a slice has. Rows that n input rows need number at
/// most (n - 1 + kernel_height - 1) / stride + 1.
struct SliceSize {
    int images, rows;
    /// over all images of a slice
    int64_t most_rows_out;
};

SliceSize slice_size(const Geometry &g, int images, int64_t column_bytes) {
    int64_t most = SLICE_BYTES / (g.width_out * column_bytes);
    if (most >= g.height_out) {
        int64_t whole = most / g.height_out;
        int at_once = whole < images ? (int)whole : images;
        return {at_once, g.height, (int64_t)at_once * g.height_out};
    }
    int64_t rows = (most - 1) * g.stride - g.kernel_height + 2;
    if (rows < 1) rows = 1;
    if (rows > g.height) rows = g.height;
    int64_t rows_out = (rows - 1 + g.kernel_height - 1) / g.stride + 1;
    return {1, (int)rows, rows_out < g.height_out ? rows_out : g.height_out};
}

/// The slice of `size` that begins at an image and a row.
Slice slice_at(const Geometry &g, const SliceSize &size, int images, int image, int row) {
    int count = images - image < size.images ? images - image : size.images;
    if (size.rows == g.height) return {image, count, 0, g.height, 0, g.height_out};
    int rows = g.height - row < size.rows ? g.height - row : size.rows;
    int above = row + g.pad_top - g.kernel_height + 1;
    int first = above <= 0 ? 0 : (above + g.stride - 1) / g.stride;
    int last = (row + rows - 1 + g.pad_top) / g.stride;
    if (last > g.height_out - 1) last = g.height_out - 1;
    return {image, count, row, rows, first, last < first ? 0 : last - first + 1};
}

void conv2d_input_gradient(const Tensor *grad_y, Tensor *weight, const Conv2d *shape,
                           Tensor *grad_x) {
    if (tensor_numel(grad_x) == 0) return;
    Geometry g = geometry_of(grad_x, weight, shape, grad_y);
    int64_t out = weight->shape[0], k = tensor_numel(weight) / out;
    ProductOperand matrix(grad_y, weight, grad_y->dtype);
    Product product = {
        tensor_rows(grad_y), k, out, grad_y->dtype, grad_x->dtype, false, false, false, false};
    if (is_pointwise(weight, shape)) {
        multiply(grad_y, product, grad_y->data, matrix.data(), nullptr, grad_x->data);
        return;
    }
    product.c_type = FLOAT32;
    int images = (int)grad_x->shape[0];
    int64_t column_bytes = k * (int64_t)sizeof(float);
    int64_t row_bytes = g.width_out * out * (int64_t)dtype_size(grad_y->dtype);
    SliceSize size = slice_size(g, images, column_bytes);
    Workspace columns(grad_y, (size_t)(size.most_rows_out * g.width_out * column_bytes));
    for (int image = 0; image < images; image += size.images)
        for (int row = 0; row < g.height; row += size.rows) {
            Slice slice = slice_at(g, size, images, image, row);
            product.m = (int64_t)slice.images * slice.rows_out * g.width_out;
            int64_t first_out = (int64_t)image * g.height_out + slice.first_row_out;
            const char *from = static_cast<const char *>(grad_y->data) + first_out * row_bytes;
            if (product.m)
                multiply(grad_y, product, from, matrix.data(), nullptr, columns.as<void>());
            WITH_TYPE(grad_x->dtype, T, sum_taps<T>(columns.as<float>(), g, slice, grad_x));
        }
}

} // namespace

FILL_FAMILY(conv2d)
