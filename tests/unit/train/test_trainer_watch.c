// rooms: train eval models ops checkpoints tiny_world data autograd
// A run that goes wrong: steps out of line with the recent ones, losses and gradients that are not
// finite.
#include "tests/unit/trained_runs.h"

#include <sys/stat.h>
#include <unistd.h>

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

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(steps_out_of_line_are_told_left_out_or_the_end_as_configured),
        cmocka_unit_test(a_loss_that_is_not_finite_names_the_first_kernel),
        cmocka_unit_test(a_gradient_that_is_not_finite_names_the_first_kernel_and_its_tensor),
    };
    return cmocka_run_group_tests(tests, make_world, remove_temporary_folder);
}
