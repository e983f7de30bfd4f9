// Instances are sorted by category and image; each such group is matched by itself, for every range
// of areas and every threshold, greedily from the detection of the highest score down.
#include "eval/metrics/coco_evaluation_internal.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/// All, small, medium, large; both ends belong to a range.
static const double area_ranges[COCO_NUM_AREAS][2] = {
    {0, 1e10}, {0, 32 * 32}, {32 * 32, 96 * 96}, {96 * 96, 1e10}};

/// An instance as the matching sees it.
typedef struct Instance {
    int category, image;
    double score, area, box[4];
    const CocoMask *mask;
    int64_t pixels;
    bool is_crowd;
    /// where it stood
    int position;
} Instance;

static int by_group_and_score(const void *a, const void *b) {
    const Instance *x = a, *y = b;
    if (x->category != y->category) return x->category < y->category ? -1 : 1;
    if (x->image != y->image) return x->image < y->image ? -1 : 1;
    if (x->score != y->score) return x->score > y->score ? -1 : 1;
    return x->position < y->position ? -1 : 1;
}

static void set_mask(Instance *instance, const CocoMask *mask) {
    instance->mask = mask;
    instance->pixels = coco_mask_area(mask);
    coco_mask_box(mask, instance->box);
}

static Instance *sorted_truths(CocoOverlap overlap, const CocoTruth *truths, int count) {
    Instance *out = checked_malloc(((size_t)count + 1) * sizeof *out);
    for (int i = 0; i < count; i++) {
        const CocoTruth *t = &truths[i];
        out[i] = (Instance){.category = t->category,
                            .image = t->image,
                            .area = t->area,
                            .is_crowd = t->is_crowd,
                            .position = i};
        memcpy(out[i].box, t->box, sizeof t->box);
        if (overlap == COCO_SEGM) set_mask(&out[i], t->mask);
    }
    qsort(out, (size_t)count, sizeof *out, by_group_and_score);
    return out;
}

static Instance *sorted_detections(CocoOverlap overlap, const CocoDetection *detections,
                                   int count) {
    Instance *out = checked_malloc(((size_t)count + 1) * sizeof *out);
    for (int i = 0; i < count; i++) {
        const CocoDetection *d = &detections[i];
        CHECK(isfinite(d->score), "detection %d has the score %g", i, d->score);
        out[i] = (Instance){
            .category = d->category, .image = d->image, .score = d->score, .position = i};
        memcpy(out[i].box, d->box, sizeof d->box);
        if (overlap == COCO_SEGM) set_mask(&out[i], d->mask);
        out[i].area = overlap == COCO_SEGM ? (double)out[i].pixels : out[i].box[2] * out[i].box[3];
    }
    qsort(out, (size_t)count, sizeof *out, by_group_and_score);
    return out;
}

// ---- overlap

/// IoU of boxes; with a crowd, the share of the detection that lies in it.
static double box_overlap(const double *detection, const double *truth, bool is_crowd) {
    double width = fmin(detection[2] + detection[0], truth[2] + truth[0]) -
                   fmax(detection[0], truth[0]),
           height = fmin(detection[3] + detection[1], truth[3] + truth[1]) -
                    fmax(detection[1], truth[1]);
    if (width <= 0 || height <= 0) return 0;
    double common = width * height, own = detection[2] * detection[3];
    return common / (is_crowd ? own : own + truth[2] * truth[3] - common);
}

static double overlap_of(CocoOverlap kind, const Instance *detection, const Instance *truth) {
    double boxes = box_overlap(detection->box, truth->box, truth->is_crowd);
    if (kind == COCO_BBOX || boxes <= 0) return boxes;
    int64_t common = coco_mask_intersection(detection->mask, truth->mask);
    if (!common) return 0;
    int64_t all = truth->is_crowd ? detection->pixels : detection->pixels + truth->pixels - common;
    return (double)common / (double)all;
}

// ---- one image and category

/// The instances of one image and category.
typedef struct Group {
    const Instance *truths, *detections;
    int num_truths, num_detections;
    /// [num_detections, num_truths]
    const double *overlaps;
    /// [num_truths] truths that count before those that do not
    int *order;
    bool *is_ignored, *is_taken;
} Group;

static bool is_outside(double area, int range) {
    return area < area_ranges[range][0] || area > area_ranges[range][1];
}

/// Orders the truths for a range of areas; returns how many count.
static int order_truths(Group *group, int range) {
    int count = 0;
    for (int pass = 0, counting = 0; pass < 2; pass++) {
        for (int i = 0; i < group->num_truths; i++) {
            const Instance *truth = &group->truths[i];
            bool is_ignored = truth->is_crowd || is_outside(truth->area, range);
            group->is_ignored[i] = is_ignored;
            if (is_ignored == (pass == 1)) group->order[counting++] = i;
        }
        if (pass == 0) count = counting;
    }
    return count;
}

/// The truth that a detection takes: the one of largest overlap, the last among equals, that is
/// free or a crowd; one that does not count only where none that counts will do. -1 for none.
static int find_match(const Group *group, int detection, double threshold) {
    double best = fmin(threshold, 1 - 1e-10);
    int match = -1;
    const double *overlaps = group->overlaps + (size_t)detection * (size_t)group->num_truths;
    for (int i = 0; i < group->num_truths; i++) {
        int truth = group->order[i];
        if (group->is_taken[truth] && !group->truths[truth].is_crowd) continue;
        if (match >= 0 && !group->is_ignored[match] && group->is_ignored[truth]) break;
        if (overlaps[truth] < best) continue;
        best = overlaps[truth];
        match = truth;
    }
    return match;
}

/// As numpy spaces them: the last is exact.
static double threshold_at(int t) {
    return t == COCO_NUM_THRESHOLDS - 1 ? 0.95 : 0.5 + t * ((0.95 - 0.5) / 9);
}

static void match_group(Group *group, CocoMatch *matches, CocoTruthCount *count) {
    for (int range = 0; range < COCO_NUM_AREAS; range++) {
        count->count[range] = order_truths(group, range);
        for (int t = 0; t < COCO_NUM_THRESHOLDS; t++) {
            const uint16_t bit = (uint16_t)(1 << t);
            memset(group->is_taken, 0, (size_t)group->num_truths);
            for (int d = 0; d < group->num_detections; d++) {
                int truth = find_match(group, d, threshold_at(t));
                if (truth >= 0) {
                    group->is_taken[truth] = true;
                    matches[d].is_matched[range] |= bit;
                }
                if (truth >= 0 ? group->is_ignored[truth]
                               : is_outside(group->detections[d].area, range))
                    matches[d].is_ignored[range] |= bit;
            }
        }
    }
}

static void evaluate_group(CocoOverlap kind, Group group, CocoCategoryMatches *out) {
    if (group.num_detections > COCO_MOST_DETECTIONS) group.num_detections = COCO_MOST_DETECTIONS;
    size_t truths = (size_t)group.num_truths, detections = (size_t)group.num_detections;
    double *overlaps = checked_malloc((truths * detections + 1) * sizeof *overlaps);
    for (size_t d = 0; d < detections; d++)
        for (size_t t = 0; t < truths; t++)
            overlaps[d * truths + t] = overlap_of(kind, &group.detections[d], &group.truths[t]);
    group.overlaps = overlaps;
    group.order = checked_malloc((truths + 1) * sizeof *group.order);
    group.is_ignored = checked_malloc(2 * (truths + 1));
    group.is_taken = group.is_ignored + truths + 1;

    CocoMatch *matches = out->matches + out->num_matches;
    CocoTruthCount *count = &out->truths[out->num_truths];
    count->image = (truths ? group.truths : group.detections)->image;
    for (int d = 0; d < group.num_detections; d++)
        matches[d] = (CocoMatch){group.detections[d].score, group.detections[d].image, d, {0}, {0}};
    match_group(&group, matches, count);
    out->num_matches += group.num_detections;
    out->num_truths += truths > 0;
    free(overlaps);
    free(group.order);
    free(group.is_ignored);
}

// ---- all of them

/// How many instances from the beginning on are of that category, and image unless it is -1.
static int run_length(const Instance *instances, int count, int category, int image) {
    int n = 0;
    while (n < count && instances[n].category == category &&
           (image < 0 || instances[n].image == image))
        n++;
    return n;
}

static int by_score(const void *a, const void *b) {
    const CocoMatch *x = a, *y = b;
    if (x->score != y->score) return x->score > y->score ? -1 : 1;
    if (x->image != y->image) return x->image < y->image ? -1 : 1;
    return x->rank < y->rank ? -1 : 1;
}

/// Both lists are of one category.
static void evaluate_category(CocoOverlap kind, const Instance *truths, int num_truths,
                              const Instance *detections, int num_detections,
                              CocoCategoryMatches *out) {
    out->matches = checked_malloc(((size_t)num_detections + 1) * sizeof *out->matches);
    out->truths = checked_malloc(((size_t)num_truths + 1) * sizeof *out->truths);
    while (num_truths || num_detections) {
        int image = num_truths ? truths->image : detections->image;
        if (num_detections && detections->image < image) image = detections->image;
        Group group = {.truths = truths, .detections = detections};
        if (num_truths) group.num_truths = run_length(truths, num_truths, truths->category, image);
        if (num_detections)
            group.num_detections =
                run_length(detections, num_detections, detections->category, image);
        truths += group.num_truths;
        num_truths -= group.num_truths;
        detections += group.num_detections;
        num_detections -= group.num_detections;
        evaluate_group(kind, group, out);
    }
    qsort(out->matches, (size_t)out->num_matches, sizeof *out->matches, by_score);
}

CocoEvaluation *coco_evaluation_new(CocoOverlap overlap, const CocoTruth *truths, int num_truths,
                                    const CocoDetection *detections, int num_detections,
                                    int num_images, int num_categories) {
    CocoEvaluation *evaluation = checked_malloc(sizeof *evaluation);
    *evaluation =
        (CocoEvaluation){checked_calloc((size_t)num_categories + 1, sizeof *evaluation->categories),
                         num_categories, num_images};
    for (int i = 0; i < num_truths; i++)
        CHECK(truths[i].image >= 0 && truths[i].image < num_images && truths[i].category >= 0 &&
                  truths[i].category < num_categories,
              "truth %d is of image %d, category %d", i, truths[i].image, truths[i].category);
    for (int i = 0; i < num_detections; i++)
        CHECK(detections[i].image >= 0 && detections[i].image < num_images &&
                  detections[i].category >= 0 && detections[i].category < num_categories,
              "detection %d is of image %d, category %d", i, detections[i].image,
              detections[i].category);
    Instance *t = sorted_truths(overlap, truths, num_truths),
             *d = sorted_detections(overlap, detections, num_detections);
    const Instance *next_t = t, *next_d = d;
    for (int category = 0; category < num_categories; category++) {
        int count_t = run_length(next_t, (int)(t + num_truths - next_t), category, -1),
            count_d = run_length(next_d, (int)(d + num_detections - next_d), category, -1);
        evaluate_category(overlap, next_t, count_t, next_d, count_d,
                          &evaluation->categories[category]);
        next_t += count_t;
        next_d += count_d;
    }
    free(t);
    free(d);
    return evaluation;
}

void coco_evaluation_free(CocoEvaluation *evaluation) {
    if (!evaluation) return;
    for (int i = 0; i < evaluation->num_categories; i++) {
        free(evaluation->categories[i].matches);
        free(evaluation->categories[i].truths);
    }
    free(evaluation->categories);
    free(evaluation);
}
