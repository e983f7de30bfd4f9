/// An answer's text in the explorer's page (eval/pages/explorer.h).
#pragma once
#include "eval/pages/explorer.h"

#include <jansson.h>

/// A JSON string of bytes [0, length); those that are not UTF-8 become U+FFFD.
json_t *explorer_text(const char *text, size_t length);

/// Sets "words": [[text, first token, number of tokens]...], which put together are the answer, the
/// blanks before a word being part of it, and a blank before an utterance that has none; "pieces":
/// of every token its text; and of phrase i in `phrases` (an array) "words": [first word, number of
/// words].
///
/// Words end where phrases begin and end; signs are words of their own.
void explorer_add_words(const ExplorerAnswer *answer, json_t *phrases, json_t *into);
