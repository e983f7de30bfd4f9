/// The sums behind image_resize() (data/images/resize.h), where its time goes. Not for use
/// elsewhere.
///
/// Values are bytes (in 16 bits, which processors widen cheaply), weights are fixed point with
/// RESIZE_PRECISION_BITS fractional bits; a sum of values times weights is rounded to the nearest
/// and kept within 0 and 255.
#pragma once
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

/// Resizes rows horizontally, for the output positions [begin, end). packed: [width, RESIZE_ROWS,
/// 4], a pixel of every row side by side, its fourth value anything; rows[r]: [3 * (end - begin)]
/// and one more value, which is written too.
void resize_packed_rows(const int16_t *packed, const ResizeWeights *weights, int begin, int end,
                        int16_t *const *rows);

/// out[i] = the sum of rows[k][i] * weights[k] over k < count, for i < length; rows are readable up
/// to the next multiple of RESIZE_BLOCK.
void resize_sum_of_rows(const int16_t *const *rows, const int32_t *weights, int count, int length,
                        uint8_t *out);
