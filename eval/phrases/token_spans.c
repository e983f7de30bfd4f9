#include "eval/phrases/token_spans.h"

int tokens_of_span(const int32_t *token_begin, const int32_t *token_end, int num_tokens,
                   int32_t begin, int32_t end, int *tokens) {
    int count = 0;
    for (int t = 0; t < num_tokens; t++) {
        const int32_t first = token_begin[t] > begin ? token_begin[t] : begin;
        const int32_t behind = token_end[t] < end ? token_end[t] : end;
        if (first < behind) tokens[count++] = t;
    }
    return count;
}
