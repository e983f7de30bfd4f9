#include "data/llava_dataset_internal.h"

#include "autograd/fnv.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const char *dataset_file_describe(const DataFile *file, const Record *record, const char *id,
                                  char *buffer, size_t size) {
    PackSample packed = {0};
    if (file->pack) pack_describe(file->pack, record->offset, &packed);
    snprintf(buffer, size, "%s: sample %lld (id '%s', line %lld)", file->path,
             (long long)(record->position - file->first_position), quote(id).text,
             (long long)(file->pack ? packed.line : sample_file_line(file->file, record->offset)));
    return buffer;
}

static bool read_from_json(const DataFile *file, const Record *record, Sample *sample,
                           Error *error) {
    const SamplePlace place = {record->offset, record->bytes, record->checksum};
    json_t *json =
        sample_file_read(file->file, &place, record->position - file->first_position, error);
    return json && sample_read(json, file->image_folder, sample, error);
}

bool dataset_file_sample(const DataFile *file, const Record *record, Sample *sample, Error *error) {
    *sample = (Sample){0};
    return file->pack
               ? packed_sample_read(file->pack, record->offset, file->image_folder, sample, error)
               : read_from_json(file, record, sample, error);
}

// ---- what it is

const char *dataset_path(const Dataset *dataset) { return dataset->path; }

static uint64_t checksum_of_weights(const Dataset *dataset, uint64_t hash) {
    for (int i = 0; i < dataset->file_count; i++) {
        const DatasetPart *part = &dataset->files[i].part;
        uint64_t words[] = {hash, (uint64_t)part->count, 0};
        memcpy(&words[2], &part->weight, sizeof words[2]);
        hash = fnv1a_words(words, sizeof words);
    }
    return hash;
}

uint64_t dataset_checksum(const Dataset *dataset) {
    uint64_t hash = (uint64_t)dataset->count;
    for (int64_t i = 0; i < dataset->count; i++) {
        const Record *record = &dataset->records[i];
        uint64_t words[] = {hash, (uint64_t)record->position, record->checksum};
        hash = fnv1a_words(words, sizeof words);
    }
    const bool is_plain = dataset->file_count == 1 && dataset->files[0].part.weight == 1;
    return is_plain ? hash : checksum_of_weights(dataset, hash);
}

int dataset_part_count(const Dataset *dataset) { return dataset->file_count; }

DatasetPart dataset_part(const Dataset *dataset, int index) {
    CHECK(index >= 0 && index < dataset->file_count, "data set: file %d of %d", index,
          dataset->file_count);
    return dataset->files[index].part;
}

int64_t dataset_count(const Dataset *dataset) { return dataset->count; }
int64_t dataset_first_beyond_plain(const Dataset *dataset) { return dataset->first_beyond_plain; }

int64_t dataset_skipped(const Dataset *dataset) {
    int64_t skipped = 0;
    for (int i = 0; i < dataset->file_count; i++) skipped += dataset->files[i].part.skipped;
    return skipped;
}

// ---- samples

static const Record *record_at(const Dataset *dataset, int64_t index) {
    CHECK(index >= 0 && index < dataset->count, "data set: sample %lld of %lld", (long long)index,
          (long long)dataset->count);
    return &dataset->records[index];
}

/// The file that the sample is in.
static const DataFile *file_of(const Dataset *dataset, int64_t index) {
    int file = 0;
    while (index >= dataset->files[file].part.first + dataset->files[file].part.count) file++;
    return &dataset->files[file];
}

bool dataset_has_image(const Dataset *dataset, int64_t index) {
    return record_at(dataset, index)->words > 0;
}

int32_t dataset_word_count(const Dataset *dataset, int64_t index) {
    return abs(record_at(dataset, index)->words) - 1;
}

void dataset_modality_lengths(const Dataset *dataset, int32_t *out) {
    for (int64_t i = 0; i < dataset->count; i++) out[i] = dataset->records[i].words;
}

int64_t dataset_position_in_file(const Dataset *dataset, int64_t index) {
    return record_at(dataset, index)->position;
}

const char *dataset_describe(const Dataset *dataset, int64_t index, const char *id, char *buffer,
                             size_t size) {
    return dataset_file_describe(file_of(dataset, index), record_at(dataset, index), id, buffer,
                                 size);
}

int32_t dataset_packed_tokens(const Dataset *dataset, int64_t index, const char *identity) {
    const DataFile *file = file_of(dataset, index);
    PackSample packed;
    if (!file->pack || strcmp(pack_tokens_of(file->pack), identity) != 0) return -1;
    pack_describe(file->pack, record_at(dataset, index)->offset, &packed);
    return packed.num_tokens;
}

bool dataset_sample(const Dataset *dataset, int64_t index, Sample *sample, Error *error) {
    const Record *record = record_at(dataset, index);
    const DataFile *file = file_of(dataset, index);
    if (dataset_file_sample(file, record, sample, error)) return true;
    char where[1024];
    // What could not be read at all says itself where it was.
    if (sample->id)
        error_context(error, "%s",
                      dataset_file_describe(file, record, sample->id, where, sizeof where));
    sample_free(sample);
    return false;
}
