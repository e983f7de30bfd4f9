/// Inside amx/product.c only: how the operands of a product are packed into tiles.
///
/// A multiplication of tiles takes 16 rows of 32 elements (left) and 16 pairs of 16 columns
/// (right), of pairs that are neighbours in k. An operand is stored with its k side by side
/// ([count,k]) or across ([k,count]). What is outside of it becomes zero.
#pragma once
#include "ops/cpu/transpose_words.h"

#include <stdbool.h>
#include <stdint.h>

enum {
    /// rows or columns in a tile, elements of k in a tile, tiles in a group
    TILE_COUNT = 16,
    STEP = 32,
    GROUP_TILES = 2,
    GROUP_COUNT = GROUP_TILES * TILE_COUNT,
    TILE_BYTES = 1024,
    ROW_BYTES = 64,
    /// lines of a piece
    PIECE_LINES = 16,
};

static inline int64_t least(int64_t a, int64_t b) { return a < b ? a : b; }
static inline int64_t parts_of(int64_t n, int64_t part) { return (n + part - 1) / part; }

static inline __mmask32 first_bits(int64_t count) {
    return count >= 32 ? 0xffffffffu : count <= 0 ? 0 : (1u << count) - 1;
}

typedef struct Operand {
    const uint16_t *from;
    /// elements from one line as stored to the next
    int64_t line;
    /// rows of a, or columns of b
    int64_t count, k;
    /// stored [k,count]
    bool across;
    /// which side of a multiplication of tiles it is
    bool left;
} Operand;

/// Up to GROUP_COUNT neighbours and some steps of k, packed as [step][tile]. It is packed in
/// pieces, each of which reads PIECE_LINES cache lines (twice as many halves of lines for a left
/// operand that is stored across).
typedef struct Slab {
    const Operand *operand;
    /// first of count, and of k
    int64_t first, begin;
    int64_t tiles, steps, pieces;
    char *to;
} Slab;

static inline Slab slab_at(const Operand *o, int64_t group, int64_t step, int64_t steps, char *to) {
    Slab s = {
        .operand = o, .first = group * GROUP_COUNT, .begin = step * STEP, .steps = steps, .to = to};
    s.tiles = o->count - s.first > TILE_COUNT ? 2 : 1;
    s.pieces = steps * (o->across && !o->left ? 2 : s.tiles);
    return s;
}

static inline int64_t slab_bytes(int64_t tiles, int64_t steps) {
    return tiles * steps * TILE_BYTES;
}

/// Zero where there is no line, or where its mask has no bit.
static inline __m512i load_line(bool there, const uint16_t *from, __mmask32 mask) {
    return there ? _mm512_maskz_loadu_epi16(mask, from) : _mm512_setzero_si512();
}

/// 16 neighbours of 32 elements each, stored side by side.
static inline void pack_natural(const uint16_t *from, int64_t line, int64_t count, int64_t elements,
                                bool left, char *to) {
    __mmask32 mask = first_bits(elements);
    __m512i x[16];
#pragma GCC unroll 16
    for (int i = 0; i < 16; i++) x[i] = load_line(i < count, from + i * line, mask);
    if (!left) transpose_words(x);
#pragma GCC unroll 16
    for (int i = 0; i < 16; i++) _mm512_store_si512(to + i * ROW_BYTES, x[i]);
}

/// 16 lines of k of up to 32 neighbours: half of their tiles for the right, `other` NULL where
/// there is one tile.
static inline void pack_pairs(const uint16_t *from, int64_t line, int64_t lines, int64_t count,
                              char *to, char *other) {
    const __m512i one_to_16 =
        _mm512_set_epi16(47, 15, 46, 14, 45, 13, 44, 12, 43, 11, 42, 10, 41, 9, 40, 8, 39, 7, 38, 6,
                         37, 5, 36, 4, 35, 3, 34, 2, 33, 1, 32, 0);
    const __m512i the_others = _mm512_add_epi16(one_to_16, _mm512_set1_epi16(16));
    const __mmask32 mask = first_bits(count);
    for (int64_t i = 0; i < PIECE_LINES; i += 2, from += 2 * line) {
        __m512i even = load_line(i < lines, from, mask);
        __m512i odd = load_line(i + 1 < lines, from + line, mask);
        int64_t at = i / 2 * ROW_BYTES;
        _mm512_store_si512(to + at, _mm512_permutex2var_epi16(even, one_to_16, odd));
        if (other) _mm512_store_si512(other + at, _mm512_permutex2var_epi16(even, the_others, odd));
    }
}

/// 32 lines of k of up to 16 neighbours: one tile for the left.
static inline void pack_turned(const uint16_t *from, int64_t line, int64_t lines, int64_t count,
                               char *to) {
    __mmask16 mask = (__mmask16)first_bits(count);
    __m512i x[16];
#pragma GCC unroll 16
    for (int i = 0; i < 16; i++) {
        const uint16_t *even = from + 2 * i * line;
        x[i] = _mm512_setzero_si512();
        if (2 * i < lines) x[i] = _mm512_cvtepu16_epi32(_mm256_maskz_loadu_epi16(mask, even));
        if (2 * i + 1 < lines) {
            __m256i odd = _mm256_maskz_loadu_epi16(mask, even + line);
            x[i] = _mm512_or_si512(x[i], _mm512_slli_epi32(_mm512_cvtepu16_epi32(odd), 16));
        }
    }
    transpose_words(x);
#pragma GCC unroll 16
    for (int i = 0; i < 16; i++) _mm512_store_si512(to + i * ROW_BYTES, x[i]);
}

/// Of a piece that is a tile; there are one or two in a step, and nothing is divided.
static inline int64_t step_of(const Slab *s, int64_t piece) { return piece >> (s->tiles - 1); }
static inline int64_t tile_of(const Slab *s, int64_t piece) { return piece & (s->tiles - 1); }

/// The first element of a piece; its lines are a line as stored apart.
static inline const uint16_t *piece_begin(const Slab *s, int64_t piece) {
    const Operand *o = s->operand;
    if (o->across && !o->left)
        return o->from + (s->begin + piece * PIECE_LINES) * o->line + s->first;
    int64_t k = s->begin + step_of(s, piece) * STEP, at = s->first + tile_of(s, piece) * TILE_COUNT;
    return o->across ? o->from + k * o->line + at : o->from + at * o->line + k;
}

static inline void pack_piece(const Slab *s, int64_t piece) {
    const Operand *o = s->operand;
    const uint16_t *from = piece_begin(s, piece);
    if (o->across && !o->left) {
        char *to = s->to + piece / 2 * s->tiles * TILE_BYTES + piece % 2 * (TILE_BYTES / 2);
        pack_pairs(from, o->line, o->k - s->begin - piece * PIECE_LINES, o->count - s->first, to,
                   s->tiles > 1 ? to + TILE_BYTES : NULL);
        return;
    }
    int64_t left_of_k = o->k - s->begin - step_of(s, piece) * STEP;
    int64_t count = o->count - s->first - tile_of(s, piece) * TILE_COUNT;
    char *to = s->to + piece * TILE_BYTES;
    if (o->across)
        pack_turned(from, o->line, left_of_k, count, to);
    else if (o->left)
        pack_natural(from, o->line, count, left_of_k, true, to);
    else
        pack_natural(from, o->line, count, left_of_k, false, to);
}

static inline void pack_slab(const Slab *s) {
    for (int64_t piece = 0; piece < s->pieces; piece++) pack_piece(s, piece);
}
