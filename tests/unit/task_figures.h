/// A task's verdicts and figures, without a model.
#pragma once
#include "eval/tasks/evaluation.h"
#include "tests/unit/temporary_folder.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/// The task's data of that file or folder.
static inline void *open_task(const Task *task, const char *annotations) {
    Error error = {0};
    EvaluationOptions options = {.annotations = annotations, .samples = -1};
    void *data = task->open(&options, &error);
    if (!data) fail_msg("%s", error.message);
    return data;
}

/// The verdict about that answer, with the answer in it.
static inline json_t *judge_text(const Task *task, const void *data, int64_t index,
                                 const char *text) {
    Error error = {0};
    EvaluationOptions options = {.samples = -1};
    Judge how = {.options = &options};
    char *own = format_string("%s", text);
    Answer answer = {.text = own};
    json_t *verdict = task->judge(data, index, &how, &answer, &error);
    assert_non_null(verdict);
    json_object_set_new(verdict, "answer", json_string(text));
    free(own);
    return verdict;
}

/// The figures of the verdicts, which are released.
static inline json_t *measure_verdicts(const Task *task, const void *data, json_t **verdicts,
                                       int64_t count) {
    Error error = {0};
    Figures figures;
    EvaluationOptions options = {.samples = -1};
    assert_true(task->measure(data, &options, verdicts, count, &figures, &error));
    json_t *described = figures_describe(&figures, 1);
    figures_free(&figures);
    for (int64_t i = 0; i < count; i++) json_decref(verdicts[i]);
    return described;
}

/// NAN: it is null.
static inline void expect_figure(const json_t *figures, const char *name, double expected) {
    const json_t *value = json_object_get(figures, name);
    if (!value) fail_msg("there is no figure %s", name);
    if (isnan(expected) ? !json_is_null(value)
                        : !(fabs(json_number_value(value) - expected) < 1e-12))
        fail_msg("%s is %g, not %g", name, json_number_value(value), expected);
}
