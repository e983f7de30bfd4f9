/// What a file's preparation has come to so far: a folder of journals.
///
/// Its journals, blocks-RRR-PPP.journal (round, process), begin with a record that says what is
/// prepared and how; then come pictures ("I", name, zero, bytes) and blocks, a block behind its
/// pictures. A run that goes on begins a round of its own.
#pragma once
#include "autograd/output/journal.h"
#include "train/prepare/prepare_block.h"

typedef struct PrepareParts PrepareParts;

/// Reads what is in the folder, which exists; what was prepared of something else, or in another
/// way, than `identity` says is removed where `may_remove`, and otherwise left out of account.
/// skips: data.missing_image. NULL on failure.
PrepareParts *prepare_parts_open(const char *folder, const char *identity, bool skips,
                                 bool may_remove, Error *error);
void prepare_parts_close(PrepareParts *parts);
/// The number of the next round.
int prepare_parts_next_round(const PrepareParts *parts);
/// Whether block `number` is there, without a sample that training refuses: such a one is looked at
/// again.
bool prepare_parts_have(const PrepareParts *parts, int64_t number);
/// The number behind the last block that is there.
int64_t prepare_parts_end(const PrepareParts *parts);
/// The record of block `number`; the caller frees it.
char *prepare_parts_block(const PrepareParts *parts, int64_t number, size_t *size, Error *error);

/// Pictures, sorted by name, each once.
int64_t prepare_parts_image_count(const PrepareParts *parts);
/// Adds all of them.
void prepare_parts_count_images(const PrepareParts *parts, PackTotals *totals);
/// A picture; the caller frees *record, in which it lies.
bool prepare_parts_image(const PrepareParts *parts, int64_t index, PackImage *image, char **record,
                         Error *error);

/// Begins a journal of one process in one round. NULL on failure.
Journal *prepare_part_begin(const char *folder, int round, int process, const char *identity,
                            Error *error);
/// Appends a block's pictures, and then the block.
bool prepare_part_put(Journal *journal, const ByteBuffer *block, const BlockImage *images,
                      int num_images, Error *error);
/// Removes the folder with its journals.
void prepare_parts_remove(const char *folder);
