// rooms: train eval models ops checkpoints tiny_world data autograd
// Training as a whole, on a few scenes of the tiny world with the tiny frozen networks: the same
// run stopped and resumed, the same batch cut differently, the same run on a GPU.
#include "tests/unit/trained_runs.h"

#include <unistd.h>

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

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(resuming_after_any_step_gives_the_same_bits_as_never_stopping),
        cmocka_unit_test(features_from_the_cache_train_to_the_same_bits_after_resuming),
        cmocka_unit_test(a_run_on_weighted_files_resumes_to_the_same_bits),
        cmocka_unit_test(how_a_global_batch_is_cut_changes_nothing_but_rounding),
        cmocka_unit_test(a_runs_folder_tells_how_to_repeat_it),
        cmocka_unit_test(a_checkpoint_of_another_model_is_refused),
#ifdef DIFFLMM_TEST_CUDA
        cmocka_unit_test(a_gpu_trains_as_the_processor_does_and_repeats_itself_to_the_bit),
#endif
    };
    return cmocka_run_group_tests(tests, make_world, remove_temporary_folder);
}
