// Point accuracy: every noun of an answer that names a category gives a point, which is counted
// against the masks of that category. The quickest health check of emergent grounding.
#include "data/coco_annotations.h"
#include "eval/tasks/showing.h"
#include "eval/tasks/tasks.h"

#include <stdlib.h>
#include <string.h>

static void close_points(void *data) {
    coco_annotations_free(data);
    free(data);
}

static void *open_points(const EvaluationOptions *options, Error *error) {
    CocoAnnotations *annotations = checked_calloc(1, sizeof *annotations);
    if (!coco_annotations_read(options->annotations, annotations, error)) {
        free(annotations);
        return NULL;
    }
    // else the accuracy would be 0 whatever the model does
    if (annotations->num_annotations > 0) return annotations;
    error_set(error,
              "%s: none of the %d images has an annotation (those with iscrowd: 1 are left out); "
              "there is nothing to evaluate against",
              options->annotations, annotations->num_images);
    close_points(annotations);
    return NULL;
}

static int64_t count_images(const void *data) {
    return ((const CocoAnnotations *)data)->num_images;
}

static void item_of_image(const void *data, int64_t index, TaskItem *item) {
    const CocoImage *image = &((const CocoAnnotations *)data)->images[index];
    snprintf(item->id, sizeof item->id, "%.60s", image->id);
    item->image = index;
    item->image_id = image->id;
    item->file_name = image->file_name;
    item->height = image->height;
    item->width = image->width;
}

static json_t *judge_noun(const CocoAnnotations *annotations, int image, const Answer *answer,
                          const Phrase *phrase, const JudgedGroup *group) {
    CocoMask truth;
    bool present = coco_category_truth(annotations, image, phrase->category, &truth);
    double iou = group->segments.count ? coco_mask_iou(&group->segments.items[0].mask, &truth) : 0;
    json_t *verdict = verdict_phrase(answer, phrase->begin, phrase->end, group);
    verdict_add_point(verdict, &truth, &group->pointing.point);
    json_object_set_new(verdict, "category",
                        json_string(annotations->category_names[phrase->category]));
    json_object_set_new(verdict, "present", json_boolean(present));
    json_object_set_new(verdict, "iou", json_real(iou));
    coco_mask_free(&truth);
    return verdict;
}

/// The image's masks, for the segmenter that takes the true one.
static CocoMask *masks_of(const CocoAnnotations *annotations, int image, int *count) {
    const CocoImage *of = &annotations->images[image];
    CocoMask *masks = checked_calloc((size_t)of->num_annotations + 1, sizeof *masks);
    for (int i = 0; i < of->num_annotations; i++)
        masks[i] = annotations->annotations[of->first_annotation + i].mask;
    *count = of->num_annotations;
    return masks;
}

static json_t *judge_answer(const void *data, int64_t index, const Judge *judge,
                            const Answer *answer, Error *error) {
    const CocoAnnotations *annotations = data;
    PhraseList found = phrases_find(answer->text, (const char *const *)annotations->category_names,
                                    annotations->num_categories);
    ReadAnswer read = answer_read(answer, &judge->options->grounding);
    int *tokens = checked_malloc(((size_t)answer->num_tokens + 1) * sizeof *tokens), num_truth;
    CocoMask *truth = masks_of(annotations, (int)index, &num_truth);
    json_t *phrases = json_array();
    bool ok = true;
    for (int i = 0; i < found.count; i++) {
        const Phrase *phrase = &found.items[i];
        int count = tokens_overlapping(answer, phrase->noun_begin, phrase->noun_end, tokens);
        if (count) read_answer_note_group(&read, tokens, count);
    }
    for (int i = 0; ok && i < found.count; i++) {
        const Phrase *phrase = &found.items[i];
        int count = tokens_overlapping(answer, phrase->noun_begin, phrase->noun_end, tokens);
        JudgedGroup group;
        if (!count) continue;
        ok = judge_tokens(judge, &read, tokens, count, truth, num_truth, &group, error);
        if (!ok) break;
        json_array_append_new(phrases, judge_noun(annotations, (int)index, answer, phrase, &group));
        judged_group_free(&group);
    }
    free(truth);
    free(tokens);
    read_answer_free(&read);
    phrases_free(&found);
    json_t *verdict = json_pack("{s:o}", "phrases", phrases);
    if (ok) return verdict;
    json_decref(verdict);
    return NULL;
}

// ---- showing

/// The nouns of an answer, which verdicts do not say, are found again.
static void find_nouns(const CocoAnnotations *annotations, const Answer *answer,
                       ShownVerdict *shown) {
    PhraseList found = phrases_find(answer->text, (const char *const *)annotations->category_names,
                                    annotations->num_categories);
    for (int i = 0, n = 0; i < shown->count; i++) {
        ShownPhrase *phrase = &shown->phrases[i];
        while (n < found.count &&
               (found.items[n].begin != phrase->begin || found.items[n].end != phrase->end))
            n++;
        if (n == found.count) break;
        shown_tokens_of(phrase, answer, found.items[n].noun_begin, found.items[n].noun_end);
    }
    phrases_free(&found);
}

static bool show_answer(const void *data, int64_t index, const EvaluationOptions *options,
                        const Answer *answer, const json_t *verdict, ShownVerdict *shown,
                        Error *error) {
    (void)options, (void)verdict, (void)error;
    const CocoAnnotations *annotations = data;
    shown->figure = shown_hit_rate(shown);
    if (!answer) return true;
    find_nouns(annotations, answer, shown);
    for (int i = 0; i < shown->count; i++) {
        ShownPhrase *phrase = &shown->phrases[i];
        for (int c = 0; c < annotations->num_categories; c++) {
            if (!phrase->category || strcmp(annotations->category_names[c], phrase->category) != 0)
                continue;
            CocoMask truth;
            coco_category_truth(annotations, (int)index, c, &truth);
            shown_truth(phrase, truth, phrase->category, false);
            break;
        }
    }
    return true;
}

static bool measure(const void *data, const EvaluationOptions *options, json_t *const *verdicts,
                    int64_t count, Figures *figures, Error *error) {
    (void)data, (void)options, (void)error;
    figures_begin(figures, (int)count);
    PointFigures points = point_figures_begin(figures, "point_accuracy");
    double(*of_all)[2] = figures_add_ratio(figures, "point_accuracy_of_all_nouns");
    double(*precision)[2] = figures_add_ratio(figures, "noun_precision");
    double(*iou)[2] = figures_add_ratio(figures, "mean_iou");
    double nouns = 0, present_nouns = 0;
    for (int64_t i = 0; i < count; i++) {
        size_t at;
        json_t *phrase;
        figures_name_unit(figures, (int)i,
                          json_string_value(json_object_get(verdicts[i], "image_id")));
        json_array_foreach(json_object_get(verdicts[i], "phrases"), at, phrase) {
            bool present = json_is_true(json_object_get(phrase, "present"));
            of_all[i][0] += present ? verdict_number(phrase, "hit") : 0;
            precision[i][0] += present;
            of_all[i][1]++;
            precision[i][1]++;
            nouns++;
            present_nouns += present;
            if (!present) continue;
            point_figures_count(&points, (int)i, phrase);
            iou[i][0] += verdict_number(phrase, "iou");
            iou[i][1]++;
        }
    }
    figures_remark(figures, "images", (double)count);
    figures_remark(figures, "nouns", nouns);
    figures_remark(figures, "present", present_nouns);
    return true;
}

const Task TASK_POINTS = {
    .name = "points",
    .summary = "share of attention points that fall inside an object of the category named",
    .files = "eval.annotations: COCO instances JSON",
    .lists_images = true,
    .prompt = "Describe the image in detail.",
    .max_new_tokens = 512,
    .row = ATTENTION_PRODUCING_ROW,
    .reduction = REDUCE_MEAN,
    .looks = true,
    .open = open_points,
    .close = close_points,
    .count = count_images,
    .item = item_of_image,
    .judge = judge_answer,
    .show = show_answer,
    .shown_as =
        "A noun's truth is all that the image has of its category; a noun whose category is "
        "not in the image misses. An answer's figure is the share of its points that hit.",
    .measure = measure,
};
