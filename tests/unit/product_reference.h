/// Float64 references for the tests of linear layers and convolutions.
#pragma once
#include "ops/ops.h"
#include "tests/unit/op_cases.h"

#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wunused-function"

/// A float64 sum of products, with the sum of absolute values, and the absolute values of what the
/// sum was before each addition of rows: what a device may have rounded then (case_product_unit()).
typedef struct Reference {
    double *value, *magnitude, *stored;
} Reference;

static Reference reference_new(int64_t n) {
    return (Reference){case_zeros(n), case_zeros(n), case_zeros(n)};
}

static Reference reference_copy(Reference from, int64_t n) {
    Reference copy = reference_new(n);
    for (int64_t i = 0; i < n; i++) {
        copy.value[i] = from.value[i];
        copy.magnitude[i] = from.magnitude[i];
        copy.stored[i] = from.stored[i];
    }
    return copy;
}

static void reference_expect(const char *what, const Tensor *got, Reference want, double terms) {
    case_expect_product(what, got, want.value, want.magnitude, terms, want.stored);
}

static void reference_add(Reference r, int64_t i, double term) {
    r.value[i] += term;
    r.magnitude[i] += fabs(term);
}

/// c [m,n] += row, of which element j of row i is at row[i * step + j]. After the products, in the
/// order of the device's additions.
static void reference_add_rows(Reference c, int64_t m, int64_t n, const double *row, int64_t step) {
    for (int64_t i = 0; i < m; i++)
        for (int64_t j = 0; j < n; j++) {
            c.stored[i * n + j] += fabs(c.value[i * n + j]);
            reference_add(c, i * n + j, row[i * step + j]);
        }
}

// ---- linear layers

/// c [m,n] += a b with element (i,l) of a at a[i * a_row + l * a_column], and so on.
static void reference_product(Reference c, int64_t m, int64_t n, int64_t k, const double *a,
                              int64_t a_row, int64_t a_column, const double *b, int64_t b_row,
                              int64_t b_column) {
    for (int64_t i = 0; i < m; i++)
        for (int64_t j = 0; j < n; j++)
            for (int64_t l = 0; l < k; l++)
                reference_add(c, i * n + j,
                              a[i * a_row + l * a_column] * b[l * b_row + j * b_column]);
}

typedef struct LinearShape {
    int64_t rows, k, n;
} LinearShape;

typedef void (*LinearCheck)(LinearShape shape, DType type, DType weight_type);

static void check_forward(LinearShape s, DType type, DType weight_type) {
    Tensor *x = case_normal(type, SHAPE(s.rows, s.k));
    Tensor *weight = case_normal(weight_type, SHAPE(s.n, s.k));
    Tensor *bias = case_normal(FLOAT32, SHAPE(s.n));
    Reference want = reference_new(s.rows * s.n);
    reference_product(want, s.rows, s.n, s.k, case_doubles(x), s.k, 1, case_doubles(weight), 1,
                      s.k);
    if (type == FLOAT8) type = BFLOAT16;
    Tensor *y = tensor_new(x->device, type, SHAPE(s.rows, s.n));
    kernels(x)->linear(x, weight, NULL, false, y);
    reference_expect("without bias", y, want, (double)s.k);
    Tensor *wide = tensor_new(x->device, FLOAT32, SHAPE(s.rows, s.n));
    kernels(x)->linear(x, weight, NULL, false, wide);
    reference_expect("into float32", wide, want, (double)s.k);
    Reference biased = reference_copy(want, s.rows * s.n);
    reference_add_rows(biased, s.rows, s.n, case_doubles(bias), 0);
    kernels(x)->linear(x, weight, bias, false, y);
    reference_expect("with bias", y, biased, (double)s.k);

    Tensor *sum = case_normal(type, SHAPE(s.rows, s.n));
    reference_add_rows(want, s.rows, s.n, case_doubles(sum), s.n);
    kernels(x)->linear(x, weight, NULL, true, sum);
    reference_expect("added to y", sum, want, (double)s.k);
}

static void check_input_gradient(LinearShape s, DType type, DType weight_type) {
    Tensor *grad_y = case_normal(type, SHAPE(s.rows, s.n));
    Tensor *weight = case_normal(weight_type, SHAPE(s.n, s.k));
    Reference want = reference_new(s.rows * s.k);
    reference_product(want, s.rows, s.k, s.n, case_doubles(grad_y), s.n, 1, case_doubles(weight),
                      s.k, 1);
    Tensor *grad_x = tensor_new(weight->device, type, SHAPE(s.rows, s.k));
    kernels(grad_y)->linear_input_gradient(grad_y, weight, false, grad_x);
    reference_expect("input gradient", grad_x, want, (double)s.n);
    Tensor *sum = case_normal(type, SHAPE(s.rows, s.k));
    reference_add_rows(want, s.rows, s.k, case_doubles(sum), s.k);
    kernels(grad_y)->linear_input_gradient(grad_y, weight, true, sum);
    reference_expect("input gradient, added", sum, want, (double)s.n);
}

// ---- convolutions

typedef struct ConvolutionCase {
    int64_t batch, height, width, in, out, kernel_height, kernel_width;
    Conv2d shape;
} ConvolutionCase;

static int64_t output_size(int64_t size, int before, int after, int64_t kernel, int stride) {
    return (size + before + after - kernel) / stride + 1;
}

/// Calls for every pair of an input and an output element that a weight joins.
typedef void (*Joined)(void *context, int64_t x, int64_t weight, int64_t y);

static void for_each_joined(const ConvolutionCase *c, int64_t height, int64_t width, Joined joined,
                            void *context) {
    for (int64_t b = 0; b < c->batch; b++)
        for (int64_t i = 0; i < height * width; i++)
            for (int64_t o = 0; o < c->out; o++)
                for (int64_t kh = 0; kh < c->kernel_height; kh++)
                    for (int64_t kw = 0; kw < c->kernel_width; kw++) {
                        int64_t row = i / width * c->shape.stride + kh - c->shape.pad_top;
                        int64_t column = i % width * c->shape.stride + kw - c->shape.pad_left;
                        if (row < 0 || row >= c->height || column < 0 || column >= c->width)
                            continue;
                        int64_t pixel = (b * c->height + row) * c->width + column;
                        int64_t tap = (o * c->kernel_height + kh) * c->kernel_width + kw;
                        for (int64_t ci = 0; ci < c->in; ci++)
                            joined(context, pixel * c->in + ci, tap * c->in + ci,
                                   (b * height * width + i) * c->out + o);
                    }
}

typedef struct Convolved {
    const double *from, *weight;
    Reference to;
} Convolved;

static void forward_term(void *context, int64_t x, int64_t weight, int64_t y) {
    Convolved *c = context;
    reference_add(c->to, y, c->from[x] * c->weight[weight]);
}

static void backward_term(void *context, int64_t x, int64_t weight, int64_t y) {
    Convolved *c = context;
    reference_add(c->to, x, c->from[y] * c->weight[weight]);
}

/// Both directions of a convolution with random values against their definition.
static void check_convolution(const ConvolutionCase *c, DType type, DType weight_type) {
    int64_t height = output_size(c->height, c->shape.pad_top, c->shape.pad_bottom, c->kernel_height,
                                 c->shape.stride);
    int64_t width = output_size(c->width, c->shape.pad_left, c->shape.pad_right, c->kernel_width,
                                c->shape.stride);
    double taps = (double)(c->kernel_height * c->kernel_width * c->in);
    Tensor *x = case_normal(type, SHAPE(c->batch, c->height, c->width, c->in));
    Tensor *weight =
        case_normal(weight_type, SHAPE(c->out, c->kernel_height, c->kernel_width, c->in));
    Tensor *bias = case_normal(FLOAT32, SHAPE(c->out));
    Tensor *y = conv2d(x, weight, bias, c->shape);
    assert_int_equal(y->shape[1], height);
    assert_int_equal(y->shape[2], width);

    Convolved forward = {case_doubles(x), case_doubles(weight), reference_new(tensor_numel(y))};
    for_each_joined(c, height, width, forward_term, &forward);
    reference_add_rows(forward.to, c->batch * height * width, c->out, case_doubles(bias), 0);
    reference_expect("conv2d", y, forward.to, taps);
    case_expect_equal("the second time, weight prepared", conv2d(x, weight, bias, c->shape), y);

    Tensor *grad_y = case_normal(type, y->rank, y->shape), *grad_x = tensor_like(x);
    Convolved back = {case_doubles(grad_y), forward.weight, reference_new(tensor_numel(x))};
    for_each_joined(c, height, width, backward_term, &back);
    kernels(x)->conv2d_input_gradient(grad_y, weight, &c->shape, grad_x);
    reference_expect("input gradient", grad_x, back.to, taps / (double)c->in * (double)c->out);
}

#pragma GCC diagnostic pop
