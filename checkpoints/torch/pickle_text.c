// The notations in which pickles write strings.
#include "checkpoints/torch/pickle_internal.h"

#include <stdlib.h>
#include <string.h>

static int digit_of(char c) {
    if (c >= '0' && c <= '9') return c - '0';
    if (c >= 'a' && c <= 'f') return c - 'a' + 10;
    if (c >= 'A' && c <= 'F') return c - 'A' + 10;
    return 16;
}

/// Up to `most` digits of that base at text[*at]; returns how many there were.
static int take_digits(const char *text, size_t length, size_t *at, int most, int base,
                       uint32_t *number) {
    int count = 0;
    *number = 0;
    while (count < most && *at < length && digit_of(text[*at]) < base) {
        *number = *number * (uint32_t)base + (uint32_t)digit_of(text[(*at)++]);
        count++;
    }
    return count;
}

/// Decodes one escape of Python 2's repr, text[*at] being what follows the backslash; appends to
/// out.
static bool unescape(const char *text, size_t length, size_t *at, char *out, size_t *used) {
    static const char names[] = "abtnvfr", values[] = "\a\b\t\n\v\f\r";
    char c = text[*at];
    const char *name = c ? strchr(names, c) : NULL;
    uint32_t number;
    if (c >= '0' && c <= '7') {
        take_digits(text, length, at, 3, 8, &number);
        out[(*used)++] = (char)number;
        return true;
    }
    (*at)++;
    if (c == 'x') {
        if (take_digits(text, length, at, 2, 16, &number) != 2) return false;
        out[(*used)++] = (char)number;
    } else if (name) {
        out[(*used)++] = values[name - names];
    } else if (c == '\\' || c == '\'' || c == '"') {
        out[(*used)++] = c;
    } else if (c != '\n') { // an unknown escape stays as it is
        out[(*used)++] = '\\';
        out[(*used)++] = c;
    }
    return true;
}

char *pickle_decode_repr(const char *line, size_t length, size_t *used) {
    if (length < 2 || (line[0] != '\'' && line[0] != '"') || line[length - 1] != line[0])
        return NULL;
    line++;
    length -= 2;
    char *text = checked_malloc(length + 1);
    bool valid = true;
    *used = 0;
    for (size_t at = 0; valid && at < length;) {
        if (line[at] != '\\')
            text[(*used)++] = line[at++];
        else
            valid = ++at < length && unescape(line, length, &at, text, used);
    }
    if (valid) return text;
    free(text);
    return NULL;
}

static size_t put_utf8(char *out, uint32_t code) {
    if (code < 0x80) {
        out[0] = (char)code;
        return 1;
    }
    int more = code < 0x800 ? 1 : code < 0x10000 ? 2 : 3;
    static const uint32_t lead[] = {0, 0xc0, 0xe0, 0xf0};
    out[0] = (char)(lead[more] | code >> (6 * more));
    for (int i = 1; i <= more; i++) out[i] = (char)(0x80 | (code >> (6 * (more - i)) & 0x3f));
    return (size_t)more + 1;
}

/// One character of raw-unicode-escape; false for a broken escape.
static bool take_character(const char *line, size_t length, size_t *at, uint32_t *code) {
    bool escape =
        line[*at] == '\\' && *at + 1 < length && (line[*at + 1] == 'u' || line[*at + 1] == 'U');
    if (!escape) {
        *code = (unsigned char)line[(*at)++]; // Latin-1
        return true;
    }
    int digits = line[*at + 1] == 'u' ? 4 : 8;
    *at += 2;
    return take_digits(line, length, at, digits, 16, code) == digits && *code <= 0x10ffff;
}

char *pickle_decode_raw_unicode(const char *line, size_t length, size_t *used) {
    char *text = checked_malloc(2 * length + 1);
    bool valid = true;
    *used = 0;
    for (size_t at = 0; valid && at < length;) {
        uint32_t code, low;
        valid = take_character(line, length, &at, &code);
        size_t next = at;
        if (valid && code >= 0xd800 && code < 0xdc00 && next < length &&
            take_character(line, length, &next, &low) && low >= 0xdc00 && low < 0xe000) {
            code = 0x10000 + ((code - 0xd800) << 10) + (low - 0xdc00);
            at = next;
        }
        if (valid) *used += put_utf8(text + *used, code);
    }
    if (valid) return text;
    free(text);
    return NULL;
}
