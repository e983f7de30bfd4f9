// rooms: eval data autograd
// Tokens of captions against those of Stanford's own program.
#include "eval/metrics/text/ptb_tokenizer.h"
#include "tests/unit/eval/coco_captions.h"

#include <time.h>

static const char *tokens_of(const char *text, const char *following, PtbPunctuation punctuation) {
    static ByteBuffer tokens;
    static PtbTokenizer *tokenizer;
    if (!text) { // at the end
        ptb_tokenizer_free(tokenizer);
        byte_buffer_free(&tokens);
        return NULL;
    }
    if (!tokenizer) tokenizer = ptb_tokenizer_new();
    byte_buffer_clear(&tokens);
    byte_buffer_put_text(&tokens, "");
    ptb_tokenize(tokenizer, text, strlen(text), following, punctuation, &tokens);
    return tokens.data;
}

static int free_tokenizer(void **state) {
    (void)state;
    tokens_of(NULL, NULL, PTB_KEEP_PUNCTUATION);
    return 0;
}

static void hard_lines_give_the_tokens_of_the_original(void **state) {
    (void)state;
    json_t *recorded = recorded_json("tokens.json");
    json_t *lines = json_object_get(recorded, "lines"),
           *tokens = json_object_get(recorded, "tokens");
    const size_t count = json_array_size(lines);
    assert_true(count > 1000 && json_array_size(tokens) == count);
    for (size_t i = 0; i < count; i++) {
        const char *line = json_string_value(json_array_get(lines, i)),
                   *following = json_string_value(json_array_get(lines, i + 1)),
                   *expected = json_string_value(json_array_get(tokens, i)),
                   *found = tokens_of(line, following, PTB_KEEP_PUNCTUATION);
        if (strcmp(found, expected) != 0)
            fail_msg("line %zu, '%s': '%s' and not '%s'", i, line, found, expected);
    }
    json_decref(recorded);
}

/// Processor seconds of the tokens of a line of so many bytes.
static double seconds_of(const char *start, const char *piece, size_t bytes) {
    const size_t length = strlen(piece);
    char *line = malloc(bytes + strlen(start) + length + 1), *end = stpcpy(line, start);
    while ((size_t)(end - line) < bytes) end = stpcpy(end, piece);
    const clock_t before = clock();
    tokens_of(line, "The end", PTB_KEEP_PUNCTUATION);
    free(line);
    return (double)(clock() - before) / CLOCKS_PER_SEC;
}

/// Lines in which some rule looks for its end in vain.
static void a_line_takes_a_time_that_grows_with_its_length(void **state) {
    (void)state;
    static const char *const hard[][2] = {
        {"", "a."},    {"", "'"},      {"", "7"},     {"", "7,"},        {"", "-"},
        {"", "<"},     {"", "<a "},    {"", "<a b="}, {"", "<a b='x' "}, {"", "."},
        {"", ". "},    {"", "a-"},     {"", "A"},     {"", "A+"},        {"", "@"},
        {"", "a@"},    {"", "http:/"}, {"", "www."},  {"", "www.a."},    {"", "a/"},
        {"", "&lt;"},  {"", "+"},      {"", "$A"},    {"", "o'"},        {"A.", " "},
        {"Inc.", " "}, {"", "A. "},    {"", "Inc. "}, {"", "Inc. <a "},  {"", "(12) "},
        {"", "12-"},   {"", "?"},      {"", "x.a.b"}, {"", "\xc2\xad"},  {"", "<!a"},
    };
    for (size_t i = 0; i < sizeof hard / sizeof *hard; i++) {
        const double small = seconds_of(hard[i][0], hard[i][1], 30000),
                     large = seconds_of(hard[i][0], hard[i][1], 240000);
        if (large > 24 * small + 0.1)
            fail_msg("'%s%s': %.3f s, and %.3f s of eight times as much", hard[i][0], hard[i][1],
                     small, large);
    }
}

static void punctuation_is_dropped_as_caption_evaluation_drops_it(void **state) {
    (void)state;
    assert_string_equal(
        tokens_of("\"A man, a plan: (a canal) -- 'Panama'?!\" ...", "", PTB_DROP_PUNCTUATION),
        "a man a plan -lrb- a canal -rrb- panama ?!");
    assert_string_equal(tokens_of(" . , ; ", "", PTB_DROP_PUNCTUATION), "");
    assert_string_equal(tokens_of("", "", PTB_DROP_PUNCTUATION), "");
}

static void what_follows_decides_about_a_last_period(void **state) {
    (void)state;
    assert_string_equal(tokens_of("see no.", "3 men", PTB_DROP_PUNCTUATION), "see no.");
    assert_string_equal(tokens_of("see no.", "the men", PTB_DROP_PUNCTUATION), "see no");
    assert_string_equal(tokens_of("a letter U.", "The men", PTB_DROP_PUNCTUATION), "a letter u");
    assert_string_equal(tokens_of("a letter U.", "the men", PTB_DROP_PUNCTUATION), "a letter u.");
    assert_string_equal(tokens_of("in the '90", "", PTB_DROP_PUNCTUATION), "in the '90");
    assert_string_equal(tokens_of("in the '90", NULL, PTB_DROP_PUNCTUATION), "in the 90");
}

static void a_text_is_one_line(void **state) {
    (void)state;
    assert_string_equal(
        tokens_of("a man\nwith a\r\ndog\xe2\x80\xa8here\n", "", PTB_DROP_PUNCTUATION),
        "a man with a dog here");
    // a tag that what follows would close ends with the text
    assert_string_equal(tokens_of("<a b='", "'> c", PTB_KEEP_PUNCTUATION), "<a\xc2\xa0"
                                                                           "b='");
}

static void what_is_no_character_is_left_out(void **state) {
    (void)state;
    assert_string_equal(
        tokens_of("a\xff b\xc3 c\xed\xa0\x80 \xf0\x9f\x98\x80 d", "", PTB_KEEP_PUNCTUATION),
        "a b c d");
    ByteBuffer tokens = {0};
    PtbTokenizer *tokenizer = ptb_tokenizer_new();
    ptb_tokenize(tokenizer, "a\0b", 3, "", PTB_KEEP_PUNCTUATION, &tokens);
    assert_string_equal(tokens.data, "a b");
    ptb_tokenizer_free(tokenizer);
    byte_buffer_free(&tokens);
}

// ---- real captions

static void hash_line(uint64_t *hash, const char *text) {
    for (; *text; text++) *hash = (*hash ^ (unsigned char)*text) * 0x100000001b3ull;
    *hash = (*hash ^ '\n') * 0x100000001b3ull;
}

/// Of the captions in the order in which the original was given them.
typedef struct Progress {
    const char *last;
    int64_t lines;
    uint64_t hash;
} Progress;

static void take(Progress *progress, const char *caption) {
    if (progress->last) {
        hash_line(&progress->hash, tokens_of(progress->last, caption, PTB_KEEP_PUNCTUATION));
        progress->lines++;
    }
    progress->last = caption;
}

static void captions_of_coco_give_the_tokens_of_the_original(void **state) {
    (void)state;
    CocoCaptions captions = coco_captions_open();
    json_t *recorded = recorded_json("tokens.json"), *coco = json_object_get(recorded, "coco");
    Progress progress = {NULL, 0, 0xcbf29ce484222325ull};
    const char *image;
    json_t *value, *caption;
    size_t i, j;
    json_object_foreach(captions.candidates, image, value)
        take(&progress, json_string_value(value));
    json_object_foreach(captions.references, image, value) {
        json_array_foreach(json_array_get(value, 0), j, caption)
            take(&progress, json_string_value(caption));
    }
    json_array_foreach(captions.fake, i, value)
        take(&progress, json_string_value(json_object_get(value, "caption")));
    take(&progress, NULL);
    assert_int_equal(progress.lines, json_integer_value(json_object_get(coco, "lines")));
    char hash[32];
    snprintf(hash, sizeof hash, "%016llx", (unsigned long long)progress.hash);
    assert_string_equal(hash, json_string_value(json_object_get(coco, "hash")));
    json_decref(recorded);
    coco_captions_close(&captions);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(hard_lines_give_the_tokens_of_the_original),
        cmocka_unit_test(a_line_takes_a_time_that_grows_with_its_length),
        cmocka_unit_test(punctuation_is_dropped_as_caption_evaluation_drops_it),
        cmocka_unit_test(what_follows_decides_about_a_last_period),
        cmocka_unit_test(a_text_is_one_line),
        cmocka_unit_test(what_is_no_character_is_left_out),
        cmocka_unit_test(captions_of_coco_give_the_tokens_of_the_original),
    };
    return cmocka_run_group_tests(tests, NULL, free_tokenizer);
}
