/// Which token comes next: the most probable one, or one that is drawn.
///
/// Drawing is exactly defined. With x the logits and t the temperature, p = softmax(x / t) in
/// double precision. The tokens are sorted by p, equal ones by id; drawn is from the nucleus, the
/// fewest of the first ones whose sum reaches top_p [Holtzman et al. 2020, arXiv 1904.09751], by
/// their share of its sum. The random number is a function of (seed, index, position) alone, so
/// that an answer does not depend on what else is asked, in which batch, on how many processes.
#pragma once
#include "autograd/error.h"

#include <stdint.h>

typedef struct Sampling {
    /// 0: greedy, the most probable token, the first of equal ones
    double temperature;
    /// 0 to 1; 0: the most probable token alone, 1: all may be drawn
    double top_p;
    uint64_t seed;
} Sampling;

/// The next token of sequence `index`, whose new tokens `position` counts from 0. logits: [V].
int32_t sample_token(const float *logits, int vocab_size, const Sampling *sampling, uint64_t index,
                     int position);

/// A token that may be drawn.
typedef struct SamplingCandidate {
    /// of all tokens' probability: those of a nucleus add up to less than 1
    double probability;
    int32_t token;
} SamplingCandidate;

/// The nucleus, the most probable first; candidates: room for [V]. Returns how many there are, at
/// least one. The temperature is above 0.
int sampling_nucleus(const float *logits, int vocab_size, const Sampling *sampling,
                     SamplingCandidate *candidates);
