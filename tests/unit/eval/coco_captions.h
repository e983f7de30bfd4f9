/// Shared by the tests of caption metrics: the recorded values
/// (tests/parity/record_text_metrics.py) and the real captions of COCO's caption evaluation, where
/// they are at hand.
#pragma once
#include "autograd/json_file.h"
#include "autograd/text/byte_buffer.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <zlib.h>

#include <cmocka.h>

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

/// A file of the shared test material; the test is skipped if it is not there.
static const char *shared_file(const char *name) {
    static char paths[4][1024];
    static int next;
    char *path = paths[next++ % 4];
    const char *folder = getenv("DIFFLMM_SHARED_DATA");
    snprintf(path, sizeof paths[0], "%s/%s", folder ? folder : SOURCE_DIR "/../shared/data", name);
    if (access(path, R_OK) != 0) {
        printf("# skipped: %s is not there\n", path);
        skip();
    }
    return path;
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

#define COCO_CAPTIONS "public/coco_caption/"

static CocoCaptions coco_captions_open(void) {
    Error error = {0};
    json_error_t json_error;
    const char *archive = shared_file(COCO_CAPTIONS "codalab_history/reference/reference.zip"),
               *submission = shared_file(COCO_CAPTIONS "codalab_history/submission/answer.json"),
               *results =
                   shared_file(COCO_CAPTIONS "results/captions_val2014_fakecap_results.json");
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

#pragma GCC diagnostic pop
