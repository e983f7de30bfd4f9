// Instance segmentation of what answers name: every noun chunk gets the category that its root word
// is nearest to, among those that are in the image; masks are COCO detections, points are counted
// against the masks of their category.
#include "data/coco_annotations.h"
#include "data/coco_segmentation.h"
#include "data/json_values.h"
#include "eval/metrics/coco_evaluation.h"
#include "eval/tasks/showing.h"
#include "eval/tasks/tasks.h"

#include <stdlib.h>

typedef struct InstanceItems {
    /// with crowds
    CocoAnnotations annotations;
    /// images that have annotations, in the order of their ids as COCO's tools have it
    int *images;
    int count;
    CategoryMatcher *matcher;
} InstanceItems;

static void close_instances(void *data) {
    InstanceItems *items = data;
    coco_annotations_free(&items->annotations);
    if (items->matcher) category_matcher_free(items->matcher);
    free(items->images);
    free(items);
}

static void *open_instances(const EvaluationOptions *options, Error *error) {
    InstanceItems *items = checked_calloc(1, sizeof *items);
    CocoAnnotations *annotations = &items->annotations;
    if (!coco_annotations_read_all(options->annotations, annotations, error)) {
        free(items);
        return NULL;
    }
    size_t n = (size_t)annotations->num_images;
    int *places = checked_malloc((n + 1) * sizeof *places),
        *at = checked_malloc((n + 1) * sizeof *at);
    items->images = checked_malloc((n + 1) * sizeof *items->images);
    coco_order_images(annotations, places);
    for (int i = 0; i < annotations->num_images; i++) at[places[i]] = i;
    for (int i = 0; i < annotations->num_images; i++)
        if (annotations->images[at[i]].num_annotations) items->images[items->count++] = at[i];
    free(places);
    free(at);
    items->matcher = category_matcher_new((const char *const *)annotations->category_names,
                                          annotations->num_categories, options->wordnet);
    if (items->count > 0) return items;
    error_set(error, "%s: none of the %d images has an annotation", options->annotations,
              annotations->num_images);
    close_instances(items);
    return NULL;
}

static int64_t count_images(const void *data) { return ((const InstanceItems *)data)->count; }

static void item_of_image(const void *data, int64_t index, TaskItem *item) {
    const InstanceItems *items = data;
    const CocoImage *image = &items->annotations.images[items->images[index]];
    snprintf(item->id, sizeof item->id, "%.60s", image->id);
    item->image = index;
    item->image_id = image->id;
    item->file_name = image->file_name;
    item->height = image->height;
    item->width = image->width;
}

// ---- judging

/// What is true of the image under judgement.
typedef struct Judging {
    const InstanceItems *items;
    const Judge *judge;
    int image;
    /// [num_categories]
    bool *present;
    /// of the chunk that was taken last
    CategoryMatch match;
    Error *error;
    bool has_failed;
} Judging;

static json_t *describe_segments(const JudgedGroup *group, bool more_masks) {
    json_t *segments = json_array();
    for (int i = 0; i < group->segments.count && (i == 0 || more_masks); i++) {
        const SegmentMask *segment = &group->segments.items[i];
        if (!coco_mask_area(&segment->mask)) continue;
        json_array_append_new(segments,
                              json_pack("{s:o, s:f}", "mask", coco_runs_write(&segment->mask),
                                        "score", segment->score));
    }
    return segments;
}

/// Whether the chunk names a category of the image.
static bool names_category(void *context, const NounChunk *chunk, const Answer *answer) {
    Judging *judging = context;
    const EvaluationOptions *options = judging->judge->options;
    CategoryMatch *match = &judging->match;
    if (judging->has_failed) return false;
    if (!phrase_finder_category(judging->judge->phrases, judging->items->matcher, answer->text,
                                chunk, judging->present, match, judging->error)) {
        judging->has_failed = true;
        return false;
    }
    return match->category >= 0 && match->score >= options->category_threshold;
}

/// What that is and whether the chunk's point lies in it.
static void add_category(void *context, const JudgedGroup *group, json_t *phrase) {
    const Judging *judging = context;
    const CocoAnnotations *annotations = &judging->items->annotations;
    const EvaluationOptions *options = judging->judge->options;
    const CategoryMatch *match = &judging->match;
    CocoMask truth;
    coco_category_truth(annotations, judging->image, match->category, &truth);
    verdict_add_point(phrase, &truth, &group->pointing.point);
    coco_mask_free(&truth);
    json_t *more =
        json_pack("{s:i, s:s, s:f, s:s, s:o}", "category_index", match->category, "category",
                  annotations->category_names[match->category], "similarity", (double)match->score,
                  "rule", match->rule, "segments", describe_segments(group, options->more_masks));
    json_object_update(phrase, more);
    json_decref(more);
}

static json_t *judge_answer(const void *data, int64_t index, const Judge *judge,
                            const Answer *answer, Error *error) {
    const InstanceItems *items = data;
    const CocoAnnotations *annotations = &items->annotations;
    Judging judging = {.items = items, .judge = judge, .image = items->images[index]};
    const CocoImage *image = &annotations->images[judging.image];
    size_t n = (size_t)image->num_annotations;
    CocoMask *masks = checked_malloc((n + 1) * sizeof *masks);
    judging.error = error;
    judging.present = checked_calloc((size_t)annotations->num_categories + 1, sizeof(bool));
    for (int a = 0; a < image->num_annotations; a++) {
        const CocoAnnotation *annotation = &annotations->annotations[image->first_annotation + a];
        masks[a] = annotation->mask;
        judging.present[annotation->category] = true;
    }
    const ChunkRules rules = {names_category, add_category, &judging};
    json_t *phrases = judge_chunks(judge, answer, masks, image->num_annotations, &rules, error);
    free(judging.present);
    free(masks);
    if (phrases && !judging.has_failed) return json_pack("{s:o}", "phrases", phrases);
    json_decref(phrases);
    return NULL;
}

// ---- showing

static bool show_answer(const void *data, int64_t index, const EvaluationOptions *options,
                        const Answer *answer, const json_t *verdict, ShownVerdict *shown,
                        Error *error) {
    const InstanceItems *items = data;
    const json_t *phrases = json_object_get(verdict, "phrases");
    (void)options;
    shown->figure = shown_hit_rate(shown);
    for (int i = 0; answer && i < shown->count; i++) {
        const json_t *of = json_array_get(phrases, (size_t)i);
        int category = (int)verdict_number(of, "category_index");
        if (category < 0 || category >= items->annotations.num_categories)
            return error_set(error, "a verdict names category %d of %d", category,
                             items->annotations.num_categories);
        CocoMask truth;
        coco_category_truth(&items->annotations, items->images[index], category, &truth);
        shown_truth(&shown->phrases[i], truth, items->annotations.category_names[category], true);
        if (!shown_tokens_of_root(&shown->phrases[i], answer, of, error)) return false;
    }
    return true;
}

// ---- figures

/// What an evaluation of detections refers to.
typedef struct Detections {
    CocoTruth *truths;
    CocoDetection *detections;
    CocoMask *masks;
    int num_truths, num_detections;
    CocoEvaluation *evaluation;
    CocoFigureOf figures[COCO_NUM_FIGURES];
} Detections;

static void free_detections(void *memory) {
    Detections *detections = memory;
    coco_evaluation_free(detections->evaluation);
    for (int i = 0; i < detections->num_detections; i++) coco_mask_free(&detections->masks[i]);
    free(detections->truths);
    free(detections->detections);
    free(detections->masks);
    free(detections);
}

static void add_truths(const InstanceItems *items, int unit, Detections *detections) {
    const CocoAnnotations *annotations = &items->annotations;
    const CocoImage *image = &annotations->images[items->images[unit]];
    for (int a = 0; a < image->num_annotations; a++) {
        const CocoAnnotation *annotation = &annotations->annotations[image->first_annotation + a];
        detections->truths[detections->num_truths++] = (CocoTruth){.image = unit,
                                                                   .category = annotation->category,
                                                                   .area = annotation->area,
                                                                   .is_crowd = annotation->is_crowd,
                                                                   .mask = &annotation->mask};
    }
}

static void add_detections(const json_t *phrase, int unit, Detections *detections) {
    const json_t *segments = json_object_get(phrase, "segments");
    size_t i;
    json_t *segment;
    json_array_foreach((json_t *)segments, i, segment) {
        CocoMask mask;
        if (!verdict_mask(segment, &mask)) continue;
        int number = detections->num_detections++;
        size_t count = (size_t)number + 1;
        detections->masks = checked_realloc(detections->masks, count * sizeof(CocoMask));
        detections->detections =
            checked_realloc(detections->detections, count * sizeof(CocoDetection));
        detections->masks[number] = mask;
        detections->detections[number] =
            (CocoDetection){.image = unit,
                            .category = (int)verdict_number(phrase, "category_index"),
                            .score = verdict_number(segment, "score")};
    }
}

static Detections *detections_of(const InstanceItems *items, json_t *const *verdicts,
                                 int64_t count) {
    Detections *of = checked_calloc(1, sizeof *of);
    of->truths = checked_calloc((size_t)items->annotations.num_annotations + 1, sizeof *of->truths);
    for (int i = 0; i < count; i++) {
        size_t at;
        json_t *phrase;
        add_truths(items, i, of);
        json_array_foreach(json_object_get(verdicts[i], "phrases"), at, phrase)
            add_detections(phrase, i, of);
    }
    for (int d = 0; d < of->num_detections; d++) of->detections[d].mask = &of->masks[d];
    of->evaluation =
        coco_evaluation_new(COCO_SEGM, of->truths, of->num_truths, of->detections,
                            of->num_detections, (int)count, items->annotations.num_categories);
    return of;
}

static void add_coco_figures(Figures *figures, Detections *detections) {
    static const struct {
        const char *name;
        CocoFigure figure;
    } FIGURES[] = {{"ap", COCO_AP}, {"ap50", COCO_AP50}, {"ar", COCO_AR_100}};
    for (size_t f = 0; f < sizeof FIGURES / sizeof *FIGURES; f++) {
        detections->figures[f] = (CocoFigureOf){detections->evaluation, -1, FIGURES[f].figure};
        figures_add(figures, FIGURES[f].name, coco_evaluation_figure, &detections->figures[f]);
    }
    figures_own(figures, detections, free_detections);
}

static bool measure(const void *data, const EvaluationOptions *options, json_t *const *verdicts,
                    int64_t count, Figures *figures, Error *error) {
    (void)options, (void)error;
    free(figures_begin_by_image(figures, &TASK_INSTANCES, data, count)); // an item is an image
    Detections *detections = detections_of(data, verdicts, count);
    add_coco_figures(figures, detections);
    // as published every detection counts its point; beside it every phrase once
    double(*by_detection)[2] = figures_add_ratio(figures, "point_accuracy");
    PointFigures by_phrase = point_figures_begin(figures, "point_accuracy_by_phrase");
    double phrases = 0;
    for (int64_t i = 0; i < count; i++) {
        size_t at;
        json_t *phrase;
        json_array_foreach(json_object_get(verdicts[i], "phrases"), at, phrase) {
            double segments = (double)json_array_size(json_object_get(phrase, "segments"));
            by_detection[i][0] += segments * verdict_number(phrase, "hit");
            by_detection[i][1] += segments;
            point_figures_count(&by_phrase, (int)i, phrase);
            phrases++;
        }
    }
    figures_remark(figures, "images", (double)count);
    figures_remark(figures, "phrases", phrases);
    figures_remark(figures, "detections", detections->num_detections);
    return true;
}

/// COCO's results: [{"image_id", "category_id", "segmentation", "score"}].
static bool publish(const void *data, json_t *const *verdicts, int64_t count, const char *folder,
                    Error *error) {
    const CocoAnnotations *annotations = &((const InstanceItems *)data)->annotations;
    json_t *results = json_array();
    for (int64_t i = 0; i < count; i++) {
        size_t at, s;
        json_t *phrase, *segment;
        json_array_foreach(json_object_get(verdicts[i], "phrases"), at, phrase)
            json_array_foreach(json_object_get(phrase, "segments"), s, segment) {
                int category = (int)verdict_number(phrase, "category_index");
                json_array_append_new(
                    results,
                    json_pack("{s:o, s:o, s:O, s:O}", "image_id",
                              json_published_id(
                                  json_string_value(json_object_get(verdicts[i], "image_id"))),
                              "category_id", json_published_id(annotations->category_ids[category]),
                              "segmentation", json_object_get(segment, "mask"), "score",
                              json_object_get(segment, "score")));
            }
    }
    return publish_json(folder, "instances_results.json", results, error);
}

const Task TASK_INSTANCES = {
    .name = "instances",
    .summary = "COCO instance segmentation of what answers name: AP, AP50, AR and point accuracy",
    .files = "eval.annotations: COCO instances JSON",
    .lists_images = true,
    .prompt = "Describe the image in detail.",
    .max_new_tokens = 512,
    .row = ATTENTION_PRODUCING_ROW,
    .reduction = REDUCE_MEAN,
    .looks = true,
    .finds_phrases = true,
    .open = open_instances,
    .close = close_instances,
    .count = count_images,
    .item = item_of_image,
    .judge = judge_answer,
    .show = show_answer,
    .shown_as = "A phrase's truth, and what its IoU is with, is all that the image has of its "
                "category. An answer's figure is the share of its points that hit.",
    .measure = measure,
    .publish = publish,
};
