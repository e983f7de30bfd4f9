/// Examples for explorers, made up: pictures, answers with attention, phrases with masks and truth.
#pragma once
#include "data/images/resize.h"
#include "eval/pages/explorer.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct MadeOptions {
    int width, height;
    CellGrid grid;
    int layers;
    /// phrases of three words each, with "and" between them
    int num_phrases;
    uint32_t seed;
    /// of pictures that are not made up; pixels NULL: made up
    Image picture;
} MadeOptions;

enum { MADE_MOST_PHRASES = 40, MADE_MOST_TOKENS = 1024 };

typedef struct MadeExample {
    Image picture;
    Answer answer;
    GroundingOptions how;
    ExplorerPhrase phrases[MADE_MOST_PHRASES];
    int tokens[MADE_MOST_PHRASES][8];
    CocoMask masks[MADE_MOST_PHRASES], truths[MADE_MOST_PHRASES];
    int num_phrases;
} MadeExample;

static inline double made_random(uint32_t *state) {
    *state = *state * 1664525u + 1013904223u;
    return (*state >> 8) / 16777216.0;
}

static inline CocoMask made_disc(int height, int width, double row, double column, double radius) {
    uint8_t *bitmap = checked_calloc((size_t)height * (size_t)width, 1);
    for (int y = 0; y < height; y++)
        for (int x = 0; x < width; x++) bitmap[y * width + x] = hypot(y - row, x - column) < radius;
    CocoMask mask = coco_mask_from_bitmap(bitmap, height, width);
    free(bitmap);
    return mask;
}

static inline Image made_picture(int width, int height, uint32_t *state) {
    Image picture = image_new(width, height);
    double phase = 6 * made_random(state);
    for (int i = 0; i < width * height; i++)
        for (int c = 0; c < 3; c++)
            picture.pixels[3 * i + c] =
                (uint8_t)(128 + 60 * sin(i % width / 40.0 + phase + c) +
                          50 * cos(i / width / 30.0 - phase * c) + 15 * made_random(state));
    return picture;
}

/// Appends a word with its blank, in tokens of at most four bytes.
static inline void made_say(Answer *answer, const char *word) {
    size_t length = strlen(answer->text), added = strlen(word) + (length > 0);
    answer->text = checked_realloc(answer->text, length + added + 1);
    sprintf(answer->text + length, "%s%s", length ? " " : "", word);
    for (size_t at = 0; at < added; at += 4) {
        CHECK(answer->num_tokens < MADE_MOST_TOKENS, "a made-up answer of too many tokens");
        answer->ids[answer->num_tokens] = 5;
        answer->token_begin[answer->num_tokens] = (int)(length + at);
        answer->token_end[answer->num_tokens++] = (int)(length + (at + 4 < added ? at + 4 : added));
    }
}

/// A sink that all tokens look at, noise with a long tail, and where `peak` is not NULL a bump.
static inline void made_map(const Answer *answer, float *map, const double *peak, uint32_t *state) {
    for (int c = 0; c < answer->grid.rows * answer->grid.columns; c++) {
        double value = 0.0004 * -log(made_random(state) + 1e-9);
        if (c == 3) value += 0.2 + 0.05 * made_random(state);
        if (peak) {
            double dy = c / answer->grid.columns - peak[0], dx = c % answer->grid.columns - peak[1];
            value += 0.02 * exp(-(dx * dx + dy * dy) / 4);
        }
        map[c] = (float)value;
    }
}

/// The tokens of phrase i from `first` on look at one place, where the truth mostly is.
static inline void made_phrase(MadeExample *made, int i, int begin, int first, uint32_t *state) {
    Answer *answer = &made->answer;
    int cells = answer->grid.rows * answer->grid.columns, height = answer->image_height,
        width = answer->image_width, count = answer->num_tokens - first;
    double peak[2] = {answer->grid.rows * made_random(state),
                      answer->grid.columns * made_random(state)};
    for (int t = 0; t < count; t++) {
        made->tokens[i][t] = first + t;
        for (int l = 0; l < answer->layers; l++)
            made_map(answer,
                     answer->maps +
                         ((size_t)(first + t) * (size_t)answer->layers + (size_t)l) * (size_t)cells,
                     peak, state);
    }
    // one in three lies elsewhere
    double away = made_random(state) < 0.33 ? 0.4 : 0, row = peak[0] / answer->grid.rows + away,
           column = (peak[1] + 0.5) / answer->grid.columns;
    made->truths[i] =
        made_disc(height, width, (row > 1 ? row - 1 : row) * height, column * width, height / 9.0);
    made->phrases[i] = (ExplorerPhrase){.begin = begin,
                                        .end = (int)strlen(answer->text),
                                        .tokens = made->tokens[i],
                                        .num_tokens = count,
                                        .truth = &made->truths[i],
                                        .iou = NAN};
}

/// Points and masks, as judging makes them; anew where there are some.
static inline void made_judge(MadeExample *made) {
    const Answer *answer = &made->answer;
    ReadAnswer read = answer_read(answer, &made->how);
    for (int i = 0; i < made->num_phrases; i++)
        read_answer_note_group(&read, made->phrases[i].tokens, made->phrases[i].num_tokens);
    for (int i = 0; i < made->num_phrases; i++) {
        ExplorerPhrase *phrase = &made->phrases[i];
        Pointing pointing = point_of_tokens(&read, phrase->tokens, phrase->num_tokens);
        phrase->point = pointing.point;
        coco_mask_free(&made->masks[i]);
        made->masks[i] = made_disc(answer->image_height, answer->image_width, phrase->point.row,
                                   phrase->point.column, answer->image_height / 8.0);
        phrase->mask = &made->masks[i];
        phrase->iou = coco_mask_iou(phrase->mask, phrase->truth);
        phrase->hit = coco_mask_contains(phrase->truth, phrase->point.row, phrase->point.column)
                          ? EXPLORER_HIT
                          : EXPLORER_MISS;
        pointing_free(&pointing);
    }
    read_answer_free(&read);
}

/// To be freed by made_example_free().
static inline void made_example(const MadeOptions *options, MadeExample *made) {
    static const char *const COLOURS[] = {"red", "blue", "golden", "transparent"},
                             *const NOUNS[] = {"ring", "star", "butterfly", "box", "umbrella"};
    uint32_t state = options->seed * 7919u + 17u;
    *made = (MadeExample){.how = {.reduction = REDUCE_MEAN, .normalise = true},
                          .num_phrases = options->num_phrases};
    made->picture = options->picture.pixels ? image_resize(&options->picture, options->width,
                                                           options->height, RESIZE_BICUBIC)
                                            : made_picture(options->width, options->height, &state);
    Answer *answer = &made->answer;
    *answer =
        (Answer){.text = checked_strdup(""),
                 .ids = checked_calloc(MADE_MOST_TOKENS, sizeof(int32_t)),
                 .token_begin = checked_calloc(MADE_MOST_TOKENS, sizeof(int32_t)),
                 .token_end = checked_calloc(MADE_MOST_TOKENS, sizeof(int32_t)),
                 .grid = options->grid,
                 .layers = options->layers,
                 .heads = 1,
                 .frame = token_frame_of_picture(PICTURE_PADDED, options->height, options->width),
                 .image_height = options->height,
                 .image_width = options->width,
                 .ended = true};
    size_t maps = (size_t)options->layers * (size_t)(options->grid.rows * options->grid.columns);
    answer->maps = checked_calloc(MADE_MOST_TOKENS * maps, sizeof(float));
    for (int i = 0; i < options->num_phrases; i++) {
        const char *colour = COLOURS[(size_t)(4 * made_random(&state))],
                   *noun = NOUNS[(size_t)(5 * made_random(&state))];
        int first = answer->num_tokens;
        if (i) made_say(answer, "and");
        int begin = (int)strlen(answer->text) + (i > 0);
        made_say(answer, "a");
        made_say(answer, colour);
        for (int t = first; t < answer->num_tokens; t++)
            for (int l = 0; l < options->layers; l++)
                made_map(answer,
                         answer->maps + (size_t)t * maps +
                             (size_t)l * (maps / (size_t)answer->layers),
                         NULL, &state);
        first = answer->num_tokens;
        made_say(answer, noun);
        made_phrase(made, i, begin, first, &state);
        made->phrases[i].category = made->phrases[i].truth_name = noun;
    }
    made_judge(made);
}

static inline ExplorerAnswer made_answer(const MadeExample *made) {
    double sum = 0;
    for (int i = 0; i < made->num_phrases; i++) sum += made->phrases[i].iou;
    return (ExplorerAnswer){&made->answer, made->how, made->phrases, made->num_phrases,
                            made->num_phrases ? sum / made->num_phrases : (double)NAN};
}

static inline void made_example_free(MadeExample *made) {
    for (int i = 0; i < made->num_phrases; i++) {
        coco_mask_free(&made->masks[i]);
        coco_mask_free(&made->truths[i]);
    }
    image_free(&made->picture);
    answer_free(&made->answer);
}
