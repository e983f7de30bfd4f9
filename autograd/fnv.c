#include "autograd/fnv.h"

#include <string.h>

static const uint64_t OFFSET_BASIS = 0xcbf29ce484222325ull, PRIME = 0x100000001b3ull;

uint64_t fnv1a(const void *bytes, size_t size) {
    const unsigned char *text = bytes;
    uint64_t hash = OFFSET_BASIS;
    for (size_t i = 0; i < size; i++) hash = (hash ^ text[i]) * PRIME;
    return hash;
}

uint64_t fnv1a_words(const void *bytes, size_t size) {
    const unsigned char *text = bytes;
    uint64_t hash = OFFSET_BASIS, word = 0;
    for (size_t i = 0; i < size; i += sizeof word, word = 0) {
        size_t rest = size - i;
        memcpy(&word, text + i, rest < sizeof word ? rest : sizeof word);
        hash = (hash ^ word) * PRIME;
        hash ^= hash >> 29;
    }
    return hash;
}
