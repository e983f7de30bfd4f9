#include "eval/metrics/text/bleu.h"

#include <math.h>
#include <stdlib.h>

// In pycocoevalcap these stand where a count may be zero.
static const double TINY = 1e-15, SMALL = 1e-9;

static int by_ngram(const void *a, const void *b) {
    const NgramCount *x = a, *y = b;
    return (x->ngram > y->ngram) - (x->ngram < y->ngram);
}

/// How often an n-gram stands in a caption.
static int32_t count_of(const NgramCounts *counts, const NgramCount *ngram) {
    const NgramCount *found =
        counts->count > 0
            ? bsearch(ngram, counts->items, (size_t)counts->count, sizeof *counts->items, by_ngram)
            : NULL;
    return found ? found->count : 0;
}

static void keep_closest(BleuStatistics *image, int64_t words, bool is_first) {
    const int64_t distance = llabs(words - image->words),
                  closest = llabs(image->reference_words - image->words);
    if (is_first || distance < closest || (distance == closest && words < image->reference_words))
        image->reference_words = words;
}

static BleuStatistics statistics_of(NgramTable *table, const CaptionTokens *tokens, int image,
                                    NgramCounts *candidate, NgramCounts *reference) {
    ngram_count(table, tokens->candidates[image], candidate);
    BleuStatistics result = {.words = candidate->words};
    for (int n = 1; n <= NGRAM_LONGEST; n++)
        result.ngrams[n - 1] = result.words >= n ? result.words - n + 1 : 0;
    int32_t *most = checked_calloc((size_t)candidate->count + 1, sizeof *most);
    const int first = tokens->first_reference[image];
    for (int r = first; r < tokens->first_reference[image + 1]; r++) {
        ngram_count(table, tokens->references[r], reference);
        keep_closest(&result, reference->words, r == first);
        for (int i = 0; i < candidate->count; i++) {
            const int32_t count = count_of(reference, &candidate->items[i]);
            if (count > most[i]) most[i] = count;
        }
    }
    for (int i = 0; i < candidate->count; i++) {
        const NgramCount *item = &candidate->items[i];
        result.matches[item->n - 1] += most[i] < item->count ? most[i] : item->count;
    }
    free(most);
    return result;
}

BleuStatistics *bleu_statistics(const CaptionTokens *tokens) {
    NgramTable *table = ngram_table_new();
    NgramCounts candidate = {0}, reference = {0};
    BleuStatistics *statistics = checked_calloc((size_t)tokens->count + 1, sizeof *statistics);
    for (int i = 0; i < tokens->count; i++)
        statistics[i] = statistics_of(table, tokens, i, &candidate, &reference);
    ngram_counts_free(&candidate);
    ngram_counts_free(&reference);
    ngram_table_free(table);
    return statistics;
}

void bleu_sentence(const BleuStatistics *statistics, double bleu[NGRAM_LONGEST]) {
    const double ratio =
        ((double)statistics->words + TINY) / ((double)statistics->reference_words + SMALL);
    const double penalty = ratio < 1.0 ? exp(1.0 - 1.0 / ratio) : 1.0;
    double product = 1.0;
    for (int n = 0; n < NGRAM_LONGEST; n++) {
        product *=
            ((double)statistics->matches[n] + TINY) / ((double)statistics->ngrams[n] + SMALL);
        bleu[n] = pow(product, 1.0 / (n + 1)) * penalty;
    }
}

void bleu_corpus(const BleuStatistics *statistics, int count, const uint32_t *times,
                 double bleu[NGRAM_LONGEST]) {
    BleuStatistics sum = {0};
    for (int i = 0; i < count; i++) {
        const int64_t weight = times ? times[i] : 1;
        sum.words += weight * statistics[i].words;
        sum.reference_words += weight * statistics[i].reference_words;
        for (int n = 0; n < NGRAM_LONGEST; n++) {
            sum.ngrams[n] += weight * statistics[i].ngrams[n];
            sum.matches[n] += weight * statistics[i].matches[n];
        }
    }
    bleu_sentence(&sum, bleu);
}
