#include "eval/metrics/point_accuracy.h"

#include <stdlib.h>

static double mask_iou(const uint8_t *a, const uint8_t *b, int64_t n) {
    int64_t common = 0, all = 0;
    for (int64_t i = 0; i < n; i++) {
        common += a[i] & b[i];
        all += a[i] | b[i];
    }
    return all ? (double)common / (double)all : 0.0;
}

void point_accuracy_add(PointAccuracy *sum, const CocoAnnotations *annotations, int image,
                        const Grounding *grounding, PointVerdict *verdicts) {
    const CocoImage *of = &annotations->images[image];
    int64_t pixels = (int64_t)of->height * of->width;
    uint8_t *truth = checked_malloc((size_t)pixels);
    sum->images++;
    for (int i = 0; i < grounding->count; i++) {
        const GroundedPhrase *item = &grounding->items[i];
        bool present = coco_category_mask(annotations, image, item->phrase.category, truth),
             hit = present && truth[(int64_t)item->point.row * of->width + item->point.column];
        if (verdicts) verdicts[i] = (PointVerdict){present, hit};
        sum->nouns++;
        if (!present) continue;
        sum->present++;
        sum->hits += hit;
        sum->centre_hits += truth[(int64_t)(of->height / 2) * of->width + of->width / 2];
        int64_t area = 0;
        for (int64_t p = 0; p < pixels; p++) area += truth[p];
        sum->random_hits += (double)area / (double)pixels;
        if (item->mask) sum->iou += mask_iou(item->mask, truth, pixels);
    }
    free(truth);
}

double point_accuracy_share(double hits, const PointAccuracy *sum) {
    return sum->present ? hits / (double)sum->present : 0.0;
}
