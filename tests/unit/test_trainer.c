// rooms: train eval models ops checkpoints tiny_world data autograd
// Training as a whole, on a few scenes of the tiny world with the tiny frozen networks: the same run stopped and resumed, the same
// batch cut differently, real photographs.
#include "checkpoints/training_state.h"
#include "data/tiny/world.h"
#include "tests/unit/temporary_folder.h"
#include "train/trainer.h"

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

/// Runs the trainer with these settings on top of what all tests share.
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
                                 "training.threads=2",
                                 "training.logging_steps=1000",
                                 "training.learning_rate=1e-3",
                                 "lora.lora_r=4",
                                 "lora.lora_alpha=8",
                                 shared[0],
                                 shared[1]};
    int count = 13;
    while (*settings) overrides[count++] = *settings++;
    Config *config = config_load(NULL, overrides, count, error);
    if (!config) return false;
    bool ok = trainer_run(config, error);
    config_free(config);
    return ok;
}

static void assert_trains(const char *const *settings) {
    Error error = {0};
    if (!train(settings, &error)) fail_msg("%s", error.message);
}

// ---- comparing checkpoints

/// The largest difference between the arrays of two checkpoints whose names begin with `prefix`, relative to the largest value.
static double largest_difference(const char *a_path, const char *b_path, const char *prefix) {
    Error error = {0};
    StateFile *a = state_open(a_path, &error), *b = state_open(b_path, &error);
    if (!a || !b) fail_msg("%s", error.message);
    double largest = 0;
    int compared = 0;
    for (int64_t i = 0; i < state_array_count(a); i++) {
        const char *name = state_array_name(a, i);
        if (strncmp(name, prefix, strlen(prefix))) continue;
        StateType type;
        int rank;
        int64_t shape[STATE_MAX_RANK], n = 1;
        assert_true(state_describe_array(a, name, &type, &rank, shape, &error));
        for (int k = 0; k < rank; k++) n *= shape[k];
        float *x = malloc((size_t)n * 4), *y = malloc((size_t)n * 4);
        assert_true(state_read_array(a, name, type, rank, shape, x, &error));
        assert_true(state_read_array(b, name, type, rank, shape, y, &error));
        double difference = 0, size = 0;
        for (int64_t k = 0; k < n; k++) {
            difference = fmax(difference, fabs((double)x[k] - (double)y[k]));
            size = fmax(size, fabs((double)x[k]));
        }
        if (size > 0) largest = fmax(largest, difference / size);
        free(x);
        free(y);
        compared++;
    }
    assert_true(compared > 0);
    state_close(a);
    state_close(b);
    return largest;
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
                              NULL};
    assert_trains(settings);
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
    // exp_avg after one step is the clipped mean gradient. Its float32 sums run over up to 8 x 160 rows in another order: a few hundred
    // roundings of 6e-8 that partly cancel, through a dozen layers.
    assert_true(largest_difference(in_folder("uncut/checkpoint-1.h5"),
                                   in_folder("cut/checkpoint-1.h5"), "optimizer/exp_avg/") < 1e-3);
}

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
        cmocka_unit_test(how_a_global_batch_is_cut_changes_nothing_but_rounding),
        cmocka_unit_test(an_image_that_cannot_be_read_stops_the_run_or_is_left_out),
        cmocka_unit_test(a_checkpoint_of_another_model_is_refused),
    };
    return cmocka_run_group_tests(tests, make_world, remove_temporary_folder);
}
