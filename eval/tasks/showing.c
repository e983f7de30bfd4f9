#include "eval/tasks/showing.h"

#include <limits.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

static char *text_of(const json_t *object, const char *key) {
    const char *text = json_string_value(json_object_get(object, key));
    return text ? checked_strdup(text) : NULL;
}

static int hit_of(const json_t *object) {
    const json_t *hit = json_object_get(object, "hit");
    return json_is_boolean(hit) ? json_is_true(hit) : -1;
}

/// -1 for what no byte and no pixel has as its number.
static int place_of(const json_t *value) {
    json_int_t place = json_integer_value(value);
    return place >= 0 && place <= INT_MAX ? (int)place : -1;
}

/// What the verdict itself says of a phrase.
static ShownPhrase phrase_of(const json_t *verdict, int num_tokens) {
    const json_t *point = json_object_get(verdict, "point"), *iou = json_object_get(verdict, "iou");
    ShownPhrase phrase = {.begin = place_of(json_object_get(verdict, "begin")),
                          .end = place_of(json_object_get(verdict, "end")),
                          .tokens = checked_calloc((size_t)num_tokens + 1, sizeof(int)),
                          .category = text_of(verdict, "category"),
                          .hit = hit_of(verdict),
                          .iou = json_is_number(iou) ? json_number_value(iou) : (double)NAN};
    phrase.point = (Point){place_of(json_array_get(point, 1)), place_of(json_array_get(point, 0))};
    phrase.has_mask = verdict_mask(verdict, &phrase.mask);
    return phrase;
}

/// answer NULL: as far as can be said without it.
static bool fits(const ShownPhrase *phrase, const Answer *answer) {
    if (phrase->begin < 0 || phrase->begin > phrase->end || phrase->point.row < 0 ||
        phrase->point.column < 0)
        return false;
    if (!answer) return true;
    int length = (int)strlen(answer->text), height = answer->image_height,
        width = answer->image_width;
    bool mask = !phrase->has_mask || (phrase->mask.height == height && phrase->mask.width == width);
    return mask && phrase->end <= length && phrase->point.row < height &&
           phrase->point.column < width;
}

/// The verdict is about that answer.
static bool is_about(const json_t *verdict, const ShownVerdict *shown, const Answer *answer,
                     Error *error) {
    const char *id = json_string_value(json_object_get(verdict, "id")),
               *text = json_string_value(json_object_get(verdict, "answer"));
    bool ok = !answer || (text && !strcmp(text, answer->text));
    for (int i = 0; ok && i < shown->count; i++) ok = fits(&shown->phrases[i], answer);
    return ok || error_set(error, "the verdict about item %s is not about the stored answer",
                           id ? id : "?");
}

bool verdict_show(const Task *task, const void *data, int64_t index,
                  const EvaluationOptions *options, const Answer *answer, const json_t *verdict,
                  ShownVerdict *shown, Error *error) {
    const json_t *phrases = json_object_get(verdict, "phrases");
    size_t count = json_array_size(phrases);
    int num_tokens = answer ? answer->num_tokens : 0;
    // one more: what was asked about is shown even if the answer points nowhere
    *shown = (ShownVerdict){.phrases = checked_calloc(count + 1, sizeof *shown->phrases),
                            .reduction = options->grounding.reduction,
                            .figure = (double)NAN};
    for (size_t i = 0; i < count; i++)
        shown->phrases[shown->count++] = phrase_of(json_array_get(phrases, i), num_tokens);
    bool ok = is_about(verdict, shown, answer, error) &&
              (!task->show || task->show(data, index, options, answer, verdict, shown, error));
    if (!ok) shown_verdict_free(shown);
    return ok;
}

void shown_verdict_free(ShownVerdict *shown) {
    for (int i = 0; i < shown->count; i++) {
        ShownPhrase *phrase = &shown->phrases[i];
        free(phrase->name);
        free(phrase->tokens);
        free(phrase->truth_name);
        free(phrase->category);
        if (phrase->has_mask) coco_mask_free(&phrase->mask);
        if (phrase->has_truth) coco_mask_free(&phrase->truth);
    }
    free(shown->phrases);
    *shown = (ShownVerdict){0};
}

// ---- for tasks

void shown_tokens_of(ShownPhrase *phrase, const Answer *answer, int begin, int end) {
    phrase->num_tokens = tokens_overlapping(answer, begin, end, phrase->tokens);
}

bool shown_tokens_of_root(ShownPhrase *phrase, const Answer *answer, const json_t *verdict_phrase,
                          Error *error) {
    const json_t *root = json_object_get(verdict_phrase, "root");
    if (json_array_size(root) != 2)
        return error_set(error, "a phrase's verdict does not say its root word");
    shown_tokens_of(phrase, answer, (int)json_integer_value(json_array_get(root, 0)),
                    (int)json_integer_value(json_array_get(root, 1)));
    return true;
}

void shown_truth(ShownPhrase *phrase, CocoMask truth, const char *name, bool with_iou) {
    phrase->truth = truth;
    phrase->has_truth = coco_mask_area(&truth) > 0;
    phrase->truth_name = name ? checked_strdup(name) : NULL;
    bool is_inside = phrase->point.row < truth.height && phrase->point.column < truth.width;
    if (phrase->hit < 0)
        phrase->hit =
            is_inside && coco_mask_contains(&truth, phrase->point.row, phrase->point.column);
    if (with_iou && phrase->has_mask && phrase->mask.height == truth.height &&
        phrase->mask.width == truth.width)
        phrase->iou = coco_mask_iou(&phrase->mask, &truth);
    if (!phrase->has_truth) coco_mask_free(&phrase->truth);
}

double shown_mean_iou(const ShownVerdict *shown) {
    double sum = 0, known = 0;
    for (int i = 0; i < shown->count; i++) {
        if (!isfinite(shown->phrases[i].iou)) continue;
        sum += shown->phrases[i].iou;
        known++;
    }
    return known > 0 ? sum / known : (double)NAN;
}

double shown_hit_rate(const ShownVerdict *shown) {
    double sum = 0, known = 0;
    for (int i = 0; i < shown->count; i++) {
        if (shown->phrases[i].hit < 0) continue;
        sum += shown->phrases[i].hit;
        known++;
    }
    return known > 0 ? sum / known : (double)NAN;
}
