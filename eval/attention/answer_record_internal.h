/// What an answer's record (answer_record.c) and its arrays (answer_state.c) share.
#pragma once
#include "eval/attention/answer_record.h"

/// What is said of an answer beside its tokens and maps. The caller has the reference.
json_t *answer_about(const char *id, const Answer *answer);
/// Reads that from JSON: the answer without its tokens and maps, whose text the caller frees, as
/// *id (NULL: not wanted). False if no answer can be like this; `name` is for the message.
bool answer_understand(const char *name, const char *text, size_t size, char **id, Answer *answer,
                       Error *error);
/// How many numbers its maps have.
size_t answer_floats(const Answer *answer);
/// Spans and ranges lie where they may, whatever the file says.
bool answer_is_consistent(const Answer *answer);
