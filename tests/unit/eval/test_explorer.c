// rooms: eval data autograd
// What the explorer's page holds, read back from the page itself. How it behaves in a browser is
// the business of tests/pages/explorer.sh.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <float.h>
#include <jansson.h>

#include "tests/pages/made_example.h"
#include "tests/unit/temporary_folder.h"

// ---- reading a page

/// What stands in the script element of that id; the caller frees it.
static json_t *part_of_page(const char *page, const char *id) {
    char *tag = format_string("<script type=\"application/json\" id=\"%s\">", id);
    const char *begin = strstr(page, tag);
    assert_non_null(begin);
    begin += strlen(tag);
    const char *end = strstr(begin, "</script>");
    assert_non_null(end);
    json_error_t reason;
    json_t *part = json_loadb(begin, (size_t)(end - begin), 0, &reason);
    if (!part) fail_msg("%s at %d", reason.text, reason.position);
    free(tag);
    return part;
}

static uint8_t *base64_bytes(const char *text, size_t *size) {
    static const char DIGITS[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    uint8_t *bytes = checked_malloc(strlen(text) + 4);
    *size = 0;
    for (unsigned bits = 0, count = 0; *text && *text != '='; text++) {
        bits = bits << 6 | (unsigned)(strchr(DIGITS, *text) - DIGITS);
        count += 6;
        if (count < 8) continue;
        count -= 8;
        bytes[(*size)++] = (uint8_t)(bits >> count);
    }
    return bytes;
}

/// Map i of a strip as the page's script reads it, and what a level of it is; the caller frees it.
static float *map_of_strip(const json_t *strip, int i, double *level) {
    size_t size;
    Image image;
    Error error = {0};
    uint8_t *png = base64_bytes(json_string_value(json_object_get(strip, "png")), &size);
    if (!image_decode(png, size, "strip", &image, &error)) fail_msg("%s", error.message);
    const json_t *ranges = json_object_get(strip, "ranges");
    double low = json_number_value(json_array_get(ranges, (size_t)(2 * i))),
           high = json_number_value(json_array_get(ranges, (size_t)(2 * i + 1)));
    float *map = checked_malloc((size_t)image.width * sizeof *map);
    assert_true(i < image.height);
    for (int c = 0; c < image.width; c++)
        map[c] = (float)(low + (high - low) *
                                   image.pixels[3 * ((size_t)i * (size_t)image.width + (size_t)c)] /
                                   255);
    *level = (high - low) / 255 * 1.001; // ranges have five digits
    image_free(&image);
    free(png);
    return map;
}

/// One example's page, as JSON; the caller frees it.
static json_t *example_of(const MadeExample *made) {
    Error error = {0};
    Explorer *explorer =
        explorer_new(&(ExplorerAbout){.title = "Title", .sides = {"a side", NULL}});
    ExplorerExample example = {
        .id = "one", .picture = &made->picture, .answers = {made_answer(made)}};
    if (!explorer_add_example(explorer, &example, &error)) fail_msg("%s", error.message);
    char *page = explorer_page(explorer);
    json_t *examples = part_of_page(page, "examples"), *first = json_array_get(examples, 0);
    json_incref(first);
    json_decref(examples);
    free(page);
    explorer_free(explorer);
    return first;
}

static const json_t *answer_in(const json_t *example, size_t side) {
    return json_array_get(json_object_get(example, "answers"), side);
}

static const json_t *strip_in(const json_t *example, const char *name) {
    return json_object_get(json_object_get(answer_in(example, 0), "maps"), name);
}

// ---- maps

/// How much wrong pixels can be where cells are wrong by 1: the cubic's weights add up to 1.375 in
/// size along either side.
static const double CUBIC = 1.375 * 1.375;

/// The page's map of phrase i, corners as they are, as its script reads it, and half a level of
/// it; the caller frees it.
static float *map_on_page(const MadeExample *made, const json_t *example, int i, double *half) {
    double level, mean_level;
    const json_t *strip = strip_in(example, "phrases");
    float *map = map_of_strip(strip, i, &level),
          *mean = map_of_strip(strip, made->num_phrases, &mean_level);
    int cells = made->answer.grid.rows * made->answer.grid.columns;
    for (int c = 0; !made->how.normalise && c < cells; c++) map[c] += mean[c];
    *half = 0.5 * (level + (made->how.normalise ? 0 : mean_level));
    free(mean);
    return map;
}

static float smallest_on_page(const MadeExample *made, const json_t *example, double *half) {
    float smallest = FLT_MAX;
    for (int i = 0; i < made->num_phrases; i++) {
        double own_half;
        float *map = map_on_page(made, example, i, &own_half);
        smallest = fminf(smallest, attention_smallest(map, made->answer.grid));
        if (!i || own_half > *half) *half = own_half;
        free(map);
    }
    return smallest;
}

/// The page's map of every phrase is highest where the judged map is, but for half a level of each
/// of the two pixels compared, and its corners are as low. Returns how many phrases have the very
/// point.
static int expect_points(const MadeExample *made, const json_t *example) {
    const Answer *answer = &made->answer;
    int height = answer->image_height, width = answer->image_width, exact = 0;
    float *pixels = checked_malloc((size_t)height * (size_t)width * sizeof *pixels);
    ReadAnswer read = answer_read(answer, &made->how);
    for (int i = 0; i < made->num_phrases; i++)
        read_answer_note_group(&read, made->phrases[i].tokens, made->phrases[i].num_tokens);
    for (int i = 0; i < made->num_phrases; i++) {
        double half, corner_half = 0;
        const ExplorerPhrase *phrase = &made->phrases[i];
        float *map = map_on_page(made, example, i, &half);
        Pointing judged = point_of_tokens(&read, phrase->tokens, phrase->num_tokens);
        if (made->how.remove_corner) {
            attention_set_corners(map, answer->grid, smallest_on_page(made, example, &corner_half));
            assert_true(fabs(map[0] - judged.map[0]) <= corner_half);
        }
        attention_to_pixels(map, answer->grid, answer->frame, height, width, pixels);
        Point point = attention_argmax(pixels, height, width);
        float there = judged.heat[point.row * width + point.column],
              highest = judged.heat[judged.point.row * width + judged.point.column];
        assert_true(there >= highest - 2 * fmax(half, corner_half) * CUBIC);
        exact += point.row == phrase->point.row && point.column == phrase->point.column;
        pointing_free(&judged);
        free(map);
    }
    read_answer_free(&read);
    free(pixels);
    return exact;
}

static void the_pages_map_of_a_phrase_is_highest_at_its_point(void **state) {
    (void)state;
    static const GroundingOptions HOW[] = {{.reduction = REDUCE_MEAN, .normalise = true},
                                           {.reduction = REDUCE_MAX, .normalise = true},
                                           {.reduction = REDUCE_FIRST, .normalise = true},
                                           {.reduction = REDUCE_MEAN, .normalise = false},
                                           {.normalise = true, .remove_corner = true}};
    int exact = 0, all = 0;
    for (size_t h = 0; h < sizeof HOW / sizeof *HOW; h++)
        for (uint32_t seed = 0; seed < 4; seed++) {
            MadeExample made;
            made_example(&(MadeOptions){.width = seed % 2 ? 200 : 128,
                                        .height = 128,
                                        .grid = {seed % 2 ? 24 : 8, seed % 2 ? 24 : 8},
                                        .layers = 1 + (int)seed % 3,
                                        .num_phrases = 5,
                                        .seed = seed},
                         &made);
            made.how = HOW[h];
            made_judge(&made);
            json_t *example = example_of(&made);
            exact += expect_points(&made, example);
            all += made.num_phrases;
            json_decref(example);
            made_example_free(&made);
        }
    assert_true(exact >= all * 8 / 10);
}

static void maps_of_tokens_and_layers_are_what_the_answer_has(void **state) {
    (void)state;
    MadeExample made;
    made_example(
        &(MadeOptions){
            .width = 64, .height = 64, .grid = {6, 5}, .layers = 3, .num_phrases = 2, .seed = 9},
        &made);
    const Answer *answer = &made.answer;
    json_t *example = example_of(&made);
    enum { CELLS = 30 };
    int rows = made.num_phrases + answer->num_tokens + 1;
    for (int layer = -1; layer < 3; layer++) {
        float *raw = answer_mean_maps(answer, layer < 0 ? NULL : &layer, 1, NULL, 0);
        const json_t *of_mean = strip_in(example, layer < 0 ? "phrases" : "layers"),
                     *of_tokens = strip_in(example, layer < 0 ? "tokens" : "layers");
        int first = layer < 0 ? 0 : layer * rows + made.num_phrases,
            mean_at = layer < 0 ? made.num_phrases : (layer + 1) * rows - 1;
        double mean_level, level;
        float *mean = map_of_strip(of_mean, mean_at, &mean_level);
        for (int t = 0; t < answer->num_tokens; t++) {
            float *map = map_of_strip(of_tokens, first + t, &level);
            for (int c = 0; c < CELLS; c++)
                assert_true(fabs(map[c] + mean[c] - raw[t * CELLS + c]) <=
                            0.5 * (level + mean_level) + 1e-7);
            free(map);
        }
        free(mean);
        free(raw);
    }
    json_decref(example);
    made_example_free(&made);
}

// ---- words

static void words_put_together_are_the_answer(void **state) {
    (void)state;
    MadeExample made;
    made_example(
        &(MadeOptions){
            .width = 64, .height = 64, .grid = {4, 4}, .layers = 1, .num_phrases = 2, .seed = 3},
        &made);
    made_say(&made.answer, "(in\n\tthe dog's two-part house),");
    json_t *example = example_of(&made), *word, *phrase;
    const json_t *answer = answer_in(example, 0), *words = json_object_get(answer, "words");
    char together[512] = "";
    size_t i;
    json_array_foreach((json_t *)words, i, word)
        strcat(together, json_string_value(json_array_get(word, 0)));
    assert_string_equal(together, made.answer.text);
    json_array_foreach(json_object_get(answer, "phrases"), i, phrase) {
        const json_t *range = json_object_get(phrase, "words");
        size_t first = (size_t)json_integer_value(json_array_get(range, 0)),
               count = (size_t)json_integer_value(json_array_get(range, 1));
        char of_phrase[256] = "";
        for (size_t w = first; w < first + count; w++)
            strcat(of_phrase, json_string_value(json_array_get(json_array_get(words, w), 0)));
        const char *text = json_string_value(json_object_get(phrase, "text"));
        assert_string_equal(of_phrase + (*of_phrase == ' '), text);
        // its last word is made of the tokens that point
        const json_t *last = json_array_get(words, first + count - 1);
        assert_int_equal(json_integer_value(json_array_get(last, 1)), made.phrases[i].tokens[0]);
        assert_int_equal(json_integer_value(json_array_get(last, 2)), made.phrases[i].num_tokens);
    }
    json_decref(example);
    made_example_free(&made);
}

static void utterances_of_a_given_text_are_kept_apart(void **state) {
    (void)state;
    Answer answer = {.text = checked_strdup("a dog,the cat"),
                     .num_tokens = 3,
                     .grid = {2, 2},
                     .layers = 1,
                     .heads = 1,
                     .frame = {8, 8, 0, 0},
                     .num_utterances = 3,
                     .image_height = 8,
                     .image_width = 8};
    answer.ids = checked_calloc(3, sizeof(int32_t));
    answer.token_begin = checked_calloc(3, sizeof(int32_t));
    answer.token_end = checked_calloc(3, sizeof(int32_t));
    answer.utterances = checked_calloc(3, sizeof *answer.utterances);
    answer.maps = checked_calloc(3 * 4, sizeof(float));
    static const int ENDS[] = {0, 5, 6, 13};
    for (int t = 0; t < 3; t++) {
        answer.token_begin[t] = ENDS[t];
        answer.token_end[t] = ENDS[t + 1];
        answer.utterances[t] = (TokenRange){t, t + 1};
    }
    MadeExample made = {.answer = answer, .picture = image_new(8, 8)};
    memset(made.picture.pixels, 9, 8 * 8 * 3);
    json_t *example = example_of(&made), *word;
    char together[64] = "";
    size_t i;
    json_array_foreach(json_object_get(answer_in(example, 0), "words"), i, word)
        strcat(together, json_string_value(json_array_get(word, 0)));
    assert_string_equal(together, "a dog, the cat");
    json_decref(example);
    made_example_free(&made);
}

static int count_of(const char *text, const char *part) {
    int count = 0;
    for (const char *at = text; (at = strstr(at, part)); at++) count++;
    return count;
}

static void hostile_text_stays_text(void **state) {
    (void)state;
    static const char HOSTILE[] = "</script><script>alert(1)</script><!-- \" ' & \xff\xe2\x82 \x01";
    Error error = {0};
    MadeExample made;
    made_example(
        &(MadeOptions){.width = 32, .height = 32, .grid = {4, 4}, .layers = 1, .num_phrases = 1},
        &made);
    made_say(&made.answer, HOSTILE);
    made.phrases[0].category = made.phrases[0].truth_name = HOSTILE;
    Explorer *explorer = explorer_new(&(ExplorerAbout){
        .title = HOSTILE, .subtitle = HOSTILE, .explanation = HOSTILE, .sides = {HOSTILE}});
    ExplorerExample example = {.id = HOSTILE,
                               .question = HOSTILE,
                               .picture = &made.picture,
                               .answers = {made_answer(&made)}};
    assert_true(explorer_add_example(explorer, &example, &error));
    char *page = explorer_page(explorer);
    // two of JSON, and the three scripts
    assert_int_equal(count_of(page, "<script"), 5);
    assert_int_equal(count_of(page, "</script"), 5);
    assert_int_equal(count_of(page, "<!--"), 0);
    json_t *examples = part_of_page(page, "examples"), *about = part_of_page(page, "about");
    static const char SHOWN[] =
        "</script><script>alert(1)</script><!-- \" ' & \xef\xbf\xbd\xef\xbf\xbd \x01";
    assert_string_equal(json_string_value(json_object_get(json_array_get(examples, 0), "question")),
                        SHOWN);
    assert_string_equal(json_string_value(json_array_get(json_object_get(about, "sides"), 0)),
                        SHOWN);
    json_decref(examples);
    json_decref(about);
    free(page);
    explorer_free(explorer);
    made_example_free(&made);
}

// ---- what is not there

static void a_phrase_that_points_nowhere_has_no_point(void **state) {
    (void)state;
    MadeExample made;
    made_example(&(MadeOptions){.width = 32, .height = 32, .grid = {4, 4}, .layers = 1}, &made);
    made_say(&made.answer, "nothing");
    made.num_phrases = 1;
    made.truths[0] = made_disc(32, 32, 8, 8, 5);
    made.phrases[0] = (ExplorerPhrase){
        .name = "the ring", .truth = &made.truths[0], .hit = EXPLORER_MISS, .iou = NAN};
    json_t *example = example_of(&made),
           *phrase = json_array_get(json_object_get(answer_in(example, 0), "phrases"), 0);
    assert_string_equal(json_string_value(json_object_get(phrase, "text")), "the ring");
    assert_true(json_is_null(json_object_get(phrase, "point")));
    assert_true(json_is_null(json_object_get(phrase, "mask")));
    assert_true(json_is_null(json_object_get(phrase, "iou")));
    assert_true(json_is_false(json_object_get(phrase, "hit")));
    assert_true(json_is_object(json_object_get(phrase, "truth")));
    assert_true(json_is_null(answer_in(example, 1)));
    json_decref(example);
    made_example_free(&made);
}

static void an_answer_of_no_token_is_shown(void **state) {
    (void)state;
    MadeExample made;
    made_example(&(MadeOptions){.width = 32, .height = 32, .grid = {4, 4}, .layers = 2}, &made);
    json_t *example = example_of(&made);
    assert_int_equal(json_array_size(json_object_get(answer_in(example, 0), "words")), 0);
    json_decref(example);
    made_example_free(&made);
}

// ---- size

/// Bytes in the page of an example with `sides` answers.
static size_t bytes_of(const MadeExample *made, int sides) {
    Error error = {0};
    size_t bytes[2];
    for (int count = 0; count < 2; count++) {
        Explorer *explorer = explorer_new(&(ExplorerAbout){.title = "", .sides = {"a", "b"}});
        ExplorerExample example = {.id = "an example", .picture = &made->picture};
        for (int s = 0; s < sides; s++) example.answers[s] = made_answer(made);
        if (count) assert_true(explorer_add_example(explorer, &example, &error));
        char *page = explorer_page(explorer);
        bytes[count] = strlen(page);
        assert_true(bytes[0] < 50000); // the page without examples
        free(page);
        explorer_free(explorer);
    }
    return bytes[1] - bytes[0];
}

static void a_hundred_examples_of_real_size_stay_below_six_megabytes(void **state) {
    (void)state;
    // by number of layers and of phrases; each phrase has some 8 tokens
    static const int CASES[][3] = {{1, 12, 1}, {32, 12, 1}, {1, 40, 1}, {4, 20, 2}};
    for (size_t i = 0; i < sizeof CASES / sizeof *CASES; i++) {
        MadeExample made;
        made_example(&(MadeOptions){.width = 640,
                                    .height = 480,
                                    .grid = {24, 24},
                                    .layers = CASES[i][0],
                                    .num_phrases = CASES[i][1],
                                    .seed = (uint32_t)i},
                     &made);
        size_t bytes = bytes_of(&made, CASES[i][2]);
        if (bytes > EXPLORER_EXAMPLE_BYTES)
            fail_msg("%d layers, %d phrases, %d tokens, %d answers: %zu bytes", CASES[i][0],
                     CASES[i][1], made.answer.num_tokens, CASES[i][2], bytes);
        made_example_free(&made);
    }
    assert_true(100 * EXPLORER_EXAMPLE_BYTES + 50000 <= 6000000);
}

static void what_is_left_out_to_save_room_is_never_a_phrases_map(void **state) {
    (void)state;
    MadeExample made;
    made_example(&(MadeOptions){.width = 320,
                                .height = 320,
                                .grid = {24, 24},
                                .layers = 32,
                                .num_phrases = 12,
                                .seed = 5},
                 &made);
    json_t *example = example_of(&made);
    assert_true(expect_points(&made, example) >= 9);
    const json_t *layers = strip_in(example, "layers");
    if (layers) // coarser, but there
        assert_true(json_array_size(json_object_get(layers, "ranges")) >= 2 * 32 * 13);
    json_decref(example);
    made_example_free(&made);
}

static void what_cannot_be_written_is_an_error_that_names_the_file(void **state) {
    (void)state;
    Error error = {0};
    Explorer *explorer = explorer_new(&(ExplorerAbout){.title = "empty", .sides = {"a"}});
    assert_true(explorer_save(explorer, in_folder("page.html"), &error));
    assert_false(explorer_save(explorer, in_folder("absent/page.html"), &error));
    assert_non_null(strstr(error.message, "absent/page.html"));
    assert_int_equal(files_in_folder(), 1);
    explorer_free(explorer);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_pages_map_of_a_phrase_is_highest_at_its_point),
        cmocka_unit_test(maps_of_tokens_and_layers_are_what_the_answer_has),
        cmocka_unit_test(words_put_together_are_the_answer),
        cmocka_unit_test(utterances_of_a_given_text_are_kept_apart),
        cmocka_unit_test(hostile_text_stays_text),
        cmocka_unit_test(a_phrase_that_points_nowhere_has_no_point),
        cmocka_unit_test(an_answer_of_no_token_is_shown),
        cmocka_unit_test(a_hundred_examples_of_real_size_stay_below_six_megabytes),
        cmocka_unit_test(what_is_left_out_to_save_room_is_never_a_phrases_map),
        IN_FOLDER(what_cannot_be_written_is_an_error_that_names_the_file),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
