/// English nouns and their plurals.
#pragma once
#include <stdbool.h>
#include <stddef.h>

enum { MOST_NOUN_FORMS = 4, NOUN_SIZE = 64 };

/// What a word may be a form of, itself first: "boxes" -> boxes, boxe, box; "knives" -> knives,
/// knif, knife ... It is enough that one of them is right.
typedef struct NounForms {
    char words[MOST_NOUN_FORMS][NOUN_SIZE];
    int count;
} NounForms;

/// Of `length` bytes, in lower ASCII letters, blanks and hyphens as they stand; a plural of several
/// words is one of its last. A word of NOUN_SIZE bytes or more has no form.
NounForms noun_forms(const char *word, size_t length);

/// Whether two nouns have a form in common: "Dogs" and "dog", "people" and "person".
bool is_same_noun(const NounForms *a, const NounForms *b);
