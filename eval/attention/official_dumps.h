/// A folder of groundLMM's files, one per answer (eval/attention/official_dump.h): other models'
/// attention, to be segmented and judged as our own.
///
/// An answer's name is its file's without ".pth". The published scripts name them by the picture's
/// file up to its first dot (images, conversations), by the sentence's number, sent_id (referring
/// expressions), or by the narrative's place in its file, 12 digits (narratives).
#pragma once
#include "eval/attention/official_dump.h"

#include <jansson.h>

typedef struct DumpOptions {
    /// path of the tokenizer of the model that answered
    const char *tokenizer;
    PictureGeometry geometry;
    /// tokens in front of an answer that have no map: at most so many
    int offset;
} DumpOptions;

typedef struct OfficialDumps OfficialDumps;

/// Whether there is a file named *.pth in the folder.
bool official_dumps_are_in(const char *folder);
/// Lists the folder and opens the tokenizer; files are read one by one. NULL on failure.
OfficialDumps *official_dumps_open(const char *folder, const DumpOptions *options, Error *error);
void official_dumps_close(OfficialDumps *dumps);

/// What the answers depend on, as far as it is known: a JSON object with "dumps": "groundLMM", the
/// options, and a sum over names, sizes and times of the files. The dumps' own.
const json_t *official_dumps_asked_with(const OfficialDumps *dumps);
int64_t official_dumps_count(const OfficialDumps *dumps);
bool official_dumps_have(const OfficialDumps *dumps, const char *name);
/// Reads an answer without its picture, to be freed with answer_free(). subject: NULL for any.
bool official_dumps_read(const OfficialDumps *dumps, const char *name, const DumpSubject *subject,
                         Answer *answer, Error *error);
/// Tells an answer what picture it is about, and so which of its pixels the maps cover.
void official_dumps_place(const OfficialDumps *dumps, int height, int width, Answer *answer);
