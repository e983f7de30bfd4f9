/// Hashes of bytes, to find a place in a table and differences that nobody made on purpose; they
/// keep no secret and withstand no attack.
#pragma once
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/// FNV-1a of 64 bits [Fowler, Noll, Vo; RFC 9923]: hash = (hash xor byte) * prime, byte by byte.
uint64_t fnv1a(const void *bytes, size_t size);

/// A hash in its manner that takes eight bytes, the lowest first, in one step and folds the high
/// bits into the low ones after each; zeros fill the last eight up. Eight times as fast, other
/// values than fnv1a(). Training checkpoints keep it of data sets: its values must not change.
uint64_t fnv1a_words(const void *bytes, size_t size);

#ifdef __cplusplus
}
#endif
