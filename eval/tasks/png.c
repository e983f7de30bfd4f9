// Panoptic narratives: the annotated text is read by the model, not generated; every utterance that
// names segments gives a point, the point a mask, and masks are compared with the segments.
#include "eval/annotations/narratives.h"
#include "eval/metrics/average_recall.h"
#include "eval/tasks/showing.h"
#include "eval/tasks/tasks.h"

#include <stdlib.h>

typedef struct NarrativeItems {
    PanopticAnnotations panoptic;
    Narratives narratives;
    /// of narratives, by image
    int *order;
    /// [narratives.count] the texts of its utterances
    const char ***texts;
    const char *maps_folder;
} NarrativeItems;

static int image_of(const void *data, int narrative) {
    return ((const NarrativeItems *)data)->narratives.items[narrative].image;
}

static void close_narratives(void *data) {
    NarrativeItems *items = data;
    for (int n = 0; items->texts && n < items->narratives.count; n++) free(items->texts[n]);
    free(items->texts);
    free(items->order);
    narratives_free(&items->narratives);
    panoptic_annotations_free(&items->panoptic);
    free(items);
}

static void *open_narratives(const EvaluationOptions *options, Error *error) {
    NarrativeItems *items = checked_calloc(1, sizeof *items);
    items->maps_folder = options->masks;
    if (!panoptic_annotations_read(options->segments, &items->panoptic, error) ||
        !narratives_read(options->annotations, &items->panoptic, &items->narratives, error)) {
        close_narratives(items);
        return NULL;
    }
    const Narratives *narratives = &items->narratives;
    items->order =
        task_order_by_image(narratives->count, items->panoptic.num_images, image_of, items);
    items->texts = checked_calloc((size_t)narratives->count + 1, sizeof *items->texts);
    for (int n = 0; n < narratives->count; n++) {
        const Narrative *narrative = &narratives->items[n];
        items->texts[n] =
            checked_calloc((size_t)narrative->num_utterances + 1, sizeof *items->texts[n]);
        for (int u = 0; u < narrative->num_utterances; u++)
            items->texts[n][u] = narrative->utterances[u].text;
    }
    return items;
}

static int64_t count_narratives(const void *data) {
    return ((const NarrativeItems *)data)->narratives.count;
}

static void item_of_narrative(const void *data, int64_t index, TaskItem *item) {
    const NarrativeItems *items = data;
    int n = items->order[index];
    const Narrative *narrative = &items->narratives.items[n];
    const PanopticImage *image = &items->panoptic.images[narrative->image];
    snprintf(item->id, sizeof item->id, "%.48s-%d", image->id, n);
    snprintf(item->published_name, sizeof item->published_name, "%012d", n);
    item->image = narrative->image;
    item->image_id = image->id;
    item->file_name = image->file_name;
    item->height = image->height;
    item->width = image->width;
    item->utterances = items->texts[n];
    item->num_utterances = narrative->num_utterances;
}

// ---- judging

/// The image's segments, each as a mask.
static CocoMask *segment_masks(const PanopticImage *image, const PanopticMap *map) {
    CocoMask *masks = checked_calloc((size_t)image->num_segments + 1, sizeof *masks);
    for (int s = 0; s < image->num_segments; s++)
        masks[s] = panoptic_map_mask(map, &image->segments[s].id, 1);
    return masks;
}

static json_t *judge_utterance(const NarrativeItems *items, const Narrative *narrative,
                               const Utterance *utterance, const Answer *answer, TokenRange range,
                               const PanopticMap *map, const JudgedGroup *group) {
    CocoMask truth = panoptic_map_mask(map, utterance->segment_ids, utterance->num_segments);
    double iou = group->segments.count ? coco_mask_iou(&group->segments.items[0].mask, &truth) : 0;
    UtteranceKind by_segments =
        utterance_kind(utterance, &items->panoptic, narrative->image, PLURAL_BY_SEGMENTS);
    json_t *verdict = verdict_phrase(answer, answer->token_begin[range.begin],
                                     answer->token_end[range.end - 1], group);
    json_t *more =
        json_pack("{s:f, s:b, s:b, s:b}", "iou", iou, "thing", by_segments.is_thing, "plural",
                  by_segments.is_plural, "flagged_plural", utterance->is_plural);
    verdict_add_point(verdict, &truth, &group->pointing.point);
    json_object_update(verdict, more);
    json_decref(more);
    coco_mask_free(&truth);
    return verdict;
}

/// The tokens of an utterance that is judged; none of one that names no segment.
static int tokens_of_utterance(const Narrative *narrative, const Answer *answer, int utterance,
                               int *tokens) {
    TokenRange range = answer->utterances[utterance];
    if (!narrative->utterances[utterance].num_segments) return 0;
    for (int t = range.begin; t < range.end; t++) tokens[t - range.begin] = t;
    return range.end - range.begin;
}

static json_t *judge_answer(const void *data, int64_t index, const Judge *judge,
                            const Answer *answer, Error *error) {
    const NarrativeItems *items = data;
    const Narrative *narrative = &items->narratives.items[items->order[index]];
    const PanopticImage *image = &items->panoptic.images[narrative->image];
    PanopticMap map;
    if (answer->num_utterances != narrative->num_utterances) {
        error_set(error, "the stored answer to narrative %lld has %d utterances, its annotation %d",
                  (long long)index, answer->num_utterances, narrative->num_utterances);
        return NULL;
    }
    if (!panoptic_map_read_annotated(items->maps_folder, image, &map, error)) return NULL;
    CocoMask *masks = segment_masks(image, &map);
    ReadAnswer read = answer_read(answer, &judge->options->grounding);
    int *tokens = checked_malloc(((size_t)answer->num_tokens + 1) * sizeof *tokens);
    json_t *phrases = json_array();
    bool ok = true;
    for (int u = 0; u < narrative->num_utterances; u++) {
        int count = tokens_of_utterance(narrative, answer, u, tokens);
        if (count) read_answer_note_group(&read, tokens, count);
    }
    for (int u = 0; ok && u < narrative->num_utterances; u++) {
        TokenRange range = answer->utterances[u];
        int count = tokens_of_utterance(narrative, answer, u, tokens);
        JudgedGroup group;
        if (!count) continue;
        ok = judge_tokens(judge, &read, tokens, count, masks, image->num_segments, &group, error);
        if (!ok) break;
        json_t *phrase = judge_utterance(items, narrative, &narrative->utterances[u], answer, range,
                                         &map, &group);
        json_object_set_new(phrase, "utterance", json_integer(u));
        json_array_append_new(phrases, phrase);
        judged_group_free(&group);
    }
    for (int s = 0; s < image->num_segments; s++) coco_mask_free(&masks[s]);
    free(masks);
    free(tokens);
    read_answer_free(&read);
    panoptic_map_free(&map);
    json_t *verdict = json_pack("{s:o}", "phrases", phrases);
    if (ok) return verdict;
    json_decref(verdict);
    return NULL;
}

// ---- showing

static bool show_phrase(const NarrativeItems *items, const Narrative *narrative,
                        const PanopticMap *map, const Answer *answer, const json_t *verdict,
                        ShownPhrase *phrase, Error *error) {
    const PanopticImage *image = &items->panoptic.images[narrative->image];
    int u = (int)verdict_number(verdict, "utterance");
    if (u < 0 || u >= narrative->num_utterances || u >= answer->num_utterances)
        return error_set(error, "a verdict is about utterance %d of %d", u,
                         narrative->num_utterances);
    const Utterance *utterance = &narrative->utterances[u];
    TokenRange range = answer->utterances[u];
    for (int t = range.begin; t < range.end; t++) phrase->tokens[phrase->num_tokens++] = t;
    const PanopticSegment *segment =
        utterance->num_segments ? panoptic_find_segment(image, utterance->segment_ids[0]) : NULL;
    const char *category = segment ? items->panoptic.categories[segment->category].name : NULL;
    shown_truth(phrase, panoptic_map_mask(map, utterance->segment_ids, utterance->num_segments),
                category, false);
    phrase->category = category ? checked_strdup(category) : NULL;
    return true;
}

static bool show_answer(const void *data, int64_t index, const EvaluationOptions *options,
                        const Answer *answer, const json_t *verdict, ShownVerdict *shown,
                        Error *error) {
    const NarrativeItems *items = data;
    const Narrative *narrative = &items->narratives.items[items->order[index]];
    const PanopticImage *image = &items->panoptic.images[narrative->image];
    const json_t *phrases = json_object_get(verdict, "phrases");
    PanopticMap map;
    (void)options;
    shown->figure = shown_mean_iou(shown);
    if (!answer) return true;
    if (!panoptic_map_read_annotated(items->maps_folder, image, &map, error)) return false;
    bool ok = true;
    for (int i = 0; ok && i < shown->count; i++)
        ok = show_phrase(items, narrative, &map, answer, json_array_get(phrases, (size_t)i),
                         &shown->phrases[i], error);
    panoptic_map_free(&map);
    return ok;
}

// ---- predictions

static json_t *segment_of(const Utterance *utterance) {
    json_t *ids = json_array();
    for (int s = 0; s < utterance->num_segments; s++)
        json_array_append_new(ids, json_sprintf("%u", utterance->segment_ids[s]));
    return json_pack("{s:s, s:o, s:b, s:b}", "utterance", utterance->text, "segment_ids", ids,
                     "plural", utterance->is_plural, "noun", utterance->is_noun);
}

/// The annotations as groundLMM writes them back: "iou", "isthing" and the mask, "pd_mask", of
/// every utterance that names segments.
static bool publish(const void *data, json_t *const *verdicts, int64_t count, const char *folder,
                    Error *error) {
    const NarrativeItems *items = data;
    json_t *predictions = json_array();
    for (int64_t i = 0; i < count; i++) {
        const Narrative *narrative = &items->narratives.items[items->order[i]];
        json_t *segments = json_array(), *phrase;
        size_t at;
        for (int u = 0; u < narrative->num_utterances; u++)
            json_array_append_new(segments, segment_of(&narrative->utterances[u]));
        json_array_foreach(json_object_get(verdicts[i], "phrases"), at, phrase) {
            json_t *segment = json_array_get(segments, (size_t)verdict_number(phrase, "utterance"));
            json_object_set(segment, "iou", json_object_get(phrase, "iou"));
            json_object_set(segment, "isthing", json_object_get(phrase, "thing"));
            json_object_set(segment, "pd_mask", json_object_get(phrase, "mask"));
        }
        json_array_append_new(predictions,
                              json_pack("{s:s, s:s, s:o}", "image_id",
                                        items->panoptic.images[narrative->image].id, "caption",
                                        narrative->caption, "segments", segments));
    }
    return publish_json(folder, "png_predictions.json", predictions, error);
}

// ---- figures

/// Overlaps of all phrases; things and plurals as the options say.
static PhraseOverlap *overlaps_of(json_t *const *verdicts, const int *units, int64_t count,
                                  bool by_flag, int *num_phrases) {
    PhraseOverlap *overlaps = NULL;
    *num_phrases = 0;
    for (int64_t i = 0; i < count; i++) {
        const json_t *phrases = json_object_get(verdicts[i], "phrases");
        size_t at;
        json_t *phrase;
        overlaps = checked_realloc(overlaps, ((size_t)*num_phrases + json_array_size(phrases) + 1) *
                                                 sizeof *overlaps);
        json_array_foreach((json_t *)phrases, at, phrase) {
            const char *plural = by_flag ? "flagged_plural" : "plural";
            overlaps[(*num_phrases)++] = (PhraseOverlap){units[i], verdict_number(phrase, "iou"),
                                                         verdict_number(phrase, "thing") != 0,
                                                         verdict_number(phrase, plural) != 0};
        }
    }
    return overlaps;
}

static void add_recalls(Figures *figures, const PhraseOverlap *overlaps, int count,
                        bool as_published) {
    for (PhraseSubset subset = 0; subset < NUM_PHRASE_SUBSETS; subset++) {
        PhraseOverlaps *context = checked_malloc(sizeof *context);
        *context = (PhraseOverlaps){overlaps, count, subset};
        char *name = format_string("average_recall_%s", PHRASE_SUBSET_NAMES[subset]);
        figures_own(figures, context, free);
        figures_add(figures, name, as_published ? average_recall_published : average_recall,
                    context);
        free(name);
    }
    const PhraseOverlaps all = {overlaps, count, PHRASES_ALL};
    figures_remark(figures, "published_sum_less_exact",
                   count ? average_recall_published(&all, NULL) - average_recall(&all, NULL) : 0);
}

static bool measure(const void *data, const EvaluationOptions *options, json_t *const *verdicts,
                    int64_t count, Figures *figures, Error *error) {
    (void)error;
    int *units = figures_begin_by_image(figures, &TASK_PNG, data, count), num_phrases;
    PhraseOverlap *overlaps =
        overlaps_of(verdicts, units, count, options->plural_by_flag, &num_phrases);
    figures_own(figures, overlaps, free);
    add_recalls(figures, overlaps, num_phrases, options->as_published);
    PointFigures points = point_figures_begin(figures, "point_accuracy");
    for (int64_t i = 0; i < count; i++) {
        size_t at;
        json_t *phrase;
        json_array_foreach(json_object_get(verdicts[i], "phrases"), at, phrase)
            point_figures_count(&points, units[i], phrase);
    }
    figures_remark(figures, "images", figures->num_units);
    figures_remark(figures, "narratives", (double)count);
    figures_remark(figures, "phrases", num_phrases);
    free(units);
    return true;
}

const Task TASK_PNG = {
    .name = "png",
    .summary =
        "panoptic narratives, read by the model: average recall of what each phrase looks at",
    .files = "eval.annotations: png_coco_val2017.json; eval.segments: panoptic_val2017.json; "
             "eval.masks: the folder panoptic_val2017",
    .reads_masks = true,
    .reads_segments = true,
    .prompt = "Describe the image in detail.",
    .max_new_tokens = 512,
    .row = ATTENTION_OWN_ROW,
    .reduction = REDUCE_FIRST,
    .looks = true,
    .open = open_narratives,
    .close = close_narratives,
    .count = count_narratives,
    .item = item_of_narrative,
    .judge = judge_answer,
    .show = show_answer,
    .shown_as = "A phrase's truth is what it names, with the first of these segments' category. An "
                "answer's figure is the mean IoU.",
    .measure = measure,
    .publish = publish,
};
