// Most words are letters alone, which no pattern cuts: only special cases ("cannot", "Im") are
// looked up for them, and no regular expression is asked.
#include "eval/phrases/english_tokens.h"
#include "autograd/error.h"
#include "autograd/text/utf8.h"
#include "eval/phrases/special_cases.h"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <ctype.h>
#include <pcre2.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

enum { PREFIX, SUFFIX, INFIX, ADDRESS, NUM_PATTERNS };

enum {
    // Cutting takes steps by the square of a word's length.
    LONGEST_WORD = 1024,
    MATCH_LIMIT = 100000,
};

struct EnglishTokenizer {
    pcre2_code *patterns[NUM_PATTERNS];
    pcre2_match_context *limits;
    SpecialCases special_cases;
};

/// One call's state: the tokens so far and what PCRE2 writes to.
typedef struct Tokenizing {
    const EnglishTokenizer *tokenizer;
    const char *text;
    EnglishTokens tokens;
    pcre2_match_data *match;
} Tokenizing;

typedef struct Span {
    size_t begin, end;
} Span;

static pcre2_code *compile(const char *pattern) {
    int code = 0;
    PCRE2_SIZE offset = 0;
    pcre2_code *compiled = pcre2_compile((PCRE2_SPTR)pattern, PCRE2_ZERO_TERMINATED,
                                         PCRE2_UTF | PCRE2_UCP, &code, &offset, NULL);
    CHECK(compiled, "English tokens: PCRE2's error %d at byte %zu of '%.40s'", code, offset,
          pattern);
    pcre2_jit_compile(compiled, PCRE2_JIT_COMPLETE); // without it, matching is only slower
    return compiled;
}

EnglishTokenizer *english_tokenizer_new(const EnglishRules *rules) {
    EnglishTokenizer *tokenizer = checked_calloc(1, sizeof *tokenizer);
    const char *const patterns[] = {rules->prefix, rules->suffix, rules->infix, rules->address};
    for (int i = 0; i < NUM_PATTERNS; i++) tokenizer->patterns[i] = compile(patterns[i]);
    tokenizer->limits = pcre2_match_context_create(NULL);
    CHECK(tokenizer->limits, "out of memory");
    pcre2_set_match_limit(tokenizer->limits, MATCH_LIMIT);
    special_cases_read(&tokenizer->special_cases, rules->special_cases, rules->special_cases_size);
    return tokenizer;
}

void english_tokenizer_free(EnglishTokenizer *tokenizer) {
    if (!tokenizer) return;
    for (int i = 0; i < NUM_PATTERNS; i++) pcre2_code_free(tokenizer->patterns[i]);
    pcre2_match_context_free(tokenizer->limits);
    special_cases_free(&tokenizer->special_cases);
    free(tokenizer);
}

void english_tokens_free(EnglishTokens *tokens) {
    free(tokens->begin);
    free(tokens->end);
    *tokens = (EnglishTokens){0};
}

static void add_token(EnglishTokens *tokens, size_t begin, size_t end) {
    if (tokens->count == tokens->capacity) {
        tokens->capacity = tokens->capacity ? 2 * tokens->capacity : 64;
        tokens->begin = checked_realloc(tokens->begin, tokens->capacity * sizeof(size_t));
        tokens->end = checked_realloc(tokens->end, tokens->capacity * sizeof(size_t));
    }
    tokens->begin[tokens->count] = begin;
    tokens->end[tokens->count++] = end;
}

/// Whether the pattern is found in the span from byte `from` of it on; where, in bytes of the text.
static bool find(Tokenizing *t, int pattern, Span word, size_t from, Span *found) {
    const int matched = pcre2_match(t->tokenizer->patterns[pattern],
                                    (PCRE2_SPTR)t->text + word.begin, word.end - word.begin, from,
                                    PCRE2_NO_UTF_CHECK, t->match, t->tokenizer->limits);
    if (matched < 0) return false; // not there, or not within PCRE2's limits: the word stays whole
    const PCRE2_SIZE *span = pcre2_get_ovector_pointer(t->match);
    *found = (Span){word.begin + span[0], word.begin + span[1]};
    return true;
}

static const SpecialCase *special_case(const Tokenizing *t, Span word) {
    return special_cases_find(&t->tokenizer->special_cases, t->text + word.begin,
                              word.end - word.begin);
}

static void add_special_case(Tokenizing *t, Span word, const SpecialCase *found) {
    size_t begin = word.begin;
    for (int i = 0; i < found->num_tokens; i++) {
        add_token(&t->tokens, begin, begin + found->token_size[i]);
        begin += found->token_size[i];
    }
}

static void cut_inside(Tokenizing *t, Span word) {
    size_t begin = word.begin, from = 0;
    Span infix;
    while (from < word.end - word.begin && find(t, INFIX, word, from, &infix)) {
        from = infix.end - word.begin;
        if (infix.begin == word.begin) continue;
        if (infix.begin > begin) add_token(&t->tokens, begin, infix.begin);
        add_token(&t->tokens, infix.begin, infix.end);
        begin = infix.end;
    }
    if (begin < word.end) add_token(&t->tokens, begin, word.end);
}

/// What is left of a word when nothing is to be cut from its ends.
static void add_core(Tokenizing *t, Span word) {
    Span address;
    const SpecialCase *special = special_case(t, word);
    if (special)
        add_special_case(t, word, special);
    else if (find(t, ADDRESS, word, 0, &address))
        add_token(&t->tokens, word.begin, word.end);
    else
        cut_inside(t, word);
}

/// Cuts one prefix (added at once) and one suffix (its size remembered by the caller); false if
/// there are none, or if what is left is a special case.
static bool cut_ends(Tokenizing *t, Span *word, size_t *suffix_size) {
    Span prefix = {0}, suffix = {0};
    Span rest = *word;
    *suffix_size = 0;
    if (find(t, PREFIX, *word, 0, &prefix)) {
        rest.begin = prefix.end;
        if (rest.begin < rest.end && special_case(t, rest)) {
            add_token(&t->tokens, word->begin, rest.begin);
            *word = rest;
            return false;
        }
    }
    if (rest.begin < rest.end && find(t, SUFFIX, rest, 0, &suffix)) {
        const Span before = {word->begin, suffix.begin};
        *suffix_size = suffix.end - suffix.begin;
        if (before.begin < before.end && special_case(t, before)) {
            word->end = before.end;
            return false;
        }
        rest.end = suffix.begin;
    }
    const bool is_cut = rest.begin > word->begin || rest.end < word->end;
    if (rest.begin > word->begin) add_token(&t->tokens, word->begin, rest.begin);
    *word = rest;
    return is_cut;
}

static bool is_letters(const char *text, size_t length) {
    for (size_t i = 0; i < length; i++)
        if (!isalpha((unsigned char)text[i])) return false;
    return true;
}

static void add_word(Tokenizing *t, Span word) {
    size_t *suffixes = NULL, num_suffixes = 0, capacity = 0;
    const size_t length = word.end - word.begin;
    const bool is_whole = length > LONGEST_WORD ||
                          (is_letters(t->text + word.begin, length) && !special_case(t, word));
    bool is_cut = !is_whole;
    while (is_cut && word.begin < word.end && !special_case(t, word)) {
        size_t size;
        is_cut = cut_ends(t, &word, &size);
        if (!size) continue;
        if (num_suffixes == capacity) {
            capacity = capacity ? 2 * capacity : 8;
            suffixes = checked_realloc(suffixes, capacity * sizeof *suffixes);
        }
        suffixes[num_suffixes++] = size;
    }
    if (is_whole)
        add_token(&t->tokens, word.begin, word.end);
    else if (word.begin < word.end)
        add_core(t, word);
    for (size_t i = num_suffixes, begin = word.end; i-- > 0; begin += suffixes[i])
        add_token(&t->tokens, begin, begin + suffixes[i]);
    free(suffixes);
}

size_t english_space_length(const char *text, size_t length) {
    const unsigned char *c = (const unsigned char *)text;
    if (*c < 0x80) return *c == ' ' || (*c >= '\t' && *c <= '\r') || (*c >= 0x1c && *c <= 0x1f);
    if (length >= 2 && c[0] == 0xc2) return c[1] == 0x85 || c[1] == 0xa0 ? 2 : 0;
    if (length < 3) return 0;
    const int code = (c[0] & 15) << 12 | (c[1] & 63) << 6 | (c[2] & 63);
    const bool is_space = (c[0] & 0xf0) == 0xe0 &&
                          (code == 0x1680 || (code >= 0x2000 && code <= 0x200a) || code == 0x2028 ||
                           code == 0x2029 || code == 0x202f || code == 0x205f || code == 0x3000);
    return is_space ? 3 : 0;
}

EnglishTokens english_tokens(const EnglishTokenizer *tokenizer, const char *text, size_t length) {
    Tokenizing t = {
        .tokenizer = tokenizer, .text = text, .match = pcre2_match_data_create(1, NULL)};
    CHECK(t.match, "out of memory");
    size_t begin = 0;
    while (begin < length) {
        const bool is_space = english_space_length(text + begin, length - begin) > 0;
        size_t end = begin;
        while (end < length) {
            const size_t space = english_space_length(text + end, length - end);
            if ((space > 0) != is_space) break;
            end += space ? space : utf8_character_length(text + end, length - end);
        }
        // One blank behind a word belongs to it; the rest of the white space is a token.
        if (!is_space)
            add_word(&t, (Span){begin, end});
        else if (begin + (text[begin] == ' ' && begin > 0) < end)
            add_token(&t.tokens, begin + (text[begin] == ' ' && begin > 0), end);
        begin = end;
    }
    pcre2_match_data_free(t.match);
    return t.tokens;
}
