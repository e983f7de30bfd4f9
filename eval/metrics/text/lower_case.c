#include "eval/metrics/text/lower_case.h"

#include <stdint.h>
#include <stdlib.h>
#include <utf8proc.h>

enum { SIGMA = 0x3a3, FINAL_SIGMA = 0x3c2, DOTTED_I = 0x130 };

typedef struct Characters {
    int32_t *codes;
    size_t count;
} Characters;

/// Of a word: letters, what combines with them, and what is not seen. Of Chinese and Japanese each
/// character is a word.
static bool is_letter(int32_t code) {
    if ((code >= 0x3040 && code <= 0x9fff) || (code >= 0xf900 && code <= 0xfaff)) return false;
    switch (utf8proc_category(code)) {
    case UTF8PROC_CATEGORY_LU:
    case UTF8PROC_CATEGORY_LL:
    case UTF8PROC_CATEGORY_LT:
    case UTF8PROC_CATEGORY_LM:
    case UTF8PROC_CATEGORY_LO:
    case UTF8PROC_CATEGORY_MN:
    case UTF8PROC_CATEGORY_ME:
    case UTF8PROC_CATEGORY_CF:
        return true;
    default:
        return false;
    }
}

static bool is_digit(int32_t code) { return utf8proc_category(code) == UTF8PROC_CATEGORY_ND; }

static bool has_case(int32_t code) {
    const utf8proc_category_t category = utf8proc_category(code);
    return category >= UTF8PROC_CATEGORY_LU && category <= UTF8PROC_CATEGORY_LT;
}

/// What may stand between two letters of a word, and between two digits of a number.
static bool is_within_word(int32_t code) {
    return utf8proc_category(code) == UTF8PROC_CATEGORY_PD || code == '_' || code == 0x2027 ||
           code == '"' || code == '\'' || code == '.';
}
static bool is_within_number(int32_t code) {
    return code == '"' || code == '\'' || code == ',' || code == '.' || code == 0x66b;
}

/// Whether the mark at `at` joins what is on both sides of it.
static bool joins(const Characters *text, size_t at) {
    if (at == 0 || at + 1 >= text->count) return false;
    const int32_t before = text->codes[at - 1], code = text->codes[at],
                  behind = text->codes[at + 1];
    return (is_within_word(code) && is_letter(before) && is_letter(behind)) ||
           (is_within_number(code) && is_digit(before) && is_digit(behind));
}

/// Whether text[at - 1] and text[at] are in one word, as Java's BreakIterator sees words.
static bool is_one_word(const Characters *text, size_t at) {
    if (at == 0 || at >= text->count) return false;
    const int32_t before = text->codes[at - 1], code = text->codes[at];
    const bool is_word = is_letter(before) || is_digit(before),
               is_word_behind = is_letter(code) || is_digit(code);
    return (is_word && is_word_behind) || (is_word && joins(text, at)) ||
           (is_word_behind && joins(text, at - 1));
}

static bool is_final(const Characters *text, size_t at) {
    size_t i = at;
    while (is_one_word(text, i) && !has_case(text->codes[i - 1])) i--;
    if (!is_one_word(text, i)) return false;
    for (i = at + 1; is_one_word(text, i); i++) {
        if (has_case(text->codes[i])) return false;
    }
    return true;
}

static void put_character(ByteBuffer *to, int32_t code) {
    char bytes[4];
    byte_buffer_put(to, bytes, (size_t)utf8proc_encode_char(code, (utf8proc_uint8_t *)bytes));
}

void lower_case_put(ByteBuffer *to, const char *text, size_t length) {
    Characters characters = {checked_malloc((length + 1) * sizeof(int32_t)), 0};
    for (size_t i = 0; i < length;) {
        int32_t *code = &characters.codes[characters.count++];
        const utf8proc_ssize_t size = utf8proc_iterate((const utf8proc_uint8_t *)text + i,
                                                       (utf8proc_ssize_t)(length - i), code);
        CHECK(size > 0, "byte %zu of a text that is put in lower case is no UTF-8", i);
        i += (size_t)size;
    }
    for (size_t i = 0; i < characters.count; i++) {
        const int32_t code = characters.codes[i];
        if (code < 0x80)
            byte_buffer_put_byte(to, code >= 'A' && code <= 'Z' ? code - 'A' + 'a' : code);
        else if (code == DOTTED_I)
            byte_buffer_put_text(to, "i\u0307");
        else if (code == SIGMA && is_final(&characters, i))
            put_character(to, FINAL_SIGMA);
        else
            put_character(to, utf8proc_tolower(code));
    }
    free(characters.codes);
}
