/// Inside the sampler only: what sampler.c (which samples an epoch has), sampler_fixed.c and
/// sampler_tokens.c (how they come into chunks) share.
#pragma once
#include "data/loader/sampler.h"
#include "data/loader/token_rows.h"

/// Each permutation that an epoch draws has numbers of its own.
typedef enum Draw { DRAW_SAMPLES, DRAW_IMAGES, DRAW_TEXTS, DRAW_BATCHES, DRAW_COUNT } Draw;

/// Samples with an image (without grouping: all), and those without.
enum { KINDS = 2 };

/// The samples of one part, of one kind where kinds are apart.
typedef struct Stratum {
    /// in Sampler.samples
    int64_t first, count;
    /// how often an epoch has all of them, and how many once more
    int64_t copies, rest;
} Stratum;

struct Sampler {
    SamplerOptions options;
    /// negative: text only; NULL without grouping
    int32_t *lengths;
    /// NULL without a budget
    int32_t *token_lengths;
    /// [sample_count]: those of one kind, then those of the other; with a budget and in random
    /// order those of a stratum by length, the longest first
    int64_t *samples;
    /// [KINDS, part_count]
    Stratum *strata;
    /// of an epoch, with an image (without grouping: all) and without
    int64_t image_count, text_count;
    int64_t steps_per_epoch;
    /// of `epoch`: [steps_per_epoch, chunks, micro_batch], -1 for empty slots; with a budget
    /// [image_count + text_count], row after row of the pattern
    int64_t *order;
    int64_t epoch;
    /// with a budget: the pattern of each kind
    TokenRows rows[KINDS];
    /// with a budget, of `epoch`: [steps_per_epoch, chunks], rows of images, then of texts, then
    /// [KINDS, chunks] rows of `spread`; -1: none
    int64_t *row_of_chunk;
    /// with a budget, of `epoch`: the samples of each kind's step that has not all its rows, dealt
    /// out to its chunks one after the other, and where each of these begins, [KINDS, chunks + 1]
    int64_t *spread, *spread_begins;
};

typedef struct Sized {
    int64_t sample;
    int64_t length;
    /// decides between equal lengths, so that the order does not depend on the sorting algorithm
    int64_t rank;
} Sized;

/// For qsort().
int sampler_longest_first(const void *a, const void *b);
/// Puts the samples, in a random order, by their tokens, the longest first; equal lengths stay.
void sampler_sort_by_tokens(const Sampler *sampler, int64_t *samples, int64_t count);
/// A random sequence, if the sampler shuffles.
void sampler_permute(const Sampler *sampler, int64_t epoch, Draw draw, int64_t *values,
                     int64_t count);
/// The one random sequence of a stratum, or of what else has a number, if the sampler shuffles.
void sampler_permute_once(const Sampler *sampler, int64_t number, int64_t *values, int64_t count);
/// The epoch's samples, to `to`: those with an image (without grouping: all), then those without.
void sampler_select(const Sampler *sampler, int64_t epoch, int64_t *to);

int64_t sampler_count_fixed_steps(const Sampler *sampler);
void sampler_make_fixed_epoch(Sampler *sampler, int64_t epoch);
/// The chunk of a step of the epoch that was made.
const int64_t *sampler_fixed_chunk(const Sampler *sampler, int64_t step, int64_t chunk,
                                   int64_t *count);

/// Packs the pattern; returns the steps per epoch.
int64_t sampler_pack_tokens(Sampler *sampler);
void sampler_make_token_epoch(Sampler *sampler, int64_t epoch);
const int64_t *sampler_token_chunk(const Sampler *sampler, int64_t step, int64_t chunk,
                                   int64_t *count);
