/// Inside the CPU kernels: Philox blocks by the thousand. Element i of a stream is lane i % 4 of
/// block i / 4 (autograd/philox.h), so any kernel on any device draws the same numbers.
#pragma once
#include "autograd/philox.h"
#include "ops/cpu/chunk.h"

/// The lanes of blocks first_block .. first_block + CHUNK/4: bits of element 4 b + lane at
/// lanes[lane][b].
typedef struct PhiloxChunk {
    uint32_t lanes[4][CHUNK / 4];
} PhiloxChunk;

/// The first `blocks` (at most CHUNK/4) of them. The loops of philox4x32() turned inside out: every
/// step is done for all blocks, so that it vectorises.
static inline void philox_blocks(RandomStream stream, uint64_t first_block, int blocks,
                                 PhiloxChunk *out) {
    enum { ROUNDS = 10 };
    uint32_t *restrict c0 = out->lanes[0], *restrict c1 = out->lanes[1];
    uint32_t *restrict c2 = out->lanes[2], *restrict c3 = out->lanes[3];
    for (int i = 0; i < blocks; i++) {
        uint64_t low = first_block + (uint64_t)i;
        c0[i] = (uint32_t)low, c1[i] = (uint32_t)(low >> 32);
        c2[i] = (uint32_t)stream.index, c3[i] = (uint32_t)(stream.index >> 32);
    }
    uint32_t k0 = (uint32_t)stream.key, k1 = (uint32_t)(stream.key >> 32);
    for (int round = 0; round < ROUNDS; round++, k0 += 0x9E3779B9u, k1 += 0xBB67AE85u)
        for (int i = 0; i < blocks; i++) {
            uint64_t p0 = (uint64_t)0xD2511F53u * c0[i], p1 = (uint64_t)0xCD9E8D57u * c2[i];
            c0[i] = (uint32_t)(p1 >> 32) ^ c1[i] ^ k0;
            c1[i] = (uint32_t)p1;
            c2[i] = (uint32_t)(p0 >> 32) ^ c3[i] ^ k1;
            c3[i] = (uint32_t)p0;
        }
}

static inline void philox_chunk(RandomStream stream, uint64_t first_block, PhiloxChunk *out) {
    philox_blocks(stream, first_block, CHUNK / 4, out);
}
