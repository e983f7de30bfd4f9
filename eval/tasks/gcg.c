// Grounded conversation generation: the model describes the image; every noun chunk of the answer
// gives a point, at its root word, the point a mask. Captions are compared with captions, masks
// with masks, and phrases with phrases.
#include "eval/metrics/grounded_masks.h"
#include "eval/tasks/showing.h"
#include "eval/tasks/tasks.h"

#include <math.h>
#include <stdlib.h>

typedef struct GcgItems {
    GroundedCaptions truths;
    /// [truths.count] "<image id>.jpg"
    char **file_names;
} GcgItems;

static void close_captions(void *data) {
    GcgItems *items = data;
    for (int i = 0; items->file_names && i < items->truths.count; i++) free(items->file_names[i]);
    free(items->file_names);
    grounded_captions_free(&items->truths);
    free(items);
}

static void *open_captions(const EvaluationOptions *options, Error *error) {
    GcgItems *items = checked_calloc(1, sizeof *items);
    if (!grounded_captions_read(options->annotations, options->masks, &items->truths, error)) {
        free(items);
        return NULL;
    }
    int count = items->truths.count;
    items->file_names = checked_calloc((size_t)count + 1, sizeof *items->file_names);
    for (int i = 0; i < count; i++)
        items->file_names[i] = format_string("%s.jpg", items->truths.items[i].image_id);
    return items;
}

static int64_t count_captions(const void *data) { return ((const GcgItems *)data)->truths.count; }

static void item_of_caption(const void *data, int64_t index, TaskItem *item) {
    const GcgItems *items = data;
    const GroundedCaption *caption = &items->truths.items[index];
    snprintf(item->id, sizeof item->id, "%.60s", caption->image_id);
    item->image = index;
    item->image_id = caption->image_id;
    item->file_name = items->file_names[index];
    if (!caption->num_masks) return;
    item->height = caption->masks[0].height;
    item->width = caption->masks[0].width;
}

static json_t *judge_answer(const void *data, int64_t index, const Judge *judge,
                            const Answer *answer, Error *error) {
    const GroundedCaption *truth = &((const GcgItems *)data)->truths.items[index];
    json_t *phrases =
        judge_chunks(judge, answer, truth->masks, truth->num_masks, &(ChunkRules){0}, error);
    return phrases ? json_pack("{s:o, s:[i, i]}", "phrases", phrases, "size", answer->image_height,
                               answer->image_width)
                   : NULL;
}

// ---- showing

/// The true mask that a phrase's mask overlaps most; without a mask or an overlap the first that
/// its point lies in. -1: none.
static int nearest_truth(const GroundedCaption *truth, const ShownPhrase *phrase) {
    int best = -1;
    double most = 0;
    for (int m = 0; m < truth->num_masks; m++) {
        bool is_same_size = phrase->has_mask && phrase->mask.height == truth->masks[m].height &&
                            phrase->mask.width == truth->masks[m].width;
        double iou = is_same_size ? coco_mask_iou(&phrase->mask, &truth->masks[m]) : 0;
        if (iou <= most) continue;
        most = iou;
        best = m;
    }
    for (int m = 0; best < 0 && m < truth->num_masks; m++)
        if (phrase->point.row < truth->masks[m].height &&
            phrase->point.column < truth->masks[m].width &&
            coco_mask_contains(&truth->masks[m], phrase->point.row, phrase->point.column))
            best = m;
    return best;
}

static bool show_answer(const void *data, int64_t index, const EvaluationOptions *options,
                        const Answer *answer, const json_t *verdict, ShownVerdict *shown,
                        Error *error) {
    (void)options;
    const GroundedCaption *truth = &((const GcgItems *)data)->truths.items[index];
    const json_t *phrases = json_object_get(verdict, "phrases");
    for (int i = 0; i < shown->count; i++) {
        ShownPhrase *phrase = &shown->phrases[i];
        int m = nearest_truth(truth, phrase);
        phrase->iou = phrase->has_mask ? 0 : (double)NAN;
        phrase->hit = 0;
        if (m >= 0) {
            phrase->hit = -1;
            shown_truth(phrase, coco_mask_copy(&truth->masks[m]),
                        m < truth->num_phrases ? truth->phrases[m] : NULL, true);
        }
        if (answer &&
            !shown_tokens_of_root(phrase, answer, json_array_get(phrases, (size_t)i), error))
            return false;
    }
    shown->figure = shown_mean_iou(shown);
    return true;
}

// ---- predictions

/// The published form of a verdict; everything in it is owned.
static GroundedCaption prediction_of(const json_t *verdict) {
    const json_t *phrases = json_object_get(verdict, "phrases"),
                 *size = json_object_get(verdict, "size");
    size_t count = json_array_size(phrases), i;
    GroundedCaption prediction = {
        .image_id = format_string("%s", json_string_value(json_object_get(verdict, "image_id"))),
        .captions = checked_calloc(1, sizeof *prediction.captions),
        .num_captions = 1,
        .phrases = checked_calloc(count + 1, sizeof *prediction.phrases),
        .num_phrases = (int)count,
        .masks = checked_calloc(count + 1, sizeof *prediction.masks),
        .num_masks = (int)count,
        .points = checked_calloc(count + 1, sizeof *prediction.points),
        .num_points = (int)count};
    prediction.captions[0] =
        format_string("%s", json_string_value(json_object_get(verdict, "answer")));
    json_t *phrase;
    json_array_foreach((json_t *)phrases, i, phrase) {
        const json_t *point = json_object_get(phrase, "point");
        prediction.phrases[i] =
            format_string("%s", json_string_value(json_object_get(phrase, "phrase")));
        prediction.points[i] = (MaskPoint){(int)json_integer_value(json_array_get(point, 0)),
                                           (int)json_integer_value(json_array_get(point, 1))};
        if (!verdict_mask(phrase, &prediction.masks[i]))
            prediction.masks[i] = coco_mask_empty((int)json_integer_value(json_array_get(size, 0)),
                                                  (int)json_integer_value(json_array_get(size, 1)));
    }
    return prediction;
}

static bool publish(const void *data, json_t *const *verdicts, int64_t count, const char *folder,
                    Error *error) {
    (void)data;
    bool ok = true;
    for (int64_t i = 0; ok && i < count; i++) {
        GroundedCaption prediction = prediction_of(verdicts[i]);
        char *path = format_string("%s/%s.json", folder, prediction.image_id);
        ok = grounded_caption_write(path, &prediction, error);
        free(path);
        grounded_caption_free(&prediction);
    }
    return ok;
}

// ---- figures

static void free_masks(void *masks) {
    grounded_masks_free(masks);
    free(masks);
}

static bool measure_masks(const GroundedCaptions *truths, const EvaluationOptions *options,
                          json_t *const *verdicts, int count, Figures *figures, Error *error) {
    GroundedCaption *predictions = checked_calloc((size_t)count + 1, sizeof *predictions);
    GroundedMasks *masks = checked_calloc(1, sizeof *masks);
    for (int i = 0; i < count; i++) predictions[i] = prediction_of(verdicts[i]);
    bool ok = grounded_masks_score(truths->items, predictions, count, options->similarity,
                                   options->similarity_context, masks, error);
    if (ok) {
        figures_own(figures, masks, free_masks);
        figures_add(figures, "ap50", grounded_masks_ap50, masks);
        figures_add(figures, "miou", grounded_masks_mean_iou, masks);
        figures_add(figures, options->similarity_is_bert ? "mask_recall" : "mask_recall_by_words",
                    grounded_masks_recall, masks);
        int unequal = 0, predicted = 0;
        for (int i = 0; i < count; i++) {
            unequal += masks->images[i].is_unequal;
            predicted += predictions[i].num_phrases;
        }
        figures_remark(figures, "phrases", predicted);
        figures_remark(figures, "images_with_unequal_counts", unequal);
    } else {
        free(masks);
    }
    for (int i = 0; i < count; i++) grounded_caption_free(&predictions[i]);
    free(predictions);
    return ok;
}

static bool measure_captions(const GroundedCaptions *truths, const EvaluationOptions *options,
                             json_t *const *verdicts, int count, Figures *figures, Error *error) {
    ImageCaptions *captions = checked_calloc((size_t)count + 1, sizeof *captions);
    for (int i = 0; i < count; i++)
        captions[i] = (ImageCaptions){json_string_value(json_object_get(verdicts[i], "answer")),
                                      (const char *const *)truths->items[i].captions,
                                      truths->items[i].num_captions};
    bool ok = measure_text(captions, count, options, figures, error);
    free(captions);
    return ok;
}

static bool measure(const void *data, const EvaluationOptions *options, json_t *const *verdicts,
                    int64_t count, Figures *figures, Error *error) {
    const GroundedCaptions *truths = &((const GcgItems *)data)->truths;
    free(figures_begin_by_image(figures, &TASK_GCG, data, count)); // an item is an image
    figures_remark(figures, "images", (double)count);
    bool ok = measure_captions(truths, options, verdicts, (int)count, figures, error) &&
              measure_masks(truths, options, verdicts, (int)count, figures, error);
    if (!ok) figures_free(figures);
    return ok;
}

const Task TASK_GCG = {
    .name = "gcg",
    .summary = "grounded conversations: METEOR, CIDEr, AP50, mIoU and mask recall",
    .files = "eval.annotations: {val,test}_gcg_coco_caption_gt.json; eval.masks: "
             "{val,test}_gcg_coco_mask_gt.json",
    .reads_masks = true,
    .prompt = "Describe the image in detail.",
    .max_new_tokens = 512,
    .row = ATTENTION_PRODUCING_ROW,
    .reduction = REDUCE_MEAN,
    .looks = true,
    .finds_phrases = true,
    .open = open_captions,
    .close = close_captions,
    .count = count_captions,
    .item = item_of_caption,
    .judge = judge_answer,
    .show = show_answer,
    .shown_as = "A phrase's truth is the true mask that its mask overlaps most, whatever it is "
                "called there. An answer's figure is the mean of these IoU.",
    .measure = measure,
    .publish = publish,
};
