// rooms: eval data autograd
// From attention to words, points and masks.
#include "eval/attention/grounding.h"
#include "eval/segmenters/region_growing.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static const char *const NAMES[] = {"ring", "light", "traffic light", "box", "star"};
enum { NUM_NAMES = 5 };

static void assert_phrase(const char *text, const Phrase *phrase, const char *whole,
                          const char *noun, int category) {
    assert_int_equal(phrase->end - phrase->begin, strlen(whole));
    assert_memory_equal(text + phrase->begin, whole, strlen(whole));
    assert_int_equal(phrase->noun_end - phrase->noun_begin, strlen(noun));
    assert_memory_equal(text + phrase->noun_begin, noun, strlen(noun));
    assert_int_equal(phrase->category, category);
}

static void nouns_are_found_with_the_phrase_around_them(void **state) {
    (void)state;
    const char *text = "A small red Ring, two boxes and a traffic light; string, starlight. Stars";
    PhraseList list = phrases_find(text, NAMES, NUM_NAMES);
    assert_int_equal(list.count, 4);
    assert_phrase(text, &list.items[0], "A small red Ring", "Ring", 0);
    assert_phrase(text, &list.items[1], "two boxes", "boxes", 3);
    assert_phrase(text, &list.items[2], "a traffic light", "traffic light", 2);
    assert_phrase(text, &list.items[3], "Stars", "Stars", 4);
    phrases_free(&list);
    list = phrases_find("", NAMES, NUM_NAMES);
    assert_int_equal(list.count, 0);
    phrases_free(&list);
}

/// A grey image with grain, a red disc of radius 20 at (40, 60) whose brightness falls off, and a
/// blue bar.
static void paint(uint8_t *rgb, int height, int width) {
    for (int y = 0; y < height; y++)
        for (int x = 0; x < width; x++) {
            uint8_t *p = rgb + 3 * (y * width + x);
            int grain = (int)((unsigned)(y * width + x) * 2654435761u >> 28);
            int disc = (y - 40) * (y - 40) + (x - 60) * (x - 60) < 400;
            int bar = y > 80 && y < 90;
            p[0] = (uint8_t)(disc ? 200 + (y - 40) : bar ? 30 : 120 + grain);
            p[1] = (uint8_t)(disc ? 40 : bar ? 60 : 120 + grain);
            p[2] = (uint8_t)(disc ? 40 : bar ? 220 : 115 + grain);
        }
}

static void a_region_grows_to_the_object_and_no_further(void **state) {
    (void)state;
    enum { H = 100, W = 120 };
    static uint8_t rgb[H * W * 3], mask[H * W];
    paint(rgb, H, W);
    float *colours = region_colours(rgb, H, W);
    region_growing(colours, H, W, 35, 65, mask);
    int common = 0, all = 0;
    for (int i = 0; i < H * W; i++) {
        int y = i / W, x = i % W, truth = (y - 40) * (y - 40) + (x - 60) * (x - 60) < 400;
        common += truth & mask[i];
        all += truth | mask[i];
    }
    assert_true(common > 0.85 * all);
    region_growing(colours, H, W, 85, 0, mask);
    int inside = 0;
    for (int i = 0; i < H * W; i++) inside += mask[i];
    assert_true(inside > 0.7 * 9 * W && inside < 1.3 * 9 * W);
    region_growing(colours, 1, 1, 0, 0, mask);
    assert_int_equal(mask[0], 1);
    free(colours);
}

static void attention_points_at_the_cell_that_gains_most_against_the_mean(void **state) {
    (void)state;
    enum { GRID = 4, CELLS = 16, TOKENS = 3 };
    float maps[TOKENS * CELLS];
    for (int i = 0; i < TOKENS * CELLS; i++)
        maps[i] = i % CELLS == 0 ? 0.5f : 0.01f; // a sink that every token looks at
    maps[1 * CELLS + 2 * GRID + 3] = 0.1f;
    char text[] = "a ring.";
    int begin[TOKENS] = {0, 2, 6}, end[TOKENS] = {1, 6, 7};
    // a 40 x 80 image padded to a square of 80: cells of 20 pixels, the first cell begins at row
    // -20
    Answer answer = {.text = text,
                     .num_tokens = TOKENS,
                     .token_begin = begin,
                     .token_end = end,
                     .grid = {GRID, GRID},
                     .layers = 1,
                     .heads = 1,
                     .maps = maps,
                     .frame = {80, 80, -20, 0},
                     .image_height = 40,
                     .image_width = 80};
    PhraseList phrases = phrases_find(text, NAMES, NUM_NAMES);
    GroundingOptions how = {.reduction = REDUCE_MEAN, .normalise = true};
    Grounding grounding = ground_phrases(&answer, &phrases, &how);
    assert_int_equal(grounding.count, 1);
    assert_in_range(grounding.items[0].point.row, 20, 39);
    assert_in_range(grounding.items[0].point.column, 60, 79);
    grounding_free(&grounding);
    phrases_free(&phrases);
}

/// groundLMM's remove_corner: the smallest value of all groups of the answer, not of the map's own.
static void corner_cells_get_the_smallest_value_of_all_phrases_of_the_answer(void **state) {
    (void)state;
    enum { GRID = 3, CELLS = 9, TOKENS = 4 };
    float maps[TOKENS * CELLS];
    for (int i = 0; i < TOKENS * CELLS; i++) maps[i] = 0.25f + 0.01f * (float)(i % CELLS);
    maps[0 * CELLS + 4] = -0.125f; // belongs to no phrase
    maps[1 * CELLS + 0] = 0.9f;    // a sink in a corner
    maps[3 * CELLS + 4] = 0.0625f;
    char text[] = "a ring, a star";
    int begin[TOKENS] = {0, 2, 6, 10}, end[TOKENS] = {1, 6, 7, 14};
    Answer answer = {.text = text,
                     .num_tokens = TOKENS,
                     .token_begin = begin,
                     .token_end = end,
                     .grid = {GRID, GRID},
                     .layers = 1,
                     .heads = 1,
                     .maps = maps,
                     .frame = {GRID, GRID, 0, 0},
                     .image_height = GRID,
                     .image_width = GRID};
    GroundingOptions how = {.reduction = REDUCE_MEAN, .remove_corner = true};
    ReadAnswer read = answer_read(&answer, &how);
    const int ring = 1, star = 3;
    Pointing alone = point_of_tokens(&read, &ring, 1);
    assert_true(alone.map[0] == 0.26f && alone.map[8] == 0.26f);
    read_answer_note_group(&read, &ring, 1);
    read_answer_note_group(&read, &star, 1);
    Pointing pointing = point_of_tokens(&read, &ring, 1);
    for (int c = 0; c < CELLS; c++) {
        bool is_corner = c == 0 || c == 2 || c == 6 || c == 8;
        assert_true(pointing.map[c] == (is_corner ? 0.0625f : maps[CELLS + c]));
    }
    PhraseList phrases = phrases_find(text, NAMES, NUM_NAMES);
    Grounding grounding = ground_phrases(&answer, &phrases, &how);
    assert_int_equal(grounding.count, 2);
    assert_memory_equal(grounding.items[0].heat, pointing.heat, CELLS * sizeof(float));
    grounding_free(&grounding);
    phrases_free(&phrases);
    pointing_free(&alone);
    pointing_free(&pointing);
    read_answer_free(&read);
}

static void reductions_do_what_they_say(void **state) {
    (void)state;
    float maps[] = {1, 5, 2, 3, 9, 1}, out[2];
    int tokens[] = {0, 2};
    attention_group(maps, 2, tokens, 2, REDUCE_MEAN, out);
    assert_true(out[0] == 5 && out[1] == 3);
    attention_group(maps, 2, tokens, 2, REDUCE_MAX, out);
    assert_true(out[0] == 9 && out[1] == 5);
    attention_group(maps, 2, tokens, 2, REDUCE_FIRST, out);
    assert_true(out[0] == 1 && out[1] == 5);
    float ties[] = {0, 3, 3, 1};
    Point first = attention_argmax(ties, 2, 2);
    assert_true(first.row == 0 && first.column == 1);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nouns_are_found_with_the_phrase_around_them),
        cmocka_unit_test(a_region_grows_to_the_object_and_no_further),
        cmocka_unit_test(attention_points_at_the_cell_that_gains_most_against_the_mean),
        cmocka_unit_test(corner_cells_get_the_smallest_value_of_all_phrases_of_the_answer),
        cmocka_unit_test(reductions_do_what_they_say),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
