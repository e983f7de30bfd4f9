/// The choices of one execution: a function of target, seed and number alone, so that each can be
/// made again.
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct Random {
    uint64_t state;
} Random;

/// SplitMix64 [Steele et al. 2014].
static inline uint64_t random_bits(Random *random) {
    uint64_t z = random->state += 0x9e3779b97f4a7c15u;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

/// From 0 to below `limit`; 0 if `limit` is 0.
static inline size_t random_below(Random *random, size_t limit) {
    uint64_t bits = random_bits(random);
    return limit ? (size_t)(bits % limit) : 0;
}

static inline bool random_chance(Random *random, int percent) {
    return random_below(random, 100) < (size_t)percent;
}

/// Small numbers are as frequent as large ones.
static inline size_t random_size(Random *random, size_t limit) {
    size_t bits = 0;
    while (limit >> bits) bits++;
    return random_below(random, (size_t)1 << random_below(random, bits + 1)) % (limit + 1);
}

#define RANDOM_PICK(random, array) ((array)[random_below(random, sizeof(array) / sizeof *(array))])

static inline Random random_for(const char *target, uint64_t seed, uint64_t number) {
    Random random = {seed * 0x2545f4914f6cdd1du + number};
    for (; *target; target++) random.state = random.state * 31 + (unsigned char)*target;
    random.state = random_bits(&random);
    return random;
}
