#include "autograd/random.h"

/// SplitMix64's finalizer (Steele et al. 2014): spreads nearby seeds over all keys.
static uint64_t mix(uint64_t x) {
    x += 0x9e3779b97f4a7c15ull;
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9ull;
    x = (x ^ (x >> 27)) * 0x94d049bb133111ebull;
    return x ^ (x >> 31);
}

RandomStream random_stream(uint64_t seed, RandomPurpose purpose, uint64_t index) {
    return (RandomStream){mix(mix(seed) ^ (uint64_t)purpose), index};
}
