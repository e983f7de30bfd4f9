/// Inside the CPU kernels: a tensor's elements in the type that a product wants, copied only where
/// the types differ.
#pragma once
#include "ops/cpu/chunk.h"

typedef struct Converted {
    void *data;
    /// a copy to be released, or NULL: data is the tensor's
    void *owned;
    size_t bytes;
} Converted;

static inline void convert_elements(const void *from, DType from_type, DType to_type, int64_t n,
                                    void *to) {
    const int64_t piece = 1 << 14;
    PARALLEL_FOR(n)
    for (int64_t i = 0; i < chunk_count(n, piece); i++) {
        int64_t first = i * piece, length = chunk_length(n, piece, i);
        if (from_type == BFLOAT16 && to_type == FLOAT32)
            floats_from_bfloat16((const uint16_t *)from + first, length, (float *)to + first);
        else if (from_type == FLOAT32 && to_type == BFLOAT16)
            bfloat16_from_floats((const float *)from + first, length, (uint16_t *)to + first);
    }
}

/// The numbers of FLOAT8 rows, which either type holds.
static inline void widen_rows(const Tensor *x, DType type, void *to) {
    int64_t rows = tensor_rows(x), columns = tensor_columns(x);
    const float *scales = x->scales->data;
    PARALLEL_FOR(rows * columns)
    for (int64_t row = 0; row < rows; row++) {
        const uint8_t *from = (const uint8_t *)x->data + row * columns;
        float scale = scales[row], *floats = (float *)to + row * columns;
        uint16_t *halves = (uint16_t *)to + row * columns;
        if (type == FLOAT32)
            for (int64_t c = 0; c < columns; c++) floats[c] = scale * float8_to_float(from[c]);
        else
            for (int64_t c = 0; c < columns; c++)
                halves[c] = round_to_bfloat16(scale * float8_to_float(from[c]));
    }
}

/// Memory for x's elements in `type`: x's own, or new with undefined content.
static inline Converted converted_space(const Tensor *x, DType type) {
    if (x->dtype == type) return (Converted){x->data, NULL, 0};
    size_t bytes = (size_t)tensor_numel(x) * dtype_size(type);
    void *copy = x->device->allocate(x->device, bytes);
    return (Converted){copy, copy, bytes};
}

/// x's elements in `type`.
static inline Converted converted_read(const Tensor *x, DType type) {
    Converted result = converted_space(x, type);
    if (result.owned && x->dtype == FLOAT8)
        widen_rows(x, type, result.data);
    else if (result.owned)
        convert_elements(x->data, x->dtype, type, tensor_numel(x), result.data);
    return result;
}

/// Frees a copy.
static inline void converted_release(const Tensor *x, Converted *converted) {
    if (converted->owned) x->device->release(x->device, converted->owned, converted->bytes);
}

/// Writes a copy in `type` back to y, and frees it.
static inline void converted_write(Tensor *y, DType type, Converted *converted) {
    if (converted->owned)
        convert_elements(converted->data, type, y->dtype, tensor_numel(y), y->data);
    converted_release(y, converted);
}
