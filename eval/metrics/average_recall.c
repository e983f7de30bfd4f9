#include "eval/metrics/average_recall.h"

#include "autograd/error.h"

#include <math.h>
#include <stdlib.h>

const char *const PHRASE_SUBSET_NAMES[NUM_PHRASE_SUBSETS] = {"all", "things", "stuff", "singular",
                                                             "plural"};

static bool is_in(const PhraseOverlap *phrase, PhraseSubset subset) {
    switch (subset) {
    case PHRASES_THINGS:
        return phrase->is_thing;
    case PHRASES_STUFF:
        return !phrase->is_thing;
    case PHRASES_SINGULAR:
        return !phrase->is_plural;
    case PHRASES_PLURAL:
        return phrase->is_plural;
    default:
        return true;
    }
}

/// How often a phrase counts.
static uint32_t weight_of(const PhraseOverlaps *all, int i, const uint32_t *times) {
    const PhraseOverlap *phrase = &all->items[i];
    if (!is_in(phrase, all->subset)) return 0;
    return times ? times[phrase->image] : 1;
}

double average_recall(const void *context, const uint32_t *times) {
    const PhraseOverlaps *all = context;
    double sum = 0;
    int64_t count = 0;
    for (int i = 0; i < all->count; i++) {
        const uint32_t n = weight_of(all, i, times);
        sum += n * all->items[i].iou;
        count += n;
    }
    return count ? sum / (double)count : NAN;
}

typedef struct WeightedIou {
    double iou;
    uint32_t weight;
} WeightedIou;

static int by_iou(const void *a, const void *b) {
    const double x = ((const WeightedIou *)a)->iou, y = ((const WeightedIou *)b)->iou;
    return x < y ? -1 : x > y;
}

double average_recall_published(const void *context, const uint32_t *times) {
    enum { STEPS = 100000 };
    const double step = 0.00001;
    const PhraseOverlaps *all = context;
    WeightedIou *phrases = checked_malloc(((size_t)all->count + 1) * sizeof *phrases);
    int64_t count = 0, left;
    double area = 0;
    for (int i = 0; i < all->count; i++) {
        phrases[i] = (WeightedIou){all->items[i].iou, weight_of(all, i, times)};
        count += phrases[i].weight;
    }
    qsort(phrases, (size_t)all->count, sizeof *phrases, by_iou);
    left = count;
    // The last threshold only ends the last rectangle.
    for (int k = 0, at = 0; count && k < STEPS - 1; k++) {
        const double threshold = k * step;
        while (at < all->count && phrases[at].iou < threshold) left -= phrases[at++].weight;
        area += ((k + 1) * step - threshold) * ((double)left / (double)count);
    }
    free(phrases);
    return count ? area : NAN;
}
