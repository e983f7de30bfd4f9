// rooms: data autograd
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "autograd/fnv.h"
#include "data/loader/sampler.h"

static Sampler *make(SamplerOptions options) {
    Error error = {0};
    Sampler *sampler = sampler_create(&options, &error);
    if (!sampler) fail_msg("%s", error.message);
    return sampler;
}

/// The sample in a slot of a step's batch, whose chunks have `micro_batch` slots each; -1: empty.
static int64_t sample_at(Sampler *sampler, int64_t micro_batch, int64_t step, int64_t slot) {
    int64_t count;
    const int64_t *samples = sampler_chunk(sampler, step, slot / micro_batch, &count);
    return slot % micro_batch < count ? samples[slot % micro_batch] : -1;
}

/// Counts every sample of an epoch into `seen` (zeroed before); returns how many slots were empty.
static int count_epoch(Sampler *sampler, int64_t epoch, const SamplerOptions *options, int *seen) {
    int empty = 0;
    memset(seen, 0, (size_t)options->sample_count * sizeof *seen);
    int64_t first = epoch * sampler_steps_per_epoch(sampler);
    for (int64_t step = first; step < first + sampler_steps_per_epoch(sampler); step++) {
        for (int64_t slot = 0; slot < options->chunks * options->micro_batch; slot++) {
            int64_t sample = sample_at(sampler, options->micro_batch, step, slot);
            assert_in_range(sample + 1, 0, options->sample_count);
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
    const SamplerOptions options = {
        .sample_count = 103, .chunks = 4, .micro_batch = 2, .seed = 5, .shuffle = true};
    Sampler *sampler = make(options);
    assert_int_equal(sampler_steps_per_epoch(sampler), 13);
    for (int64_t epoch = 0; epoch < 3; epoch++) {
        assert_int_equal(count_epoch(sampler, epoch, &options, seen), 1);
        for (int i = 0; i < 103; i++) assert_int_equal(seen[i], 1);
    }
    sampler_free(sampler);
}

static void the_order_is_a_function_of_position_and_seed(void **state) {
    (void)state;
    SamplerOptions options = {
        .sample_count = 100, .chunks = 2, .micro_batch = 4, .seed = 5, .shuffle = true};
    Sampler *forward = make(options), *backward = make(options);
    options.seed = 6;
    Sampler *other = make(options);
    int64_t order[40][8];
    int other_seed = 0, next_epoch = 0;
    for (int step = 0; step < 40; step++)
        for (int slot = 0; slot < 8; slot++) order[step][slot] = sample_at(forward, 4, step, slot);
    for (int step = 39; step >= 0; step--) {
        for (int slot = 7; slot >= 0; slot--) {
            assert_int_equal(sample_at(backward, 4, step, slot), order[step][slot]);
            other_seed += sample_at(other, 4, step, slot) == order[step][slot];
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
                                  .chunks = 1,
                                  .micro_batch = 8,
                                  .shuffle = true,
                                  .modality_lengths = grouped ? lengths : NULL};
        Sampler *one = make(options);
        options.micro_batch = 2;
        options.chunks = 4;
        Sampler *four = make(options);
        for (int64_t step = 0; step < 2 * sampler_steps_per_epoch(one); step++) {
            int balance[51] = {0};
            for (int slot = 0; slot < 8; slot++) {
                balance[sample_at(one, 8, step, slot) + 1]++;
                balance[sample_at(four, 2, step, slot) + 1]--;
            }
            for (int i = 0; i < 51; i++) assert_int_equal(balance[i], 0);
        }
        sampler_free(one);
        sampler_free(four);
    }
}

static void the_last_batch_is_spread_over_the_chunks(void **state) {
    (void)state;
    Sampler *sampler =
        make((SamplerOptions){.sample_count = 13, .chunks = 4, .micro_batch = 2, .shuffle = false});
    assert_int_equal(sampler_steps_per_epoch(sampler), 2);
    const int64_t last[8] = {8, 12, 9, -1, 10, -1, 11, -1};
    for (int slot = 0; slot < 8; slot++) {
        assert_int_equal(sample_at(sampler, 2, 0, slot), slot);
        assert_int_equal(sample_at(sampler, 2, 1, slot), last[slot]);
    }
    sampler_free(sampler);
    sampler = make(
        (SamplerOptions){.sample_count = 13, .chunks = 4, .micro_batch = 2, .drop_last = true});
    assert_int_equal(sampler_steps_per_epoch(sampler), 1);
    sampler_free(sampler);
}

static void grouped_batches_have_one_modality_and_even_chunks(void **state) {
    (void)state;
    enum { COUNT = 1000, BATCH = 32, CHUNK = 4 };
    int32_t lengths[COUNT];
    int seen[COUNT];
    for (int i = 0; i < COUNT; i++) lengths[i] = (i % 5 < 3 ? 1 : -1) * (10 + i * 37 % 101);
    const SamplerOptions options = {.sample_count = COUNT,
                                    .chunks = BATCH / CHUNK,
                                    .micro_batch = CHUNK,
                                    .seed = 1,
                                    .shuffle = true,
                                    .modality_lengths = lengths};
    Sampler *sampler = make(options);
    assert_int_equal(sampler_steps_per_epoch(sampler), 19 + 13); // 600 with images, 400 without
    count_epoch(sampler, 1, &options, seen);
    for (int i = 0; i < COUNT; i++) assert_int_equal(seen[i], 1);
    int changes = 0;
    bool last_kind = false;
    for (int64_t step = 0; step < 30; step++) { // the full batches
        int64_t shortest = INT64_MAX, longest = 0;
        bool kind = lengths[sample_at(sampler, CHUNK, step, 0)] > 0;
        for (int chunk = 0; chunk < BATCH / CHUNK; chunk++) {
            int64_t total = 0;
            for (int i = 0; i < CHUNK; i++) {
                int32_t length = lengths[sample_at(sampler, CHUNK, step, chunk * CHUNK + i)];
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

/// Of three epochs.
static uint64_t order_checksum(SamplerOptions options) {
    Sampler *sampler = make(options);
    uint64_t hash = 0;
    for (int64_t step = 0; step < 3 * sampler_steps_per_epoch(sampler); step++) {
        for (int64_t slot = 0; slot < options.chunks * options.micro_batch; slot++) {
            uint64_t words[] = {hash,
                                (uint64_t)sample_at(sampler, options.micro_batch, step, slot)};
            hash = fnv1a_words(words, sizeof words);
        }
    }
    sampler_free(sampler);
    return hash;
}

static void orders_without_weights_are_what_they_were_before_there_were_weights(void **state) {
    (void)state;
    int32_t lengths[1003];
    for (int i = 0; i < 1003; i++) lengths[i] = (i % 5 < 3 ? 1 : -1) * (10 + i * 37 % 101);
    const SamplerPart parts[] = {{3, 1}, {1000, 1}};
    SamplerOptions options = {
        .sample_count = 1003, .chunks = 8, .micro_batch = 4, .seed = 77, .shuffle = true};
    for (int divided = 0; divided < 2; divided++) {
        options.modality_lengths = NULL;
        assert_true(order_checksum(options) == 0x8eee30e2c922c575ull);
        options.modality_lengths = lengths;
        assert_true(order_checksum(options) == 0x1e40597c8081fa6eull);
        options.parts = parts;
        options.part_count = 2;
    }
}

/// Counts what `epochs` epochs from the first on have of each sample.
static void count_epochs(const SamplerOptions *options, int64_t epochs, int64_t per_epoch,
                         int *total) {
    Sampler *sampler = make(*options);
    int seen[128];
    memset(total, 0, (size_t)options->sample_count * sizeof *total);
    for (int64_t epoch = 0; epoch < epochs; epoch++) {
        int64_t sum = 0;
        count_epoch(sampler, epoch, options, seen);
        for (int i = 0; i < options->sample_count; i++) {
            total[i] += seen[i];
            sum += seen[i];
        }
        assert_int_equal(sum, per_epoch);
    }
    sampler_free(sampler);
}

static void a_weight_says_how_often_an_epoch_has_each_sample(void **state) {
    (void)state;
    // 20 of 20, 10 of 20, 25 of 10, 35 of 50
    const SamplerPart parts[] = {{20, 1}, {20, 0.5}, {10, 2.5}, {50, 0.7}};
    const SamplerOptions options = {.sample_count = 100,
                                    .parts = parts,
                                    .part_count = 4,
                                    .chunks = 4,
                                    .micro_batch = 2,
                                    .seed = 3,
                                    .shuffle = true};
    int total[100], first[100];
    count_epochs(&options, 1, 90, first);
    for (int i = 0; i < 20; i++) assert_int_equal(first[i], 1);
    for (int i = 20; i < 40; i++) assert_in_range(first[i], 0, 1);
    for (int i = 40; i < 50; i++) assert_in_range(first[i], 2, 3);
    for (int i = 50; i < 100; i++) assert_in_range(first[i], 0, 1);
    count_epochs(&options, 2, 90, total);
    for (int i = 20; i < 40; i++) assert_int_equal(total[i], 1); // the other half
    for (int i = 40; i < 50; i++) assert_int_equal(total[i], 5);
    for (int i = 50; i < 100; i++) assert_in_range(total[i], 1, 2);
    count_epochs(&options, 10, 90, total);
    for (int i = 20; i < 40; i++) assert_int_equal(total[i], 5);
    for (int i = 50; i < 100; i++) assert_int_equal(total[i], 7);
}

static void kinds_keep_their_weights_where_batches_are_of_one_kind(void **state) {
    (void)state;
    int32_t lengths[60];
    int total[60];
    for (int i = 0; i < 60; i++) lengths[i] = (i % 3 ? 1 : -1) * (1 + i * 7 % 40);
    const SamplerPart parts[] = {{30, 0.5}, {30, 2}}; // 20 with an image and 10 without in each
    const SamplerOptions options = {.sample_count = 60,
                                    .parts = parts,
                                    .part_count = 2,
                                    .chunks = 2,
                                    .micro_batch = 4,
                                    .shuffle = true,
                                    .modality_lengths = lengths};
    count_epochs(&options, 2, 15 + 60, total);
    for (int i = 0; i < 60; i++) assert_int_equal(total[i], i < 30 ? 1 : 4);
}

static void which_samples_a_weight_takes_is_a_function_of_the_seed_and_the_epoch(void **state) {
    (void)state;
    const SamplerPart parts[] = {{40, 0.5}, {60, 0.25}};
    SamplerOptions options = {.sample_count = 100,
                              .parts = parts,
                              .part_count = 2,
                              .chunks = 1,
                              .micro_batch = 5,
                              .seed = 1,
                              .shuffle = true};
    Sampler *forward = make(options), *backward = make(options);
    int64_t order[28][5];
    for (int step = 0; step < 28; step++)
        for (int slot = 0; slot < 5; slot++) order[step][slot] = sample_at(forward, 5, step, slot);
    for (int step = 27; step >= 0; step--)
        for (int slot = 0; slot < 5; slot++)
            assert_int_equal(sample_at(backward, 5, step, slot), order[step][slot]);
    sampler_free(forward);
    sampler_free(backward);
    const uint64_t checksum = order_checksum(options);
    options.seed = 2;
    assert_true(order_checksum(options) != checksum);
}

static void options_that_do_not_fit_together_are_errors(void **state) {
    (void)state;
    Error error = {0};
    assert_null(sampler_create(&(SamplerOptions){.sample_count = 0, .chunks = 2, .micro_batch = 1},
                               &error));
    assert_null(sampler_create(&(SamplerOptions){.sample_count = 9, .chunks = 3, .micro_batch = 0},
                               &error));
    assert_non_null(strstr(error.message, "9 samples, 3 chunks of 0 samples"));
    assert_null(sampler_create(
        &(SamplerOptions){.sample_count = 9, .chunks = 2, .micro_batch = 5, .drop_last = true},
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
        cmocka_unit_test(orders_without_weights_are_what_they_were_before_there_were_weights),
        cmocka_unit_test(a_weight_says_how_often_an_epoch_has_each_sample),
        cmocka_unit_test(kinds_keep_their_weights_where_batches_are_of_one_kind),
        cmocka_unit_test(which_samples_a_weight_takes_is_a_function_of_the_seed_and_the_epoch),
        cmocka_unit_test(options_that_do_not_fit_together_are_errors),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
