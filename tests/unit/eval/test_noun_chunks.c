// rooms: eval data autograd
// Noun chunks beside what tests/parity/noun_chunks/train.py recorded: spaCy's and its own.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "autograd/error.h"
#include "autograd/json_file.h"
#include "eval/phrases/noun_chunks.h"

#define RECORDED SOURCE_DIR "/tests/parity/data/noun_chunks"

static NounChunker *chunker;

static int open_chunker(void **state) {
    (void)state;
    chunker = noun_chunker_new();
    return 0;
}

static int close_chunker(void **state) {
    (void)state;
    noun_chunker_free(chunker);
    return 0;
}

/// What was found in all texts of a file, against spaCy's.
typedef struct Agreement {
    int expected, found, same_chunks, same_roots;
} Agreement;

static double f1(int same, const Agreement *agreement) {
    return 2.0 * same / (agreement->expected + agreement->found);
}

static NounChunk chunk_of(const json_t *recorded, size_t i) {
    size_t values[4];
    for (size_t k = 0; k < 4; k++)
        values[k] = (size_t)json_integer_value(json_array_get(json_array_get(recorded, i), k));
    return (NounChunk){values[0], values[1], values[2], values[3]};
}

static void expect_recorded(const char *text, const NounChunkList *list, const json_t *recorded) {
    for (int i = 0; i < list->count; i++) {
        const NounChunk expected = chunk_of(recorded, (size_t)i);
        if (memcmp(&expected, &list->items[i], sizeof expected) != 0)
            fail_msg("'%s': chunk %d is '%.*s', expected '%.*s'", text, i,
                     (int)(list->items[i].end - list->items[i].begin), text + list->items[i].begin,
                     (int)(expected.end - expected.begin), text + expected.begin);
    }
    assert_int_equal(list->count, json_array_size(recorded));
}

static void compare(Agreement *agreement, const NounChunkList *list, const json_t *spacy) {
    agreement->found += list->count;
    agreement->expected += (int)json_array_size(spacy);
    for (size_t i = 0; i < json_array_size(spacy); i++) {
        const NounChunk expected = chunk_of(spacy, i);
        for (int k = 0; k < list->count; k++) {
            const NounChunk *found = &list->items[k];
            agreement->same_roots +=
                found->root_begin == expected.root_begin && found->root_end == expected.root_end;
            agreement->same_chunks += found->begin == expected.begin && found->end == expected.end;
        }
    }
}

/// Reads NAME.txt line by line beside the recording's list NAME.
static Agreement check_recorded(const char *name) {
    Error error = {0};
    json_t *recorded = json_file_read_object(RECORDED "/expected.json", 0, &error);
    if (!recorded) fail_msg("%s", error.message);
    char path[512], line[4096];
    snprintf(path, sizeof path, RECORDED "/%s.txt", name);
    FILE *file = fopen(path, "r");
    assert_non_null(file);
    Agreement agreement = {0};
    size_t count = 0;
    for (; fgets(line, sizeof line, file); count++) {
        line[strcspn(line, "\n")] = '\0';
        const json_t *entry = json_array_get(json_object_get(recorded, name), count);
        NounChunkList list = noun_chunks_find(chunker, line, strlen(line));
        expect_recorded(line, &list, json_object_get(entry, "network"));
        compare(&agreement, &list, json_object_get(entry, "spacy"));
        noun_chunks_free(&list);
    }
    assert_int_equal(count, json_array_size(json_object_get(recorded, name)));
    fclose(file);
    json_decref(recorded);
    print_message("%s: F1 of chunks %.4f, of roots %.4f (%d chunks of spaCy)\n", name,
                  f1(agreement.same_chunks, &agreement), f1(agreement.same_roots, &agreement),
                  agreement.expected);
    return agreement;
}

static void long_descriptions_have_the_recorded_chunks_and_nearly_spacys(void **state) {
    (void)state;
    const Agreement agreement = check_recorded("descriptions");
    assert_true(agreement.expected > 800);
    assert_true(f1(agreement.same_chunks, &agreement) >= 0.95);
    assert_true(f1(agreement.same_roots, &agreement) >= 0.97);
}

static void captions_have_the_recorded_chunks_and_nearly_spacys(void **state) {
    (void)state;
    const Agreement agreement = check_recorded("captions");
    assert_true(agreement.expected > 200);
    assert_true(f1(agreement.same_chunks, &agreement) >= 0.95);
    assert_true(f1(agreement.same_roots, &agreement) >= 0.97);
}

/// `expected`: the chunks with '|' between them, each ending in its root, which follows a '^'.
static void expect_chunks(const char *text, size_t length, const char *expected) {
    NounChunkList list = noun_chunks_find(chunker, text, length);
    char *joined = checked_calloc(3 * length + 1, 1);
    for (int i = 0; i < list.count; i++) {
        const NounChunk *chunk = &list.items[i];
        if (i) strcat(joined, "|");
        strncat(joined, text + chunk->begin, chunk->root_begin - chunk->begin);
        strcat(joined, "^");
        strncat(joined, text + chunk->root_begin, chunk->root_end - chunk->root_begin);
        assert_int_equal(chunk->root_end, chunk->end);
    }
    assert_string_equal(joined, expected);
    free(joined);
    noun_chunks_free(&list);
}

static void chunks_have_their_articles_and_pronouns_are_chunks(void **state) {
    (void)state;
    static const char text[] = "A man in a red shirt is riding his old bicycle.\n\nHe is smiling.";
    expect_chunks(text, sizeof text - 1, "A ^man|a red ^shirt|his old ^bicycle|^He");
    expect_chunks("", 0, "");
    expect_chunks(" \n\t ", 4, "");
}

static void bytes_that_are_no_characters_do_not_move_the_spans(void **state) {
    (void)state;
    static const char text[] =
        "The \xff\xfe cat is near the dog. \xe2\x82 A boy sees a \0 red car.";
    NounChunkList list = noun_chunks_find(chunker, text, sizeof text - 1);
    assert_true(list.count > 2);
    const NounChunk *last = &list.items[list.count - 1];
    assert_memory_equal(text + last->root_begin, "car", 3);
    assert_int_equal(last->root_end - last->root_begin, 3);
    noun_chunks_free(&list);
}

static void any_bytes_give_spans_in_order_within_the_text(void **state) {
    (void)state;
    uint32_t random = 12345;
    char text[700];
    for (int trial = 0; trial < 100; trial++) {
        const size_t length = (size_t)(trial * 7);
        for (size_t i = 0; i < length; i++) {
            random = random * 1664525u + 1013904223u;
            const char any = (char)(random >> 16);
            text[i] = random >> 24 & 1 ? any : "a bT'.-("[random >> 16 & 7];
        }
        NounChunkList list = noun_chunks_find(chunker, text, length);
        size_t covered = 0;
        for (int i = 0; i < list.count; i++) {
            const NounChunk *chunk = &list.items[i];
            assert_true(chunk->begin >= covered && chunk->begin <= chunk->root_begin);
            assert_true(chunk->root_begin < chunk->root_end && chunk->root_end == chunk->end);
            assert_true(chunk->end <= length);
            covered = chunk->end;
        }
        noun_chunks_free(&list);
    }
}

/// The network looks at a dozen of words to both sides, and takes long texts piece by piece:
/// wherever the pieces' borders lie, the chunks are the same.
static void where_a_text_lies_in_a_longer_one_changes_nothing(void **state) {
    (void)state;
    static const char before[] = "The sky above the old harbor is grey and a bird sits on a pole. ";
    static const char middle[] =
        "A small white dog with a red collar watches two children who are building a castle of "
        "wet sand near the water, while their father reads a book under a striped umbrella. ";
    char text[8192] = "";
    int expected = 0;
    for (int copies = 1; copies < 32; copies++) {
        strcat(text, before);
        const size_t begin = strlen(text);
        strcat(text, middle);
        const size_t end = strlen(text);
        strcat(text, before);
        NounChunkList list = noun_chunks_find(chunker, text, strlen(text));
        int count = 0;
        for (int i = 0; i < list.count; i++)
            count += list.items[i].begin >= begin && list.items[i].end <= end;
        if (copies == 1) expected = count;
        assert_int_equal(count, expected);
        assert_true(count >= 8);
        noun_chunks_free(&list);
        text[begin] = '\0';
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(long_descriptions_have_the_recorded_chunks_and_nearly_spacys),
        cmocka_unit_test(captions_have_the_recorded_chunks_and_nearly_spacys),
        cmocka_unit_test(chunks_have_their_articles_and_pronouns_are_chunks),
        cmocka_unit_test(bytes_that_are_no_characters_do_not_move_the_spans),
        cmocka_unit_test(any_bytes_give_spans_in_order_within_the_text),
        cmocka_unit_test(where_a_text_lies_in_a_longer_one_changes_nothing),
    };
    return cmocka_run_group_tests(tests, open_chunker, close_chunker);
}
