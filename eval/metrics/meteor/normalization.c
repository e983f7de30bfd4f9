#include "eval/metrics/meteor/normalization.h"
#include "eval/metrics/text/lower_case.h"

#include <stdlib.h>
#include <string.h>
#include <utf8proc.h>

/// A line as characters. A run of n > 1 full stops, which is a word, is the character DOTS + n.
typedef struct Line {
    int32_t *at;
    size_t count, capacity;
} Line;

enum { DOTS = 0x110000 };

static void put(Line *line, int32_t character) {
    if (line->count == line->capacity) {
        line->capacity = line->capacity ? 2 * line->capacity : 256;
        line->at = checked_realloc(line->at, line->capacity * sizeof *line->at);
    }
    line->at[line->count++] = character;
}

// ---- what characters are, to METEOR

static bool is_digit(int32_t c) { return c >= '0' && c <= '9'; }
static bool is_no_digit(int32_t c) { return !is_digit(c); }
static bool is_letter(int32_t c) {
    static const int32_t ranges[][2] = {
        {'A', 'Z'},     {'a', 'z'},       {0xc0, 0xd6},     {0xd8, 0xf6},     {0xf8, 0x17e},
        {0x400, 0x527}, {0xa640, 0xa66e}, {0xa67e, 0xa697}, {0x1d00, 0x1d7f}, {DOTS, INT32_MAX}};
    for (size_t i = 0; i < sizeof ranges / sizeof *ranges; i++) {
        if (c >= ranges[i][0] && c <= ranges[i][1]) return true;
    }
    return false;
}
static bool is_no_letter(int32_t c) { return !is_letter(c); }
static bool is_alphanumeric(int32_t c) { return is_letter(c) || is_digit(c); }
static bool is_neither(int32_t c) { return !is_alphanumeric(c); }
static bool is_alphanumeric_or_dot(int32_t c) { return is_alphanumeric(c) || c == '.'; }
static bool is_lower_s(int32_t c) { return c == 's'; }
static bool is_space(int32_t c) { return c == ' ' || (c >= '\t' && c <= '\r'); }
static bool is_wide_space(int32_t c) {
    return c == 0xa0 || (c >= 0x2000 && c <= 0x200a) || c == 0x202f || c == 0x205f || c == 0x3000;
}
/// What is left where it is until its own rule comes.
static bool has_a_rule(int32_t c) {
    return c == '.' || c == '\'' || c == '`' || c == ',' || c == '-' || c == 0x2018 || c == 0x2019;
}

// ---- steps, each from one line to another

static void put_between_spaces(Line *to, int32_t c) {
    put(to, ' ');
    put(to, c);
    put(to, ' ');
}

static void separate_marks(const Line *from, Line *to) {
    for (size_t i = 0; i < from->count; i++) {
        const int32_t c = from->at[i];
        if (is_alphanumeric(c) || is_space(c) || has_a_rule(c))
            put(to, c);
        else
            put_between_spaces(to, c);
    }
}

static void gather_dots(const Line *from, Line *to) {
    for (size_t i = 0, end; i < from->count; i = end) {
        for (end = i + 1; from->at[i] == '.' && end < from->count && from->at[end] == '.';) end++;
        if (end - i > 1)
            put_between_spaces(to, DOTS + (int32_t)(end - i));
        else
            put(to, from->at[i]);
    }
}

static void unite_quotes(const Line *from, Line *to) {
    Line single = {0};
    for (size_t i = 0; i < from->count; i++) {
        const int32_t c = from->at[i];
        put(&single, c == '`' || c == 0x2018 || c == 0x2019 ? '\'' : c);
    }
    for (size_t i = 0; i < single.count; i++) {
        const int32_t c = single.at[i];
        const bool is_pair = c == '\'' && i + 1 < single.count && single.at[i + 1] == '\'';
        if (is_pair || c == 0x201c || c == 0x201d)
            put_between_spaces(to, '"');
        else
            put(to, c);
        i += is_pair;
    }
    free(single.at);
}

static void unite_dashes(const Line *from, Line *to) {
    Line plain = {0};
    for (size_t i = 0; i < from->count; i++) put(&plain, from->at[i] == 0x2013 ? '-' : from->at[i]);
    for (size_t i = 0; i < plain.count; i++) {
        put(to, plain.at[i]);
        i += plain.at[i] == '-' && i + 1 < plain.count && plain.at[i + 1] == '-';
    }
    free(plain.at);
}

/// A rule for a mark between two characters.
typedef struct MarkRule {
    int32_t mark;
    bool (*before)(int32_t), (*behind)(int32_t);
    /// spaces in front and behind; without the mark itself
    bool space_before, space_behind, drop;
} MarkRule;

/// Applies a rule from left to right. The character behind one mark is not the one before the next:
/// of "a,,b" only the first comma is found.
static void apply(const MarkRule *rule, const Line *from, Line *to) {
    for (size_t i = 0; i < from->count; i++) {
        put(to, from->at[i]);
        if (i + 2 >= from->count || from->at[i + 1] != rule->mark || !rule->before(from->at[i]) ||
            !rule->behind(from->at[i + 2]))
            continue;
        if (rule->space_before) put(to, ' ');
        if (!rule->drop) put(to, rule->mark);
        if (rule->space_behind) put(to, ' ');
        put(to, from->at[i + 2]);
        i += 2;
    }
}

/// Replaces the line by another.
static void become(Line *line, Line made) {
    free(line->at);
    *line = made;
}

static void step(Line *line, void (*make)(const Line *from, Line *to)) {
    Line made = {0};
    make(line, &made);
    become(line, made);
}

static void apply_all(const MarkRule *rules, size_t count, Line *line) {
    for (size_t i = 0; i < count; i++) {
        Line made = {0};
        apply(&rules[i], line, &made);
        become(line, made);
    }
}

static const MarkRule COMMAS[] = {{',', is_no_digit, is_no_digit, true, true, false},
                                  {',', is_digit, is_no_digit, true, true, false},
                                  {',', is_no_digit, is_digit, true, true, false}};
static const MarkRule DASHES[] = {
    {'-', is_alphanumeric_or_dot, is_alphanumeric, true, false, true}};
static const MarkRule APOSTROPHES[] = {{'\'', is_no_letter, is_no_letter, true, true, false},
                                       {'\'', is_neither, is_letter, true, true, false},
                                       {'\'', is_letter, is_no_letter, true, true, false},
                                       {'\'', is_letter, is_letter, true, false, false},
                                       {'\'', is_digit, is_lower_s, true, false, false}};
#define COUNT(rules) (sizeof(rules) / sizeof *(rules))

// ---- words

static void put_utf8(ByteBuffer *to, int32_t c) {
    char bytes[4];
    for (int32_t dots = c - DOTS; dots > 0; dots--) byte_buffer_put_byte(to, '.');
    if (c < DOTS)
        byte_buffer_put(to, bytes, (size_t)utf8proc_encode_char(c, (utf8proc_uint8_t *)bytes));
}

/// Of word[0, count), which a full stop ends: whether the stop stays with it.
static bool keeps_stop(const MeteorResources *resources, const int32_t *word, size_t count,
                       int32_t next) {
    if (next >= 'a' && next <= 'z') return true;
    ByteBuffer prefix = {0};
    for (size_t i = 0; i + 1 < count; i++) put_utf8(&prefix, word[i]);
    const int32_t number = string_table_find(resources->prefixes, prefix.data, prefix.size);
    byte_buffer_free(&prefix);
    return number >= 0 && (!resources->is_numeric_prefix[number] || is_digit(next));
}

/// "U.S." and the like: stops within, and a letter.
static bool is_dotted(const int32_t *word, size_t count) {
    bool has_stop = false, has_letter = false;
    for (size_t i = 0; i + 1 < count; i++) {
        has_stop |= word[i] == '.';
        has_letter |= is_letter(word[i]);
    }
    return has_stop && has_letter;
}

/// Puts a word with a space behind. `next` is the character with which the next word begins, or 0.
static void put_word(const MeteorResources *resources, const int32_t *word, size_t count,
                     int32_t next, ByteBuffer *to) {
    const bool ends = count > 1 && word[count - 1] == '.', drops = ends && is_dotted(word, count),
               splits = ends && !drops && !keeps_stop(resources, word, count, next);
    for (size_t i = 0; i < count; i++) {
        if (drops && word[i] == '.') continue;
        if (splits && i + 1 == count) byte_buffer_put_byte(to, ' ');
        if (is_wide_space(word[i]))
            byte_buffer_put_byte(to, ' ');
        else
            put_utf8(to, word[i]);
    }
    byte_buffer_put_byte(to, ' ');
}

static bool is_delimiter(int32_t c) {
    return c == ' ' || c == '\t' || c == '\n' || c == '\r' || c == '\f';
}

static void put_words(const MeteorResources *resources, const Line *line, ByteBuffer *to) {
    size_t begin = 0, end;
    while (begin < line->count && is_delimiter(line->at[begin])) begin++;
    for (; begin < line->count; begin = end) {
        size_t word_end = begin;
        while (word_end < line->count && !is_delimiter(line->at[word_end])) word_end++;
        for (end = word_end; end < line->count && is_delimiter(line->at[end]);) end++;
        put_word(resources, line->at + begin, word_end - begin,
                 end < line->count ? line->at[end] : 0, to);
    }
}

/// Puts text, whose words stand between spaces, with one space between two.
static void put_joined(const char *text, size_t length, ByteBuffer *to) {
    bool is_first = true;
    for (size_t i = 0, end; i < length; i = end) {
        for (end = i; end < length && text[end] != ' ';) end++;
        if (end > i && !is_first) byte_buffer_put_byte(to, ' ');
        if (end > i) is_first = false;
        byte_buffer_put(to, text + i, end - i);
        while (end < length && text[end] == ' ') end++;
    }
}

void meteor_normalize(const MeteorResources *resources, const char *text, size_t length,
                      ByteBuffer *words) {
    Line line = {0};
    put(&line, ' ');
    for (size_t i = 0; i < length;) {
        int32_t code = 0;
        const utf8proc_ssize_t size = utf8proc_iterate((const utf8proc_uint8_t *)text + i,
                                                       (utf8proc_ssize_t)(length - i), &code);
        CHECK(size > 0, "byte %zu of a text that is normalised is no UTF-8", i);
        put(&line, code);
        i += (size_t)size;
    }
    put(&line, ' ');
    step(&line, separate_marks);
    step(&line, gather_dots);
    apply_all(COMMAS, COUNT(COMMAS), &line);
    step(&line, unite_quotes);
    step(&line, unite_dashes);
    apply_all(DASHES, COUNT(DASHES), &line);
    apply_all(APOSTROPHES, COUNT(APOSTROPHES), &line);
    ByteBuffer cased = {0}, lower = {0};
    put_words(resources, &line, &cased);
    lower_case_put(&lower, cased.data, cased.size);
    put_joined(lower.data, lower.size, words);
    byte_buffer_free(&cased);
    byte_buffer_free(&lower);
    free(line.at);
}
