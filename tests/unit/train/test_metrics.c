// rooms: train autograd
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "tests/unit/temporary_folder.h"
#include "train/log/metrics.h"

static const char LOG[] = "metrics.jsonl";

static void expect_text(const char *expected) {
    char text[4096] = {0};
    FILE *file = fopen(in_folder(LOG), "r");
    assert_non_null(file);
    assert_true(fread(text, 1, sizeof text - 1, file) < sizeof text - 1);
    fclose(file);
    assert_string_equal(text, expected);
    assert_int_equal(files_in_folder(), 1);
}

static MetricsWriter *open_at(int64_t step) {
    Error error = {0};
    MetricsWriter *writer = metrics_open(in_folder(LOG), step, &error);
    if (!writer) fail_msg("%s", error.message);
    return writer;
}

static void write_loss(MetricsWriter *writer, const char *kind, int64_t step, double loss) {
    Error error = {0};
    const Metric metrics[] = {{"loss", loss}, {"tokens", 512}};
    assert_true(metrics_write(writer, kind, step, metrics, 2, &error));
}

static void each_measurement_is_a_line_that_is_there_at_once(void **state) {
    (void)state;
    MetricsWriter *writer = open_at(-1);
    write_loss(writer, "train", 1, 0.1);
    expect_text("{\"step\": 1, \"kind\": \"train\", \"loss\": 0.1, \"tokens\": 512}\n");
    write_loss(writer, "eval", 2, NAN);
    metrics_close(writer);
    expect_text("{\"step\": 1, \"kind\": \"train\", \"loss\": 0.1, \"tokens\": 512}\n"
                "{\"step\": 2, \"kind\": \"eval\", \"loss\": null, \"tokens\": 512}\n");
}

static void resuming_drops_what_came_after_the_checkpoint(void **state) {
    (void)state;
    MetricsWriter *writer = open_at(-1);
    for (int step = 1; step <= 5; step++) write_loss(writer, "train", step, step);
    metrics_close(writer);
    writer = open_at(2);
    write_loss(writer, "train", 3, 33);
    metrics_close(writer);
    expect_text("{\"step\": 1, \"kind\": \"train\", \"loss\": 1, \"tokens\": 512}\n"
                "{\"step\": 2, \"kind\": \"train\", \"loss\": 2, \"tokens\": 512}\n"
                "{\"step\": 3, \"kind\": \"train\", \"loss\": 33, \"tokens\": 512}\n");
}

static void starting_anew_drops_all(void **state) {
    (void)state;
    write_text(LOG, "anything\nat all");
    metrics_close(open_at(-1));
    expect_text("");
}

static void a_last_line_that_was_cut_off_is_dropped(void **state) {
    (void)state;
    write_text(LOG, "{\"step\": 1, \"kind\": \"train\"}\n{\"step\": 2, \"ki");
    Error error = {0};
    MetricsLog *log = metrics_load(in_folder(LOG), &error);
    assert_non_null(log);
    metrics_log_free(log);
    metrics_close(open_at(7));
    expect_text("{\"step\": 1, \"kind\": \"train\"}\n");
}

static void a_file_of_something_else_is_refused_and_left_alone(void **state) {
    (void)state;
    const char text[] = "{\"step\": 1, \"kind\": \"train\"}\n{\"step\": \"x\", \"kind\": \"y\"}\n";
    write_text(LOG, text);
    Error error = {0};
    assert_null(metrics_open(in_folder(LOG), 5, &error));
    assert_non_null(strstr(error.message, "metrics.jsonl:2: expected a JSON object"));
    assert_null(metrics_load(in_folder(LOG), &error));
    expect_text(text);
}

static void a_folder_that_is_not_there_is_named(void **state) {
    (void)state;
    Error error = {0};
    assert_null(metrics_open("/nowhere/metrics.jsonl", -1, &error));
    assert_non_null(strstr(error.message, "/nowhere/metrics.jsonl: cannot be opened"));
    assert_null(metrics_load("/nowhere/metrics.jsonl", &error));
}

/// RLIMIT_FSIZE stands in for a full disk: the write comes back short, then fails.
static void a_line_that_does_not_fit_on_the_disk_is_reported_and_written_later(void **state) {
    (void)state;
    MetricsWriter *writer = open_at(-1);
    struct rlimit before, small = {40, 40};
    getrlimit(RLIMIT_FSIZE, &before);
    small.rlim_max = before.rlim_max;
    signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
    Error error = {0};
    const Metric metric = {"a_long_enough_name", 1};
    bool is_written = metrics_write(writer, "train", 1, &metric, 1, &error);
    setrlimit(RLIMIT_FSIZE, &before);
    assert_false(is_written);
    assert_non_null(strstr(error.message, "metrics.jsonl: cannot be written: the disk is full"));
    assert_true(metrics_write(writer, "train", 2, &metric, 1, &error));
    metrics_close(writer);
    MetricsLog *log = metrics_load(in_folder("metrics.jsonl"), &error);
    if (!log) fail_msg("%s", error.message);
    MetricSeries series = metrics_series(log, "train", metric.name);
    assert_int_equal(series.count, 2);
    assert_true(series.steps[0] == 1 && series.steps[1] == 2);
    metric_series_free(&series);
    metrics_log_free(log);
}

static void a_series_holds_the_finite_values_of_one_kind(void **state) {
    (void)state;
    MetricsWriter *writer = open_at(-1);
    write_loss(writer, "train", 1, 4);
    write_loss(writer, "eval", 1, 5);
    write_loss(writer, "train", 2, INFINITY);
    write_loss(writer, "train", 3, 2.5);
    metrics_close(writer);
    Error error = {0};
    MetricsLog *log = metrics_load(in_folder(LOG), &error);
    assert_non_null(log);
    MetricSeries series = metrics_series(log, "train", "loss");
    assert_int_equal(series.count, 2);
    assert_true(series.steps[1] == 3 && series.values[1] == 2.5);
    metric_series_free(&series);
    series = metrics_series(log, "train", "accuracy");
    assert_int_equal(series.count, 0);
    metric_series_free(&series);
    metrics_log_free(log);
}

static void the_names_of_a_kind_come_once_each_in_their_order(void **state) {
    (void)state;
    write_text(LOG, "{\"step\": 1, \"kind\": \"train\", \"loss\": 1}\n"
                    "{\"step\": 1, \"kind\": \"eval\", \"loss\": 1}\n"
                    "{\"step\": 1, \"kind\": \"eval\", \"res.giou\": 1, \"res.ciou\": 1}\n"
                    "{\"step\": 2, \"kind\": \"eval\", \"res.ciou\": 1, \"png.recall\": 1}\n");
    static const char *const EXPECTED[] = {"loss", "res.giou", "res.ciou", "png.recall"};
    Error error = {0};
    int count;
    MetricsLog *log = metrics_load(in_folder(LOG), &error);
    assert_non_null(log);
    const char **names = metrics_names(log, "eval", &count);
    assert_int_equal(count, 4);
    for (int i = 0; i < count; i++) assert_string_equal(names[i], EXPECTED[i]);
    free(names);
    free(metrics_names(log, "nothing", &count));
    assert_int_equal(count, 0);
    metrics_log_free(log);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        IN_FOLDER(each_measurement_is_a_line_that_is_there_at_once),
        IN_FOLDER(resuming_drops_what_came_after_the_checkpoint),
        IN_FOLDER(starting_anew_drops_all),
        IN_FOLDER(a_last_line_that_was_cut_off_is_dropped),
        IN_FOLDER(a_file_of_something_else_is_refused_and_left_alone),
        IN_FOLDER(a_folder_that_is_not_there_is_named),
        IN_FOLDER(a_line_that_does_not_fit_on_the_disk_is_reported_and_written_later),
        IN_FOLDER(a_series_holds_the_finite_values_of_one_kind),
        IN_FOLDER(the_names_of_a_kind_come_once_each_in_their_order),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
