/// Which of some categories a noun phrase speaks of.
///
/// Published figures take the cosine of spaCy's vectors (category_by_vectors, through the user's
/// own command). Without them words are compared: names and plurals, and what WordNet knows. The
/// result says which rule it owes to, so that a figure can be said to rest on one or the other.
#pragma once
#include "autograd/error.h"
#include "eval/phrases/chunk_command.h"

#include <stdbool.h>

typedef struct CategoryMatch {
    /// index of the name, -1 for none
    int category;
    /// in [0, 1]; 0 for none
    float score;
    /// "name", "head", "synonym", "hypernym", "vectors" or "none"; a constant
    const char *rule;
} CategoryMatch;

typedef struct CategoryMatcher CategoryMatcher;

/// names [count] are kept as copies. wordnet_folder: as WORDNET_FOLDER in wordnet.h; where it is
/// NULL, or has no index.noun, the matcher is one without WordNet.
CategoryMatcher *category_matcher_new(const char *const *names, int count,
                                      const char *wordnet_folder);
void category_matcher_free(CategoryMatcher *matcher);
/// Whether "synonym" and "hypernym" can be found.
bool category_matcher_has_wordnet(const CategoryMatcher *matcher);

/// The category of a phrase of `length` bytes that ends with its root word, of root_length bytes:
/// the best of these rules, the first category among equals. allowed [count]: only these categories
/// count; NULL: all.
///
///   name      1.0  the phrase's last words are the name, or its plural ("two traffic lights")
///   synonym   0.95 or 0.76: the most frequent sense of the phrase's last words, or the next, is
///             the most frequent sense of the name ("sofa": couch)
///   hypernym  0.95 0.9^d: the name's most frequent sense lies d <= 7 steps above that of the last
///             words ("taxi": car); rarer senses mislead (a "computer" is also a person)
///   head      0.6  the root is the last word of a name of several ("table": dining table)
///
/// The last words are as many, up to three, as are a name or stand in WordNet: a "hot dog" is no
/// dog.
CategoryMatch category_of_phrase(const CategoryMatcher *matcher, const char *phrase, size_t length,
                                 size_t root_length, const bool *allowed);

/// The allowed category whose name's vector has the largest cosine with the root's, both in lower
/// case and without a leading the, a or an; the first among equals. Cosines below 0 are 0, and
/// so are those of words without a vector; if all are 0, there is none. False if the command fails.
bool category_by_vectors(CategoryMatcher *matcher, ChunkCommand *command, const char *root,
                         size_t root_length, const bool *allowed, CategoryMatch *match,
                         Error *error);
