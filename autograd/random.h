/// Randomness as a function: every random number is Philox(seed, purpose, index, element), so a
/// resumed run and a run on another number of processes draw the same, and there is no generator
/// state to save.
#pragma once
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/// What the numbers are for; part of the key, so that uses never share numbers.
typedef enum RandomPurpose {
    RANDOM_INITIALIZATION = 1,
    RANDOM_VAE_SAMPLE = 2,
    RANDOM_DIFFUSION_NOISE = 3,
    RANDOM_DROPOUT = 4,
    RANDOM_SHUFFLE = 5,
    RANDOM_GENERATION = 6,
    RANDOM_EVALUATION = 7,
    RANDOM_SELECTION = 8,
} RandomPurpose;

/// A stream of numbers: key from (seed, purpose), `index` names the sample, step or parameter.
typedef struct RandomStream {
    uint64_t key;
    uint64_t index;
} RandomStream;

RandomStream random_stream(uint64_t seed, RandomPurpose purpose, uint64_t index);

/// What to add to a stream's key for the numbers of sample `number`: distinct numbers, distinct
/// keys.
static inline uint64_t random_number_key(int32_t number) {
    return (uint32_t)number * 0x9e3779b97f4a7c15ull;
}

#ifdef __cplusplus
}
#endif
