// rooms: eval data autograd
// A program that finds noun chunks, played by the shell: what it answers, and all that it may do
// wrong.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "autograd/clock.h"
#include "eval/phrases/chunk_command.h"
#include "tests/unit/temporary_folder.h"

static const char TEXT[] = "A dog sees a caf\xc3\xa9.";
static const double LONG = 60, SHORT = 0.3;

/// A shell program that says its name and then `answer` to every line, with the line's number as
/// $n.
static ChunkCommand *start(const char *answer, double seconds) {
    char command[4096];
    snprintf(command, sizeof command,
             "echo '{\"name\": \"stand-in 1\"}'; n=0; while read -r line; do n=$((n+1)); %s; done",
             answer);
    Error error = {0};
    ChunkCommand *started = chunk_command_start(command, LONG, seconds, &error);
    if (!started) fail_msg("%s", error.message);
    return started;
}

static void expect_start_fails(const char *command, double seconds, const char *expected) {
    Error error = {0};
    assert_null(chunk_command_start(command, seconds, LONG, &error));
    if (!strstr(error.message, expected)) fail_msg("'%s' lacks '%s'", error.message, expected);
    if (!strstr(error.message, "command '")) fail_msg("'%s' names no command", error.message);
}

/// The question fails, and every one after it in the same way.
static void expect_chunks_fail(const char *answer, double seconds, const char *expected) {
    ChunkCommand *command = start(answer, seconds);
    NounChunkList list;
    Error error = {0}, again = {0};
    assert_false(chunk_command_chunks(command, TEXT, strlen(TEXT), &list, &error));
    if (!strstr(error.message, expected)) fail_msg("'%s' lacks '%s'", error.message, expected);
    assert_null(list.items);
    assert_false(chunk_command_chunks(command, TEXT, strlen(TEXT), &list, &again));
    assert_string_equal(again.message, error.message);
    chunk_command_stop(command);
}

static void chunks_are_read_as_they_are_printed(void **state) {
    (void)state;
    ChunkCommand *command =
        start("echo \"{\\\"id\\\": $n, \\\"chunks\\\": [[0,5,2,5],[11,18,13,18]]}\"", LONG);
    assert_string_equal(chunk_command_name(command), "stand-in 1");
    for (int turn = 0; turn < 3; turn++) {
        NounChunkList list;
        Error error = {0};
        if (!chunk_command_chunks(command, TEXT, strlen(TEXT), &list, &error))
            fail_msg("%s", error.message);
        assert_int_equal(list.count, 2);
        assert_int_equal(list.items[1].begin, 11);
        assert_int_equal(list.items[1].root_begin, 13);
        assert_int_equal(list.items[1].root_end, 18);
        noun_chunks_free(&list);
    }
    chunk_command_stop(command);
}

static void vectors_are_read_and_must_be_of_one_length(void **state) {
    (void)state;
    const char *const words[] = {"dog", "cat"};
    WordVectors vectors;
    Error error = {0};
    ChunkCommand *command =
        start("echo \"{\\\"id\\\": $n, \\\"vectors\\\": [[1,2.5,-3],[0,0,0]]}\"", LONG);
    if (!chunk_command_vectors(command, words, 2, &vectors, &error)) fail_msg("%s", error.message);
    assert_int_equal(vectors.size, 3);
    assert_true(vectors.values[1] == 2.5f && vectors.values[5] == 0);
    word_vectors_free(&vectors);
    assert_false(chunk_command_vectors(command, words, 1, &vectors, &error));
    assert_non_null(strstr(error.message, "2 vectors for 1 words"));
    chunk_command_stop(command);
    command = start("echo \"{\\\"id\\\": $n, \\\"vectors\\\": [[1,2],[1]]}\"", LONG);
    assert_false(chunk_command_vectors(command, words, 2, &vectors, &error));
    assert_non_null(strstr(error.message, "vector 1"));
    chunk_command_stop(command);
    command = start("echo \"{\\\"id\\\": $n, \\\"vectors\\\": [[1],[\\\"2\\\"]]}\"", LONG);
    assert_false(chunk_command_vectors(command, words, 2, &vectors, &error));
    assert_non_null(strstr(error.message, "something else than numbers"));
    chunk_command_stop(command);
}

static void a_program_that_is_not_there_or_ends_is_an_error(void **state) {
    (void)state;
    expect_start_fails("/no/such/program 2>/dev/null", LONG, "exit status 127");
    expect_start_fails("true", LONG, "exit status 0");
    expect_chunks_fail("exit 3", LONG, "exit status 3");
    expect_chunks_fail("kill -9 $$", LONG, "signal 9");
    expect_chunks_fail("exec >/dev/null; sleep 60", LONG, "closed its output");
}

static void a_program_that_does_not_read_raises_no_signal(void **state) {
    (void)state;
    enum { LENGTH = 4 << 20 };
    char *text = malloc(LENGTH);
    memset(text, 'a', LENGTH);
    NounChunkList list;
    Error error = {0};
    ChunkCommand *command =
        chunk_command_start("echo '{\"name\": \"\"}'; exec <&-; sleep 0.2", LONG, LONG, &error);
    assert_non_null(command);
    assert_false(chunk_command_chunks(command, text, LENGTH, &list, &error));
    assert_non_null(strstr(error.message, "exit status 0"));
    chunk_command_stop(command);
    free(text);
}

static void both_sides_may_write_more_than_a_pipe_holds(void **state) {
    (void)state;
    enum { LENGTH = 4 << 20 };
    char *text = malloc(LENGTH);
    memset(text, 'a', LENGTH);
    NounChunkList list;
    Error error = {0};
    ChunkCommand *command = chunk_command_start("echo '{\"name\": \"\"}'; printf '%500000s{\"id\": "
                                                "1, \"chunks\": [[0,3,0,3]]}\\n' ' '; cat "
                                                ">/dev/null",
                                                LONG, LONG, &error);
    assert_non_null(command);
    if (!chunk_command_chunks(command, text, LENGTH, &list, &error)) fail_msg("%s", error.message);
    assert_int_equal(list.count, 1);
    noun_chunks_free(&list);
    chunk_command_stop(command);
    free(text);
}

static void a_program_that_hangs_is_stopped_in_time(void **state) {
    (void)state;
    const double begin = clock_seconds();
    expect_start_fails("sleep 60", SHORT, "within 0.3 seconds");
    expect_chunks_fail("sleep 60", SHORT, "within 0.3 seconds");
    assert_true(clock_seconds() - begin < 30);
}

static void nonsense_is_an_error(void **state) {
    (void)state;
    expect_start_fails("echo hello", LONG, "no JSON object");
    expect_start_fails("echo '[1]'", LONG, "no JSON object");
    expect_start_fails("echo '{}'", LONG, "\"name\"");
    expect_start_fails("yes | tr -d '\\n'", LONG, "more than 65536 bytes");
    expect_chunks_fail("echo; echo", LONG, "no JSON object");
    expect_chunks_fail("echo '{\"id\": 7, \"chunks\": []}'", LONG, "\"id\" 1");
    expect_chunks_fail("echo '{\"chunks\": []}'", LONG, "\"id\" 1");
    expect_chunks_fail("echo '{\"id\": 1}'", LONG, "no array \"chunks\"");
    expect_chunks_fail("echo '{\"id\": 1, \"error\": \"out of memory\"}'", LONG,
                       "it says: out of memory");
    expect_chunks_fail("yes | tr -d '\\n'", LONG, "it printed a line of more than");
}

static void spans_that_are_none_are_an_error(void **state) {
    (void)state;
    static const char *const wrong[] = {"[[0,5,2]]",
                                        "[[0,5,2,5,6]]",
                                        "[{}]",
                                        "[[0,5,2.0,5]]",
                                        "[[-1,5,2,5]]",
                                        "[[0,99,2,5]]",
                                        "[[0,5,2,6]]",
                                        "[[2,5,0,1]]",
                                        "[[0,5,5,5]]",
                                        "[[11,17,13,17]]", // within the last character of "café"
                                        "[[6,10,6,10],[0,5,2,5]]",
                                        "[[0,9223372036854775807,0,5]]"};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        char answer[256];
        snprintf(answer, sizeof answer, "echo '{\"id\": 1, \"chunks\": %s}'", wrong[i]);
        expect_chunks_fail(answer, LONG, "of its answer is no [begin, end, root_begin, root_end]");
    }
}

static void what_is_no_character_is_sent_as_a_question_mark(void **state) {
    (void)state;
    char answer[1024], path[512], line[256] = "";
    snprintf(path, sizeof path, "%s/line", temporary_folder);
    snprintf(answer, sizeof answer,
             "printf '%%s\\n' \"$line\" >%s; echo '{\"id\": 1, \"chunks\": []}'", path);
    ChunkCommand *command = start(answer, LONG);
    NounChunkList list;
    Error error = {0};
    if (!chunk_command_chunks(command, "a\xff\n\0b\xc3\xa9", 7, &list, &error))
        fail_msg("%s", error.message);
    chunk_command_stop(command);
    FILE *file = fopen(path, "r");
    assert_non_null(file);
    assert_non_null(fgets(line, sizeof line, file));
    fclose(file);
    assert_non_null(strstr(line, "\"text\":\"a?\\n?b\\u00E9\""));
}

static void the_program_ends_with_the_process_that_started_it(void **state) {
    (void)state;
    char path[512], command[600];
    snprintf(path, sizeof path, "%s/pid", temporary_folder);
    snprintf(command, sizeof command, "echo $$ >%s; echo '{\"name\": \"\"}'; exec sleep 600", path);
    pid_t child = fork();
    if (child == 0) {
        Error error;
        _exit(chunk_command_start(command, LONG, LONG, &error) ? 0 : 1);
    }
    int status, pid = 0;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
    FILE *file = fopen(path, "r");
    assert_non_null(file);
    assert_int_equal(fscanf(file, "%d", &pid), 1);
    fclose(file);
    assert_true(pid > 1);
    const double deadline = clock_seconds() + 20;
    while (kill(pid, 0) == 0 && clock_seconds() < deadline) {
        // Where nobody takes in orphans it stays, ended.
        char stat[64], state_letter = 0;
        snprintf(stat, sizeof stat, "/proc/%d/stat", pid);
        FILE *process = fopen(stat, "r");
        if (!process) break;
        const int read = fscanf(process, "%*d %*s %c", &state_letter);
        fclose(process);
        if (read == 1 && state_letter == 'Z') break;
        usleep(10000);
    }
    assert_true(clock_seconds() < deadline);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(chunks_are_read_as_they_are_printed),
        cmocka_unit_test(vectors_are_read_and_must_be_of_one_length),
        cmocka_unit_test(a_program_that_is_not_there_or_ends_is_an_error),
        cmocka_unit_test(a_program_that_does_not_read_raises_no_signal),
        cmocka_unit_test(both_sides_may_write_more_than_a_pipe_holds),
        cmocka_unit_test(a_program_that_hangs_is_stopped_in_time),
        cmocka_unit_test(nonsense_is_an_error),
        cmocka_unit_test(spans_that_are_none_are_an_error),
        IN_FOLDER(what_is_no_character_is_sent_as_a_question_mark),
        IN_FOLDER(the_program_ends_with_the_process_that_started_it),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
