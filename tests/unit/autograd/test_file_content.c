// rooms: autograd
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "autograd/file_content.h"
#include "autograd/json_file.h"
#include "tests/unit/temporary_folder.h"

static const char LFS[] = "version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 3\n";

static const char *file_with(const void *bytes, size_t size) {
    static char path[4096];
    snprintf(path, sizeof path, "%s/file", temporary_folder);
    FILE *file = fopen(path, "wb");
    assert_non_null(file);
    assert_int_equal(fwrite(bytes, 1, size, file), size);
    assert_int_equal(fclose(file), 0);
    return path;
}

static const char *file_of(const char *text) { return file_with(text, strlen(text)); }

static void formats_are_known_by_their_first_bytes(void **state) {
    (void)state;
    assert_string_equal(file_content("GIF89a...", 9), "a GIF image");
    assert_string_equal(file_content("RIFF\0\0\0\0WEBPVP8 ", 16), "a WebP image");
    assert_string_equal(file_content("BMabcdefghijkl\x28\0\0\0", 18), "a BMP image");
    assert_string_equal(file_content("\n <!DOCTYPE HTML>", 17), "an HTML page");
    assert_string_equal(file_content("\xff\xfe{\0", 4), "text in UTF-16");
    assert_string_equal(file_content("\xff\xfe\0\0", 4), "text in UTF-32");
    assert_string_equal(file_content("[\0{\0", 4), "text in UTF-16");
    assert_string_equal(file_content("\0[\0{", 4), "text in UTF-16");
    assert_null(file_content("\x60\0\0\0\0\0\0\0{", 9));
    assert_string_equal(file_content(LFS, sizeof LFS), "a git-lfs pointer");
    assert_null(file_content("{\"a\": 1}", 8));
    assert_null(file_content("", 0));
    assert_null(file_content(NULL, 0));
    assert_null(file_content("version https", 13));
}

/// Reads the bytes as a text file; NULL if they are refused, the message being what is expected.
/// The caller frees it.
static char *read_back(const void *bytes, size_t size, const char *message) {
    char *text;
    size_t length;
    Error error = {0};
    bool read = file_read_text(file_with(bytes, size), 1000, &text, &length, &error);
    if (message) assert_non_null(strstr(error.message, message));
    assert_int_equal(read, !message);
    if (read) assert_int_equal(strlen(text), length);
    return text;
}

static void text_files_begin_behind_a_byte_order_mark(void **state) {
    (void)state;
    char *text = read_back("\xef\xbb\xbf{}", 5, NULL);
    assert_string_equal(text, "{}");
    free(text);
    text = read_back("\xef\xbb\xbf", 3, NULL);
    assert_string_equal(text, "");
    free(text);
    text = read_back("", 0, NULL);
    assert_string_equal(text, "");
    free(text);
}

static void text_in_another_encoding_is_named(void **state) {
    (void)state;
    assert_null(read_back("\xff\xfe{\0}\0", 6, "text in UTF-16; expected UTF-8"));
    assert_null(read_back("\xfe\xff\0{", 4, "text in UTF-16"));
    assert_null(read_back("\xff\xfe\0\0{\0\0\0", 8, "text in UTF-32"));
    assert_null(read_back("<html><body>", 12, "an HTML page"));
    assert_null(read_back(LFS, sizeof LFS - 1, "git lfs pull"));
    char *long_text = calloc(1, 2000);
    memset(long_text, ' ', 2000);
    assert_null(read_back(long_text, 2000, "longer than 1000 bytes"));
    free(long_text);
}

static void a_pipe_without_a_writer_ends_at_once(void **state) {
    (void)state;
    char path[4096], *text;
    size_t length;
    Error error = {0};
    snprintf(path, sizeof path, "%s/pipe", temporary_folder);
    assert_int_equal(mkfifo(path, 0600), 0);
    assert_true(file_read_text(path, 1000, &text, &length, &error));
    assert_int_equal(length, 0);
    free(text);
    assert_false(file_read_text(temporary_folder, 1000, &text, &length, &error));
    assert_non_null(strstr(error.message, "a folder, not a file"));
}

static void json_files_name_the_line(void **state) {
    (void)state;
    Error error = {0};
    json_t *value = json_file_read(file_with("\xef\xbb\xbf[1]", 6), 0, &error);
    assert_non_null(value);
    json_decref(value);
    value = json_file_read(
        file_of("{\"a\": -12345678901234567890, \"b\": \"1234567890123456789\"}"), 0, &error);
    if (!value) fail_msg("%s", error.message);
    assert_string_equal(json_string_value(json_object_get(value, "a")), "-12345678901234567890");
    assert_string_equal(json_string_value(json_object_get(value, "b")), "1234567890123456789");
    json_decref(value);
    value = json_file_read(
        file_of("[123456789012345678, 1e30, 12345678901234567890.5, 0.0008159215082785342]"), 0,
        &error);
    if (!value) fail_msg("%s", error.message);
    assert_true(json_is_integer(json_array_get(value, 0)));
    assert_true(json_is_real(json_array_get(value, 2)));
    assert_true(json_real_value(json_array_get(value, 3)) == 0.0008159215082785342);
    json_decref(value);
    assert_null(json_file_read(file_with("[1,\n2,\n}", 8), 0, &error));
    assert_non_null(strstr(error.message, "/file:3: not valid JSON"));
    assert_null(json_file_read_object(file_of("[]"), 0, &error));
    assert_non_null(strstr(error.message, "expected a JSON object"));
    assert_null(json_file_read(file_with(LFS, sizeof LFS - 1), 0, &error));
    assert_non_null(strstr(error.message, "git lfs pull"));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(formats_are_known_by_their_first_bytes),
        cmocka_unit_test(text_files_begin_behind_a_byte_order_mark),
        cmocka_unit_test(text_in_another_encoding_is_named),
        cmocka_unit_test(a_pipe_without_a_writer_ends_at_once),
        cmocka_unit_test(json_files_name_the_line),
    };
    return cmocka_run_group_tests(tests, make_temporary_folder, remove_temporary_folder);
}
