/// Noun chunks of free English text and their root words, as spaCy's `doc.noun_chunks` and
/// `chunk.root` have them (pronouns included), which attend-and-segment groups tokens by.
///
/// A small network learned from spaCy's own chunks (en_core_web_sm 3.8) on captions, long
/// descriptions and prose; tests/parity/noun_chunks/train.py made its weights, which are part of
/// the program. tests/parity/README.md says how far it agrees; spaCy itself is chunk_command.h. The
/// same text gives the same chunks on every machine.
#pragma once
#include <stddef.h>

typedef struct NounChunk {
    /// bytes of the chunk in the text, e.g. "a small red ring"
    size_t begin, end;
    /// bytes of its root word, e.g. "ring": the chunk's last token
    size_t root_begin, root_end;
} NounChunk;

typedef struct NounChunkList {
    /// in order of appearance, none within another
    NounChunk *items;
    int count, capacity;
} NounChunkList;

/// Opens the chunker once for many texts: some 2 MiB. It is not written to later, and may be used
/// by several threads at once. The caller frees it.
typedef struct NounChunker NounChunker;
NounChunker *noun_chunker_new(void);
void noun_chunker_free(NounChunker *chunker);

/// The chunks of text[0, length), of any length, newlines and all. Bytes that are no UTF-8 count as
/// '?', and so do zeros. Needs at most some 70 bytes of memory for a byte of text. The caller frees
/// the list.
NounChunkList noun_chunks_find(const NounChunker *chunker, const char *text, size_t length);

/// For those who find chunks in another way.
void noun_chunks_append(NounChunkList *list, NounChunk chunk);
void noun_chunks_free(NounChunkList *list);
