// GQA: questions about an image that a word or two answer. What is said is read as LLaVA's scripts
// read it, and right if it is the answer to the letter, so that figures stand beside those that are
// published. [Hudson and Manning 2019, arXiv 1902.09506]
#include "eval/annotations/gqa.h"

#include "autograd/output/output_file.h"
#include "autograd/text/byte_buffer.h"
#include "eval/metrics/text/lower_case.h"
#include "eval/tasks/questions.h"
#include "eval/tasks/tasks.h"

#include <stdlib.h>
#include <string.h>

static const char QUESTIONS[] = "_questions";

typedef struct GqaItems {
    GqaQuestions all;
    QuestionOrder order;
} GqaItems;

static int image_of(const void *data, int question) {
    return ((const GqaItems *)data)->all.items[question].image;
}

static void close_questions(void *data) {
    GqaItems *items = data;
    gqa_free(&items->all);
    question_order_free(&items->order);
    free(items);
}

static void *open_questions(const EvaluationOptions *options, Error *error) {
    GqaItems *items = checked_calloc(1, sizeof *items);
    if (!gqa_read(options->annotations, &items->all, error)) {
        close_questions(items);
        return NULL;
    }
    items->order = question_order(items->all.count, items->all.num_images, image_of, items);
    return items;
}

static int64_t count_questions(const void *data) { return ((const GqaItems *)data)->all.count; }

static const GqaQuestion *question_at(const GqaItems *items, int64_t index) {
    return &items->all.items[items->order.order[index]];
}

static void item_of_question(const void *data, int64_t index, TaskItem *item) {
    const GqaItems *items = data;
    const GqaQuestion *question = question_at(items, index);
    snprintf(item->id, sizeof item->id, "%.60s", question->id);
    item->image = question->image;
    item->image_id = item->file_name = items->all.images[question->image];
    item->expression = question->text;
}

// ---- judging

/// As LLaVA's scripts make a prediction of an answer: without blanks around it, without full stops
/// at its end, in lower case. To be freed.
static char *prediction_of(const char *answer) {
    char *text = answer_trimmed(answer);
    size_t length = strlen(text);
    ByteBuffer lower = {0};
    while (length && text[length - 1] == '.') length--;
    lower_case_put(&lower, text, length);
    free(text);
    return byte_buffer_take(&lower);
}

static json_t *judge_answer(const void *data, int64_t index, const Judge *judge,
                            const Answer *answer, Error *error) {
    const GqaQuestion *question = question_at(data, index);
    (void)judge, (void)error;
    char *says = prediction_of(answer->text);
    json_t *verdict =
        json_pack("{s:s, s:s, s:s, s:b}", "question", question->text, "expected", question->answer,
                  "says", says, "right", !strcmp(says, question->answer));
    free(says);
    return verdict;
}

// ---- figures

/// Numerators and denominators of every image.
typedef double (*GqaCounts)[2];

/// Of all questions, and of kinds of them; NULL of types that the file has not.
typedef struct GqaFigures {
    GqaCounts all, binary, open, structural[NUM_GQA_STRUCTURAL], semantic[NUM_GQA_SEMANTIC];
} GqaFigures;

static GqaCounts add_type(Figures *figures, const char *type, bool occurs) {
    char *name = format_string("accuracy_%s", type);
    GqaCounts counts = occurs ? figures_add_ratio(figures, name) : NULL;
    free(name);
    return counts;
}

static GqaFigures add_figures(Figures *figures, const GqaQuestions *questions) {
    bool structural[NUM_GQA_STRUCTURAL] = {false}, semantic[NUM_GQA_SEMANTIC] = {false};
    for (int i = 0; i < questions->count; i++) {
        structural[questions->items[i].structural] = true;
        semantic[questions->items[i].semantic] = true;
    }
    GqaFigures counts = {.all = figures_add_ratio(figures, "accuracy"),
                         .binary = figures_add_ratio(figures, "accuracy_binary"),
                         .open = figures_add_ratio(figures, "accuracy_open")};
    for (int t = 0; t < NUM_GQA_STRUCTURAL; t++)
        counts.structural[t] = add_type(figures, GQA_STRUCTURAL[t], structural[t]);
    for (int t = 0; t < NUM_GQA_SEMANTIC; t++)
        counts.semantic[t] = add_type(figures, GQA_SEMANTIC[t], semantic[t]);
    return counts;
}

static void count_answer(GqaCounts counts, int unit, bool is_right) {
    counts[unit][0] += is_right;
    counts[unit][1]++;
}

static bool measure(const void *data, const EvaluationOptions *options, json_t *const *verdicts,
                    int64_t count, Figures *figures, Error *error) {
    const GqaItems *items = data;
    (void)options, (void)error;
    int *units = figures_begin_by_image(figures, &TASK_GQA, data, count), balanced = 0;
    GqaFigures counts = add_figures(figures, &items->all);
    for (int64_t i = 0; i < count; i++) {
        const GqaQuestion *question = question_at(items, i);
        const bool is_right = json_is_true(json_object_get(verdicts[i], "right"));
        if (!question->is_balanced) continue;
        count_answer(counts.all, units[i], is_right);
        count_answer(question->is_open ? counts.open : counts.binary, units[i], is_right);
        count_answer(counts.structural[question->structural], units[i], is_right);
        count_answer(counts.semantic[question->semantic], units[i], is_right);
        balanced++;
    }
    figures_remark(figures, "images", figures->num_units);
    figures_remark(figures, "questions", balanced);
    free(units);
    return true;
}

// ---- publishing

/// "testdev_balanced_predictions.json" of "testdev_balanced_questions": where GQA's script looks.
static char *predictions_path(const char *folder, const char *name) {
    size_t length = strlen(name), ending = strlen(QUESTIONS);
    if (length > ending && !strcmp(name + length - ending, QUESTIONS)) length -= ending;
    return format_string("%s/%.*s_predictions.json", folder, (int)length, name);
}

/// A list, in the file's order of the questions.
static bool publish(const void *data, json_t *const *verdicts, int64_t count, const char *folder,
                    Error *error) {
    const GqaItems *items = data;
    json_t *list = json_array();
    for (int q = 0; q < items->all.count; q++) {
        const int at = items->order.place[q];
        if (at >= count) continue;
        json_array_append_new(list, json_pack("{s:s, s:O}", "questionId", items->all.items[q].id,
                                              "prediction", json_object_get(verdicts[at], "says")));
    }
    char *path = predictions_path(folder, items->all.name), *text = json_dumps(list, 0);
    bool ok = output_whole_file(path, text, strlen(text), error);
    json_decref(list);
    free(text);
    free(path);
    return ok;
}

const Task TASK_GQA = {
    .name = "gqa",
    .summary = "questions that a word answers: accuracy, of open and of binary ones, and by type",
    .files = "eval.annotations: testdev_balanced_questions.json or another of GQA's",
    .prompt = SHORT_ANSWER_PROMPT,
    .max_new_tokens = 128,
    .open = open_questions,
    .close = close_questions,
    .count = count_questions,
    .item = item_of_question,
    .judge = judge_answer,
    .measure = measure,
    .publish = publish,
};
