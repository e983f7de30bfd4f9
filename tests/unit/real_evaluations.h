/// Shared by the tests of evaluations on published material: where that is, one evaluation of it
/// with the tiny untrained networks, and what the evaluation left.
#pragma once
#include "data/coco_segmentation.h"
#include "eval/tasks/results.h"
#include "tests/unit/temporary_folder.h"
#include "train/evaluation/evaluation_run.h"

#include <math.h>
#include <unistd.h>

#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wunused-function"

#define TINY SOURCE_DIR "/checkpoints/tiny"
/// results.json has eight digits
#define ROUNDED 1e-7

/// "<folder of published material>/<name>"; lives until the next eight calls.
static const char *shared(const char *name) {
    static char paths[8][640];
    static int next;
    char *path = paths[next++ % 8];
    const char *folder = getenv("DIFFLMM_SHARED_DATA");
    snprintf(path, sizeof paths[0], "%s/%s", folder ? folder : SOURCE_DIR "/../shared/data", name);
    return path;
}

static void skip_without(const char *path) {
    if (access(path, R_OK) == 0) return;
    print_message("skipped: %s is not there\n", path);
    skip();
}

static json_t *read_json(const char *path) {
    json_error_t reason;
    json_t *value = json_load_file(path, 0, &reason);
    if (!value) fail_msg("%s: %s", path, reason.text);
    return value;
}

static void write_json(const char *path, json_t *value) {
    assert_int_equal(json_dump_file(value, path, JSON_COMPACT), 0);
    json_decref(value);
}

static int64_t integer(const json_t *object, const char *key) {
    const json_t *value = json_object_get(object, key);
    if (!json_is_integer(value)) fail_msg("there is no %s", key);
    return json_integer_value(value);
}

static int64_t area_of_mask(const json_t *runs) {
    CocoMask mask;
    Error error = {0};
    if (!coco_runs_read(runs, &mask, &error)) fail_msg("%s", error.message);
    int64_t area = coco_mask_area(&mask);
    coco_mask_free(&mask);
    return area;
}

typedef struct Setting {
    const char *key, *value;
} Setting;

/// What an evaluation left.
typedef struct Evaluated {
    json_t *results;
    json_t **verdicts;
    int64_t count;
} Evaluated;

/// settings end with a NULL; output: a name in the temporary folder.
static Evaluated evaluate(const char *output, const Setting *settings) {
    const Setting common[] = {{"model.sd", TINY "/sd"},
                              {"model.vision_tower", TINY "/clip"},
                              {"model.llm", TINY "/llm"},
                              {"data.image_aspect_ratio", "pad"},
                              {"data.image_size", "128"},
                              {"training.device", "cpu"},
                              {"training.threads", "1"},
                              {"eval.max_new_tokens", "8"},
                              {"eval.pictures", "0"},
                              {"eval.output_dir", in_folder(output)},
                              {NULL, NULL}};
    char *overrides[32];
    int count = 0;
    Error error = {0};
    for (int s = 0; s < 2; s++)
        for (const Setting *setting = s ? settings : common; setting->key; setting++)
            overrides[count++] = format_string("%s=%s", setting->key, setting->value);
    Config *config = config_load(NULL, (const char *const *)overrides, count, &error);
    ProcessGroup *alone = config ? process_group_open(60, &error) : NULL;
    if (!alone || !evaluation_run(config, alone, &error)) fail_msg("%s", error.message);
    process_group_close(alone);
    config_free(config);
    while (count > 0) free(overrides[--count]);
    char *path = format_string("%s/results.json", in_folder(output));
    Evaluated evaluated = {.results = read_json(path)};
    free(path);
    evaluated.verdicts = results_read_verdicts(in_folder(output), &evaluated.count, &error);
    if (!evaluated.verdicts) fail_msg("%s", error.message);
    return evaluated;
}

static void free_evaluated(Evaluated *evaluated) {
    for (int64_t i = 0; i < evaluated->count; i++) json_decref(evaluated->verdicts[i]);
    free(evaluated->verdicts);
    json_decref(evaluated->results);
}

static double figure(const Evaluated *evaluated, const char *name) {
    const json_t *value = json_object_get(evaluated->results, name);
    if (!json_is_number(value)) fail_msg("there is no figure %s", name);
    return json_number_value(value);
}

static void expect_figure(const Evaluated *evaluated, const char *name, double expected) {
    double found = figure(evaluated, name);
    if (!(fabs(found - expected) <= ROUNDED)) fail_msg("%s: %.9g, not %.9g", name, found, expected);
}

static const json_t *phrase_at(const json_t *verdict, size_t index) {
    return json_array_get(json_object_get(verdict, "phrases"), index);
}

#pragma GCC diagnostic pop
