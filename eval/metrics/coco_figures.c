// From matches to figures. Images that count several times are walked as copies that stand next to
// each other: among detections of equal score, all of the first copy come before the second's, as
// they would in a stable sort of the copies themselves. With equal scores (all are 1 in some
// evaluations) that order decides.
#include "eval/metrics/coco_evaluation_internal.h"

#include <math.h>
#include <stdlib.h>

const char *const COCO_FIGURE_NAMES[COCO_NUM_FIGURES] = {
    "AP", "AP50", "AP75", "APs", "APm", "APl", "AR1", "AR10", "AR100", "ARs", "ARm", "ARl"};

enum { NUM_RECALLS = 101, ALL_THRESHOLDS = (1 << COCO_NUM_THRESHOLDS) - 1 };

/// What a figure is the mean of.
static const struct {
    int area;
    int most_detections;
    bool is_recall;
    /// bits
    int thresholds;
} figures_of[COCO_NUM_FIGURES] = {
    [COCO_AP] = {0, 100, false, ALL_THRESHOLDS},
    [COCO_AP50] = {0, 100, false, 1 << 0},
    [COCO_AP75] = {0, 100, false, 1 << 5},
    [COCO_AP_SMALL] = {1, 100, false, ALL_THRESHOLDS},
    [COCO_AP_MEDIUM] = {2, 100, false, ALL_THRESHOLDS},
    [COCO_AP_LARGE] = {3, 100, false, ALL_THRESHOLDS},
    [COCO_AR_1] = {0, 1, true, ALL_THRESHOLDS},
    [COCO_AR_10] = {0, 10, true, ALL_THRESHOLDS},
    [COCO_AR_100] = {0, 100, true, ALL_THRESHOLDS},
    [COCO_AR_SMALL] = {1, 100, true, ALL_THRESHOLDS},
    [COCO_AR_MEDIUM] = {2, 100, true, ALL_THRESHOLDS},
    [COCO_AR_LARGE] = {3, 100, true, ALL_THRESHOLDS},
};

/// Detections in the order in which they count, and room for the curve over them.
typedef struct Sequence {
    const CocoMatch **matches;
    double *recall, *precision;
    size_t count, capacity;
} Sequence;

static void append(Sequence *sequence, const CocoMatch *match) {
    if (sequence->count == sequence->capacity) {
        size_t capacity = sequence->capacity = 2 * sequence->capacity + 256;
        sequence->matches = checked_realloc(sequence->matches, capacity * sizeof(CocoMatch *));
        sequence->recall = checked_realloc(sequence->recall, capacity * sizeof(double));
        sequence->precision = checked_realloc(sequence->precision, capacity * sizeof(double));
    }
    sequence->matches[sequence->count++] = match;
}

static void free_sequence(Sequence *sequence) {
    free(sequence->matches);
    free(sequence->recall);
    free(sequence->precision);
}

static void lay_out(const CocoCategoryMatches *category, const uint32_t *times, int most_detections,
                    Sequence *sequence) {
    sequence->count = 0;
    for (int i = 0, end; i < category->num_matches; i = end) {
        const CocoMatch *first = &category->matches[i];
        for (end = i + 1; end < category->num_matches; end++)
            if (category->matches[end].score != first->score ||
                category->matches[end].image != first->image)
                break;
        for (uint32_t copy = times ? times[first->image] : 1; copy; copy--)
            for (int k = i; k < end; k++)
                if (category->matches[k].rank < most_detections)
                    append(sequence, &category->matches[k]);
    }
}

static int64_t count_truths(const CocoCategoryMatches *category, int area, const uint32_t *times) {
    int64_t count = 0;
    for (int i = 0; i < category->num_truths; i++) {
        const CocoTruthCount *truth = &category->truths[i];
        count += (int64_t)truth->count[area] * (times ? times[truth->image] : 1);
    }
    return count;
}

/// Recall and precision behind each detection; returns the final recall.
static double trace_curve(Sequence *sequence, int area, int threshold, int64_t num_truths) {
    const double smallest = 0x1p-52; // numpy's spacing(1)
    int64_t right = 0, wrong = 0;
    for (size_t i = 0; i < sequence->count; i++) {
        const CocoMatch *match = sequence->matches[i];
        if (!(match->is_ignored[area] >> threshold & 1)) {
            bool is_right = match->is_matched[area] >> threshold & 1;
            right += is_right;
            wrong += !is_right;
        }
        sequence->recall[i] = (double)right / (double)num_truths;
        sequence->precision[i] = (double)right / ((double)wrong + (double)right + smallest);
    }
    return sequence->count ? sequence->recall[sequence->count - 1] : 0;
}

/// The sum over 101 recalls of the best precision at that recall or a higher one.
static double sum_precision(Sequence *sequence) {
    double sum = 0;
    size_t at = 0;
    for (size_t i = sequence->count; i-- > 1;)
        if (sequence->precision[i] > sequence->precision[i - 1])
            sequence->precision[i - 1] = sequence->precision[i];
    for (int r = 0; r < NUM_RECALLS; r++) {
        double recall = r == NUM_RECALLS - 1 ? 1 : r * 0.01;
        while (at < sequence->count && sequence->recall[at] < recall) at++;
        if (at == sequence->count) break;
        sum += sequence->precision[at];
    }
    return sum;
}

/// Adds what one category and one threshold give to a figure.
static void add_to_figure(Sequence *sequence, int figure, int threshold, int64_t num_truths,
                          double *sum, int64_t *count) {
    double recall = trace_curve(sequence, figures_of[figure].area, threshold, num_truths);
    *sum += figures_of[figure].is_recall ? recall : sum_precision(sequence);
    *count += figures_of[figure].is_recall ? 1 : NUM_RECALLS;
}

static void add_category(const CocoCategoryMatches *category, const uint32_t *times,
                         uint32_t wanted, Sequence *sequence, double *sums, int64_t *counts) {
    int laid_out = 0;
    for (int f = 0; f < COCO_NUM_FIGURES; f++) {
        if (!(wanted >> f & 1)) continue;
        int64_t num_truths = count_truths(category, figures_of[f].area, times);
        if (!num_truths) continue;
        if (laid_out != figures_of[f].most_detections) {
            laid_out = figures_of[f].most_detections;
            lay_out(category, times, laid_out, sequence);
        }
        for (int t = 0; t < COCO_NUM_THRESHOLDS; t++)
            if (figures_of[f].thresholds >> t & 1)
                add_to_figure(sequence, f, t, num_truths, &sums[f], &counts[f]);
    }
}

static void compute(const CocoEvaluation *evaluation, int category, const uint32_t *times,
                    uint32_t wanted, double *figures) {
    CHECK(category >= -1 && category < evaluation->num_categories, "category %d of %d", category,
          evaluation->num_categories);
    double sums[COCO_NUM_FIGURES] = {0};
    int64_t counts[COCO_NUM_FIGURES] = {0};
    Sequence sequence = {0};
    for (int k = 0; k < evaluation->num_categories; k++)
        if (category < 0 || category == k)
            add_category(&evaluation->categories[k], times, wanted, &sequence, sums, counts);
    for (int f = 0; f < COCO_NUM_FIGURES; f++)
        figures[f] = counts[f] ? sums[f] / (double)counts[f] : -1;
    free_sequence(&sequence);
}

void coco_evaluation_figures(const CocoEvaluation *evaluation, int category, const uint32_t *times,
                             double figures[COCO_NUM_FIGURES]) {
    compute(evaluation, category, times, (1u << COCO_NUM_FIGURES) - 1, figures);
}

double coco_evaluation_figure(const void *context, const uint32_t *times) {
    const CocoFigureOf *of = context;
    double figures[COCO_NUM_FIGURES];
    compute(of->evaluation, of->category, times, 1u << of->figure, figures);
    return figures[of->figure] < 0 ? NAN : figures[of->figure];
}
