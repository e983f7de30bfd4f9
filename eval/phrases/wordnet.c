#include "eval/phrases/wordnet.h"
#include "checkpoints/mapped_file.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

enum { LONGEST_NOUN = 128, OFFSET_DIGITS = 8 };

struct WordNet {
    MappedFile index, data;
};

WordNet *wordnet_open(const char *folder, Error *error) {
    WordNet *wordnet = checked_calloc(1, sizeof *wordnet);
    char *index = format_string("%s/index.noun", folder);
    char *data = format_string("%s/data.noun", folder);
    const bool is_open = mapped_file_open(&wordnet->index, index, error) &&
                         mapped_file_open(&wordnet->data, data, error);
    free(index);
    free(data);
    if (is_open) return wordnet;
    wordnet_close(wordnet);
    return NULL;
}

void wordnet_close(WordNet *wordnet) {
    if (!wordnet) return;
    mapped_file_close(&wordnet->index);
    mapped_file_close(&wordnet->data);
    free(wordnet);
}

/// A line's words, one after another.
typedef struct Fields {
    const char *at, *end;
} Fields;

/// The line that holds byte `at`; no fields if there is no such byte.
static Fields line_at(const MappedFile *file, size_t at) {
    Fields line = {NULL, NULL};
    if (at >= file->size) return line;
    const char *bytes = (const char *)file->bytes;
    const char *before = memrchr(bytes, '\n', at);
    const char *behind = memchr(bytes + at, '\n', file->size - at);
    line.at = before ? before + 1 : bytes;
    line.end = behind ? behind : bytes + file->size;
    return line;
}

static Fields next_field(Fields *line) {
    while (line->at < line->end && *line->at == ' ') line->at++;
    Fields field = {line->at, line->at};
    while (field.end < line->end && *field.end != ' ') field.end++;
    line->at = field.end;
    return field;
}

/// -1 if the field is no number in this base.
static long number_of(Fields field, int base) {
    char digits[16] = "", *end;
    const size_t size = (size_t)(field.end - field.at);
    if (size == 0 || size >= sizeof digits) return -1;
    memcpy(digits, field.at, size);
    const long value = strtol(digits, &end, base);
    return *end || value < 0 ? -1 : value;
}

static int compare_field(const char *noun, Fields field) {
    const size_t size = (size_t)(field.end - field.at), length = strlen(noun);
    const int order = memcmp(noun, field.at, size < length ? size : length);
    return order ? order : (length > size) - (length < size);
}

/// The line of index.noun that begins with the noun, which is sorted by bytes; false without one.
static bool find_line(const MappedFile *index, const char *noun, Fields *line) {
    size_t low = 0, high = index->size;
    while (low < high) {
        const size_t middle = low + (high - low) / 2;
        *line = line_at(index, middle);
        const size_t begin = (size_t)(line->at - (const char *)index->bytes);
        const size_t behind = (size_t)(line->end - (const char *)index->bytes) + 1;
        // The licence at the beginning is indented: it comes before all nouns.
        const bool is_licence = line->at < line->end && *line->at == ' ';
        const int order = is_licence ? 1 : compare_field(noun, next_field(line));
        if (order == 0) return true;
        if (order > 0)
            low = behind;
        else
            high = begin;
    }
    return false;
}

int wordnet_senses(const WordNet *wordnet, const char *noun, uint32_t *senses, int most) {
    char lemma[LONGEST_NOUN];
    Fields line;
    const size_t length = strlen(noun);
    if (length == 0 || length >= sizeof lemma) return 0;
    for (size_t i = 0; i <= length; i++) lemma[i] = noun[i] == ' ' ? '_' : noun[i];
    if (!find_line(&wordnet->index, lemma, &line)) return 0;
    next_field(&line); // n
    const long synsets = number_of(next_field(&line), 10);
    const long pointers = number_of(next_field(&line), 10);
    for (long i = 0; i < pointers && line.at < line.end; i++) next_field(&line);
    next_field(&line); // again the number of senses
    next_field(&line); // how many of them were counted in texts
    int count = 0;
    for (long i = 0; i < synsets && count < most; i++) {
        const Fields field = next_field(&line);
        const long offset = number_of(field, 10);
        if (offset < 0 || field.end - field.at != OFFSET_DIGITS) break;
        senses[count++] = (uint32_t)offset;
    }
    return count;
}

int wordnet_hypernyms(const WordNet *wordnet, uint32_t sense, uint32_t *above, int most) {
    Fields line = line_at(&wordnet->data, sense);
    if (!line.at || number_of(next_field(&line), 10) != (long)sense) return 0;
    next_field(&line); // the lexicographer's file
    next_field(&line); // n
    const long words = number_of(next_field(&line), 16);
    for (long i = 0; i < 2 * words && line.at < line.end; i++) next_field(&line);
    const long pointers = number_of(next_field(&line), 10);
    int count = 0;
    for (long i = 0; i < pointers && line.at < line.end && count < most; i++) {
        const Fields symbol = next_field(&line);
        const long offset = number_of(next_field(&line), 10);
        next_field(&line); // part of speech
        next_field(&line); // which words of the two
        if (offset >= 0 && symbol.end - symbol.at == 1 && *symbol.at == '@')
            above[count++] = (uint32_t)offset;
    }
    return count;
}
