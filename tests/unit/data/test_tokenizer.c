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

#include "data/tokenizers/tokenizer.h"
#include "tests/unit/file_bytes.h"
#include "tests/unit/temporary_folder.h"

#define TINY_MODEL SOURCE_DIR "/checkpoints/tiny/llm"

static const char *shared(const char *name) {
    static char path[512];
    const char *folder = getenv("DIFFLMM_SHARED_DATA");
    snprintf(path, sizeof path, "%s/%s", folder ? folder : SOURCE_DIR "/../shared/data", name);
    return path;
}

/// The Llama 2 tokenizer; skips the test where it is not there.
static Tokenizer *llama(void) {
    const char *path = shared("llama2_tokenizer.model");
    if (access(path, F_OK) != 0) {
        print_message("skipped: no %s\n", path);
        skip();
    }
    Error error = {0};
    Tokenizer *tokenizer = tokenizer_open(path, &error);
    if (!tokenizer) fail_msg("%s", error.message);
    return tokenizer;
}

static void expect_ids(const Tokenizer *tokenizer, const char *text, const int32_t *ids,
                       int count) {
    TokenList list = {0};
    Error error = {0};
    assert_true(tokenizer_encode(tokenizer, text, strlen(text), &list, &error));
    if (list.count != count) fail_msg("'%s': %d tokens, expected %d", text, list.count, count);
    for (int i = 0; i < count; i++) {
        if (list.ids[i] != ids[i])
            fail_msg("'%s': token %d is %d, expected %d", text, i, list.ids[i], ids[i]);
    }
    token_list_free(&list);
}

static char *read_whole(const char *path) {
    FILE *file = fopen(path, "rb");
    if (!file) return NULL;
    char *text = calloc(1, 1 << 16);
    assert_true(fread(text, 1, (1 << 16) - 1, file) > 0);
    fclose(file);
    return text;
}

static void hard_strings_have_the_published_ids(void **state) {
    (void)state;
    Tokenizer *tokenizer = llama();
    char *inputs = read_whole(shared("public/tokenizer_cases/llama-spm.inp"));
    char *outputs = read_whole(shared("public/tokenizer_cases/llama-spm.out"));
    assert_non_null(inputs);
    assert_non_null(outputs);
    static const char separator[] = "\n__ggml_vocab_test__\n";
    int cases = 0;
    char *line = outputs;
    for (char *text = inputs; text && line; cases++) {
        char *next = strstr(text, separator);
        if (!next) break; // what follows the last separator is not a case
        *next = '\0';
        int32_t ids[512];
        int count = 0;
        char *end = strchr(line, '\n');
        if (end) *end = '\0';
        for (char *number = strtok(line, " "); number; number = strtok(NULL, " "))
            ids[count++] = atoi(number);
        expect_ids(tokenizer, text, ids, count);
        text = next + strlen(separator);
        line = end ? end + 1 : NULL;
    }
    assert_true(cases > 40);
    free(inputs);
    free(outputs);
    tokenizer_close(tokenizer);
}

static void special_tokens_in_text_split_it_as_legacy_llama_does(void **state) {
    (void)state;
    Tokenizer *tokenizer = llama();
    assert_int_equal(tokenizer_vocabulary_size(tokenizer), 32000);
    assert_int_equal(tokenizer_bos(tokenizer), 1);
    assert_int_equal(tokenizer_eos(tokenizer), 2);
    assert_int_equal(tokenizer_pad(tokenizer), 0);
    const int32_t closed[] = {3148, 1001, 29901, 15043, 2, 3148, 1001, 29901};
    expect_ids(tokenizer, "USER: Hello</s>USER:", closed, 8);
    const int32_t only[] = {2, 1, 2};
    expect_ids(tokenizer, "</s><s></s>", only, 3);
    expect_ids(tokenizer, "", NULL, 0);
    tokenizer_close(tokenizer);
}

/// Encoding gives spans that cover the text in order; decoding gives the text again, with spans
/// that do the same.
static void check_spans(const Tokenizer *tokenizer, const char *text) {
    TokenList list = {0};
    Error error = {0};
    assert_true(tokenizer_encode(tokenizer, text, strlen(text), &list, &error));
    int32_t covered = 0;
    for (int i = 0; i < list.count; i++) {
        if (list.begin[i] != covered || list.end[i] < list.begin[i])
            fail_msg("'%s': token %d spans [%d, %d) after %d", text, i, list.begin[i], list.end[i],
                     covered);
        covered = list.end[i];
    }
    assert_int_equal(covered, strlen(text));
    DecodedText decoded = tokenizer_decode(tokenizer, list.ids, list.count);
    assert_string_equal(decoded.text, text);
    covered = 0;
    for (int i = 0; i < decoded.count; i++) {
        assert_int_equal(decoded.begin[i], covered);
        covered = decoded.end[i];
    }
    assert_int_equal(covered, strlen(text));
    decoded_text_free(&decoded);
    token_list_free(&list);
}

static void spans_cover_the_text_in_both_directions(void **state) {
    (void)state;
    Tokenizer *tokenizer = llama();
    const char *const texts[] = {"A small red ring.",          "Rain taps the window. 🌧️",
                                 "Cửa Việt\n\n\tĐà",           " two  spaces ",
                                 "我想在apple工作1314151天～", "x"};
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) check_spans(tokenizer, texts[i]);
    tokenizer_close(tokenizer);
}

static void decoding_leaves_out_special_tokens_and_marks_broken_bytes(void **state) {
    (void)state;
    Tokenizer *tokenizer = llama();
    // <s> Hello </s> <image> then the bytes e2 96 and 41 (ids of <0x00> begin at 3), then an id
    // that nothing has.
    const int32_t ids[] = {1, 15043, 2, -200, 3 + 0xe2, 3 + 0x96, 3 + 0x41, 40000};
    DecodedText decoded = tokenizer_decode(tokenizer, ids, 8);
    assert_string_equal(decoded.text, "Hello\xef\xbf\xbd\xef\xbf\xbd"
                                      "A");
    assert_int_equal(decoded.begin[1], 0);
    assert_int_equal(decoded.end[1], 5);
    assert_int_equal(decoded.end[2], 5);
    assert_int_equal(decoded.begin[6], 11);
    assert_int_equal(decoded.end[7], 12);
    assert_string_equal(tokenizer_piece(tokenizer, 15043), "\xe2\x96\x81Hello");
    assert_string_equal(tokenizer_piece(tokenizer, -200), "");
    decoded_text_free(&decoded);
    decoded = tokenizer_decode(tokenizer, NULL, 0);
    assert_string_equal(decoded.text, "");
    decoded_text_free(&decoded);
    tokenizer_close(tokenizer);
}

static void the_tiny_tokenizer_reads_its_world(void **state) {
    (void)state;
    if (access(TINY_MODEL "/tokenizer.model", F_OK) != 0) {
        print_message("skipped: no %s\n", TINY_MODEL);
        skip();
    }
    Error error = {0};
    Tokenizer *tokenizer = tokenizer_open(TINY_MODEL, &error);
    if (!tokenizer) fail_msg("%s", error.message);
    check_spans(tokenizer, "a small red ring and a large blue square on the sand.");
    check_spans(tokenizer, "USER: How many rings are there? ASSISTANT: Two.");
    check_spans(tokenizer, "letters it never saw: Đà 🌧️\n\tZ");
    TokenList list = {0};
    assert_true(tokenizer_encode(tokenizer, "</s>ring<s>", 11, &list, &error));
    assert_int_equal(list.ids[0], tokenizer_eos(tokenizer));
    assert_int_equal(list.ids[list.count - 1], tokenizer_bos(tokenizer));
    assert_int_equal(list.begin[list.count - 1], 8);
    DecodedText decoded = tokenizer_decode(tokenizer, list.ids, list.count);
    assert_string_equal(decoded.text, "ring");
    decoded_text_free(&decoded);
    token_list_free(&list);
    tokenizer_close(tokenizer);
}

/// Runs the converter; skips the test where there is no Python.
static Tokenizer *converted_stories(void) {
    const char *source = shared("public/llm/stories260K/tok512.bin");
    if (access(source, F_OK) != 0 || system("python3 -c pass 2>/dev/null") != 0) {
        print_message("skipped: no %s, or no python3\n", source);
        skip();
    }
    char *command = format_string("python3 '%s/checkpoints/convert_tok512.py' '%s' '%s'",
                                  SOURCE_DIR, source, in_folder("tokenizer.model"));
    assert_int_equal(system(command), 0);
    free(command);
    Error error = {0};
    Tokenizer *tokenizer = tokenizer_open(temporary_folder, &error);
    if (!tokenizer) fail_msg("%s", error.message);
    return tokenizer;
}

static void the_stories_tokenizer_gives_the_greedy_ids_of_its_model_and_their_text(void **state) {
    (void)state;
    Tokenizer *tokenizer = converted_stories();
    assert_int_equal(tokenizer_vocabulary_size(tokenizer), 512);
    char *text = read_whole(shared("public/llm/stories260K/expected_greedy_200.txt"));
    json_t *golden = json_load_file(shared("public/llm/stories260K-hf/golden.json"), 0, NULL);
    const json_t *recorded = json_object_get(golden, "greedy_ids_after_bos");
    int32_t ids[200];
    assert_int_equal(json_array_size(recorded), 200);
    for (size_t i = 0; i < 200; i++)
        ids[i] = (int32_t)json_integer_value(json_array_get(recorded, i));
    expect_ids(tokenizer, text, ids, 200);
    check_spans(tokenizer, text); // decodes as well
    check_spans(tokenizer, "letters it never saw: \xc3\x90\xc3\xa0 \xf0\x9f\x8c\xa7\n  two");
    json_decref(golden);
    free(text);
    tokenizer_close(tokenizer);
}

static void what_is_not_a_tokenizer_is_an_error_that_names_the_file(void **state) {
    (void)state;
    Error error = {0};
    assert_null(tokenizer_open("/nonexistent/tokenizer.model", &error));
    assert_non_null(strstr(error.message, "/nonexistent/tokenizer.model"));
    assert_null(tokenizer_open(SOURCE_DIR "/CMakeLists.txt", &error));
    assert_non_null(strstr(error.message, "CMakeLists.txt: not a SentencePiece model"));
    assert_null(tokenizer_open(SOURCE_DIR, &error));
    assert_non_null(strstr(error.message, "tokenizer.model"));
}

static void a_piece_that_is_not_utf8_is_refused(void **state) {
    (void)state;
    Error error = {0};
    FileBytes bytes = file_bytes_read(TINY_MODEL "/tokenizer.model");
    char *piece = memmem(bytes.data, bytes.size, "\xe2\x96\x81triangle", 11);
    assert_non_null(piece);
    piece[5] = '\xff';
    assert_int_equal(make_temporary_folder(NULL), 0);
    file_bytes_write(&bytes, in_folder("tokenizer.model"));
    Tokenizer *tokenizer = tokenizer_open(in_folder("tokenizer.model"), &error);
    assert_null(tokenizer);
    if (!strstr(error.message, "is not UTF-8")) fail_msg("%s", error.message);
    remove_temporary_folder(NULL);
    file_bytes_free(&bytes);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(hard_strings_have_the_published_ids),
        cmocka_unit_test(special_tokens_in_text_split_it_as_legacy_llama_does),
        cmocka_unit_test(spans_cover_the_text_in_both_directions),
        cmocka_unit_test(decoding_leaves_out_special_tokens_and_marks_broken_bytes),
        cmocka_unit_test(the_tiny_tokenizer_reads_its_world),
        IN_FOLDER(the_stories_tokenizer_gives_the_greedy_ids_of_its_model_and_their_text),
        cmocka_unit_test(a_piece_that_is_not_utf8_is_refused),
        cmocka_unit_test(what_is_not_a_tokenizer_is_an_error_that_names_the_file),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
