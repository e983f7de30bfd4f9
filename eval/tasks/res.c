// Referring expressions: every sentence is put to the model, a token's attention gives a point, the
// point a mask, and masks are compared with the object that is meant.
#include "eval/annotations/referring.h"
#include "eval/metrics/referring_iou.h"
#include "eval/tasks/showing.h"
#include "eval/tasks/tasks.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

enum { FIRST_TOKENS = 8 };

/// Expressions in the order of their images, so that an image is seen once.
typedef struct ReferringItems {
    ReferringExpressions all;
    /// [count] indices into all.expressions
    int *order;
    int count;
} ReferringItems;

static int image_of(const void *data, int expression) {
    const ReferringItems *items = data;
    return items->all.objects[items->all.expressions[expression].object].image;
}

static void *open_expressions(const EvaluationOptions *options, Error *error) {
    ReferringItems *items = checked_calloc(1, sizeof *items);
    if (!referring_read(options->annotations, NULL, options->split ? options->split : "val",
                        &items->all, error)) {
        free(items);
        return NULL;
    }
    int all = items->all.num_expressions;
    items->order = task_order_by_image(all, items->all.num_images, image_of, items);
    for (int i = 0; i < all; i++)
        if (options->sentences == SENTENCES_ALL ||
            items->all.expressions[items->order[i]].sentence == 0)
            items->order[items->count++] = items->order[i];
    return items;
}

static void close_expressions(void *data) {
    ReferringItems *items = data;
    referring_free(&items->all);
    free(items->order);
    free(items);
}

static int64_t count_expressions(const void *data) { return ((const ReferringItems *)data)->count; }

static const ReferringExpression *expression_at(const ReferringItems *items, int64_t index) {
    return &items->all.expressions[items->order[index]];
}

static void item_of_expression(const void *data, int64_t index, TaskItem *item) {
    const ReferringItems *items = data;
    const ReferringExpression *expression = expression_at(items, index);
    int image = items->all.objects[expression->object].image;
    const ReferringImage *of = &items->all.images[image];
    snprintf(item->id, sizeof item->id, "%lld-%d", (long long)expression->reference_id,
             expression->sentence);
    snprintf(item->published_name, sizeof item->published_name, "%lld",
             (long long)expression->sentence_id);
    item->image = image;
    item->image_id = of->id;
    item->file_name = of->file_name;
    item->height = of->height;
    item->width = of->width;
    item->expression = expression->text;
}

// ---- which tokens

static bool is_verb(const char *word, size_t length) {
    static const char *const VERBS[] = {"is", "are", "be"};
    for (int i = 0; i < 3; i++)
        if (strlen(VERBS[i]) == length && !strncmp(word, VERBS[i], length)) return true;
    return false;
}

static bool is_letter(char c) { return isalpha((unsigned char)c) || (c & 0x80) || c == '\''; }

/// The token behind the first whole word that is a verb of being, or -1.
static int token_behind_verb(const Answer *answer) {
    const char *text = answer->text;
    for (int at = 0; text[at];) {
        int length = 0;
        while (is_letter(text[at + length])) length++;
        if (is_verb(text + at, (size_t)length)) {
            for (int t = 0; t < answer->num_tokens; t++)
                if (answer->token_begin[t] >= at + length && answer->token_end[t] > at + length)
                    return t;
            return -1;
        }
        at += length ? length : 1;
    }
    return -1;
}

/// As groundLMM does it: every token by itself, without the blanks around it.
static int token_behind_piece(const Answer *answer) {
    for (int t = 0; t + 1 < answer->num_tokens; t++) {
        int begin = answer->token_begin[t], end = answer->token_end[t];
        while (begin < end && isspace((unsigned char)answer->text[begin])) begin++;
        while (end > begin && isspace((unsigned char)answer->text[end - 1])) end--;
        if (is_verb(answer->text + begin, (size_t)(end - begin))) return t + 1;
    }
    return -1;
}

static int choose_tokens(const Answer *answer, ReferringTokens which, int *tokens) {
    if (which == FIRST_EIGHT) {
        int count = 0;
        while (count < answer->num_tokens && count < FIRST_TOKENS) {
            tokens[count] = count;
            count++;
        }
        return count;
    }
    tokens[0] = which == BEHIND_VERB ? token_behind_verb(answer) : token_behind_piece(answer);
    return tokens[0] >= 0;
}

// ---- judging

static json_t *judge_answer(const void *data, int64_t index, const Judge *judge,
                            const Answer *answer, Error *error) {
    const ReferringItems *items = data;
    const ReferringExpression *expression = expression_at(items, index);
    const CocoMask *truth = &items->all.objects[expression->object].mask;
    int64_t area = coco_mask_area(truth), intersection = 0, all = area;
    int tokens[FIRST_TOKENS];
    int count = choose_tokens(answer, judge->options->referring_tokens, tokens);
    json_t *phrases = json_array();
    json_t *verdict = json_object();
    Point point;
    if (count) {
        GroundingOptions how = judge->options->grounding;
        if (judge->options->referring_tokens == FIRST_EIGHT) how.reduction = REDUCE_MAX;
        ReadAnswer read = answer_read(answer, &how);
        JudgedGroup group;
        bool ok = judge_tokens(judge, &read, tokens, count, truth, 1, &group, error);
        read_answer_free(&read);
        if (!ok) {
            json_decref(phrases);
            json_decref(verdict);
            return NULL;
        }
        point = group.pointing.point;
        if (group.segments.count) {
            const CocoMask *mask = &group.segments.items[0].mask;
            intersection = coco_mask_intersection(mask, truth);
            all = area + coco_mask_area(mask) - intersection;
        }
        json_array_append_new(phrases,
                              verdict_phrase(answer, answer->token_begin[tokens[0]],
                                             answer->token_end[tokens[count - 1]], &group));
        judged_group_free(&group);
    }
    verdict_add_point(verdict, truth, count ? &point : NULL);
    json_t *more = json_pack(
        "{s:s, s:I, s:I, s:I, s:I, s:o}", "expression", expression->text, "ref_id",
        (json_int_t)expression->reference_id, "sent_id", (json_int_t)expression->sentence_id,
        "intersection", (json_int_t)intersection, "union", (json_int_t)all, "phrases", phrases);
    json_object_update(verdict, more);
    json_decref(more);
    return verdict;
}

// ---- showing

static bool show_answer(const void *data, int64_t index, const EvaluationOptions *options,
                        const Answer *answer, const json_t *verdict, ShownVerdict *shown,
                        Error *error) {
    const ReferringItems *items = data;
    const ReferringExpression *expression = expression_at(items, index);
    const CocoMask *truth = &items->all.objects[expression->object].mask;
    double intersection = verdict_number(verdict, "intersection"),
           all = verdict_number(verdict, "union");
    (void)error;
    shown->figure = all > 0 ? intersection / all : 0;
    if (!answer) return true;
    if (!shown->count)
        shown->phrases[shown->count++] = (ShownPhrase){.name = checked_strdup(expression->text)};
    ShownPhrase *phrase = &shown->phrases[0];
    int tokens[FIRST_TOKENS];
    int count = choose_tokens(answer, options->referring_tokens, tokens);
    if (phrase->tokens && count) {
        memcpy(phrase->tokens, tokens, (size_t)count * sizeof *tokens);
        phrase->num_tokens = count;
    }
    if (options->referring_tokens == FIRST_EIGHT) shown->reduction = REDUCE_MAX;
    phrase->hit = verdict_number(verdict, "hit") != 0;
    shown_truth(phrase, coco_mask_copy(truth), expression->text, false);
    phrase->iou = shown->figure;
    return true;
}

// ---- figures

static void add_overlap_figures(Figures *figures, const ReferringOverlap *overlaps, int count,
                                ReferringRule rule) {
    static const struct {
        const char *name;
        FigureFunction *function;
        double threshold;
    } FIGURES[] = {{"giou", referring_giou, 0},
                   {"ciou", referring_ciou, 0},
                   {"precision_at_0.5", referring_precision, 0.5},
                   {"precision_at_0.7", referring_precision, 0.7},
                   {"precision_at_0.9", referring_precision, 0.9}};
    for (size_t f = 0; f < sizeof FIGURES / sizeof *FIGURES; f++) {
        ReferringOverlaps *context = checked_malloc(sizeof *context);
        *context = (ReferringOverlaps){overlaps, count, rule, FIGURES[f].threshold};
        figures_own(figures, context, free);
        figures_add(figures, FIGURES[f].name, FIGURES[f].function, context);
    }
}

static bool measure(const void *data, const EvaluationOptions *options, json_t *const *verdicts,
                    int64_t count, Figures *figures, Error *error) {
    (void)error;
    int *units = figures_begin_by_image(figures, &TASK_RES, data, count);
    ReferringOverlap *overlaps = checked_calloc((size_t)count + 1, sizeof *overlaps);
    figures_own(figures, overlaps, free);
    add_overlap_figures(figures, overlaps, (int)count,
                        options->as_published ? REFERRING_AS_LISA : REFERRING_EXACT);
    PointFigures points = point_figures_begin(figures, "point_accuracy");
    double(*pointed)[2] = figures_add_ratio(figures, "answers_with_point");
    for (int64_t i = 0; i < count; i++) {
        int unit = units[i];
        overlaps[i] = (ReferringOverlap){unit, (int64_t)verdict_number(verdicts[i], "intersection"),
                                         (int64_t)verdict_number(verdicts[i], "union")};
        point_figures_count(&points, unit, verdicts[i]);
        pointed[unit][0] += json_array_size(json_object_get(verdicts[i], "phrases")) > 0;
        pointed[unit][1]++;
    }
    figures_remark(figures, "images", figures->num_units);
    figures_remark(figures, "expressions", (double)count);
    free(units);
    return true;
}

const Task TASK_RES = {
    .name = "res",
    .summary = "referring expressions: gIoU, cIoU and precision of the mask where the model looks",
    .files = "eval.annotations: refs(unc).p, refs(umd).p or refs(google).p with instances.json "
             "beside it; eval.split",
    .prompt = "Describe the \"{}\".",
    .max_new_tokens = 64,
    .row = ATTENTION_PRODUCING_ROW,
    .reduction = REDUCE_MEAN,
    .looks = true,
    .open = open_expressions,
    .close = close_expressions,
    .count = count_expressions,
    .item = item_of_expression,
    .judge = judge_answer,
    .show = show_answer,
    .shown_as = "The truth is the object that the expression means; the figure is the IoU with it.",
    .measure = measure,
};
