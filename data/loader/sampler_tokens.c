// Epochs with a budget of tokens per chunk. The samples of an epoch have lengths that are known
// beforehand (a part's whole copies) or bounded (its rest: the i-th longest of those that are taken
// at even distances is no longer than the first that could be the i-th). These lengths, packed
// once, are the pattern: as the i-th longest sample of an epoch is never longer than the i-th
// longest place, every epoch's samples fit.
#include "data/loader/sampler_internal.h"

#include <stdlib.h>

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

/// The samples of a row of the pattern.
static const int64_t *row_samples(const Sampler *sampler, int64_t row, int64_t *count) {
    const int64_t images = sampler->rows[0].count;
    const int kind = row >= images;
    const int64_t *begins = sampler->rows[kind].begins + (row - kind * images);
    *count = begins[1] - begins[0];
    return sampler->order + kind * sampler->image_count + begins[0];
}

/// The samples of these rows, the longest first; the caller frees them.
static Sized *longest_of_rows(const Sampler *sampler, const int64_t *rows, int64_t row_count,
                              int64_t *count) {
    Sized *sized = NULL;
    int64_t added;
    for (int64_t i = *count = 0; i < row_count; i++, *count += added) {
        const int64_t *samples = row_samples(sampler, rows[i], &added);
        sized = checked_realloc(sized, (size_t)(*count + added) * sizeof *sized);
        for (int64_t k = 0; k < added; k++)
            sized[*count + k] = (Sized){samples[k], sampler->token_lengths[samples[k]], *count + k};
    }
    qsort(sized, (size_t)*count, sizeof *sized, sampler_longest_first);
    return sized;
}

/// Puts the samples, which have been dealt out, into `spread`, chunk after chunk.
static void gather_chunks(Sampler *sampler, int kind, const Sized *sized, const int64_t *chunk_of,
                          int64_t count) {
    const int64_t chunks = sampler->options.chunks;
    int64_t *to = sampler->spread + kind * sampler->image_count,
            *begins = sampler->spread_begins + kind * (chunks + 1);
    for (int64_t chunk = 0; chunk <= chunks; chunk++) {
        begins[chunk] = to - sampler->spread;
        for (int64_t i = 0; i < count; i++)
            if (chunk_of[i] == chunk) *to++ = sized[i].sample;
    }
}

/// A step that has not all its rows: its samples are spread over all its chunks, so that no process
/// waits while another works on a whole row. False if they do not fit that way, or have an order.
static bool spread_step(Sampler *sampler, int kind, const int64_t *rows, int64_t row_count) {
    if (!sampler->options.shuffle) return false;
    int64_t count;
    Sized *sized = longest_of_rows(sampler, rows, row_count, &count);
    int32_t *lengths = checked_malloc((size_t)count * sizeof *lengths);
    int64_t *chunk_of = checked_malloc((size_t)count * sizeof *chunk_of);
    for (int64_t i = 0; i < count; i++) lengths[i] = (int32_t)sized[i].length;
    const bool fits = token_rows_spread(lengths, count, sampler->options.chunks,
                                        sampler->options.tokens_per_chunk, chunk_of);
    if (fits) gather_chunks(sampler, kind, sized, chunk_of, count);
    free(sized);
    free(lengths);
    free(chunk_of);
    return fits;
}

/// The chunks of a step of `row_count` rows.
static void close_step(Sampler *sampler, int kind, const int64_t *rows, int64_t row_count,
                       int64_t *to) {
    const int64_t chunks = sampler->options.chunks,
                  all = sampler->rows[0].count + sampler->rows[1].count;
    const bool is_spread = row_count < chunks && spread_step(sampler, kind, rows, row_count);
    for (int64_t i = 0; i < chunks; i++)
        to[i] = is_spread ? all + kind * chunks + i : i < row_count ? rows[i] : -1;
}

/// The rows come in a random sequence, each to the step of its kind that is being filled; steps
/// that are not full come last.
static void fill_steps(Sampler *sampler, int64_t epoch) {
    const int64_t chunks = sampler->options.chunks, images = sampler->rows[0].count,
                  count = images + sampler->rows[1].count;
    int64_t *sequence = checked_malloc((size_t)count * sizeof *sequence),
            *open = checked_malloc((size_t)(KINDS * chunks) * sizeof *open),
            *next = sampler->row_of_chunk, filled[KINDS] = {0};
    for (int64_t i = 0; i < count; i++) sequence[i] = i;
    sampler_permute(sampler, epoch, DRAW_BATCHES, sequence, count);
    for (int64_t i = 0; i < count; i++) {
        const int kind = sequence[i] >= images;
        open[kind * chunks + filled[kind]++] = sequence[i];
        if (filled[kind] < chunks) continue;
        close_step(sampler, kind, open + kind * chunks, chunks, next);
        next += chunks;
        filled[kind] = 0;
    }
    for (int kind = 0; kind < KINDS && !sampler->options.drop_last; kind++) {
        if (filled[kind] == 0) continue;
        close_step(sampler, kind, open + kind * chunks, filled[kind], next);
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
    const int64_t chunks = sampler->options.chunks,
                  row = sampler->row_of_chunk[step * chunks + chunk],
                  all = sampler->rows[0].count + sampler->rows[1].count;
    *count = 0;
    if (row < 0) return sampler->order;
    if (row < all) return row_samples(sampler, row, count);
    const int64_t *begins = sampler->spread_begins + (row - all) / chunks * (chunks + 1) + chunk;
    *count = begins[1] - begins[0];
    return sampler->spread + begins[0];
}
