// rooms: eval data autograd
// METEOR against its own program, over small word lists, and over the real ones where they are at
// hand: the resources in the shared test material, the table of paraphrases by its path in
// DIFFLMM_METEOR_PARAPHRASES.
#include "eval/metrics/meteor/meteor.h"
#include "eval/metrics/meteor/normalization.h"
#include "eval/metrics/text/lower_case.h"
#include "tests/unit/eval/coco_captions.h"

#define SMALL SOURCE_DIR "/tests/parity/data/text_metrics/meteor"
enum { RECORDED_NUMBERS = 21 };

static MeteorData *open_data(const char *folder, const char *paraphrases) {
    Error error = {0};
    MeteorData *data = meteor_data_open(folder, paraphrases, &error);
    if (!data) fail_msg("%s", error.message);
    return data;
}

/// Of the same data, but no table.
static MeteorData without_paraphrases(const MeteorData *data) {
    return (MeteorData){data->resources, NULL};
}

/// The numbers in the order in which METEOR prints them.
static void numbers_of(const MeteorStatistics *statistics, int64_t numbers[RECORDED_NUMBERS]) {
    int64_t *next = numbers;
    *next++ = statistics->candidate_words;
    *next++ = statistics->reference_words;
    *next++ = statistics->candidate_function_words;
    *next++ = statistics->reference_function_words;
    for (int i = 0; i < METEOR_MODULES; i++) {
        for (int j = 0; j < 2; j++) {
            *next++ = statistics->candidate_matches[i][j];
            *next++ = statistics->reference_matches[i][j];
        }
    }
    *next = statistics->chunks;
}

static void expect_recorded(const MeteorData *data, const CaptionTokens *tokens, json_t *recorded,
                            const char *name, int step) {
    MeteorStatistics *statistics = meteor_statistics(data, tokens);
    json_t *expected = json_object_get(recorded, "statistics"),
           *scores = json_object_get(recorded, "scores");
    assert_int_equal(json_array_size(expected), (tokens->count + step - 1) / step);
    for (int i = 0; i < tokens->count; i += step) {
        int64_t numbers[RECORDED_NUMBERS];
        json_t *row = json_array_get(expected, (size_t)(i / step));
        numbers_of(&statistics[i], numbers);
        for (size_t k = 0; k < RECORDED_NUMBERS; k++) {
            if (numbers[k] != json_integer_value(json_array_get(row, k)))
                fail_msg("%s, image %d ('%s'), number %zu: %lld and not %lld", name, i,
                         tokens->candidates[i], k, (long long)numbers[k],
                         (long long)json_integer_value(json_array_get(row, k)));
        }
        expect_near(name, meteor_score(&statistics[i]), json_array_get(scores, (size_t)(i / step)));
    }
    expect_near(name, meteor_corpus(statistics, tokens->count, NULL),
                json_object_get(recorded, "corpus"));
    free(statistics);
}

static char *text_of(json_t *value) { return checked_strdup(json_string_value(value)); }

/// Captions that are tokens already: [{"candidate", "references"}].
static CaptionTokens *tokens_of(json_t *images) {
    CaptionTokens *tokens = calloc(1, sizeof *tokens);
    json_t *image, *reference;
    size_t i, j, references = 0;
    json_array_foreach(images, i, image)
        references += json_array_size(json_object_get(image, "references"));
    tokens->candidates = calloc(json_array_size(images) + 1, sizeof(char *));
    tokens->references = calloc(references + 1, sizeof(char *));
    tokens->first_reference = calloc(json_array_size(images) + 1, sizeof(int));
    json_array_foreach(images, i, image) {
        int next = tokens->first_reference[i];
        tokens->candidates[i] = text_of(json_object_get(image, "candidate"));
        json_array_foreach(json_object_get(image, "references"), j, reference)
            tokens->references[next++] = text_of(reference);
        tokens->first_reference[i + 1] = next;
        tokens->count++;
    }
    return tokens;
}

static void recorded_sets_have_the_scores_of_meteor(void **state) {
    (void)state;
    json_t *recorded = recorded_json("meteor.json"), *set;
    MeteorData *data = open_data(SMALL, NULL), without = without_paraphrases(data);
    assert_int_equal(paraphrases_count(data->paraphrases), 37);
    size_t i;
    assert_int_equal(json_array_size(json_object_get(recorded, "sets")), 2);
    json_array_foreach(json_object_get(recorded, "sets"), i, set) {
        const char *name = json_string_value(json_object_get(set, "name"));
        // the first set's captions are taken apart, the other's are words
        CaptionTokens *tokens =
            i == 0 ? recorded_images(set) : tokens_of(json_object_get(set, "images"));
        expect_recorded(data, tokens, json_object_get(set, "with"), name, 1);
        expect_recorded(&without, tokens, json_object_get(set, "without"), name, 1);
        caption_tokens_free(tokens);
    }
    meteor_data_close(data);
    json_decref(recorded);
}

static void hard_lines_are_normalised_as_meteor_does(void **state) {
    (void)state;
    json_t *recorded = recorded_json("meteor.json"),
           *normalized = json_object_get(recorded, "normalized"),
           *lines = json_object_get(normalized, "lines"),
           *words = json_object_get(normalized, "words");
    Error error = {0};
    MeteorResources *resources = meteor_resources_open(SMALL, &error);
    if (!resources) fail_msg("%s", error.message);
    assert_true(json_array_size(lines) > 300);
    for (size_t i = 0; i < json_array_size(lines); i++) {
        const char *line = json_string_value(json_array_get(lines, i)),
                   *expected = json_string_value(json_array_get(words, i));
        ByteBuffer found = {0};
        byte_buffer_put_text(&found, "");
        meteor_normalize(resources, line, strlen(line), &found);
        if (strcmp(found.data, expected) != 0)
            fail_msg("line %zu, '%s': '%s' and not '%s'", i, line, found.data, expected);
        byte_buffer_free(&found);
    }
    meteor_resources_close(resources);
    json_decref(recorded);
}

static void without_the_table_the_figure_has_another_name(void **state) {
    (void)state;
    MeteorData *data = open_data(SMALL, NULL), without = without_paraphrases(data);
    assert_string_equal(meteor_name(data), "meteor");
    assert_string_equal(meteor_name(&without), "meteor_without_paraphrases");
    meteor_data_close(data);
}

static void an_image_drawn_twice_is_as_two_images(void **state) {
    (void)state;
    const char *const references[] = {"a dog", "two hounds in the street"};
    const ImageCaptions images[] = {{"the dog in the road", references, 2},
                                    {"a dog", references, 1}, // perfect: its chunk does not count
                                    {"the dog in the road", references, 2},
                                    {"a dog", references, 1},
                                    {"a dog", references, 1}};
    const uint32_t times[] = {2, 3};
    CaptionTokens *tokens = caption_tokens_new(images, 5, NULL);
    MeteorData *data = open_data(SMALL, NULL);
    MeteorStatistics *statistics = meteor_statistics(data, tokens);
    const double drawn = meteor_corpus(statistics, 2, times),
                 whole = meteor_corpus(statistics, 5, NULL);
    assert_true(drawn == whole && drawn > 0.0 && drawn < 1.0);
    assert_true(meteor_score(&statistics[1]) == 1.0);
    assert_true(meteor_corpus(statistics, 0, NULL) == 0.0);
    free(statistics);
    meteor_data_close(data);
    caption_tokens_free(tokens);
}

static void a_caption_may_be_any_bytes(void **state) {
    (void)state;
    char *candidate[] = {"a \xff\xc3 dog \xed\xa0\x80"}, *reference[] = {"a dog \xf0\x9f\x98"};
    int first[] = {0, 1};
    const CaptionTokens tokens = {1, candidate, reference, first};
    MeteorData *data = open_data(SMALL, NULL);
    MeteorStatistics *statistics = meteor_statistics(data, &tokens);
    assert_int_equal(statistics->candidate_matches[METEOR_EXACT][0], 2); // U+FFFD is a word, too
    assert_int_equal(statistics->candidate_matches[METEOR_EXACT][1], 1);
    free(statistics);
    meteor_data_close(data);
}

/// Later versions of the library may stem otherwise: these are stems by which METEOR's scores are
/// made.
static void words_have_the_stems_of_meteor(void **state) {
    (void)state;
    char *candidates[] = {"skis", "generically", "buses", "happily", "dying", "inning", "news"};
    char *references[] = {"ski", "generic", "bus", "happy", "die", "innings", "new"};
    const bool same[] = {true, true, false, false, true, true, false};
    int first[] = {0, 1, 2, 3, 4, 5, 6, 7};
    const CaptionTokens tokens = {7, candidates, references, first};
    MeteorData *data = open_data(SMALL, NULL);
    MeteorStatistics *statistics = meteor_statistics(data, &tokens);
    for (int i = 0; i < tokens.count; i++) {
        if ((statistics[i].candidate_matches[METEOR_STEM][0] == 1) != same[i])
            fail_msg("%s and %s", candidates[i], references[i]);
    }
    free(statistics);
    meteor_data_close(data);
}

// ---- the real data

static MeteorData *open_real_data(void) {
    const char *table = getenv("DIFFLMM_METEOR_PARAPHRASES");
    if (!table) printf("# without METEOR's table of paraphrases\n");
    char folder[1024];
    snprintf(folder, sizeof folder, "%s", shared_data("meteor/resources/function/english.words"));
    *strstr(folder, "/function") = '\0';
    return open_data(folder, table);
}

static void expect_both(const MeteorData *data, const CaptionTokens *tokens, json_t *recorded,
                        const char *name, int step) {
    const MeteorData without = without_paraphrases(data);
    if (data->paraphrases)
        expect_recorded(data, tokens, json_object_get(recorded, "with"), name, step);
    expect_recorded(&without, tokens, json_object_get(recorded, "without"), name, step);
}

static void real_captions_have_the_scores_of_meteor(void **state) {
    (void)state;
    CocoCaptions captions = coco_captions_open();
    MeteorData *data = open_real_data();
    json_t *recorded = recorded_json("meteor.json");
    CaptionTokens *tokens = coco_images(&captions, true);
    expect_both(data, tokens, json_object_get(recorded, "fake"), "a thousand of COCO's captions",
                20);
    caption_tokens_free(tokens);
    json_decref(recorded);
    meteor_data_close(data);
    coco_captions_close(&captions);
}

// ---- METEOR's example: segments of a translation in SGML, and their scores

/// The attribute's value in the line, which it changes; NULL if the line has no such tag.
static char *attribute(char *line, const char *begin) {
    char *value = strstr(line, begin);
    return value ? value + strlen(begin) : NULL;
}

/// Replaces entities, in place.
static void unescape(char *text) {
    static const char *const entities[][2] = {
        {"&quot;", "\""}, {"&apos;", "'"}, {"&lt;", "<"}, {"&gt;", ">"}, {"&amp;", "&"}};
    for (size_t i = 0; i < sizeof entities / sizeof *entities; i++) {
        for (char *at = text; (at = strstr(at, entities[i][0])); at++) {
            *at = *entities[i][1];
            memmove(at + 1, at + strlen(entities[i][0]), strlen(at + strlen(entities[i][0])) + 1);
        }
    }
}

/// {"<document> <segment>": "text"}
static json_t *segments_of(const char *name) {
    FILE *file = fopen(shared_data(name), "r");
    json_t *segments = json_object();
    char *line = NULL, document[256] = "", key[512], *value, *text, *end;
    size_t capacity = 0;
    while (getline(&line, &capacity, file) > 0) {
        if (strstr(line, "<doc ") && (value = attribute(line, "docid=\"")))
            snprintf(document, sizeof document, "%.*s", (int)strcspn(value, "\""), value);
        if (!(value = attribute(line, "<seg id=\"")) || !(text = strstr(value, "\">"))) continue;
        snprintf(key, sizeof key, "%s %.*s", document, (int)strcspn(value, "\""), value);
        if ((end = strstr(text, "</seg>"))) *end = '\0';
        unescape(text + 2);
        json_object_set_new(segments, key, json_string(text + 2));
    }
    free(line);
    fclose(file);
    return segments;
}

static void the_example_of_meteor_has_its_scores(void **state) {
    (void)state;
    json_t *test = segments_of("meteor/example/test.sgm"),
           *reference = segments_of("meteor/example/ref.sgm"), *images = json_array(),
           *scores = json_array();
    FILE *file = fopen(shared_data("meteor/example/meteor-seg.scr"), "r");
    char document[256], key[512];
    int segment;
    double score;
    while (fscanf(file, "%*s %*s %255s %d %lf", document, &segment, &score) == 3) {
        snprintf(key, sizeof key, "%s %d", document, segment);
        json_array_append_new(images,
                              json_pack("{s:O, s:[O]}", "candidate", json_object_get(test, key),
                                        "references", json_object_get(reference, key)));
        json_array_append_new(scores, json_real(score));
    }
    fclose(file);
    assert_int_equal(json_array_size(images), 2525);
    MeteorData *data = open_real_data();
    json_t *recorded = recorded_json("meteor.json");
    CaptionTokens *tokens = tokens_of(images);
    expect_both(data, tokens, json_object_get(recorded, "example"), "METEOR's example", 50);
    if (data->paraphrases) {
        MeteorStatistics *statistics = meteor_statistics(data, tokens);
        for (int i = 0; i < tokens->count; i++)
            expect_near("METEOR's example", meteor_score(&statistics[i]),
                        json_array_get(scores, (size_t)i));
        free(statistics);
    }
    caption_tokens_free(tokens);
    json_decref(recorded);
    meteor_data_close(data);
    json_decref(images);
    json_decref(scores);
    json_decref(test);
    json_decref(reference);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(recorded_sets_have_the_scores_of_meteor),
        cmocka_unit_test(hard_lines_are_normalised_as_meteor_does),
        cmocka_unit_test(without_the_table_the_figure_has_another_name),
        cmocka_unit_test(an_image_drawn_twice_is_as_two_images),
        cmocka_unit_test(a_caption_may_be_any_bytes),
        cmocka_unit_test(words_have_the_stems_of_meteor),
        cmocka_unit_test(real_captions_have_the_scores_of_meteor),
        cmocka_unit_test(the_example_of_meteor_has_its_scores),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
