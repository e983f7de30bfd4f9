#include "eval/metrics/referring_iou.h"

#include <math.h>

ReferringOverlap referring_overlap(int image, const CocoMask *truth, const CocoMask *prediction) {
    int64_t area = coco_mask_area(truth);
    if (!prediction) return (ReferringOverlap){image, 0, area};
    int64_t common = coco_mask_intersection(truth, prediction);
    return (ReferringOverlap){image, common, area + coco_mask_area(prediction) - common};
}

double referring_iou_of(const ReferringOverlap *overlap, ReferringRule rule) {
    const double common = (double)overlap->intersection, all = (double)overlap->union_area;
    if (rule == REFERRING_EXACT) return overlap->union_area ? common / all : 0;
    return overlap->union_area ? common / (all + 1e-5) : 1;
}

static uint32_t times_of(const ReferringOverlap *overlap, const uint32_t *times) {
    return times ? times[overlap->image] : 1;
}

double referring_giou(const void *context, const uint32_t *times) {
    const ReferringOverlaps *all = context;
    double sum = 0;
    int64_t count = 0;
    for (int i = 0; i < all->count; i++) {
        const uint32_t n = times_of(&all->items[i], times);
        sum += n * referring_iou_of(&all->items[i], all->rule);
        count += n;
    }
    return count ? sum / (double)count : NAN;
}

double referring_ciou(const void *context, const uint32_t *times) {
    const ReferringOverlaps *all = context;
    int64_t common = 0, total = 0;
    for (int i = 0; i < all->count; i++) {
        const int64_t n = times_of(&all->items[i], times);
        common += n * all->items[i].intersection;
        total += n * all->items[i].union_area;
    }
    if (!total) return NAN;
    return (double)common / ((double)total + (all->rule == REFERRING_AS_LISA ? 1e-10 : 0));
}

double referring_precision(const void *context, const uint32_t *times) {
    const ReferringOverlaps *all = context;
    int64_t hits = 0, count = 0;
    for (int i = 0; i < all->count; i++) {
        const int64_t n = times_of(&all->items[i], times);
        count += n;
        if (referring_iou_of(&all->items[i], all->rule) >= all->threshold) hits += n;
    }
    return count ? (double)hits / (double)count : NAN;
}
