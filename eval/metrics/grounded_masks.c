#include "eval/metrics/grounded_masks.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static const double LEAST_IOU = 0.5, LEAST_SIMILARITY = 0.5;

void grounded_masks_free(GroundedMasks *masks) {
    free(masks->images);
    free(masks->places);
    coco_evaluation_free(masks->evaluation);
    *masks = (GroundedMasks){0};
}

// ---- pairs

/// IoU of every row with every column, and which of both are still free.
typedef struct Pairing {
    const double *overlaps;
    bool *row_taken, *column_taken;
    int rows, columns;
    /// overlaps is [columns, rows]
    bool is_transposed;
} Pairing;

static double overlap_at(const Pairing *pairing, int row, int column) {
    return pairing->is_transposed ? pairing->overlaps[column * pairing->rows + row]
                                  : pairing->overlaps[row * pairing->columns + column];
}

/// The free pair of largest IoU, the first in row-major order among equals; returns that IoU, 0
/// where nothing overlaps.
static double best_pair(const Pairing *pairing, int *row, int *column) {
    double best = 0;
    for (int r = 0; r < pairing->rows; r++)
        for (int c = 0; c < pairing->columns && !pairing->row_taken[r]; c++) {
            double overlap = pairing->column_taken[c] ? 0 : overlap_at(pairing, r, c);
            if (overlap <= best) continue;
            best = overlap;
            *row = r;
            *column = c;
        }
    return best;
}

static Pairing begin_pairing(const double *overlaps, int rows, int columns, bool is_transposed) {
    return (Pairing){overlaps,
                     checked_calloc((size_t)rows + 1, sizeof(bool)),
                     checked_calloc((size_t)columns + 1, sizeof(bool)),
                     rows,
                     columns,
                     is_transposed};
}

static void end_pairing(Pairing *pairing) {
    free(pairing->row_taken);
    free(pairing->column_taken);
}

/// overlaps: [predictions, truths]. Rows are predictions.
static void pair_by_iou(const double *overlaps, int predictions, int truths,
                        GroundedMaskImage *image) {
    Pairing pairing = begin_pairing(overlaps, predictions, truths, false);
    double sum = 0, overlap;
    int row = 0, column = 0;
    while ((overlap = best_pair(&pairing, &row, &column)) > 0) {
        sum += overlap;
        image->num_pairs++;
        pairing.row_taken[row] = pairing.column_taken[column] = true;
    }
    image->mean_iou = image->num_pairs ? sum / image->num_pairs : 0;
    end_pairing(&pairing);
}

/// overlaps: [predictions, truths]. Rows are truths.
static int count_found(const double *overlaps, const GroundedCaption *truth,
                       const GroundedCaption *prediction, PhraseSimilarity *similarity,
                       const void *context) {
    Pairing pairing = begin_pairing(overlaps, truth->num_masks, prediction->num_masks, true);
    int found = 0, row = 0, column = 0;
    while (best_pair(&pairing, &row, &column) >= LEAST_IOU &&
           similarity(context, truth->phrases[row], prediction->phrases[column]) >=
               LEAST_SIMILARITY) {
        found++;
        pairing.row_taken[row] = pairing.column_taken[column] = true;
    }
    end_pairing(&pairing);
    return found;
}

static bool is_unequal(const GroundedCaption *caption) {
    return caption->num_masks != caption->num_phrases;
}

static bool score_image(const GroundedCaption *truth, const GroundedCaption *prediction,
                        PhraseSimilarity *similarity, const void *context, GroundedMaskImage *out,
                        Error *error) {
    const int predictions = prediction->num_masks, truths = truth->num_masks;
    const CocoMask *p = prediction->masks, *t = truth->masks;
    *out = (GroundedMaskImage){.num_phrases = truth->num_phrases,
                               .is_unequal = is_unequal(truth) || is_unequal(prediction)};
    if (predictions && truths && (p->height != t->height || p->width != t->width))
        return error_set(error, "image %s: predicted masks of %d x %d pixels, true ones of %d x %d",
                         quote(truth->image_id).text, p->width, p->height, t->width, t->height);
    double *overlaps =
        checked_malloc(((size_t)predictions * (size_t)truths + 1) * sizeof *overlaps);
    for (int i = 0; i < predictions; i++)
        for (int k = 0; k < truths; k++) overlaps[i * truths + k] = coco_mask_iou(&p[i], &t[k]);
    pair_by_iou(overlaps, predictions, truths, out);
    if (!out->is_unequal)
        out->num_found = count_found(overlaps, truth, prediction, similarity, context);
    free(overlaps);
    return true;
}

// ---- average precision

typedef struct ImagePlace {
    const char *id;
    int image;
} ImagePlace;

static int by_id(const void *a, const void *b) {
    const ImagePlace *x = a, *y = b;
    int order = strcmp(x->id, y->id);
    return order ? order : x->image - y->image;
}

static int *places_by_id(const GroundedCaption *truths, int num_images) {
    ImagePlace *sorted = checked_malloc(((size_t)num_images + 1) * sizeof *sorted);
    int *places = checked_malloc(((size_t)num_images + 1) * sizeof *places);
    for (int i = 0; i < num_images; i++) sorted[i] = (ImagePlace){truths[i].image_id, i};
    qsort(sorted, (size_t)num_images, sizeof *sorted, by_id);
    for (int i = 0; i < num_images; i++) places[sorted[i].image] = i;
    free(sorted);
    return places;
}

static CocoEvaluation *evaluate(const GroundedCaption *truths, const GroundedCaption *predictions,
                                int num_images, const int *places) {
    size_t num_truths = 0, num_predictions = 0;
    for (int i = 0; i < num_images; i++) {
        num_truths += (size_t)truths[i].num_masks;
        num_predictions += (size_t)predictions[i].num_masks;
    }
    CocoTruth *t = checked_malloc((num_truths + 1) * sizeof *t), *next_t = t;
    CocoDetection *d = checked_malloc((num_predictions + 1) * sizeof *d), *next_d = d;
    for (int i = 0; i < num_images; i++) {
        for (int k = 0; k < truths[i].num_masks; k++)
            *next_t++ = (CocoTruth){.image = places[i],
                                    .area = (double)coco_mask_area(&truths[i].masks[k]),
                                    .mask = &truths[i].masks[k]};
        for (int k = 0; k < predictions[i].num_masks; k++)
            *next_d++ =
                (CocoDetection){.image = places[i], .score = 1, .mask = &predictions[i].masks[k]};
    }
    CocoEvaluation *evaluation =
        coco_evaluation_new(COCO_SEGM, t, (int)num_truths, d, (int)num_predictions, num_images, 1);
    free(t);
    free(d);
    return evaluation;
}

bool grounded_masks_score(const GroundedCaption *truths, const GroundedCaption *predictions,
                          int num_images, PhraseSimilarity *similarity,
                          const void *similarity_context, GroundedMasks *out, Error *error) {
    *out = (GroundedMasks){checked_calloc((size_t)num_images + 1, sizeof *out->images), num_images,
                           NULL, NULL};
    for (int i = 0; i < num_images; i++)
        if (!score_image(&truths[i], &predictions[i], similarity, similarity_context,
                         &out->images[i], error)) {
            grounded_masks_free(out);
            return false;
        }
    out->places = places_by_id(truths, num_images);
    out->evaluation = evaluate(truths, predictions, num_images, out->places);
    return true;
}

// ---- figures

double grounded_masks_ap50(const void *context, const uint32_t *times) {
    const GroundedMasks *masks = context;
    const CocoFigureOf of = {masks->evaluation, 0, COCO_AP50};
    if (!times) return coco_evaluation_figure(&of, NULL);
    uint32_t *placed = checked_malloc(((size_t)masks->num_images + 1) * sizeof *placed);
    for (int i = 0; i < masks->num_images; i++) placed[masks->places[i]] = times[i];
    double figure = coco_evaluation_figure(&of, placed);
    free(placed);
    return figure;
}

double grounded_masks_mean_iou(const void *context, const uint32_t *times) {
    const GroundedMasks *masks = context;
    double sum = 0;
    int64_t count = 0;
    for (int i = 0; i < masks->num_images; i++) {
        const uint32_t n = times ? times[i] : 1;
        sum += n * masks->images[i].mean_iou;
        count += n;
    }
    return count ? sum / (double)count : NAN;
}

double grounded_masks_recall(const void *context, const uint32_t *times) {
    const GroundedMasks *masks = context;
    int64_t found = 0, phrases = 0;
    for (int i = 0; i < masks->num_images; i++) {
        const int64_t n = times ? times[i] : 1;
        found += n * masks->images[i].num_found;
        phrases += n * masks->images[i].num_phrases;
    }
    return phrases ? (double)found / (double)phrases : 0;
}
