/// Noun chunks and word vectors from a program of the user's own: spaCy itself, for figures that
/// are to equal published ones (spacy_chunks.py beside this file is such a program).
///
/// The program runs as long as it is needed. On its standard input it gets one JSON object a line,
/// in ASCII, and prints one JSON object a line for each, and nothing else, at once:
///
///   at its start         -> {"name": "spaCy 3.8.7, en_core_web_lg 3.8.0"}
///   {"id": 1, "text": T} -> {"id": 1, "chunks": [[begin, end, root_begin, root_end], ...]}
///   {"id": 2, "words": [W, ...]} -> {"id": 2, "vectors": [[number, ...], ...]}
///
/// Spans are bytes of T in UTF-8, in order, none over another, the root within its chunk. There is
/// a vector for every word, all of one length, zeros for a word that has none. An "error": TEXT in
/// place of the answer ends the work with that text. Its end of input is its end.
#pragma once
#include "autograd/error.h"
#include "eval/phrases/noun_chunks.h"

typedef struct ChunkCommand ChunkCommand;

typedef struct WordVectors {
    /// [count, size]
    float *values;
    int count, size;
} WordVectors;

void word_vectors_free(WordVectors *vectors);

/// Starts `sh -c COMMAND` and waits for its name, at most `start_seconds` (models take long to
/// load); every answer after that may take `answer_seconds`. NULL with a message that names the
/// command on failure. What goes wrong later (it ends, hangs, prints something else) is an error as
/// well; the program is stopped then, and further calls fail with the same message.
ChunkCommand *chunk_command_start(const char *command, double start_seconds, double answer_seconds,
                                  Error *error);
/// Stops the program. NULL is nothing.
void chunk_command_stop(ChunkCommand *command);

/// What it calls itself, for the record of a run.
const char *chunk_command_name(const ChunkCommand *command);

/// The chunks of text[0, length); bytes that are no UTF-8, and zeros, are sent as '?'. The caller
/// frees the list.
bool chunk_command_chunks(ChunkCommand *command, const char *text, size_t length,
                          NounChunkList *list, Error *error);

/// Vectors of the words, or of short phrases, as they stand: spaCy's are of lower-case letters. The
/// caller frees them.
bool chunk_command_vectors(ChunkCommand *command, const char *const *words, int count,
                           WordVectors *vectors, Error *error);
