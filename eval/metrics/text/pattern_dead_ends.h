/// States of an automaton at places of a text from which no match ends any more: a set of pairs.
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/// Zero is an empty set; free with pattern_dead_ends_free().
typedef struct DeadEnds {
    /// Open addressing; 0: free. A power of two.
    uint64_t *keys;
    size_t size, count;
} DeadEnds;

void pattern_dead_ends_add(DeadEnds *ends, int32_t state, size_t place);
bool pattern_dead_ends_have(const DeadEnds *ends, int32_t state, size_t place);
void pattern_dead_ends_clear(DeadEnds *ends);
void pattern_dead_ends_free(DeadEnds *ends);
