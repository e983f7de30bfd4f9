// Normal numbers. Compiled without fused products, so that they are the same bits at every level
// (autograd/normal.h).
#include "ops/cpu/random.h"
#include "autograd/normal.h"
#include "ops/cpu/cpu.h"

#include <string.h>

/// numbers[lane][b] is element 4 b + lane of the chunk.
static void normals_from_bits(const PhiloxChunk *bits, float numbers[restrict 4][CHUNK / 4]) {
    for (int lane = 0; lane < 4; lane += 2)
        for (int b = 0; b < CHUNK / 4; b++)
            normal_pair(bits->lanes[lane][b], bits->lanes[lane + 1][b], &numbers[lane][b],
                        &numbers[lane + 1][b]);
}

static void interleave(float numbers[restrict 4][CHUNK / 4], float *restrict out) {
    for (int b = 0; b < CHUNK / 4; b++)
        for (int lane = 0; lane < 4; lane++) out[4 * b + lane] = numbers[lane][b];
}

static void random_normal(RandomStream stream, Tensor *y) {
    int64_t n = tensor_numel(y);
    PARALLEL_FOR(4 * n) // each costs as much as moving a few elements
    for (int64_t chunk = 0; chunk < chunk_count(n, CHUNK); chunk++) {
        PhiloxChunk bits;
        float numbers[4][CHUNK / 4], last[CHUNK];
        float *target = (float *)y->data + chunk * CHUNK;
        int64_t length = chunk_length(n, CHUNK, chunk);
        philox_chunk(stream, (uint64_t)(chunk * CHUNK / 4), &bits);
        normals_from_bits(&bits, numbers);
        interleave(numbers, length == CHUNK ? target : last);
        if (length < CHUNK) memcpy(target, last, (size_t)length * sizeof *last);
    }
}

FILL_FAMILY(random)
