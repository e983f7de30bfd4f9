/// Samples of token ids, with and without an image, packed into one row of tokens: the visual
/// tokens take the place of the image token, sequences lie one behind the other, nothing is padded.
#pragma once
#include "models/language/llama.h"

/// Stands among the ids for the place of the visual tokens (LLaVA's IMAGE_TOKEN_INDEX).
enum { PACKING_IMAGE_TOKEN = -200, PACKING_MULTIPLE = 64, PACKING_FILLED_BELOW = 2048 };

typedef struct TokenSample {
    /// [count], PACKING_IMAGE_TOKEN at most once
    const int32_t *ids;
    /// [count], 1 where predicting this token counts; NULL: nowhere (a prompt)
    const uint8_t *supervised;
    int count;
    /// which of the batch's images belongs to it; -1: none
    int image;
    /// of the sample in its data set: what dropout is keyed by
    int32_t number;
} TokenSample;

/// Host arrays, owned; free with packed_tokens_free().
typedef struct PackedTokens {
    int num_sequences, total;
    /// [num_sequences]
    int *lengths;
    /// [num_sequences], where each begins
    int *first_rows;
    /// [num_sequences], its first visual token, counted from its beginning; -1: none
    int *first_visual;
    /// [num_sequences], how many visual tokens there are (fewer where the sequence was cut)
    int *num_visual;
    int num_text;
    /// [num_text]
    int32_t *text_ids;
    /// [total], index of a text token, or -1 - index of a visual token, as merge_rows() takes it
    int32_t *merge;
    /// [total], the sample's number and the position in it
    int32_t (*dropout_rows)[2];
    int num_supervised;
    /// [num_supervised], increasing: the row before a supervised token, which predicts it
    int32_t *rows;
    /// [num_supervised]
    int32_t *targets;
} PackedTokens;

/// Packs; sequences longer than max_length (visual tokens counted) are cut at the end.
PackedTokens packed_tokens_new(const TokenSample *samples, int count, int tokens_per_image,
                               int max_length);
void packed_tokens_free(PackedTokens *packed);

/// Appends rows that belong to no sequence until their number is a multiple of PACKING_MULTIPLE, or
/// of less where that would be more than a few percent: nobody attends to them, nothing is
/// predicted from them, no gradient comes from them. Batches of nearly the same size then have the
/// same shapes, and what the product library prepared for one serves the next: worth it for models
/// narrower than PACKING_FILLED_BELOW. In wider ones a row costs more than preparing does: 70 ms
/// beside 0.3 ms a product at 7B on two cores.
void packed_tokens_fill(PackedTokens *packed);

/// The ends of packed sequences from the first row that predicts a supervised token on: all that a
/// loss needs of the last layer. As many rows more as make their number a multiple like
/// packed_tokens_fill()'s, where there are. Host arrays, owned; free with packed_tail_free().
typedef struct PackedTail {
    int total;
    /// [num_sequences]
    int *lengths;
    /// [total], increasing: which rows of the whole these are
    int32_t *rows;
    /// [total]
    int32_t (*dropout_rows)[2];
    /// [num_supervised]: PackedTokens.rows as places in `rows`
    int32_t *supervised;
} PackedTail;

PackedTail packed_tail_new(const PackedTokens *packed);
void packed_tail_free(PackedTail *tail);

/// Embeddings [total,C]: text from the model's table, images from visual [B,N,C] (NULL if no sample
/// has one). Differentiable in visual.
Tensor *packed_embeddings(const PackedTokens *packed, const Llama *llama, Tensor *visual);
