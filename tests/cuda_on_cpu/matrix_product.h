/// Inside the emulator: products of matrices, fast enough to train small networks in tests,
/// independent of the kernels for the processor, and the same bits in every run.
#pragma once
#include "autograd/tensor.h"

/// A matrix of FLOAT32, BFLOAT16 or FLOAT8 elements (these without their scales), as stored or
/// transposed.
struct Matrix {
    const void *data;
    DType type;
    /// in elements
    int64_t row_step, column_step;

    float at(int64_t row, int64_t column) const {
        int64_t i = row * row_step + column * column_step;
        if (type == FLOAT8) return float8_to_float(static_cast<const uint8_t *>(data)[i]);
        return type == BFLOAT16 ? bfloat16_to_float(static_cast<const uint16_t *>(data)[i])
                                : static_cast<const float *>(data)[i];
    }
};

/// sums [n][m] (column-major) = the part of a [m,k] b [k,n] over first_k .. last_k, accumulated in
/// FLOAT32.
void matrix_product(int64_t m, int64_t n, const Matrix &a, const Matrix &b, int64_t first_k,
                    int64_t last_k, float *sums);
