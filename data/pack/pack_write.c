#include "autograd/crc32c.h"
#include "autograd/fnv.h"
#include "data/pack/pack_internal.h"

#include <stdlib.h>
#include <string.h>

/// In this order they are begun and ended.
enum { SAMPLES, TEXTS, TOKENS, SUPERVISED, IMAGE_INDEX, IMAGE_NAMES, IMAGE_BYTES, NUM_ARRAYS };

struct PackWriter {
    StateWriter *file;
    StateArray *arrays[NUM_ARRAYS];
    /// what was put
    PackTotals put;
    /// the last image's
    char *last_name;
};

uint32_t pack_tokens_checksum(const PackSample *sample) {
    uint32_t crc = crc32c(0, sample->tokens, (size_t)sample->num_tokens * sizeof *sample->tokens);
    return crc32c(crc, sample->spans, (size_t)sample->num_spans * sizeof *sample->spans);
}

void pack_count_sample(PackTotals *totals, const PackSample *sample) {
    totals->samples++;
    totals->text_bytes += sample->text_bytes;
    totals->tokens += sample->num_tokens;
    totals->spans += sample->num_spans;
}

void pack_count_image(PackTotals *totals, const PackImage *image) {
    totals->images++;
    totals->name_bytes += (int64_t)strlen(image->name) + 1;
    totals->image_bytes += image->size;
}

static bool begin_arrays(PackWriter *writer, const PackTotals *totals, Error *error) {
    const struct {
        const char *name;
        StateType type;
        int rank;
        int64_t shape[2];
    } arrays[NUM_ARRAYS] = {
        [SAMPLES] = {"samples", STATE_INT64, 2, {totals->samples, PACK_COLUMNS}},
        [TEXTS] = {"texts", STATE_BYTES, 1, {totals->text_bytes}},
        [TOKENS] = {"tokens", STATE_INT32, 1, {totals->tokens}},
        [SUPERVISED] = {"supervised", STATE_INT32, 2, {totals->spans, 2}},
        [IMAGE_INDEX] = {"images/index", STATE_INT64, 2, {totals->images, PACK_IMAGE_COLUMNS}},
        [IMAGE_NAMES] = {"images/names", STATE_BYTES, 1, {totals->name_bytes}},
        [IMAGE_BYTES] = {"images/bytes", STATE_BYTES, 1, {totals->image_bytes}}};
    for (int i = 0; i < NUM_ARRAYS; i++) {
        writer->arrays[i] = state_array_begin(writer->file, arrays[i].name, arrays[i].type,
                                              arrays[i].rank, arrays[i].shape, error);
        if (!writer->arrays[i]) return false;
    }
    return true;
}

PackWriter *pack_create(const char *path, const PackTotals *totals, const char *source,
                        const char *tokens_of, Error *error) {
    PackWriter *writer = checked_calloc(1, sizeof *writer);
    writer->file = state_create(path, error);
    if (writer->file &&
        state_write_attribute_int(writer->file, "pack_version", PACK_VERSION, error) &&
        state_write_attribute_int(writer->file, "numbers", totals->numbers, error) &&
        state_write_attribute_string(writer->file, "source", source, error) &&
        state_write_attribute_string(writer->file, "tokens_of", tokens_of, error) &&
        begin_arrays(writer, totals, error))
        return writer;
    pack_abandon(writer);
    return NULL;
}

bool pack_put_sample(PackWriter *writer, const PackSample *sample, Error *error) {
    const int64_t row[PACK_COLUMNS] = {[PACK_NUMBER] = sample->number,
                                       [PACK_CHECKSUM] = (int64_t)sample->checksum,
                                       [PACK_LINE] = sample->line,
                                       [PACK_WORDS] = sample->words,
                                       [PACK_BEYOND_PLAIN] = sample->beyond_plain,
                                       [PACK_TEXT] = writer->put.text_bytes,
                                       [PACK_TEXT_BYTES] = sample->text_bytes,
                                       [PACK_TOKENS] = writer->put.tokens,
                                       [PACK_NUM_TOKENS] = sample->num_tokens,
                                       [PACK_SPANS] = writer->put.spans,
                                       [PACK_NUM_SPANS] = sample->num_spans,
                                       [PACK_TOKENS_CHECKSUM] = pack_tokens_checksum(sample)};
    pack_count_sample(&writer->put, sample);
    return state_array_put(writer->arrays[SAMPLES], row, 1, error) &&
           state_array_put(writer->arrays[TEXTS], sample->text, sample->text_bytes, error) &&
           state_array_put(writer->arrays[TOKENS], sample->tokens, sample->num_tokens, error) &&
           state_array_put(writer->arrays[SUPERVISED], sample->spans, sample->num_spans, error);
}

bool pack_put_image(PackWriter *writer, const PackImage *image, Error *error) {
    const int64_t length = (int64_t)strlen(image->name);
    CHECK(!writer->last_name || strcmp(writer->last_name, image->name) < 0,
          "pack: image '%s' behind '%s'", image->name, writer->last_name);
    free(writer->last_name);
    writer->last_name = checked_strdup(image->name);
    const int64_t row[PACK_IMAGE_COLUMNS] = {[PACK_IMAGE_NAME] = writer->put.name_bytes,
                                             [PACK_IMAGE_NAME_BYTES] = length,
                                             [PACK_IMAGE_BYTES] = writer->put.image_bytes,
                                             [PACK_IMAGE_SIZE] = image->size,
                                             [PACK_IMAGE_CHECKSUM] =
                                                 crc32c(0, image->bytes, (size_t)image->size)};
    pack_count_image(&writer->put, image);
    return state_array_put(writer->arrays[IMAGE_INDEX], row, 1, error) &&
           state_array_put(writer->arrays[IMAGE_NAMES], image->name, length + 1, error) &&
           state_array_put(writer->arrays[IMAGE_BYTES], image->bytes, image->size, error);
}

/// The file and the writer are no longer there afterwards.
static bool end(PackWriter *writer, bool ok, Error *error) {
    for (int i = 0; i < NUM_ARRAYS; i++)
        ok = state_array_end(writer->arrays[i], ok ? error : NULL) && ok;
    if (ok)
        ok = state_commit(writer->file, error);
    else
        state_abandon(writer->file);
    free(writer->last_name);
    free(writer);
    return ok;
}

bool pack_commit(PackWriter *writer, Error *error) { return end(writer, true, error); }

void pack_abandon(PackWriter *writer) {
    if (writer) end(writer, false, NULL);
}
