#include "eval/metrics/text/ngrams.h"
#include "autograd/error.h"
#include "data/text.h"
#include "eval/metrics/text/string_table.h"

#include <stdlib.h>
#include <string.h>

/// An n-gram is the n-gram without its last word, -1 of a single word, and that word.
typedef struct Key {
    int32_t front, word;
} Key;

struct NgramTable {
    Key *keys;
    int32_t *places;
    int count, place_count;

    StringTable *words;
    /// Of the text being counted.
    int32_t *text;
    int capacity;
};

enum { FIRST_PLACES = 1 << 12 };

static int32_t *new_places(int count) {
    int32_t *places = checked_malloc((size_t)count * sizeof *places);
    memset(places, 0xff, (size_t)count * sizeof *places);
    return places;
}

NgramTable *ngram_table_new(void) {
    NgramTable *table = checked_calloc(1, sizeof *table);
    table->words = string_table_new();
    table->place_count = FIRST_PLACES;
    table->places = new_places(FIRST_PLACES);
    table->keys = checked_malloc(FIRST_PLACES / 2 * sizeof *table->keys);
    return table;
}

void ngram_table_free(NgramTable *table) {
    if (!table) return;
    free(table->keys);
    free(table->places);
    string_table_free(table->words);
    free(table->text);
    free(table);
}

int ngram_table_size(const NgramTable *table) { return table->count; }

// ---- words

/// The words of a text in `table->text`; returns their number.
static int split(NgramTable *table, const char *text) {
    int count = 0;
    while (*text) {
        size_t length = 0;
        while (text[length] && space_length(text + length) == 0) length++;
        if (length > 0) {
            if (count == table->capacity) {
                table->capacity = table->capacity ? 2 * table->capacity : 64;
                table->text =
                    checked_realloc(table->text, (size_t)table->capacity * sizeof *table->text);
            }
            table->text[count++] = string_table_add(table->words, text, length);
        }
        text += length;
        text += space_length(text);
    }
    return count;
}

// ---- n-grams

static int32_t *place_of(NgramTable *table, Key key) {
    const uint64_t mask = (uint64_t)table->place_count - 1;
    uint64_t hash = (uint64_t)(uint32_t)key.front << 32 | (uint32_t)key.word;
    hash *= 0x9e3779b97f4a7c15ull;
    for (uint64_t i = (hash ^ hash >> 32) & mask;; i = (i + 1) & mask) {
        int32_t *place = &table->places[i];
        if (*place < 0) return place;
        if (table->keys[*place].front == key.front && table->keys[*place].word == key.word)
            return place;
    }
}

static void grow(NgramTable *table) {
    CHECK(table->place_count < 1 << 29, "more than %d n-grams", table->count);
    table->place_count *= 2;
    free(table->places);
    table->places = new_places(table->place_count);
    table->keys =
        checked_realloc(table->keys, (size_t)table->place_count / 2 * sizeof *table->keys);
    for (int i = 0; i < table->count; i++) *place_of(table, table->keys[i]) = i;
}

static int32_t ngram_number(NgramTable *table, int32_t front, int32_t word) {
    int32_t *place = place_of(table, (Key){front, word});
    if (*place >= 0) return *place;
    const int32_t number = *place = table->count++;
    table->keys[number] = (Key){front, word};
    if (2 * table->count >= table->place_count) grow(table);
    return number;
}

static int by_ngram(const void *a, const void *b) {
    const NgramCount *x = a, *y = b;
    return (x->ngram > y->ngram) - (x->ngram < y->ngram);
}

void ngram_count(NgramTable *table, const char *text, NgramCounts *counts) {
    const int words = split(table, text);
    counts->words = words;
    counts->count = 0;
    if (counts->capacity < NGRAM_LONGEST * words) {
        counts->capacity = 2 * NGRAM_LONGEST * words;
        counts->items =
            checked_realloc(counts->items, (size_t)counts->capacity * sizeof *counts->items);
    }
    for (int i = 0; i < words; i++) {
        int32_t front = -1;
        for (int n = 1; n <= NGRAM_LONGEST && i + n <= words; n++) {
            front = ngram_number(table, front, table->text[i + n - 1]);
            counts->items[counts->count++] = (NgramCount){front, n, 1};
        }
    }
    if (counts->count == 0) return;
    qsort(counts->items, (size_t)counts->count, sizeof *counts->items, by_ngram);
    int last = 0;
    for (int i = 1; i < counts->count; i++) {
        if (counts->items[i].ngram == counts->items[last].ngram)
            counts->items[last].count++;
        else
            counts->items[++last] = counts->items[i];
    }
    counts->count = last + 1;
}

void ngram_counts_free(NgramCounts *counts) {
    free(counts->items);
    *counts = (NgramCounts){0};
}
