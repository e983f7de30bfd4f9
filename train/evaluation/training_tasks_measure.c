// The tasks of eval.tasks measured on the model as it is. Images are dealt out over the ranks; what
// each of them judged goes to the first as text, in which numbers keep their bits; that one
// measures, and all ranks are told the figures.
#include "train/evaluation/training_tasks_internal.h"

#include "autograd/stop_request.h"
#include "train/group/going_on.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

// ---- asking and judging, each rank its share

/// Adds [item, verdict] of items [count], asked at once, to `judged`.
static bool judge_batch(const TrainingTask *task, const AskingOptions *asking, const int64_t *items,
                        int count, JudgedPicture *seen, json_t *judged, Error *error) {
    Answer *answers = checked_calloc((size_t)count, sizeof *answers);
    bool ok = asking_answers(asking, items, count, answers, error);
    for (int i = 0; ok && i < count; i++) {
        json_t *verdict = judging_verdict(&task->judging, items[i], &answers[i], seen, error);
        ok = verdict != NULL;
        if (ok) json_array_append_new(judged, json_pack("[I, o]", (json_int_t)items[i], verdict));
    }
    for (int i = 0; i < count; i++) answer_free(&answers[i]);
    free(answers);
    return ok;
}

/// This rank's share of a task; a request to stop ends it as a failure does.
static bool judge_share(const TrainingTask *task, ProcessGroup *group, json_t *judged,
                        Error *error) {
    AskingOptions asking = {.task = task->task,
                            .data = task->data,
                            .evaluation = &task->options,
                            .answers = task->answers.options,
                            .batch_size = (int)task->config.eval.batch_size,
                            .process = process_rank(group),
                            .num_processes = process_count(group)};
    JudgedPicture seen = {.image = -1};
    int64_t count, *items = asking_missing(&asking, NULL, &count);
    bool ok = true;
    for (int64_t done = 0; ok && done < count; done += asking.batch_size) {
        int64_t left = count - done;
        int n = (int)(left < asking.batch_size ? left : asking.batch_size);
        ok = stop_requested() ? stop_request_error(error)
                              : judge_batch(task, &asking, items + done, n, &seen, judged, error);
        process_group_progress(group);
    }
    image_free(&seen.picture);
    free(items);
    return ok || error_context(error, "eval.tasks: %s", task->name);
}

/// {"<task>": [[item, verdict], ...]} as text; NULL on failure.
static char *judge_shares(const TrainingTasks *tasks, ProcessGroup *group, Error *error) {
    json_t *all = json_object();
    bool ok = true;
    for (int i = 0; ok && i < tasks->count; i++) {
        json_t *judged = json_array();
        json_object_set_new(all, tasks->items[i].name, judged);
        ok = judge_share(&tasks->items[i], group, judged, error);
    }
    char *text = ok ? json_dumps(all, JSON_COMPACT) : NULL;
    json_decref(all);
    return text;
}

// ---- all verdicts, on the first rank

/// The text of rank `root`, for every rank; the caller frees it. `own`: of that rank. NULL on
/// failure.
static char *broadcast_text(ProcessGroup *group, int root, const char *own, Error *error) {
    int64_t size = process_rank(group) == root ? (int64_t)strlen(own) + 1 : 0;
    if (!process_group_broadcast(group, root, &size, sizeof size, error)) return NULL;
    char *text = checked_calloc((size_t)size, 1);
    if (process_rank(group) == root) memcpy(text, own, (size_t)size);
    if (process_group_broadcast(group, root, text, (size_t)size, error)) return text;
    free(text);
    return NULL;
}

/// Per task, the verdicts of its items in their order; a rank's own are read from text as well.
typedef struct Verdicts {
    json_t **items;
    int64_t count;
} Verdicts;

static void take_verdicts(const TrainingTasks *tasks, const char *text, Verdicts *verdicts) {
    json_t *shares = json_loads(text, 0, NULL);
    CHECK(shares, "verdicts are no JSON");
    for (int i = 0; i < tasks->count; i++) {
        size_t at;
        json_t *pair;
        json_array_foreach(json_object_get(shares, tasks->items[i].name), at, pair) {
            json_int_t item = json_integer_value(json_array_get(pair, 0));
            CHECK(item >= 0 && item < verdicts[i].count, "verdict %lld", (long long)item);
            verdicts[i].items[item] = json_incref(json_array_get(pair, 1));
        }
    }
    json_decref(shares);
}

static Verdicts *verdicts_new(const TrainingTasks *tasks) {
    Verdicts *verdicts = checked_calloc((size_t)tasks->count, sizeof *verdicts);
    for (int i = 0; i < tasks->count; i++) {
        const TrainingTask *task = &tasks->items[i];
        int64_t count = evaluation_items(task->task, task->data, &task->options);
        verdicts[i] = (Verdicts){checked_calloc((size_t)count + 1, sizeof(json_t *)), count};
    }
    return verdicts;
}

static void verdicts_close(const TrainingTasks *tasks, Verdicts *verdicts) {
    for (int i = 0; i < tasks->count; i++) verdicts_free(verdicts[i].items, verdicts[i].count);
    free(verdicts);
}

static bool gather(const TrainingTasks *tasks, ProcessGroup *group, const char *own,
                   Verdicts *verdicts, Error *error) {
    for (int rank = 0; rank < process_count(group); rank++) {
        char *text = broadcast_text(group, rank, own, error);
        if (!text) return false;
        if (process_rank(group) == 0) take_verdicts(tasks, text, verdicts);
        free(text);
    }
    return true;
}

// ---- figures

static json_t *measure(const TrainingTasks *tasks, const Verdicts *verdicts, Error *error) {
    json_t *measured = json_object();
    for (int i = 0; i < tasks->count; i++) {
        const TrainingTask *task = &tasks->items[i];
        Figures figures;
        if (!task->task->measure(task->data, &task->options, verdicts[i].items, verdicts[i].count,
                                 &figures, error)) {
            error_context(error, "eval.tasks: %s", task->name);
            json_decref(measured);
            return NULL;
        }
        json_object_set_new(measured, task->name, figures_describe(&figures, task->options.seed));
        figures_free(&figures);
    }
    return measured;
}

/// The first rank's figures for all.
static json_t *share_figures(ProcessGroup *group, json_t *measured, Error *error) {
    bool is_first = process_rank(group) == 0;
    if (!process_group_agree(group, !is_first || measured, error)) return NULL;
    char *own = is_first ? json_dumps(measured, JSON_COMPACT) : NULL,
         *text = broadcast_text(group, 0, own, error);
    json_t *figures = text ? json_loads(text, 0, NULL) : NULL;
    CHECK(!text || figures, "figures are no JSON");
    free(own);
    free(text);
    return figures;
}

json_t *training_tasks_measure(const TrainingTasks *tasks, ProcessGroup *group, bool *stopping,
                               Error *error) {
    char *own = judge_shares(tasks, group, error);
    if (!ranks_go_on(group, own != NULL, stopping, error)) {
        free(own);
        return NULL;
    }
    Verdicts *verdicts = verdicts_new(tasks);
    json_t *measured = NULL, *figures = NULL;
    bool ok = gather(tasks, group, own, verdicts, error);
    if (ok && process_rank(group) == 0) measured = measure(tasks, verdicts, error);
    if (ok) figures = share_figures(group, measured, error);
    json_decref(measured);
    verdicts_close(tasks, verdicts);
    free(own);
    return figures;
}

double training_tasks_figure(const json_t *measured, const char *figure) {
    const char *dot = strchr(figure, '.');
    char *task = format_string("%.*s", dot ? (int)(dot - figure) : (int)strlen(figure), figure);
    const json_t *value = json_object_get(json_object_get(measured, task), dot ? dot + 1 : "");
    free(task);
    return json_is_number(value) ? json_number_value(value) : NAN;
}
