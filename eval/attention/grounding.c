#include "eval/attention/grounding.h"

#include "eval/segmenters/region_growing.h"

#include <stdlib.h>
#include <string.h>

void answer_free(Answer *answer) {
    free(answer->text);
    free(answer->token_begin);
    free(answer->token_end);
    free(answer->maps);
    *answer = (Answer){0};
}

/// The tokens that share at least a byte with the noun. Returns their number.
static int tokens_of_noun(const Answer *answer, const Phrase *phrase, int *tokens) {
    int count = 0;
    for (int t = 0; t < answer->num_tokens; t++)
        if (answer->token_begin[t] < phrase->noun_end && answer->token_end[t] > phrase->noun_begin)
            tokens[count++] = t;
    return count;
}

Grounding ground_phrases(const Answer *answer, const PhraseList *phrases, GroupReduction reduction,
                         TokenSquare square, int height, int width) {
    int cells = answer->grid * answer->grid;
    size_t bytes = (size_t)answer->num_tokens * (size_t)cells * sizeof(float);
    float *maps = checked_malloc(bytes + sizeof(float)),
          *map = checked_malloc((size_t)cells * sizeof *map);
    int *tokens = checked_malloc(((size_t)answer->num_tokens + 1) * sizeof *tokens);
    Grounding grounding = {checked_calloc((size_t)phrases->count + 1, sizeof *grounding.items), 0};
    if (bytes) memcpy(maps, answer->maps, bytes);
    if (answer->num_tokens) attention_normalise(maps, answer->num_tokens, cells);
    for (int i = 0; i < phrases->count; i++) {
        int count = tokens_of_noun(answer, &phrases->items[i], tokens);
        if (!count) continue;
        GroundedPhrase *item = &grounding.items[grounding.count++];
        item->phrase = phrases->items[i];
        item->heat = checked_malloc((size_t)height * (size_t)width * sizeof *item->heat);
        attention_group(maps, cells, tokens, count, reduction, map);
        attention_to_pixels(map, answer->grid, square, height, width, item->heat);
        item->point = attention_argmax(item->heat, height, width);
    }
    free(maps);
    free(map);
    free(tokens);
    return grounding;
}

void ground_masks_by_region_growing(Grounding *grounding, const uint8_t *rgb, int height,
                                    int width) {
    for (int i = 0; i < grounding->count; i++) {
        GroundedPhrase *item = &grounding->items[i];
        if (!item->mask) item->mask = checked_malloc((size_t)height * (size_t)width);
        region_growing(rgb, height, width, item->point.row, item->point.column, item->mask);
    }
}

void grounding_free(Grounding *grounding) {
    for (int i = 0; i < grounding->count; i++) {
        free(grounding->items[i].heat);
        free(grounding->items[i].mask);
    }
    free(grounding->items);
    *grounding = (Grounding){0};
}
