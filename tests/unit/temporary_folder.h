/// A folder below /tmp for the files of one test, or of all tests of a program: one at a time,
/// removed with all that is in it.
#pragma once
#include <dirent.h>
#include <ftw.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/// Where the folder is, from make_temporary_folder() on.
static char temporary_folder[64];

/// Makes the folder. A fixture of cmocka, like the next; `state` is not looked at.
static inline int make_temporary_folder(void **state) {
    (void)state;
    strcpy(temporary_folder, "/tmp/difflmm-test-XXXXXX");
    return mkdtemp(temporary_folder) ? 0 : -1;
}

static inline int remove_temporary_entry(const char *path, const struct stat *status, int type,
                                         struct FTW *walk) {
    (void)status, (void)type, (void)walk;
    return remove(path);
}

/// Removes the folder and all below it.
static inline int remove_temporary_folder(void **state) {
    (void)state;
    return nftw(temporary_folder, remove_temporary_entry, 16, FTW_DEPTH | FTW_PHYS);
}

/// A test that has the folder to itself.
#define IN_FOLDER(test) \
    cmocka_unit_test_setup_teardown(test, make_temporary_folder, remove_temporary_folder)

/// "<folder>/<name>"; lives until the next eight calls.
static inline const char *in_folder(const char *name) {
    static char paths[8][512];
    static int next;
    char *path = paths[next++ % 8];
    snprintf(path, sizeof paths[0], "%s/%s", temporary_folder, name);
    return path;
}

/// Entries of the folder, those below its folders not counted.
static inline int files_in_folder(void) {
    int count = 0;
    DIR *directory = opendir(temporary_folder);
    assert_non_null(directory);
    for (struct dirent *entry; (entry = readdir(directory));)
        count += strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0;
    closedir(directory);
    return count;
}

/// Writes the file of that name in the folder.
static inline void write_text(const char *name, const char *text) {
    FILE *file = fopen(in_folder(name), "w");
    assert_non_null(file);
    fputs(text, file);
    assert_int_equal(fclose(file), 0);
}
