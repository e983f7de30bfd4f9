// rooms: train eval models ops checkpoints tiny_world data autograd
// Training as a whole, on a few scenes of the tiny world with the tiny frozen networks: the same
// run stopped and resumed, the same batch cut differently, the same run on a GPU, real photographs.
#include "checkpoints/training_state.h"
#include "data/loader/sampler.h"
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
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#define TINY SOURCE_DIR "/checkpoints/tiny"

/// Runs the trainer with these settings on top of what all tests share: on the processor, unless
/// the settings say otherwise.
static bool train(const char *const *settings, Error *error) {
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

static void assert_trains(const char *const *settings) {
    Error error = {0};
    if (!train(settings, &error)) fail_msg("%s", error.message);
}

// ---- comparing checkpoints

typedef struct Values {
    /// the caller frees
    float *values;
    int64_t count;
} Values;

/// An array of a checkpoint, of four-byte elements.
static Values read_values(StateFile *file, const char *name) {
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
static double largest_difference(const char *a_path, const char *b_path, const char *prefix) {
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
static double gradient_distance(const char *a_path, const char *b_path) {
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

static void copy_file(const char *from, const char *to) {
    FILE *in = fopen(from, "rb"), *out = fopen(to, "wb");
    assert_true(in && out);
    char buffer[65536];
    size_t n;
    while ((n = fread(buffer, 1, sizeof buffer, in)) > 0)
        assert_int_equal(fwrite(buffer, 1, n, out), n);
    fclose(in);
    assert_int_equal(fclose(out), 0);
}

// ---- tests

static void resuming_after_any_step_gives_the_same_bits_as_never_stopping(void **state) {
    (void)state;
    enum { STEPS = 5 };
    char output[300];
    snprintf(output, sizeof output, "training.output_dir=%s", in_folder("whole"));
    const char *settings[] = {output,
                              "training.max_steps=5",
                              "training.save_steps=1",
                              "training.save_total_limit=0",
                              "training.per_device_train_batch_size=3",
                              "training.gradient_accumulation_steps=2",
                              "lora.lora_enable=true",
                              "data.group_by_modality_length=true",
                              NULL,
                              NULL};
    assert_trains(settings);
    settings[8] = "training.save_in_background=false"; // the same is saved, without a copy
    for (int stop = 1; stop < STEPS; stop++) {
        char resumed[64], from[300], to[300];
        snprintf(resumed, sizeof resumed, "resumed-%d", stop);
        assert_int_equal(mkdir(in_folder(resumed), 0777), 0);
        snprintf(from, sizeof from, "%s/whole/checkpoint-%d.h5", temporary_folder, stop);
        snprintf(to, sizeof to, "%s/%s/checkpoint-%d.h5", temporary_folder, resumed, stop);
        copy_file(from, to);
        snprintf(output, sizeof output, "training.output_dir=%s", in_folder(resumed));
        assert_trains(settings);
        snprintf(to, sizeof to, "%s/%s/checkpoint-%d.h5", temporary_folder, resumed, STEPS);
        assert_true(largest_difference(in_folder("whole/checkpoint-5.h5"), to, "weights/") == 0);
        assert_true(largest_difference(in_folder("whole/checkpoint-5.h5"), to, "optimizer/") == 0);
    }
    assert_true(largest_difference(in_folder("whole/checkpoint-4.h5"),
                                   in_folder("whole/checkpoint-5.h5"), "weights/") > 0);
}

static void features_from_the_cache_train_to_the_same_bits_after_resuming(void **state) {
    (void)state;
    char output[300];
    const char *settings[] = {output,
                              "training.max_steps=3",
                              "training.save_steps=1",
                              "training.save_total_limit=0",
                              "training.per_device_train_batch_size=4",
                              "data.cache_features=true",
                              NULL};
    snprintf(output, sizeof output, "training.output_dir=%s", in_folder("cached"));
    assert_trains(settings);
    assert_int_equal(mkdir(in_folder("cached-again"), 0777), 0);
    copy_file(in_folder("cached/checkpoint-1.h5"), in_folder("cached-again/checkpoint-1.h5"));
    snprintf(output, sizeof output, "training.output_dir=%s", in_folder("cached-again"));
    assert_trains(settings);
    assert_true(largest_difference(in_folder("cached/checkpoint-3.h5"),
                                   in_folder("cached-again/checkpoint-3.h5"), "weights/") == 0);
}

/// Two files with weights, of which an epoch is three steps: the run goes through more than two.
static void a_run_on_weighted_files_resumes_to_the_same_bits(void **state) {
    (void)state;
    char output[300], data[700];
    snprintf(data, sizeof data,
             "data.train=[{path: %s/world/train/llava_v1_5_mix665k.json, weight: 0.3}, "
             "{path: %s/world/train/blip_laion_cc_sbu_558k.json, weight: 0.25}]",
             temporary_folder, temporary_folder);
    const char *settings[] = {output,
                              data,
                              "training.max_steps=8",
                              "training.save_steps=1",
                              "training.save_total_limit=0",
                              "training.per_device_train_batch_size=4",
                              "data.cache_features=true",
                              NULL};
    snprintf(output, sizeof output, "training.output_dir=%s", in_folder("weighted"));
    assert_trains(settings);
    assert_int_equal(mkdir(in_folder("weighted-again"), 0777), 0);
    copy_file(in_folder("weighted/checkpoint-4.h5"), in_folder("weighted-again/checkpoint-4.h5"));
    snprintf(output, sizeof output, "training.output_dir=%s", in_folder("weighted-again"));
    assert_trains(settings);
    assert_true(largest_difference(in_folder("weighted/checkpoint-8.h5"),
                                   in_folder("weighted-again/checkpoint-8.h5"), "weights/") == 0);
    Error error = {0};
    data[strlen(data) - 3] = '1'; // the last weight
    assert_false(train(settings, &error));
    assert_non_null(strstr(error.message, "data.train"));
}

static void how_a_global_batch_is_cut_changes_nothing_but_rounding(void **state) {
    (void)state;
    char output[300];
    const char *sizes[][2] = {
        {"training.per_device_train_batch_size=8", "training.gradient_accumulation_steps=1"},
        {"training.per_device_train_batch_size=2", "training.gradient_accumulation_steps=4"}};
    for (int i = 0; i < 2; i++) {
        snprintf(output, sizeof output, "training.output_dir=%s", in_folder(i ? "cut" : "uncut"));
        const char *settings[] = {output,
                                  sizes[i][0],
                                  sizes[i][1],
                                  "training.max_steps=1",
                                  "training.warmup_ratio=0",
                                  "model.dtype=float32",
                                  "lora.lora_enable=true",
                                  "lora.lora_dropout=0",
                                  NULL};
        assert_trains(settings);
    }
    // exp_avg after one step is the clipped mean gradient. Its float32 sums run over up to 8 x 160
    // rows in another order: a few hundred roundings of 6e-8 that partly cancel, through a dozen
    // layers.
    assert_true(largest_difference(in_folder("uncut/checkpoint-1.h5"),
                                   in_folder("cut/checkpoint-1.h5"), "optimizer/exp_avg/") < 1e-3);
}

// ---- watching a run

/// The values of a metric over the steps of the run in that folder; the caller frees them with
/// metric_series_free().
static MetricSeries metric_of(const char *folder, const char *name) {
    Error error = {0};
    char path[300];
    snprintf(path, sizeof path, "%s/metrics.jsonl", in_folder(folder));
    MetricsLog *log = metrics_load(path, &error);
    if (!log) fail_msg("%s", error.message);
    MetricSeries series = metrics_series(log, "train", name);
    metrics_log_free(log);
    return series;
}

/// With a threshold of half a standard deviation a third of all steps is out of line, from the 65th
/// on: before, nothing is decided. The others go on from where the run "warn" stood then.
static void train_with_outliers(const char *folder, const char *action) {
    char output[300], setting[64], file[300];
    snprintf(output, sizeof output, "training.output_dir=%s", in_folder(folder));
    snprintf(setting, sizeof setting, "training.outlier_action=%s", action);
    if (strcmp(folder, "warn") != 0) {
        static const char *const files[] = {"checkpoint-64.h5", "metrics.jsonl"};
        assert_int_equal(mkdir(in_folder(folder), 0777), 0);
        for (int i = 0; i < 2; i++) {
            char from[300];
            snprintf(from, sizeof from, "%s/warn/%s", temporary_folder, files[i]);
            snprintf(file, sizeof file, "%s/%s/%s", temporary_folder, folder, files[i]);
            copy_file(from, file);
        }
    }
    assert_trains((const char *[]){
        output, setting, "training.outlier_zscore=0.5", "training.max_steps=80",
        "training.save_steps=64", "training.save_total_limit=0", "data.cache_features=true",
        "training.per_device_train_batch_size=1", "training.accept_changes=true", NULL});
}

/// The first step (from 1) that is out of line, 0 if there is none; asserts that exactly those were
/// left out if `skipped`.
static int first_outlier(const char *folder, bool skipped) {
    MetricSeries updated = metric_of(folder, "updated"), loss = metric_of(folder, "loss_zscore"),
                 norm = metric_of(folder, "grad_norm_zscore");
    assert_int_equal(loss.count, norm.count); // of the steps in which something is decided
    int undecided = updated.count - loss.count, first = 0;
    assert_int_equal(undecided, 64);
    for (int i = 0; i < loss.count; i++) {
        bool out = loss.values[i] > 0.5 || norm.values[i] > 0.5;
        if (out && !first) first = undecided + i + 1;
        assert_true(updated.values[undecided + i] == !(out && skipped));
    }
    for (int i = 0; i < undecided; i++) assert_true(updated.values[i] == 1);
    metric_series_free(&updated);
    metric_series_free(&loss);
    metric_series_free(&norm);
    return first;
}

static void steps_out_of_line_are_told_left_out_or_the_end_as_configured(void **state) {
    (void)state;
    train_with_outliers("warn", "warn");
    int first = first_outlier("warn", false);
    assert_true(first > 64);
    train_with_outliers("skip", "skip");
    assert_int_equal(first_outlier("skip", true), first);
    train_with_outliers("stop", "stop");
    assert_int_equal(first_outlier("stop", true), first);
    MetricSeries losses = metric_of("stop", "loss");
    assert_int_equal(losses.count, first);
    metric_series_free(&losses);
    char checkpoint[300];
    snprintf(checkpoint, sizeof checkpoint, "%s/checkpoint-%d.h5", in_folder("stop"), first);
    assert_int_equal(access(checkpoint, R_OK), 0);
}

static void a_loss_that_is_not_finite_names_the_first_kernel(void **state) {
    (void)state;
    Error error = {0};
    char output[300];
    snprintf(output, sizeof output, "training.output_dir=%s", in_folder("not-finite"));
    const char *settings[] = {output,
                              "model.dtype=float32",
                              "training.learning_rate=1e30",
                              "training.warmup_ratio=0",
                              "training.lr_scheduler_type=constant",
                              "training.max_grad_norm=0",
                              "training.max_steps=4",
                              "training.per_device_train_batch_size=2",
                              NULL};
    assert_false(train(settings, &error));
    assert_non_null(strstr(error.message, "is not finite. The first such values: "));
    assert_non_null(strstr(error.message, " of the values of "));
    assert_non_null(strstr(error.message, "float32"));
}

/// B begins as zeros, so what LoRA adds to the values is zero whatever its scale, but its gradient
/// is of the scale.
static void a_gradient_that_is_not_finite_names_the_first_kernel_and_its_tensor(void **state) {
    (void)state;
    Error error = {0};
    char output[300];
    snprintf(output, sizeof output, "training.output_dir=%s", in_folder("gradient-not-finite"));
    const char *settings[] = {output,
                              "model.dtype=float32",
                              "lora.lora_enable=true",
                              "lora.lora_r=1",
                              "lora.lora_alpha=1.9e37",
                              "training.max_steps=2",
                              "training.per_device_train_batch_size=4",
                              "training.gradient_accumulation_steps=8",
                              NULL};
    assert_false(train(settings, &error));
    print_message("%s\n", error.message);
    assert_non_null(strstr(error.message, "in step 1 the gradient of 'base_model.model.model."));
    assert_non_null(strstr(error.message, "lora_B.weight' is not finite although the loss is "));
    const char *first = strstr(error.message, "The first such values: ");
    assert_non_null(first);
    assert_non_null(strstr(first, " of the values of linear_weight_gradient, "));
    assert_non_null(strstr(first, "lora_B.weight'"));
}

/// Two text-only samples, the answer of the second too far from the beginning. "data.train=<file>".
static const char *data_with_an_answer_cut_off(void) {
    static char setting[320];
    FILE *file = fopen(in_folder("cut.json"), "w");
    assert_non_null(file);
    for (int i = 0; i < 2; i++) {
        fprintf(file, "%s{\"id\": \"%d\", \"conversations\": [{\"from\": \"human\", \"value\": \"",
                i ? "," : "[", i);
        for (int k = 0; k < (i ? 200 : 1); k++) fprintf(file, "what? ");
        fprintf(file, "\"}, {\"from\": \"gpt\", \"value\": \"A ring.\"}]}\n");
    }
    fprintf(file, "]");
    assert_int_equal(fclose(file), 0);
    snprintf(setting, sizeof setting, "data.train=%s", in_folder("cut.json"));
    return setting;
}

/// A seed with which the sample whose answer is cut off comes last or first.
static const char *seed_with_first(int64_t sample) {
    static char setting[64];
    Error error;
    for (uint64_t seed = 0;; seed++) {
        Sampler *sampler = sampler_create(
            &(SamplerOptions){
                .sample_count = 2, .chunks = 1, .micro_batch = 1, .seed = seed, .shuffle = true},
            &error);
        int64_t count;
        const bool found = *sampler_chunk(sampler, 0, 0, &count) == sample;
        sampler_free(sampler);
        snprintf(setting, sizeof setting, "training.seed=%d", (int)seed);
        if (found) return setting;
    }
}

static void a_batch_without_a_supervised_token_teaches_nothing(void **state) {
    (void)state;
    char output[300];
    snprintf(output, sizeof output, "training.output_dir=%s", in_folder("unsupervised"));
    assert_trains((const char *[]){
        output, data_with_an_answer_cut_off(), seed_with_first(0), "lora.lora_enable=true",
        "training.max_steps=2", "training.warmup_ratio=0", "training.save_steps=1",
        "training.save_total_limit=0", "training.per_device_train_batch_size=1", NULL});
    MetricSeries updated = metric_of("unsupervised", "updated");
    assert_int_equal(updated.count, 2);
    assert_true(updated.values[0] == 1 && updated.values[1] == 0);
    metric_series_free(&updated);
    assert_true(largest_difference(in_folder("unsupervised/checkpoint-1.h5"),
                                   in_folder("unsupervised/checkpoint-2.h5"), "weights/") == 0);
}

static void a_run_in_which_nothing_is_supervised_has_failed(void **state) {
    (void)state;
    Error error = {0};
    char output[300];
    snprintf(output, sizeof output, "training.output_dir=%s", in_folder("in-vain"));
    // The only step is about the sample that teaches nothing.
    assert_false(train((const char *[]){output, data_with_an_answer_cut_off(), seed_with_first(1),
                                        "lora.lora_enable=true", "training.max_steps=1",
                                        "training.per_device_train_batch_size=1", NULL},
                       &error));
    assert_non_null(strstr(error.message, "no token was supervised in any of the 1 steps"));
    assert_false(error.is_configuration);
}

static void a_run_that_cannot_teach_is_refused_before_its_folder_is_made(void **state) {
    (void)state;
    char output[300], captions[300];
    snprintf(output, sizeof output, "training.output_dir=%s", in_folder("refused"));
    snprintf(captions, sizeof captions, "data.train=%s",
             in_folder("world/train/blip_laion_cc_sbu_558k.json"));
    const struct {
        const char *settings[3], *message;
        bool is_configuration;
    } cases[] = {
        // sequences end before the answer
        {{captions, "data.model_max_length=80"}, "no token of any of the 20 samples", false},
        {{captions, "data.model_max_length=65"},
         "data.model_max_length: of 65 tokens an image alone takes 64",
         true},
        {{data_with_an_answer_cut_off()}, "data.train: no sample has an image", true},
        {{"data.version=plain"}, "data.version: ", true},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        Error error = {0};
        const char *settings[5] = {output};
        for (int k = 0; k < 3 && cases[i].settings[k]; k++) settings[k + 1] = cases[i].settings[k];
        assert_false(train(settings, &error));
        if (!strstr(error.message, cases[i].message)) fail_msg("case %zu: %s", i, error.message);
        assert_int_equal(error.is_configuration, cases[i].is_configuration);
        assert_int_equal(access(in_folder("refused"), F_OK), -1);
    }
}

static void held_out_data_that_teach_nothing_have_no_loss(void **state) {
    (void)state;
    char output[300], held_out[300];
    snprintf(output, sizeof output, "training.output_dir=%s", in_folder("no-loss"));
    snprintf(held_out, sizeof held_out, "data.eval=%s",
             in_folder("world/train/blip_laion_cc_sbu_558k.json"));
    assert_trains((const char *[]){output, data_with_an_answer_cut_off(), held_out,
                                   "training.eval_samples=0", "lora.lora_enable=true",
                                   "training.max_steps=1", "training.tensorboard=false",
                                   "training.per_device_train_batch_size=2", NULL});
    MetricsLog *log = metrics_load(in_folder("no-loss/metrics.jsonl"), NULL);
    assert_non_null(log);
    MetricSeries loss = metrics_series(log, "eval", "loss");
    assert_int_equal(loss.count, 0);
    metric_series_free(&loss);
    metrics_log_free(log);
}

/// An image's tokens matter only where there is an image.
static void text_needs_no_room_for_an_image(void **state) {
    (void)state;
    char output[300];
    snprintf(output, sizeof output, "training.output_dir=%s", in_folder("text"));
    assert_trains((const char *[]){output, data_with_an_answer_cut_off(), "lora.lora_enable=true",
                                   "data.model_max_length=60", "training.max_steps=1",
                                   "training.per_device_train_batch_size=2", NULL});
}

static void a_runs_folder_tells_how_to_repeat_it(void **state) {
    (void)state;
    char output[300];
    snprintf(output, sizeof output, "training.output_dir=%s", in_folder("record"));
    assert_trains((const char *[]){output, "training.max_steps=1",
                                   "training.per_device_train_batch_size=2", NULL});
    static const char *const files[] = {"record/config.yaml", "record/runs.jsonl",
                                        "record/command.sh",  "record/metrics.jsonl",
                                        "record/tensorboard", "record/checkpoint-1.h5"};
    for (size_t i = 0; i < sizeof files / sizeof *files; i++)
        assert_int_equal(access(in_folder(files[i]), R_OK), 0);
    assert_int_equal(access(in_folder("record/command.sh"), X_OK), 0);
    char line[4096] = {0};
    FILE *record = fopen(in_folder("record/runs.jsonl"), "r");
    assert_non_null(fgets(line, sizeof line, record));
    fclose(record);
    assert_non_null(strstr(line, "\"version\":\"0."));
    assert_non_null(strstr(line, "test_trainer")); // the command: this program
}

#ifdef DIFFLMM_TEST_CUDA
enum { DEVICE_STEPS = 2 };

/// Trains DEVICE_STEPS steps of a stage in a folder of that name; `losses` receives what they
/// printed.
static void train_on(const char *device, const char *folder, const char *dtype, int stage,
                     double *losses) {
    char output[300], chosen[64], type[64], metrics[300];
    snprintf(output, sizeof output, "training.output_dir=%s", in_folder(folder));
    snprintf(chosen, sizeof chosen, "training.device=%s", device);
    snprintf(type, sizeof type, "model.dtype=%s", dtype);
    const char *settings[] = {output,
                              chosen,
                              type,
                              stage == 2 ? "lora.lora_enable=true" : "lora.lora_enable=false",
                              "training.max_steps=2",
                              "training.warmup_ratio=0",
                              "training.save_steps=1",
                              "training.save_total_limit=0",
                              "training.per_device_train_batch_size=2",
                              NULL};
    assert_trains(settings);
    Error error = {0};
    snprintf(metrics, sizeof metrics, "%s/metrics.jsonl", in_folder(folder));
    MetricsLog *log = metrics_load(metrics, &error);
    if (!log) fail_msg("%s", error.message);
    MetricSeries series = metrics_series(log, "train", "loss");
    assert_int_equal(series.count, DEVICE_STEPS);
    memcpy(losses, series.values, DEVICE_STEPS * sizeof *losses);
    metric_series_free(&series);
    metrics_log_free(log);
}

/// How far a loss and a gradient may differ between two devices, relative: each value on the way is
/// rounded once in the networks' type, having been summed in float32 from up to TERMS products.
/// Independent errors add up as squares; both devices make them.
static double device_tolerance(bool bfloat16, double roundings) {
    enum { TERMS = 9 * 96 }; // the U-Net's widest convolution
    double unit = bfloat16 ? 0x1p-8 : 0x1p-24;
    return sqrt(2 * roundings) * (unit + sqrt(TERMS) * 0x1p-24);
}

static void a_gpu_trains_as_the_processor_does_and_repeats_itself_to_the_bit(void **state) {
    (void)state;
    // CLIP 36 values one after the other, the VAE 44, the U-Net up to block 1 180, the projector 8,
    // the language model 47; a gradient comes back through as many as it went. What an update moves
    // differently adds to the next loss no more than a pass does.
    enum { FORWARD = 36 + 44 + 180 + 8 + 47 };
    for (int bfloat16 = 0; bfloat16 < 2; bfloat16++)
        for (int stage = 1; stage <= 2; stage++) {
            const char *dtype = bfloat16 ? "bfloat16" : "float32";
            char cpu[64], cuda[64], again[64], a[300], b[300];
            snprintf(cpu, sizeof cpu, "cpu-%s-%d", dtype, stage);
            snprintf(cuda, sizeof cuda, "cuda-%s-%d", dtype, stage);
            snprintf(again, sizeof again, "again-%s-%d", dtype, stage);
            double want[DEVICE_STEPS], got[DEVICE_STEPS], repeated[DEVICE_STEPS];
            train_on("cpu", cpu, dtype, stage, want);
            train_on("cuda", cuda, dtype, stage, got);
            // Stage 2 trains what stage 1 does, and LoRA.
            if (stage == 2) train_on("cuda", again, dtype, stage, repeated);
            for (int i = 0; i < DEVICE_STEPS; i++) {
                double error = fabs(got[i] - want[i]) / want[i];
                double allowed = (i + 1) * device_tolerance(bfloat16, FORWARD);
                print_message("%s stage %d: loss %d off by %.1e (allowed %.1e)\n", dtype, stage, i,
                              error, allowed);
                assert_true(error <= allowed);
                assert_true(stage == 1 || repeated[i] == got[i]);
            }
            snprintf(a, sizeof a, "%s/%s/checkpoint-1.h5", temporary_folder, cpu);
            snprintf(b, sizeof b, "%s/%s/checkpoint-1.h5", temporary_folder, cuda);
            double error = gradient_distance(a, b);
            double allowed = device_tolerance(bfloat16, 2 * FORWARD);
            print_message("%s stage %d: gradient off by %.1e (allowed %.1e)\n", dtype, stage, error,
                          allowed);
            assert_true(error <= allowed);
            if (stage == 1) continue;
            snprintf(a, sizeof a, "%s/%s/checkpoint-2.h5", temporary_folder, cuda);
            snprintf(b, sizeof b, "%s/%s/checkpoint-2.h5", temporary_folder, again);
            assert_true(largest_difference(a, b, "weights/") == 0);
            assert_true(largest_difference(a, b, "optimizer/") == 0);
        }
}
#endif

static void an_image_that_cannot_be_read_stops_the_run_or_is_left_out(void **state) {
    (void)state;
    const char *data = getenv("DIFFLMM_SHARED_DATA");
    char photos[400], annotations[500], images[500], output[300];
    snprintf(photos, sizeof photos, "%s/photos", data ? data : SOURCE_DIR "/../shared/data");
    if (access(photos, R_OK)) {
        print_message("skipped: no photographs at %s\n", photos);
        skip();
    }
    snprintf(annotations, sizeof annotations, "data.train=%s/llava_instruct.json", photos);
    snprintf(images, sizeof images, "data.image_folder=%s", photos);
    snprintf(output, sizeof output, "training.output_dir=%s", in_folder("photos-fail"));
    const char *failing[] = {annotations,
                             images,
                             output,
                             "training.max_steps=20",
                             "training.per_device_train_batch_size=4",
                             NULL};
    Error error = {0};
    assert_false(train(failing, &error));
    assert_non_null(strstr(error.message, "truncated.jpg"));
    snprintf(output, sizeof output, "training.output_dir=%s", in_folder("photos-skip"));
    const char *skipping[] = {annotations,
                              images,
                              output,
                              "training.max_steps=6",
                              "training.per_device_train_batch_size=4",
                              "data.missing_image=skip",
                              "lora.lora_enable=true",
                              NULL};
    assert_trains(skipping);
    snprintf(annotations, sizeof annotations, "data.train=%s/llava_pretrain.json", photos);
    snprintf(output, sizeof output, "training.output_dir=%s", in_folder("photos-stage1"));
    const char *pretraining[] = {annotations,
                                 images,
                                 output,
                                 "training.max_steps=3",
                                 "training.per_device_train_batch_size=4",
                                 "data.version=plain",
                                 "data.missing_image=skip",
                                 "data.image_aspect_ratio=square",
                                 "data.cache_features=true",
                                 NULL};
    assert_trains(pretraining);
}

static void a_checkpoint_of_another_model_is_refused(void **state) {
    (void)state;
    char output[300], adapters[300];
    snprintf(output, sizeof output, "training.output_dir=%s", in_folder("other-base"));
    const char *base[] = {output, "training.max_steps=1", "training.per_device_train_batch_size=2",
                          "model.clip_concat=false", NULL};
    assert_trains(base);
    snprintf(output, sizeof output, "training.output_dir=%s", in_folder("other"));
    snprintf(adapters, sizeof adapters, "model.adapters=%s", in_folder("other-base"));
    const char *other[] = {output, adapters, "training.max_steps=1", NULL};
    Error error = {0};
    assert_false(train(other, &error));
    assert_non_null(strstr(error.message, "another model"));
    const char *llava[] = {output, adapters, "training.max_steps=1", "model.architecture=llava",
                           NULL};
    assert_false(train(llava, &error));
    assert_non_null(strstr(error.message, "does not have"));
    // The file is named once.
    assert_null(strstr(strstr(error.message, ".h5") + 1, ".h5"));
}

static int make_world(void **state) {
    Error error = {0};
    if (make_temporary_folder(state) != 0) return -1;
    WorldOptions options = {.seed = 5, .num_train = 20, .num_test = 2};
    if (world_write(in_folder("world"), &options, &error)) return 0;
    print_error("%s\n", error.message);
    return -1;
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(resuming_after_any_step_gives_the_same_bits_as_never_stopping),
        cmocka_unit_test(features_from_the_cache_train_to_the_same_bits_after_resuming),
        cmocka_unit_test(a_run_on_weighted_files_resumes_to_the_same_bits),
        cmocka_unit_test(how_a_global_batch_is_cut_changes_nothing_but_rounding),
        cmocka_unit_test(steps_out_of_line_are_told_left_out_or_the_end_as_configured),
        cmocka_unit_test(a_loss_that_is_not_finite_names_the_first_kernel),
        cmocka_unit_test(a_gradient_that_is_not_finite_names_the_first_kernel_and_its_tensor),
        cmocka_unit_test(a_batch_without_a_supervised_token_teaches_nothing),
        cmocka_unit_test(a_run_in_which_nothing_is_supervised_has_failed),
        cmocka_unit_test(a_run_that_cannot_teach_is_refused_before_its_folder_is_made),
        cmocka_unit_test(held_out_data_that_teach_nothing_have_no_loss),
        cmocka_unit_test(text_needs_no_room_for_an_image),
        cmocka_unit_test(a_runs_folder_tells_how_to_repeat_it),
#ifdef DIFFLMM_TEST_CUDA
        cmocka_unit_test(a_gpu_trains_as_the_processor_does_and_repeats_itself_to_the_bit),
#endif
        cmocka_unit_test(an_image_that_cannot_be_read_stops_the_run_or_is_left_out),
        cmocka_unit_test(a_checkpoint_of_another_model_is_refused),
    };
    return cmocka_run_group_tests(tests, make_world, remove_temporary_folder);
}
