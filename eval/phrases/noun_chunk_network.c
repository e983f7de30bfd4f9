// The text goes through in pieces of WINDOW tokens, each with as many tokens of its surroundings as
// the blocks reach: what is computed at the piece's own tokens is what the whole text would give.
//
// This file is compiled without fused multiply-adds, and every sum has one order: the same bits on
// every processor. Speed comes from 4 tokens by 32 values that stay in registers.
#include "eval/phrases/noun_chunk_network.h"
#include "autograd/error.h"
#include "eval/phrases/token_hash.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { WINDOW = 256, TILE_TOKENS = 4, TILE = 32 };

#if defined(__x86_64__) && defined(__gnu_linux__) && !defined(__SANITIZE_ADDRESS__)
#define FOR_EVERY_PROCESSOR __attribute__((target_clones("avx512f", "avx2", "default")))
#else
#define FOR_EVERY_PROCESSOR
#endif

static char lower(char c) { return c >= 'A' && c <= 'Z' ? (char)(c + 'a' - 'A') : c; }

/// X upper, x lower, d digit, u any character beyond ASCII, other bytes themselves; at most four of
/// a kind in a row, and a blank at the end for a token that stands apart.
static uint64_t shape_hash(const char *token, size_t size, bool is_apart) {
    enum { LONGEST_SHAPE = 256 };
    char shape[LONGEST_SHAPE + 1], last = 0;
    size_t length = 0;
    int run = 0;
    for (size_t i = 0; i < size && length < LONGEST_SHAPE; i++) {
        const unsigned char c = (unsigned char)token[i];
        if (c >= 0x80 && c < 0xc0) continue; // within a character
        const char kind = c >= 0xc0              ? 'u'
                          : c >= 'A' && c <= 'Z' ? 'X'
                          : c >= 'a' && c <= 'z' ? 'x'
                          : c >= '0' && c <= '9' ? 'd'
                                                 : (char)c;
        run = length > 0 && kind == last ? run + 1 : 1;
        if (run <= 4) shape[length++] = last = kind;
    }
    if (is_apart) shape[length++] = ' ';
    return token_hash(shape, length, 4);
}

void noun_chunk_features(const NounChunkWeights *weights, const char *token, size_t size,
                         bool is_apart, uint32_t rows[NUM_FEATURES]) {
    const uint32_t *counts = weights->rows;
    char edge[3];
    const size_t edge_size = size < 3 ? size : 3;
    uint64_t word = token_hash_begin(1);
    for (size_t i = 0; i < size; i++) word = token_hash_byte(word, lower(token[i]));
    word = token_hash_end(word);
    rows[0] = (uint32_t)(word % counts[0]);
    rows[1] = (uint32_t)((word >> 32) % counts[0]);
    uint32_t first = counts[0];
    for (size_t i = 0; i < edge_size; i++) edge[i] = lower(token[size - edge_size + i]);
    rows[2] = first + (uint32_t)(token_hash(edge, edge_size, 2) % counts[1]);
    first += counts[1];
    for (size_t i = 0; i < edge_size; i++) edge[i] = lower(token[i]);
    rows[3] = first + (uint32_t)(token_hash(edge, edge_size, 3) % counts[2]);
    first += counts[2];
    rows[4] = first + (uint32_t)(shape_hash(token, size, is_apart) % counts[3]);
}

/// y[t] += x(t) weight for `tokens` tokens (a multiple of 4); x(t) is `depth` values from x + t *
/// x_stride on, y [tokens, columns], weight [depth, columns], columns a multiple of 32.
FOR_EVERY_PROCESSOR
static void add_product(float *y, const float *x, size_t x_stride, const float *weight,
                        size_t tokens, size_t depth, size_t columns) {
    for (size_t t = 0; t < tokens; t += TILE_TOKENS)
        for (size_t column = 0; column < columns; column += TILE) {
            float sums[TILE_TOKENS][TILE];
            for (size_t i = 0; i < TILE_TOKENS; i++)
                memcpy(sums[i], y + (t + i) * columns + column, sizeof sums[i]);
            for (size_t k = 0; k < depth; k++) {
                const float *w = weight + k * columns + column;
                for (size_t i = 0; i < TILE_TOKENS; i++) {
                    const float value = x[(t + i) * x_stride + k];
                    for (size_t j = 0; j < TILE; j++) sums[i][j] += value * w[j];
                }
            }
            for (size_t i = 0; i < TILE_TOKENS; i++)
                memcpy(y + (t + i) * columns + column, sums[i], sizeof sums[i]);
        }
}

static void rms_norm_row(float *y, const float *x, const float *scale, size_t width) {
    float sum = 0;
    for (size_t i = 0; i < width; i++) sum += x[i] * x[i];
    const float root = sqrtf(sum / (float)width + 1e-6f);
    for (size_t i = 0; i < width; i++) y[i] = x[i] / root * scale[i];
}

/// Where a piece is computed: rows for its tokens and surroundings, rounded up to whole tiles, with
/// as many rows of zeros before and behind as a block reaches.
typedef struct Piece {
    size_t width, hidden, rows, margin;
    float *x, *normed, *hidden_values;
} Piece;

static void embed(const NounChunkWeights *weights, Piece *piece, const char *text,
                  const EnglishTokens *tokens, size_t first, size_t count) {
    memset(piece->x, 0, piece->rows * piece->width * sizeof *piece->x);
    for (size_t t = 0; t < count; t++) {
        const size_t i = first + t, begin = tokens->begin[i];
        uint32_t rows[NUM_FEATURES];
        const bool is_apart = i > 0 && begin != tokens->end[i - 1];
        noun_chunk_features(weights, text + begin, tokens->end[i] - begin, is_apart, rows);
        float *x = piece->x + t * piece->width;
        for (int f = 0; f < NUM_FEATURES; f++) {
            const int8_t *row = weights->table + (size_t)rows[f] * piece->width;
            const float scale = weights->row_scale[rows[f]];
            for (size_t j = 0; j < piece->width; j++) x[j] += (float)row[j] * scale;
        }
    }
}

static void run_block(const ConvolutionBlock *block, Piece *piece, size_t count) {
    const size_t width = piece->width, hidden = piece->hidden, dilation = (size_t)block->dilation;
    const size_t rows = (count + TILE_TOKENS - 1) / TILE_TOKENS * TILE_TOKENS;
    float *normed = piece->normed + piece->margin * width;
    for (size_t t = 0; t < count; t++)
        rms_norm_row(normed + t * width, piece->x + t * width, block->scale, width);
    for (size_t t = 0; t < rows; t++)
        memcpy(piece->hidden_values + t * hidden, block->up_bias, hidden * sizeof(float));
    for (size_t tap = 0; tap < 3; tap++)
        add_product(piece->hidden_values, normed + tap * dilation * width - dilation * width, width,
                    block->up + tap * width * hidden, rows, width, hidden);
    for (size_t i = 0; i < rows * hidden; i++)
        piece->hidden_values[i] = piece->hidden_values[i] > 0 ? piece->hidden_values[i] : 0;
    add_product(piece->x, piece->hidden_values, hidden, block->down, rows, hidden, width);
}

static void label_scores(const NounChunkWeights *weights, const float *x, float *normed,
                         float scores[NUM_LABELS]) {
    const size_t width = (size_t)weights->width;
    rms_norm_row(normed, x, weights->scale_out, width);
    for (int label = 0; label < NUM_LABELS; label++) {
        float sum = weights->out_bias[label];
        for (size_t i = 0; i < width; i++) sum += normed[i] * weights->out[i * NUM_LABELS + label];
        scores[label] = sum;
    }
}

void noun_chunk_scores(const NounChunkWeights *weights, const char *text,
                       const EnglishTokens *tokens, float *scores) {
    size_t reach = 0, margin = 0;
    for (int i = 0; i < weights->num_blocks; i++) {
        const size_t dilation = (size_t)weights->blocks[i].dilation;
        reach += dilation;
        if (dilation > margin) margin = dilation;
    }
    Piece piece = {.width = (size_t)weights->width,
                   .hidden = (size_t)weights->hidden,
                   .rows = WINDOW + 2 * reach + TILE_TOKENS,
                   .margin = margin};
    piece.x = checked_malloc(piece.rows * piece.width * sizeof(float));
    piece.normed = checked_malloc((piece.rows + 2 * margin) * piece.width * sizeof(float));
    piece.hidden_values = checked_malloc(piece.rows * piece.hidden * sizeof(float));
    for (size_t begin = 0; begin < tokens->count; begin += WINDOW) {
        const size_t end = begin + WINDOW < tokens->count ? begin + WINDOW : tokens->count;
        const size_t first = begin < reach ? 0 : begin - reach;
        const size_t behind = end + reach < tokens->count ? end + reach : tokens->count;
        memset(piece.normed, 0, (piece.rows + 2 * margin) * piece.width * sizeof(float));
        embed(weights, &piece, text, tokens, first, behind - first);
        for (int i = 0; i < weights->num_blocks; i++)
            run_block(&weights->blocks[i], &piece, behind - first);
        for (size_t t = begin; t < end; t++)
            label_scores(weights, piece.x + (t - first) * piece.width, piece.normed,
                         scores + t * NUM_LABELS);
    }
    free(piece.x);
    free(piece.normed);
    free(piece.hidden_values);
}
