/// The hash that names a token's rows in the tables of the noun chunker, and special cases' slots:
/// FNV-1a of 64 bits, its start changed by a seed, finished by MurmurHash3's mixing.
#pragma once
#include <stddef.h>
#include <stdint.h>

static inline uint64_t token_hash_begin(uint64_t seed) { return 0xcbf29ce484222325u ^ seed; }

static inline uint64_t token_hash_byte(uint64_t hash, char byte) {
    return (hash ^ (unsigned char)byte) * 0x100000001b3u;
}

static inline uint64_t token_hash_end(uint64_t hash) {
    hash = (hash ^ hash >> 33) * 0xff51afd7ed558ccdu;
    hash = (hash ^ hash >> 33) * 0xc4ceb9fe1a85ec53u;
    return hash ^ hash >> 33;
}

static inline uint64_t token_hash(const char *bytes, size_t count, uint64_t seed) {
    uint64_t hash = token_hash_begin(seed);
    for (size_t i = 0; i < count; i++) hash = token_hash_byte(hash, bytes[i]);
    return token_hash_end(hash);
}
