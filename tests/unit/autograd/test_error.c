// rooms: autograd
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "autograd/error.h"
#include "autograd/text/utf8.h"

static void quoted_text_is_short_and_has_no_control_characters(void **state) {
    (void)state;
    char base64[5000];
    memset(base64, 'A', sizeof base64 - 1);
    base64[sizeof base64 - 1] = 0;
    assert_string_equal(quote("a ring").text, "a ring");
    assert_string_equal(quote(NULL).text, "");
    assert_string_equal(quote("two\nlines\t\x1b[31m\x7f").text, "two\\nlines\\t\\x1b[31m\\x7f");
    assert_true(strlen(quote(base64).text) < 100);
    assert_non_null(strstr(quote(base64).text, "AAA..."));
}

static void quoted_text_is_cut_between_characters(void **state) {
    (void)state;
    for (int shift = 0; shift < 4; shift++) {
        char text[400] = "";
        memset(text, 'a', (size_t)shift);
        for (int i = 0; i < 60; i++) strcat(text, "\xf0\x9f\x98\x80"); // a face, 4 bytes
        Quoted quoted = quote(text);
        size_t length = strlen(quoted.text);
        assert_true(length > 3 && length < 100);
        assert_string_equal(quoted.text + length - 3, "...");
        assert_memory_equal(quoted.text + length - 7, "\xf0\x9f\x98\x80", 4);
    }
}

static void a_message_is_one_line_without_endless_words(void **state) {
    (void)state;
    Error error;
    char word[6000];
    memset(word, 'A', sizeof word - 1);
    word[sizeof word - 1] = 0;
    memcpy(word + sizeof word - 9, ".png end", 8);
    assert_false(error_set(&error, "the image %s\nis not there", word));
    assert_true(strlen(error.message) < 300);
    assert_non_null(strstr(error.message, "the image AAA"));
    assert_non_null(strstr(error.message, "AAA...AAA"));
    assert_non_null(strstr(error.message, ".png end\\nis not there"));
    for (size_t i = 0; i < sizeof word - 1; i++) word[i] = i % 2 ? ' ' : 'b';
    error_set(&error, "%s", word);
    assert_int_equal(strlen(error.message), sizeof error.message - 1);
}

static void a_message_is_text_that_a_terminal_takes(void **state) {
    (void)state;
    Error error;
    error_set(&error, "'%s' is no key", "a\x1b[31m\nb\tc\x7f\xc2\x9b");
    assert_string_equal(error.message, "'a\\x1b[31m\\nb\\tc\\x7f\\xc2\\x9b' is no key");
    error_set(&error, "%s", "caf\xe9 \xed\xa0\x80 \xc3\xa9 \xf0\x9f\x98\x80 \xc2\xa0");
    assert_string_equal(error.message,
                        "caf\\xe9 \\xed\\xa0\\x80 \xc3\xa9 \xf0\x9f\x98\x80 \xc2\xa0");
    error_context(&error, "%s", "\xff");
    assert_true(is_utf8(error.message, strlen(error.message)));
    assert_int_equal(strncmp(error.message, "\\xff: caf", 9), 0);
}

static void what_a_terminal_shows_stays_as_it_is(void **state) {
    (void)state;
    const char *text = "model.layers.0 \xc3\xa9\xf0\x9f\x98\x80";
    char *same = utf8_printable(text), *other = utf8_printable("a\x1b]0;x\x07\xfe");
    assert_string_equal(same, text);
    assert_string_equal(other, "a\\x1b]0;x\\x07\\xfe");
    free(same);
    free(other);
}

static void a_word_is_cut_between_characters(void **state) {
    (void)state;
    for (int shift = 0; shift < 4; shift++) {
        char text[2000] = "";
        Error error;
        memset(text, 'a', (size_t)shift);
        for (int i = 0; i < 200; i++) strcat(text, "\xc3\xa9");
        error_set(&error, "%s", text);
        const char *cut = strstr(error.message, "...");
        assert_non_null(cut);
        assert_memory_equal(cut - 2, "\xc3\xa9", 2);
        assert_memory_equal(cut + 3, "\xc3\xa9", 2);
    }
}

static void a_file_is_named_once(void **state) {
    (void)state;
    Error error;
    error_set(&error, "a.json:12: not valid");
    error_context(&error, "%s", "a.json");
    assert_string_equal(error.message, "a.json:12: not valid");
    error_set(&error, "model/config.json: key 'x' is missing");
    error_context(&error, "%s", "model");
    assert_string_equal(error.message, "model/config.json: key 'x' is missing");
    error_set(&error, "a.json.gz: not valid");
    error_context(&error, "%s", "a.json");
    assert_string_equal(error.message, "a.json: a.json.gz: not valid");
    error_set(&error, "key 'x'");
    error.is_configuration = true;
    error_context(&error, "%s:%d", "a.yaml", 3);
    assert_string_equal(error.message, "a.yaml:3: key 'x'");
    assert_true(error.is_configuration);
}

/// What is asked for in a process of its own: its exit code, and what it says.
static int code_of_asking_for(unsigned long count, unsigned long bytes, char *said, size_t size) {
    int ends[2], status;
    assert_int_equal(pipe(ends), 0);
    pid_t child = fork();
    if (child == 0) {
        dup2(ends[1], STDERR_FILENO);
        void *memory = checked_calloc(count, bytes);
        _exit(memory ? 7 : 8);
    }
    close(ends[1]);
    ssize_t length = read(ends[0], said, size - 1);
    said[length > 0 ? length : 0] = 0;
    close(ends[0]);
    assert_int_equal(waitpid(child, &status, 0), child);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static void more_than_any_memory_stops_with_a_message_and_exit_code_1(void **state) {
    (void)state;
    const unsigned long HALF = 1ul << 63;
    const unsigned long asked[][2] = {{HALF, 2}, {HALF, 3}, {HALF + 1, 2}};
    char said[256];
    for (size_t i = 0; i < sizeof asked / sizeof *asked; i++) {
        assert_int_equal(code_of_asking_for(asked[i][0], asked[i][1], said, sizeof said), 1);
        assert_non_null(strstr(said, "out of memory: "));
    }
    assert_int_equal(code_of_asking_for(3, 5, said, sizeof said), 7);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(quoted_text_is_short_and_has_no_control_characters),
        cmocka_unit_test(quoted_text_is_cut_between_characters),
        cmocka_unit_test(a_message_is_one_line_without_endless_words),
        cmocka_unit_test(a_message_is_text_that_a_terminal_takes),
        cmocka_unit_test(what_a_terminal_shows_stays_as_it_is),
        cmocka_unit_test(a_word_is_cut_between_characters),
        cmocka_unit_test(a_file_is_named_once),
        cmocka_unit_test(more_than_any_memory_stops_with_a_message_and_exit_code_1),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
