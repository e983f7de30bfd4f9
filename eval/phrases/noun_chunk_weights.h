/// The learned part of the chunker: tokenizer rules and network, one block of bytes within the
/// program (noun_chunks.bin, made by tests/parity/noun_chunks/train.py).
#pragma once
#include "eval/phrases/english_tokens.h"

#include <stdint.h>

enum { NUM_FEATURES = 5, NUM_LABELS = 3, MOST_BLOCKS = 8 };

/// A block: x += down(relu(up([n(t - dilation), n(t), n(t + dilation)]) + up_bias)), n =
/// rms_norm(x).
typedef struct ConvolutionBlock {
    int dilation;
    /// [width] of the norm
    float *scale;
    /// [3 * width, hidden], the earlier token's rows first
    float *up;
    /// [hidden]
    float *up_bias;
    /// [hidden, width]
    float *down;
} ConvolutionBlock;

typedef struct NounChunkWeights {
    /// multiples of 32
    int width, hidden;
    int num_blocks;
    /// Rows of the tables for a token's word (two rows each), suffix, prefix and shape; the tables
    /// are one, in this order.
    uint32_t rows[4];
    /// [sum of rows, width] and [sum of rows]: the row's values are table * row_scale. Not owned.
    const int8_t *table;
    const float *row_scale;
    ConvolutionBlock blocks[MOST_BLOCKS];
    /// [width], [width, 3], [3]
    float *scale_out, *out, *out_bias;
    EnglishRules rules;
} NounChunkWeights;

/// Lays out the block of bytes; a fault in it stops the program, whose part it is.
void noun_chunk_weights_read(NounChunkWeights *weights, const char *data, size_t size);
void noun_chunk_weights_free(NounChunkWeights *weights);

/// The program's own.
extern const char noun_chunk_data[];
extern const char noun_chunk_data_end[];
