/// Instruction data (data/instruction_sample.h) in one file or several (data/sample_file.h).
///
/// Files are read and checked from end to end when they are opened, one sample at a time; what
/// stays in memory is DATASET_BYTES_PER_SAMPLE, and a sample is read and parsed again when it is
/// asked for: a file that was changed in between is an error. A data set may be read by several
/// threads.
#pragma once
#include "data/images/image_check.h"
#include "data/instruction_sample.h"

/// What to do about a sample whose image file does not exist, is no image, or cannot be decoded.
typedef enum MissingImage {
    MISSING_IMAGE_FAIL,
    MISSING_IMAGE_SKIP,
    /// not looked for: every sample is there
    MISSING_IMAGE_UNCHECKED
} MissingImage;

typedef struct DatasetFile {
    char *path;
    /// what relative image names are relative to: a folder, or a zip or tar archive; NULL: the
    /// current folder
    char *image_folder;
    /// how often an epoch has a sample of it (data/loader/sampler.h)
    double weight;
} DatasetFile;

typedef struct DatasetOptions {
    /// the JSON file
    const char *annotations;
    /// what relative image names are relative to
    const char *image_folder;
    /// Files are looked for when the data set is opened, and their first bytes at: those that are
    /// not there or no images fail, or their samples are left out.
    MissingImage missing_image;
} DatasetOptions;

typedef struct Dataset Dataset;

enum { DATASET_BYTES_PER_SAMPLE = 32 };

/// One file, of weight 1. NULL on failure: bad JSON (file and line), a sample that is not valid
/// (file, line, number, id, what was expected), a missing image (unless skipped), or nothing to
/// train on.
Dataset *dataset_open(const DatasetOptions *options, Error *error);
/// Several files, in this order. One that has nothing to train on fails.
Dataset *dataset_open_files(const DatasetFile *files, int count, MissingImage missing_image,
                            Error *error);
/// The same on several processes at once, which share the look at images: all call it with the same
/// files, and what one of them finds missing is missing for all. Fails alike on all as far as
/// sharers->exchange() tells.
Dataset *dataset_open_shared(const DatasetFile *files, int count, MissingImage missing_image,
                             const ImageSharers *sharers, Error *error);
void dataset_close(Dataset *dataset);
/// For messages: the first file, and how many others there are.
const char *dataset_path(const Dataset *dataset);
/// Of the bytes of the samples that are used and of which these are, and of weights other than one
/// 1: the same numbers on two machines, or on two days, mean the same conversations in the same
/// order. What is in the images is not looked at.
uint64_t dataset_checksum(const Dataset *dataset);

/// What has come of a file. Its samples are [first, first + count).
typedef struct DatasetPart {
    const char *path;
    double weight;
    int64_t first, count;
    int64_t with_image;
    /// left out because their image does not exist or is none, of a pack also when it was made; and
    /// what is wrong with the first, NULL for none and for those that a pack was made without
    int64_t skipped;
    const char *skipped_because;
    /// how many images are of each format, of those that are no pack's own
    int64_t formats[IMAGE_FORMAT_COUNT];
} DatasetPart;

int dataset_part_count(const Dataset *dataset);
DatasetPart dataset_part(const Dataset *dataset, int index);

/// Samples that can be used.
int64_t dataset_count(const Dataset *dataset);
/// The first sample that the template `plain` has no place for: with more, or fewer, turns than a
/// question and an answer, or with a system message; -1 if there is none.
int64_t dataset_first_beyond_plain(const Dataset *dataset);
/// Samples left out because their image does not exist or is none.
int64_t dataset_skipped(const Dataset *dataset);
bool dataset_has_image(const Dataset *dataset, int64_t index);
/// Words of all turns: LLaVA's estimate of the length, for grouping.
int32_t dataset_word_count(const Dataset *dataset, int64_t index);
/// For a sampler that groups: the word count plus one, negative for text-only samples. `out` holds
/// dataset_count() values.
void dataset_modality_lengths(const Dataset *dataset, int32_t *out);
/// Number of the sample (from 0) in the files one after the other, the same whether others are
/// skipped or not, and whatever the weights are. Below 2^31.
int64_t dataset_position_in_file(const Dataset *dataset, int64_t index);

/// How many tokens a sample has in its pack, before they are cut and with one for an image, if they
/// depend on `identity` (conversation_identity()); -1: they are not known.
int32_t dataset_packed_tokens(const Dataset *dataset, int64_t index, const char *identity);

/// Fails only if the file was changed after it was opened. The caller frees the sample.
bool dataset_sample(const Dataset *dataset, int64_t index, Sample *sample, Error *error);
/// "file: sample 12 (id 'c5', line 345)" into a buffer, for messages; returns the buffer. The
/// number is the one in its file.
const char *dataset_describe(const Dataset *dataset, int64_t index, const char *id, char *buffer,
                             size_t size);
