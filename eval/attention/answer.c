#include "eval/attention/answer.h"

#include <stdlib.h>

void answer_free(Answer *answer) {
    free(answer->text);
    free(answer->ids);
    free(answer->token_begin);
    free(answer->token_end);
    free(answer->maps);
    free(answer->utterances);
    *answer = (Answer){0};
}

float *answer_mean_maps(const Answer *answer, const int *layers, int num_layers, const int *heads,
                        int num_heads) {
    int cells = answer->grid.rows * answer->grid.columns;
    if (!layers) num_layers = answer->layers;
    if (!heads) num_heads = answer->heads;
    float *means = checked_calloc((size_t)answer->num_tokens * (size_t)cells + 1, sizeof *means);
    float weight = 1.0f / ((float)num_layers * (float)num_heads);
    for (int t = 0; t < answer->num_tokens; t++)
        for (int l = 0; l < num_layers; l++)
            for (int h = 0; h < num_heads; h++) {
                int layer = layers ? layers[l] : l, head = heads ? heads[h] : h;
                size_t map =
                    ((size_t)t * (size_t)answer->layers + (size_t)layer) * (size_t)answer->heads +
                    (size_t)head;
                const float *from = answer->maps + map * (size_t)cells;
                float *to = means + (size_t)t * (size_t)cells;
                for (int c = 0; c < cells; c++) to[c] += weight * from[c];
            }
    return means;
}
