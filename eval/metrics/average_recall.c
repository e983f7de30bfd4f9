#include "eval/metrics/average_recall.h"

#include <math.h>

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

static double mean_over(const PhraseOverlaps *all, const uint32_t *times,
                        double (*value)(double iou)) {
    double sum = 0;
    int64_t count = 0;
    for (int i = 0; i < all->count; i++) {
        const uint32_t n = weight_of(all, i, times);
        if (n) sum += n * value(all->items[i].iou);
        count += n;
    }
    return count ? sum / (double)count : NAN;
}

static double identity(double iou) { return iou; }

double average_recall(const void *context, const uint32_t *times) {
    return mean_over(context, times, identity);
}

/// How wide the rectangles are, together, in which a phrase of that IoU counts as found: those
/// whose left threshold is at most the IoU. The last threshold only ends the last rectangle. A file
/// may say what is no IoU.
static double published_width(double iou_as_read) {
    enum { THRESHOLDS = 100000 };
    const double step = 0.00001, iou = fmax(0, fmin(1, iou_as_read));
    int last = (int)(iou / step);
    while (last > 0 && last * step > iou) last--;
    while ((last + 1) * step <= iou) last++;
    const int rectangles = last + 1 < THRESHOLDS - 1 ? last + 1 : THRESHOLDS - 1;
    return rectangles * step;
}

double average_recall_published(const void *context, const uint32_t *times) {
    return mean_over(context, times, published_width);
}
