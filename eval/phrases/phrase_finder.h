/// The noun chunks of an answer, from whoever finds them: the built-in chunker
/// (eval/phrases/noun_chunks.h), or a program that the user names (eval/phrases/chunk_command.h).
#pragma once
#include "eval/phrases/category_match.h"
#include "eval/phrases/phrases.h"

typedef struct PhraseFinder PhraseFinder;

/// command: NULL for the built-in chunker. NULL on failure.
PhraseFinder *phrase_finder_open(const char *command, Error *error);
/// NULL is allowed.
void phrase_finder_close(PhraseFinder *finder);
/// For the record: "built-in", or what the program calls itself.
const char *phrase_finder_name(const PhraseFinder *finder);

/// The chunks of a text, to be freed with noun_chunks_free(). Fails where the program does.
bool phrase_finder_find(PhraseFinder *finder, const char *text, NounChunkList *chunks,
                        Error *error);

/// The same as phrases: the chunk, and its root as the noun; of no category, -1. The caller frees
/// them with phrases_free().
bool phrase_finder_phrases(PhraseFinder *finder, const char *text, PhraseList *phrases,
                           Error *error);

/// Which of the allowed categories a chunk of the text speaks of: by the program's word vectors, or
/// else by words.
bool phrase_finder_category(PhraseFinder *finder, CategoryMatcher *matcher, const char *text,
                            const NounChunk *chunk, const bool *allowed, CategoryMatch *match,
                            Error *error);
