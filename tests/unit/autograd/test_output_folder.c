// rooms: autograd
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "autograd/output/output_folder.h"
#include "tests/unit/temporary_folder.h"

static bool is_folder(const char *name) {
    struct stat status;
    return stat(in_folder(name), &status) == 0 && S_ISDIR(status.st_mode);
}

static OutputFolder make(const char *name) {
    OutputFolder folder;
    Error error = {0};
    if (!output_folder_make(&folder, in_folder(name), &error)) fail_msg("%s", error.message);
    assert_true(is_folder(name));
    return folder;
}

static void folders_above_are_made_and_stay(void **state) {
    (void)state;
    OutputFolder folder = make("a/b//c/");
    output_folder_close(&folder, false);
    assert_true(is_folder("a/b/c"));
}

static void a_failure_takes_back_what_was_made_and_nothing_else(void **state) {
    (void)state;
    OutputFolder folder = make("old");
    output_folder_close(&folder, false);
    const char *const names[] = {"a/b/c",    "a//b/", "a/./b",     "old/new",
                                 "a/../old", "old",   "a/../old/x"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        folder = make(names[i]);
        output_folder_close(&folder, true);
        assert_int_equal(files_in_folder(), 1);
        assert_true(is_folder("old") && !is_folder("old/new"));
    }
}

static void what_was_written_stays(void **state) {
    (void)state;
    OutputFolder folder = make("a/b/c");
    write_text("a/b/page", "x");
    output_folder_close(&folder, true);
    assert_true(is_folder("a/b") && !is_folder("a/b/c"));
}

static void a_folder_that_cannot_be_made_leaves_none(void **state) {
    (void)state;
    Error error = {0};
    OutputFolder folder;
    write_text("file", "x");
    assert_false(output_folder_make(&folder, in_folder("file/a"), &error));
    output_folder_close(&folder, true);
    char name[400] = "a/";
    memset(name + 2, 'x', 300);
    assert_false(output_folder_make(&folder, in_folder(name), &error));
    output_folder_close(&folder, true);
    assert_int_equal(files_in_folder(), 1);
    assert_false(output_folder_make(&folder, "", &error));
    output_folder_close(&folder, true);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        IN_FOLDER(folders_above_are_made_and_stay),
        IN_FOLDER(a_failure_takes_back_what_was_made_and_nothing_else),
        IN_FOLDER(what_was_written_stays),
        IN_FOLDER(a_folder_that_cannot_be_made_leaves_none),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
