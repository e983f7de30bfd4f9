// rooms: train eval models ops checkpoints data autograd
// What stands in the table of a sweep.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tests/unit/made_sweeps.h"
#include "train/evaluation/evaluation_compare.h"

static json_t *written(const Sweep *sweep) {
    expect_written(sweep);
    json_error_t reason;
    json_t *table = json_load_file(in_folder("table.json"), 0, &reason);
    if (!table) fail_msg("%s", reason.text);
    return table;
}

static const json_t *lines_of(const json_t *table) {
    return json_object_get(json_array_get(json_object_get(table, "tasks"), 0), "lines");
}

static const json_t *line_named(const json_t *table, const char *name) {
    size_t i;
    json_t *line;
    json_array_foreach((json_t *)lines_of(table), i, line)
        if (!strcmp(json_string_value(json_object_get(line, "name")), name)) return line;
    fail_msg("no line is called %s", name);
    return NULL;
}

static const json_t *figure_of(const json_t *line, const char *figure) {
    return json_object_get(json_object_get(line, "figures"), figure);
}

static double number(const json_t *object, const char *key) {
    const json_t *value = json_object_get(object, key);
    return json_is_number(value) ? json_number_value(value) : NAN;
}

static void expect_order(const json_t *table, const char *names) {
    char found[256] = "";
    size_t i;
    json_t *line;
    json_array_foreach((json_t *)lines_of(table), i, line) {
        strcat(found, i ? " " : "");
        strcat(found, json_string_value(json_object_get(line, "name")));
    }
    assert_string_equal(found, names);
}

static void lines_are_sorted_by_the_figure_that_is_asked_for(void **state) {
    (void)state;
    write_annotations("annotations.json");
    Sweep sweep;
    begin_sweep(&sweep);
    add_cell(&sweep, "few", "[0]", NULL, "x.......");
    add_cell(&sweep, "many", "[1]", NULL, "xxxxxx..");
    add_cell(&sweep, "some", "[2]", NULL, "xxx.....");
    json_t *table = written(&sweep);
    expect_order(table, "many some few");
    json_decref(table);
    // Equal in all cells: they stay as they are.
    sweep.table.sort_by = "mean_iou";
    table = written(&sweep);
    expect_order(table, "few many some");
    assert_true(number(figure_of(line_named(table, "many"), "point_accuracy"), "value") == 0.75);
    json_decref(table);
    sweep.table.sort_by = "no_figure";
    table = written(&sweep);
    expect_order(table, "many some few");
    json_decref(table);
}

static void evaluations_and_stages_have_tables_of_their_own(void **state) {
    (void)state;
    static const char *const PLACES[][2] = {{NULL, "one"}, {NULL, "two"}, {"grown", "two"}};
    write_annotations("annotations.json");
    Sweep sweep;
    begin_sweep(&sweep);
    sweep.table.base = "a";
    for (int i = 0; i < 6; i++) {
        static const char *const NAMES[] = {"a-0", "b-0", "a-1", "b-1", "a-2", "b-2"},
                                 *const HITS[] = {"x.......", "xxx.....", "xx......",
                                                  "x.......", "........", "xxxxxxxx"};
        SweepCell *cell = add_cell(&sweep, NAMES[i], i % 2 ? "[1]" : "[0]", NULL, HITS[i]);
        cell->line = i % 2 ? "b" : "a";
        cell->evaluation = PLACES[i / 2][0];
        cell->stage = PLACES[i / 2][1];
    }
    json_t *table = written(&sweep), *tasks = json_object_get(table, "tasks");
    static const double DIFFERENCES[] = {0.25, -0.125, 1};
    assert_int_equal(json_array_size(tasks), 3);
    for (size_t t = 0; t < 3; t++) {
        const json_t *task = json_array_get(tasks, t), *lines = json_object_get(task, "lines"),
                     *evaluation = json_object_get(task, "evaluation");
        assert_string_equal(json_string_value(json_object_get(task, "task")), "points");
        assert_string_equal(json_string_value(json_object_get(task, "stage")), PLACES[t][1]);
        assert_int_equal(json_is_null(evaluation), !PLACES[t][0]);
        assert_int_equal(json_array_size(lines), 2);
        for (size_t l = 0; l < 2; l++) {
            const json_t *line = json_array_get(lines, l);
            bool is_base = json_is_true(json_object_get(line, "is_base"));
            assert_string_equal(json_string_value(json_object_get(line, "name")),
                                is_base ? "a" : "b");
            if (!is_base)
                assert_true(number(figure_of(line, "point_accuracy"), "difference") ==
                            DIFFERENCES[t]);
        }
    }
    json_decref(table);
    char *csv = read_in_folder("table.csv");
    assert_non_null(strstr(csv, "cell,grown after two,b,b-2,"));
    assert_non_null(strstr(csv, "cell,points after one,a,a-0,"));
    free(csv);
    char *page = read_in_folder("index.html");
    assert_non_null(strstr(page, "grown after two"));
    free(page);
}

static void differences_are_those_of_a_comparison_of_two(void **state) {
    (void)state;
    write_annotations("annotations.json");
    Sweep sweep;
    begin_sweep(&sweep);
    add_cell(&sweep, "base", "[0]", NULL, "xx..xx..");
    add_cell(&sweep, "other", "[1]", NULL, "xxxxxx.x");
    sweep.table.base = "base";
    json_t *table = written(&sweep);
    char *text = NULL;
    size_t size = 0;
    FILE *out = open_memstream(&text, &size);
    Error error = {0};
    assert_true(evaluation_compare(in_folder("base"), in_folder("other"), true, out, &error));
    fclose(out);
    json_t *compared = json_loads(text, 0, NULL);
    const char *name;
    json_t *figure;
    json_object_foreach(compared, name, figure) {
        const json_t *found = figure_of(line_named(table, "other"), name);
        assert_true(json_equal(json_object_get(found, "difference"),
                               json_object_get(figure, "difference")));
        assert_true(json_equal(json_object_get(found, "difference_interval"),
                               json_object_get(figure, "interval")));
    }
    assert_int_equal(json_object_size(compared), 6);
    const json_t *accuracy = figure_of(line_named(table, "other"), "point_accuracy");
    assert_true(number(accuracy, "difference") == 0.375);
    assert_true(json_is_true(json_object_get(accuracy, "differs")));
    assert_true(json_is_true(json_object_get(line_named(table, "base"), "is_base")));
    assert_null(json_object_get(figure_of(line_named(table, "base"), "mean_iou"), "difference"));
    json_decref(compared);
    json_decref(table);
    free(text);
}

static void seeds_are_one_line_and_paired_with_the_same_seeds(void **state) {
    (void)state;
    write_annotations("annotations.json");
    Sweep sweep;
    begin_sweep(&sweep);
    add_cell(&sweep, "a1", "[0]", "1", "xx......")->line = "a";
    add_cell(&sweep, "a2", "[0]", "2", "xxxx....")->line = "a";
    add_cell(&sweep, "b1", "[1]", "1", "xxx.....")->line = "b";
    add_cell(&sweep, "b2", "[1]", "2", "xxxxxx..")->line = "b";
    // A seed that the base has not: in the mean, not in the difference.
    add_cell(&sweep, "b3", "[1]", "3", "xxxxxxxx")->line = "b";
    sweep.table.base = "a2";
    json_t *table = written(&sweep);
    expect_order(table, "b a");
    const json_t *line = line_named(table, "b"), *accuracy = figure_of(line, "point_accuracy");
    assert_true(fabs(number(accuracy, "value") - (3 + 6 + 8) / 24.0) < 1e-7);
    assert_true(number(accuracy, "least") == 0.375 && number(accuracy, "greatest") == 1);
    assert_true(number(accuracy, "difference") == (1 + 2) / 16.0);
    assert_int_equal(number(line, "evaluations"), 3);
    assert_int_equal(number(line, "pairs"), 2);
    assert_int_equal(json_array_size(json_object_get(line, "cells")), 3);
    const json_t *ends = json_object_get(accuracy, "difference_interval");
    assert_true(json_number_value(json_array_get(ends, 0)) >= 0);
    assert_true(json_number_value(json_array_get(ends, 1)) > 0.2);
    assert_true(json_is_array(json_object_get(accuracy, "interval")));
    json_decref(table);
}

static void an_evaluation_without_seeds_is_paired_with_each(void **state) {
    (void)state;
    write_annotations("annotations.json");
    Sweep sweep;
    begin_sweep(&sweep);
    add_cell(&sweep, "untrained", "[0]", NULL, "........");
    add_cell(&sweep, "b1", "[1]", "1", "xx......");
    add_cell(&sweep, "b2", "[1]", "2", "xxxx....");
    sweep.table.base = "untrained";
    json_t *table = written(&sweep);
    expect_order(table, "layers=[1] untrained");
    const json_t *line = line_named(table, "layers=[1]");
    json_dumpf(table, stdout, 0);
    assert_true(number(figure_of(line, "point_accuracy"), "difference") == 0.375);
    json_decref(table);
}

/// Puts results under another task.
static void set_task(const char *folder, const char *task) {
    char name[64];
    snprintf(name, sizeof name, "%s/results.json", folder);
    json_t *results = json_load_file(in_folder(name), 0, NULL);
    json_object_set_new(results, "task", json_string(task));
    json_dump_file(results, in_folder(name), 0);
    json_decref(results);
}

static void every_task_has_the_settings_of_the_base_as_its_base(void **state) {
    (void)state;
    static const char *const TASK_KEYS[] = {"eval.task", "eval.layers", "eval.prompt"};
    static const char *const VALUES[][3] = {{"points", "[0]", NULL},
                                            {"points", "[1]", NULL},
                                            {"res", "[0]", "Where is {}?"},
                                            {"res", "[1]", "Where is {}?"}};
    static const char *const NAMES[] = {"points0", "points1", "res0", "res1"};
    write_annotations("annotations.json");
    Sweep sweep;
    begin_sweep(&sweep);
    sweep.table.keys = TASK_KEYS;
    sweep.table.num_keys = 3;
    for (int c = 0; c < 4; c++) {
        add_cell(&sweep, NAMES[c], NULL, NULL, c % 2 ? "xxxx...." : "xxxxxx..")->values = VALUES[c];
        if (c > 1) set_task(NAMES[c], "res");
    }
    sweep.table.base = "points0";
    json_t *table = written(&sweep);
    const json_t *tasks = json_object_get(table, "tasks");
    assert_int_equal(json_array_size(tasks), 2);
    for (size_t t = 0; t < 2; t++) {
        const json_t *lines = json_object_get(json_array_get(tasks, t), "lines"),
                     *base = json_array_get(lines, 0), *other = json_array_get(lines, 1);
        assert_true(json_is_true(json_object_get(base, "is_base")));
        assert_true(json_is_false(json_object_get(other, "is_base")));
        assert_true(number(figure_of(other, "point_accuracy"), "difference") == -0.25);
    }
    json_decref(table);
}

static void failed_cells_are_said_and_the_rest_goes_on(void **state) {
    (void)state;
    write_annotations("annotations.json");
    Sweep sweep;
    begin_sweep(&sweep);
    add_cell(&sweep, "good", "[0]", "1", "xx......");
    add_cell(&sweep, "damaged", "[0]", "2", "xx......");
    write_text("damaged/results.json", "{\"point_accuracy\": 0.5,");
    add_cell(&sweep, "gone", "[1]", "1", NULL);
    add_cell(&sweep, "killed", "[2]", "1", NULL)->failure = "out of memory";
    add_cell(&sweep, "never", "[3]", "1", NULL)->folder = NULL;
    add_cell(&sweep, "other", "[4]", "1", "x.......");
    write_text("other/results.json", "{\"loss\": 1}");
    json_t *table = written(&sweep);
    static const char *const REASONS[] = {"damaged/results.json", "results.json", "out of memory",
                                          "not evaluated", "has no figures"};
    const json_t *failed = json_object_get(table, "failed");
    assert_int_equal(json_array_size(failed), 5);
    for (size_t i = 0; i < 5; i++) {
        const char *reason =
            json_string_value(json_object_get(json_array_get(failed, i), "reason"));
        if (!strstr(reason, REASONS[i])) fail_msg("'%s' without '%s'", reason, REASONS[i]);
        assert_null(strstr(reason, temporary_folder));
    }
    expect_order(table, "layers=[0]");
    assert_int_equal(number(line_named(table, "layers=[0]"), "failed"), 1);
    json_decref(table);
}

static void what_cannot_be_measured_again_has_no_difference(void **state) {
    (void)state;
    write_annotations("annotations.json");
    Sweep sweep;
    begin_sweep(&sweep);
    add_cell(&sweep, "base", "[0]", NULL, "xx......");
    add_cell(&sweep, "cut", "[1]", NULL, "xxx.....");
    add_cell(&sweep, "whole", "[2]", NULL, "xxxx....");
    write_text("cut/items.jsonl", "{\"id\": \"1\", \"image_id\": ");
    sweep.table.base = "base";
    json_t *table = written(&sweep);
    const json_t *cut = line_named(table, "cut");
    assert_true(number(figure_of(cut, "point_accuracy"), "value") == 0.375);
    assert_null(json_object_get(figure_of(cut, "point_accuracy"), "difference"));
    assert_string_equal(json_string_value(json_object_get(cut, "remark")),
                        "cut/items.jsonl:1: is no verdict");
    assert_true(number(figure_of(line_named(table, "whole"), "point_accuracy"), "difference") ==
                0.25);
    json_decref(table);
}

static void a_base_that_is_none_is_refused_and_one_that_failed_is_said(void **state) {
    (void)state;
    write_annotations("annotations.json");
    Sweep sweep;
    begin_sweep(&sweep);
    add_cell(&sweep, "first", "[0]", NULL, "xx......");
    add_cell(&sweep, "second", "[1]", NULL, NULL)->failure = "killed";
    Error error = {0};
    sweep.table.base = "secnd";
    assert_false(sweep_table_write(&sweep.table, in_folder("."), NULL, &error));
    assert_string_equal(error.message,
                        "no cell of the sweep is called 'secnd'; did you mean 'second'?");
    assert_int_equal(access(in_folder("table.json"), F_OK), -1);
    sweep.table.base = "second";
    json_t *table = written(&sweep);
    assert_non_null(json_object_get(line_named(table, "first"), "remark"));
    json_decref(table);
}

static void a_sweep_of_one_cell_or_of_none_is_a_table(void **state) {
    (void)state;
    write_annotations("annotations.json");
    Sweep sweep;
    begin_sweep(&sweep);
    json_t *table = written(&sweep);
    assert_int_equal(json_array_size(json_object_get(table, "tasks")), 0);
    json_decref(table);
    add_cell(&sweep, "only", NULL, NULL, "xx......");
    table = written(&sweep);
    expect_order(table, "only");
    json_decref(table);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        IN_FOLDER(lines_are_sorted_by_the_figure_that_is_asked_for),
        IN_FOLDER(evaluations_and_stages_have_tables_of_their_own),
        IN_FOLDER(differences_are_those_of_a_comparison_of_two),
        IN_FOLDER(seeds_are_one_line_and_paired_with_the_same_seeds),
        IN_FOLDER(an_evaluation_without_seeds_is_paired_with_each),
        IN_FOLDER(every_task_has_the_settings_of_the_base_as_its_base),
        IN_FOLDER(failed_cells_are_said_and_the_rest_goes_on),
        IN_FOLDER(what_cannot_be_measured_again_has_no_difference),
        IN_FOLDER(a_base_that_is_none_is_refused_and_one_that_failed_is_said),
        IN_FOLDER(a_sweep_of_one_cell_or_of_none_is_a_table),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
