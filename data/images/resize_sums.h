/// The sums behind image_resize() (data/images/resize.h), where its time goes. Not for use
/// elsewhere.
///
/// Values are bytes (in 16 bits, which processors widen cheaply), weights are fixed point with
/// RESIZE_PRECISION_BITS fractional bits; a sum of values times weights is rounded to the nearest
/// and kept within 0 and 255.
#pragma once
#include <stddef.h>
#include <stdint.h>

/// RESIZE_ROWS: rows that are resized together. RESIZE_BLOCK: values whose sums are made together;
/// rows are padded to a multiple of it. Fractional bits: 8 bits of value and 2 of headroom beside
/// them in a 32-bit sum.
enum { RESIZE_ROWS = 4, RESIZE_BLOCK = 32, RESIZE_PRECISION_BITS = 32 - 8 - 2 };

/// For every output position: the first input it reads, how many, and their weights.
typedef struct ResizeWeights {
    /// weights per output position
    int window;
    int *first;
    int *count;
    int32_t *weights;
} ResizeWeights;

/// Puts a pixel of each of RESIZE_ROWS rows side by side. rows: [RESIZE_ROWS] of [width, 3] and a
/// byte that is read, too, `row_bytes` apart; packed: [width, RESIZE_ROWS, 4], the fourth value of
/// a pixel is anything.
void resize_pack_rows(const uint8_t *rows, size_t row_bytes, int width, int16_t *packed);

/// Resizes packed rows horizontally to `width` pixels. rows[r]: [3 * width] and one more value,
/// which is written too.
void resize_packed_rows(const int16_t *packed, const ResizeWeights *weights, int width,
                        int16_t *const *rows);

/// out[i] = the sum of rows[k][i] * weights[k] over k < count, for i < length; rows are readable up
/// to the next multiple of RESIZE_BLOCK.
void resize_sum_of_rows(const int16_t *const *rows, const int32_t *weights, int count, int length,
                        uint8_t *out);
