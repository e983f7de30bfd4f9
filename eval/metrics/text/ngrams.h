/// The n-grams of tokenised texts, n = 1 to 4, with how often each stands there.
#pragma once
#include <stdint.h>

enum { NGRAM_LONGEST = 4 };

/// Gives n-grams numbers: from 0, in the order in which they are met.
typedef struct NgramTable NgramTable;

typedef struct NgramCount {
    int32_t ngram;
    /// its words, from 1
    int32_t n;
    int32_t count;
} NgramCount;

typedef struct NgramCounts {
    /// words of the text
    int64_t words;
    /// each n-gram once, by number
    NgramCount *items;
    int count, capacity;
} NgramCounts;

NgramTable *ngram_table_new(void);
void ngram_table_free(NgramTable *table);
/// How many n-grams have a number.
int ngram_table_size(const NgramTable *table);

/// Counts the n-grams of a text whose words stand between white space (Python's str.split). What
/// was in `counts` is replaced; zeros at first, ngram_counts_free() at the end.
void ngram_count(NgramTable *table, const char *text, NgramCounts *counts);
void ngram_counts_free(NgramCounts *counts);
