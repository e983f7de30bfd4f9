#include "autograd/philox.h"
#include "autograd/error.h"
#include "autograd/normal.h"

enum { ROUNDS = 10, WORDS = 4 };

void philox4x32(uint64_t key, uint64_t counter_high, uint64_t counter_low, uint32_t out[4]) {
    uint32_t c0 = (uint32_t)counter_low, c1 = (uint32_t)(counter_low >> 32);
    uint32_t c2 = (uint32_t)counter_high, c3 = (uint32_t)(counter_high >> 32);
    uint32_t k0 = (uint32_t)key, k1 = (uint32_t)(key >> 32);
    for (int round = 0; round < ROUNDS; round++) {
        uint64_t product0 = (uint64_t)0xD2511F53u * c0, product1 = (uint64_t)0xCD9E8D57u * c2;
        c0 = (uint32_t)(product1 >> 32) ^ c1 ^ k0;
        c1 = (uint32_t)product1;
        c2 = (uint32_t)(product0 >> 32) ^ c3 ^ k1;
        c3 = (uint32_t)product0;
        k0 += 0x9E3779B9u;
        k1 += 0xBB67AE85u;
    }
    out[0] = c0, out[1] = c1, out[2] = c2, out[3] = c3;
}

uint64_t philox_stream(uint64_t purpose, uint64_t index) {
    CHECK(purpose < (1ull << 16) && index < (1ull << 48), "philox_stream: purpose %llu, index %llu",
          (unsigned long long)purpose, (unsigned long long)index);
    return purpose << 48 | index;
}

typedef void BlockToNumbers(const uint32_t bits[WORDS], float numbers[WORDS]);

/// Numbers come in blocks of four; the first and the last block of a range may be used in part.
static void fill(uint64_t key, uint64_t stream, uint64_t first, float *out, int64_t count,
                 BlockToNumbers *convert) {
    int64_t done = 0;
    while (done < count) {
        uint64_t index = first + (uint64_t)done;
        uint32_t bits[WORDS];
        float numbers[WORDS];
        philox4x32(key, stream, index / WORDS, bits);
        convert(bits, numbers);
        for (int i = (int)(index % WORDS); i < WORDS && done < count; i++) out[done++] = numbers[i];
    }
}

static void to_uniform(const uint32_t bits[WORDS], float numbers[WORDS]) {
    for (int i = 0; i < WORDS; i++) numbers[i] = uniform_from_bits(bits[i]);
}

static void to_normal(const uint32_t bits[WORDS], float numbers[WORDS]) {
    for (int i = 0; i < WORDS; i += 2)
        normal_pair(bits[i], bits[i + 1], &numbers[i], &numbers[i + 1]);
}

void philox_uniform(uint64_t key, uint64_t stream, uint64_t first, float *out, int64_t count) {
    fill(key, stream, first, out, count, to_uniform);
}

void philox_normal(uint64_t key, uint64_t stream, uint64_t first, float *out, int64_t count) {
    fill(key, stream, first, out, count, to_normal);
}
