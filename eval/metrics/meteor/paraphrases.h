/// METEOR's table of paraphrases: phrases that were translated alike.
///
/// The English table holds 5.3 million pairs of 430,637 phrases of 1 to 7 words out of a vocabulary
/// of 43,139. It is the file paraphrase-en.gz of METEOR 1.5: gzip, three lines a pair, of which the
/// first, a probability, means nothing to METEOR 1.5.
#pragma once
#include "autograd/error.h"

#include <stddef.h>
#include <stdint.h>

typedef struct Paraphrases Paraphrases;

/// Reads a table. NULL, with the file and the line, if it is something else.
Paraphrases *paraphrases_open(const char *path, Error *error);
void paraphrases_close(Paraphrases *table);

/// Pairs of the table, and bytes of memory that it takes.
int64_t paraphrases_count(const Paraphrases *table);
size_t paraphrases_bytes(const Paraphrases *table);
/// Words of the longest phrase that has paraphrases.
int paraphrases_longest(const Paraphrases *table);
/// Words of the vocabulary.
int paraphrases_vocabulary_size(const Paraphrases *table);
/// The number of a word in it, or -1.
int32_t paraphrases_word(const Paraphrases *table, const char *word, size_t length);

/// A walk through the paraphrases of a phrase, in the order of the file.
typedef struct ParaphraseWalk {
    const Paraphrases *table;
    int32_t run;
    uint32_t left;
    const uint16_t *next;
} ParaphraseWalk;

/// Begins with the phrase words[0, count), count > 0, of numbers, of which -1 is in no phrase.
ParaphraseWalk paraphrases_of(const Paraphrases *table, const int32_t *words, int count);
/// The words of the next paraphrase, their number in *count; NULL behind the last.
const uint16_t *paraphrases_next(ParaphraseWalk *walk, int *count);
