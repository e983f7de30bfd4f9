// rooms: autograd
// Large JSON files read an element or a member at a time.
#include "autograd/json_file.h"

#include "tests/unit/file_bytes.h"
#include "tests/unit/temporary_folder.h"

/// What was met, as text: "a0=1 b0={...} ".
static char met[1024];

static bool note(const char *list, const json_t *element, size_t number, Error *error) {
    if (json_is_string(element) && !strcmp(json_string_value(element), "stop"))
        return error_set(error, "element %zu of %s says so", number, list);
    char *text = json_dumps(element, JSON_ENCODE_ANY | JSON_COMPACT);
    size_t used = strlen(met);
    snprintf(met + used, sizeof met - used, "%s%zu=%s ", list, number, text);
    free(text);
    return true;
}

static bool note_a(void *context, const json_t *element, size_t number, Error *error) {
    assert_string_equal(context, "context");
    return note("a", element, number, error);
}

static bool note_b(void *context, const json_t *element, size_t number, Error *error) {
    (void)context;
    return note("b", element, number, error);
}

static bool read_text(const char *text, Error *error) {
    static const JsonList lists[] = {{"a", note_a}, {"b", note_b}};
    char context[] = "context";
    met[0] = '\0';
    write_text("x.json", text);
    return json_file_read_lists(in_folder("x.json"), lists, 2, context, error);
}

static void every_element_is_given_in_order(void **state) {
    (void)state;
    static const char *const cases[][2] = {
        {"{}", ""},
        {" { } \n", ""},
        {"\xef\xbb\xbf{\"a\": []}", ""},
        {"{\"a\": [1, 2.5 , \"x\"], \"b\":[{\"k\": [1, {}]}, [], null,true]}",
         "a0=1 a1=2.5 a2=\"x\" b0={\"k\":[1,{}]} b1=[] b2=null b3=true "},
        {"{\"c\": {\"a\": [1]}, \"b\" : [ 7 ] , \"d\": [\"}]\\\"\", {}], \"a\": [\"]\"]}",
         "b0=7 a0=\"]\" "},
        {"{\"c\": -1e5, \"d\": \"a\", \"e\": null, \"a\": [\"\\\\\", \"\\\"\"]}",
         "a0=\"\\\\\" a1=\"\\\"\" "},
        {"{\"\\u0061\": [12345678901234567890]}", "a0=\"12345678901234567890\" "},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        Error error = {0};
        if (!read_text(cases[i][0], &error)) fail_msg("case %zu: %s", i, error.message);
        assert_string_equal(met, cases[i][1]);
    }
}

static void what_is_not_valid_is_told_with_its_line(void **state) {
    (void)state;
    static const char *const cases[][2] = {
        {"", "x.json"},
        {"[]", "x.json: expected an object at the top level"},
        {"{\"a\": 3}", "x.json: \"a\" is 3; expected a list"},
        {"{\"a\": {\"b\": 1}}", "\"a\" is {\"b\":1}; expected a list"},
        {"{\"a\": [1, \"stop\"]}", "x.json: element 1 of a says so"},
        {"{\"a\": [1,\n2,\n{\"k\":\n}]}", "x.json:4: not valid JSON"},
        {"{\"a\": [1,\n]}", "x.json:2: not valid JSON: a value is missing"},
        {"{\"a\": [1 2]}", "',' or ']' expected"},
        {"{\"a\": [1", "',' or ']' expected"},
        {"{\"a\": [", "a value is missing"},
        {"{\"a\": [[1", "x.json:1: not valid JSON"},
        {"{\"a\": [\"x", "a string does not end"},
        {"{\"a\" [1]}", "':' expected"},
        {"{\"a\": [1]", "',' or '}' expected"},
        {"{\"a\": [1],}", "a string expected"},
        {"{3: [1]}", "a string expected"},
        {"{\"c\": , \"a\": []}", "a value is missing"},
        {"{\"a\": []} x", "end of file expected"},
        {"{\"a\": [1], \"b\": [], \"a\": [2]}", "x.json: the key \"a\" occurs twice"},
        {"{\"a\": [nul]}", "not valid JSON"},
        {"{\"a\": [1]}}", "end of file expected"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        Error error = {0};
        if (read_text(cases[i][0], &error)) fail_msg("accepted: %s", cases[i][0]);
        if (!strstr(error.message, cases[i][1])) fail_msg("case %zu: %s", i, error.message);
    }
}

/// What the whole file is to jansson, it is element by element; damage in what nobody looks at may
/// pass.
static void damaged_files_are_no_more_than_errors(void **state) {
    (void)state;
    const char *good =
        "{\"c\": {\"x\": [1, \"]\"]}, \"a\": [{\"k\": \"v\\\"\"}, [1, [2]]], \"b\": [1]}";
    uint32_t random = 3;
    for (int trial = 0; trial < 1000; trial++) {
        FileBytes bytes = {0};
        file_bytes_put(&bytes, good, strlen(good));
        file_bytes_mutate(&bytes, &random);
        file_bytes_put(&bytes, "", 1);
        Error error = {0};
        bool ok = read_text((char *)bytes.data, &error);
        json_t *whole = json_loads((char *)bytes.data, JSON_REJECT_DUPLICATES, NULL);
        bool lists = (!json_object_get(whole, "a") || json_is_array(json_object_get(whole, "a"))) &&
                     (!json_object_get(whole, "b") || json_is_array(json_object_get(whole, "b")));
        if (json_is_object(whole) && lists && !ok)
            fail_msg("%s: %s", (char *)bytes.data, error.message);
        json_decref(whole);
        file_bytes_free(&bytes);
    }
}

static bool note_member(void *context, const char *key, const json_t *value, Error *error) {
    assert_string_equal(context, "context");
    return note(key, value, 0, error);
}

static bool read_members(const char *text, Error *error) {
    char context[] = "context";
    met[0] = '\0';
    write_text("x.json", text);
    return json_file_read_members(in_folder("x.json"), note_member, context, error);
}

static void every_member_is_given_in_order(void **state) {
    (void)state;
    Error error = {0};
    assert_true(read_members("{ }", &error));
    assert_string_equal(met, "");
    assert_true(read_members("{\"7\": {\"a\": [1, \"}\"]}, \"\\u0062\":\n\"x\" , \"7\": 3,"
                             "\"c\": [12345678901234567890]}",
                             &error));
    assert_string_equal(met, "70={\"a\":[1,\"}\"]} b0=\"x\" 70=3 c0=[\"12345678901234567890\"] ");
    static const char *const wrong[][2] = {
        {"[]", "x.json: expected an object at the top level"},
        {"{\"a\": 1,\n\"b\": {\"c\":}}", "x.json:2: not valid JSON"},
        {"{\"a\": 1 \"b\": 2}", "',' or '}' expected"},
        {"{\"a\": 1,}", "a string expected"},
        {"{\"a\" 1}", "':' expected"},
        {"{\"a\": }", "a value is missing"},
        {"{\"a\": [1", "x.json:1: not valid JSON"},
        {"{\"a\": 1} x", "end of file expected"},
        {"{\"a\": 1, \"b\": \"stop\"}", "x.json: element 0 of b says so"}};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        if (read_members(wrong[i][0], &error)) fail_msg("accepted: %s", wrong[i][0]);
        if (!strstr(error.message, wrong[i][1])) fail_msg("case %zu: %s", i, error.message);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        IN_FOLDER(every_element_is_given_in_order),
        IN_FOLDER(what_is_not_valid_is_told_with_its_line),
        IN_FOLDER(damaged_files_are_no_more_than_errors),
        IN_FOLDER(every_member_is_given_in_order),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
