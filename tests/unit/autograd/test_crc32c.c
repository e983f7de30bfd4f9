// rooms: autograd
#include "tests/unit/temporary_folder.h"

#include "autograd/crc32c.h"
#include "autograd/stop_request.h"

#include <signal.h>

/// RFC 3720, appendix B.4, and the usual check value.
static void it_gives_the_published_values(void **state) {
    (void)state;
    static const unsigned char zeros[32];
    assert_int_equal(crc32c(0, "123456789", 9), 0xe3069283u);
    assert_int_equal(crc32c(0, zeros, 32), 0x8a9136aau);
    assert_int_equal(crc32c(crc32c(0, "1234", 4), "56789", 5), 0xe3069283u);
}

/// A file of `count` times this text; the name is good until the next.
static const char *file_of(const char *name, const char *text, int count) {
    static char path[128];
    snprintf(path, sizeof path, "%s/%s", temporary_folder, name);
    FILE *file = fopen(path, "wb");
    assert_non_null(file);
    for (int i = 0; i < count; i++) fputs(text, file);
    assert_int_equal(fclose(file), 0);
    return path;
}

static void files_one_after_the_other_have_the_checksum_of_their_bytes(void **state) {
    (void)state;
    Error error = {0};
    uint32_t crc = 0;
    assert_true(crc32c_add_file(&crc, file_of("one", "1234", 1), &error));
    assert_true(crc32c_add_file(&crc, file_of("empty", "", 0), &error));
    assert_true(crc32c_add_file(&crc, file_of("two", "56789", 1), &error));
    assert_int_equal(crc, 0xe3069283u);
}

static void a_file_of_several_pieces_is_read_to_its_end(void **state) {
    (void)state;
    enum { COUNT = 300001 };
    Error error = {0};
    uint32_t crc = 0, expected = 0;
    for (int i = 0; i < COUNT; i++) expected = crc32c(expected, "nine byte", 9);
    assert_true(crc32c_add_file(&crc, file_of("long", "nine byte", COUNT), &error));
    assert_int_equal(crc, expected);
}

static void what_cannot_be_read_is_named(void **state) {
    (void)state;
    Error error = {0};
    uint32_t crc = 0;
    assert_false(crc32c_add_file(&crc, "/nowhere/at/all", &error));
    assert_string_equal(error.message,
                        "/nowhere/at/all: cannot be opened: No such file or directory");
    assert_false(crc32c_add_file(&crc, temporary_folder, &error));
    assert_non_null(strstr(error.message, ": cannot be read: Is a directory"));
}

/// The last of all: the request stays.
static void a_request_to_stop_ends_it(void **state) {
    (void)state;
    Error error = {0};
    uint32_t crc = 0;
    stop_request_listen();
    raise(SIGTERM);
    assert_false(crc32c_add_file(&crc, file_of("one", "1234", 1), &error));
    assert_true(error.is_stop);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(it_gives_the_published_values),
        IN_FOLDER(files_one_after_the_other_have_the_checksum_of_their_bytes),
        IN_FOLDER(a_file_of_several_pieces_is_read_to_its_end),
        IN_FOLDER(what_cannot_be_read_is_named),
        IN_FOLDER(a_request_to_stop_ends_it),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
