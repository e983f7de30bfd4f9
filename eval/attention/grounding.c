#include "eval/attention/grounding.h"

#include "eval/phrases/token_spans.h"
#include "eval/segmenters/region_growing.h"

#include <float.h>
#include <math.h>
#include <stdlib.h>

static int cells_of(const Answer *answer) { return answer->grid.rows * answer->grid.columns; }

ReadAnswer answer_read(const Answer *answer, const GroundingOptions *options) {
    ReadAnswer read = {answer, *options,
                       answer_mean_maps(answer, options->layers, options->num_layers,
                                        options->heads, options->num_heads),
                       FLT_MAX};
    if (options->normalise && answer->num_tokens)
        attention_normalise(read.maps, answer->num_tokens, cells_of(answer));
    return read;
}

void read_answer_free(ReadAnswer *read) {
    free(read->maps);
    *read = (ReadAnswer){0};
}

void read_answer_note_group(ReadAnswer *read, const int *tokens, int num_tokens) {
    const Answer *answer = read->answer;
    if (!read->options.remove_corner) return;
    float *map = checked_malloc((size_t)cells_of(answer) * sizeof *map);
    attention_group(read->maps, cells_of(answer), tokens, num_tokens, read->options.reduction, map);
    read->smallest = fminf(read->smallest, attention_smallest(map, answer->grid));
    free(map);
}

Pointing point_of_tokens(const ReadAnswer *read, const int *tokens, int num_tokens) {
    const Answer *answer = read->answer;
    int cells = cells_of(answer), height = answer->image_height, width = answer->image_width;
    Pointing pointing = {checked_malloc((size_t)cells * sizeof(float)),
                         checked_malloc((size_t)height * (size_t)width * sizeof(float)),
                         {0, 0}};
    attention_group(read->maps, cells, tokens, num_tokens, read->options.reduction, pointing.map);
    if (read->options.remove_corner)
        attention_set_corners(
            pointing.map, answer->grid,
            fminf(read->smallest, attention_smallest(pointing.map, answer->grid)));
    attention_to_pixels(pointing.map, answer->grid, answer->frame, height, width, pointing.heat);
    pointing.point = attention_argmax(pointing.heat, height, width);
    return pointing;
}

void pointing_free(Pointing *pointing) {
    free(pointing->map);
    free(pointing->heat);
    *pointing = (Pointing){0};
}

bool segments_of_pointing(Segmenter *segmenter, const Answer *answer, const Pointing *pointing,
                          const CocoMask *truth, int num_truth, Segments *segments, Error *error) {
    const SegmentPrompt prompt = {.point = pointing->point,
                                  .heat = pointing->heat,
                                  .map = pointing->map,
                                  .grid = answer->grid,
                                  .frame = answer->frame,
                                  .truth = truth,
                                  .num_truth = num_truth};
    return segmenter->segment(segmenter, &prompt, segments, error);
}

int tokens_overlapping(const Answer *answer, int begin, int end, int *tokens) {
    return tokens_of_span(answer->token_begin, answer->token_end, answer->num_tokens, begin, end,
                          tokens);
}

Grounding ground_phrases(const Answer *answer, const PhraseList *phrases,
                         const GroundingOptions *options) {
    ReadAnswer read = answer_read(answer, options);
    int *tokens = checked_malloc(((size_t)answer->num_tokens + 1) * sizeof *tokens);
    Grounding grounding = {checked_calloc((size_t)phrases->count + 1, sizeof *grounding.items), 0};
    for (int i = 0; i < phrases->count; i++) {
        const Phrase *phrase = &phrases->items[i];
        int count = tokens_overlapping(answer, phrase->noun_begin, phrase->noun_end, tokens);
        if (count) read_answer_note_group(&read, tokens, count);
    }
    for (int i = 0; i < phrases->count; i++) {
        const Phrase *phrase = &phrases->items[i];
        int count = tokens_overlapping(answer, phrase->noun_begin, phrase->noun_end, tokens);
        if (!count) continue;
        Pointing pointing = point_of_tokens(&read, tokens, count);
        grounding.items[grounding.count++] =
            (GroundedPhrase){*phrase, pointing.point, pointing.map, pointing.heat, NULL};
    }
    free(tokens);
    read_answer_free(&read);
    return grounding;
}

bool ground_masks(Grounding *grounding, const Answer *answer, Segmenter *segmenter, Error *error) {
    for (int i = 0; i < grounding->count; i++) {
        GroundedPhrase *item = &grounding->items[i];
        const Pointing pointing = {item->map, item->heat, item->point};
        Segments segments;
        if (!segments_of_pointing(segmenter, answer, &pointing, NULL, 0, &segments, error))
            return false;
        if (segments.count) {
            const CocoMask *mask = &segments.items[0].mask;
            if (!item->mask)
                item->mask = checked_malloc((size_t)mask->height * (size_t)mask->width);
            coco_mask_to_bitmap(mask, item->mask);
        }
        segments_free(&segments);
    }
    return true;
}

void ground_masks_by_region_growing(Grounding *grounding, const uint8_t *rgb, int height,
                                    int width) {
    float *colours = region_colours(rgb, height, width);
    for (int i = 0; i < grounding->count; i++) {
        GroundedPhrase *item = &grounding->items[i];
        if (!item->mask) item->mask = checked_malloc((size_t)height * (size_t)width);
        region_growing(colours, height, width, item->point.row, item->point.column, item->mask);
    }
    free(colours);
}

void grounding_free(Grounding *grounding) {
    for (int i = 0; i < grounding->count; i++) {
        free(grounding->items[i].map);
        free(grounding->items[i].heat);
        free(grounding->items[i].mask);
    }
    free(grounding->items);
    *grounding = (Grounding){0};
}
