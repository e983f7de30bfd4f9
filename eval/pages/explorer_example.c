// An example has a budget of bytes: the picture takes its share first, what is left is for masks
// and maps, which get coarser until they fit. Phrases' maps are never touched.
#include "eval/pages/explorer_example.h"

#include "autograd/text/byte_buffer.h"
#include "data/coco_segmentation.h"
#include "data/images/resize.h"
#include "eval/pages/explorer_maps.h"
#include "eval/pages/explorer_words.h"
#include "eval/pages/html_report.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/// of the picture; the second where the first leaves too little
static const size_t PICTURE_BYTES[] = {27000, 13000};

// ---- the picture

/// From the first to the last, the first that fits.
static const struct {
    int side, quality;
} PICTURES[] = {{512, 90}, {512, 80}, {448, 75}, {416, 68},
                {384, 60}, {320, 55}, {256, 45}, {224, 35}};
enum { NUM_PICTURES = sizeof PICTURES / sizeof *PICTURES };

static Image fit(const Image *picture, int side) {
    int longer = picture->width > picture->height ? picture->width : picture->height;
    int width = picture->width, height = picture->height;
    if (longer > side) {
        width = (int)lround((double)width * side / longer);
        height = (int)lround((double)height * side / longer);
    }
    return image_resize(picture, width > 1 ? width : 1, height > 1 ? height : 1, RESIZE_BICUBIC);
}

/// As a URL; the caller frees it.
static char *encode_picture(const Image *shown, int quality, Error *error) {
    void *jpeg;
    size_t size;
    if (!image_encode_jpeg(shown, quality, &jpeg, &size, error)) return NULL;
    char *base64 = base64_encode(jpeg, size),
         *url = format_string("data:image/jpeg;base64,%s", base64);
    free(base64);
    free(jpeg);
    return url;
}

/// The picture's URL, and the size in which it is shown.
static char *picture_url(const Image *picture, size_t most_bytes, int *width, int *height,
                         Error *error) {
    for (int i = 0;; i++) {
        Image shown = fit(picture, PICTURES[i].side);
        char *url = encode_picture(&shown, PICTURES[i].quality, error);
        *width = shown.width;
        *height = shown.height;
        image_free(&shown);
        if (!url || i == NUM_PICTURES - 1 || strlen(url) <= most_bytes) return url;
        free(url);
    }
}

// ---- phrases

/// The mask in `height` x `width` pixels, each what lies at its centre.
static json_t *mask_of(const CocoMask *mask, int height, int width) {
    if (!mask) return json_null();
    if (mask->height == height && mask->width == width) return coco_runs_write(mask);
    uint8_t *large = checked_malloc((size_t)mask->height * (size_t)mask->width),
            *small = checked_malloc((size_t)height * (size_t)width);
    coco_mask_to_bitmap(mask, large);
    for (int y = 0; y < height; y++)
        for (int x = 0; x < width; x++) {
            int64_t row = (2 * (int64_t)y + 1) * mask->height / (2 * height),
                    column = (2 * (int64_t)x + 1) * mask->width / (2 * width);
            small[(size_t)y * (size_t)width + (size_t)x] = large[row * mask->width + column];
        }
    CocoMask shown = coco_mask_from_bitmap(small, height, width);
    json_t *runs = coco_runs_write(&shown);
    coco_mask_free(&shown);
    free(large);
    free(small);
    return runs;
}

static json_t *text_or_null(const char *text) {
    return text ? explorer_text(text, strlen(text)) : json_null();
}

static json_t *number_or_null(double value) {
    return isfinite(value) ? json_real(value) : json_null();
}

static json_t *phrase_of(const Answer *answer, const ExplorerPhrase *phrase, int height,
                         int width) {
    json_t *tokens = json_array(), *point = json_null();
    for (int t = 0; t < phrase->num_tokens; t++)
        json_array_append_new(tokens, json_integer(phrase->tokens[t]));
    if (phrase->num_tokens) point = json_pack("[i, i]", phrase->point.column, phrase->point.row);
    bool is_in_text = phrase->end > phrase->begin;
    json_t *text = is_in_text ? explorer_text(answer->text + phrase->begin,
                                              (size_t)(phrase->end - phrase->begin))
                              : text_or_null(phrase->name);
    json_t *hit = phrase->hit == EXPLORER_HIT_UNKNOWN ? json_null()
                                                      : json_boolean(phrase->hit == EXPLORER_HIT);
    return json_pack("{s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o}", "text", text, "tokens",
                     tokens, "point", point, "mask", mask_of(phrase->mask, height, width), "truth",
                     mask_of(phrase->truth, height, width), "truth_name",
                     text_or_null(phrase->truth_name), "category", text_or_null(phrase->category),
                     "hit", hit, "iou", number_or_null(phrase->iou));
}

// ---- answers

/// From the finest to the coarsest.
static const struct {
    MapDetail maps;
    /// masks are this much smaller than the picture shown
    int mask_shrink;
} DETAILS[] = {{{256, 256, true, 1, 1}, 1}, {{64, 64, true, 1, 1}, 1},  {{64, 64, false, 1, 1}, 1},
               {{32, 32, false, 1, 2}, 1},  {{24, 24, false, 1, 2}, 1}, {{16, 16, false, 1, 4}, 1},
               {{12, 12, false, 1, 4}, 2},  {{8, 0, false, 1, 1}, 2},   {{16, 0, false, 2, 1}, 2},
               {{8, 0, false, 2, 1}, 3},    {{8, 0, false, 4, 1}, 4},   {{0, 0, false, 1, 1}, 4}};
enum { NUM_DETAILS = sizeof DETAILS / sizeof *DETAILS };

/// The phrases, their masks in pixels of that size.
static json_t *phrases_of(const ExplorerAnswer *answer, int height, int width) {
    json_t *phrases = json_array();
    for (int i = 0; i < answer->num_phrases; i++)
        json_array_append_new(phrases,
                              phrase_of(answer->answer, &answer->phrases[i], height, width));
    return phrases;
}

/// All but the maps.
static json_t *answer_with(const ExplorerAnswer *answer, int mask_shrink, int height, int width) {
    const Answer *of = answer->answer;
    json_t *phrases = phrases_of(answer, (height + mask_shrink - 1) / mask_shrink,
                                 (width + mask_shrink - 1) / mask_shrink),
           *about =
               json_pack("{s:O, s:i, s:[f, f, f, f], s:b, s:b, s:o}", "phrases", phrases, "layers",
                         of->layers, "frame", of->frame.height, of->frame.width, of->frame.top,
                         of->frame.left, "normalised", answer->how.normalise, "corners",
                         answer->how.remove_corner, "figure", number_or_null(answer->figure));
    explorer_add_words(answer, phrases, about);
    json_decref(phrases);
    return about;
}

static int count_bytes(const char *text, size_t length, void *count) {
    size_t *bytes = count;
    for (size_t i = 0; i < length; i++) *bytes += text[i] == '<' ? strlen("\\u003c") : 1;
    return 0;
}

/// Bytes in the page.
static size_t size_of(const json_t *value) {
    size_t bytes = 0;
    json_dump_callback(value, count_bytes, &bytes,
                       JSON_COMPACT | JSON_REAL_PRECISION(6) | JSON_ENCODE_ANY);
    return bytes;
}

/// The finest that takes no more than `budget` bytes.
static json_t *answer_of(const ExplorerAnswer *answer, size_t budget, int height, int width,
                         Error *error) {
    json_t *about = NULL;
    if (!answer->answer) return json_null();
    for (int detail = 0; detail < NUM_DETAILS; detail++) {
        int shrink = DETAILS[detail].mask_shrink;
        if (!about || shrink != DETAILS[detail - 1].mask_shrink) {
            json_decref(about);
            about = answer_with(answer, shrink, height, width);
        }
        json_t *maps = explorer_maps(answer, &DETAILS[detail].maps, error);
        if (!maps) {
            json_decref(about);
            return NULL;
        }
        json_object_set_new(about, "maps", maps);
        if (size_of(about) <= budget) break;
    }
    return about;
}

static int answers_from(const ExplorerExample *example, int side) {
    int count = 0;
    for (; side < EXPLORER_SIDES; side++) count += example->answers[side].answer != NULL;
    return count;
}

/// With a picture of so many bytes.
static json_t *example_with(const ExplorerExample *example, size_t picture_bytes, Error *error) {
    int width, height;
    char *url = picture_url(example->picture, picture_bytes, &width, &height, error);
    if (!url) return NULL;
    json_t *answers = json_array(),
           *about = json_pack("{s:o, s:o, s:I, s:[i, i], s:s, s:O}", "id",
                              explorer_text(example->id, strlen(example->id)), "question",
                              text_or_null(example->question), "number",
                              (json_int_t)example->number, "size", example->picture->width,
                              example->picture->height, "picture", url, "answers", answers);
    free(url);
    bool ok = true;
    for (int s = 0; ok && s < EXPLORER_SIDES; s++) {
        size_t used = size_of(about), share = 0, left = (size_t)answers_from(example, s);
        if (used < EXPLORER_EXAMPLE_BYTES && left) share = (EXPLORER_EXAMPLE_BYTES - used) / left;
        json_t *answer = answer_of(&example->answers[s], share, height, width, error);
        ok = answer && !json_array_append_new(answers, answer);
    }
    json_decref(answers);
    if (ok) return about;
    json_decref(about);
    return NULL;
}

json_t *explorer_example(const ExplorerExample *example, Error *error) {
    json_t *about = example_with(example, PICTURE_BYTES[0], error);
    if (!about || size_of(about) <= EXPLORER_EXAMPLE_BYTES) return about;
    json_decref(about);
    return example_with(example, PICTURE_BYTES[1], error);
}
