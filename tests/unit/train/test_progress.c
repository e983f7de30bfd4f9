// rooms: train autograd
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <fcntl.h>
#include <math.h>
#include <pty.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "train/log/progress.h"

static void expect(char *made, const char *expected) {
    assert_string_equal(made, expected);
    free(made);
}

static void durations_read_as_clocks_do(void **state) {
    (void)state;
    expect(format_duration(0), "0:00");
    expect(format_duration(7.4), "0:07");
    expect(format_duration(59.6), "1:00");
    expect(format_duration(754), "12:34");
    expect(format_duration(12345), "3:25:45");
    expect(format_duration(86400 * 2 + 12345), "2d 03:25");
    expect(format_duration(-1), "?");
    expect(format_duration(1e300), "?");
}

static void bytes_have_units(void **state) {
    (void)state;
    expect(format_bytes(0), "0 B");
    expect(format_bytes(1023), "1023 B");
    expect(format_bytes(1024), "1.0 KiB");
    expect(format_bytes(3355443), "3.2 MiB");
    expect(format_bytes((int64_t)1 << 50), "1.0 PiB");
    expect(format_bytes(INT64_MAX), "8.0 EiB");
}

static void a_line_has_everything_where_there_is_room(void **state) {
    (void)state;
    expect(progress_format("stage 1", 0, 240, 600, 62, "loss 1.234", 200, 1),
           "stage 1 [============>                 ]  40% 240/600  loss 1.234  1:02, 1:33 left");
    expect(progress_format("stage 1", 0, 240, 600, 62, "loss 1.234", 0, 0),
           "stage 1  40% 240/600  loss 1.234  1:02, 1:33 left");
}

static void a_narrow_line_loses_the_bar_first_and_never_wraps(void **state) {
    (void)state;
    for (int width = 1; width < 120; width++) {
        char *line = progress_format("stage 1", 0, 240, 600, 62, "loss 1.234", width, 1);
        assert_true((int)strlen(line) <= width);
        if (width >= 60) assert_non_null(strstr(line, "left"));
        free(line);
    }
    expect(progress_format("\xc3\xa9\xc3\xa9\xc3\xa9", 0, 0, 1, 0, "", 2, 1), "\xc3\xa9\xc3\xa9");
}

static void time_left_counts_from_where_the_run_resumed(void **state) {
    (void)state;
    expect(progress_format("t", 100, 110, 120, 10, "", 0, 0), "t  91% 110/120  0:10, 0:10 left");
    expect(progress_format("t", 100, 100, 120, 10, "", 0, 0), "t  83% 100/120  0:10");
    expect(progress_format("t", 0, 120, 120, 10, "", 0, 0), "t 100% 120/120  0:10");
    expect(progress_format("t", 0, 0, 0, 0, "", 0, 0), "t 100% 0/0  0:00");
}

static void elsewhere_than_on_a_terminal_lines_are_plain_and_few(void **state) {
    (void)state;
    char *text = NULL;
    size_t length = 0;
    FILE *memory = tmpfile();
    Progress *progress = progress_begin(memory, "train", 0, 25, 10);
    for (int i = 1; i <= 25; i++) progress_update(progress, i, "loss %d", i);
    progress_print(progress, "an image is missing");
    progress_end(progress);
    length = (size_t)ftell(memory);
    text = calloc(1, length + 1);
    rewind(memory);
    assert_int_equal(fread(text, 1, length, memory), length);
    fclose(memory);
    char expected[512];
    snprintf(expected, sizeof expected,
             "train  40%% 10/25  loss 10  0:00, 0:00 left\ntrain  80%% 20/25  loss 20  0:00, 0:00 "
             "left\nan image is missing\ntrain 100%% 25/25  loss 25  0:00\n");
    assert_string_equal(text, expected);
    free(text);
}

static void a_time_left_that_is_told_takes_the_place_of_the_estimate(void **state) {
    (void)state;
    char text[256] = "";
    FILE *memory = tmpfile();
    Progress *progress = progress_begin(memory, "sweep", 0, 4, 1);
    progress_expect(progress, 75);
    progress_update(progress, 1, "training");
    progress_expect(progress, NAN);
    progress_update(progress, 2, "training");
    progress_expect(progress, 75);
    progress_update(progress, 4, "%s", "");
    progress_end(progress);
    rewind(memory);
    assert_true(fread(text, 1, sizeof text - 1, memory) > 0);
    fclose(memory);
    assert_string_equal(text, "sweep  25% 1/4  training  0:00, 1:15 left\n"
                              "sweep  50% 2/4  training  0:00\n"
                              "sweep 100% 4/4  0:00\n");
}

static void nothing_is_shown_without_an_output(void **state) {
    (void)state;
    Progress *progress = progress_begin(NULL, "train", 0, 2, 1);
    progress_update(progress, 1, "loss %d", 1);
    progress_print(progress, "a warning");
    progress_end(progress);
    progress_end(NULL);
}

/// Reads what is there, without waiting.
static size_t drain(int descriptor, char *text, size_t size) {
    fcntl(descriptor, F_SETFL, O_NONBLOCK);
    size_t length = 0;
    ssize_t got;
    while (length < size - 1 && (got = read(descriptor, text + length, size - 1 - length)) > 0)
        length += (size_t)got;
    text[length] = 0;
    return length;
}

static void on_a_terminal_one_line_is_redrawn_within_its_width(void **state) {
    (void)state;
    int ours, theirs;
    struct winsize size = {.ws_row = 24, .ws_col = 40};
    if (openpty(&ours, &theirs, NULL, NULL, &size)) skip();
    FILE *terminal = fdopen(theirs, "w");
    Progress *progress = progress_begin(terminal, "train", 0, 5000, 1);
    for (int i = 1; i <= 5000; i++) progress_update(progress, i, "loss %d and much more to say", i);
    progress_end(progress);
    static char text[65536];
    drain(ours, text, sizeof text);
    fclose(terminal);
    close(ours);
    int redraws = 0;
    for (char *line = strtok(text, "\r"); line; line = strtok(NULL, "\r")) {
        char *end = strstr(line, "\033[K");
        if (!end) continue;
        assert_true(end - line < 40);
        redraws++;
    }
    // Five thousand updates take a moment: the first and the last are shown, and at most ten a
    // second between them.
    assert_in_range(redraws, 2, 30);
}

static void a_null_handle_shows_nothing(void **state) {
    (void)state;
    progress_update(NULL, 1, "loss %g", 1.0);
    progress_print(NULL, "a warning");
    progress_end(NULL);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(durations_read_as_clocks_do),
        cmocka_unit_test(bytes_have_units),
        cmocka_unit_test(a_line_has_everything_where_there_is_room),
        cmocka_unit_test(a_narrow_line_loses_the_bar_first_and_never_wraps),
        cmocka_unit_test(time_left_counts_from_where_the_run_resumed),
        cmocka_unit_test(elsewhere_than_on_a_terminal_lines_are_plain_and_few),
        cmocka_unit_test(a_time_left_that_is_told_takes_the_place_of_the_estimate),
        cmocka_unit_test(nothing_is_shown_without_an_output),
        cmocka_unit_test(on_a_terminal_one_line_is_redrawn_within_its_width),
        cmocka_unit_test(a_null_handle_shows_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
