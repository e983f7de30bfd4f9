// rooms: train eval models ops checkpoints data autograd
// What the files of a table look like, and that they come whole.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "tests/unit/made_sweeps.h"
#include "tests/unit/well_formed.h"

static void fields_of_a_spreadsheet_are_quoted(void **state) {
    (void)state;
    write_annotations("annotations.json");
    Sweep sweep;
    begin_sweep(&sweep);
    add_cell(&sweep, "a", "[0, 1]", NULL, "xx......")->line = "the \"first\"\nof, two";
    expect_written(&sweep);
    char *csv = read_in_folder("table.csv");
    assert_non_null(strstr(csv, "row,task,line,cell,eval.layers,training.seed,evaluations,failed,"
                                "point_accuracy,point_accuracy_low,"));
    assert_non_null(strstr(csv, "\r\ncell,points,\"the \"\"first\"\"\nof, two\",a,\"[0, 1]\",,1,0,"
                                "0.25,"));
    assert_string_equal(csv + strlen(csv) - 2, "\r\n");
    free(csv);
}

static void a_table_to_be_pasted_is_markdown(void **state) {
    (void)state;
    write_annotations("annotations.json");
    Sweep sweep;
    begin_sweep(&sweep);
    add_cell(&sweep, "a1", "[0]", "1", "xx......")->line = "a";
    add_cell(&sweep, "a2", "[0]", "2", "xxxx....")->line = "a";
    add_cell(&sweep, "b1", "[1]", "1", "xxxxxx.x")->line = "*b|_";
    add_cell(&sweep, "b2", "[1]", "2", "xxxxxxxx")->line = "*b|_";
    add_cell(&sweep, "c\x1b\n1", "[2]", "1", NULL)->failure = "killed";
    sweep.table.base = "a";
    expect_written(&sweep);
    char *text = read_in_folder("table.md");
    static const char *const PARTS[] = {
        "\n| points | seeds | point\\_accuracy | ",
        "\n| \\*b\\|\\_ | 2 | 0.938 (0.875 to 1.000)<br>**+0.562** (+0.",
        "\n| a (base) | 2 | 0.375 (0.250 to 0.500) | ", "\n- c\\\\x1b\\\\x0a1: killed\n"};
    for (size_t i = 0; i < sizeof PARTS / sizeof *PARTS; i++)
        if (!strstr(text, PARTS[i])) fail_msg("'%s' is not in:\n%s", PARTS[i], text);
    // Every row has as many fields as the header.
    int bars[2] = {0};
    const char *table = strstr(text, "\n| points");
    for (const char *row = table; row && row[1] == '|'; row = strchr(row + 1, '\n')) {
        int count = 0;
        for (const char *c = row + 1; *c != '\n'; c++) count += *c == '|' && c[-1] != '\\';
        bars[row != table] = count;
        if (row != table) assert_int_equal(count, bars[0]);
    }
    assert_true(bars[0] > 3 && bars[1] == bars[0]);
    free(text);
}

/// Lines a and b, of which only b has an evaluation after the second stage.
static void a_headline_is_one_table_over_all_evaluations(void **state) {
    (void)state;
    static const SweepHeadline HEADLINE[] = {
        {"places", "point_accuracy"}, {"nouns", "mean_iou"}, {"nouns", "men_iou"}};
    static const struct {
        const char *name, *line, *layers, *evaluation, *stage, *hits;
    } CELLS[] = {{"b1", "b|", "[1]", "places", "one", "xxxxxx.x"},
                 {"a1", "a", "[0]", "places", "one", "xx......"},
                 {"b2", "b|", "[1]", "nouns", "one", "xxx....."},
                 {"a2", "a", "[0]", "nouns", "one", "xxxx...."},
                 {"b3", "b|", "[1]", "places", "two", "xxxxxxxx"}};
    write_annotations("annotations.json");
    Sweep sweep;
    begin_sweep(&sweep);
    for (size_t i = 0; i < sizeof CELLS / sizeof *CELLS; i++) {
        SweepCell *cell = add_cell(&sweep, CELLS[i].name, CELLS[i].layers, "1", CELLS[i].hits);
        cell->line = CELLS[i].line;
        cell->evaluation = CELLS[i].evaluation;
        cell->stage = CELLS[i].stage;
    }
    sweep.table.base = "a";
    sweep.table.headline = HEADLINE;
    sweep.table.num_headlines = 3;
    char *printed = NULL;
    size_t size = 0;
    FILE *out = open_memstream(&printed, &size);
    Error error = {0};
    if (!sweep_table_write(&sweep.table, in_folder("."), out, &error))
        fail_msg("%s", error.message);
    fclose(out);
    char *text = read_in_folder("table.md"), *page = read_in_folder("index.html");
    static const char *const MARKDOWN[] = {
        "\n| figure | after | a | b\\| |\n| --- | --- | --- | --- |\n"
        "| places: point\\_accuracy | one | 0.250 | 0.875<br>**+0.625** (+0.",
        " |\n| nouns: mean\\_iou | one | ", " |\n| nouns: men\\_iou | one |  |  |\n",
        "\n| places: point\\_accuracy | two |  | 1.000 |\n\n| places after one | "};
    for (size_t i = 0; i < sizeof MARKDOWN / sizeof *MARKDOWN; i++)
        if (!strstr(text, MARKDOWN[i])) fail_msg("'%s' is not in:\n%s", MARKDOWN[i], text);
    static const char *const PRINTED[] = {
        "\nheadline ", "places: point_accuracy after one     0.2500      0.8750*\n",
        "places: point_accuracy after two          -      1.0000 \n",
        "\nnouns after one has no figure 'men_iou'\n"};
    for (size_t i = 0; i < sizeof PRINTED / sizeof *PRINTED; i++)
        if (!strstr(printed, PRINTED[i])) fail_msg("'%s' is not in:\n%s", PRINTED[i], printed);
    expect_well_formed(page);
    assert_non_null(strstr(page, "Over all evaluations"));
    free(printed);
    free(text);
    free(page);
}

/// A sweep in which everything is that can be.
static void make_full_sweep(Sweep *sweep, const char *annotations) {
    write_annotations(annotations);
    begin_sweep(sweep);
    add_cell(sweep, "a1", "[0]", "1", "xx......")->line = "a";
    add_cell(sweep, "a2", "[0]", "2", "xxxx....")->line = "a";
    add_cell(sweep, "b1", "[1]", "1", "xxx.....")->line = "b";
    add_cell(sweep, "b2", "[1]", "2", "x.....xx")->line = "b";
    add_cell(sweep, "c1", "[2]", "1", NULL);
    sweep->table.base = "a";
}

static void the_same_evaluations_elsewhere_give_the_same_bytes(void **state) {
    (void)state;
    static const char *const FILES[] = {"table.json", "table.csv", "table.md", "index.html"};
    enum { NUM_FILES = sizeof FILES / sizeof *FILES };
    char *texts[2][NUM_FILES];
    for (int i = 0; i < 2; i++) {
        Sweep sweep;
        assert_int_equal(make_temporary_folder(NULL), 0);
        make_full_sweep(&sweep, "annotations.json");
        expect_written(&sweep);
        for (int f = 0; f < NUM_FILES; f++) texts[i][f] = read_in_folder(FILES[f]);
        assert_int_equal(remove_temporary_folder(NULL), 0);
    }
    for (int f = 0; f < NUM_FILES; f++) {
        assert_string_equal(texts[0][f], texts[1][f]);
        for (int i = 0; i < 2; i++) free(texts[i][f]);
    }
}

/// RLIMIT_FSIZE stands in for a full disk.
static void a_full_disk_leaves_what_was_there(void **state) {
    (void)state;
    Sweep sweep;
    make_full_sweep(&sweep, "annotations.json");
    write_text("table.json", "before");
    int files = files_in_folder();
    struct rlimit before, small = {1000, 1000};
    getrlimit(RLIMIT_FSIZE, &before);
    small.rlim_max = before.rlim_max;
    signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
    Error error = {0};
    bool ok = sweep_table_write(&sweep.table, in_folder("."), NULL, &error);
    setrlimit(RLIMIT_FSIZE, &before);
    assert_false(ok);
    if (!strstr(error.message, "table.json")) fail_msg("%s", error.message);
    assert_int_equal(files_in_folder(), files);
    char *text = read_in_folder("table.json");
    assert_string_equal(text, "before");
    free(text);
}

static void what_is_printed_names_lines_figures_and_failures(void **state) {
    (void)state;
    Sweep sweep;
    make_full_sweep(&sweep, "annotations.json");
    sweep.cells[4].failure = "no\x1b such checkpoint";
    sweep.table.sort_by = "poit_accuracy";
    char *text = NULL;
    size_t size = 0;
    FILE *out = open_memstream(&text, &size);
    Error error = {0};
    assert_true(sweep_table_write(&sweep.table, in_folder("."), out, &error));
    fclose(out);
    static const char *const PARTS[] = {"points",
                                        "point_accuracy",
                                        "the base",
                                        "0.3750 (",
                                        "no figure is called 'poit_accuracy'",
                                        "c1: no\\x1b such checkpoint",
                                        "mean_iou"};
    for (size_t i = 0; i < sizeof PARTS / sizeof *PARTS; i++)
        if (!strstr(text, PARTS[i])) fail_msg("'%s' is not in:\n%s", PARTS[i], text);
    free(text);
}

static char *page_of(const Sweep *sweep) {
    expect_written(sweep);
    char *page = read_in_folder("index.html");
    expect_well_formed(page);
    return page;
}

static void the_page_escapes_what_it_is_given(void **state) {
    (void)state;
    Sweep sweep;
    make_full_sweep(&sweep, "annotations.json");
    sweep.cells[4].failure = "no <checkpoint> & no \"answers\"";
    sweep.table.title = "<Sweep>";
    sweep.values[0][0] = sweep.values[1][0] = "<0>";
    sweep.cells[2].line = sweep.cells[3].line = "b <i>";
    char *page = page_of(&sweep);
    static const char *const PARTS[] = {"<h1>&lt;Sweep&gt;</h1>", "no &lt;checkpoint&gt; &amp; no",
                                        "<td>&lt;0&gt;</td>",     "<td>b &lt;i&gt;</td>",
                                        "Every evaluation",       "<script>"};
    for (size_t i = 0; i < sizeof PARTS / sizeof *PARTS; i++)
        if (!strstr(page, PARTS[i])) fail_msg("'%s' is not there", PARTS[i]);
    free(page);
}

static void single_layers_and_heads_are_a_heat_map_and_layers_alone_are_bars(void **state) {
    (void)state;
    static const char *const MAP_KEYS[] = {"eval.layers", "eval.heads"};
    static const char *const BASE[] = {"[]", "[]"};
    write_annotations("annotations.json");
    Sweep sweep;
    begin_sweep(&sweep);
    sweep.table.keys = MAP_KEYS;
    sweep.table.base_values = BASE;
    add_cell(&sweep, "all", NULL, NULL, "xxxxxxxx");
    add_cell(&sweep, "00", "[0]", "[0]", "xx......");
    add_cell(&sweep, "01", "[0]", "[1]", "xxxx....");
    add_cell(&sweep, "10", "[1]", "[0]", "x.......");
    add_cell(&sweep, "11", "[1]", "[ 1 ]", "xx......");
    add_cell(&sweep, "two", "[0, 1]", "[0]", "xx......");
    sweep.table.base = "all";
    char *page = page_of(&sweep);
    assert_non_null(strstr(page, "Over layers and heads"));
    // point_accuracy, and that of all nouns
    assert_int_equal(count_of(page, "<title>layer 0, head 1: 0.500 ("), 2);
    assert_null(strstr(page, "Over eval.layers"));
    free(page);
    // Without heads: the two layers, and a line for all.
    for (int c = 1; c < 5; c++) sweep.values[c][1] = NULL;
    sweep.values[2][0] = "[2]";
    sweep.values[4][0] = "[3]";
    page = page_of(&sweep);
    assert_null(strstr(page, "layers and heads"));
    assert_non_null(strstr(page, "Over eval.layers"));
    assert_non_null(strstr(page, "<title>2: 0.5 ("));
    free(page);
}

static void numbers_are_curves_over_their_key(void **state) {
    (void)state;
    static const char *const NUMBER_KEYS[] = {"model.timestep", "eval.normalise"};
    static const char *const BASE[] = {"100", "true"};
    write_annotations("annotations.json");
    Sweep sweep;
    begin_sweep(&sweep);
    sweep.table.keys = NUMBER_KEYS;
    sweep.table.base_values = BASE;
    // The base is a point of the first curve; a setting of one timestep alone is none.
    add_cell(&sweep, "base", NULL, NULL, "xxxx....");
    add_cell(&sweep, "t200", "200", NULL, "xx......");
    add_cell(&sweep, "t300", "300", "true", "x.......");
    add_cell(&sweep, "alone", NULL, "false", "xxxxxx..");
    char *page = page_of(&sweep);
    assert_non_null(strstr(page, "Over model.timestep"));
    assert_null(strstr(page, "Over eval.normalise"));
    assert_null(strstr(page, "<div class=\"legend\">"));
    free(page);
    add_cell(&sweep, "other", "200", "false", "xxxxx...");
    page = page_of(&sweep);
    assert_non_null(strstr(page, "</b> eval.normalise: true</span>"));
    assert_non_null(strstr(page, "</b> eval.normalise: false</span>"));
    free(page);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        IN_FOLDER(fields_of_a_spreadsheet_are_quoted),
        IN_FOLDER(a_table_to_be_pasted_is_markdown),
        IN_FOLDER(a_headline_is_one_table_over_all_evaluations),
        cmocka_unit_test(the_same_evaluations_elsewhere_give_the_same_bytes),
        IN_FOLDER(a_full_disk_leaves_what_was_there),
        IN_FOLDER(what_is_printed_names_lines_figures_and_failures),
        IN_FOLDER(the_page_escapes_what_it_is_given),
        IN_FOLDER(single_layers_and_heads_are_a_heat_map_and_layers_alone_are_bars),
        IN_FOLDER(numbers_are_curves_over_their_key),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
