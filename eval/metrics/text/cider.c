#include "eval/metrics/text/cider.h"
#include "eval/metrics/text/ngrams.h"

#include <math.h>
#include <stdlib.h>

static const double SIGMA = 6.0, SCALE = 10.0;

typedef struct Frequencies {
    NgramTable *table;
    /// Per n-gram: images that have it among their references; the last one of them.
    int32_t *images, *last_image;
    int capacity;
    double log_images;
} Frequencies;

/// A caption's n-grams and the norms of their weights, per n.
typedef struct Vector {
    NgramCounts counts;
    double *weights;
    int capacity;
    double norm[NGRAM_LONGEST];
    int64_t bigrams;
} Vector;

static void count_images(Frequencies *frequencies, const NgramCounts *counts, int image) {
    const int size = ngram_table_size(frequencies->table);
    if (size > frequencies->capacity) {
        const int capacity = 2 * size;
        const size_t bytes = (size_t)capacity * sizeof(int32_t);
        frequencies->images = checked_realloc(frequencies->images, bytes);
        frequencies->last_image = checked_realloc(frequencies->last_image, bytes);
        for (int i = frequencies->capacity; i < capacity; i++) {
            frequencies->images[i] = 0;
            frequencies->last_image[i] = -1;
        }
        frequencies->capacity = capacity;
    }
    for (int i = 0; i < counts->count; i++) {
        const int32_t ngram = counts->items[i].ngram;
        frequencies->images[ngram] += frequencies->last_image[ngram] != image;
        frequencies->last_image[ngram] = image;
    }
}

/// log(images / images with the n-gram). One that no reference has counts as if one had.
static double rarity(const Frequencies *frequencies, int32_t ngram) {
    const int32_t images = ngram < frequencies->capacity ? frequencies->images[ngram] : 0;
    return frequencies->log_images - log(images > 1 ? images : 1);
}

static void vector_of(const Frequencies *frequencies, const char *text, Vector *vector) {
    ngram_count(frequencies->table, text, &vector->counts);
    if (vector->counts.count > vector->capacity) {
        vector->capacity = 2 * vector->counts.count;
        vector->weights =
            checked_realloc(vector->weights, (size_t)vector->capacity * sizeof *vector->weights);
    }
    double squares[NGRAM_LONGEST] = {0};
    vector->bigrams = 0;
    for (int i = 0; i < vector->counts.count; i++) {
        const NgramCount *item = &vector->counts.items[i];
        vector->weights[i] = item->count * rarity(frequencies, item->ngram);
        squares[item->n - 1] += vector->weights[i] * vector->weights[i];
        if (item->n == 2) vector->bigrams += item->count;
    }
    for (int n = 0; n < NGRAM_LONGEST; n++) vector->norm[n] = sqrt(squares[n]);
}

static void vector_free(Vector *vector) {
    ngram_counts_free(&vector->counts);
    free(vector->weights);
}

/// Mean over n of the clipped cosine, with the penalty of lengths.
static double similarity(const Vector *candidate, const Vector *reference) {
    double products[NGRAM_LONGEST] = {0};
    for (int i = 0, j = 0; i < candidate->counts.count && j < reference->counts.count;) {
        const NgramCount *a = &candidate->counts.items[i], *b = &reference->counts.items[j];
        if (a->ngram == b->ngram)
            products[a->n - 1] +=
                fmin(candidate->weights[i], reference->weights[j]) * reference->weights[j];
        i += a->ngram <= b->ngram;
        j += b->ngram <= a->ngram;
    }
    double sum = 0.0;
    for (int n = 0; n < NGRAM_LONGEST; n++) {
        const double norms = candidate->norm[n] * reference->norm[n];
        sum += norms != 0.0 ? products[n] / norms : products[n];
    }
    const double delta = (double)(candidate->bigrams - reference->bigrams);
    return sum / NGRAM_LONGEST * exp(-delta * delta / (2.0 * SIGMA * SIGMA));
}

CiderScores *cider_scores(const CaptionTokens *tokens) {
    Frequencies frequencies = {.table = ngram_table_new(),
                               .log_images = tokens->count ? log(tokens->count) : 0.0};
    Vector candidate = {0}, reference = {0};
    for (int image = 0; image < tokens->count; image++) {
        for (int r = tokens->first_reference[image]; r < tokens->first_reference[image + 1]; r++) {
            ngram_count(frequencies.table, tokens->references[r], &reference.counts);
            count_images(&frequencies, &reference.counts, image);
        }
    }
    CiderScores *scores = checked_calloc(1, sizeof *scores);
    scores->count = tokens->count;
    scores->scores = checked_calloc((size_t)tokens->count + 1, sizeof *scores->scores);
    for (int image = 0; image < tokens->count; image++) {
        const int first = tokens->first_reference[image], end = tokens->first_reference[image + 1];
        vector_of(&frequencies, tokens->candidates[image], &candidate);
        double sum = 0.0;
        for (int r = first; r < end; r++) {
            vector_of(&frequencies, tokens->references[r], &reference);
            sum += similarity(&candidate, &reference);
        }
        scores->scores[image] = SCALE * sum / (end - first);
    }
    vector_free(&candidate);
    vector_free(&reference);
    ngram_table_free(frequencies.table);
    free(frequencies.images);
    free(frequencies.last_image);
    return scores;
}

void cider_scores_free(CiderScores *scores) {
    if (!scores) return;
    free(scores->scores);
    free(scores);
}

double cider_corpus(const CiderScores *scores, const uint32_t *times) {
    double sum = 0.0;
    int64_t images = 0;
    for (int i = 0; i < scores->count; i++) {
        const uint32_t weight = times ? times[i] : 1;
        sum += weight * scores->scores[i];
        images += weight;
    }
    return images ? sum / (double)images : 0.0;
}
