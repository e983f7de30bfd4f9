// An open-addressing table that is never more than half full.
#include "data/tokenizers/vocabulary.h"
#include "autograd/error.h"
#include "autograd/fnv.h"

#include <stdlib.h>
#include <string.h>

struct Vocabulary {
    /// [id_limit]
    char **texts;
    int32_t id_limit;
    /// ids by their text's hash, -1 where empty; a power of two
    int32_t *slots;
    size_t mask;
    /// how many tokens there is room for
    size_t left;
};

Vocabulary *vocabulary_new(size_t capacity, int32_t id_limit) {
    Vocabulary *vocabulary = checked_calloc(1, sizeof *vocabulary);
    vocabulary->texts = checked_calloc((size_t)id_limit + 1, sizeof *vocabulary->texts);
    vocabulary->id_limit = id_limit;
    vocabulary->left = capacity;
    size_t size = 16;
    while (size < 2 * capacity) size *= 2;
    vocabulary->slots = checked_malloc(size * sizeof *vocabulary->slots);
    memset(vocabulary->slots, 0xff, size * sizeof *vocabulary->slots);
    vocabulary->mask = size - 1;
    return vocabulary;
}

void vocabulary_free(Vocabulary *vocabulary) {
    if (!vocabulary) return;
    for (int32_t i = 0; i < vocabulary->id_limit; i++) free(vocabulary->texts[i]);
    free(vocabulary->texts);
    free(vocabulary->slots);
    free(vocabulary);
}

static uint64_t text_hash(const char *text, size_t length) {
    uint64_t hash = fnv1a(text, length);
    return hash ^ hash >> 32;
}

/// Where the text is, or the empty slot where it would go.
static size_t find_slot(const Vocabulary *vocabulary, const char *text, size_t length) {
    size_t slot = text_hash(text, length) & vocabulary->mask;
    for (; vocabulary->slots[slot] >= 0; slot = (slot + 1) & vocabulary->mask) {
        const char *there = vocabulary->texts[vocabulary->slots[slot]];
        if (strlen(there) == length && memcmp(there, text, length) == 0) break;
    }
    return slot;
}

bool vocabulary_add(Vocabulary *vocabulary, const char *text, int32_t id) {
    if (id < 0 || id >= vocabulary->id_limit || vocabulary->texts[id]) return false;
    const size_t slot = find_slot(vocabulary, text, strlen(text));
    if (vocabulary->slots[slot] >= 0) return false;
    CHECK(vocabulary->left-- > 0, "a vocabulary has more tokens than room was made for");
    vocabulary->texts[id] = checked_strdup(text);
    vocabulary->slots[slot] = id;
    return true;
}

int32_t vocabulary_id(const Vocabulary *vocabulary, const char *text, size_t length) {
    return vocabulary->slots[find_slot(vocabulary, text, length)];
}

const char *vocabulary_text(const Vocabulary *vocabulary, int32_t id) {
    return id >= 0 && id < vocabulary->id_limit ? vocabulary->texts[id] : NULL;
}

int32_t vocabulary_id_limit(const Vocabulary *vocabulary) { return vocabulary->id_limit; }
