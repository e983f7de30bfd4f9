/// Answers on disk: what the model said about every item and where it looked, so that everything
/// behind it can be computed again without the model.
///
/// A store is a folder. While questions are asked, every process appends to a journal of its own,
/// answers-RRR-PPP.journal (round, process), an answer whole or not at all; when all are asked
/// journals become HDF5 files, answers-RRR-PPP.h5 (checkpoints/training_state.h), which every HDF5
/// library reads:
///
///   asked_with            attribute: JSON, what the answers depend on
///   answers/<n>/about     JSON: {"id", "text", "grid": [rows, columns], "image": [height, width],
///                         "frame": [height, width, top, left], "layers", "heads", "ended"}
///   answers/<n>/tokens    INT64 [tokens,3]: id, first byte in the text, byte behind the last
///   answers/<n>/maps      FLOAT32 [tokens,layers,heads,rows*columns]
///   answers/<n>/utterances INT64 [utterances,2]: first token, token behind the last; of a given
///                         text only
///
/// Which process asked what is of no meaning: a store is the set of its answers. It is read by any
/// number of processes, and asking goes on with any number, in a round of its own.
///
/// A folder of groundLMM's files (eval/attention/official_dumps.h) is opened and read as a store as
/// well, but not written to.
#pragma once
#include "eval/attention/official_dumps.h"

#include <jansson.h>

typedef struct AnswerStore AnswerStore;

/// Opens the answers in a folder, which may be empty or missing. asked_with: a JSON object of what
/// the answers must have been asked with (its values are compared one by one); NULL: anything, as
/// long as it is the same in all files. NULL on failure: a file is damaged, or a value differs,
/// which the message names with both values.
AnswerStore *answer_store_open(const char *folder, const json_t *asked_with, Error *error);
/// Opens a folder of groundLMM's files: an answer's id is its file's name without ".pth".
AnswerStore *answer_store_open_dumps(const char *folder, const DumpOptions *options, Error *error);
void answer_store_close(AnswerStore *store);

const char *answer_store_folder(const AnswerStore *store);
/// What the answers were asked with; NULL in an empty store. The store's.
const json_t *answer_store_asked_with(const AnswerStore *store);
int64_t answer_store_count(const AnswerStore *store);
bool answer_store_has(const AnswerStore *store, const char *id);
/// Reads an answer, to be freed with answer_free(); of groundLMM's files without its picture, which
/// official_dumps_place() tells it. False, with the reason, if it is not there or damaged.
bool answer_store_read(const AnswerStore *store, const char *id, Answer *answer, Error *error);
/// What the store consists of if it is groundLMM's files, else NULL.
const OfficialDumps *answer_store_dumps(const AnswerStore *store);
/// The number of the next round: one more than the highest in the folder. 0 in an empty store.
int answer_store_next_round(const AnswerStore *store);

/// Whether answers that say in file `path` that they were asked with `there` go together with what
/// is asked with `here`: every value of `here` is the same. If not, the error names the first that
/// is another, with both values.
bool answers_go_together(const char *path, const json_t *there, const json_t *here, Error *error);

// ---- writing

typedef struct AnswerWriter AnswerWriter;

/// Begins to write answers of one process in one round. The folder must exist. NULL on failure.
AnswerWriter *answer_writer_open(const char *folder, int round, int process,
                                 const json_t *asked_with, Error *error);
/// Appends an answer. On failure (a full disk) those before it are still there.
bool answer_writer_put(AnswerWriter *writer, const char *id, const Answer *answer, Error *error);
/// A journal without answers is removed. NULL is allowed.
void answer_writer_close(AnswerWriter *writer);

/// Makes HDF5 files of the folder's journals and removes these. For `count` processes, each of
/// which takes the journals of the processes whose number leaves `process` when divided by `count`.
/// On failure the journals that are left are still there.
bool answer_store_pack(const char *folder, int process, int count, Error *error);

/// Bytes on disk of an answer of so many tokens, rather more than fewer. layers, heads 0: without
/// attention.
int64_t answer_store_bytes(int num_tokens, int layers, int heads, int cells);
