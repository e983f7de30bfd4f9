/// Counter-based random numbers: Philox4x32 with 10 rounds [Salmon et al. 2011, "Parallel random
/// numbers: as easy as 1, 2, 3"; Random123].
///
/// A number is a function of (key, stream, index) and of nothing else. There is no generator state
/// to store, to share between threads or to lose, so a resumed run and a run on another number of
/// processes draw the same numbers. By convention the key is the run's seed, and the stream says
/// what the numbers are for and for which sample or step.
#pragma once
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/// One block of 128 random bits. `counter_low` fills the counter's words 0 (low half) and 1,
/// `counter_high` words 2 and 3; `key` fills the key's words 0 (low half) and 1. Bit-exact with
/// Random123.
void philox4x32(uint64_t key, uint64_t counter_high, uint64_t counter_low, uint32_t out[4]);

/// A stream for one purpose and one sample, step or element: distinct pairs give distinct streams
/// as long as purpose is below 2^16 and index below 2^48.
uint64_t philox_stream(uint64_t purpose, uint64_t index);

/// Numbers `first`, `first + 1`, ..., `first + count - 1` of a stream, uniform in [0, 1) with 24
/// random bits. Number i is the same whichever range it is asked for in.
void philox_uniform(uint64_t key, uint64_t stream, uint64_t first, float *out, int64_t count);

/// As philox_uniform, standard normal (Box-Muller on pairs of words, autograd/normal.h): finite,
/// and the same bits on every processor.
void philox_normal(uint64_t key, uint64_t stream, uint64_t first, float *out, int64_t count);

/// The 24 high bits of a word as a number in [0, 1).
static inline float uniform_from_bits(uint32_t bits) { return (float)(bits >> 8) * 0x1p-24f; }

#ifdef __cplusplus
}
#endif
