#include "data/text.h"

#include <stdbool.h>
#include <string.h>

static bool is_ascii_space(unsigned char c) {
    return c == ' ' || (c >= 0x09 && c <= 0x0d) || (c >= 0x1c && c <= 0x1f);
}

size_t space_length(const char *text) {
    const unsigned char *c = (const unsigned char *)text;
    if (c[0] < 0x80) return is_ascii_space(c[0]) ? 1 : 0;
    if (c[0] == 0xc2 && (c[1] == 0x85 || c[1] == 0xa0)) return 2; // U+0085, U+00A0
    static const char *const wide[] = {
        "\xe1\x9a\x80", // U+1680
        "\xe2\x80\xa8", // U+2028
        "\xe2\x80\xa9", // U+2029
        "\xe2\x80\xaf", // U+202F
        "\xe2\x81\x9f", // U+205F
        "\xe3\x80\x80", // U+3000
    };
    for (size_t i = 0; i < sizeof wide / sizeof *wide; i++) {
        if (strncmp(text, wide[i], 3) == 0) return 3;
    }
    if (c[0] == 0xe2 && c[1] == 0x80 && c[2] >= 0x80 && c[2] <= 0x8a) return 3; // U+2000 to U+200A
    return 0;
}

size_t strip_space(const char **text, size_t length) {
    const char *end = *text + length;
    for (size_t space; *text < end && (space = space_length(*text)) > 0;) *text += space;
    const char *last = *text; // after the last character that is not white space
    for (const char *next = *text; next < end;) {
        size_t space = space_length(next);
        next += space ? space : 1;
        if (!space) last = next;
    }
    return (size_t)(last - *text);
}

int word_count(const char *text) {
    int count = 0;
    bool in_word = false;
    while (*text) {
        const unsigned char c = (unsigned char)*text;
        const size_t space = c < 0x80 ? is_ascii_space(c) : space_length(text);
        count += !space && !in_word;
        in_word = !space;
        text += space ? space : 1;
    }
    return count;
}
