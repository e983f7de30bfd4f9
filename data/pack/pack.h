/// A data set made ready ('difflmm prepare'): one HDF5 file with the samples of one file of
/// instruction data that can be used, in their order, with their tokens and, by choice, their
/// pictures.
///
///   source            attribute: JSON, what it was made of
///   tokens_of         attribute: JSON, what the tokens depend on: tokenizer, template, ...
///   samples           INT64 [samples,PACK_COLUMNS]: a PackSample a row, see pack_internal.h
///   texts             BYTES: the samples' JSON objects as they stood in the file
///   tokens            INT32: ids of all samples, -200 for an image, not cut to any length
///   supervised        INT32 [spans,2]: runs of a sample's tokens that count for the loss
///   images/index      INT64 [images,5], images/names BYTES, images/bytes BYTES: the files as they
///                     were found; without pictures they have no rows
///
/// Arrays are contiguous, so that the file is mapped: it opens at once, whatever its size, and the
/// processes of a machine share its pages. Chunks, HDF5's other layout, would gain compression,
/// growth and its own checksums: pictures are compressed already, a pack is written once and its
/// size known beforehand, and every row has a checksum. They would cost the mapping: each read
/// would go through HDF5, a whole chunk at a time, on one thread at a time and into each process's
/// own cache, where shuffled samples lie in chunks of strangers. A sample's text, tokens and
/// picture carry checksums of their own, checked whenever they are read. A pack may be read by
/// several threads.
#pragma once
#include "autograd/error.h"

#include <stddef.h>
#include <stdint.h>

/// A run of a sample's tokens: the first, and the one behind the last.
typedef struct PackSpan {
    int32_t begin, end;
} PackSpan;

typedef struct PackSample {
    /// its number in the file that was packed
    int64_t number;
    /// of its text: SamplePlace.checksum
    uint64_t checksum;
    /// in that file, from 1
    int64_t line;
    /// words of all turns and one; negative: text only
    int32_t words;
    /// more, or less, than a question and an answer: dataset_first_beyond_plain()
    bool beyond_plain;
    const char *text;
    int32_t text_bytes;
    const int32_t *tokens;
    int32_t num_tokens;
    /// that count for the loss
    const PackSpan *spans;
    int32_t num_spans;
} PackSample;

typedef struct PackImage {
    /// as the samples name it
    const char *name;
    const void *bytes;
    int64_t size;
} PackImage;

// ---- reading

typedef struct Pack Pack;

/// Whether the file at `path` begins as HDF5 files do; false for one that cannot be read.
bool pack_is_at(const char *path);
/// NULL if it is no pack, or a damaged one.
Pack *pack_open(const char *path, Error *error);
void pack_close(Pack *pack);
const char *pack_path(const Pack *pack);
/// Attributes; the pack's.
const char *pack_source(const Pack *pack);
const char *pack_tokens_of(const Pack *pack);
int64_t pack_sample_count(const Pack *pack);
/// Samples of the file that was packed, those left out among them.
int64_t pack_number_count(const Pack *pack);
int64_t pack_image_count(const Pack *pack);
/// What sample `index` is; its text and tokens are the pack's. False if they are damaged.
bool pack_sample(const Pack *pack, int64_t index, PackSample *sample, Error *error);
/// The same without a look at text and tokens, which are NULL.
void pack_describe(const Pack *pack, int64_t index, PackSample *sample);
/// The picture of that name. False, without an error, if it is not there, and with one if it is
/// damaged.
bool pack_image(const Pack *pack, const char *name, PackImage *image, Error *error);

// ---- writing

/// How much a pack will hold, known before it is written.
typedef struct PackTotals {
    /// samples of the file that is packed, those that are left out among them
    int64_t numbers;
    int64_t samples, text_bytes, tokens, spans;
    int64_t images, name_bytes, image_bytes;
} PackTotals;

/// Adds what a sample or a picture takes.
void pack_count_sample(PackTotals *totals, const PackSample *sample);
void pack_count_image(PackTotals *totals, const PackImage *image);

typedef struct PackWriter PackWriter;

/// Begins a pack, which appears whole or not at all. NULL on failure.
PackWriter *pack_create(const char *path, const PackTotals *totals, const char *source,
                        const char *tokens_of, Error *error);
bool pack_put_sample(PackWriter *writer, const PackSample *sample, Error *error);
/// Names are put in the order of pack_compare_names(), each once.
bool pack_put_image(PackWriter *writer, const PackImage *image, Error *error);
/// Ends the pack and frees the writer. On failure nothing is left behind.
bool pack_commit(PackWriter *writer, Error *error);
/// Frees the writer; nothing is left behind. NULL is allowed.
void pack_abandon(PackWriter *writer);
