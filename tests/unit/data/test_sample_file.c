// rooms: data autograd
#include "autograd/text/byte_buffer.h"
#include "data/sample_file.h"
#include "tests/unit/temporary_folder.h"

#include <jansson.h>

/// What came of a file: "a" for a sample of that id, "(line: why)" for a spoiled line.
typedef struct Reading {
    const SampleFile *file;
    ByteBuffer found;
    int64_t next;
} Reading;

static bool use(void *context, const SamplePlace *place, int64_t number, json_t *json,
                Error *error) {
    Reading *reading = context;
    assert_int_equal(number, reading->next++);
    byte_buffer_put_text(&reading->found, json_string_value(json_object_get(json, "id")));
    json_decref(json);
    json = sample_file_read(reading->file, place, number, error);
    assert_non_null(json);
    json_decref(json);
    return true;
}

static bool pass_over(void *context, int64_t offset, int64_t number, const Error *why,
                      Error *error) {
    Reading *reading = context;
    (void)error;
    assert_int_equal(number, reading->next++);
    assert_non_null(strstr(why->message, "data.json:"));
    byte_buffer_print(&reading->found, "(%lld)",
                      (long long)sample_file_line(reading->file, offset));
    return true;
}

/// Goes through the text; the caller frees what came of it.
static char *read_text(const char *text, size_t size, bool passes_over, bool *ok, Error *error) {
    FILE *out = fopen(in_folder("data.json"), "w");
    assert_non_null(out);
    assert_int_equal(fwrite(text, 1, size, out), size);
    assert_int_equal(fclose(out), 0);
    SampleFile *file = sample_file_open(in_folder("data.json"), error);
    assert_non_null(file);
    Reading reading = {.file = file};
    *ok = passes_over ? sample_file_scan_all(file, use, pass_over, &reading, error)
                      : sample_file_scan(file, use, &reading, error);
    sample_file_close(file);
    return byte_buffer_take(&reading.found);
}

static void in_lines_the_next_line_is_a_fresh_start(void **state) {
    (void)state;
    static const struct {
        const char *text, *found;
    } CASES[] = {
        {"{\"id\":\"a\"}\n{\"id\":\"b\" \"c\"}\n{\"id\":\"d\"}\n", "a(2)d"},
        {"{\"id\":\"a\"}\nno JSON\n\n  {\"id\":\"d\"}", "a(2)d"},
        {"{\"id\":\"a\"}\n{\"id\":\n{\"id\":\"d\"}\n", "a(2)d"},
        {"{\"id\":\n{\"id\":\"d\"}\n", "(1)d"},
        {"{\"id\":\"a\"}\n{\"id\":\"b\"}, \n{\"id\":\"d\"}\n", "a(2)d"},
        {"{\"id\":\"a\"}\n{\"id\":\"b\"} {\"id\":\"c\"}\r\n{\"id\":\"d\"}\n", "a(2)d"},
        {"{\"id\":\"a\"}\n[{\"id\":\"b\"}]\n{\"id\":\"d\"}\n", "a(2)d"},
        {"{\"id\":\"a\"}\n{\"id\":\"\xff\"}\n{\"id\":\"d\"}\n", "a(2)d"},
        {"{\"id\":\"a\"}\n{\"id\":\"b\",\"id\":\"c\"}\n{\"id\":\"d\"}\n", "a(2)d"},
        {"{\"id\":\"a\"}\n{\"id\":\n\"d\"}\n{\"id\":\"e", "ad(4)"},
        {"{\"id\":\"a\"}\n}\n}\n{\"id\":\"d\"}\n", "a(2)(3)d"},
    };
    for (size_t i = 0; i < sizeof CASES / sizeof *CASES; i++) {
        Error error = {0};
        bool ok;
        const size_t size = strlen(CASES[i].text);
        char *found = read_text(CASES[i].text, size, true, &ok, &error);
        assert_string_equal(found, CASES[i].found);
        assert_true(ok);
        free(found);
        free(read_text(CASES[i].text, size, false, &ok, &error));
        assert_false(ok);
    }
}

static void a_line_that_is_too_long_is_passed_over(void **state) {
    (void)state;
    static const char BEFORE[] = "{\"id\":\"a\"}\n{\"id\":\"", AFTER[] = "\"}\n{\"id\":\"d\"}\n";
    const size_t before = sizeof BEFORE - 1, after = sizeof AFTER - 1,
                 size = before + MOST_SAMPLE_BYTES + (1 << 21) + after;
    Error error = {0};
    bool ok;
    char *text = malloc(size);
    memset(text, 'x', size);
    memcpy(text, BEFORE, before);
    memcpy(text + size - after, AFTER, after);
    char *found = read_text(text, size, true, &ok, &error);
    assert_string_equal(found, "a(2)d");
    assert_true(ok);
    free(found);
    free(text);
}

static void in_an_array_the_rest_is_lost_and_the_message_says_how_much_is_not(void **state) {
    (void)state;
    static const char *const TEXTS[] = {
        "[{\"id\":\"a\"},\n{\"id\":\"b\"},\n{\"id\" \"c\"},\n{\"id\":\"d\"}]",
        "[{\"id\":\"a\"},\n{\"id\":\"b\"}\n{\"id\":\"c\"},\n{\"id\":\"d\"}]"};
    for (size_t i = 0; i < sizeof TEXTS / sizeof *TEXTS; i++) {
        Error error = {0};
        bool ok;
        char *found = read_text(TEXTS[i], strlen(TEXTS[i]), true, &ok, &error);
        assert_string_equal(found, "ab");
        assert_false(ok);
        assert_non_null(strstr(error.message, "data.json:3: not valid JSON"));
        assert_non_null(strstr(error.message, "; 2 samples before it could be read, and what "
                                              "stands behind it in the array cannot be found"));
        free(found);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        IN_FOLDER(in_lines_the_next_line_is_a_fresh_start),
        IN_FOLDER(a_line_that_is_too_long_is_passed_over),
        IN_FOLDER(in_an_array_the_rest_is_lost_and_the_message_says_how_much_is_not),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
