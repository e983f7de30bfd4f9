/// Trainings of the tiny world, and how their checkpoints differ, for test_trainer*.c.
#pragma once
#include "checkpoints/training_state.h"
#include "data/tiny/world.h"
#include "tests/unit/temporary_folder.h"
#include "train/log/metrics.h"
#include "train/trainer/trainer.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define TINY SOURCE_DIR "/checkpoints/tiny"

/// Runs the trainer with these settings on top of what all tests share: on the processor, unless
/// the settings say otherwise.
static inline bool train(const char *const *settings, Error *error) {
    static char shared[8][320];
    snprintf(shared[0], sizeof shared[0], "data.train=%s/world/train/llava_v1_5_mix665k.json",
             temporary_folder);
    snprintf(shared[1], sizeof shared[1], "data.image_folder=%s/world/train", temporary_folder);
    const char *overrides[40] = {"model.sd=" TINY "/sd",
                                 "model.vision_tower=" TINY "/clip",
                                 "model.llm=" TINY "/llm",
                                 "data.image_size=128",
                                 "data.model_max_length=160",
                                 "data.image_aspect_ratio=pad",
                                 "training.device=cpu",
                                 "training.threads=2",
                                 "training.logging_steps=1000",
                                 "training.learning_rate=1e-3",
                                 "lora.lora_r=4",
                                 "lora.lora_alpha=8",
                                 shared[0],
                                 shared[1]};
    int count = 14;
    while (*settings) overrides[count++] = *settings++;
    Config *config = config_load(NULL, overrides, count, error);
    if (!config) return false;
    ProcessGroup *alone = process_group_open(60, error);
    bool ok = alone && trainer_run(config, alone, error);
    process_group_close(alone);
    config_free(config);
    return ok;
}

/// The same; the run must succeed.
static inline void assert_trains(const char *const *settings) {
    Error error = {0};
    if (!train(settings, &error)) fail_msg("%s", error.message);
}

/// The values of a metric over the steps of the run in that folder; the caller frees them with
/// metric_series_free().
static inline MetricSeries metric_of(const char *folder, const char *name) {
    Error error = {0};
    char path[300];
    snprintf(path, sizeof path, "%s/metrics.jsonl", in_folder(folder));
    MetricsLog *log = metrics_load(path, &error);
    if (!log) fail_msg("%s", error.message);
    MetricSeries series = metrics_series(log, "train", name);
    metrics_log_free(log);
    return series;
}

// ---- comparing checkpoints

typedef struct Values {
    /// the caller frees
    float *values;
    int64_t count;
} Values;

/// An array of a checkpoint, of four-byte elements.
static inline Values read_values(StateFile *file, const char *name) {
    Error error = {0};
    StateType type;
    int rank;
    int64_t shape[STATE_MAX_RANK];
    assert_true(state_describe_array(file, name, &type, &rank, shape, &error));
    Values array = {NULL, 1};
    for (int k = 0; k < rank; k++) array.count *= shape[k];
    array.values = malloc((size_t)array.count * 4);
    assert_true(state_read_array(file, name, type, rank, shape, array.values, &error));
    return array;
}

/// The largest difference between the arrays of two checkpoints whose names begin with `prefix`,
/// relative to the largest value.
static inline double largest_difference(const char *a_path, const char *b_path,
                                        const char *prefix) {
    Error error = {0};
    StateFile *a = state_open(a_path, &error), *b = state_open(b_path, &error);
    if (!a || !b) fail_msg("%s", error.message);
    double largest = 0;
    int compared = 0;
    for (int64_t i = 0; i < state_array_count(a); i++) {
        const char *name = state_array_name(a, i);
        if (strncmp(name, prefix, strlen(prefix))) continue;
        Values x = read_values(a, name), y = read_values(b, name);
        assert_int_equal(x.count, y.count);
        double difference = 0, size = 0;
        for (int64_t k = 0; k < x.count; k++) {
            difference = fmax(difference, fabs((double)x.values[k] - (double)y.values[k]));
            size = fmax(size, fabs((double)x.values[k]));
        }
        if (size > 0) largest = fmax(largest, difference / size);
        free(x.values);
        free(y.values);
        compared++;
    }
    assert_true(compared > 0);
    state_close(a);
    state_close(b);
    return largest;
}

/// The Euclidean norm of the difference of all optimizer averages of two checkpoints, relative to
/// that of the averages.
static inline double gradient_distance(const char *a_path, const char *b_path) {
    Error error = {0};
    StateFile *a = state_open(a_path, &error), *b = state_open(b_path, &error);
    if (!a || !b) fail_msg("%s", error.message);
    double difference = 0, size = 0;
    for (int64_t i = 0; i < state_array_count(a); i++) {
        const char *name = state_array_name(a, i);
        if (strncmp(name, "optimizer/exp_avg/", 18)) continue;
        Values x = read_values(a, name), y = read_values(b, name);
        for (int64_t k = 0; k < x.count; k++) {
            difference += pow((double)x.values[k] - (double)y.values[k], 2);
            size += pow((double)x.values[k], 2);
        }
        free(x.values);
        free(y.values);
    }
    state_close(a);
    state_close(b);
    return sqrt(difference / size);
}

static inline void copy_file(const char *from, const char *to) {
    FILE *in = fopen(from, "rb"), *out = fopen(to, "wb");
    assert_true(in && out);
    char buffer[65536];
    size_t n;
    while ((n = fread(buffer, 1, sizeof buffer, in)) > 0)
        assert_int_equal(fwrite(buffer, 1, n, out), n);
    fclose(in);
    assert_int_equal(fclose(out), 0);
}

/// A fixture of all tests: a folder with a tiny world in it.
static inline int make_world(void **state) {
    Error error = {0};
    if (make_temporary_folder(state) != 0) return -1;
    WorldOptions options = {.seed = 5, .num_train = 20, .num_test = 2};
    if (world_write(in_folder("world"), &options, &error)) return 0;
    print_error("%s\n", error.message);
    return -1;
}
