/// Shared by the tests of caption metrics: the recorded values
/// (tests/parity/record_text_metrics.py) and the real captions of COCO's caption evaluation, where
/// they are at hand.
#pragma once
#include "autograd/json_file.h"
#include "eval/metrics/text/caption_tokens.h"
#include "tests/unit/shared_data.h"

#include <string.h>
#include <zlib.h>

#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wunused-function"

/// tests/parity/data/text_metrics/<name>; the caller has the reference.
static json_t *recorded_json(const char *name) {
    char path[1024];
    Error error = {0};
    snprintf(path, sizeof path, SOURCE_DIR "/tests/parity/data/text_metrics/%s", name);
    json_t *json = json_file_read(path, JSON_ALLOW_NUL, &error);
    if (!json) fail_msg("%s", error.message);
    return json;
}

static size_t little_endian(const unsigned char *at, int size) {
    size_t value = 0;
    for (int i = size; i-- > 0;) value = value << 8 | at[i];
    return value;
}

/// The first file of a zip archive, as text; the caller frees it.
static char *first_of_zip(const char *path) {
    FILE *file = fopen(path, "rb");
    if (!file) fail_msg("%s cannot be opened", path);
    fseek(file, 0, SEEK_END);
    const size_t size = (size_t)ftell(file);
    rewind(file);
    unsigned char *bytes = malloc(size), *directory = bytes;
    if (fread(bytes, 1, size, file) != size) fail_msg("%s cannot be read", path);
    fclose(file);
    while (memcmp(directory, "PK\1\2", 4) != 0) directory++;
    const unsigned char *entry = bytes + little_endian(directory + 42, 4);
    z_stream stream = {0};
    stream.avail_in = (uInt)little_endian(directory + 20, 4);
    stream.next_in =
        bytes + (entry - bytes) + 30 + little_endian(entry + 26, 2) + little_endian(entry + 28, 2);
    stream.avail_out = (uInt)little_endian(directory + 24, 4);
    char *text = calloc(stream.avail_out + 1, 1);
    stream.next_out = (unsigned char *)text;
    assert_int_equal(inflateInit2(&stream, -MAX_WBITS), Z_OK);
    assert_int_equal(inflate(&stream, Z_FINISH), Z_STREAM_END);
    inflateEnd(&stream);
    free(bytes);
    return text;
}

/// {"<image>": "caption"} of 40,504 images, {"<image>": [["caption", ...]]} of the same images in
/// another order, [{"image_id", "caption"}] of 1,000 of them.
typedef struct CocoCaptions {
    json_t *candidates, *references, *fake;
} CocoCaptions;

#define COCO_CAPTIONS "coco_caption/"

static CocoCaptions coco_captions_open(void) {
    Error error = {0};
    json_error_t json_error;
    const char *archive = shared_data(COCO_CAPTIONS "codalab_history/reference/reference.zip"),
               *submission = shared_data(COCO_CAPTIONS "codalab_history/submission/answer.json"),
               *results =
                   shared_data(COCO_CAPTIONS "results/captions_val2014_fakecap_results.json");
    CocoCaptions captions = {0};
    char *text = first_of_zip(archive);
    captions.references = json_loads(text, 0, &json_error);
    free(text);
    captions.candidates = json_file_read(submission, 0, &error);
    captions.fake = json_file_read(results, 0, &error);
    if (!captions.references || !captions.candidates || !captions.fake)
        fail_msg("COCO's captions: %s%s", error.message, json_error.text);
    return captions;
}

static void coco_captions_close(CocoCaptions *captions) {
    json_decref(captions->candidates);
    json_decref(captions->references);
    json_decref(captions->fake);
}

/// A caption and its references, an array, into an image; the strings stay the JSON's.
static void set_image(ImageCaptions *image, json_t *candidate, json_t *references) {
    const size_t count = json_array_size(references);
    const char **texts = malloc((count + 1) * sizeof *texts);
    for (size_t i = 0; i < count; i++) texts[i] = json_string_value(json_array_get(references, i));
    *image = (ImageCaptions){json_string_value(candidate), texts, (int)count};
}

/// Takes the images' captions apart and frees the images.
static CaptionTokens *take_images(ImageCaptions *images, size_t count) {
    Error error = {0};
    CaptionTokens *tokens = caption_tokens_new(images, (int)count, &error);
    if (!tokens) fail_msg("%s", error.message);
    for (size_t i = 0; i < count; i++) free((void *)images[i].references);
    free(images);
    return tokens;
}

/// Of a recorded set: {"images": [{"candidate", "references"}]}.
static CaptionTokens *recorded_images(json_t *set) {
    json_t *list = json_object_get(set, "images"), *image;
    ImageCaptions *images = calloc(json_array_size(list) + 1, sizeof *images);
    size_t i;
    json_array_foreach(list, i, image)
        set_image(&images[i], json_object_get(image, "candidate"),
                  json_object_get(image, "references"));
    return take_images(images, json_array_size(list));
}

/// All of COCO's, or, `fake`, those of 1,000 images, in the order in which they were recorded.
static CaptionTokens *coco_images(const CocoCaptions *captions, bool fake) {
    const size_t count =
        fake ? json_array_size(captions->fake) : json_object_size(captions->candidates);
    ImageCaptions *images = calloc(count + 1, sizeof *images);
    const char *image;
    json_t *value;
    size_t i = 0;
    if (!fake) {
        json_object_foreach(captions->candidates, image, value)
            set_image(&images[i++], value,
                      json_array_get(json_object_get(captions->references, image), 0));
        return take_images(images, count);
    }
    json_array_foreach(captions->fake, i, value) {
        char id[32];
        snprintf(id, sizeof id, "%lld",
                 (long long)json_integer_value(json_object_get(value, "image_id")));
        set_image(&images[i], json_object_get(value, "caption"),
                  json_array_get(json_object_get(captions->references, id), 0));
    }
    return take_images(images, count);
}

/// Sums of some hundred thousand numbers of size 1, taken in another order: about as many roundings
/// of 1e-16 for the worst, far fewer in truth.
#define SUM_TOLERANCE 1e-10

static void expect_near(const char *what, double found, json_t *recorded) {
    const double expected = json_number_value(recorded), difference = found - expected;
    if (!json_is_number(recorded) || !(difference <= SUM_TOLERANCE && -difference <= SUM_TOLERANCE))
        fail_msg("%s: %.15g and not %.15g", what, found, expected);
}

/// Runs a check on every recorded set. Of its images' scores one in `step` is recorded.
static void check_recorded_sets(void (*check)(const CaptionTokens *, json_t *, const char *name,
                                              int step)) {
    json_t *recorded = recorded_json("scores.json"), *set;
    size_t i;
    assert_true(json_array_size(json_object_get(recorded, "sets")) >= 7);
    json_array_foreach(json_object_get(recorded, "sets"), i, set) {
        CaptionTokens *tokens = recorded_images(set);
        check(tokens, set, json_string_value(json_object_get(set, "name")), 1);
        caption_tokens_free(tokens);
    }
    json_decref(recorded);
}

/// The same on the real captions, where they are at hand.
static void check_real_captions(void (*check)(const CaptionTokens *, json_t *, const char *name,
                                              int step)) {
    CocoCaptions captions = coco_captions_open();
    json_t *recorded = recorded_json("scores.json");
    CaptionTokens *all = coco_images(&captions, false), *some = coco_images(&captions, true);
    check(all, json_object_get(recorded, "coco"), "all of COCO's captions", 400);
    check(some, json_object_get(recorded, "fake"), "a thousand of COCO's captions", 10);
    caption_tokens_free(all);
    caption_tokens_free(some);
    json_decref(recorded);
    coco_captions_close(&captions);
}

#pragma GCC diagnostic pop
