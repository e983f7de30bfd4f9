// rooms: train eval models ops checkpoints data autograd
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "eval/pages/plot.h"
#include "tests/unit/made_evaluations.h"
#include "tests/unit/temporary_folder.h"
#include "tests/unit/well_formed.h"
#include "train/command.h"
#include "train/report/report_compare.h"
#include "train/report/report_parts.h"

static void make_folder(const char *name) { assert_int_equal(mkdir(in_folder(name), 0777), 0); }

/// A training of three steps whose losses are first, first - 0.25 and first - 0.5.
static void write_training(const char *folder, double first, const char *rest_of_configuration) {
    char name[128], text[2048];
    make_folder(folder);
    snprintf(name, sizeof name, "%s/metrics.jsonl", folder);
    snprintf(text, sizeof text,
             "{\"step\": 1, \"kind\": \"train\", \"loss\": %g, \"tokens_per_second\": 100, "
             "\"seconds\": 2, \"device_peak_bytes\": 1048576, \"updated\": 1}\n"
             "{\"step\": 2, \"kind\": \"train\", \"loss\": %g, \"tokens_per_second\": 150, "
             "\"seconds\": 4, \"device_peak_bytes\": 2097152, \"updated\": 1}\n"
             "{\"step\": 2, \"kind\": \"eval\", \"loss\": %g}\n"
             "{\"step\": 3, \"kind\": \"train\", \"loss\": %g, \"tokens_per_second\": 50, "
             "\"seconds\": 1, \"device_peak_bytes\": 2097152, \"updated\": 1}\n",
             first, first - 0.25, first + 1, first - 0.5);
    write_text(name, text);
    snprintf(name, sizeof name, "%s/config.yaml", folder);
    snprintf(text, sizeof text, "model:\n  timestep: 100\n\ntraining:\n  output_dir: %s\n%s",
             folder, rest_of_configuration);
    write_text(name, text);
}

static ReportRun read_run(const char *folder) {
    ReportRun run;
    Error error;
    if (!report_run_read(&run, in_folder(folder), &error)) fail_msg("%s", error.message);
    return run;
}

static void expect_refusal(const char *folder, const char *part) {
    ReportRun run;
    Error error = {0};
    assert_false(report_run_read(&run, in_folder(folder), &error));
    if (!strstr(error.message, part)) fail_msg("'%s' without '%s'", error.message, part);
}

static void a_folder_is_one_training_or_holds_stages(void **state) {
    (void)state;
    write_training("alone", 2, "");
    make_folder("staged");
    write_training("staged/one", 3, "");
    write_training("staged/two", 4, "");
    make_folder("staged/eval");
    make_folder("staged/eval/trained");
    write_text("staged/eval/trained/results.json", "{\"point_accuracy\": 0.5, \"seconds\": 7}");
    ReportRun alone = read_run("alone"), staged = read_run("staged");
    assert_int_equal(alone.num_trainings, 1);
    assert_string_equal(alone.trainings[0].name, REPORT_ONLY_TRAINING);
    assert_string_equal(alone.name, "alone");
    assert_int_equal(staged.num_trainings, 2);
    assert_string_equal(staged.trainings[1].name, "two");
    assert_non_null(report_run_evaluation(&staged, "trained"));
    assert_null(report_run_evaluation(&alone, "trained"));
    // 4 seconds, then resumed for 1: 2 * 5 and 7 of the evaluation.
    assert_true(report_run_seconds(&staged) == 17);
    report_run_free(&alone);
    report_run_free(&staged);
}

static void figures_are_those_of_the_log(void **state) {
    (void)state;
    write_training("a", 2, "");
    ReportRun run = read_run("a");
    const ReportTraining *training = &run.trainings[0];
    assert_true(training->steps == 3 && training->seconds == 5);
    // 200 tokens in 2 seconds, 400 in the 2 after them, and 50 in 1 second of the resumed run.
    const MetricSeries *rate = &training->series[QUANTITY_TOKENS_PER_SECOND];
    assert_int_equal(rate->count, 3);
    assert_true(rate->values[0] == 100 && rate->values[1] == 200 && rate->values[2] == 50);
    assert_true(training->tokens_per_second == 130);
    assert_true(training->device_peak_memory == 2097152);
    double step = 0;
    assert_true(report_lowest(&training->series[QUANTITY_LOSS], &step) == 1.5 && step == 3);
    assert_true(report_last(&training->series[QUANTITY_HELD_OUT_LOSS]) == 3);
    assert_true(isnan(report_last(&training->series[QUANTITY_SHARE_OF_PEAK])));
    report_run_free(&run);
}

static void what_is_no_run_is_refused_by_name(void **state) {
    (void)state;
    expect_refusal("nowhere", "nowhere");
    write_text("file", "x");
    expect_refusal("file", "not a file");
    make_folder("empty");
    expect_refusal("empty", "metrics.jsonl");
    make_folder("broken");
    write_text("broken/metrics.jsonl",
               "{\"step\": 1, \"kind\": \"train\", \"loss\": 1}\n{\"st\n{}\n");
    expect_refusal("broken", "metrics.jsonl:2");
    make_folder("results");
    make_folder("results/eval");
    make_folder("results/eval/a");
    write_text("results/eval/a/results.json", "{\"seconds\": ");
    expect_refusal("results", "results.json:1");
}

static void a_log_that_is_cut_off_or_empty_is_a_run(void **state) {
    (void)state;
    make_folder("cut");
    write_text("cut/metrics.jsonl",
               "{\"step\": 1, \"kind\": \"train\", \"loss\": 1.5}\n{\"step\": 2, \"ki");
    write_text("cut/runs.jsonl", "{\"version\": \"one\"}\nnonsense\n{\"vers");
    make_folder("empty");
    write_text("empty/metrics.jsonl", "");
    ReportRun runs[] = {read_run("cut"), read_run("empty")};
    assert_int_equal(runs[0].trainings[0].series[QUANTITY_LOSS].count, 1);
    assert_int_equal(json_array_size(runs[0].trainings[0].starts), 1);
    const char *const names[] = {"cut", "empty"};
    HtmlReport *report = report_compare(runs, names, 2);
    char *page = html_report_page(report);
    expect_well_formed(page);
    assert_non_null(strstr(page, "1.5000"));
    assert_non_null(strstr(page, "The runs have kept no configuration."));
    free(page);
    html_report_free(report);
    for (int i = 0; i < 2; i++) report_run_free(&runs[i]);
}

static void names_are_as_long_as_it_takes(void **state) {
    (void)state;
    make_folder("a");
    make_folder("b");
    write_training("a/tiny", 1, "");
    write_training("b/tiny", 2, "");
    write_training("b/other", 3, "");
    ReportRun runs[] = {read_run("a/tiny"), read_run("b/tiny"), read_run("b/other")};
    Error error = {0};
    char **names = report_names(runs, 3, &error);
    assert_string_equal(names[0], "a/tiny");
    assert_string_equal(names[1], "b/tiny");
    report_names_free(names, 3);
    names = report_names(runs + 1, 2, &error);
    assert_string_equal(names[0], "tiny");
    assert_string_equal(names[1], "other");
    report_names_free(names, 2);
    ReportRun twice[] = {read_run("b/tiny"), read_run("a/../b/tiny/")};
    assert_null(report_names(twice, 2, &error));
    assert_non_null(strstr(error.message, "the same folder"));
    for (int i = 0; i < 3; i++) report_run_free(&runs[i]);
    for (int i = 0; i < 2; i++) report_run_free(&twice[i]);
}

static void settings_are_found_in_their_section(void **state) {
    (void)state;
    const char *text = "model:\n  seed: 1\n  llm: \"a: b\"\n\neval:\n  seed: 42\n  layers: []\n";
    const struct {
        const char *key, *value;
    } cases[] = {{"model.seed", "1"},   {"eval.seed", "42"}, {"model.llm", "\"a: b\""},
                 {"eval.layers", "[]"}, {"eval.llm", NULL},  {"model.see", NULL},
                 {"mode.seed", NULL}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char *value = report_setting(text, cases[i].key);
        if (cases[i].value)
            assert_string_equal(value, cases[i].value);
        else
            assert_null(value);
        free(value);
    }
}

static void a_comparison_marks_the_best_and_lists_what_differs(void **state) {
    (void)state;
    write_training("low", 2, "  seed: 1\n  lr: 0.1\n");
    write_training("high", 4, "  seed: 1\n  lr: <0.2>\n  new_key: 5\n");
    write_text("low/runs.jsonl",
               "{\"started\": \"2026-01-01T00:00:00Z\", \"version\": \"1\", \"host\": \"first\", "
               "\"device\": \"cpu\", \"processor\": \"P\", \"processes\": 1, \"cores\": 2, "
               "\"first_step\": 0, \"folder\": \"/w\", \"command\": \"difflmm train a.yaml\"}\n"
               "{\"started\": \"2026-01-02T00:00:00Z\", \"version\": \"2\", \"host\": \"second\", "
               "\"device\": \"H\", \"processes\": 3, \"cores\": 2, \"first_step\": 2, "
               "\"folder\": \"/w\", \"command\": \"mpirun -n 3 difflmm train a.yaml\"}\n");
    ReportRun runs[] = {read_run("low"), read_run("high")};
    const char *const names[] = {"low", "<high>"};
    HtmlReport *report = report_compare(runs, names, 2);
    char *page = html_report_page(report);
    expect_well_formed(page);
    assert_null(strstr(page, "<high>"));
    // Losses: the last and the best one, of training and held out. Time, rate and memory are the
    // same.
    assert_int_equal(count_of(page, "<td class=\"number best\">"), 4);
    assert_non_null(strstr(page, "<td class=\"number best\">1.5000</td>"));
    assert_non_null(strstr(page, "<td class=\"number best\">3.0000</td>"));
    assert_non_null(strstr(page, "<td>training.lr</td>"));
    assert_non_null(strstr(page, "&lt;0.2&gt;"));
    assert_non_null(strstr(page, "<td>training.new_key</td>"));
    assert_null(strstr(page, "<td>training.seed</td>"));
    assert_null(strstr(page, "<td>model.timestep</td>"));
    assert_null(strstr(page, "<td>training.output_dir</td>"));
    // Begun with the first start, where it was last.
    assert_non_null(strstr(page, "2026-01-01T00:00:00Z</td>"));
    assert_null(strstr(page, "2026-01-02T00:00:00Z</td>"));
    assert_non_null(strstr(page, ">second</td>"));
    assert_non_null(strstr(page, "mpirun -n 3 difflmm train a.yaml"));
    assert_non_null(strstr(page, "<b>2</b> &lt;high&gt;</span>"));
    free(page);
    html_report_free(report);
    for (int i = 0; i < 2; i++) report_run_free(&runs[i]);
}

static void evaluations_are_compared_where_they_are(void **state) {
    (void)state;
    for (int i = 0; i < 2; i++) {
        char name[64], text[128];
        snprintf(name, sizeof name, "run%d", i);
        make_folder(name);
        snprintf(name, sizeof name, "run%d/eval", i);
        make_folder(name);
        snprintf(name, sizeof name, "run%d/eval/trained", i);
        make_folder(name);
        snprintf(name, sizeof name, "run%d/eval/trained/results.json", i);
        snprintf(text, sizeof text, "{\"point_accuracy\": 0.%d, \"images\": 200}", 61 + 10 * i);
        write_text(name, text);
    }
    make_folder("run0/eval/untrained");
    write_text("run0/eval/untrained/results.json", "{\"point_accuracy\": 0.125}");
    ReportRun runs[] = {read_run("run0"), read_run("run1")};
    const char *const names[] = {"run0", "run1"};
    HtmlReport *report = report_compare(runs, names, 2);
    char *page = html_report_page(report);
    expect_well_formed(page);
    // Of results without intervals the figures are shown, and why there is no difference.
    assert_int_equal(count_of(page, "data-value=\"0.71\">0.710</td>"), 1);
    assert_int_equal(count_of(page, "data-value=\"0.125\">0.125</td>"), 1);
    assert_int_equal(count_of(page, "no paired difference: "), 1);
    assert_int_equal(count_of(page, "number best\""), 0);
    free(page);
    html_report_free(report);
    for (int i = 0; i < 2; i++) report_run_free(&runs[i]);
}

static char *compared(ReportRun *runs, const char *const *names, int count) {
    HtmlReport *report = report_compare(runs, names, count);
    char *page = html_report_page(report);
    expect_well_formed(page);
    html_report_free(report);
    for (int i = 0; i < count; i++) report_run_free(&runs[i]);
    return page;
}

static void evaluations_of_the_same_images_are_paired(void **state) {
    (void)state;
    write_annotations("annotations.json");
    for (int i = 0; i < 2; i++) {
        char name[64];
        snprintf(name, sizeof name, "run%d", i);
        make_folder(name);
        snprintf(name, sizeof name, "run%d/eval", i);
        make_folder(name);
        snprintf(name, sizeof name, "run%d/eval/some", i);
        write_evaluation(name, "annotations.json", i ? "xxxxxx.x" : "xx..xx..");
    }
    ReportRun runs[] = {read_run("run0"), read_run("run1")};
    const char *const names[] = {"run0", "<run1>"};
    char *page = compared(runs, names, 2);
    assert_non_null(strstr(page, "<h2>Points</h2>"));
    // 7 of 8 hits, and 4 of 8: of the named nouns and of all nouns.
    assert_int_equal(count_of(page, "data-value=\"0.875\">0.875<div class=\"note\">"), 2);
    assert_int_equal(count_of(page, "<td class=\"number best\" data-value=\"0.375\">+0.375<"), 2);
    assert_int_equal(count_of(page, ">base</td>"), 6);
    assert_non_null(strstr(page, "<title>some, 2: 0.875 ("));
    assert_null(strstr(page, "no paired difference"));
    free(page);
}

static void evaluations_of_other_images_or_tasks_are_not_paired(void **state) {
    (void)state;
    write_annotations("annotations.json");
    make_folder("run0");
    make_folder("run0/eval");
    make_folder("run1");
    make_folder("run1/eval");
    write_evaluation("run0/eval/some", "annotations.json", "xx..xx..");
    write_evaluation("run1/eval/some", "annotations.json", "xx..xx..");
    write_evaluation("run0/eval/task", "annotations.json", "xx..xx..");
    make_folder("run1/eval/task");
    write_text("run1/eval/task/results.json",
               "{\"task\": \"gcg\", \"ap50\": 0.5, \"intervals\": {\"ap50\": [0.25, 0.75]}}");
    write_text("run1/eval/some/items.jsonl",
               "{\"id\": \"1\", \"image_id\": \"1\", \"answer\": \"\", \"phrases\": []}\n");
    ReportRun runs[] = {read_run("run0"), read_run("run1")};
    const char *const names[] = {"run0", "run1"};
    char *page = compared(runs, names, 2);
    assert_int_equal(count_of(page, "no paired difference: "), 1);
    assert_non_null(strstr(page, "has 1 verdicts, but its annotations have 8 items"));
    assert_non_null(strstr(page, "<h2>Grounded conversations</h2>"));
    assert_non_null(strstr(page, "0.500<div class=\"note\">0.250 to 0.750</div>"));
    free(page);
}

static void outliers_and_left_out_steps_are_marked(void **state) {
    (void)state;
    make_folder("a");
    write_text(
        "a/metrics.jsonl",
        "{\"step\": 1, \"kind\": \"train\", \"loss\": 1, \"grad_norm\": 1, \"updated\": 1, "
        "\"loss_zscore\": 3.5, \"grad_norm_zscore\": 4.5}\n"
        "{\"step\": 2, \"kind\": \"train\", \"loss\": 9, \"grad_norm\": 9, \"updated\": 0, "
        "\"loss_zscore\": 5.5, \"grad_norm_zscore\": 6.5}\n"
        "{\"step\": 3, \"kind\": \"train\", \"updated\": 0}\n"
        "{\"step\": 4, \"kind\": \"train\", \"loss\": 1, \"grad_norm\": 1, \"updated\": 1}\n");
    write_text("a/config.yaml", "training:\n  outlier_zscore: 4\n");
    ReportRun run = read_run("a");
    ReportEvents events = report_count_events(&run.trainings[0]);
    assert_int_equal(events.outliers, 2); // step 2 once, though both are out of line
    assert_int_equal(events.left_out, 2);
    HtmlReport *report = html_report_new("t", NULL);
    report_training_charts(report, &run.trainings[0]);
    char *page = html_report_page(report);
    expect_well_formed(page);
    assert_int_equal(count_of(page, "step 2: loss 9, 5.5 standard deviations"), 1);
    assert_int_equal(count_of(page, "step 1: gradient norm 1, 4.5 standard deviations"), 1);
    assert_int_equal(count_of(page, "step 2 was not applied"), 2); // in both charts
    assert_int_equal(count_of(page, "step 3 was not applied"), 2); // no loss: on the axis
    free(page);
    html_report_free(report);
    report_run_free(&run);
}

/// A training with a loss and a figure of each name, in a folder of that name.
static void write_figures(const char *folder, const char *one, const char *other) {
    char name[64], text[512];
    make_folder(folder);
    snprintf(name, sizeof name, "%s/metrics.jsonl", folder);
    snprintf(text, sizeof text,
             "{\"step\": 2, \"kind\": \"train\", \"loss\": 1}\n"
             "{\"step\": 2, \"kind\": \"eval\", \"loss\": 1}\n"
             "{\"step\": 2, \"kind\": \"eval\", \"%s\": 0.25, \"%s\": 0.5}\n"
             "{\"step\": 4, \"kind\": \"eval\", \"%s\": 0.75, \"%s\": 0.5}\n",
             one, other, one, other);
    write_text(name, text);
}

static void figures_of_tasks_in_training_have_a_chart_each(void **state) {
    (void)state;
    write_figures("a", "res.giou", "points.mean_iou");
    write_figures("b", "points.mean_iou", "res.precision_at_0.5");
    ReportRun runs[] = {read_run("a"), read_run("b")};
    assert_int_equal(runs[0].trainings[0].num_figures, 2);
    const MetricSeries *series = report_run_figure(&runs[0].trainings[0], "res.giou");
    assert_non_null(series);
    assert_true(series->count == 2 && series->steps[1] == 4 && series->values[1] == 0.75);
    assert_null(report_run_figure(&runs[1].trainings[0], "res.giou"));

    HtmlReport *report = html_report_new("t", NULL);
    report_training_charts(report, &runs[0].trainings[0]);
    char *page = html_report_page(report);
    expect_well_formed(page);
    assert_int_equal(count_of(page, "<figcaption>res: giou</figcaption>"), 1);
    assert_int_equal(count_of(page, "<figcaption>points: mean_iou</figcaption>"), 1);
    free(page);
    html_report_free(report);

    static const char *const NAMES[] = {"a", "b"};
    char *html;
    report = report_compare(runs, NAMES, 2);
    html = html_report_page(report);
    expect_well_formed(html);
    assert_int_equal(count_of(html, "<figcaption>res: giou</figcaption>"), 1);
    assert_int_equal(count_of(html, "<figcaption>points: mean_iou</figcaption>"), 1);
    assert_int_equal(count_of(html, "<figcaption>res: precision_at_0.5</figcaption>"), 1);
    free(html);
    html_report_free(report);
    for (int i = 0; i < 2; i++) report_run_free(&runs[i]);
}

static void numbered_lines_keep_their_look_and_their_numbers_apart(void **state) {
    (void)state;
    const double x[] = {0, 1}, y[] = {0, 1};
    const PlotSeries series[] = {{.label = "a", .x = x, .y = y, .count = 2},
                                 {.label = "b", .x = x, .y = y, .count = 2},
                                 {.label = "c", .x = x, .y = y, .count = 2}};
    const int numbers[] = {0, 1, 4};
    Plot plot = {.title = "t",
                 .x_label = "x",
                 .y_label = "y",
                 .series = series,
                 .num_series = 3,
                 .numbers = numbers};
    char *svg = plot_svg(&plot);
    expect_well_formed(svg);
    double at[3];
    for (int i = 0; i < 3; i++) {
        char text[16];
        snprintf(text, sizeof text, ">%d</text>", numbers[i] + 1);
        const char *found = strstr(strstr(svg, "font-weight"), text);
        assert_non_null(found);
        while (strncmp(found, " y=\"", 4) != 0) found--;
        at[i] = strtod(found + 4, NULL);
    }
    assert_true(at[1] - at[0] >= 12 && at[2] - at[1] >= 12);
    // Number 5 has the fifth colour and, as the first one, no dashes.
    assert_non_null(strstr(svg, "#a463f2"));
    assert_int_equal(count_of(svg, "stroke-dasharray=\"9 4\""), 1);
    assert_int_equal(count_of(svg, "stroke-dasharray"), 1 + 3); // and the way to each number
    free(svg);
}

static int report(const char *const *arguments) {
    char *argv[8] = {"report"};
    int argc = 1;
    for (; arguments[argc - 1]; argc++) argv[argc] = (char *)arguments[argc - 1];
    return command_report(argc, argv);
}

static void the_command_writes_its_page_where_it_is_told(void **state) {
    (void)state;
    make_folder("runs");
    write_training("runs/a", 1, "");
    write_training("runs/b", 2, "");
    const char *a = in_folder("runs/a"), *b = in_folder("runs/b"),
               *page = in_folder("runs/comparison.html"), *out = in_folder("out.html");
    assert_int_equal(report((const char *[]){a, NULL}), EXIT_DONE);
    assert_int_equal(access(in_folder("runs/a/report/index.html"), F_OK), 0);
    assert_int_equal(access(in_folder("runs/a/report/summary.json"), F_OK), 0);
    assert_int_equal(report((const char *[]){b, "--out", out, NULL}), EXIT_DONE);
    assert_int_equal(access(out, F_OK), 0);
    assert_int_equal(access(in_folder("runs/b/report"), F_OK), -1);
    assert_int_equal(report((const char *[]){a, b, NULL}), EXIT_DONE);
    assert_int_equal(access(page, F_OK), 0);
    // As runs/* says it the next time.
    assert_int_equal(report((const char *[]){a, b, page, NULL}), EXIT_DONE);
    assert_int_equal(report((const char *[]){a, a, NULL}), EXIT_FAILED);
    assert_int_equal(report((const char *[]){a, b, "--out", "/nowhere/x.html", NULL}), EXIT_FAILED);
    assert_int_equal(report((const char *[]){a, in_folder("runs"), NULL}), EXIT_DONE);
    assert_int_equal(report((const char *[]){NULL}), EXIT_USAGE);
    assert_int_equal(report((const char *[]){a, "--out", NULL}), EXIT_USAGE);
    assert_int_equal(report((const char *[]){a, "--started", "soon", NULL}), EXIT_USAGE);
    assert_int_equal(report((const char *[]){a, b, "--started", "5", NULL}), EXIT_USAGE);
    assert_int_equal(report((const char *[]){a, "--colour", NULL}), EXIT_USAGE);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        IN_FOLDER(a_folder_is_one_training_or_holds_stages),
        IN_FOLDER(figures_are_those_of_the_log),
        IN_FOLDER(what_is_no_run_is_refused_by_name),
        IN_FOLDER(a_log_that_is_cut_off_or_empty_is_a_run),
        IN_FOLDER(names_are_as_long_as_it_takes),
        cmocka_unit_test(settings_are_found_in_their_section),
        IN_FOLDER(a_comparison_marks_the_best_and_lists_what_differs),
        IN_FOLDER(evaluations_are_compared_where_they_are),
        IN_FOLDER(evaluations_of_the_same_images_are_paired),
        IN_FOLDER(evaluations_of_other_images_or_tasks_are_not_paired),
        IN_FOLDER(outliers_and_left_out_steps_are_marked),
        IN_FOLDER(figures_of_tasks_in_training_have_a_chart_each),
        cmocka_unit_test(numbered_lines_keep_their_look_and_their_numbers_apart),
        IN_FOLDER(the_command_writes_its_page_where_it_is_told),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
