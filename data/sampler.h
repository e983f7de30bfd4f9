/// In which order samples are trained on: a pure function of (seed, position), so that a resumed
/// run goes on as if it had never stopped.
///
/// An epoch is a number of steps; a step is a global batch of slots; slots [c * micro_batch, (c +
/// 1) * micro_batch) are the batch's chunk c. Which samples a step has depends on neither
/// micro_batch nor the number of processes, only their order within it does. The last batch of an
/// epoch may have fewer samples: they are spread over the chunks, and the slots left over are
/// empty.
///
/// Samples may be in parts that count with weights. An epoch has round(weight * count) samples of a
/// part: each as often as the weight has wholes, and for the rest the next of a fixed random
/// sequence of the part, which begins anew at its end. So all epochs have the same number of
/// samples, and over any epochs one sample of a part is seen at most once more than another.
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
    /// samples per step, a multiple of micro_batch
    int64_t global_batch;
    int64_t micro_batch;
    uint64_t seed;
    /// false: in order (evaluation)
    bool shuffle;
    /// leave out batches that are not full
    bool drop_last;
    /// NULL, or (group_by_modality_length) the length of each sample, negative for those without an
    /// image; copied. Every batch is then all-image or all-text (each kind may have one that is not
    /// full, at the epoch's end), and its chunks have nearly equal lengths.
    const int32_t *modality_lengths;
} SamplerOptions;

typedef struct Sampler Sampler;

/// NULL if the options do not fit together, or no batch can be made.
Sampler *sampler_create(const SamplerOptions *options, Error *error);
void sampler_free(Sampler *sampler);
int64_t sampler_steps_per_epoch(const Sampler *sampler);
/// The sample in a slot of a step (steps count on over epochs), or -1 for an empty slot. Remembers
/// one epoch's order, hence not for several threads at once.
int64_t sampler_sample(Sampler *sampler, int64_t step, int64_t slot);
