/// Inside ops/cpu/amx/convolution*.c only: what both directions multiply.
///
/// Sums of 32 x 32 elements in 2 x 2 tiles stay in the registers for a block of k of about nine
/// steps of 32 (a filter of 3 x 3 on 32 channels), and in memory from one block to the next. One
/// operand, the filter's, is a block of at most 18 KiB that stays in the first-level cache for all
/// places of a span; the other is read from the second, where taps that are neighbours find most of
/// it in the first, and is asked for one pair of tiles ahead. For each multiplication one tile is
/// loaded; the sums are another 0.2 and 0.2 stored.
#pragma once
#include "ops/cpu/amx/tiles.h"

#include <immintrin.h>
#include <stddef.h>

enum {
    /// of k in a step
    STEP = 32,
    /// rows or columns of the sums
    SIDE = 32,
    TILE_ELEMENTS = 16 * 16,
    SUMS = 4 * TILE_ELEMENTS,
    /// elements of the filter in a step
    STEP_ELEMENTS = SIDE * STEP,
    STEP_BYTES = STEP_ELEMENTS * 2,
    /// in a block
    MOST_STEPS = 9
};

typedef struct ConvolutionStep {
    int64_t tap;
    /// the first of 32
    int64_t channel;
    /// bytes from what a place has to what this step takes
    int64_t far;
} ConvolutionStep;

/// Whole kernels if they fit.
static inline int64_t steps_in_block(int64_t taps) {
    if (taps == 0 || taps > MOST_STEPS) return MOST_STEPS;
    return MOST_STEPS / taps * taps;
}

static inline __mmask32 channels_there(int64_t count) {
    return count >= 32 ? 0xffffffffu : count <= 0 ? 0 : (1u << count) - 1;
}

/// The operand that comes from the second-level cache: rows of a tile and the second of two tiles
/// lie so many bytes apart.
typedef struct FarOperand {
    const char *data;
    int64_t row, second;
} FarOperand;

/// The lines of two steps that are neighbours are those of the next pair of tiles. (Inlined always:
/// GCC 12 takes a function that only asks for lines for one that does nothing, and leaves it out.)
static inline __attribute__((always_inline)) void ask_for_next_tiles(const FarOperand *far,
                                                                     const char *at, int64_t step) {
    at += (2 + (step & 1)) * far->second;
#pragma GCC unroll 16
    for (int i = 0; i < TILE_MOST_ROWS; i++) _mm_prefetch(at + i * far->row, _MM_HINT_T0);
}

/// sums (+)= left right. near: [steps][2][16][32] elements. The sum of rows i of the first
/// operand's tile a and column j of the second's tile b is sums[2 a + b][i][j].
static inline __attribute__((always_inline)) void multiply_steps(bool far_is_left, const char *near,
                                                                 const FarOperand *far,
                                                                 const ConvolutionStep *step,
                                                                 int64_t steps, bool first,
                                                                 float *sums) {
    enum { ROW = 64 };
    if (first) {
        TILE_ZERO(0);
        TILE_ZERO(1);
        TILE_ZERO(2);
        TILE_ZERO(3);
    } else {
        TILE_LOAD(0, sums, ROW);
        TILE_LOAD(1, sums + TILE_ELEMENTS, ROW);
        TILE_LOAD(2, sums + 2 * TILE_ELEMENTS, ROW);
        TILE_LOAD(3, sums + 3 * TILE_ELEMENTS, ROW);
    }
    for (int64_t i = 0; i < steps; i++, near += STEP_BYTES) {
        const char *there = far->data + step[i].far;
        const char *left = far_is_left ? there : near, *right = far_is_left ? near : there;
        int64_t left_row = far_is_left ? far->row : ROW, right_row = far_is_left ? ROW : far->row;
        int64_t left_second = far_is_left ? far->second : STEP_BYTES / 2;
        int64_t right_second = far_is_left ? STEP_BYTES / 2 : far->second;
        TILE_LOAD(4, left, left_row);
        TILE_LOAD(6, right, right_row);
        TILE_MULTIPLY(0, 4, 6);
        TILE_LOAD(7, right + right_second, right_row);
        TILE_MULTIPLY(1, 4, 7);
        TILE_LOAD(5, left + left_second, left_row);
        TILE_MULTIPLY(2, 5, 6);
        TILE_MULTIPLY(3, 5, 7);
        ask_for_next_tiles(far, there, i);
    }
    TILE_STORE(0, sums, ROW);
    TILE_STORE(1, sums + TILE_ELEMENTS, ROW);
    TILE_STORE(2, sums + 2 * TILE_ELEMENTS, ROW);
    TILE_STORE(3, sums + 3 * TILE_ELEMENTS, ROW);
}
