// Epochs with a budget of tokens per chunk. The samples of an epoch have lengths that are known
// beforehand (a part's whole copies) or bounded (its rest: the i-th longest of those that are taken
// at even distances is no longer than the first that could be the i-th). These lengths, packed
// once, are the pattern: as the i-th longest sample of an epoch is never longer than the i-th
// longest place, every epoch's samples fit.
#include "data/loader/sampler_internal.h"

#include <stdlib.h>
#include <string.h>

static int64_t count_of(const Sampler *sampler, int kind) {
    return kind ? sampler->text_count : sampler->image_count;
}

/// The lengths of a stratum's places, to `to`; returns their end.
static int32_t *bound_lengths(const Sampler *sampler, const Stratum *stratum, int32_t *to) {
    const int64_t *samples = sampler->samples + stratum->first;
    CHECK(sampler->options.shuffle || stratum->rest == 0,
          "a sampler in order with %lld of %lld samples", (long long)stratum->rest,
          (long long)stratum->count);
    for (int64_t copy = 0; copy < stratum->copies; copy++)
        for (int64_t i = 0; i < stratum->count; i++) *to++ = sampler->token_lengths[samples[i]];
    for (int64_t i = 0; i < stratum->rest; i++)
        *to++ = sampler->token_lengths[samples[i * stratum->count / stratum->rest]];
    return to;
}

static int longest_first(const void *a, const void *b) {
    const int32_t x = *(const int32_t *)a, y = *(const int32_t *)b;
    return (x < y) - (x > y);
}

static TokenRows pack_kind(const Sampler *sampler, int kind) {
    const int parts = sampler->options.part_count;
    const int64_t count = count_of(sampler, kind);
    int32_t *lengths = checked_malloc((size_t)(count + 1) * sizeof *lengths), *end = lengths;
    int64_t *sequence = checked_malloc((size_t)(count + 1) * sizeof *sequence);
    for (int i = 0; i < parts; i++)
        end = bound_lengths(sampler, &sampler->strata[kind * parts + i], end);
    for (int64_t i = 0; i < count; i++) sequence[i] = i;
    if (sampler->options.shuffle) qsort(lengths, (size_t)count, sizeof *lengths, longest_first);
    sampler_permute_once(sampler, KINDS * parts + kind, sequence, count);
    const TokenRows rows = token_rows_pack(
        lengths, sequence, count, sampler->options.tokens_per_chunk, !sampler->options.shuffle);
    free(sequence);
    free(lengths);
    return rows;
}

int64_t sampler_pack_tokens(Sampler *sampler) {
    const int64_t chunks = sampler->options.chunks,
                  spare = sampler->options.drop_last ? 0 : chunks - 1;
    int64_t steps = 0;
    for (int kind = 0; kind < KINDS; kind++) {
        sampler->rows[kind] = pack_kind(sampler, kind);
        steps += (sampler->rows[kind].count + spare) / chunks;
    }
    return steps;
}

/// Puts the epoch's samples into the places of their lengths.
static void fill_rows(Sampler *sampler, int64_t epoch) {
    static const Draw DRAWS[KINDS] = {DRAW_IMAGES, DRAW_TEXTS};
    const int64_t images = sampler->image_count, count = images + sampler->text_count;
    int64_t *samples = checked_malloc((size_t)count * sizeof *samples);
    sampler_select(sampler, epoch, samples);
    for (int kind = 0; kind < KINDS; kind++) {
        int64_t *const own = samples + kind * images, *const order = sampler->order + kind * images;
        const int64_t *places = sampler->rows[kind].places;
        sampler_permute(sampler, epoch, DRAWS[kind], own, count_of(sampler, kind));
        if (sampler->options.shuffle) sampler_sort_by_tokens(sampler, own, count_of(sampler, kind));
        for (int64_t i = 0; i < count_of(sampler, kind); i++) order[places[i]] = own[i];
    }
    free(samples);
}

/// The rows come in a random sequence, each to the step of its kind that is being filled; steps
/// that are not full come last.
static void fill_steps(Sampler *sampler, int64_t epoch) {
    const int64_t chunks = sampler->options.chunks, images = sampler->rows[0].count,
                  count = images + sampler->rows[1].count;
    int64_t *sequence = checked_malloc((size_t)count * sizeof *sequence),
            *open = checked_malloc((size_t)(KINDS * chunks) * sizeof *open),
            *next = sampler->row_of_chunk, filled[KINDS] = {0};
    const size_t step_bytes = (size_t)chunks * sizeof *open;
    for (int64_t i = 0; i < count; i++) sequence[i] = i;
    sampler_permute(sampler, epoch, DRAW_BATCHES, sequence, count);
    for (int64_t i = 0; i < count; i++) {
        const int kind = sequence[i] >= images;
        open[kind * chunks + filled[kind]++] = sequence[i];
        if (filled[kind] < chunks) continue;
        memcpy(next, open + kind * chunks, step_bytes);
        next += chunks;
        filled[kind] = 0;
    }
    for (int kind = 0; kind < KINDS && !sampler->options.drop_last; kind++) {
        if (filled[kind] == 0) continue;
        for (int64_t i = filled[kind]; i < chunks; i++) open[kind * chunks + i] = -1;
        memcpy(next, open + kind * chunks, step_bytes);
        next += chunks;
    }
    free(open);
    free(sequence);
}

void sampler_make_token_epoch(Sampler *sampler, int64_t epoch) {
    fill_rows(sampler, epoch);
    fill_steps(sampler, epoch);
}

const int64_t *sampler_token_chunk(const Sampler *sampler, int64_t step, int64_t chunk,
                                   int64_t *count) {
    const int64_t row = sampler->row_of_chunk[step * sampler->options.chunks + chunk],
                  images = sampler->rows[0].count;
    *count = 0;
    if (row < 0) return sampler->order;
    const int kind = row >= images;
    const int64_t *begins = sampler->rows[kind].begins + (row - kind * images);
    *count = begins[1] - begins[0];
    return sampler->order + kind * sampler->image_count + begins[0];
}
