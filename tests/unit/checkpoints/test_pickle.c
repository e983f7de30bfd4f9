// rooms: checkpoints autograd
// Pickles against what Python wrote (tests/parity/record_archives.py), RefCOCO's against their JSON
// twins, and pickles that nobody would write.
#include "tests/unit/file_bytes.h"
#include "tests/unit/temporary_folder.h"

#include <inttypes.h>
#include <jansson.h>

#include "checkpoints/torch/pickle.h"

#define ARCHIVES SOURCE_DIR "/tests/parity/data/archives/"

static Pickle *open_pickle(const char *path) {
    Error error = {0};
    Pickle *pickle = pickle_open(path, &error);
    if (!pickle) fail_msg("%s", error.message);
    return pickle;
}

static Pickle *read_bytes(const void *bytes, size_t size, Error *error) {
    size_t used;
    return pickle_read(bytes, size, NULL, &used, error);
}

// ---- values

static void describe(FILE *out, const PickleValue *value);

static void describe_items(FILE *out, const PickleValue *value, const char *brackets) {
    fputc(brackets[0], out);
    for (uint32_t i = 0; i < value->count; i++) {
        if (i) fputc(' ', out);
        if (value->kind == PICKLE_DICT) {
            describe(out, value->items[2 * i]);
            fputc(':', out);
            describe(out, value->items[2 * i + 1]);
        } else {
            describe(out, value->items[i]);
        }
    }
    fputc(brackets[1], out);
}

/// Text in "", bytes in '', what is not printable ASCII in hexadecimal.
static void describe_string(FILE *out, const PickleValue *value, char quote) {
    fputc(quote, out);
    for (uint32_t i = 0; i < value->count; i++) {
        unsigned char c = (unsigned char)value->text[i];
        fprintf(out, c >= ' ' && c < 127 ? "%c" : "<%02x>", c);
    }
    fputc(quote, out);
}

static void describe(FILE *out, const PickleValue *value) {
    switch (value->kind) {
    case PICKLE_NONE:
        fputs("None", out);
        break;
    case PICKLE_BOOL:
        fputs(value->truth ? "True" : "False", out);
        break;
    case PICKLE_INT:
        fprintf(out, "%" PRId64, value->integer);
        break;
    case PICKLE_FLOAT:
        fprintf(out, "%g.", value->number);
        break;
    case PICKLE_TEXT:
        describe_string(out, value, '"');
        break;
    case PICKLE_BYTES:
        describe_string(out, value, '\'');
        break;
    case PICKLE_LIST:
        describe_items(out, value, "[]");
        break;
    case PICKLE_TUPLE:
        describe_items(out, value, "()");
        break;
    case PICKLE_SET:
        describe_items(out, value, "<>");
        break;
    case PICKLE_DICT:
        describe_items(out, value, "{}");
        break;
    default:
        fputs(pickle_kind_name(value->kind), out);
    }
}

static void expect_value_of(const Pickle *pickle, const char *expected) {
    char *text = NULL;
    size_t size;
    FILE *out = open_memstream(&text, &size);
    describe(out, pickle_root(pickle));
    fclose(out);
    assert_string_equal(text, expected);
    free(text);
}

#define TEN "xxxxxxxxxx"
#define HUNDRED TEN TEN TEN TEN TEN TEN TEN TEN TEN TEN

static void every_protocol_gives_the_values_that_python_wrote(void **state) {
    (void)state;
    for (int protocol = 0; protocol <= 5; protocol++) {
        char path[512];
        snprintf(path, sizeof path, ARCHIVES "values_%d.p", protocol);
        Pickle *pickle = open_pickle(path);
        expect_value_of(
            pickle,
            "{\"none\":None \"yes\":True \"no\":False "
            "\"ints\":[0 255 65535 -1 2147483647 -2147483648 1099511627776 "
            "-9223372036854775808 9223372036854775807] "
            "\"floats\":[0. -1.5. 1e+300. 4.94066e-324. inf.] "
            "\"text\":\"gr<c3><b6><c3><9f>er <f0><9f><98><80><0a>\\'\"\" "
            "\"bytes\":'<00><ff>'\\<0a>' \"bytearray\":'ab' "
            "\"tuples\":[() (1) (1 2) (1 2 3) (1 2 3 4)] \"set\":<5> \"frozen\":<\"x\"> "
            "\"ordered\":{\"z\":1 \"a\":2} \"nested\":{\"deep\":[{\"er\":[[]]}]} 7:\"int key\" "
            "\"long\":\"" HUNDRED HUNDRED HUNDRED "\"}");
        assert_int_equal(pickle_get(pickle_get(pickle_root(pickle), "ordered"), "a")->integer, 2);
        assert_null(pickle_get(pickle_root(pickle), "absent"));
        pickle_close(pickle);
    }
}

static void strings_of_python_2_are_read(void **state) {
    (void)state;
    Pickle *pickle = open_pickle(ARCHIVES "python2.p");
    expect_value_of(pickle,
                    "[{'sent':'it's a \"caf<c3><a9>\"<0a>' "
                    "'raw':\"caf<c3><a9> <e2><82><ac> <f0><9f><98><80>\" 'id':5 'ok':True}]");
    const PickleValue *item = pickle_root(pickle)->items[0];
    assert_string_equal(pickle_text(pickle_get(item, "sent")), "it's a \"café\"\n");
    pickle_close(pickle);
}

/// The rest of what old pickles use: DICT and LIST from a mark, DUP, POP, POP_MARK, PUT and GET by
/// line, BINSTRING, surrogate pairs.
static void rare_instructions_do_what_python_does(void **state) {
    (void)state;
    static const struct {
        const char *pickle, *value;
    } cases[] = {
        {"(S'a'\nI1\nS\"b\"\nL-2L\nd.", "{'a':1 'b':-2}"},
        {"(I1\nI2\nl.", "[1 2]"},
        {"(I1\n2t.", "(1 1)"},
        {"I1\nI2\n0.", "1"},
        {"(I7\n(I1\nI2\n1t.", "(7)"},
        {"(I7\n(0t.", "(7)"},
        {"(lp3\ng3\n0I5\na.", "[5]"},
        {"S'\\x41\\102\\n\\q\\\\'\n.", "'AB<0a>\\q\\'"},
        {"V\\ud83d\\ude00\\u000a\n.", "\"<f0><9f><98><80><0a>\""},
        {"F-2.5e3\n.", "-2500."},
        {"I01\n.", "True"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        Error error = {0};
        Pickle *pickle = read_bytes(cases[i].pickle, strlen(cases[i].pickle), &error);
        if (!pickle) fail_msg("%s: %s", cases[i].pickle, error.message);
        expect_value_of(pickle, cases[i].value);
        pickle_close(pickle);
    }
}

// ---- refusals

typedef struct Case {
    const char *pickle;
    size_t size;
    const char *says;
} Case;
#define CASE(pickle, says) \
    { pickle, sizeof pickle - 1, says }

static const Case hostile[] = {
    CASE("", "cut off"),
    CASE("]", "cut off"),
    CASE(".", "0 values are left"),
    CASE("]].", "2 values are left"),
    CASE("(].", "values are left"),
    CASE("\x80\6].", "protocol 6"),
    CASE("\xff.", "0xff"),
    CASE("cos\nsystem\n(S'true'\ntR.", "os.system"),
    CASE("c__builtin__\ngetattr\n.", "builtins.getattr"),
    CASE("ccollections\ndefaultdict\n.", "collections.defaultdict"),
    CASE("cnumpy.core.multiarray\n_reconstruct\n.", "numpy.core.multiarray._reconstruct"),
    CASE("\x80\4\x8c\2os\x8c\6system\x93.", "os.system"),
    CASE("\x80\4K\1K\2\x93.", "not text"),
    CASE("ios\nsystem\n.", "0x69"),
    CASE("(cos\no.", "cut off"),
    CASE("\x82\1.", "0x82"), // EXT1
    CASE("Pid\n.", "0x50"),  // a persistent id as a line
    CASE("]]R.", "a list is called with a list"),
    CASE("]}b.", "sets attributes of a list"),
    CASE("\x8a\x09\0\0\0\0\0\0\0\0\1.", "does not fit 64 bits"),
    CASE("\x8a\x09\xff\xff\xff\xff\xff\xff\xff\xff\0.", "does not fit 64 bits"),
    CASE("L99999999999999999999L\n.", "not an integer"),
    CASE("I1x\n.", "not an integer"),
    CASE("Fabc\n.", "not a number"),
    CASE("X\xff\xff\xff\xff"
         "a.",
         "cut off"),
    CASE("\x8d\xff\xff\xff\xff\xff\xff\xff\xff"
         "a.",
         "cut off"),
    CASE("\x8b\xff\xff\xff\xff"
         "a.",
         "cut off"),
    CASE("X\1\0\0\0\xff.", "not UTF-8"),
    CASE("X\3\0\0\0\xed\xa0\x80.", "not UTF-8"), // a surrogate
    CASE("X\2\0\0\0\xc0\x80.", "not UTF-8"),     // not the shortest form
    CASE("S'a\n.", "escape"),
    CASE("S'\\x4'\n.", "escape"),
    CASE("V\\u12\n.", "escape"),
    CASE("Vx\\ud800\n.", "not UTF-8"),
    CASE("h\0.", "never stored"),
    CASE("j\xff\xff\xff\xff.", "never stored"),
    CASE("]r\xff\xff\xff\xff.", "memo 4294967295"),
    CASE("q\0].", "needs more values"),
    CASE("g-1\n.", "no memo index"),
    CASE("a.", "needs more values"),
    CASE("](a.", "needs more values"),
    CASE("](Na.", "needs more values"),
    CASE("e.", "without a mark"),
    CASE("(e.", "needs more values"),
    CASE("](N(e.", "items are added to None"),
    CASE("}(Nu.", "without a value"),
    CASE("(Nd.", "without a value"),
    CASE("}NNa.", "added to None"),
    CASE("}(K\1NK\1Nu.", "key 1 comes twice"),
    CASE("}(X\1\0\0\0aNX\1\0\0\0aNu.", "key 'a' comes twice"),
    CASE("]q\0h\0a.", "a list contains itself"),
    CASE("}q\0X\1\0\0\0ah\0s.", "a dict contains itself"),
    CASE(")Na.", "added to a tuple"),
    CASE("c__builtin__\nset\nK\1\x85R.", "not made of a list"),
    CASE("ccollections\nOrderedDict\n(K\1l\x85R.", "not made of pairs"),
    CASE("c_codecs\nencode\n(X\3\0\0\0\xe2\x82\xacX\6\0\0\0latin1tR.", "above 255"),
};

static void hostile_pickles_are_refused(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof hostile / sizeof *hostile; i++) {
        Error error = {0};
        Pickle *pickle = read_bytes(hostile[i].pickle, hostile[i].size, &error);
        if (pickle) fail_msg("case %zu was accepted; expected: %s", i, hostile[i].says);
        if (!strstr(error.message, hostile[i].says))
            fail_msg("case %zu: '%s' not in: %s", i, hostile[i].says, error.message);
    }
}

static void expect_refused_bytes(const FileBytes *bytes, const char *says) {
    Error error = {0};
    assert_null(read_bytes(bytes->data, bytes->size, &error));
    if (!strstr(error.message, says)) fail_msg("'%s' not in: %s", says, error.message);
}

static void depth_is_limited(void **state) {
    (void)state;
    for (int depth = PICKLE_MAX_DEPTH; depth < 1000000; depth += depth) {
        FileBytes bytes = {0};
        for (int i = 0; i < depth; i++) file_bytes_put(&bytes, "]", 1);
        for (int i = 1; i < depth; i++) file_bytes_put(&bytes, "a", 1);
        file_bytes_put(&bytes, ".", 1);
        if (depth == PICKLE_MAX_DEPTH) {
            Pickle *pickle = read_bytes(bytes.data, bytes.size, NULL);
            assert_non_null(pickle);
            pickle_close(pickle);
        } else {
            expect_refused_bytes(&bytes, "deep");
        }
        file_bytes_free(&bytes);
    }
}

/// A list of 60 levels, each with the one below it twice: 2^60 nodes to walk.
static void shared_parts_cannot_grow_without_end(void **state) {
    (void)state;
    FileBytes bytes = {0};
    file_bytes_put(&bytes, "]q\0000", 4);
    for (unsigned char level = 0; level < 60; level++) {
        const unsigned char twice[] = {']', '(', 'h', level, 'h', level, 'e', 'q', level + 1, '0'};
        file_bytes_put(&bytes, twice, sizeof twice);
    }
    file_bytes_put(&bytes, "h\74.", 3);
    expect_refused_bytes(&bytes, "endless");
    file_bytes_free(&bytes);
}

/// A list of many items that is turned into sets again and again.
static void calls_cannot_copy_without_end(void **state) {
    (void)state;
    FileBytes bytes = {0};
    file_bytes_put(&bytes, "c__builtin__\nset\nq\0000](", 22);
    for (int i = 0; i < 1000; i++) file_bytes_put(&bytes, "N", 1);
    file_bytes_put(&bytes, "eq\0010(", 5);
    for (int i = 0; i < 1000; i++) file_bytes_put(&bytes, "h\0h\1\x85R", 6);
    file_bytes_put(&bytes, "t.", 2);
    expect_refused_bytes(&bytes, "many containers");
    file_bytes_free(&bytes);
}

static void pickles_cut_off_anywhere_are_refused(void **state) {
    (void)state;
    for (int protocol = 0; protocol <= 5; protocol++) {
        char path[512];
        snprintf(path, sizeof path, ARCHIVES "values_%d.p", protocol);
        FileBytes bytes = file_bytes_read(path);
        for (size_t length = 0; length < bytes.size; length++) {
            // The end of an allocation, so that a sanitizer sees a read beyond it.
            char *start = malloc(length + 1);
            memcpy(start + 1, bytes.data, length);
            Pickle *pickle = read_bytes(start + 1, length, NULL);
            if (pickle) fail_msg("protocol %d: %zu bytes were accepted", protocol, length);
            free(start);
        }
        file_bytes_free(&bytes);
    }
}

static void mutated_pickles_never_do_harm(void **state) {
    (void)state;
    uint32_t random = 7;
    int accepted = 0;
    for (int protocol = 0; protocol <= 5; protocol++) {
        char path[512];
        snprintf(path, sizeof path, ARCHIVES "values_%d.p", protocol);
        FileBytes original = file_bytes_read(path);
        for (int i = 0; i < 1000; i++) {
            FileBytes copy = {0};
            file_bytes_put(&copy, original.data, original.size);
            file_bytes_mutate(&copy, &random);
            Pickle *pickle = read_bytes(copy.data, copy.size, NULL);
            accepted += pickle != NULL;
            if (pickle) {
                char *text = NULL;
                size_t size;
                FILE *out = open_memstream(&text, &size);
                describe(out, pickle_root(pickle));
                fclose(out);
                free(text);
            }
            pickle_close(pickle);
            file_bytes_free(&copy);
        }
        file_bytes_free(&original);
    }
    assert_true(accepted > 0);
}

// ---- RefCOCO

static void expect_same_as_json(const PickleValue *value, const json_t *json, const char *path) {
    bool same;
    if (json_is_object(json)) {
        same = value->kind == PICKLE_DICT && value->count == json_object_size(json);
        for (uint32_t i = 0; same && i < value->count; i++)
            expect_same_as_json(value->items[2 * i + 1],
                                json_object_get(json, pickle_text(value->items[2 * i])), path);
    } else if (json_is_array(json)) {
        same = value->kind == PICKLE_LIST && value->count == json_array_size(json);
        for (uint32_t i = 0; same && i < value->count; i++)
            expect_same_as_json(value->items[i], json_array_get(json, i), path);
    } else if (json_is_string(json)) {
        same = value->kind == PICKLE_TEXT && !strcmp(value->text, json_string_value(json));
    } else {
        same = json_is_integer(json) && value->kind == PICKLE_INT &&
               value->integer == json_integer_value(json);
    }
    if (!same) fail_msg("%s: %s differs from the JSON", path, pickle_kind_name(value->kind));
}

static void the_references_of_refcoco_equal_their_json(void **state) {
    (void)state;
    static const char *const files[] = {"refcoco/refs(unc)", "refcoco+/refs(unc)",
                                        "refcocog/refs(umd)"};
    const char *shared = getenv("DIFFLMM_SHARED_DATA");
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        char path[1024], json_path[1024];
        snprintf(path, sizeof path, "%s/public/refcoco_subset/%s.p",
                 shared ? shared : SOURCE_DIR "/../shared/data", files[i]);
        snprintf(json_path, sizeof json_path, "%.*s.json", (int)strlen(path) - 2, path);
        if (access(path, R_OK) != 0) {
            printf("# skipped: %s is not there\n", path);
            skip();
        }
        Pickle *pickle = open_pickle(path);
        json_error_t error;
        json_t *json = json_load_file(json_path, 0, &error);
        if (!json) fail_msg("%s: %s", json_path, error.text);
        assert_true(json_array_size(json) > 0);
        expect_same_as_json(pickle_root(pickle), json, path);
        json_decref(json);
        pickle_close(pickle);
    }
}

static void a_file_is_one_pickle_and_nothing_else(void **state) {
    (void)state;
    Error error = {0};
    write_text("more.p", "].x");
    assert_null(pickle_open(in_folder("more.p"), &error));
    assert_non_null(strstr(error.message, "more.p: 1 bytes follow"));
    write_text("empty.p", "");
    assert_null(pickle_open(in_folder("empty.p"), &error));
    assert_non_null(strstr(error.message, "empty.p: cut off"));
    assert_null(pickle_open(in_folder("absent.p"), &error));
    assert_non_null(strstr(error.message, "absent.p"));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_protocol_gives_the_values_that_python_wrote),
        cmocka_unit_test(strings_of_python_2_are_read),
        cmocka_unit_test(rare_instructions_do_what_python_does),
        cmocka_unit_test(hostile_pickles_are_refused),
        cmocka_unit_test(depth_is_limited),
        cmocka_unit_test(shared_parts_cannot_grow_without_end),
        cmocka_unit_test(calls_cannot_copy_without_end),
        cmocka_unit_test(pickles_cut_off_anywhere_are_refused),
        cmocka_unit_test(mutated_pickles_never_do_harm),
        cmocka_unit_test(the_references_of_refcoco_equal_their_json),
        IN_FOLDER(a_file_is_one_pickle_and_nothing_else),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
