/// What a data set holds, for llava_dataset.c and llava_dataset_open.c.
#pragma once
#include "data/llava_dataset.h"
#include "data/pack/packed_sample.h"
#include "data/sample_file.h"

typedef struct Record {
    /// in its file; of a pack the sample's index
    int64_t offset;
    uint64_t checksum;
    int32_t bytes;
    /// negative: text only (LLaVA's convention, one word at least)
    int32_t words;
    int64_t position;
} Record;

_Static_assert(sizeof(Record) == DATASET_BYTES_PER_SAMPLE, "what the header promises");

/// One of the two is there.
typedef struct DataFile {
    SampleFile *file;
    Pack *pack;
    char *path;
    char *image_folder;
    /// part.skipped_because
    char *skipped_because;
    /// the number of its first sample among those of all files
    int64_t first_position;
    DatasetPart part;
} DataFile;

struct Dataset {
    char *path;
    MissingImage missing_image;
    DataFile *files;
    int file_count;
    Record *records;
    int64_t count;
    int64_t capacity;
    /// dataset_first_beyond_plain()
    int64_t first_beyond_plain;
};

/// As dataset_describe(), of a record of the file.
const char *dataset_file_describe(const DataFile *file, const Record *record, const char *id,
                                  char *buffer, size_t size);
/// The caller frees the sample in either case.
bool dataset_file_sample(const DataFile *file, const Record *record, Sample *sample, Error *error);
