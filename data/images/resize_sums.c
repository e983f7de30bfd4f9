// Integers, so that every processor gives the same bits: each function is compiled for several and
// the one for this processor is chosen when the program starts. GCC's vectors, because loops over
// arrays do not stay in registers.
#include "data/images/resize_sums.h"

#include <string.h>

#if defined(__x86_64__) && defined(__gnu_linux__) && !defined(__SANITIZE_ADDRESS__)
#define FOR_EVERY_PROCESSOR __attribute__((target_clones("avx2", "sse4.1", "default")))
#else
#define FOR_EVERY_PROCESSOR
#endif

enum { LANES = 8 };

typedef uint8_t Bytes __attribute__((vector_size(2 * LANES * sizeof(uint8_t))));
typedef int16_t WideBytes __attribute__((vector_size(2 * LANES * sizeof(int16_t))));
typedef int16_t Values __attribute__((vector_size(LANES * sizeof(int16_t))));
typedef int32_t Sums __attribute__((vector_size(LANES * sizeof(int32_t))));

#define HALF (1 << (RESIZE_PRECISION_BITS - 1))
/// sum += the LANES values at `from` * weight
#define ADD_PRODUCT(sum, from, weight)                              \
    do {                                                            \
        Values values_;                                             \
        memcpy(&values_, from, sizeof values_);                     \
        (sum) += __builtin_convertvector(values_, Sums) * (weight); \
    } while (0)
/// The LANES values at `to` become the sum, rounded and within 0 and 255.
#define ROUND_AND_CLIP(sum, to)                                       \
    do {                                                              \
        Sums sum_ = (sum) >> RESIZE_PRECISION_BITS;                   \
        sum_ &= sum_ >= 0;                                            \
        sum_ = (sum_ | (sum_ > 255)) & 255;                           \
        const Values values_ = __builtin_convertvector(sum_, Values); \
        memcpy(to, &values_, sizeof values_);                         \
    } while (0)

FOR_EVERY_PROCESSOR
void resize_pack_rows(const uint8_t *rows, size_t row_bytes, int width, int16_t *packed) {
    _Static_assert(RESIZE_ROWS == 4, "four words of four bytes");
    for (int x = 0; x < width; x++, rows += 3, packed += 2 * LANES) {
        uint32_t words[RESIZE_ROWS];
        Bytes bytes;
        for (int r = 0; r < RESIZE_ROWS; r++)
            memcpy(&words[r], rows + (size_t)r * row_bytes, sizeof *words);
        memcpy(&bytes, words, sizeof bytes);
        const WideBytes values = __builtin_convertvector(bytes, WideBytes);
        memcpy(packed, &values, sizeof values);
    }
}

FOR_EVERY_PROCESSOR
void resize_packed_rows(const int16_t *packed, const ResizeWeights *weights, int width,
                        int16_t *const *rows) {
    _Static_assert(RESIZE_ROWS * 4 == 2 * LANES, "a pixel of every row in two vectors");
    for (int x = 0; x < width; x++) {
        const int32_t *weight = weights->weights + (int64_t)x * weights->window;
        const int16_t *pixels = packed + (int64_t)weights->first[x] * (2 * LANES);
        Sums upper = {0}, lower = {0};
        int16_t result[2 * LANES];
        upper += HALF;
        lower += HALF;
        for (int k = 0; k < weights->count[x]; k++, pixels += 2 * LANES) {
            ADD_PRODUCT(upper, pixels, weight[k]);
            ADD_PRODUCT(lower, pixels + LANES, weight[k]);
        }
        ROUND_AND_CLIP(upper, result);
        ROUND_AND_CLIP(lower, result + LANES);
        // four values, of which the next pixel overwrites the last
        for (int r = 0; r < RESIZE_ROWS; r++)
            memcpy(rows[r] + 3 * x, result + 4 * r, 4 * sizeof *result);
    }
}

FOR_EVERY_PROCESSOR
void resize_sum_of_rows(const int16_t *const *rows, const int32_t *weights, int count, int length,
                        uint8_t *out) {
    _Static_assert(RESIZE_BLOCK == 4 * LANES, "a block in four vectors");
    for (int start = 0; start < length; start += RESIZE_BLOCK) {
        Sums a = {0}, b, c, d;
        int16_t result[RESIZE_BLOCK];
        uint8_t bytes[RESIZE_BLOCK];
        a += HALF;
        b = c = d = a;
        for (int k = 0; k < count; k++) {
            const int16_t *from = rows[k] + start;
            ADD_PRODUCT(a, from, weights[k]);
            ADD_PRODUCT(b, from + LANES, weights[k]);
            ADD_PRODUCT(c, from + 2 * LANES, weights[k]);
            ADD_PRODUCT(d, from + 3 * LANES, weights[k]);
        }
        ROUND_AND_CLIP(a, result);
        ROUND_AND_CLIP(b, result + LANES);
        ROUND_AND_CLIP(c, result + 2 * LANES);
        ROUND_AND_CLIP(d, result + 3 * LANES);
        for (int i = 0; i < RESIZE_BLOCK; i++) bytes[i] = (uint8_t)result[i];
        const int left = length - start;
        memcpy(out + start, bytes, (size_t)(left < RESIZE_BLOCK ? left : RESIZE_BLOCK));
    }
}
