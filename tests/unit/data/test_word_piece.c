// rooms: data autograd
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "data/tokenizers/word_piece.h"
#include "tests/unit/temporary_folder.h"

#define RECORDED SOURCE_DIR "/tests/parity/data/tokenizers"

static const char *shared(const char *name) {
    static char paths[4][512];
    static int next;
    char *path = paths[next++ % 4];
    const char *folder = getenv("DIFFLMM_SHARED_DATA");
    snprintf(path, sizeof paths[0], "%s/%s", folder ? folder : SOURCE_DIR "/../shared/data", name);
    return path;
}

static WordPiece *open_vocabulary(const char *path) {
    Error error = {0};
    WordPiece *tokenizer = word_piece_open(path, true, &error);
    if (!tokenizer) fail_msg("%s", error.message);
    return tokenizer;
}

/// Ids as recorded, and spans in order within the text.
static void expect_ids(const WordPiece *tokenizer, const char *text, size_t length,
                       const int32_t *ids, int count) {
    TokenList list = {0};
    Error error = {0};
    assert_true(word_piece_encode(tokenizer, text, length, &list, &error));
    int32_t covered = 0;
    for (int i = 0; i < list.count; i++) {
        if (i < count && list.ids[i] != ids[i])
            fail_msg("'%s': token %d is %d, expected %d", text, i, list.ids[i], ids[i]);
        if (list.begin[i] < covered || list.end[i] < list.begin[i] || list.end[i] > (int32_t)length)
            fail_msg("'%s': token %d spans [%d, %d) after %d", text, i, list.begin[i], list.end[i],
                     covered);
        covered = list.begin[i];
    }
    if (list.count != count) fail_msg("'%s': %d tokens, expected %d", text, list.count, count);
    token_list_free(&list);
}

static void expect_recorded(const WordPiece *tokenizer, const char *text, size_t length,
                            const json_t *recorded) {
    int32_t ids[512];
    const int count = (int)json_array_size(recorded);
    assert_in_range(count, 0, 512);
    for (int i = 0; i < count; i++)
        ids[i] = (int32_t)json_integer_value(json_array_get(recorded, (size_t)i));
    expect_ids(tokenizer, text, length, ids, count);
}

static int hex_digit(char c) { return c <= '9' ? c - '0' : c - 'a' + 10; }

static void ids_equal_those_of_the_tokenizers_package(void **state) {
    (void)state;
    WordPiece *tokenizer = open_vocabulary(RECORDED "/bert");
    json_t *texts = json_load_file(RECORDED "/texts.json", 0, NULL);
    json_t *cases = json_load_file(RECORDED "/bert/expected.json", 0, NULL);
    assert_true(json_array_size(cases) > json_array_size(texts) && json_array_size(texts) > 200);
    for (size_t i = 0; i < json_array_size(cases); i++) {
        const json_t *expected = json_array_get(cases, i), *text = json_array_get(texts, i);
        const char *hex = json_string_value(json_object_get(text, "hex"));
        if (!text) text = json_object_get(expected, "text");
        if (!hex) {
            const char *plain = json_string_value(text);
            expect_recorded(tokenizer, plain, strlen(plain), json_object_get(expected, "ids"));
            continue;
        }
        char bytes[64];
        const size_t length = strlen(hex) / 2;
        assert_true(length < sizeof bytes);
        for (size_t k = 0; k < length; k++)
            bytes[k] = (char)(hex_digit(hex[2 * k]) << 4 | hex_digit(hex[2 * k + 1]));
        bytes[length] = '\0';
        expect_recorded(tokenizer, bytes, length, json_object_get(expected, "ids"));
    }
    json_decref(texts);
    json_decref(cases);
    word_piece_close(tokenizer);
}

static char *read_whole(const char *path) {
    FILE *file = fopen(path, "rb");
    assert_non_null(file);
    char *text = calloc(1, 1 << 16);
    assert_true(fread(text, 1, (1 << 16) - 1, file) > 0);
    fclose(file);
    return text;
}

static void hard_strings_have_the_published_ids(void **state) {
    (void)state;
    const char *vocabulary = shared("public/bert/bert-base-uncased/vocab.txt");
    if (access(vocabulary, F_OK) != 0) {
        print_message("skipped: no %s\n", vocabulary);
        skip();
    }
    WordPiece *tokenizer = open_vocabulary(vocabulary);
    assert_int_equal(word_piece_vocabulary_size(tokenizer), 30522);
    assert_int_equal(word_piece_pad(tokenizer), 0);
    assert_int_equal(word_piece_unknown(tokenizer), 100);
    assert_int_equal(word_piece_cls(tokenizer), 101);
    assert_int_equal(word_piece_sep(tokenizer), 102);
    assert_string_equal(word_piece_text(tokenizer, 7592), "hello");
    char *inputs = read_whole(shared("public/tokenizer_cases/bert-bge.inp"));
    char *outputs = read_whole(shared("public/tokenizer_cases/bert-bge.out"));
    static const char separator[] = "\n__ggml_vocab_test__\n";
    char *text = inputs, *line = outputs;
    int cases = 0;
    for (char *next; (next = strstr(text, separator));
         cases++) { // what follows the last is not a case
        int32_t ids[512];
        int count = 0;
        *next = '\0';
        char *end = line + strcspn(line, "\n");
        const bool is_last = *end == '\0';
        *end = '\0';
        for (char *number = strtok(line, " "); number; number = strtok(NULL, " "))
            ids[count++] = atoi(number);
        expect_ids(tokenizer, text, strlen(text), ids, count);
        text = next + strlen(separator);
        line = is_last ? end : end + 1;
    }
    assert_int_equal(cases, 46);
    free(inputs);
    free(outputs);
    word_piece_close(tokenizer);
}

static void letters_keep_their_case_where_the_model_does(void **state) {
    (void)state;
    write_text("vocab.txt", "[PAD]\n[UNK]\n[CLS]\n[SEP]\nRed\nred\r\n##s\n\xc3\xa9");
    Error error = {0};
    WordPiece *cased = word_piece_open(temporary_folder, false, &error);
    WordPiece *uncased = open_vocabulary(in_folder("vocab.txt"));
    assert_non_null(cased);
    expect_ids(cased, "Reds red \xc3\xa9 RED", 15, (const int32_t[]){4, 6, 5, 7, 1}, 5);
    expect_ids(uncased, "Reds red \xc3\xa9 RED", 15, (const int32_t[]){5, 6, 5, 1, 5}, 5);
    assert_string_equal(word_piece_text(cased, 8), "");
    assert_string_equal(word_piece_text(cased, -1), "");
    word_piece_close(cased);
    word_piece_close(uncased);
}

static void expect_refusal(const char *text, const char *part) {
    Error error = {0};
    write_text("vocab.txt", text);
    assert_null(word_piece_open(temporary_folder, true, &error));
    if (!strstr(error.message, part) || !strstr(error.message, "vocab.txt"))
        fail_msg("'%s' lacks '%s'", error.message, part);
}

static void what_is_not_a_vocabulary_is_an_error_that_names_the_line(void **state) {
    (void)state;
    expect_refusal("", "no line is [PAD]");
    expect_refusal("[PAD]\n[UNK]\n[CLS]\n", "no line is [SEP]");
    expect_refusal("[PAD]\n\n[UNK]\n", "line 2 is ''");
    expect_refusal("[PAD]\na\nb\na\n", "line 4 is 'a'");
    Error error = {0};
    FILE *file = fopen(in_folder("vocab.txt"), "wb");
    assert_int_equal(fwrite("[PAD]\n\0x\n", 1, 9, file), 9);
    fclose(file);
    assert_null(word_piece_open(in_folder("vocab.txt"), true, &error));
    assert_non_null(strstr(error.message, "byte 6 is zero"));
    assert_null(word_piece_open(in_folder("none.txt"), true, &error));
    assert_non_null(strstr(error.message, "none.txt: cannot be read"));
    assert_null(word_piece_open("/dev/null", true, &error));
    assert_non_null(strstr(error.message, "/dev/null: a device, not a file"));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ids_equal_those_of_the_tokenizers_package),
        cmocka_unit_test(hard_strings_have_the_published_ids),
        IN_FOLDER(letters_keep_their_case_where_the_model_does),
        IN_FOLDER(what_is_not_a_vocabulary_is_an_error_that_names_the_line),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
