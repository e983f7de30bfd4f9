/// An answer as bytes and as arrays: what the store's two kinds of files hold.
#pragma once
#include "checkpoints/training_state.h"
#include "eval/attention/answer.h"

#include <jansson.h>

/// The record of a journal; the caller frees it.
char *answer_to_record(const char *id, const Answer *answer, size_t *size);
/// Reads a record. `name` is for messages. The caller frees *id (NULL: not wanted) and the answer.
bool answer_from_record(const char *name, const char *record, size_t size, char **id,
                        Answer *answer, Error *error);
/// The id in a record, without reading the rest; the caller frees it. NULL on failure.
char *answer_record_id(const char *name, const char *record, size_t size, Error *error);

/// Writes answer `number` of an HDF5 file.
bool answer_to_state(StateWriter *writer, int64_t number, const char *id, const Answer *answer,
                     Error *error);
/// Its id; the caller frees it. NULL on failure.
char *answer_state_id(const StateFile *file, int64_t number, Error *error);
bool answer_from_state(const StateFile *file, int64_t number, Answer *answer, Error *error);
