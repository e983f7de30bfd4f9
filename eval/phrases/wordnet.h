/// The nouns of WordNet 3 [Fellbaum 1998], as Debian's wordnet-base has them: which senses a noun
/// has, and which more general senses (hypernyms) lie above one. [wndb(5WN), wninput(5WN)]
#pragma once
#include "autograd/error.h"

#include <stddef.h>
#include <stdint.h>

#define WORDNET_FOLDER "/usr/share/wordnet"

typedef struct WordNet WordNet;

/// Opens index.noun and data.noun of the folder, mapped: some files of any size, of which only what
/// is asked for is looked at. NULL on failure.
WordNet *wordnet_open(const char *folder, Error *error);
void wordnet_close(WordNet *wordnet);

/// The senses of a noun (lower case, blanks between words), the most frequent first, at most
/// `most`; returns their number, 0 for a word that it has not. A sense is its offset in data.noun.
int wordnet_senses(const WordNet *wordnet, const char *noun, uint32_t *senses, int most);

/// The senses directly above one, at most `most` of them; 0 at the top, where the file is not what
/// it should be, and above what has a name of its own (an instance): the writer Grass is no reason
/// to take grass for a person.
int wordnet_hypernyms(const WordNet *wordnet, uint32_t sense, uint32_t *above, int most);
