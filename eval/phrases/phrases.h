/// Finding, in an answer, the nouns that name a category, and the phrase around each.
#pragma once
#include "autograd/error.h"

typedef struct Phrase {
    /// bytes of the phrase in the text, e.g. "a small red ring"
    int begin, end;
    /// bytes of the noun, e.g. "ring"
    int noun_begin, noun_end;
    /// index into the names given
    int category;
} Phrase;

typedef struct PhraseList {
    Phrase *items;
    int count, capacity;
} PhraseList;

/// Whole words of `text`, ASCII case ignored, that equal a category's name or its plural (-s, -es);
/// a name of several words matches those words. A phrase reaches from the nearest determiner or
/// number before the noun (in the same clause, at most five words back) to the noun; without one it
/// is the noun. In order of appearance; the caller frees with phrases_free.
PhraseList phrases_find(const char *text, const char *const *category_names, int num_categories);
void phrases_free(PhraseList *list);
