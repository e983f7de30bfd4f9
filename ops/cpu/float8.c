// Rounding to FLOAT8, row by row: once over a row for its largest magnitude, once for its bytes.
#include "ops/cpu/chunk.h"
#include "ops/cpu/cpu.h"

#include <math.h>

/// Of floats that are not negative the bits have the order of the numbers, and NaN is above all.
static uint32_t largest_bits(const float *values, int64_t n) {
    uint32_t largest = 0;
    for (int64_t i = 0; i < n; i++) {
        union {
            float number;
            uint32_t bits;
        } u = {values[i]};
        uint32_t bits = u.bits & 0x7fffffffu;
        largest = bits > largest ? bits : largest;
    }
    return largest;
}

static float largest_magnitude(const Tensor *x, int64_t row, int64_t columns) {
    float buffer[CHUNK];
    union {
        uint32_t bits;
        float number;
    } largest = {0};
    for (int64_t i = 0; i < chunk_count(columns, CHUNK); i++) {
        int64_t length = chunk_length(columns, CHUNK, i);
        uint32_t bits =
            largest_bits(chunk_read(x, row * columns + i * CHUNK, length, buffer), length);
        largest.bits = bits > largest.bits ? bits : largest.bits;
    }
    return largest.number;
}

static void quantize_row(const Tensor *x, int64_t row, int64_t columns, float scale, uint8_t *y) {
    float buffer[CHUNK], inverse = isfinite(scale) ? 1.0f / scale : 0.0f;
    for (int64_t first = 0; first < columns; first += CHUNK) {
        int64_t length = chunk_length(columns, CHUNK, first / CHUNK);
        const float *values = chunk_read(x, row * columns + first, length, buffer);
        for (int64_t c = 0; c < length; c++)
            y[first + c] = inverse > 0.0f ? float_to_float8(values[c] * inverse) : 0;
    }
}

static void quantize_rows(const Tensor *x, Tensor *y) {
    int64_t rows = tensor_rows(x), columns = tensor_columns(x);
    float *scales = y->scales->data;
    PARALLEL_FOR(rows * columns)
    for (int64_t row = 0; row < rows; row++) {
        scales[row] = float8_scale(largest_magnitude(x, row, columns));
        quantize_row(x, row, columns, scales[row], (uint8_t *)y->data + row * columns);
    }
}

FILL_FAMILY(float8)
