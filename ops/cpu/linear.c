// Matrix products of linear layers. oneDNN or this folder's own products multiply; this file
// settles types: a FLOAT32 master beside BFLOAT16 activations is rounded on the way, and on
// processors where oneDNN has no BFLOAT16 everything is done in FLOAT32, which this folder's
// product is where it reads either type. FLOAT8 is widened to BFLOAT16, or where there is none to
// FLOAT32, which loses nothing.
#include "ops/cpu/converted.h"
#include "ops/cpu/cpu.h"
#include "ops/cpu/products/float32_product.h"
#include "ops/cpu/products/product.h"

/// The type in which activations of type x are multiplied.
static DType product_type(DType x) { return onednn_has_bfloat16() ? x : FLOAT32; }

/// Frozen matrices up to this many elements are kept packed as well: measured, that gains 10 to 30%
/// where they are small (the product library packs them at each call otherwise), 5 to 8% at 4096 x
/// 4096, where twice the memory is too dear. So at every level, tiles too: what a level's own
/// product saves, packing at each call, the kept copy saves as well.
enum { PREPARED_ELEMENTS = 1 << 19 };

/// Only a weight that lives long is worth preparing: those have names.
static bool worth_preparing(const Tensor *weight) {
    return weight->name && !weight->gradient && tensor_numel(weight) <= PREPARED_ELEMENTS;
}

static const float *bias_data(const Tensor *bias) { return bias ? bias->data : NULL; }

/// y [m,n] (+)= x [m,k] times weight ([n,k] if `transposed`, else [k,n]) + bias.
static void product(const Tensor *x, Tensor *weight, bool transposed, const Tensor *bias,
                    bool accumulate, Tensor *y) {
    CHECK(!bias || !accumulate, "linear: a bias and an earlier y");
    DType type = product_type(x->dtype);
    Matmul shape = {tensor_rows(x), tensor_columns(y), tensor_columns(x), type, y->dtype,
                    false,          transposed,        accumulate};
    if (!worth_preparing(weight) && float32_product(&shape, (ProductMatrix){x->data, x->dtype},
                                                    (ProductMatrix){weight->data, weight->dtype},
                                                    bias_data(bias), y->data, x->device))
        return;
    // The library's product in BFLOAT16 writes either type; that in FLOAT32 only its own.
    DType y_type = type == FLOAT32 ? FLOAT32 : y->dtype;
    shape.c_type = y_type;
    Converted a = converted_read(x, type);
    Converted c = accumulate ? converted_read(y, y_type) : converted_space(y, y_type);
    if (worth_preparing(weight)) {
        onednn_matmul_prepared(&shape, a.data, weight, bias_data(bias), c.data);
    } else {
        Converted b = converted_read(weight, type);
        product_in_place(&shape, a.data, b.data, bias_data(bias), c.data, x->device);
        converted_release(weight, &b);
    }
    converted_release(x, &a);
    converted_write(y, y_type, &c);
}

/// The tensor over other memory of another type; not kept, so nothing is prepared for it.
static Tensor seen_as(const Tensor *x, DType type, void *data) {
    Tensor y = *x;
    y.dtype = type;
    y.data = data;
    y.name = NULL;
    return y;
}

/// product(), where the weight, or it and x, are FLOAT8.
static void product_of_float8(const Tensor *x, Tensor *weight, bool transposed, const Tensor *bias,
                              bool accumulate, Tensor *y) {
    DType type = product_type(x->dtype == FLOAT8 ? BFLOAT16 : x->dtype);
    Converted a = converted_read(x, type), b = converted_read(weight, type);
    Tensor wide_x = seen_as(x, type, a.data), wide_weight = seen_as(weight, type, b.data);
    product(&wide_x, &wide_weight, transposed, bias, accumulate, y);
    converted_release(x, &a);
    converted_release(weight, &b);
}

static void linear(const Tensor *x, Tensor *weight, const Tensor *bias, bool accumulate,
                   Tensor *y) {
    if (tensor_numel(y) == 0) return;
    (weight->dtype == FLOAT8 ? product_of_float8 : product)(x, weight, true, bias, accumulate, y);
}

static void linear_gelu_tanh(const Tensor *x, Tensor *weight, const Tensor *bias, Tensor *y) {
    linear(x, weight, bias, false, y);
    kernels(y)->activation(GELU_TANH, y, y);
}

static void linear_input_gradient(const Tensor *grad_y, Tensor *weight, bool accumulate,
                                  Tensor *grad_x) {
    if (tensor_numel(grad_x) == 0) return;
    (weight->dtype == FLOAT8 ? product_of_float8 : product)(grad_y, weight, false, NULL, accumulate,
                                                            grad_x);
}

static void linear_weight_gradient(const Tensor *grad_y, const Tensor *x, Tensor *grad_weight) {
    if (tensor_rows(x) == 0) return;
    DType type = product_type(x->dtype);
    Matmul shape = {tensor_columns(grad_y),
                    tensor_columns(x),
                    tensor_rows(x),
                    type,
                    FLOAT32,
                    true,
                    false,
                    true};
    Converted a = converted_read(grad_y, type), b = converted_read(x, type);
    product_in_place(&shape, a.data, b.data, NULL, grad_weight->data, x->device);
    converted_release(grad_y, &a);
    converted_release(x, &b);
}

/// sums[c] += x[row][first+c] over rows begin .. end.
static void add_rows(const Tensor *x, int64_t columns, int64_t first, int64_t length, int64_t begin,
                     int64_t end, float *sums) {
    float buffer[CHUNK];
    for (int64_t row = begin; row < end; row++) {
        const float *values = chunk_read(x, row * columns + first, length, buffer);
        for (int64_t c = 0; c < length; c++) sums[c] += values[c];
    }
}

/// Partial sums over blocks of rows, then over the blocks in their order. How many blocks depends
/// on the shape alone, so the sum is the same for any number of threads.
static void sum_rows(const Tensor *x, Tensor *sum) {
    enum { MOST_BLOCKS = 32, BLOCK_ROWS = 64 };
    int64_t n = tensor_numel(x), columns = tensor_numel(sum);
    if (n == 0) return;
    int64_t rows = n / columns, blocks = chunk_count(rows, BLOCK_ROWS);
    if (blocks > MOST_BLOCKS) blocks = MOST_BLOCKS;
    int64_t pieces = chunk_count(columns, CHUNK);
    size_t bytes = (size_t)(blocks * columns) * sizeof(float);
    float *partial = x->device->allocate(x->device, bytes), *total = sum->data;
    PARALLEL_FOR(n)
    for (int64_t task = 0; task < blocks * pieces; task++) {
        int64_t block = task / pieces, piece = task % pieces, first = piece * CHUNK;
        int64_t length = chunk_length(columns, CHUNK, piece);
        float *sums = partial + block * columns + first;
        for (int64_t c = 0; c < length; c++) sums[c] = 0.0f;
        add_rows(x, columns, first, length, rows * block / blocks, rows * (block + 1) / blocks,
                 sums);
    }
    PARALLEL_FOR(blocks * columns)
    for (int64_t piece = 0; piece < pieces; piece++)
        for (int64_t block = 0; block < blocks; block++)
            for (int64_t c = piece * CHUNK; c < piece * CHUNK + chunk_length(columns, CHUNK, piece);
                 c++)
                total[c] += partial[block * columns + c];
    x->device->release(x->device, partial, bytes);
}

FILL_FAMILY(linear)
