#include "eval/phrases/phrase_finder.h"

#include <stdlib.h>
#include <string.h>

/// A model may take long to load, and a text long to read.
static const double START_SECONDS = 300, ANSWER_SECONDS = 120;

struct PhraseFinder {
    /// one of the two
    NounChunker *chunker;
    ChunkCommand *command;
};

PhraseFinder *phrase_finder_open(const char *command, Error *error) {
    PhraseFinder *finder = checked_calloc(1, sizeof *finder);
    if (command)
        finder->command = chunk_command_start(command, START_SECONDS, ANSWER_SECONDS, error);
    else
        finder->chunker = noun_chunker_new();
    if (finder->command || finder->chunker) return finder;
    free(finder);
    return NULL;
}

void phrase_finder_close(PhraseFinder *finder) {
    if (!finder) return;
    chunk_command_stop(finder->command);
    if (finder->chunker) noun_chunker_free(finder->chunker);
    free(finder);
}

const char *phrase_finder_name(const PhraseFinder *finder) {
    return finder->command ? chunk_command_name(finder->command) : "built-in";
}

bool phrase_finder_find(PhraseFinder *finder, const char *text, NounChunkList *chunks,
                        Error *error) {
    if (finder->command)
        return chunk_command_chunks(finder->command, text, strlen(text), chunks, error);
    *chunks = noun_chunks_find(finder->chunker, text, strlen(text));
    return true;
}

bool phrase_finder_phrases(PhraseFinder *finder, const char *text, PhraseList *phrases,
                           Error *error) {
    NounChunkList chunks;
    if (!phrase_finder_find(finder, text, &chunks, error)) return false;
    int count = chunks.count;
    *phrases =
        (PhraseList){checked_calloc((size_t)count + 1, sizeof *phrases->items), count, count + 1};
    for (int i = 0; i < count; i++) {
        const NounChunk *chunk = &chunks.items[i];
        phrases->items[i] = (Phrase){(int)chunk->begin, (int)chunk->end, (int)chunk->root_begin,
                                     (int)chunk->root_end, -1};
    }
    noun_chunks_free(&chunks);
    return true;
}

bool phrase_finder_category(PhraseFinder *finder, CategoryMatcher *matcher, const char *text,
                            const NounChunk *chunk, const bool *allowed, CategoryMatch *match,
                            Error *error) {
    size_t root_length = chunk->root_end - chunk->root_begin;
    if (finder->command)
        return category_by_vectors(matcher, finder->command, text + chunk->root_begin, root_length,
                                   allowed, match, error);
    *match = category_of_phrase(matcher, text + chunk->begin, chunk->root_end - chunk->begin,
                                root_length, allowed);
    return true;
}
