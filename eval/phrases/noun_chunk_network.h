/// The network that gives every token its scores as outside of a chunk, first of one, further token
/// of one. tests/parity/noun_chunks/network.py is the same in Python.
#pragma once
#include "eval/phrases/noun_chunk_weights.h"

/// Rows of a token's features in the table: its word (twice), end, beginning and shape, ASCII case
/// ignored but in the shape. is_apart: white space stands before it.
void noun_chunk_features(const NounChunkWeights *weights, const char *token, size_t size,
                         bool is_apart, uint32_t rows[NUM_FEATURES]);

/// scores[t * 3 + label] of every token of the text, in float32, every sum in the same order on
/// every machine.
void noun_chunk_scores(const NounChunkWeights *weights, const char *text,
                       const EnglishTokens *tokens, float *scores);
