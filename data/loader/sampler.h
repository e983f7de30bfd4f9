/// In which order samples are trained on: a pure function of (seed, position), so that a resumed
/// run goes on as if it had never stopped.
///
/// An epoch is a number of steps; a step is a number of chunks, each the micro-batch of a process.
/// All epochs have the same number of steps.
///
/// With a fixed number of samples per chunk a step's batch is chunks * micro_batch samples. Which
/// samples a step has depends on neither micro_batch nor the number of processes, only their order
/// within it does. The last batch of an epoch may have fewer samples: they are spread over the
/// chunks.
///
/// With a budget of tokens (token_lengths) a chunk is a row: as many samples as fit into it, one at
/// least. Which samples a step has depends on how many rows it has and on the budget, not on who
/// works on which row. How samples are packed follows from all their lengths, once: a pattern of
/// rows whose places have a length each. An epoch puts samples into places of their lengths, at
/// random among those of one length, and the rows into a random sequence. So the number of rows is
/// known, and rows are as full as in the pattern. The last step of an epoch may have fewer rows
/// than chunks: in a random order its samples are spread evenly over all chunks.
///
/// Samples may be in parts that count with weights. An epoch has round(weight * count) samples of a
/// part: each as often as the weight has wholes, and for the rest the next of a fixed random
/// sequence of the part, which begins anew at its end. So all epochs have the same number of
/// samples, and over any epochs one sample of a part is seen at most once more than another. With
/// token_lengths the rest is taken at even distances from the part sorted by length, one further in
/// each epoch: the same promise, and every epoch's samples have nearly the same lengths.
#pragma once
#include "autograd/error.h"

#include <stdint.h>

typedef struct SamplerPart {
    int64_t count;
    /// above 0
    double weight;
} SamplerPart;

typedef struct SamplerOptions {
    int64_t sample_count;
    /// What the samples are, one part after the other; copied. NULL: one part of weight 1. With
    /// modality_lengths the numbers above are those of a part's samples of either kind.
    const SamplerPart *parts;
    int part_count;
    /// of a step
    int64_t chunks;
    /// samples of a chunk; of no meaning with token_lengths
    int64_t micro_batch;
    /// NULL, or the tokens of each sample, copied
    const int32_t *token_lengths;
    /// with them: tokens of a chunk at most, but for a sample that alone has more
    int64_t tokens_per_chunk;
    uint64_t seed;
    /// false: in order (evaluation; with token_lengths weights are then whole numbers)
    bool shuffle;
    /// leave out batches that are not full (with token_lengths: steps without all their rows)
    bool drop_last;
    /// NULL, or (group_by_modality_length) the length of each sample, negative for those without an
    /// image; copied. Every batch is then all-image or all-text (each kind may have one that is not
    /// full, at the epoch's end), and its chunks have nearly equal lengths. With token_lengths only
    /// the signs count.
    const int32_t *modality_lengths;
} SamplerOptions;

typedef struct Sampler Sampler;

/// NULL if the options do not fit together, or no batch can be made.
Sampler *sampler_create(const SamplerOptions *options, Error *error);
void sampler_free(Sampler *sampler);
int64_t sampler_steps_per_epoch(const Sampler *sampler);
/// The samples of a chunk (0 to chunks - 1) of a step (steps count on over epochs), `*count` of
/// them, 0 for an empty one; the sampler's, until the next call. Remembers one epoch's order, hence
/// not for several threads at once.
const int64_t *sampler_chunk(Sampler *sampler, int64_t step, int64_t chunk, int64_t *count);
