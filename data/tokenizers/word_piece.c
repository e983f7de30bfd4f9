#include "data/tokenizers/word_piece.h"
#include "autograd/file_content.h"
#include "data/text.h"
#include "data/tokenizers/aligned_text.h"
#include "data/tokenizers/vocabulary.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <utf8proc.h>

enum {
    LONGEST_WORD = 100,              // characters; longer words are unknown, as in BERT
    LONGEST_FILE = 64 * 1024 * 1024, // far above any vocabulary
    LONGEST_DECOMPOSITION =
        8, // characters of one character's canonical decomposition; Unicode has 4
};

static const char *const SPECIAL[] = {"[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"};
enum { PAD, UNKNOWN, CLS, SEP, MASK, SPECIAL_COUNT };

struct WordPiece {
    Vocabulary *vocabulary;
    /// -1 if the vocabulary has none
    int32_t special[SPECIAL_COUNT];
    bool lowercase;
};

// ---- the file

/// Takes the lines of text[0, length) apart.
static bool add_lines(WordPiece *tokenizer, const char *path, char *text, size_t length,
                      Error *error) {
    if (strlen(text) != length)
        return error_set(error, "%s: byte %zu is zero; expected text, one token a line", path,
                         strlen(text));
    int32_t count = 0;
    for (const char *c = text; (c = strchr(c, '\n')); c++) count++;
    count += length > 0 && text[length - 1] != '\n';
    tokenizer->vocabulary = vocabulary_new((size_t)count, count);
    for (int32_t id = 0; id < count; id++) {
        char *end = text + strcspn(text, "\n");
        const bool is_last = *end == '\0';
        *end = '\0';
        if (end > text && end[-1] == '\r') end[-1] = '\0';
        if (!*text || !vocabulary_add(tokenizer->vocabulary, text, id))
            return error_set(error,
                             "%s: line %d is '%.80s'; expected a token that is on no other line",
                             path, id + 1, text);
        text = is_last ? end : end + 1;
    }
    for (int i = 0; i < SPECIAL_COUNT; i++)
        tokenizer->special[i] =
            vocabulary_id(tokenizer->vocabulary, SPECIAL[i], strlen(SPECIAL[i]));
    for (int i = 0; i < MASK; i++) {
        if (tokenizer->special[i] < 0)
            return error_set(error, "%s: no line is %s; expected a BERT vocabulary", path,
                             SPECIAL[i]);
    }
    return true;
}

WordPiece *word_piece_open(const char *path, bool lowercase, Error *error) {
    struct stat status;
    const bool is_folder = stat(path, &status) == 0 && S_ISDIR(status.st_mode);
    char *file = is_folder ? format_string("%s/vocab.txt", path) : checked_strdup(path);
    size_t length = 0;
    char *text;
    WordPiece *tokenizer = NULL;
    if (file_read_text(file, LONGEST_FILE, &text, &length, error)) {
        tokenizer = checked_calloc(1, sizeof *tokenizer);
        tokenizer->lowercase = lowercase;
        if (!add_lines(tokenizer, file, text, length, error)) {
            word_piece_close(tokenizer);
            tokenizer = NULL;
        }
    }
    free(text);
    free(file);
    return tokenizer;
}

void word_piece_close(WordPiece *tokenizer) {
    if (!tokenizer) return;
    vocabulary_free(tokenizer->vocabulary);
    free(tokenizer);
}

int word_piece_vocabulary_size(const WordPiece *tokenizer) {
    return vocabulary_id_limit(tokenizer->vocabulary);
}
int32_t word_piece_cls(const WordPiece *tokenizer) { return tokenizer->special[CLS]; }
int32_t word_piece_sep(const WordPiece *tokenizer) { return tokenizer->special[SEP]; }
int32_t word_piece_unknown(const WordPiece *tokenizer) { return tokenizer->special[UNKNOWN]; }
int32_t word_piece_pad(const WordPiece *tokenizer) { return tokenizer->special[PAD]; }

const char *word_piece_text(const WordPiece *tokenizer, int32_t id) {
    const char *text = vocabulary_text(tokenizer->vocabulary, id);
    return text ? text : "";
}

// ---- characters

static bool is_white_space(int32_t code) {
    char text[8] = {0};
    utf8proc_encode_char(code, (utf8proc_uint8_t *)text);
    return !(code >= 0x1c && code <= 0x1f) && space_length(text) > 0;
}

/// What is dropped: control and format characters, and those for private use.
static bool is_control(int32_t code) {
    switch (utf8proc_category(code)) {
    case UTF8PROC_CATEGORY_CC:
    case UTF8PROC_CATEGORY_CF:
    case UTF8PROC_CATEGORY_CO:
        return code != '\t' && code != '\n' && code != '\r';
    default:
        return false;
    }
}

static bool is_punctuation(int32_t code) {
    if (code < 0x80) return ispunct(code); // "$" and the like are symbols in Unicode
    switch (utf8proc_category(code)) {
    case UTF8PROC_CATEGORY_PC:
    case UTF8PROC_CATEGORY_PD:
    case UTF8PROC_CATEGORY_PS:
    case UTF8PROC_CATEGORY_PE:
    case UTF8PROC_CATEGORY_PI:
    case UTF8PROC_CATEGORY_PF:
    case UTF8PROC_CATEGORY_PO:
        return true;
    default:
        return false;
    }
}

/// The blocks of CJK Unified and Compatibility Ideographs: each of their characters is a word.
static bool is_ideograph(int32_t code) {
    static const int32_t blocks[][2] = {{0x4e00, 0x9fff},   {0x3400, 0x4dbf},   {0x20000, 0x2a6df},
                                        {0x2a700, 0x2b73f}, {0x2b740, 0x2b81f}, {0x2b920, 0x2ceaf},
                                        {0xf900, 0xfaff},   {0x2f800, 0x2fa1f}};
    for (size_t i = 0; i < sizeof blocks / sizeof *blocks; i++) {
        if (code >= blocks[i][0] && code <= blocks[i][1]) return true;
    }
    return false;
}

/// Appends one character in lower case and without accents.
static void append_plain(AlignedText *to, int32_t code, int32_t begin, int32_t end) {
    utf8proc_int32_t parts[LONGEST_DECOMPOSITION];
    int last_class = UTF8PROC_BOUNDCLASS_START;
    const utf8proc_ssize_t count = utf8proc_decompose_char(code, parts, LONGEST_DECOMPOSITION,
                                                           UTF8PROC_DECOMPOSE, &last_class);
    for (utf8proc_ssize_t i = 0; i < count && i < LONGEST_DECOMPOSITION; i++) {
        if (utf8proc_category(parts[i]) == UTF8PROC_CATEGORY_MN) continue;
        char text[4];
        const utf8proc_ssize_t length =
            utf8proc_encode_char(utf8proc_tolower(parts[i]), (utf8proc_uint8_t *)text);
        aligned_text_append(to, text, (size_t)length, begin, end);
    }
}

/// The text as words are looked for in it: cleaned, white space as spaces, ideographs between
/// spaces.
static AlignedText plain_text(const AlignedText *from, size_t begin, size_t end, bool lowercase) {
    AlignedText plain = {0};
    for (size_t i = begin, count = 0; i < end; i += count) {
        utf8proc_int32_t code = 0;
        count = (size_t)utf8proc_iterate((const utf8proc_uint8_t *)from->bytes + i,
                                         (utf8proc_ssize_t)(end - i), &code);
        const int32_t origin_begin = from->begin[i], origin_end = from->end[i + count - 1];
        const bool is_word = is_ideograph(code);
        if (code == 0 || code == 0xfffd || is_control(code)) continue;
        if (is_word) aligned_text_append(&plain, " ", 1, origin_begin, origin_begin);
        if (is_white_space(code))
            aligned_text_append(&plain, " ", 1, origin_begin, origin_end);
        else if (lowercase)
            append_plain(&plain, code, origin_begin, origin_end);
        else
            aligned_text_append(&plain, from->bytes + i, count, origin_begin, origin_end);
        if (is_word) aligned_text_append(&plain, " ", 1, origin_end, origin_end);
    }
    return plain;
}

// ---- words

/// The longest piece that word[0, length) begins with, or -1. `buffer` has room for "##" and the
/// word.
static int32_t longest_piece(const WordPiece *tokenizer, const char *word, size_t length,
                             bool is_first, char *buffer, size_t *used) {
    const size_t mark = is_first ? 0 : 2;
    memcpy(buffer, "##", mark);
    memcpy(buffer + mark, word, length);
    for (*used = length; *used > 0;) {
        const int32_t id = vocabulary_id(tokenizer->vocabulary, buffer, mark + *used);
        if (id >= 0) return id;
        do --*used;
        while (*used > 0 && ((unsigned char)word[*used] & 0xc0) == 0x80);
    }
    return -1;
}

static void append_word(const WordPiece *tokenizer, const AlignedText *text, size_t begin,
                        size_t end, TokenList *list) {
    const int first = list->count;
    char buffer[4 * LONGEST_WORD + 2];
    size_t characters = 0;
    for (size_t i = begin; i < end; i++)
        characters += ((unsigned char)text->bytes[i] & 0xc0) != 0x80;
    bool is_known = characters <= LONGEST_WORD;
    for (size_t i = begin, used = 0; is_known && i < end; i += used) {
        const int32_t id =
            longest_piece(tokenizer, text->bytes + i, end - i, i == begin, buffer, &used);
        is_known = id >= 0;
        if (is_known) token_list_append(list, id, text->begin[i], text->end[i + used - 1]);
    }
    if (is_known) return;
    list->count = first;
    token_list_append(list, tokenizer->special[UNKNOWN], text->begin[begin], text->end[end - 1]);
}

/// Text without special tokens in it.
static void append_words(const WordPiece *tokenizer, const AlignedText *from, size_t from_begin,
                         size_t from_end, TokenList *list) {
    AlignedText plain = plain_text(from, from_begin, from_end, tokenizer->lowercase);
    size_t word = 0;
    for (size_t i = 0, count = 0; i < plain.length; i += count) {
        utf8proc_int32_t code = 0;
        count = (size_t)utf8proc_iterate((const utf8proc_uint8_t *)plain.bytes + i,
                                         (utf8proc_ssize_t)(plain.length - i), &code);
        const bool is_mark = is_punctuation(code);
        if (!is_mark && !is_white_space(code)) continue;
        if (i > word) append_word(tokenizer, &plain, word, i, list);
        if (is_mark) append_word(tokenizer, &plain, i, i + count, list);
        word = i + count;
    }
    if (plain.length > word) append_word(tokenizer, &plain, word, plain.length, list);
    aligned_text_free(&plain);
}

/// The special token at text[at], or -1.
static int special_at(const WordPiece *tokenizer, const AlignedText *text, size_t at) {
    for (int i = 0; text->bytes[at] == '[' && i < SPECIAL_COUNT; i++) {
        const size_t length = strlen(SPECIAL[i]);
        if (tokenizer->special[i] >= 0 && length <= text->length - at &&
            memcmp(text->bytes + at, SPECIAL[i], length) == 0)
            return i;
    }
    return -1;
}

bool word_piece_encode(const WordPiece *tokenizer, const char *text, size_t length, TokenList *list,
                       Error *error) {
    if (length > INT32_MAX / 8) return error_set(error, "a text of %zu bytes is too long", length);
    AlignedText whole = aligned_text_of(text, length);
    size_t begin = 0;
    for (size_t i = 0; i < whole.length;) {
        const int special = special_at(tokenizer, &whole, i);
        if (special < 0) {
            i++;
            continue;
        }
        const size_t end = i + strlen(SPECIAL[special]);
        append_words(tokenizer, &whole, begin, i, list);
        token_list_append(list, tokenizer->special[special], whole.begin[i], whole.end[end - 1]);
        begin = i = end;
    }
    append_words(tokenizer, &whole, begin, whole.length, list);
    aligned_text_free(&whole);
    return true;
}
