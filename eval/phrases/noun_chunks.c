#include "eval/phrases/noun_chunks.h"
#include "autograd/error.h"
#include "eval/phrases/clean_text.h"
#include "eval/phrases/noun_chunk_network.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

enum { OUTSIDE, FIRST, FURTHER };
static const float IMPOSSIBLE = -1e9f;

struct NounChunker {
    NounChunkWeights weights;
    EnglishTokenizer *tokenizer;
};

NounChunker *noun_chunker_new(void) {
    NounChunker *chunker = checked_calloc(1, sizeof *chunker);
    noun_chunk_weights_read(&chunker->weights, noun_chunk_data,
                            (size_t)(noun_chunk_data_end - noun_chunk_data));
    chunker->tokenizer = english_tokenizer_new(&chunker->weights.rules);
    return chunker;
}

void noun_chunker_free(NounChunker *chunker) {
    if (!chunker) return;
    english_tokenizer_free(chunker->tokenizer);
    noun_chunk_weights_free(&chunker->weights);
    free(chunker);
}

void noun_chunks_free(NounChunkList *list) {
    free(list->items);
    *list = (NounChunkList){0};
}

static int best_of(const float scores[3]) {
    int best = OUTSIDE;
    for (int label = FIRST; label <= FURTHER; label++)
        if (scores[label] > scores[best]) best = label;
    return best;
}

/// The labels with the largest sum of scores, where FURTHER follows only FIRST or FURTHER [Viterbi
/// 1967]. Sums are taken less their largest, so that long texts lose no digits.
static uint8_t *best_labels(const float *scores, size_t count) {
    uint8_t *back = checked_malloc(3 * count + 1), *labels = checked_malloc(count + 1);
    float best[3] = {0, IMPOSSIBLE, IMPOSSIBLE}; // before the text is outside
    for (size_t t = 0; t < count; t++) {
        const int any = best_of(best), inside = best[FIRST] >= best[FURTHER] ? FIRST : FURTHER;
        const float kept = best[any];
        const float *score = scores + 3 * t;
        const float next[3] = {score[OUTSIDE], score[FIRST], best[inside] - kept + score[FURTHER]};
        back[3 * t + OUTSIDE] = back[3 * t + FIRST] = (uint8_t)any;
        back[3 * t + FURTHER] = (uint8_t)inside;
        memcpy(best, next, sizeof best);
    }
    int label = best_of(best);
    for (size_t t = count; t-- > 0; label = back[3 * t + label]) labels[t] = (uint8_t)label;
    free(back);
    return labels;
}

void noun_chunks_append(NounChunkList *list, NounChunk chunk) {
    if (list->count == list->capacity) {
        list->capacity = list->capacity ? 2 * list->capacity : 16;
        list->items = checked_realloc(list->items, (size_t)list->capacity * sizeof *list->items);
    }
    list->items[list->count++] = chunk;
}

/// Tokens of white space begin no chunk and end none, as with spaCy.
static bool is_space(const char *text, const EnglishTokens *tokens, size_t t) {
    return english_space_length(text + tokens->begin[t], tokens->end[t] - tokens->begin[t]) > 0;
}

NounChunkList noun_chunks_find(const NounChunker *chunker, const char *text, size_t length) {
    char *copy = clean_text(text, length);
    EnglishTokens tokens = english_tokens(chunker->tokenizer, copy, length);
    float *scores = checked_malloc((3 * tokens.count + 1) * sizeof *scores);
    noun_chunk_scores(&chunker->weights, copy, &tokens, scores);
    for (size_t t = 0; t < tokens.count; t++)
        if (is_space(copy, &tokens, t)) scores[3 * t + FIRST] = IMPOSSIBLE;
    uint8_t *labels = best_labels(scores, tokens.count);
    NounChunkList list = {0};
    for (size_t t = 0; t < tokens.count; t++) {
        const NounChunk token = {tokens.begin[t], tokens.end[t], tokens.begin[t], tokens.end[t]};
        if (labels[t] == FIRST) noun_chunks_append(&list, token);
        if (labels[t] != FURTHER || is_space(copy, &tokens, t)) continue;
        NounChunk *chunk = &list.items[list.count - 1];
        *chunk = (NounChunk){chunk->begin, token.end, token.begin, token.end};
    }
    free(labels);
    free(scores);
    english_tokens_free(&tokens);
    free(copy);
    return list;
}
