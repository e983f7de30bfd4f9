#include "eval/metrics/text/pattern_dead_ends.h"

#include "autograd/error.h"

#include <stdlib.h>
#include <string.h>

enum { FIRST_SIZE = 1024, STATE_BITS = 24 };

/// Never 0: places are counted from 1.
static uint64_t key_of(int32_t state, size_t place) {
    return (uint64_t)place << STATE_BITS | (uint64_t)state;
}

/// Where the key is, or the free place where it belongs.
static uint64_t *find(const DeadEnds *ends, uint64_t key) {
    uint64_t hash = key * 0x9e3779b97f4a7c15ull; // 2^64 / golden ratio: neighbours are spread
    size_t mask = ends->size - 1, i = (size_t)(hash >> 32) & mask;
    while (ends->keys[i] && ends->keys[i] != key) i = (i + 1) & mask;
    return &ends->keys[i];
}

static void grow(DeadEnds *ends) {
    DeadEnds larger = {.size = ends->size ? 2 * ends->size : FIRST_SIZE, .count = ends->count};
    larger.keys = checked_calloc(larger.size, sizeof *larger.keys);
    for (size_t i = 0; i < ends->size; i++)
        if (ends->keys[i]) *find(&larger, ends->keys[i]) = ends->keys[i];
    free(ends->keys);
    *ends = larger;
}

void pattern_dead_ends_add(DeadEnds *ends, int32_t state, size_t place) {
    CHECK(state >= 0 && state < 1 << STATE_BITS, "an automaton of more than %d states", state);
    if (2 * ends->count >= ends->size) grow(ends);
    uint64_t key = key_of(state, place), *there = find(ends, key);
    ends->count += !*there;
    *there = key;
}

bool pattern_dead_ends_have(const DeadEnds *ends, int32_t state, size_t place) {
    return ends->count && *find(ends, key_of(state, place));
}

void pattern_dead_ends_clear(DeadEnds *ends) {
    if (ends->size > FIRST_SIZE)
        pattern_dead_ends_free(ends);
    else if (ends->count)
        memset(ends->keys, 0, ends->size * sizeof *ends->keys);
    ends->count = 0;
}

void pattern_dead_ends_free(DeadEnds *ends) {
    free(ends->keys);
    *ends = (DeadEnds){0};
}
