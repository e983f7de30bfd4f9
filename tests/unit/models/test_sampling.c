// rooms: models ops checkpoints autograd
/// The next token: drawn as often as it is probable, from the nucleus that
/// tests/parity/record_sampling.py records of transformers.
#include "models/language/sampling.h"

#include <jansson.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { TOKENS = 6, DRAWS = 60000 };

static const double SHARES[TOKENS] = {0.1, 0.4, 0.05, 0.25, 0.15, 0.05};
/// Of the chi-squared distribution, what one in a thousand exceeds, by degrees of freedom.
static const double RARE[] = {0, 10.83, 13.82, 16.27, 18.47, 20.52};

static void fill_logits(float logits[TOKENS], double temperature) {
    for (int i = 0; i < TOKENS; i++) logits[i] = (float)(3.0 + temperature * log(SHARES[i]));
}

/// Draws at many positions, or for many sequences, and compares with the shares of the first `kept`
/// tokens of `order`.
static void check_draws(const Sampling *sampling, bool by_index, const int *order, int kept) {
    float logits[TOKENS];
    int counts[TOKENS] = {0};
    double sum = 0.0, distance = 0.0;
    fill_logits(logits, sampling->temperature);
    for (int i = 0; i < DRAWS; i++)
        counts[sample_token(logits, TOKENS, sampling, by_index ? (uint64_t)i : 7,
                            by_index ? 2 : i)]++;
    for (int k = 0; k < kept; k++) sum += SHARES[order[k]];
    for (int k = 0; k < kept; k++) {
        double expected = DRAWS * SHARES[order[k]] / sum, off = counts[order[k]] - expected;
        distance += off * off / expected;
        counts[order[k]] = 0;
    }
    for (int i = 0; i < TOKENS; i++) assert_int_equal(counts[i], 0);
    if (distance > RARE[kept - 1]) fail_msg("chi-squared %g of %d tokens", distance, kept);
}

static void tokens_are_drawn_as_often_as_they_are_probable(void **state) {
    (void)state;
    const int order[TOKENS] = {1, 3, 4, 0, 2, 5};
    for (int by_index = 0; by_index < 2; by_index++) {
        check_draws(&(Sampling){1.0, 1.0, 4}, by_index, order, 6);
        check_draws(&(Sampling){0.5, 1.0, 4}, by_index, order, 6);
        check_draws(&(Sampling){2.0, 0.7, 5}, by_index, order, 3);
        check_draws(&(Sampling){1.0, 0.64, 6}, by_index, order, 2);
    }
}

static void top_p_keeps_the_fewest_tokens_and_at_least_one(void **state) {
    (void)state;
    // powers of two: every sum is exact; softmax of these is 1/2, 1/4, 1/8, 1/16, 1/16
    const float logits[] = {-3 * (float)M_LN2, -(float)M_LN2, -4 * (float)M_LN2, -2 * (float)M_LN2,
                            -4 * (float)M_LN2};
    const int order[] = {1, 3, 0, 2, 4};
    const struct {
        double top_p;
        int kept;
    } cases[] = {{1e-300, 1}, {0.49, 1}, {0.51, 2}, {0.74, 2}, {0.76, 3},
                 {0.88, 4},   {0.93, 4}, {0.94, 5}, {1.0, 5}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        SamplingCandidate candidates[5];
        Sampling sampling = {1.0, cases[i].top_p, 0};
        int kept = sampling_nucleus(logits, 5, &sampling, candidates);
        if (kept != cases[i].kept) fail_msg("top_p %g keeps %d", cases[i].top_p, kept);
        // of the two that are equally probable the first comes first
        for (int k = 0; k < kept; k++) assert_int_equal(candidates[k].token, order[k]);
    }
}

static void without_temperature_and_near_it_the_most_probable_token_follows(void **state) {
    (void)state;
    const float logits[] = {1.0f, 2.5f, 2.5f, -40.0f, 2.4999f};
    for (int i = 0; i < 1000; i++) {
        assert_int_equal(sample_token(logits, 5, &(Sampling){0}, 3, i), 1);
        int drawn = sample_token(logits, 5, &(Sampling){1e-7, 1.0, 9}, 3, i);
        assert_true(drawn == 1 || drawn == 2);
        assert_int_equal(sample_token(logits, 5, &(Sampling){1e-7, 0.5, 9}, 3, i), 1);
        assert_int_equal(sample_token(logits, 5, &(Sampling){1e-300, 0.5, 9}, 3, i), 1);
    }
}

static void a_draw_is_a_function_of_seed_index_and_position(void **state) {
    (void)state;
    float logits[TOKENS];
    int others[3] = {0};
    fill_logits(logits, 1.0);
    for (int i = 0; i < 200; i++) {
        Sampling sampling = {1.0, 1.0, 11};
        int drawn = sample_token(logits, TOKENS, &sampling, 5, i);
        assert_int_equal(sample_token(logits, TOKENS, &sampling, 5, i), drawn);
        others[0] += sample_token(logits, TOKENS, &sampling, 5, i + 1) != drawn;
        others[1] += sample_token(logits, TOKENS, &sampling, 6, i) != drawn;
        sampling.seed = 12;
        others[2] += sample_token(logits, TOKENS, &sampling, 5, i) != drawn;
    }
    for (int k = 0; k < 3; k++) assert_true(others[k] > 100);
}

static void a_nucleus_is_that_of_transformers(void **state) {
    (void)state;
    json_t *recorded = json_load_file(SOURCE_DIR "/tests/parity/data/sampling.json", 0, NULL), *one;
    size_t number;
    assert_true(json_array_size(recorded) >= 40);
    json_array_foreach(recorded, number, one) {
        const json_t *values = json_object_get(one, "logits"),
                     *tokens = json_object_get(one, "tokens"),
                     *probabilities = json_object_get(one, "probabilities");
        int count = (int)json_array_size(values), kept;
        float *logits = checked_malloc((size_t)count * sizeof *logits);
        SamplingCandidate *candidates = checked_malloc((size_t)count * sizeof *candidates);
        for (int i = 0; i < count; i++)
            logits[i] = (float)json_number_value(json_array_get(values, (size_t)i));
        Sampling sampling = {json_number_value(json_object_get(one, "temperature")),
                             json_number_value(json_object_get(one, "top_p")), 0};
        kept = sampling_nucleus(logits, count, &sampling, candidates);
        if (kept != (int)json_array_size(tokens))
            fail_msg("case %zu: %d tokens, recorded are %zu", number, kept,
                     json_array_size(tokens));
        double sum = 0.0;
        for (int k = 0; k < kept; k++) sum += candidates[k].probability;
        for (int k = 0; k < kept; k++) {
            double expected = json_number_value(json_array_get(probabilities, (size_t)k));
            assert_int_equal(candidates[k].token,
                             json_integer_value(json_array_get(tokens, (size_t)k)));
            assert_true(fabs(candidates[k].probability / sum - expected) <= 2e-6 * expected);
        }
        free(logits);
        free(candidates);
    }
    json_decref(recorded);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(tokens_are_drawn_as_often_as_they_are_probable),
        cmocka_unit_test(top_p_keeps_the_fewest_tokens_and_at_least_one),
        cmocka_unit_test(without_temperature_and_near_it_the_most_probable_token_follows),
        cmocka_unit_test(a_draw_is_a_function_of_seed_index_and_position),
        cmocka_unit_test(a_nucleus_is_that_of_transformers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
