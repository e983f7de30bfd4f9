// What `difflmm ground` shows and reads: answers in colour on terminals of any width, lines,
// pictures of attention. The program itself: test_program.c and tests/faults/ground.sh.
#include "eval/pages/attention_picture.h"
#include "tests/unit/temporary_folder.h"
#include "train/ground/ground_print.h"
#include "train/ground/grounder.h"
#include "train/ground/line_reader.h"

#include <fcntl.h>
#include <pty.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "autograd/output/output_directory.h"

// ---- terminals

static void check_cursor(int columns, const char *text, int row, int column) {
    TerminalCursor cursor = {.columns = columns};
    // piece by piece or at once
    terminal_advance(&cursor, text, strlen(text));
    if (cursor.row != row || cursor.column != column)
        fail_msg("'%s' ends in row %d, column %d", text, cursor.row, cursor.column);
}

static void a_cursor_is_where_the_terminal_has_it(void **state) {
    (void)state;
    check_cursor(10, "", 0, 0);
    check_cursor(10, "123456789", 0, 9);
    check_cursor(10, "1234567890", 0, 10); // the next row begins with the next character
    check_cursor(10, "12345678901", 1, 1);
    check_cursor(10, "1234567890\n", 1, 0);
    check_cursor(10, "a\n\nb", 2, 1);
    check_cursor(10, "\xc3\xa9t\xc3\xa9", 0, 3);
    check_cursor(10, "123456789\xe6\xb0\xb4", 1, 2); // a wide character is not cut in two
    check_cursor(10, "e\xcc\x81", 0, 1);             // a mark has no width
    check_cursor(10, "a\tb", 0, 9);
    check_cursor(10, "a\t\tb", 0, 10);
    check_cursor(10, "\x1b[2J", 0, 7); // shown as \x1b[2J
}

static void colours_are_what_the_terminal_can_show(void **state) {
    (void)state;
    assert_string_equal(terminal_color(TERMINAL_PLAIN, 1, 2, 3).text, "");
    assert_string_equal(terminal_color(TERMINAL_TRUE_COLOR, 66, 105, 208).text,
                        "\033[1;38;2;66;105;208m");
    assert_string_equal(terminal_color(TERMINAL_256, 0, 0, 0).text, "\033[1;38;5;16m");
    assert_string_equal(terminal_color(TERMINAL_256, 255, 255, 255).text, "\033[1;38;5;231m");
    assert_string_equal(terminal_color(TERMINAL_256, 96, 134, 250).text, "\033[1;38;5;69m");
    FILE *file = tmpfile();
    setenv("TERM", "xterm", 1);
    assert_int_equal(terminal_colors(file), TERMINAL_PLAIN);
    fclose(file);
}

/// An answer with phrases "a ring" and "the sand", and the maps that they need.
static GroundedAnswer made_answer(const char *text, const char *const *phrases, int count) {
    GroundedAnswer answer = {.answer.text = checked_strdup(text)};
    answer.grounding.items = checked_calloc((size_t)count + 1, sizeof(GroundedPhrase));
    for (int i = 0; i < count; i++) {
        int begin = (int)(strstr(text, phrases[i]) - text), end = begin + (int)strlen(phrases[i]);
        answer.grounding.items[answer.grounding.count++] =
            (GroundedPhrase){.phrase = {begin, end, begin, end, -1}, .point = {7 + i, 3}};
    }
    return answer;
}

/// What is printed of an answer that is heard in pieces of three bytes, on a terminal of that size,
/// or, columns = 0, in a file. Lives until the next call.
static const char *printed(const GroundedAnswer *answer, int columns, int rows) {
    static char text[4096];
    int ours = -1, theirs = -1;
    struct winsize size = {.ws_row = (unsigned short)rows, .ws_col = (unsigned short)columns};
    FILE *out = tmpfile();
    if (columns) {
        assert_int_equal(openpty(&ours, &theirs, NULL, NULL, &size), 0);
        fclose(out);
        out = fdopen(theirs, "w");
    }
    AnswerPrinter printer = answer_printer(out, NULL);
    for (const char *c = answer->answer.text; *c;) {
        size_t length = strlen(c) < 3 ? strlen(c) : 3;
        assert_true(answer_printer_hear(&printer, 0, c, length));
        c += length;
    }
    answer_printer_end(&printer, answer);
    size_t got = 0;
    if (columns) {
        fcntl(ours, F_SETFL, O_NONBLOCK);
        for (ssize_t n; (n = read(ours, text + got, sizeof text - 1 - got)) > 0;) got += (size_t)n;
        close(ours);
    } else {
        rewind(out);
        got = fread(text, 1, sizeof text - 1, out);
    }
    fclose(out);
    text[got] = 0;
    return text;
}

static const char *const TWO[] = {"a ring", "the sand"};

static void in_a_file_an_answer_is_plain(void **state) {
    (void)state;
    GroundedAnswer answer = made_answer("There is a ring on the sand.", TWO, 2);
    assert_string_equal(printed(&answer, 0, 0), "There is a ring on the sand.\n"
                                                "  1  a ring  at x 3, y 7\n"
                                                "  2  the sand  at x 3, y 8\n");
    grounded_answer_free(&answer);
}

static void on_a_terminal_phrases_get_their_colours_in_place(void **state) {
    (void)state;
    setenv("TERM", "xterm", 1);
    setenv("COLORTERM", "truecolor", 1);
    unsetenv("NO_COLOR");
    GroundedAnswer answer = made_answer("There is a ring on the sand.", TWO, 2);
#define COLORED                                                  \
    "There is \033[1;38;2;66;105;208ma ring[1]\033[0m on "       \
    "\033[1;38;2;239;177;24mthe sand[2]\033[0m.\r\n"             \
    "  \033[1;38;2;66;105;208m1  a ring\033[0m  at x 3, y 7\r\n" \
    "  \033[1;38;2;239;177;24m2  the sand\033[0m  at x 3, y 8\r\n"
    assert_string_equal(printed(&answer, 80, 24), "There is a ring on the sand."
                                                  "\r\033[J" COLORED);
    // in ten columns it takes three rows: up two
    assert_string_equal(printed(&answer, 10, 24), "There is a ring on the sand."
                                                  "\r\033[2A\033[J" COLORED);
    // what has scrolled away is written once more
    assert_string_equal(printed(&answer, 10, 2), "There is a ring on the sand."
                                                 "\r\n\r\n" COLORED);
    setenv("NO_COLOR", "1", 1);
    assert_string_equal(printed(&answer, 80, 24), "There is a ring on the sand.\r\n"
                                                  "  1  a ring  at x 3, y 7\r\n"
                                                  "  2  the sand  at x 3, y 8\r\n");
    unsetenv("NO_COLOR");
    grounded_answer_free(&answer);
    // nothing to be coloured: nothing is written twice
    answer = made_answer("Nothing.", NULL, 0);
    assert_string_equal(printed(&answer, 80, 24), "Nothing.\r\n");
    grounded_answer_free(&answer);
}

static void what_an_answer_says_does_not_reach_the_terminal_as_a_command(void **state) {
    (void)state;
    setenv("TERM", "xterm", 1);
    const char *const red[] = {"\x1b[31mred"};
    GroundedAnswer answer = made_answer("a \x1b[31mred one", red, 1);
    assert_string_equal(printed(&answer, 0, 0), "a \\x1b[31mred one\n"
                                                "  1  \\x1b[31mred  at x 3, y 7\n");
    assert_null(strstr(printed(&answer, 80, 24), "\033[31m"));
    grounded_answer_free(&answer);
}

// ---- lines

static volatile sig_atomic_t unwanted;
static bool is_wanted(void) { return !unwanted; }
static void refuse(int signal_number) {
    (void)signal_number;
    unwanted = 1;
}

static void check_line(LineReader *reader, const char *expected) {
    char *line;
    assert_int_equal(line_reader_next(reader, is_wanted, &line), LINE_READ);
    assert_string_equal(line, expected);
    free(line);
}

static void lines_are_read_however_they_arrive(void **state) {
    (void)state;
    int ends[2];
    char *line;
    assert_int_equal(pipe(ends), 0);
    LineReader reader = {.descriptor = ends[0]};
    assert_int_equal(write(ends[1], "one\ntwo\r\n\nthr", 13), 13);
    check_line(&reader, "one");
    check_line(&reader, "two");
    check_line(&reader, "");
    assert_int_equal(write(ends[1], "ee\nlast", 7), 7);
    close(ends[1]);
    check_line(&reader, "three");
    check_line(&reader, "last");
    assert_int_equal(line_reader_next(&reader, is_wanted, &line), LINE_END);
    line_reader_free(&reader);
    close(ends[0]);
}

static void a_signal_ends_the_waiting(void **state) {
    (void)state;
    int ends[2];
    char *line;
    assert_int_equal(pipe(ends), 0);
    LineReader reader = {.descriptor = ends[0]};
    unwanted = 0;
    // system calls are restarted, as in the program
    sigaction(SIGINT, &(struct sigaction){.sa_handler = refuse, .sa_flags = SA_RESTART}, NULL);
    pid_t child = fork();
    if (!child) {
        usleep(50000);
        kill(getppid(), SIGINT);
        _exit(0);
    }
    assert_int_equal(line_reader_next(&reader, is_wanted, &line), LINE_UNWANTED);
    unwanted = 0;
    assert_int_equal(write(ends[1], "on\n", 3), 3);
    check_line(&reader, "on");
    line_reader_free(&reader);
    close(ends[0]);
    close(ends[1]);
}

// ---- words

static void words_are_split_at_commas(void **state) {
    (void)state;
    Grounder grounder = {0};
    Error error = {0};
    assert_true(grounder_look_for(&grounder, "ring, traffic light,,star ", &error));
    assert_int_equal(grounder.num_words, 3);
    assert_string_equal(grounder.words[0], "ring");
    assert_string_equal(grounder.words[1], "traffic light");
    assert_string_equal(grounder.words[2], "star");
    assert_false(grounder_look_for(&grounder, " ,, ", &error));
    assert_non_null(strstr(error.message, "WORD,WORD"));
    assert_int_equal(grounder.num_words, 3);
    assert_true(grounder_look_for(&grounder, NULL, &error));
    assert_int_equal(grounder.num_words, 0);
    grounder_close(&grounder);
}

// ---- pictures and folders

static int brightness(const Image *picture, int row, int column) {
    const uint8_t *pixel = picture->pixels + 3 * (row * picture->width + column);
    return pixel[0] + pixel[1] + pixel[2];
}

static void attention_is_bright_where_a_phrase_looked(void **state) {
    (void)state;
    Image image = image_new(4, 2);
    float map[8] = {0, 0.1f, 0.2f, 0.3f, 0.4f, 0.5f, 0.9f, 1.0f};
    memset(image.pixels, 128, 4 * 2 * 3);
    for (int scale = 1; scale <= 3; scale++) {
        Image picture = attention_picture(&image, map, scale);
        assert_int_equal(picture.width, 4 * scale);
        assert_int_equal(picture.height, 2 * scale);
        for (int i = 1; i < 8; i++)
            assert_true(brightness(&picture, i / 4 * scale, i % 4 * scale) >
                        brightness(&picture, (i - 1) / 4 * scale, (i - 1) % 4 * scale));
        image_free(&picture);
    }
    for (int i = 0; i < 8; i++) map[i] = 0.25f;
    Image dark = attention_picture(&image, map, 1);
    for (int i = 1; i < 8; i++)
        assert_int_equal(brightness(&dark, i / 4, i % 4), brightness(&dark, 0, 0));
    assert_true(brightness(&dark, 0, 0) < 3 * 128);
    image_free(&dark);
    image_free(&image);
}

static bool is_there(const char *name) { return access(in_folder(name), F_OK) == 0; }

static void what_a_kill_leaves_of_a_folder_is_removed_and_nothing_else(void **state) {
    (void)state;
    const char *const folders[] = {"a.Ab3xYz",  "a.Ab3xYz/deep", "a.Ab3xY",
                                   "a.Ab3xYzz", "ab.Ab3xYz",     "a.Ab-xYz"};
    for (size_t i = 0; i < sizeof folders / sizeof *folders; i++)
        assert_int_equal(mkdir(in_folder(folders[i]), 0777), 0);
    write_text("a.Ab3xYz/deep/file", "x");
    write_text("a.tar_gz", "x");
    write_text("a.tar0gz", "x"); // a file is no folder
    output_directory_remove_remains(in_folder("a"));
    assert_false(is_there("a.Ab3xYz"));
    for (size_t i = 2; i < sizeof folders / sizeof *folders; i++) assert_true(is_there(folders[i]));
    assert_true(is_there("a.tar_gz") && is_there("a.tar0gz"));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_cursor_is_where_the_terminal_has_it),
        cmocka_unit_test(colours_are_what_the_terminal_can_show),
        cmocka_unit_test(in_a_file_an_answer_is_plain),
        cmocka_unit_test(on_a_terminal_phrases_get_their_colours_in_place),
        cmocka_unit_test(what_an_answer_says_does_not_reach_the_terminal_as_a_command),
        cmocka_unit_test(lines_are_read_however_they_arrive),
        cmocka_unit_test(a_signal_ends_the_waiting),
        cmocka_unit_test(words_are_split_at_commas),
        cmocka_unit_test(attention_is_bright_where_a_phrase_looked),
        IN_FOLDER(what_a_kill_leaves_of_a_folder_is_removed_and_nothing_else),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
