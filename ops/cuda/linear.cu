// Linear layers: cuBLASLt multiplies, and one kernel of our own sums rows (the gradient of a bias).
// A FLOAT32 master or bias beside BFLOAT16 activations is rounded into scratch memory first. FLOAT8
// is multiplied by the chip's own units where it has them, and widened first, which loses nothing,
// where it has not.
#include "ops/cuda/cublaslt.h"

namespace {

void check_types(const Tensor *x, const Tensor *weight, const Tensor *y) {
    bool plain = x->dtype == FLOAT32 || x->dtype == BFLOAT16;
    CHECK(x->dtype == FLOAT8
              ? weight->dtype == FLOAT8 && (y->dtype == FLOAT32 || y->dtype == BFLOAT16)
              : plain && (y->dtype == x->dtype || y->dtype == FLOAT32) &&
                    (weight->dtype == x->dtype || weight->dtype == FLOAT32 ||
                     weight->dtype == FLOAT8),
          "linear: x is %s, weight %s, y %s", tensor_describe(x), tensor_describe(weight),
          tensor_describe(y));
}

/// x and weight as they are, where the chip multiplies FLOAT8.
bool multiply_bytes(const Tensor *x, const Tensor *weight, Tensor *y) {
    Product product = {
        tensor_rows(x), tensor_columns(y), tensor_columns(x), FLOAT8, y->dtype, false, true, false,
        false};
    product.a_scales = data_of<float>(x->scales);
    product.b_scales = data_of<float>(weight->scales);
    return multiply_float8(x, product, x->data, weight->data, y->data);
}

/// y [m,n] (+)= x [m,k] times weight ([n,k] if `transposed`, else [k,n]) + bias, or activation
/// GELU_TANH of that.
void multiply_rows(const Tensor *x, const Tensor *weight, bool transposed, const Tensor *bias,
                   bool accumulate, bool gelu_tanh, Tensor *y) {
    if (tensor_numel(y) == 0) return;
    check_types(x, weight, y);
    CHECK(!bias || !accumulate, "linear: a bias and an earlier y");
    if (x->dtype == FLOAT8 && !bias && !accumulate && multiply_bytes(x, weight, y)) return;
    DType type = x->dtype == FLOAT8 ? BFLOAT16 : x->dtype;
    ProductOperand rows(x, x, type), matrix(x, weight, type), added(x, bias, y->dtype);
    Product product = {tensor_rows(x), tensor_columns(y), tensor_columns(x), type,     y->dtype,
                       false,          transposed,        accumulate,        gelu_tanh};
    multiply(x, product, rows.data(), matrix.data(), added.data(), y->data);
}

void linear(const Tensor *x, Tensor *weight, const Tensor *bias, bool accumulate, Tensor *y) {
    multiply_rows(x, weight, true, bias, accumulate, false, y);
}

/// Only a BFLOAT16 result is left to the library: its tanh is too coarse for FLOAT32 (cublaslt.h).
void linear_gelu_tanh(const Tensor *x, Tensor *weight, const Tensor *bias, Tensor *y) {
    bool by_library = y->dtype == BFLOAT16;
    multiply_rows(x, weight, true, bias, false, by_library, y);
    if (!by_library) kernels(y)->activation(GELU_TANH, y, y);
}

void linear_input_gradient(const Tensor *grad_y, Tensor *weight, bool accumulate, Tensor *grad_x) {
    multiply_rows(grad_y, weight, false, nullptr, accumulate, false, grad_x);
}

void linear_weight_gradient(const Tensor *grad_y, const Tensor *x, Tensor *grad_weight) {
    if (tensor_rows(x) == 0) return;
    CHECK(grad_y->dtype == x->dtype && grad_weight->dtype == FLOAT32,
          "linear_weight_gradient: grad_y is %s, x %s, grad_weight %s", tensor_describe(grad_y),
          tensor_describe(x), tensor_describe(grad_weight));
    Product product = {tensor_columns(grad_y),
                       tensor_columns(x),
                       tensor_rows(x),
                       x->dtype,
                       FLOAT32,
                       true,
                       false,
                       true,
                       false};
    multiply(x, product, grad_y->data, x->data, nullptr, grad_weight->data);
}

// ---- sums of rows
//
// Rows are cut into slices, blocks sum the rows of a slice, and the same kernel sums the slices'
// sums. A block's threads form a table of `lanes` packs of columns by THREADS / lanes rows: narrow
// matrices get more rows.

constexpr int THREADS = 256;

template <typename T, int N>
__global__ void sum_rows_kernel(const T *x, int64_t rows, int64_t row_packs, int lanes,
                                int64_t slice_rows, bool accumulate, float *sums) {
    SHARED_ARRAY(float, partial, N *THREADS);
    int thread = threadIdx.x, height = THREADS / lanes;
    int64_t pack = (int64_t)blockIdx.x * lanes + thread % lanes;
    int64_t first = blockIdx.y * slice_rows, last = first + slice_rows;
    if (last > rows) last = rows;
    float sum[N] = {};
    if (pack < row_packs)
        for (int64_t row = first + thread / lanes; row < last; row += height) {
            Pack<T, N> values = reinterpret_cast<const Pack<T, N> *>(x)[row * row_packs + pack];
            UNROLL
            for (int j = 0; j < N; j++) sum[j] += to_float(values.values[j]);
        }
    UNROLL
    for (int j = 0; j < N; j++) partial[j * THREADS + thread] = sum[j];
    for (int half = height / 2; half; half /= 2) {
        __syncthreads();
        if (thread < half * lanes)
            for (int j = 0; j < N; j++)
                partial[j * THREADS + thread] += partial[j * THREADS + thread + half * lanes];
    }
    if (thread < lanes && pack < row_packs) {
        float *out = sums + (blockIdx.y * row_packs + pack) * N;
        for (int j = 0; j < N; j++)
            out[j] = (accumulate ? out[j] : 0.0f) + partial[j * THREADS + thread];
    }
}

/// How rows of a shape are summed; it follows from the shape alone, and so do the bits of the
/// result.
struct RowSum {
    int lanes;
    int64_t blocks_across, slices, slice_rows;
};

RowSum plan_row_sum(int64_t rows, int64_t row_packs, bool one_slice) {
    constexpr int64_t FULL_GPU = 512, ROWS_PER_THREAD = 4;
    RowSum plan = {1, 0, 1, rows};
    while (plan.lanes < 32 && plan.lanes < row_packs) plan.lanes *= 2;
    plan.blocks_across = ceil_divide(row_packs, plan.lanes);
    if (one_slice) return plan;
    int64_t useful = ceil_divide(rows, THREADS / plan.lanes * ROWS_PER_THREAD);
    int64_t wanted = ceil_divide(FULL_GPU, plan.blocks_across);
    plan.slice_rows = ceil_divide(rows, wanted < useful ? wanted : useful);
    plan.slices = ceil_divide(rows, plan.slice_rows);
    return plan;
}

template <typename T, int N>
void launch_row_sum(const Tensor *like, const RowSum &plan, const T *x, int64_t rows,
                    int64_t columns, bool accumulate, float *sums) {
    dim3 grid((unsigned)plan.blocks_across, (unsigned)plan.slices);
    LAUNCH((sum_rows_kernel<T, N>), grid, THREADS, 0, stream_of(like), x, rows, columns / N,
           plan.lanes, plan.slice_rows, accumulate, sums);
}

template <typename T, int N>
void sum_rows_in_packs(const Tensor *like, const T *x, int64_t rows, int64_t columns, float *sum) {
    RowSum plan = plan_row_sum(rows, columns / N, false);
    if (plan.slices == 1) {
        launch_row_sum<T, N>(like, plan, x, rows, columns, true, sum);
        return;
    }
    Workspace partial(like, (size_t)(plan.slices * columns) * sizeof(float));
    launch_row_sum<T, N>(like, plan, x, rows, columns, false, partial.as<float>());
    launch_row_sum<float, 1>(like, plan_row_sum(plan.slices, columns, true), partial.as<float>(),
                             plan.slices, columns, true, sum);
}

void sum_rows(const Tensor *x, Tensor *sum) {
    int64_t n = tensor_numel(x), columns = tensor_numel(sum);
    if (n == 0) return;
    CHECK(sum->dtype == FLOAT32 && n % columns == 0, "sum_rows: x is %s, sum %s",
          tensor_describe(x), tensor_describe(sum));
    WITH_TYPE(x->dtype, T, {
        constexpr int WIDE = 16 / sizeof(T);
        const T *values = data_of<T>(x);
        float *sums = data_of<float>(sum);
        if (columns % WIDE == 0 && reinterpret_cast<uintptr_t>(values) % 16 == 0)
            sum_rows_in_packs<T, WIDE>(x, values, n / columns, columns, sums);
        else
            sum_rows_in_packs<T, 1>(x, values, n / columns, columns, sums);
    });
}

} // namespace

FILL_FAMILY(linear)
