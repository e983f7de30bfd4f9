#include "autograd/text/utf8.h"

#include "autograd/text/byte_buffer.h"

#include <stdlib.h>
#include <string.h>

typedef struct Lead {
    /// Bytes of a character that begins so; 0: none does.
    size_t length;
    /// What its second byte may be: no overlong forms, no surrogates, at most U+10FFFF.
    unsigned low, high;
} Lead;

static Lead lead_of(unsigned char c) {
    const size_t length = c < 0x80   ? 1
                          : c < 0xc2 ? 0
                          : c < 0xe0 ? 2
                          : c < 0xf0 ? 3
                          : c < 0xf5 ? 4
                                     : 0;
    return (Lead){length,
                  c == 0xe0   ? 0xa0
                  : c == 0xf0 ? 0x90
                              : 0x80,
                  c == 0xed   ? 0x9f
                  : c == 0xf4 ? 0x8f
                              : 0xbf};
}

/// How many bytes of the beginning of text[0, count) are those of a character or of a character's
/// start.
static size_t length_as_far_as_right(const unsigned char *c, size_t count, Lead lead) {
    if (lead.length < 2 || count < 2 || c[1] < lead.low || c[1] > lead.high)
        return lead.length > 0 && count > 0;
    size_t length = 2;
    while (length < lead.length && length < count && (c[length] & 0xc0) == 0x80) length++;
    return length;
}

size_t utf8_character_length(const char *text, size_t count) {
    const unsigned char *c = (const unsigned char *)text;
    const Lead lead = lead_of(c[0]);
    return length_as_far_as_right(c, count, lead) == lead.length ? lead.length : 0;
}

size_t utf8_broken_length(const char *text, size_t count) {
    const unsigned char *c = (const unsigned char *)text;
    const size_t length = length_as_far_as_right(c, count, lead_of(c[0]));
    return length > 0 ? length : 1;
}

bool is_utf8(const char *text, size_t length) {
    for (size_t i = 0, count; i < length; i += count) {
        count = utf8_character_length(text + i, length - i);
        if (count == 0) return false;
    }
    return true;
}

size_t utf8_printable_length(const char *text, size_t count) {
    const size_t length = utf8_character_length(text, count);
    const unsigned char *c = (const unsigned char *)text;
    const bool is_control = (length == 1 && (c[0] < 0x20 || c[0] == 0x7f)) ||
                            (length == 2 && c[0] == 0xc2 && c[1] < 0xa0);
    return is_control ? 0 : length;
}

/// The text with "\xNN" for every byte at which `length_at` finds nothing to be kept.
static char *escape(const char *text, size_t (*length_at)(const char *text, size_t count)) {
    ByteBuffer escaped = {0};
    for (size_t left = strlen(text), count; left > 0; left -= count, text += count) {
        count = length_at(text, left);
        if (count > 0)
            byte_buffer_put(&escaped, text, count);
        else
            byte_buffer_print(&escaped, "\\x%02x", (unsigned char)*text);
        if (count == 0) count = 1;
    }
    return byte_buffer_take(&escaped);
}

char *utf8_escape(const char *text) { return escape(text, utf8_character_length); }
char *utf8_printable(const char *text) { return escape(text, utf8_printable_length); }

static size_t length_in_lines(const char *text, size_t count) {
    return *text == '\n' || *text == '\t' ? 1 : utf8_printable_length(text, count);
}

void utf8_vprint(FILE *out, const char *format, va_list arguments) {
    char *text = NULL;
    if (vasprintf(&text, format, arguments) < 0) return;
    char *shown = escape(text, length_in_lines);
    fputs(shown, out);
    free(text);
    free(shown);
}

void utf8_print(FILE *out, const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    utf8_vprint(out, format, arguments);
    va_end(arguments);
}
