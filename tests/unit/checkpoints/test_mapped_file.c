// rooms: checkpoints autograd
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "autograd/output/output_file.h"
#include "checkpoints/mapped_file.h"
#include "tests/unit/temporary_folder.h"

enum { PAGES = 3, PAGE = 4096 };

static void write_pages(const char *name) {
    char *text = calloc(PAGES * PAGE + 1, 1);
    memset(text, 'x', PAGES * PAGE);
    write_text(name, text);
    free(text);
}

static MappedFile map_file(const char *name) {
    MappedFile file;
    Error error = {0};
    write_pages(name);
    if (!mapped_file_open(&file, in_folder(name), &error)) fail_msg("%s", error.message);
    return file;
}

static void touch(const unsigned char *byte) { (void)*(const volatile unsigned char *)byte; }

/// Runs the function in a child, which is to end by itself; returns its status and what it wrote to
/// stderr.
static int in_child(void (*function)(void), char *said, size_t size) {
    int pipes[2];
    assert_int_equal(pipe(pipes), 0);
    pid_t child = fork();
    if (child == 0) {
        dup2(pipes[1], STDERR_FILENO);
        close(pipes[0]);
        close(pipes[1]);
        signal(SIGBUS, SIG_DFL); // cmocka's handler is for the parent
        setrlimit(RLIMIT_CORE, &(struct rlimit){0, 0});
        function();
        _exit(77);
    }
    close(pipes[1]);
    size_t length = 0;
    for (ssize_t count; (count = read(pipes[0], said + length, size - 1 - length)) > 0;)
        length += (size_t)count;
    said[length] = '\0';
    close(pipes[0]);
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    return status;
}

static void touch_what_was_cut_off(void) {
    MappedFile second = map_file("second"), file = map_file("weights");
    touch(file.bytes + 2 * PAGE);
    if (truncate(in_folder("weights"), PAGE) != 0) _exit(78);
    touch(file.bytes + PAGE - 1);
    touch(second.bytes + 2 * PAGE);
    touch(file.bytes + 2 * PAGE);
}

static void a_mapped_file_that_becomes_shorter_ends_the_program_by_its_name(void **state) {
    (void)state;
    char said[1024];
    int status = in_child(touch_what_was_cut_off, said, sizeof said);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 1);
    assert_non_null(strstr(said, "/weights: the file was changed while it was in use"));
    assert_null(strstr(said, "second"));
    assert_int_equal(said[strlen(said) - 1], '\n');
}

static void touch_another_mapping(void) {
    MappedFile file = map_file("weights");
    mapped_file_close(&file);
    int descriptor = open(in_folder("weights"), O_RDWR);
    unsigned char *bytes = mmap(NULL, PAGES * PAGE, PROT_READ, MAP_PRIVATE, descriptor, 0);
    if (bytes == MAP_FAILED || ftruncate(descriptor, 0) != 0) _exit(78);
    touch(bytes);
}

static void be_sent_the_signal(void) {
    map_file("weights");
    raise(SIGBUS);
}

static void exit_with_5(int number) {
    (void)number;
    _exit(5);
}

static void touch_another_mapping_with_a_handler(void) {
    signal(SIGBUS, exit_with_5);
    touch_another_mapping();
}

static void other_bus_errors_are_what_they_were(void **state) {
    (void)state;
    char said[1024];
    int status = in_child(touch_another_mapping, said, sizeof said);
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGBUS);
    status = in_child(be_sent_the_signal, said, sizeof said);
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGBUS);
    status = in_child(touch_another_mapping_with_a_handler, said, sizeof said);
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 5);
}

static void more_files_can_be_mapped_than_are_watched(void **state) {
    (void)state;
    enum { COUNT = 4200 };
    Error error = {0};
    write_pages("weights");
    MappedFile *files = calloc(COUNT, sizeof *files);
    for (int i = 0; i < COUNT; i++)
        if (!mapped_file_open(&files[i], in_folder("weights"), &error))
            fail_msg("%s", error.message);
    for (int i = 0; i < COUNT; i++) {
        assert_int_equal(files[i].bytes[PAGES * PAGE - 1], 'x');
        mapped_file_close(&files[i]);
    }
    free(files);
}

static void writing_what_was_cut_off_is_an_error(void **state) {
    (void)state;
    Error error = {0};
    MappedFile file = map_file("weights");
    assert_int_equal(truncate(in_folder("weights"), PAGE), 0);
    assert_false(output_whole_file(in_folder("copy"), file.bytes, file.size, &error));
    assert_non_null(strstr(error.message, "copy: writing failed: what is to be written"));
    assert_int_equal(files_in_folder(), 1);
    mapped_file_close(&file);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        IN_FOLDER(a_mapped_file_that_becomes_shorter_ends_the_program_by_its_name),
        IN_FOLDER(other_bus_errors_are_what_they_were),
        IN_FOLDER(more_files_can_be_mapped_than_are_watched),
        IN_FOLDER(writing_what_was_cut_off_is_an_error),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
