// rooms: train autograd
#include "train/arguments.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

typedef enum Colour { RED, GREEN, BLUE } Colour;

typedef struct Taken {
    const char *image, *prompt, *out, *pair[2];
    bool json;
    int64_t count;
    double rate;
    Colour colour;
    ArgumentList words, settings;
} Taken;

static const char *const COLOURS[] = {"red", "green", "blue", NULL};

static const Argument ARGUMENTS[] = {
    {"IMAGE", NULL, "JPEG or PNG", ARGUMENT_PATH, INTO(Taken, image), ARGUMENT_REQUIRED},
    {"PROMPT", NULL, "what is asked", ARGUMENT_TEXT, INTO(Taken, prompt)},
    {"--out", "DIR", "where it goes", ARGUMENT_PATH, INTO(Taken, out), ARGUMENT_REQUIRED},
    {"--pair", "A B",
     "two runs that are held against each other, of which there is so much to say "
     "that it takes more than one line",
     ARGUMENT_PATH, INTO(Taken, pair), .value_count = 2},
    {"--json", NULL, "for machines", ARGUMENT_FLAG, INTO(Taken, json)},
    {"--count", "N", "how many", ARGUMENT_INTEGER, INTO(Taken, count), .minimum = 1,
     .maximum = 100},
    {"--rate", "R", "how fast", ARGUMENT_NUMBER, INTO(Taken, rate), .minimum = 0.5,
     .maximum = INFINITY},
    {"--colour", "red|green|blue", "of the line", ARGUMENT_NAME, INTO(Taken, colour),
     .names = COLOURS},
    {"--word", "WORD", "one of them", ARGUMENT_TEXT, INTO(Taken, words), ARGUMENT_REPEATABLE},
    {"section.key=value", NULL, "sets a key", ARGUMENT_SETTINGS, INTO(Taken, settings)},
    {0}};

static const CommandLine LINE = {"draw", "Draws.\n\n  as it is   to be\n", ARGUMENTS,
                                 "  difflmm draw a.png\n"};

/// Without settings, and with an argument that may be there any number of times.
static const Argument FOLDERS[] = {
    {"RUN", NULL, "a folder", ARGUMENT_PATH, INTO(Taken, words),
     ARGUMENT_REQUIRED | ARGUMENT_REPEATABLE},
    {"--json", NULL, "for machines", ARGUMENT_FLAG, INTO(Taken, json)},
    {0}};
static const CommandLine FOLDER_LINE = {"fold", "Folds.\n", FOLDERS, "  difflmm fold a\n"};

enum { MOST = 32 };

/// Cuts "draw|a.png|--out|x" into arguments. Returns how many.
static int split(const char *text, char *storage, char **argv) {
    int count = 0;
    strcpy(storage, text);
    for (char *rest = storage; rest; count++) {
        assert_true(count < MOST);
        argv[count] = rest;
        rest = strchr(rest, '|');
        if (rest) *rest++ = 0;
    }
    argv[count] = NULL;
    return count;
}

static char storage[512], *argv[MOST + 1];

static Taken taken(const CommandLine *line, const char *text) {
    Taken into = {.count = 7, .colour = GREEN};
    Error error = {0};
    const int argc = split(text, storage, argv);
    if (!arguments_parse(line, argc, argv, &into, &error)) fail_msg("%s: %s", text, error.message);
    return into;
}

static void refused(const CommandLine *line, const char *text, const char *expected) {
    Taken into = {0};
    Error error = {0};
    const int argc = split(text, storage, argv);
    if (arguments_parse(line, argc, argv, &into, &error)) fail_msg("%s is taken", text);
    if (strcmp(error.message, expected)) fail_msg("%s: %s", text, error.message);
    arguments_free(line, &into);
}

static void options_stand_anywhere_and_in_both_forms(void **state) {
    (void)state;
    static const char *const lines[] = {
        "draw|a.png|what?|--out|x|--count|3|--json|--rate|1.5e1|--colour|blue",
        "draw|--json|--rate=15|--out=x|a.png|--count=+3|what?|--colour=blue",
        "draw|--json|--json|--colour|blue|--count|003|--out|x|--rate|15.|a.png|what?"};
    for (size_t i = 0; i < sizeof lines / sizeof *lines; i++) {
        Taken got = taken(&LINE, lines[i]);
        assert_string_equal(got.image, "a.png");
        assert_string_equal(got.prompt, "what?");
        assert_string_equal(got.out, "x");
        assert_true(got.json && got.count == 3 && got.rate == 15 && got.colour == BLUE);
        assert_int_equal(got.settings.count + got.words.count, 0);
    }
}

static void what_is_not_given_keeps_its_default(void **state) {
    (void)state;
    Taken got = taken(&LINE, "draw|a.png|--out|x");
    assert_true(got.count == 7 && got.colour == GREEN && !got.json && !got.prompt && !got.pair[0]);
}

static void settings_are_told_from_arguments_by_place(void **state) {
    (void)state;
    Taken got = taken(&LINE, "draw|a.b=c.png|eval.seed=1|x=3 or x.y = 4?|--out|x|eval.seed=2|k=v");
    assert_string_equal(got.image, "a.b=c.png"); // a path may look like one
    assert_string_equal(got.prompt, "x=3 or x.y = 4?");
    assert_int_equal(got.settings.count, 3);
    assert_string_equal(got.settings.values[0], "eval.seed=1");
    assert_string_equal(got.settings.values[1], "eval.seed=2");
    assert_string_equal(got.settings.values[2], "k=v");
    arguments_free(&LINE, &got);
    assert_null(got.settings.values);
}

static void an_option_may_have_several_values(void **state) {
    (void)state;
    Taken got = taken(&LINE, "draw|--pair|one|two|a.png|--out|x");
    assert_string_equal(got.pair[0], "one");
    assert_string_equal(got.pair[1], "two");
    assert_string_equal(got.image, "a.png");
    got = taken(&LINE, "draw|a.png|--pair=one|two|--out|x");
    assert_string_equal(got.pair[0], "one");
    assert_string_equal(got.pair[1], "two");
}

static void what_is_repeatable_is_a_list_in_order(void **state) {
    (void)state;
    Taken got = taken(&LINE, "draw|--word|b|a.png|--word=a=c|--out|x|--word=");
    assert_int_equal(got.words.count, 3);
    assert_string_equal(got.words.values[0], "b");
    assert_string_equal(got.words.values[1], "a=c");
    assert_string_equal(got.words.values[2], "");
    arguments_free(&LINE, &got);
    got = taken(&FOLDER_LINE, "fold|b|--json|a.x=y|c");
    assert_int_equal(got.words.count, 3);
    assert_string_equal(got.words.values[1], "a.x=y");
    arguments_free(&FOLDER_LINE, &got);
}

static void a_value_may_begin_with_a_dash_unless_it_is_an_option(void **state) {
    (void)state;
    Taken got = taken(&LINE, "draw|a.png|--out|-x|--word|-1|--word=--json");
    assert_string_equal(got.out, "-x");
    assert_string_equal(got.words.values[0], "-1");
    assert_string_equal(got.words.values[1], "--json");
    assert_false(got.json);
    arguments_free(&LINE, &got);
    refused(&LINE, "draw|a.png|--out|--json", "--out needs a value: --out DIR");
    refused(&LINE, "draw|a.png|--out|--word=x", "--out needs a value: --out DIR");
}

#define USAGE                                                                             \
    "difflmm draw IMAGE [PROMPT] --out DIR [--pair A B] [--json] [--count N] [--rate R] " \
    "[--colour red|green|blue] [--word WORD ...] [section.key=value ...]"

static void every_mistake_is_one_line_that_says_what_was_expected(void **state) {
    (void)state;
    static const char *const mistakes[][2] = {
        {"draw", "IMAGE and --out DIR are missing: " USAGE},
        {"draw|--out|x", "IMAGE is missing: " USAGE},
        {"draw|a.png", "--out DIR is missing: " USAGE},
        {"draw|a.png|what?|more|--out|x", "there is no place for 'more': " USAGE},
        {"draw|a.png|--out", "--out needs a value: --out DIR"},
        {"draw|a.png|--out|x|--pair|one", "--pair needs 2 values: --pair A B"},
        {"draw|a.png|--out|x|--pair|one|--json", "--pair needs 2 values: --pair A B"},
        {"draw|a.png|--out|x|--out=x", "--out is given twice"},
        {"draw|a.png|--json=1", "--json takes no value, not '1'"},
        {"draw|a.png|--jsno", "there is no option '--jsno', did you mean '--json'?"},
        {"draw|a.png|-out|x", "there is no option '-out', did you mean '--out'?"},
        {"draw|a.png|--coutn=3", "there is no option '--coutn=3', did you mean '--count'?"},
        {"draw|a.png|--zzzzzz", "there is no option '--zzzzzz'; 'difflmm draw --help' explains"},
        {"draw|a.png|--", "there is no option '--'; 'difflmm draw --help' explains"},
        {"draw|-", "there is no option '-'; 'difflmm draw --help' explains"},
        {"draw|a.png|--eval.seed=3",
         "there is no option '--eval.seed=3'; a key of the configuration is set without dashes: "
         "eval.seed=3"},
        {"draw|--count|0", "--count needs an integer from 1 to 100, not '0'"},
        {"draw|--count|101", "--count needs an integer from 1 to 100, not '101'"},
        {"draw|--count|99999999999999999999",
         "--count needs an integer from 1 to 100, not '99999999999999999999'"},
        {"draw|--count|1.5", "--count needs an integer from 1 to 100, not '1.5'"},
        {"draw|--count|1 ", "--count needs an integer from 1 to 100, not '1 '"},
        {"draw|--count|0x10", "--count needs an integer from 1 to 100, not '0x10'"},
        {"draw|--count|+", "--count needs an integer from 1 to 100, not '+'"},
        {"draw|--count=", "--count needs an integer from 1 to 100, not ''"},
        {"draw|--rate|0.49", "--rate needs a number of at least 0.5, not '0.49'"},
        {"draw|--rate|inf", "--rate needs a number of at least 0.5, not 'inf'"},
        {"draw|--rate|1e999", "--rate needs a number of at least 0.5, not '1e999'"},
        {"draw|--rate|0x1p3", "--rate needs a number of at least 0.5, not '0x1p3'"},
        {"draw|--rate|1e", "--rate needs a number of at least 0.5, not '1e'"},
        {"draw|--colour|re", "--colour needs red, green or blue, not 're'"},
        {"draw|--word|\xff", "--word is not UTF-8, which the model's text is: '\\xff'"},
        {"draw|a.png|\xff", "PROMPT is not UTF-8, which the model's text is: '\\xff'"},
    };
    for (size_t i = 0; i < sizeof mistakes / sizeof *mistakes; i++)
        refused(&LINE, mistakes[i][0], mistakes[i][1]);
    refused(&FOLDER_LINE, "fold", "RUN is missing: difflmm fold RUN ... [--json]");
    refused(&FOLDER_LINE, "fold|a|--eval.seed=3",
            "there is no option '--eval.seed=3'; 'difflmm fold --help' explains");
}

static void paths_may_be_any_bytes(void **state) {
    (void)state;
    assert_string_equal(taken(&LINE, "draw|\xff|--out|\xfe").image, "\xff");
}

static void the_help_has_a_line_for_every_argument(void **state) {
    (void)state;
    char *help = arguments_help(&LINE);
    static const char expected[] =
        "usage: difflmm draw IMAGE [PROMPT] --out DIR [--pair A B] [--json] [--count N] [--rate "
        "R]\n"
        "                    [--colour red|green|blue] [--word WORD ...] [section.key=value ...]\n"
        "\n"
        "Draws.\n"
        "\n"
        "  as it is   to be\n"
        "\n"
        "  IMAGE                    JPEG or PNG\n"
        "  PROMPT                   what is asked\n"
        "  --out DIR                where it goes\n"
        "  --pair A B               two runs that are held against each other, of which there is "
        "so "
        "much to\n"
        "                           say that it takes more than one line\n"
        "  --json                   for machines\n"
        "  --count N                how many\n"
        "  --rate R                 how fast\n"
        "  --colour red|green|blue  of the line\n"
        "  --word WORD              one of them\n"
        "  section.key=value        sets a key\n"
        "\n"
        "examples:\n"
        "  difflmm draw a.png\n";
    assert_string_equal(help, expected);
    free(help);
}

static void help_may_be_asked_for_anywhere(void **state) {
    (void)state;
    static const char *const lines[] = {"draw|--help", "draw|-h", "draw|a|--out|--help|x"};
    for (size_t i = 0; i < sizeof lines / sizeof *lines; i++) {
        const int argc = split(lines[i], storage, argv);
        assert_true(arguments_ask_for_help(argc, argv));
    }
    assert_false(arguments_ask_for_help(split("--help|draw|help", storage, argv), argv));
}

static void an_option_is_left_out_with_its_values_and_nothing_else(void **state) {
    (void)state;
    static const char *const lines[][3] = {
        {"--count", "draw|a|--count|3|--out|x", "draw|a|--out|x"},
        {"--count", "draw|--count=3|a", "draw|a"},
        {"--count", "draw|a|--word=--count=3|--word|--count=3",
         "draw|a|--word=--count=3|--word|--count=3"},
        {"--pair", "draw|--pair|1|2|a|--pair=1|2|b", "draw|a|b"},
        {"--json", "draw|--json|a|--json", "draw|a"},
        {"--json", "draw|a|count", "draw|a|count"}};
    for (size_t i = 0; i < sizeof lines / sizeof *lines; i++) {
        char expected_storage[512], *expected[MOST + 1];
        const int argc = split(lines[i][1], storage, argv);
        const int count = split(lines[i][2], expected_storage, expected);
        assert_int_equal(arguments_leave_out(&LINE, lines[i][0], argc, argv), count);
        for (int k = 0; k < count; k++) assert_string_equal(argv[k], expected[k]);
        assert_null(argv[count]);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(options_stand_anywhere_and_in_both_forms),
        cmocka_unit_test(what_is_not_given_keeps_its_default),
        cmocka_unit_test(settings_are_told_from_arguments_by_place),
        cmocka_unit_test(an_option_may_have_several_values),
        cmocka_unit_test(what_is_repeatable_is_a_list_in_order),
        cmocka_unit_test(a_value_may_begin_with_a_dash_unless_it_is_an_option),
        cmocka_unit_test(every_mistake_is_one_line_that_says_what_was_expected),
        cmocka_unit_test(paths_may_be_any_bytes),
        cmocka_unit_test(the_help_has_a_line_for_every_argument),
        cmocka_unit_test(help_may_be_asked_for_anywhere),
        cmocka_unit_test(an_option_is_left_out_with_its_values_and_nothing_else),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
