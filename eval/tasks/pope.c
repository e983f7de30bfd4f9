// POPE: whether the model says of things that they are there which are not. Several yes-or-no
// questions about each image; what is said is read as LLaVA's script reads it, so that figures
// stand beside those that are published. [Li et al. 2023, arXiv 2305.10355]
#include "eval/annotations/pope.h"

#include "autograd/output/output_file.h"
#include "autograd/text/byte_buffer.h"
#include "data/json_values.h"
#include "eval/tasks/questions.h"
#include "eval/tasks/tasks.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

typedef struct PopeItems {
    PopeQuestions all;
    QuestionOrder order;
} PopeItems;

static int image_of(const void *data, int question) {
    return ((const PopeItems *)data)->all.items[question].image;
}

static void close_questions(void *data) {
    PopeItems *items = data;
    pope_free(&items->all);
    question_order_free(&items->order);
    free(items);
}

static void *open_questions(const EvaluationOptions *options, Error *error) {
    PopeItems *items = checked_calloc(1, sizeof *items);
    if (!pope_read(options->annotations, &items->all, error)) {
        close_questions(items);
        return NULL;
    }
    items->order = question_order(items->all.count, items->all.num_images, image_of, items);
    return items;
}

static int64_t count_questions(const void *data) { return ((const PopeItems *)data)->all.count; }

static const PopeQuestion *question_at(const PopeItems *items, int64_t index) {
    return &items->all.items[items->order.order[index]];
}

static void item_of_question(const void *data, int64_t index, TaskItem *item) {
    const PopeItems *items = data;
    const PopeQuestion *question = question_at(items, index);
    const char *category = items->all.files[question->file].category;
    // the files of the three categories count their questions alike
    snprintf(item->id, sizeof item->id, "%.20s%s%.40s", category ? category : "",
             category ? "-" : "", question->id);
    item->image = question->image;
    item->image_id = item->file_name = items->all.images[question->image];
    item->expression = question->text;
}

// ---- judging

static bool is_negative(const char *word) {
    return !strcmp(word, "No") || !strcmp(word, "not") || !strcmp(word, "no");
}

/// As published: of the text before the first full stop, without commas, one of the words between
/// single blanks is a negative one. Anything else is a yes, also what is neither.
static bool says_no(const char *answer) {
    char *text = answer_trimmed(answer), *word = text;
    text[strcspn(text, ".")] = '\0';
    size_t kept = 0;
    for (size_t i = 0; text[i]; i++)
        if (text[i] != ',') text[kept++] = text[i];
    text[kept] = '\0';
    bool found = false;
    for (bool more = true; more && !found; word += strlen(word) + 1) {
        char *blank = strchr(word, ' ');
        more = blank != NULL;
        if (blank) *blank = '\0';
        found = is_negative(word);
    }
    free(text);
    return found;
}

static json_t *judge_answer(const void *data, int64_t index, const Judge *judge,
                            const Answer *answer, Error *error) {
    const PopeItems *items = data;
    const PopeQuestion *question = question_at(items, index);
    (void)judge, (void)error;
    return json_pack("{s:s?, s:s, s:s, s:s}", "category", items->all.files[question->file].category,
                     "question", question->text, "label", question->is_yes ? "yes" : "no", "says",
                     says_no(answer->text) ? "no" : "yes");
}

// ---- figures

/// Numerators and denominators of every image.
typedef double (*PopeCounts)[2];

/// Those of all questions, or of a category's.
typedef struct PopeFigures {
    PopeCounts accuracy, precision, recall, f1, yes_ratio;
} PopeFigures;

static PopeCounts add_figure(Figures *figures, const char *name, const char *category) {
    char *whole = format_string("%s%s%s", name, category ? "_" : "", category ? category : "");
    PopeCounts counts = figures_add_ratio(figures, whole);
    free(whole);
    return counts;
}

static PopeFigures add_figures(Figures *figures, const char *category) {
    return (PopeFigures){.accuracy = add_figure(figures, "accuracy", category),
                         .precision = add_figure(figures, "precision", category),
                         .recall = add_figure(figures, "recall", category),
                         .f1 = add_figure(figures, "f1", category),
                         .yes_ratio = add_figure(figures, "yes_ratio", category)};
}

static void count_answer(const PopeFigures *figures, int unit, bool label, bool says) {
    figures->accuracy[unit][0] += label == says;
    figures->accuracy[unit][1]++;
    figures->precision[unit][0] += label && says;
    figures->precision[unit][1] += says;
    figures->recall[unit][0] += label && says;
    figures->recall[unit][1] += label;
    // 2 / (1 / precision + 1 / recall), which is 0 where only one of the two is there
    figures->f1[unit][0] += 2 * (label && says);
    figures->f1[unit][1] += label + says;
    figures->yes_ratio[unit][0] += says;
    figures->yes_ratio[unit][1]++;
}

/// The mean over categories, which tables give as the figure of POPE.
typedef struct MeanF1 {
    int num_units, count;
    PopeCounts of[];
} MeanF1;

static double mean_f1(const void *context, const uint32_t *times) {
    const MeanF1 *mean = context;
    double sum = 0;
    for (int c = 0; c < mean->count; c++) {
        double parts[2] = {0};
        for (int i = 0; i < mean->num_units; i++)
            for (int k = 0; k < 2; k++) parts[k] += (times ? times[i] : 1) * mean->of[c][i][k];
        sum += parts[1] > 0 ? parts[0] / parts[1] : NAN;
    }
    return sum / mean->count;
}

static void add_mean_f1(Figures *figures, const PopeFigures *of, int count) {
    MeanF1 *mean = checked_malloc(sizeof *mean + (size_t)count * sizeof *mean->of);
    mean->num_units = figures->num_units;
    mean->count = count;
    for (int c = 0; c < count; c++) mean->of[c] = of[c].f1;
    figures_own(figures, mean, free);
    figures_add(figures, "mean_f1", mean_f1, mean);
}

static bool is_yes(const json_t *verdict, const char *key) {
    const char *value = json_string_value(json_object_get(verdict, key));
    return value && !strcmp(value, "yes");
}

static bool measure(const void *data, const EvaluationOptions *options, json_t *const *verdicts,
                    int64_t count, Figures *figures, Error *error) {
    const PopeItems *items = data;
    (void)options, (void)error;
    int *units = figures_begin_by_image(figures, &TASK_POPE, data, count),
        num_files = items->all.num_files;
    PopeFigures all = add_figures(figures, NULL),
                *of = checked_calloc((size_t)num_files, sizeof *of);
    if (num_files > 1) {
        for (int f = 0; f < num_files; f++)
            of[f] = add_figures(figures, items->all.files[f].category);
        add_mean_f1(figures, of, num_files);
    }
    for (int64_t i = 0; i < count; i++) {
        bool label = is_yes(verdicts[i], "label"), says = is_yes(verdicts[i], "says");
        count_answer(&all, units[i], label, says);
        if (num_files > 1) count_answer(&of[question_at(items, i)->file], units[i], label, says);
    }
    figures_remark(figures, "images", figures->num_units);
    figures_remark(figures, "questions", (double)count);
    free(of);
    free(units);
    return true;
}

// ---- publishing

/// A line as LLaVA's script writes it.
static void put_prediction(const TaskItem *item, const PopeQuestion *question,
                           const json_t *verdict, ByteBuffer *lines) {
    char *text = answer_trimmed(json_string_value(json_object_get(verdict, "answer")));
    json_t *prediction = json_pack(
        "{s:o, s:s, s:s, s:s, s:s, s:{}}", "question_id", json_published_id(question->id), "prompt",
        question->text, "text", text, "answer_id", item->id, "model_id", "difflmm", "metadata");
    char *line = json_dumps(prediction, 0);
    byte_buffer_put_text(lines, line);
    byte_buffer_put_byte(lines, '\n');
    free(line);
    free(text);
    json_decref(prediction);
}

/// Of each file of questions one of answers, in its order: the published scripts join the two line
/// by line.
static bool publish(const void *data, json_t *const *verdicts, int64_t count, const char *folder,
                    Error *error) {
    const PopeItems *items = data;
    bool ok = true;
    for (int f = 0; ok && f < items->all.num_files; f++) {
        ByteBuffer lines = {0};
        for (int q = 0; q < items->all.count; q++) {
            TaskItem item = {0};
            const int at = items->order.place[q];
            if (items->all.items[q].file != f || at >= count) continue;
            item_of_question(data, at, &item);
            put_prediction(&item, &items->all.items[q], verdicts[at], &lines);
        }
        char *path = format_string("%s/%s_answers.jsonl", folder, items->all.files[f].name);
        size_t size = lines.size;
        char *text = byte_buffer_take(&lines);
        ok = output_whole_file(path, text, size, error);
        free(text);
        free(path);
    }
    return ok;
}

const Task TASK_POPE = {
    .name = "pope",
    .summary = "yes or no, is it in the image: accuracy, precision, recall, F1 and share of yes",
    .files = "eval.annotations: coco_pope_random.json or another of POPE's, or the folder of the "
             "three",
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
