// rooms: eval models ops checkpoints data autograd
// What groundLMM's scripts leave behind, as torch.save() wrote it
// (tests/parity/record_official_dumps.py), and files that they would not leave.
#include "eval/attention/answer_store.h"
#include "tests/unit/file_bytes.h"
#include "tests/unit/temporary_folder.h"

#define RECORDED SOURCE_DIR "/tests/parity/data/official_dumps"
#define TOKENIZER SOURCE_DIR "/checkpoints/tiny/llm"

static AnswerStore *open_with(const char *tokenizer, const char *folder, PictureGeometry geometry,
                              int offset) {
    Error error = {0};
    DumpOptions options = {tokenizer, geometry, offset};
    AnswerStore *store = answer_store_open_dumps(folder, &options, &error);
    if (!store) fail_msg("%s", error.message);
    return store;
}

static AnswerStore *open_store(const char *folder, PictureGeometry geometry, int offset) {
    return open_with(TOKENIZER, folder, geometry, offset);
}

// ---- what was recorded

static json_t *expected(const char *folder) {
    json_error_t error;
    json_t *all = json_load_file(RECORDED "/expected.json", 0, &error);
    assert_non_null(all);
    json_t *of = json_incref(json_object_get(all, folder));
    json_decref(all);
    assert_non_null(of);
    return of;
}

static int int_at(const json_t *list, int index) {
    assert_true(index < (int)json_array_size(list));
    return (int)json_integer_value(json_array_get(list, (size_t)index));
}

/// The byte where a character of UTF-8 begins.
static int byte_of(const char *text, int character) {
    int at = 0;
    for (; character > 0; character--) do
            at++;
        while ((text[at] & 0xc0) == 0x80);
    return at;
}

/// Spans are those of decoding every prefix. Of a character that several tokens of one byte each
/// make up (ids 3 to 258) a prefix shows broken ones; ours lie within the character.
static void check_spans(const Answer *answer, const json_t *wanted, bool has_byte_tokens) {
    const json_t *begin = json_object_get(wanted, "begin"), *end = json_object_get(wanted, "end");
    for (int t = 0; t < answer->num_tokens; t++) {
        if (has_byte_tokens && answer->ids[t] >= 3 && answer->ids[t] <= 258) {
            for (int at = answer->token_begin[t]; at < answer->token_end[t]; at++)
                assert_true(answer->text[at] & 0x80);
            continue;
        }
        assert_int_equal(answer->token_begin[t], byte_of(answer->text, int_at(begin, t)));
        assert_int_equal(answer->token_end[t], byte_of(answer->text, int_at(end, t)));
    }
}

static void check_answer(const Answer *answer, const json_t *wanted, bool has_byte_tokens) {
    const json_t *ids = json_object_get(wanted, "ids"), *shape = json_object_get(wanted, "shape"),
                 *maps = json_object_get(wanted, "maps"),
                 *groups = json_object_get(wanted, "groups");
    assert_string_equal(answer->text, json_string_value(json_object_get(wanted, "text")));
    assert_int_equal(answer->num_tokens, json_array_size(ids));
    for (int t = 0; t < answer->num_tokens; t++) assert_int_equal(answer->ids[t], int_at(ids, t));
    check_spans(answer, wanted, has_byte_tokens);
    assert_int_equal(answer->grid.rows, int_at(shape, 1));
    assert_int_equal(answer->grid.columns, int_at(shape, 2));
    assert_true(answer->layers == 1 && answer->heads == 1);
    for (size_t i = 0; i < json_array_size(maps); i++)
        assert_true(answer->maps[i] == (float)json_real_value(json_array_get(maps, i)));
    assert_int_equal(answer->num_utterances, json_array_size(groups));
    for (int u = 0; u < answer->num_utterances; u++) {
        const json_t *group = json_array_get(groups, (size_t)u);
        TokenRange range = answer->utterances[u];
        assert_int_equal(range.end - range.begin, json_array_size(group));
        assert_int_equal(range.begin, int_at(group, 0));
    }
}

static void check_folder(const char *tokenizer, const char *folder, PictureGeometry geometry,
                         int count) {
    char *path = format_string("%s/%s", RECORDED, folder);
    AnswerStore *store = open_with(tokenizer, path, geometry, 1);
    json_t *all = expected(folder), *wanted;
    const char *name;
    Error error = {0};
    assert_int_equal(answer_store_count(store), count);
    json_object_foreach(all, name, wanted) {
        Answer answer;
        assert_true(answer_store_has(store, name));
        if (!answer_store_read(store, name, &answer, &error)) fail_msg("%s", error.message);
        check_answer(&answer, wanted, !strcmp(tokenizer, TOKENIZER));
        assert_int_equal(answer.image_height, 0);
        answer_free(&answer);
    }
    json_decref(all);
    answer_store_close(store);
    free(path);
}

static void answers_are_what_the_scripts_saved(void **state) {
    (void)state;
    check_folder(TOKENIZER, "points", PICTURE_WHOLE, 2);
    check_folder(TOKENIZER, "res", PICTURE_PADDED, 3);
    check_folder(TOKENIZER, "png", PICTURE_PADDED, 2);
    check_folder(SOURCE_DIR "/tests/parity/data/tokenizers/qwen_2", "qwen", PICTURE_WHOLE, 1);
}

static void an_answer_ends_with_the_models_token(void **state) {
    (void)state;
    Error error = {0};
    AnswerStore *store = open_store(RECORDED "/res", PICTURE_PADDED, 1);
    static const struct {
        const char *name;
        bool ended;
    } answers[] = {{"101", true}, {"102", true}, {"205", false}};
    for (int i = 0; i < 3; i++) {
        Answer answer;
        assert_true(answer_store_read(store, answers[i].name, &answer, &error));
        assert_int_equal(answer.ended, answers[i].ended);
        answer_free(&answer);
    }
    answer_store_close(store);
}

static void pictures_are_padded_or_whole(void **state) {
    (void)state;
    static const struct {
        PictureGeometry geometry;
        int height, width;
        TokenFrame frame;
    } cases[] = {{PICTURE_PADDED, 30, 47, {47, 47, -8, 0}},
                 {PICTURE_PADDED, 47, 30, {47, 47, 0, -8}},
                 {PICTURE_PADDED, 30, 30, {30, 30, 0, 0}},
                 {PICTURE_WHOLE, 30, 47, {30, 47, 0, 0}}};
    for (int i = 0; i < 4; i++) {
        AnswerStore *store = open_store(RECORDED "/res", cases[i].geometry, 1);
        Answer answer = {0};
        official_dumps_place(answer_store_dumps(store), cases[i].height, cases[i].width, &answer);
        assert_true(answer.frame.height == cases[i].frame.height);
        assert_true(answer.frame.width == cases[i].frame.width);
        assert_true(answer.frame.top == cases[i].frame.top);
        assert_true(answer.frame.left == cases[i].frame.left);
        assert_int_equal(answer.image_height, cases[i].height);
        assert_int_equal(answer.image_width, cases[i].width);
        answer_store_close(store);
    }
}

// ---- the folder

static void a_folder_says_what_its_answers_depend_on(void **state) {
    (void)state;
    Error error = {0};
    AnswerStore *store = open_store(RECORDED "/res", PICTURE_PADDED, 1),
                *other = open_store(RECORDED "/res", PICTURE_WHOLE, 1),
                *same = open_store(RECORDED "/res", PICTURE_PADDED, 1);
    const json_t *with = answer_store_asked_with(store);
    assert_string_equal(json_string_value(json_object_get(with, "dumps")), "groundLMM");
    assert_false(json_equal(with, answer_store_asked_with(other)));
    assert_true(json_equal(with, answer_store_asked_with(same)));
    assert_int_equal(answer_store_next_round(store), 0);
    Answer answer;
    assert_false(answer_store_has(store, "10"));
    assert_false(answer_store_read(store, "10", &answer, &error));
    assert_non_null(strstr(error.message, "/res: there is no 10.pth"));
    answer_store_close(store);
    answer_store_close(other);
    answer_store_close(same);
    assert_true(official_dumps_are_in(RECORDED "/res"));
    assert_false(official_dumps_are_in(RECORDED "/images"));
    assert_false(official_dumps_are_in(in_folder("nowhere")));
    store = answer_store_open(in_folder("."), NULL, &error);
    assert_null(answer_store_dumps(store));
    answer_store_close(store);
    DumpOptions options = {in_folder("nowhere"), PICTURE_PADDED, 1};
    assert_null(answer_store_open_dumps(RECORDED "/res", &options, &error));
    assert_non_null(strstr(error.message, "nowhere"));
    options.tokenizer = TOKENIZER;
    assert_null(answer_store_open_dumps(in_folder("nowhere"), &options, &error));
    assert_non_null(strstr(error.message, "nowhere: cannot be listed"));
}

// ---- what is not as it should be

static void expect_refusal(const OfficialDumps *dumps, const char *name, const DumpSubject *subject,
                           const char *says) {
    Error error = {0};
    Answer answer;
    if (official_dumps_read(dumps, name, subject, &answer, &error)) fail_msg("%s is read", name);
    if (!strstr(error.message, says)) fail_msg("%s: expected: %s", error.message, says);
    assert_null(answer.maps);
}

static const struct {
    const char *name, *says;
} bad[] = {
    {"list", "/list.pth: holds a list; expected the dict"},
    {"no_attentions", "has no 'attentions'"},
    {"no_sequences", "has no 'sequences'"},
    {"no_answer", "its 'answer' is missing"},
    {"listed", "its 'attentions' is a list; expected a tensor"},
    {"flat", "its 'attentions' is F16 of [2, 6]; expected numbers [tokens, rows, columns]"},
    {"integers", "its 'attentions' is I64 of [2, 2, 3]"},
    {"no_cells", "its 'attentions' are [2, 0, 3]"},
    {"batched", "its 'sequences' is I64 of [1, 3]; expected integers [ids]"},
    {"fewer_ids", "/fewer_ids.pth: 2 maps in 'attentions' and 1 ids in 'sequences'"},
    {"more_ids", "up to 1 in front of it (eval.offset)"},
    {"image_id", "id 0 of its 'sequences' is -200"},
    {"other_text", "says 'something else', but its ids are '"},
    {"number", "its 'answer' is an int; expected text"},
    {"nan", "map 1 of its 'attentions' has a NaN"},
    {"groups", "group 1 of its 'token_groups' is no list of tokens that follow each other within 0 "
               "to 1"},
    {"gap", "group 0 of its 'token_groups'"},
    {"group_number", "its 'token_groups' are an int"},
    {"ahead_of_groups", "a text that was read has one of each for every token"},
    {"foreign", "PosixPath"},
};

static void files_that_no_script_leaves_are_refused(void **state) {
    (void)state;
    Error error = {0};
    Answer answer;
    AnswerStore *store = open_store(RECORDED "/bad", PICTURE_PADDED, 1);
    const OfficialDumps *dumps = answer_store_dumps(store);
    assert_int_equal(answer_store_count(store), 1 + sizeof bad / sizeof *bad);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        expect_refusal(dumps, bad[i].name, NULL, bad[i].says);
    if (!answer_store_read(store, "good", &answer, &error)) fail_msg("%s", error.message);
    answer_free(&answer);
    answer_store_close(store);
    // two in front are accepted if they are expected, none if none is
    store = open_store(RECORDED "/bad", PICTURE_PADDED, 2);
    if (!answer_store_read(store, "more_ids", &answer, &error)) fail_msg("%s", error.message);
    assert_true(answer.num_tokens == 2 && answer.ids[0] == 273);
    answer_free(&answer);
    answer_store_close(store);
    store = open_store(RECORDED "/bad", PICTURE_PADDED, 0);
    expect_refusal(answer_store_dumps(store), "good", NULL, "up to 0 in front of it");
    answer_store_close(store);
}

static void answers_to_something_else_are_refused(void **state) {
    (void)state;
    Error error = {0};
    Answer answer;
    AnswerStore *store = open_store(RECORDED "/res", PICTURE_PADDED, 1);
    const OfficialDumps *dumps = answer_store_dumps(store);
    expect_refusal(dumps, "101", &(DumpSubject){"2", "red ring"}, "is about image 1; expected");
    expect_refusal(dumps, "101", &(DumpSubject){"1", "blue ring"},
                   "is about 'red ring'; expected 'blue ring'");
    static const DumpSubject right[] = {{"1", "red ring"}, {"000001", " red  ring"}, {"x", NULL}};
    for (int i = 0; i < 3; i++) {
        if (!official_dumps_read(dumps, "101", &right[i], &answer, &error))
            fail_msg("%s", error.message);
        answer_free(&answer);
    }
    answer_store_close(store);
}

/// Reads the bytes as a file of a name of its own; whether it could be read.
static bool read_bytes(const OfficialDumps *dumps, FileBytes bytes) {
    Error error = {0};
    Answer answer;
    file_bytes_write(&bytes, in_folder("x.pth"));
    bool ok = official_dumps_read(dumps, "x", NULL, &answer, &error);
    if (ok) answer_free(&answer);
    if (!ok) assert_non_null(strstr(error.message, "x.pth"));
    return ok;
}

static void files_that_are_cut_off_or_changed_do_no_harm(void **state) {
    (void)state;
    write_text("x.pth", "");
    AnswerStore *store = open_store(in_folder("."), PICTURE_PADDED, 1);
    const OfficialDumps *dumps = answer_store_dumps(store);
    static const char *const files[] = {"/res/102.pth", "/png/000000000001.pth"};
    for (int f = 0; f < 2; f++) {
        char *path = format_string("%s%s", RECORDED, files[f]);
        FileBytes bytes = file_bytes_read(path);
        assert_true(read_bytes(dumps, bytes));
        for (size_t size = 0; size < bytes.size; size += size < bytes.size - 40 ? 37 : 1)
            assert_false(read_bytes(dumps, (FileBytes){bytes.data, size, size}));
        for (size_t at = 0; at < bytes.size; at += 3) {
            bytes.data[at] ^= 0x55;
            read_bytes(dumps, bytes);
            bytes.data[at] ^= 0x55;
        }
        file_bytes_free(&bytes);
        free(path);
    }
    answer_store_close(store);
}

static void a_changed_number_is_noticed(void **state) {
    (void)state;
    write_text("x.pth", "");
    AnswerStore *store = open_store(in_folder("."), PICTURE_PADDED, 1);
    FileBytes bytes = file_bytes_read(RECORDED "/res/101.pth");
    // the two first ids: <s> becomes </s>, which neither says anything
    static const unsigned char ids[16] = {1, 0, 0, 0, 0, 0, 0, 0, 0x70, 1};
    unsigned char *at = memmem(bytes.data, bytes.size, ids, sizeof ids);
    assert_non_null(at);
    assert_true(read_bytes(answer_store_dumps(store), bytes));
    *at = 2;
    assert_false(read_bytes(answer_store_dumps(store), bytes));
    file_bytes_free(&bytes);
    answer_store_close(store);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(answers_are_what_the_scripts_saved),
        cmocka_unit_test(an_answer_ends_with_the_models_token),
        cmocka_unit_test(pictures_are_padded_or_whole),
        IN_FOLDER(a_folder_says_what_its_answers_depend_on),
        cmocka_unit_test(files_that_no_script_leaves_are_refused),
        cmocka_unit_test(answers_to_something_else_are_refused),
        IN_FOLDER(a_changed_number_is_noticed),
        IN_FOLDER(files_that_are_cut_off_or_changed_do_no_harm),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
