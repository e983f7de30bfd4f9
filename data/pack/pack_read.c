// The file is opened by HDF5 once, to find where its arrays lie and what they are, and then mapped.
// Rows are not believed: every place that they name is looked up within its array. The index of
// samples is read as a whole and so is checked as a whole when the pack is opened.
#include "autograd/crc32c.h"
#include "autograd/fnv.h"
#include "data/pack/pack_internal.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

bool pack_is_at(const char *path) {
    static const char SIGNATURE[8] = "\211HDF\r\n\032\n";
    char first[sizeof SIGNATURE];
    FILE *file = fopen(path, "rb");
    if (!file) return false;
    const bool is = fread(first, 1, sizeof first, file) == sizeof first &&
                    !memcmp(first, SIGNATURE, sizeof SIGNATURE);
    fclose(file);
    return is;
}

static bool damaged(const Pack *pack, const char *what, int64_t index, Error *error) {
    return error_set(error, "%s: damaged: %s %lld; make the pack again with 'difflmm prepare'",
                     pack->file.path, what, (long long)index);
}

// ---- opening

/// Finds an array of this type, whose rows have `columns` elements; 0: it has one dimension.
static bool find(Pack *pack, const StateFile *state, const char *name, StateType type, int columns,
                 PackPart *part, int64_t *rows, Error *error) {
    StateType is;
    int rank;
    int64_t shape[STATE_MAX_RANK], offset;
    if (!state_describe_array(state, name, &is, &rank, shape, error) ||
        !state_array_place(state, name, &offset, &part->size, &part->checksum, error))
        return false;
    if (is != type || rank != (columns ? 2 : 1) || (columns && shape[1] != columns) ||
        (uint64_t)(offset + part->size) > pack->file.size || offset % PACK_ALIGNMENT != 0)
        return error_set(error, "%s: its array '%s' is not what a pack has", pack->file.path, name);
    part->bytes = pack->file.bytes + offset;
    if (rows) *rows = shape[0];
    return true;
}

static bool find_parts(Pack *pack, const StateFile *state, Error *error) {
    int64_t version;
    if (!state_has_attribute(state, "pack_version"))
        return error_set(error,
                         "%s: an HDF5 file, but no pack; expected what 'difflmm prepare' writes, "
                         "or JSON",
                         pack->file.path);
    if (!state_read_attribute_int(state, "pack_version", &version, error)) return false;
    if (version != PACK_VERSION)
        return error_set(error, "%s: a pack of version %lld; this program reads version %d",
                         pack->file.path, (long long)version, PACK_VERSION);
    return state_read_attribute_int(state, "numbers", &pack->numbers, error) &&
           state_read_attribute_string(state, "source", &pack->source, error) &&
           state_read_attribute_string(state, "tokens_of", &pack->tokens_of, error) &&
           find(pack, state, "samples", STATE_INT64, PACK_COLUMNS, &pack->sample_rows,
                &pack->samples, error) &&
           find(pack, state, "texts", STATE_BYTES, 0, &pack->texts, NULL, error) &&
           find(pack, state, "tokens", STATE_INT32, 0, &pack->tokens, NULL, error) &&
           find(pack, state, "supervised", STATE_INT32, 2, &pack->spans, NULL, error) &&
           find(pack, state, "images/index", STATE_INT64, PACK_IMAGE_COLUMNS, &pack->image_rows,
                &pack->images, error) &&
           find(pack, state, "images/names", STATE_BYTES, 0, &pack->names, NULL, error) &&
           find(pack, state, "images/bytes", STATE_BYTES, 0, &pack->image_bytes, NULL, error);
}

static const int64_t *row_of(const Pack *pack, int64_t index) {
    CHECK(index >= 0 && index < pack->samples, "pack: sample %lld of %lld", (long long)index,
          (long long)pack->samples);
    return (const int64_t *)(const void *)pack->sample_rows.bytes + index * PACK_COLUMNS;
}

static const int64_t *image_row(const Pack *pack, int64_t index) {
    return (const int64_t *)(const void *)pack->image_rows.bytes + index * PACK_IMAGE_COLUMNS;
}

/// Whether [begin, begin + count) are elements of an array.
static bool lies_in(const PackPart *part, int64_t begin, int64_t count, int64_t element_bytes) {
    const int64_t elements = part->size / element_bytes;
    return begin >= 0 && count >= 0 && begin <= elements && count <= elements - begin;
}

static bool is_intact(const PackPart *part) {
    return crc32c(0, part->bytes, (size_t)part->size) == part->checksum;
}

bool pack_check(const Pack *pack, Error *error) {
    if (!is_intact(&pack->sample_rows) || !is_intact(&pack->image_rows) || !is_intact(&pack->names))
        return damaged(pack, "its index, of samples", pack->samples, error);
    for (int64_t i = 0; i < pack->samples; i++) {
        const int64_t *row = row_of(pack, i);
        if (row[PACK_NUMBER] < 0 || row[PACK_NUMBER] >= pack->numbers || row[PACK_WORDS] == 0 ||
            row[PACK_WORDS] < -INT32_MAX || row[PACK_WORDS] > INT32_MAX ||
            row[PACK_TEXT_BYTES] > INT32_MAX || row[PACK_NUM_TOKENS] > INT32_MAX ||
            !lies_in(&pack->texts, row[PACK_TEXT], row[PACK_TEXT_BYTES], 1) ||
            !lies_in(&pack->tokens, row[PACK_TOKENS], row[PACK_NUM_TOKENS], sizeof(int32_t)) ||
            !lies_in(&pack->spans, row[PACK_SPANS], row[PACK_NUM_SPANS], sizeof(PackSpan)) ||
            (i > 0 && row[PACK_NUMBER] <= row_of(pack, i - 1)[PACK_NUMBER]))
            return damaged(pack, "the entry of sample", i, error);
    }
    for (int64_t i = 0; i < pack->images; i++) {
        const int64_t *row = image_row(pack, i);
        if (!lies_in(&pack->image_bytes, row[PACK_IMAGE_BYTES], row[PACK_IMAGE_SIZE], 1) ||
            row[PACK_IMAGE_NAME_BYTES] < 0 || row[PACK_IMAGE_NAME_BYTES] > INT32_MAX ||
            !lies_in(&pack->names, row[PACK_IMAGE_NAME], row[PACK_IMAGE_NAME_BYTES] + 1, 1) ||
            pack->names.bytes[row[PACK_IMAGE_NAME] + row[PACK_IMAGE_NAME_BYTES]] != 0)
            return damaged(pack, "the entry of image", i, error);
    }
    return true;
}

Pack *pack_open(const char *path, Error *error) {
    StateFile *state = state_open(path, error);
    if (!state) return NULL;
    Pack *pack = checked_calloc(1, sizeof *pack);
    bool ok = mapped_file_open(&pack->file, path, error) && find_parts(pack, state, error) &&
              pack_check(pack, error);
    state_close(state);
    if (ok) return pack;
    pack_close(pack);
    return NULL;
}

void pack_close(Pack *pack) {
    if (!pack) return;
    mapped_file_close(&pack->file);
    free(pack->source);
    free(pack->tokens_of);
    free(pack);
}

const char *pack_path(const Pack *pack) { return pack->file.path; }
const char *pack_source(const Pack *pack) { return pack->source; }
const char *pack_tokens_of(const Pack *pack) { return pack->tokens_of; }
int64_t pack_sample_count(const Pack *pack) { return pack->samples; }
int64_t pack_number_count(const Pack *pack) { return pack->numbers; }
int64_t pack_image_count(const Pack *pack) { return pack->images; }

// ---- samples

void pack_describe(const Pack *pack, int64_t index, PackSample *sample) {
    const int64_t *row = row_of(pack, index);
    *sample = (PackSample){.number = row[PACK_NUMBER],
                           .checksum = (uint64_t)row[PACK_CHECKSUM],
                           .line = row[PACK_LINE],
                           .words = (int32_t)row[PACK_WORDS],
                           .beyond_plain = row[PACK_BEYOND_PLAIN] != 0,
                           .text_bytes = (int32_t)row[PACK_TEXT_BYTES],
                           .num_tokens = (int32_t)row[PACK_NUM_TOKENS],
                           .num_spans = (int32_t)row[PACK_NUM_SPANS]};
}

static bool spans_are_within(const PackSample *sample) {
    int32_t last = 0;
    for (int i = 0; i < sample->num_spans; i++) {
        const PackSpan span = sample->spans[i];
        if (span.begin < last || span.end <= span.begin || span.end > sample->num_tokens)
            return false;
        last = span.end;
    }
    return true;
}

bool pack_sample(const Pack *pack, int64_t index, PackSample *sample, Error *error) {
    const int64_t *row = row_of(pack, index);
    pack_describe(pack, index, sample);
    sample->text = (const char *)pack->texts.bytes + row[PACK_TEXT];
    sample->tokens = (const int32_t *)(const void *)pack->tokens.bytes + row[PACK_TOKENS];
    sample->spans = (const PackSpan *)(const void *)pack->spans.bytes + row[PACK_SPANS];
    return (fnv1a_words(sample->text, (size_t)sample->text_bytes) == sample->checksum &&
            pack_tokens_checksum(sample) == (uint32_t)row[PACK_TOKENS_CHECKSUM] &&
            spans_are_within(sample)) ||
           damaged(pack, "sample", sample->number, error);
}

// ---- images

bool pack_image(const Pack *pack, const char *name, PackImage *image, Error *error) {
    int64_t first = 0, end = pack->images;
    while (first < end) {
        const int64_t middle = first + (end - first) / 2, *row = image_row(pack, middle);
        const char *here = (const char *)pack->names.bytes + row[PACK_IMAGE_NAME];
        const int order = strcmp(name, here);
        if (order < 0) end = middle;
        if (order > 0) first = middle + 1;
        if (order != 0) continue;
        *image = (PackImage){here, pack->image_bytes.bytes + row[PACK_IMAGE_BYTES],
                             row[PACK_IMAGE_SIZE]};
        return crc32c(0, image->bytes, (size_t)image->size) == (uint32_t)row[PACK_IMAGE_CHECKSUM] ||
               damaged(pack, "image", middle, error);
    }
    return false;
}
