// rooms: autograd
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

#include "autograd/output/output_file.h"
#include "tests/unit/file_bytes.h"
#include "tests/unit/temporary_folder.h"

static void limit_files(rlim_t bytes) {
    signal(SIGXFSZ, SIG_IGN); // so that writing fails, as on a full disk
    struct rlimit limit;
    getrlimit(RLIMIT_FSIZE, &limit);
    limit.rlim_cur = bytes;
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
}

static void expect_content(const char *name, const char *content) {
    FileBytes bytes = file_bytes_read(in_folder(name));
    assert_int_equal(bytes.size, strlen(content));
    assert_memory_equal(bytes.data, content, bytes.size);
    file_bytes_free(&bytes);
}

static void appending_is_whole_or_not_at_all(void **state) {
    (void)state;
    Error error = {0};
    assert_true(output_append(in_folder("lines"), "one\n", 4, &error));
    assert_true(output_append(in_folder("lines"), "two\n", 4, &error));
    expect_content("lines", "one\ntwo\n");
    limit_files(10);
    assert_false(output_append(in_folder("lines"), "three\n", 6, &error));
    limit_files(RLIM_INFINITY);
    assert_non_null(strstr(error.message, "/lines: writing failed: File too large"));
    expect_content("lines", "one\ntwo\n");
    assert_false(output_append(in_folder("absent/lines"), "x", 1, &error));
    assert_non_null(strstr(error.message, "absent/lines: cannot be written: No such file"));
}

static void a_file_appears_whole_or_not_at_all(void **state) {
    (void)state;
    Error error = {0};
    assert_true(output_whole_file(in_folder("file"), "old", 3, &error));
    limit_files(5);
    assert_false(output_whole_file(in_folder("file"), "new and long", 12, &error));
    limit_files(RLIM_INFINITY);
    assert_non_null(strstr(error.message, "/file: writing failed: File too large"));
    expect_content("file", "old");
    assert_int_equal(files_in_folder(), 1);
    assert_true(output_whole_file(in_folder("file"), "new and long", 12, &error));
    expect_content("file", "new and long");
    assert_int_equal(files_in_folder(), 1);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        IN_FOLDER(appending_is_whole_or_not_at_all),
        IN_FOLDER(a_file_appears_whole_or_not_at_all),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
