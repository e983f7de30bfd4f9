#include "train/report/report_explorer.h"

#include "eval/tasks/judging.h"
#include "eval/tasks/results.h"
#include "eval/tasks/showing.h"
#include "train/evaluation/evaluation_setup.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/// What one evaluation left.
typedef struct Explored {
    Config *config;
    const Task *task;
    void *data;
    EvaluationOptions options;
    AnswerStore *store;
    json_t **verdicts;
    int64_t count;
} Explored;

// ---- opening

static bool open_annotations(Explored *explored, const char *folder, Error *error) {
    explored->options = evaluation_options(explored->config);
    explored->data = explored->task->open(&explored->options, error);
    if (!explored->data) return false;
    int64_t items = evaluation_items(explored->task, explored->data, &explored->options);
    return items == explored->count ||
           error_set(error,
                     "%s: has %lld verdicts, but its annotations have %lld items; they have "
                     "changed since",
                     folder, (long long)explored->count, (long long)items);
}

/// Answers lie in the folder, wherever it was moved to, unless they are another evaluation's.
static bool open_answers(Explored *explored, const char *folder, Error *error) {
    const char *others = explored->config->eval.answers;
    char *answers = others ? checked_strdup(others) : format_string("%s/answers", folder);
    explored->store = evaluation_open_answers(explored->config, answers, NULL, error);
    bool ok = explored->store &&
              (answer_store_count(explored->store) || answer_store_dumps(explored->store) ||
               error_set(error, "%s: holds no answers", answers));
    free(answers);
    return ok && evaluation_select_maps(explored->config, answer_store_asked_with(explored->store),
                                        &explored->options.grounding, error);
}

static bool open_explored(Explored *explored, const char *folder, Error *error) {
    char *path = format_string("%s/config.yaml", folder);
    *explored = (Explored){.config = config_load(path, NULL, 0, error)};
    free(path);
    if (!explored->config) return false;
    explored->task = evaluation_task(explored->config);
    if (!explored->task->show)
        return error_set(error, "the task %s points at nothing", explored->task->name);
    explored->verdicts = results_read_verdicts(folder, &explored->count, error);
    return explored->verdicts && open_annotations(explored, folder, error) &&
           open_answers(explored, folder, error);
}

static void close_explored(Explored *explored) {
    verdicts_free(explored->verdicts, explored->count);
    answer_store_close(explored->store);
    if (explored->data) explored->task->close(explored->data);
    config_free(explored->config);
}

// ---- which examples

/// An item, and where the other evaluation has it.
typedef struct Candidate {
    int64_t items[EXPLORER_SIDES];
    /// low ones are taken first
    double key, second_key;
    char id[sizeof((TaskItem *)0)->id];
} Candidate;

typedef struct Candidates {
    Candidate *items;
    int64_t count;
} Candidates;

static int by_id(const void *a, const void *b) {
    return strcmp(((const Candidate *)a)->id, ((const Candidate *)b)->id);
}

static int compare(double a, double b) { return (a > b) - (a < b); }

static int by_key(const void *a, const void *b) {
    const Candidate *x = a, *y = b;
    int order = compare(x->key, y->key);
    if (!order) order = compare(x->second_key, y->second_key);
    return order ? order : compare((double)x->items[0], (double)y->items[0]);
}

static Candidates candidates_of(const Explored *explored, int side) {
    Candidates all = {checked_calloc((size_t)explored->count + 1, sizeof *all.items),
                      explored->count};
    for (int64_t i = 0; i < explored->count; i++) {
        TaskItem item = {0};
        explored->task->item(explored->data, i, &item);
        memcpy(all.items[i].id, item.id, sizeof item.id);
        all.items[i].items[side] = i;
    }
    return all;
}

/// Keeps those that the second evaluation has as well.
static void keep_common(Candidates *candidates, const Explored *second) {
    Candidates others = candidates_of(second, 1);
    int64_t kept = 0;
    qsort(others.items, (size_t)others.count, sizeof *others.items, by_id);
    for (int64_t i = 0; i < candidates->count; i++) {
        const Candidate *found = bsearch(&candidates->items[i], others.items, (size_t)others.count,
                                         sizeof *others.items, by_id);
        if (!found) continue;
        candidates->items[kept] = candidates->items[i];
        candidates->items[kept++].items[1] = found->items[1];
    }
    candidates->count = kept;
    free(others.items);
}

/// An answer's figure, and the mean IoU of its phrases; INFINITY: there is none.
static bool figures_of(const Explored *explored, int64_t index, double *figure, double *iou,
                       Error *error) {
    ShownVerdict shown;
    if (!verdict_show(explored->task, explored->data, index, &explored->options, NULL,
                      explored->verdicts[index], &shown, error))
        return false;
    double mean = shown_mean_iou(&shown);
    *figure = isfinite(shown.figure) ? shown.figure : (double)INFINITY;
    *iou = isfinite(mean) ? mean : (double)INFINITY;
    shown_verdict_free(&shown);
    return true;
}

/// Of one evaluation the worst answers come first, of two those whose figures differ most.
static bool order(Candidates *candidates, const Explored *explored, int num_sides, Error *error) {
    for (int64_t i = 0; i < candidates->count; i++) {
        Candidate *candidate = &candidates->items[i];
        double figures[EXPLORER_SIDES] = {0}, ious[EXPLORER_SIDES] = {0};
        for (int s = 0; s < num_sides; s++)
            if (!figures_of(&explored[s], candidate->items[s], &figures[s], &ious[s], error))
                return false;
        candidate->key = figures[0];
        candidate->second_key = ious[0];
        if (num_sides == 1) continue;
        double difference = fabs(figures[0] - figures[1]), of_ious = fabs(ious[0] - ious[1]);
        candidate->key = isfinite(difference) ? -difference : (double)INFINITY;
        candidate->second_key = isfinite(of_ious) ? -of_ious : (double)INFINITY;
    }
    qsort(candidates->items, (size_t)candidates->count, sizeof *candidates->items, by_key);
    return true;
}

// ---- the page

/// A verdict in the page's terms; `phrases` has room for all of its.
static ExplorerAnswer answer_of(const Explored *explored, const Answer *answer,
                                const ShownVerdict *shown, ExplorerPhrase *phrases) {
    for (int i = 0; i < shown->count; i++) {
        const ShownPhrase *phrase = &shown->phrases[i];
        phrases[i] = (ExplorerPhrase){.begin = phrase->begin,
                                      .end = phrase->end,
                                      .name = phrase->name,
                                      .tokens = phrase->tokens,
                                      .num_tokens = phrase->num_tokens,
                                      .point = phrase->point,
                                      .mask = phrase->has_mask ? &phrase->mask : NULL,
                                      .truth = phrase->has_truth ? &phrase->truth : NULL,
                                      .truth_name = phrase->truth_name,
                                      .category = phrase->category,
                                      .hit = phrase->hit < 0   ? EXPLORER_HIT_UNKNOWN
                                             : phrase->hit > 0 ? EXPLORER_HIT
                                                               : EXPLORER_MISS,
                                      .iou = phrase->iou};
    }
    GroundingOptions how = explored->options.grounding;
    how.reduction = shown->reduction;
    return (ExplorerAnswer){answer, how, phrases, shown->count, shown->figure};
}

/// What an example consists of, per side.
typedef struct Parts {
    Answer answers[EXPLORER_SIDES];
    ShownVerdict shown[EXPLORER_SIDES];
    ExplorerPhrase *phrases[EXPLORER_SIDES];
} Parts;

static bool read_side(const Explored *explored, int64_t index, const Image *picture, Parts *parts,
                      int side, ExplorerExample *example, Error *error) {
    TaskItem item = {0};
    Answer *answer = &parts->answers[side];
    ShownVerdict *shown = &parts->shown[side];
    explored->task->item(explored->data, index, &item);
    if (!judging_read_answer(explored->task, &explored->options, explored->store, &item, picture,
                             answer, error) ||
        !verdict_show(explored->task, explored->data, index, &explored->options, answer,
                      explored->verdicts[index], shown, error))
        return false;
    parts->phrases[side] = checked_calloc((size_t)shown->count + 1, sizeof(ExplorerPhrase));
    example->answers[side] = answer_of(explored, answer, shown, parts->phrases[side]);
    return true;
}

static bool add_example(Explorer *explorer, const Explored *explored, int num_sides,
                        const Candidate *candidate, Error *error) {
    TaskItem item = {0};
    Image picture = {0};
    Parts parts = {0};
    const Task *task = explored[0].task;
    task->item(explored[0].data, candidate->items[0], &item);
    const char *prompt = explored[0].options.prompt ? explored[0].options.prompt : task->prompt;
    char *question = task_prompt(prompt, item.expression);
    ExplorerExample example = {
        .id = item.id, .question = question, .number = candidate->items[0], .picture = &picture};
    bool ok = evaluation_read_image(&explored[0].options, &item, &picture, error);
    for (int s = 0; ok && s < num_sides; s++)
        ok = read_side(&explored[s], candidate->items[s], &picture, &parts, s, &example, error);
    ok = ok && explorer_add_example(explorer, &example, error);
    for (int s = 0; s < num_sides; s++) {
        free(parts.phrases[s]);
        shown_verdict_free(&parts.shown[s]);
        answer_free(&parts.answers[s]);
    }
    free(question);
    image_free(&picture);
    return ok;
}

static Explorer *make_page(const Explored *explored, const ExploredFolder *folders, int num_sides,
                           const ExplorerChoice *choice, const char *title, Error *error) {
    Candidates candidates = candidates_of(&explored[0], 0);
    if (num_sides > 1) keep_common(&candidates, &explored[1]);
    bool ok = candidates.count > 0 || error_set(error, "%s and %s have no item in common",
                                                folders[0].folder, folders[num_sides - 1].folder);
    ok = ok && (choice->first || order(&candidates, explored, num_sides, error));
    int64_t shown = candidates.count < choice->examples ? candidates.count : choice->examples;
    const char *which = shown == candidates.count ? ""
                        : choice->first           ? "the first "
                        : num_sides > 1           ? "where their figures differ most, "
                                                  : "the worst ";
    char *subtitle = format_string("%s: %s%lld of %lld examples", explored[0].task->name, which,
                                   (long long)shown, (long long)candidates.count);
    ExplorerAbout about = {title,
                           subtitle,
                           explored[0].task->shown_as,
                           {folders[0].name, num_sides > 1 ? folders[1].name : NULL}};
    Explorer *explorer = explorer_new(&about);
    for (int64_t i = 0; ok && i < shown; i++)
        ok = add_example(explorer, explored, num_sides, &candidates.items[i], error);
    free(subtitle);
    free(candidates.items);
    if (ok) return explorer;
    explorer_free(explorer);
    return NULL;
}

Explorer *report_explorer(const ExploredFolder *folders, int num_folders,
                          const ExplorerChoice *choice, const char *title, Error *error) {
    Explored explored[EXPLORER_SIDES] = {0};
    bool ok = true;
    for (int s = 0; ok && s < num_folders; s++)
        ok = open_explored(&explored[s], folders[s].folder, error);
    if (ok && num_folders > 1 && explored[0].task != explored[1].task)
        ok = error_set(error, "%s is an evaluation of %s, %s one of %s", folders[0].folder,
                       explored[0].task->name, folders[1].folder, explored[1].task->name);
    Explorer *explorer =
        ok ? make_page(explored, folders, num_folders, choice, title, error) : NULL;
    for (int s = 0; s < num_folders; s++) close_explored(&explored[s]);
    return explorer;
}
