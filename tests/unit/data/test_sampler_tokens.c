// rooms: data autograd
// Samples packed into rows of a token budget: what every order must keep, whatever the lengths.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "data/loader/sampler.h"
#include "data/loader/token_rows.h"

enum { COUNT = 997, BUDGET = 256, CHUNKS = 6, LONG = 7, LONGER = 300 };

/// Most are short, some long, and sample LONG longer than the budget.
static const int32_t *skewed_lengths(void) {
    static int32_t lengths[COUNT];
    for (int i = 0; i < COUNT; i++) {
        const int k = i * 389 % COUNT;
        lengths[i] = 10 + (int)(200.0 * k * k * k / ((double)COUNT * COUNT * COUNT));
    }
    lengths[LONG] = LONGER;
    return lengths;
}

static SamplerOptions usual(void) {
    return (SamplerOptions){.sample_count = COUNT,
                            .chunks = CHUNKS,
                            .token_lengths = skewed_lengths(),
                            .tokens_per_chunk = BUDGET,
                            .seed = 5,
                            .shuffle = true};
}

static Sampler *make(SamplerOptions options) {
    Error error = {0};
    Sampler *sampler = sampler_create(&options, &error);
    if (!sampler) fail_msg("%s", error.message);
    return sampler;
}

/// What an epoch has.
typedef struct Epoch {
    int seen[COUNT];
    int64_t rows, tokens, samples;
    /// of each sample: a number of its row
    int64_t row_of[COUNT];
} Epoch;

/// Reads an epoch and checks its rows: at most the budget, but for a sample that alone is longer.
static Epoch read_epoch(Sampler *sampler, const SamplerOptions *options, int64_t number) {
    static Epoch epoch;
    const int64_t steps = sampler_steps_per_epoch(sampler);
    memset(&epoch, 0, sizeof epoch);
    for (int64_t i = 0; i < steps * options->chunks; i++) {
        int64_t count, tokens = 0;
        const int64_t *samples = sampler_chunk(sampler, number * steps + i / options->chunks,
                                               i % options->chunks, &count);
        for (int64_t k = 0; k < count; k++) {
            assert_in_range(samples[k], 0, options->sample_count - 1);
            epoch.seen[samples[k]]++;
            epoch.row_of[samples[k]] = i;
            tokens += options->token_lengths[samples[k]];
        }
        assert_true(tokens <= options->tokens_per_chunk || count == 1);
        epoch.rows += count > 0;
        epoch.tokens += tokens;
        epoch.samples += count;
    }
    return epoch;
}

static void an_epoch_has_every_sample_once_in_rows_within_the_budget(void **state) {
    (void)state;
    const SamplerOptions options = usual();
    Sampler *sampler = make(options);
    for (int64_t number = 0; number < 3; number++) {
        const Epoch epoch = read_epoch(sampler, &options, number);
        for (int i = 0; i < COUNT; i++) assert_int_equal(epoch.seen[i], 1);
        assert_int_equal((epoch.rows + CHUNKS - 1) / CHUNKS, sampler_steps_per_epoch(sampler));
    }
    sampler_free(sampler);
}

/// In one step for all rows, so that none is spread.
static void rows_are_nearly_full(void **state) {
    (void)state;
    SamplerOptions options = usual();
    options.chunks = 1;
    Sampler *sampler = make(options);
    const Epoch epoch = read_epoch(sampler, &options, 0);
    assert_true(epoch.tokens - LONGER > 97 * (epoch.rows - 1) * BUDGET / 100);
    sampler_free(sampler);
}

/// What the chunks of a step have of tokens, and its longest sample.
typedef struct StepTokens {
    int64_t least, most, longest, sum, samples, chunks;
} StepTokens;

static StepTokens read_step(Sampler *sampler, const SamplerOptions *options, int64_t step) {
    StepTokens found = {.least = INT64_MAX};
    for (int64_t chunk = 0; chunk < options->chunks; chunk++) {
        int64_t count, tokens = 0;
        const int64_t *samples = sampler_chunk(sampler, step, chunk, &count);
        for (int64_t i = 0; i < count; i++) {
            const int64_t length = options->token_lengths[samples[i]];
            tokens += length;
            if (length > found.longest) found.longest = length;
        }
        if (tokens < found.least) found.least = tokens;
        if (tokens > found.most) found.most = tokens;
        found.sum += tokens;
        found.samples += count;
        found.chunks += count > 0;
    }
    return found;
}

/// Of an epoch's rows, however many its last steps have of them, with kinds apart and together.
static void a_step_without_all_its_rows_is_spread_evenly_over_its_chunks(void **state) {
    (void)state;
    int32_t kinds[COUNT];
    for (int i = 0; i < COUNT; i++) kinds[i] = i % 3 ? 1 : -1;
    int spread = 0;
    for (int apart = 0; apart < 2; apart++)
        for (int64_t chunks = 2; chunks < 40; chunks++) {
            SamplerOptions options = usual();
            options.chunks = chunks;
            if (apart) options.modality_lengths = kinds;
            Sampler *sampler = make(options);
            const int64_t steps = sampler_steps_per_epoch(sampler);
            for (int64_t number = 0; number < 2; number++) {
                const Epoch epoch = read_epoch(sampler, &options, number);
                for (int i = 0; i < COUNT; i++) assert_int_equal(epoch.seen[i], 1);
                for (int64_t last = 1; last <= 1 + apart; last++) {
                    const StepTokens found =
                        read_step(sampler, &options, (number + 1) * steps - last);
                    if (found.sum > 85 * chunks * BUDGET / 100) continue; // it has its rows
                    assert_int_equal(found.chunks, found.samples < chunks ? found.samples : chunks);
                    assert_true(found.most - found.least <= found.longest);
                    spread++;
                }
            }
            sampler_free(sampler);
        }
    assert_true(spread > 100);
}

static void what_would_not_fit_spread_is_told(void **state) {
    (void)state;
    const int32_t lengths[] = {5, 5, 4, 4, 3, 3, 3};
    const int64_t expected[] = {0, 1, 2, 2, 0, 1, 0};
    int64_t row_of[7];
    assert_true(token_rows_spread(lengths, 7, 3, 11, row_of));
    assert_memory_equal(row_of, expected, sizeof expected);
    assert_false(token_rows_spread(lengths, 7, 3, 10, row_of)); // 5 + 3 + 3
    assert_true(token_rows_spread(lengths, 1, 3, 4, row_of));   // alone it may be longer
    assert_true(token_rows_spread(lengths, 0, 3, 4, row_of));
}

/// Lengths that fill 14 rows of 12; spread over 15 chunks, the longest first, one would have 13.
static void a_step_that_would_not_fit_spread_keeps_its_rows(void **state) {
    (void)state;
    static const int32_t lengths[] = {4, 7, 1, 5, 3, 4, 11, 1, 2, 10, 10, 1, 1,  6, 2, 4, 9,
                                      3, 7, 5, 3, 6, 3, 6,  6, 8, 4,  4,  8, 12, 6, 3, 3};
    const SamplerOptions options = {.sample_count = 33,
                                    .chunks = 15,
                                    .token_lengths = lengths,
                                    .tokens_per_chunk = 12,
                                    .seed = 1,
                                    .shuffle = true};
    Sampler *sampler = make(options);
    assert_int_equal(sampler_steps_per_epoch(sampler), 1);
    const StepTokens found = read_step(sampler, &options, 0);
    assert_int_equal(found.sum, 168);
    assert_int_equal(found.chunks, 14);
    assert_int_equal(found.most, 12);
    assert_int_equal(found.least, 0);
    sampler_free(sampler);
}

static void rows_mix_long_and_short_samples(void **state) {
    (void)state;
    const SamplerOptions options = usual();
    Sampler *sampler = make(options);
    int64_t most = 0, count;
    for (int64_t i = 0; i < 8 * CHUNKS; i++) {
        sampler_chunk(sampler, i / CHUNKS, i % CHUNKS, &count);
        if (count > most) most = count;
    }
    // the shortest alone would be 25 to a row
    assert_true(most < 18);
    sampler_free(sampler);
}

static void samples_have_other_companions_in_another_epoch(void **state) {
    (void)state;
    const SamplerOptions options = usual();
    Sampler *sampler = make(options);
    const Epoch first = read_epoch(sampler, &options, 0), second = read_epoch(sampler, &options, 1);
    int together = 0, still = 0;
    for (int i = 0; i < COUNT; i++)
        for (int k = 0; k < i; k++) {
            if (first.row_of[i] != first.row_of[k]) continue;
            together++;
            still += second.row_of[i] == second.row_of[k];
        }
    assert_true(together > COUNT && still < together / 10);
    sampler_free(sampler);
}

static void the_order_is_a_function_of_position_and_seed(void **state) {
    (void)state;
    SamplerOptions options = usual();
    Sampler *forward = make(options), *backward = make(options);
    options.seed = 6;
    Sampler *other = make(options);
    const int64_t steps = 2 * sampler_steps_per_epoch(forward);
    int64_t different = 0;
    for (int64_t step = 0; step < steps; step++)
        for (int64_t chunk = 0; chunk < CHUNKS; chunk++) {
            int64_t counts[2], other_count;
            const int64_t *samples = sampler_chunk(forward, step, chunk, &counts[0]);
            // a row of the other epoch in between
            sampler_chunk(backward, steps - 1 - step, chunk, &counts[1]);
            const int64_t *again = sampler_chunk(backward, step, chunk, &counts[1]);
            assert_int_equal(counts[0], counts[1]);
            assert_memory_equal(samples, again, (size_t)counts[0] * sizeof *samples);
            const int64_t *others = sampler_chunk(other, step, chunk, &other_count);
            different += other_count != counts[0] ||
                         memcmp(samples, others, (size_t)counts[0] * sizeof *samples) != 0;
        }
    assert_true(different > steps * (CHUNKS - 1));
    sampler_free(forward);
    sampler_free(backward);
    sampler_free(other);
}

static void kinds_are_apart_where_batches_are_of_one_kind(void **state) {
    (void)state;
    int32_t kinds[COUNT];
    for (int i = 0; i < COUNT; i++) kinds[i] = i % 3 ? 1 : -1;
    SamplerOptions options = usual();
    options.modality_lengths = kinds;
    Sampler *sampler = make(options);
    int changes = 0, last = 0;
    for (int64_t step = 0; step < sampler_steps_per_epoch(sampler); step++) {
        int kind = 0;
        for (int64_t chunk = 0; chunk < CHUNKS; chunk++) {
            int64_t count;
            const int64_t *samples = sampler_chunk(sampler, step, chunk, &count);
            for (int64_t i = 0; i < count; i++) {
                if (!kind) kind = kinds[samples[i]];
                assert_int_equal(kinds[samples[i]], kind);
            }
        }
        assert_true(kind != 0);
        changes += step > 0 && kind != last;
        last = kind;
    }
    assert_true(changes > 3); // the kinds are mixed over the epoch
    const Epoch epoch = read_epoch(sampler, &options, 1);
    for (int i = 0; i < COUNT; i++) assert_int_equal(epoch.seen[i], 1);
    sampler_free(sampler);
}

static void weights_keep_their_promise_and_every_epoch_has_as_many_steps(void **state) {
    (void)state;
    // 200 of 200, 150 of 300, 297 of 97 (rounded), 120 of 400
    const SamplerPart parts[] = {{200, 1}, {300, 0.5}, {97, 2.4}, {400, 0.3}};
    const int64_t per_epoch = 200 + 150 + 233 + 120;
    SamplerOptions options = usual();
    options.parts = parts;
    options.part_count = 4;
    Sampler *sampler = make(options);
    int total[COUNT] = {0};
    for (int64_t number = 0; number < 12; number++) {
        const Epoch epoch = read_epoch(sampler, &options, number);
        assert_int_equal(epoch.samples, per_epoch);
        for (int i = 0; i < COUNT; i++) total[i] += epoch.seen[i];
        int64_t first = 0;
        for (int part = 0; part < 4; first += parts[part++].count) {
            int least = total[first], most = least;
            for (int64_t i = first; i < first + parts[part].count; i++) {
                if (total[i] < least) least = total[i];
                if (total[i] > most) most = total[i];
            }
            assert_true(most - least <= 1);
        }
        assert_true(epoch.tokens > 93 * epoch.rows * BUDGET / 100);
    }
    sampler_free(sampler);
}

static void in_order_rows_are_of_samples_that_follow_each_other(void **state) {
    (void)state;
    const int32_t lengths[] = {5, 3, 2, 9, 1, 12, 4, 4, 4};
    const int64_t counts[3][2] = {{3, 2}, {1, 2}, {1, 0}};
    Sampler *sampler = make((SamplerOptions){
        .sample_count = 9, .chunks = 2, .token_lengths = lengths, .tokens_per_chunk = 10});
    assert_int_equal(sampler_steps_per_epoch(sampler), 3);
    int64_t next = 0;
    for (int64_t step = 0; step < 3; step++)
        for (int64_t chunk = 0; chunk < 2; chunk++) {
            int64_t count;
            const int64_t *samples = sampler_chunk(sampler, step, chunk, &count);
            assert_int_equal(count, counts[step][chunk]);
            for (int64_t i = 0; i < count; i++) assert_int_equal(samples[i], next++);
        }
    assert_int_equal(next, 9);
    sampler_free(sampler);
}

static void steps_without_all_their_rows_can_be_left_out(void **state) {
    (void)state;
    const int32_t lengths[] = {9, 9, 9, 9, 9};
    SamplerOptions options = {.sample_count = 5,
                              .chunks = 2,
                              .token_lengths = lengths,
                              .tokens_per_chunk = 10,
                              .shuffle = true};
    Sampler *sampler = make(options);
    assert_int_equal(sampler_steps_per_epoch(sampler), 3);
    sampler_free(sampler);
    options.drop_last = true;
    sampler = make(options);
    assert_int_equal(sampler_steps_per_epoch(sampler), 2);
    for (int64_t i = 0; i < 8; i++) {
        int64_t count;
        sampler_chunk(sampler, i / 2, i % 2, &count);
        assert_int_equal(count, 1);
    }
    sampler_free(sampler);
    options.chunks = 6;
    Error error = {0};
    assert_null(sampler_create(&options, &error));
    assert_non_null(strstr(error.message, "5 samples do not fill one batch of 6 rows"));
    options.tokens_per_chunk = 0;
    assert_null(sampler_create(&options, &error));
    assert_non_null(strstr(error.message, "6 chunks of 0 tokens"));
}

static void first_fit_takes_the_first_row_with_room(void **state) {
    (void)state;
    const int32_t lengths[] = {6, 7, 4, 11, 3, 10};
    const int64_t sequence[] = {0, 1, 2, 3, 4, 5};
    TokenRows rows = token_rows_pack(lengths, sequence, 6, 10, false);
    const int64_t begins[] = {0, 2, 4, 5, 6}; // 6 + 4, 7 + 3, 11, 10
    const int64_t places[] = {0, 2, 1, 4, 3, 5};
    assert_int_equal(rows.count, 4);
    assert_memory_equal(rows.begins, begins, sizeof begins);
    assert_memory_equal(rows.places, places, sizeof places);
    token_rows_free(&rows);
    rows = token_rows_pack(lengths, sequence, 0, 10, false);
    assert_int_equal(rows.count, 0);
    token_rows_free(&rows);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_epoch_has_every_sample_once_in_rows_within_the_budget),
        cmocka_unit_test(rows_are_nearly_full),
        cmocka_unit_test(a_step_without_all_its_rows_is_spread_evenly_over_its_chunks),
        cmocka_unit_test(what_would_not_fit_spread_is_told),
        cmocka_unit_test(a_step_that_would_not_fit_spread_keeps_its_rows),
        cmocka_unit_test(rows_mix_long_and_short_samples),
        cmocka_unit_test(samples_have_other_companions_in_another_epoch),
        cmocka_unit_test(the_order_is_a_function_of_position_and_seed),
        cmocka_unit_test(kinds_are_apart_where_batches_are_of_one_kind),
        cmocka_unit_test(weights_keep_their_promise_and_every_epoch_has_as_many_steps),
        cmocka_unit_test(in_order_rows_are_of_samples_that_follow_each_other),
        cmocka_unit_test(steps_without_all_their_rows_can_be_left_out),
        cmocka_unit_test(first_fit_takes_the_first_row_with_room),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
