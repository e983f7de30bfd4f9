/// English text in tokens, as spaCy's tokenizer for English cuts it: at white space, then
/// punctuation from both ends of a word, contractions by a list, at last within words (hyphens,
/// slashes). [spacy.io/usage/linguistic-features#how-tokenizer-works]
///
/// Two things differ: special cases that reach over what was cut before are not looked for again,
/// and a word of more than 1024 bytes is one token.
#pragma once
#include <stdbool.h>
#include <stddef.h>

typedef struct EnglishTokens {
    /// bytes of each token in the text, in order; between two tokens is nothing or one blank
    size_t *begin, *end;
    size_t count, capacity;
} EnglishTokens;

/// What a tokenizer is made of; the texts are kept by the caller for as long as it is used.
typedef struct EnglishRules {
    /// As special_cases_read() takes them.
    const char *special_cases;
    size_t special_cases_size;
    /// PCRE2 patterns of what is cut from a word's beginning and end and in its inside, and of
    /// words that are an address and stay whole.
    const char *prefix, *suffix, *infix, *address;
} EnglishRules;

typedef struct EnglishTokenizer EnglishTokenizer;
/// The rules are the program's own: a fault in them stops it. May be used by several threads.
EnglishTokenizer *english_tokenizer_new(const EnglishRules *rules);
void english_tokenizer_free(EnglishTokenizer *tokenizer);

/// Tokens of text[0, length), which must be UTF-8 without zeros; more white space than one blank is
/// a token as well. The caller frees the list.
EnglishTokens english_tokens(const EnglishTokenizer *tokenizer, const char *text, size_t length);
void english_tokens_free(EnglishTokens *tokens);

/// Bytes of the white space that text[0, length), length > 0, begins with (one character, as
/// Python's str.isspace() has it); 0 if it does not.
size_t english_space_length(const char *text, size_t length);
