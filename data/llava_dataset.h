/// Data sets in LLaVA's format: a JSON array of {"id", "image" (optional), "conversations":
/// [{"from", "value"}, ...]}.
///
/// The file is read and checked from end to end when it is opened, one sample at a time; what stays
/// in memory is DATASET_BYTES_PER_SAMPLE, and a sample is read and parsed again when it is asked
/// for: a file that was changed in between is an error. A data set may be read by several threads.
#pragma once
#include "data/conversation.h"

/// What to do about a sample whose image file does not exist or cannot be decoded.
typedef enum MissingImage { MISSING_IMAGE_FAIL, MISSING_IMAGE_SKIP } MissingImage;

typedef struct DatasetOptions {
    /// the JSON file
    const char *annotations;
    /// what relative image names are relative to
    const char *image_folder;
    /// For files that do not exist; they are looked for when the data set is opened.
    MissingImage missing_image;
} DatasetOptions;

typedef struct Dataset Dataset;

enum { DATASET_BYTES_PER_SAMPLE = 32 };

/// Other keys that name pictures ("images") are refused. NULL on failure: bad JSON (file and line),
/// a sample that is not valid (file, line, number, id, what was expected), a missing image (unless
/// skipped), or nothing to train on.
Dataset *dataset_open(const DatasetOptions *options, Error *error);
void dataset_close(Dataset *dataset);
const char *dataset_path(const Dataset *dataset);
/// Of the bytes of the samples that are used and of which these are: the same numbers on two
/// machines, or on two days, mean the same conversations in the same order. What is in the images
/// is not looked at.
uint64_t dataset_checksum(const Dataset *dataset);

/// Samples that can be used.
int64_t dataset_count(const Dataset *dataset);
/// The first sample with more, or fewer, turns than a question and an answer; -1 if there is none.
int64_t dataset_first_dialogue(const Dataset *dataset);
/// Samples left out because their image does not exist.
int64_t dataset_skipped(const Dataset *dataset);
bool dataset_has_image(const Dataset *dataset, int64_t index);
/// Words of all turns: LLaVA's estimate of the length, for grouping.
int32_t dataset_word_count(const Dataset *dataset, int64_t index);
/// For a sampler that groups: the word count plus one, negative for text-only samples. `out` holds
/// dataset_count() values.
void dataset_modality_lengths(const Dataset *dataset, int32_t *out);
/// Number of the sample in the file (from 0), the same whether others are skipped or not.
int64_t dataset_position_in_file(const Dataset *dataset, int64_t index);

typedef struct Sample {
    /// as written; "" if there is none
    char *id;
    /// of the file; NULL for text only
    char *image_path;
    Turn *turns;
    int turn_count;
    /// owns the texts
    void *json;
} Sample;

/// Fails only if the file was changed after it was opened. The caller frees the sample.
bool dataset_sample(const Dataset *dataset, int64_t index, Sample *sample, Error *error);
void sample_free(Sample *sample);
/// "file: sample 12 (id 'c5', line 345)" into a buffer, for messages; returns the buffer.
const char *dataset_describe(const Dataset *dataset, int64_t index, const char *id, char *buffer,
                             size_t size);
