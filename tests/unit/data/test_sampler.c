// rooms: data autograd
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "data/sampler.h"

static Sampler *make(SamplerOptions options) {
    Error error = {0};
    Sampler *sampler = sampler_create(&options, &error);
    if (!sampler) fail_msg("%s", error.message);
    return sampler;
}

/// Counts every sample of an epoch into `seen` (zeroed before); returns how many slots were empty.
static int count_epoch(Sampler *sampler, int64_t epoch, int64_t global_batch, int64_t count,
                       int *seen) {
    int empty = 0;
    memset(seen, 0, (size_t)count * sizeof *seen);
    int64_t first = epoch * sampler_steps_per_epoch(sampler);
    for (int64_t step = first; step < first + sampler_steps_per_epoch(sampler); step++) {
        for (int64_t slot = 0; slot < global_batch; slot++) {
            int64_t sample = sampler_sample(sampler, step, slot);
            assert_in_range(sample + 1, 0, count);
            if (sample < 0)
                empty++;
            else
                seen[sample]++;
        }
    }
    return empty;
}

static void an_epoch_has_every_sample_once(void **state) {
    (void)state;
    int seen[103];
    Sampler *sampler = make((SamplerOptions){
        .sample_count = 103, .global_batch = 8, .micro_batch = 2, .seed = 5, .shuffle = true});
    assert_int_equal(sampler_steps_per_epoch(sampler), 13);
    for (int64_t epoch = 0; epoch < 3; epoch++) {
        assert_int_equal(count_epoch(sampler, epoch, 8, 103, seen), 1);
        for (int i = 0; i < 103; i++) assert_int_equal(seen[i], 1);
    }
    sampler_free(sampler);
}

static void the_order_is_a_function_of_position_and_seed(void **state) {
    (void)state;
    SamplerOptions options = {
        .sample_count = 100, .global_batch = 8, .micro_batch = 4, .seed = 5, .shuffle = true};
    Sampler *forward = make(options), *backward = make(options);
    options.seed = 6;
    Sampler *other = make(options);
    int64_t order[40][8];
    int other_seed = 0, next_epoch = 0;
    for (int step = 0; step < 40; step++)
        for (int slot = 0; slot < 8; slot++)
            order[step][slot] = sampler_sample(forward, step, slot);
    for (int step = 39; step >= 0; step--) {
        for (int slot = 7; slot >= 0; slot--) {
            assert_int_equal(sampler_sample(backward, step, slot), order[step][slot]);
            other_seed += sampler_sample(other, step, slot) == order[step][slot];
            next_epoch += step < 13 && order[step + 13][slot] == order[step][slot];
        }
    }
    // 320 and 104 places with a chance of 1/100 each to agree.
    assert_true(other_seed < 20 && next_epoch < 20);
    sampler_free(forward);
    sampler_free(backward);
    sampler_free(other);
}

static void a_steps_samples_do_not_depend_on_the_chunks(void **state) {
    (void)state;
    int32_t lengths[50];
    for (int i = 0; i < 50; i++) lengths[i] = (i % 3 ? 1 : -1) * (1 + i * 7 % 40);
    for (int grouped = 0; grouped < 2; grouped++) {
        SamplerOptions options = {.sample_count = 50,
                                  .global_batch = 8,
                                  .micro_batch = 8,
                                  .shuffle = true,
                                  .modality_lengths = grouped ? lengths : NULL};
        Sampler *one = make(options);
        options.micro_batch = 2;
        Sampler *four = make(options);
        for (int64_t step = 0; step < 2 * sampler_steps_per_epoch(one); step++) {
            int balance[51] = {0};
            for (int slot = 0; slot < 8; slot++) {
                balance[sampler_sample(one, step, slot) + 1]++;
                balance[sampler_sample(four, step, slot) + 1]--;
            }
            for (int i = 0; i < 51; i++) assert_int_equal(balance[i], 0);
        }
        sampler_free(one);
        sampler_free(four);
    }
}

static void the_last_batch_is_spread_over_the_chunks(void **state) {
    (void)state;
    Sampler *sampler = make((SamplerOptions){
        .sample_count = 13, .global_batch = 8, .micro_batch = 2, .shuffle = false});
    assert_int_equal(sampler_steps_per_epoch(sampler), 2);
    const int64_t last[8] = {8, 12, 9, -1, 10, -1, 11, -1};
    for (int slot = 0; slot < 8; slot++) {
        assert_int_equal(sampler_sample(sampler, 0, slot), slot);
        assert_int_equal(sampler_sample(sampler, 1, slot), last[slot]);
    }
    sampler_free(sampler);
    sampler = make((SamplerOptions){
        .sample_count = 13, .global_batch = 8, .micro_batch = 2, .drop_last = true});
    assert_int_equal(sampler_steps_per_epoch(sampler), 1);
    sampler_free(sampler);
}

static void grouped_batches_have_one_modality_and_even_chunks(void **state) {
    (void)state;
    enum { COUNT = 1000, BATCH = 32, CHUNK = 4 };
    int32_t lengths[COUNT];
    int seen[COUNT];
    for (int i = 0; i < COUNT; i++) lengths[i] = (i % 5 < 3 ? 1 : -1) * (10 + i * 37 % 101);
    Sampler *sampler = make((SamplerOptions){.sample_count = COUNT,
                                             .global_batch = BATCH,
                                             .micro_batch = CHUNK,
                                             .seed = 1,
                                             .shuffle = true,
                                             .modality_lengths = lengths});
    assert_int_equal(sampler_steps_per_epoch(sampler), 19 + 13); // 600 with images, 400 without
    count_epoch(sampler, 1, BATCH, COUNT, seen);
    for (int i = 0; i < COUNT; i++) assert_int_equal(seen[i], 1);
    int changes = 0;
    bool last_kind = false;
    for (int64_t step = 0; step < 30; step++) { // the full batches
        int64_t shortest = INT64_MAX, longest = 0;
        bool kind = lengths[sampler_sample(sampler, step, 0)] > 0;
        for (int chunk = 0; chunk < BATCH / CHUNK; chunk++) {
            int64_t total = 0;
            for (int i = 0; i < CHUNK; i++) {
                int32_t length = lengths[sampler_sample(sampler, step, chunk * CHUNK + i)];
                assert_true((length > 0) == kind);
                total += abs(length);
            }
            if (total < shortest) shortest = total;
            if (total > longest) longest = total;
        }
        assert_true(longest - shortest <= 60); // sums of four in 40 to 440, evened out
        changes += step > 0 && kind != last_kind;
        last_kind = kind;
    }
    assert_true(changes > 4); // the kinds are mixed over the epoch
    sampler_free(sampler);
}

static void options_that_do_not_fit_together_are_errors(void **state) {
    (void)state;
    Error error = {0};
    assert_null(sampler_create(
        &(SamplerOptions){.sample_count = 0, .global_batch = 2, .micro_batch = 1}, &error));
    assert_null(sampler_create(
        &(SamplerOptions){.sample_count = 9, .global_batch = 8, .micro_batch = 3}, &error));
    assert_non_null(strstr(error.message, "batches of 8 in chunks of 3"));
    assert_null(sampler_create(
        &(SamplerOptions){
            .sample_count = 9, .global_batch = 10, .micro_batch = 5, .drop_last = true},
        &error));
    assert_non_null(strstr(error.message, "do not fill one batch"));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_epoch_has_every_sample_once),
        cmocka_unit_test(the_order_is_a_function_of_position_and_seed),
        cmocka_unit_test(a_steps_samples_do_not_depend_on_the_chunks),
        cmocka_unit_test(the_last_batch_is_spread_over_the_chunks),
        cmocka_unit_test(grouped_batches_have_one_modality_and_even_chunks),
        cmocka_unit_test(options_that_do_not_fit_together_are_errors),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
