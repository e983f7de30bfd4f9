// rooms: eval data autograd
// From noun phrases to categories: names, a small WordNet, Debian's where it is, and vectors.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "eval/phrases/category_match.h"
#include "eval/phrases/noun_forms.h"
#include "eval/phrases/wordnet.h"
#include "tests/unit/temporary_folder.h"

static const char *const NAMES[] = {"person",        "car",   "traffic light", "dining table",
                                    "teddy bear",    "bear",  "dog",           "skis",
                                    "tennis racket", "couch", "knife",         "mouse"};
enum { NUM_NAMES = sizeof NAMES / sizeof *NAMES };

/// `name` NULL: none.
static void expect_match(const CategoryMatcher *matcher, const char *phrase, const char *root,
                         const char *name, const char *rule) {
    const CategoryMatch match =
        category_of_phrase(matcher, phrase, strlen(phrase), strlen(root), NULL);
    assert_string_equal(phrase + strlen(phrase) - strlen(root), root);
    const char *found = match.category < 0 ? "(none)" : NAMES[match.category];
    if (strcmp(found, name ? name : "(none)") != 0 || strcmp(match.rule, rule) != 0)
        fail_msg("'%s' is %s by '%s', expected %s by '%s'", phrase, found, match.rule,
                 name ? name : "(none)", rule);
    assert_true(match.category < 0 ? match.score == 0 : match.score > 0 && match.score <= 1);
}

static void names_and_plurals_match_as_the_last_words_of_a_phrase(void **state) {
    (void)state;
    CategoryMatcher *matcher = category_matcher_new(NAMES, NUM_NAMES, "/no/such/folder");
    assert_false(category_matcher_has_wordnet(matcher));
    expect_match(matcher, "Two red Traffic Lights", "Lights", "traffic light", "name");
    expect_match(matcher, "several people", "people", "person", "name");
    expect_match(matcher, "his knives", "knives", "knife", "name");
    expect_match(matcher, "a ski", "ski", "skis", "name");
    expect_match(matcher, "the teddy bears", "bears", "teddy bear", "name");
    expect_match(matcher, "bears", "bears", "bear", "name");
    expect_match(matcher, "a wooden table", "table", "dining table", "head");
    expect_match(matcher, "a racket", "racket", "tennis racket", "head");
    expect_match(matcher, "a light", "light", "traffic light", "head");
    expect_match(matcher, "the sky", "sky", NULL, "none");
    expect_match(matcher, "", "", NULL, "none");
    category_matcher_free(matcher);
}

static void only_allowed_categories_match_and_the_first_of_equals(void **state) {
    (void)state;
    static const char *const twice[] = {"cat", "dog", "dog"};
    CategoryMatcher *matcher = category_matcher_new(twice, 3, NULL);
    assert_int_equal(category_of_phrase(matcher, "dogs", 4, 4, NULL).category, 1);
    assert_int_equal(
        category_of_phrase(matcher, "dogs", 4, 4, (bool[]){true, false, true}).category, 2);
    assert_int_equal(
        category_of_phrase(matcher, "dogs", 4, 4, (bool[]){true, false, false}).category, -1);
    category_matcher_free(matcher);
}

static void plurals_are_undone(void **state) {
    (void)state;
    static const char *const pairs[][2] = {{"Boxes", "box"},
                                           {"berries", "berry"},
                                           {"buses", "bus"},
                                           {"glasses", "glass"},
                                           {"horses", "horse"},
                                           {"firemen", "fireman"},
                                           {"women", "woman"},
                                           {"geese", "goose"},
                                           {"shoes", "shoe"},
                                           {"tomatoes", "tomato"},
                                           {"wine glasses", "wine glass"},
                                           {"bookshelves", "bookshelf"},
                                           {"cell phones", "cell phone"}};
    for (size_t i = 0; i < sizeof pairs / sizeof *pairs; i++) {
        const NounForms a = noun_forms(pairs[i][0], strlen(pairs[i][0]));
        const NounForms b = noun_forms(pairs[i][1], strlen(pairs[i][1]));
        if (!is_same_noun(&a, &b)) fail_msg("%s is not %s", pairs[i][0], pairs[i][1]);
    }
    static const char *const others[][2] = {
        {"glass", "glas"}, {"bus", "bu"}, {"iris", "iri"}, {"dog", "dots"}};
    for (size_t i = 0; i < sizeof others / sizeof *others; i++) {
        const NounForms a = noun_forms(others[i][0], strlen(others[i][0]));
        const NounForms b = noun_forms(others[i][1], strlen(others[i][1]));
        if (is_same_noun(&a, &b)) fail_msg("%s is %s", others[i][0], others[i][1]);
    }
    assert_int_equal(noun_forms("", 0).count, 0);
    char longest[200];
    memset(longest, 's', sizeof longest);
    assert_int_equal(noun_forms(longest, sizeof longest).count, 0);
}

/// Writes a WordNet of these lines; `data` lines begin at offsets 0, 100, 200 ... and are padded.
static void write_wordnet(const char *index, const char *const *data, int count) {
    char path[256];
    snprintf(path, sizeof path, "%s/index.noun", temporary_folder);
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    fputs(index, file);
    fclose(file);
    snprintf(path, sizeof path, "%s/data.noun", temporary_folder);
    file = fopen(path, "w");
    assert_non_null(file);
    for (int i = 0; i < count; i++) fprintf(file, "%-99s\n", data[i]);
    fclose(file);
}

static const char SMALL_INDEX[] = "  1 a licence\n"
                                  "animal n 1 1 ~ 1 1 00000000  \n"
                                  "couch n 1 1 @ 1 1 00000300  \n"
                                  "dog n 2 2 @ ~ 2 1 00000100 00000300  \n"
                                  "hot_dog n 1 1 @ 1 1 00000400  \n"
                                  "puppy n 1 1 @ 1 1 00000200  \n"
                                  "sofa n 1 1 @ 1 1 00000300  \n";
static const char *const SMALL_DATA[] = {
    "00000000 03 n 01 animal 0 001 ~ 00000100 n 0000 | a living thing",
    "00000100 05 n 02 dog 0 hound 0 002 @ 00000000 n 0000 ~ 00000200 n 0000 | barks",
    "00000200 05 n 01 puppy 0 001 @ 00000100 n 0000 | a young dog",
    "00000300 06 n 02 sofa 0 couch 0 001 @ 00000300 n 0000 | above itself",
    "00000400 13 n 01 hot_dog 0 000 | food",
    "00000500 05 n 01 Rex 0 001 @i 00000100 n 0000 | a dog of its own",
};
enum { NUM_SMALL_DATA = sizeof SMALL_DATA / sizeof *SMALL_DATA };

static void wordnet_gives_senses_and_what_lies_above_them(void **state) {
    (void)state;
    Error error = {0};
    uint32_t found[4];
    assert_null(wordnet_open(temporary_folder, &error));
    assert_non_null(strstr(error.message, "index.noun"));
    write_wordnet(SMALL_INDEX, SMALL_DATA, NUM_SMALL_DATA);
    WordNet *wordnet = wordnet_open(temporary_folder, &error);
    if (!wordnet) fail_msg("%s", error.message);
    assert_int_equal(wordnet_senses(wordnet, "dog", found, 4), 2);
    assert_int_equal(found[0], 100);
    assert_int_equal(wordnet_senses(wordnet, "dog", found, 1), 1);
    assert_int_equal(wordnet_senses(wordnet, "hot dog", found, 4), 1);
    assert_int_equal(wordnet_senses(wordnet, "animal", found, 4), 1);
    assert_int_equal(wordnet_senses(wordnet, "sofa", found, 4), 1);
    const char *const absent[] = {"cat", "a", "zebra", "", "1", "dogs", " "};
    for (size_t i = 0; i < sizeof absent / sizeof *absent; i++)
        assert_int_equal(wordnet_senses(wordnet, absent[i], found, 4), 0);
    assert_int_equal(wordnet_hypernyms(wordnet, 200, found, 4), 1);
    assert_int_equal(found[0], 100);
    assert_int_equal(wordnet_hypernyms(wordnet, 100, found, 4), 1);
    assert_int_equal(wordnet_hypernyms(wordnet, 0, found, 4), 0);
    assert_int_equal(wordnet_hypernyms(wordnet, 500, found, 4), 0);
    assert_int_equal(wordnet_hypernyms(wordnet, 150, found, 4), 0);
    assert_int_equal(wordnet_hypernyms(wordnet, 4000000000u, found, 4), 0);
    wordnet_close(wordnet);
}

static void wordnet_finds_synonyms_and_kinds_but_does_not_cut_what_it_knows(void **state) {
    (void)state;
    write_wordnet(SMALL_INDEX, SMALL_DATA, NUM_SMALL_DATA);
    CategoryMatcher *matcher = category_matcher_new(NAMES, NUM_NAMES, temporary_folder);
    assert_true(category_matcher_has_wordnet(matcher));
    expect_match(matcher, "an old sofa", "sofa", "couch", "synonym");
    expect_match(matcher, "two puppies", "puppies", "dog", "hypernym");
    expect_match(matcher, "a hot dog", "dog", NULL, "none");
    expect_match(matcher, "a wet dog", "dog", "dog", "name");
    expect_match(matcher, "an animal", "animal", NULL, "none");
    const float near = category_of_phrase(matcher, "sofa", 4, 4, NULL).score;
    const float far = category_of_phrase(matcher, "puppy", 5, 5, NULL).score;
    assert_true(near < 1 && far < near && far > 0.5f);
    category_matcher_free(matcher);
}

static void broken_wordnets_give_nothing_worse_than_no_senses(void **state) {
    (void)state;
    static const char *const indices[] = {
        "",
        "\n\n",
        "dog",
        "dog n 99999 1 @ 1 1 00000100",
        "dog n -1 1 @ 1 1 00000100\n",
        "dog n 1 99999999 @ 1 1 00000100\n",
        "dog n 1 1 @ 1 1 xxxxxxxx\n",
        "dog n 1 1 @ 1 1 99999999\n",
        "zebra n 1 0 1 1 00000100\ndog n 1 0 1 1 00000100\n",
    };
    static const char *const data[] = {
        "00000000 03 n ff dog 0 999 @ 00000000",
        "00000100 05 n 01 dog 0 999 @ 00000100 n 0000 @ 00000200 n 0000",
        "00000200 05 n zz dog 0 -5 @ @ @ @",
    };
    for (size_t i = 0; i < sizeof indices / sizeof *indices; i++) {
        write_wordnet(indices[i], data, 3);
        CategoryMatcher *matcher = category_matcher_new(NAMES, NUM_NAMES, temporary_folder);
        expect_match(matcher, "a dog", "dog", "dog", "name");
        expect_match(matcher, "a hound", "hound", NULL, "none");
        category_matcher_free(matcher);
    }
}

static void debians_wordnet_knows_what_captions_speak_of(void **state) {
    (void)state;
    if (access(WORDNET_FOLDER "/index.noun", R_OK) != 0) skip();
    CategoryMatcher *matcher = category_matcher_new(NAMES, NUM_NAMES, WORDNET_FOLDER);
    expect_match(matcher, "a yellow taxi", "taxi", "car", "hypernym");
    expect_match(matcher, "a police car", "car", "car", "hypernym");
    expect_match(matcher, "three men", "men", "person", "hypernym");
    expect_match(matcher, "a young woman", "woman", "person", "hypernym");
    expect_match(matcher, "the skateboarder", "skateboarder", "person", "hypernym");
    expect_match(matcher, "a leather sofa", "sofa", "couch", "synonym");
    expect_match(matcher, "a poodle", "poodle", "dog", "hypernym");
    const char *const others[] = {"the sky",    "grass",      "snow",
                                  "a computer", "tall trees", "a guy rope"};
    for (size_t i = 0; i < sizeof others / sizeof *others; i++) {
        const char *last = strrchr(others[i], ' ');
        expect_match(matcher, others[i], last ? last + 1 : others[i], NULL, "none");
    }
    category_matcher_free(matcher);
}

/// A program that gives (1, 0) for "car", (0.6, 0.8) for every other word.
static ChunkCommand *start_vectors(void) {
    Error error = {0};
    ChunkCommand *command = chunk_command_start(
        "echo '{\"name\": \"two numbers\"}'; n=0; while read -r line; do n=$((n+1)); case $line in "
        "*'[\"car\",\"dog\",\"sky\"]'*) v='[[1,0],[0.6,0.8],[0,0]]';; *'[\"car\"]'*) v='[[1,0]]';; "
        "*) v='[[-0.5,-0.5]]';; esac; echo \"{\\\"id\\\": $n, \\\"vectors\\\": $v}\"; done",
        60, 60, &error);
    if (!command) fail_msg("%s", error.message);
    return command;
}

static void vectors_give_the_nearest_allowed_name(void **state) {
    (void)state;
    static const char *const names[] = {"car", "The Dog", "sky"};
    CategoryMatcher *matcher = category_matcher_new(names, 3, NULL);
    ChunkCommand *command = start_vectors();
    CategoryMatch match;
    Error error = {0};
    if (!category_by_vectors(matcher, command, "A Car", 5, NULL, &match, &error))
        fail_msg("%s", error.message);
    assert_int_equal(match.category, 0);
    assert_true(match.score == 1);
    assert_string_equal(match.rule, "vectors");
    assert_true(category_by_vectors(matcher, command, "car", 3, (bool[]){false, true, true}, &match,
                                    &error));
    assert_int_equal(match.category, 1);
    assert_true(match.score > 0.5999f && match.score < 0.6001f);
    assert_true(category_by_vectors(matcher, command, "car", 3, (bool[]){false, false, true},
                                    &match, &error));
    assert_int_equal(match.category, -1);
    assert_true(category_by_vectors(matcher, command, "hat", 3, NULL, &match, &error));
    assert_int_equal(match.category, -1);
    assert_string_equal(match.rule, "none");
    chunk_command_stop(command);
    category_matcher_free(matcher);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(names_and_plurals_match_as_the_last_words_of_a_phrase),
        cmocka_unit_test(only_allowed_categories_match_and_the_first_of_equals),
        cmocka_unit_test(plurals_are_undone),
        IN_FOLDER(wordnet_gives_senses_and_what_lies_above_them),
        IN_FOLDER(wordnet_finds_synonyms_and_kinds_but_does_not_cut_what_it_knows),
        IN_FOLDER(broken_wordnets_give_nothing_worse_than_no_senses),
        cmocka_unit_test(debians_wordnet_knows_what_captions_speak_of),
        cmocka_unit_test(vectors_give_the_nearest_allowed_name),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
