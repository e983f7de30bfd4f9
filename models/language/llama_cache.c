#include "models/language/llama_cache.h"

#include <stdlib.h>
#include <string.h>

/// At first there is room for so many tokens to come.
enum { FIRST_ROOM = 128 };

static int least(int a, int b) { return a < b ? a : b; }

LlamaCache *llama_cache_new(const Llama *llama, int num_sequences, const int *prompt_lengths,
                            int most_new_tokens) {
    LlamaCache *cache = checked_calloc(1, sizeof *cache);
    size_t layers = (size_t)llama->config.num_hidden_layers, sequences = (size_t)num_sequences;
    cache->num_layers = llama->config.num_hidden_layers;
    cache->num_sequences = num_sequences;
    cache->most_room = most_new_tokens;
    cache->room = least(most_new_tokens, FIRST_ROOM);
    cache->lengths = checked_calloc(sequences, sizeof *cache->lengths);
    cache->offsets = checked_calloc(sequences, sizeof *cache->offsets);
    cache->prompt_lengths = checked_calloc(sequences, sizeof *cache->prompt_lengths);
    memcpy(cache->prompt_lengths, prompt_lengths, sequences * sizeof *prompt_lengths);
    cache->keys = checked_calloc(layers, sizeof(Tensor *));
    cache->values = checked_calloc(layers, sizeof(Tensor *));
    return cache;
}

void llama_cache_free(LlamaCache *cache) {
    if (!cache) return;
    for (int i = 0; i < cache->num_layers; i++) {
        tensor_release(cache->keys[i]);
        tensor_release(cache->values[i]);
    }
    free(cache->keys);
    free(cache->values);
    free(cache->lengths);
    free(cache->offsets);
    free(cache->prompt_lengths);
    free(cache);
}

static int capacity(const LlamaCache *cache, int sequence) {
    int prompt = cache->prompt_lengths[sequence];
    return prompt ? prompt + cache->room : 0;
}

static Tensor *places_of(Device *device, int first, int count) {
    int32_t *rows = checked_malloc((size_t)count * sizeof *rows);
    for (int i = 0; i < count; i++) rows[i] = first + i;
    Tensor *places = tensor_from_host(device, INT32, SHAPE(count), rows);
    free(rows);
    return places;
}

/// Moves the rows of all sequences from their offsets to places[s], in a block of `rows` rows.
static void move_rows(const LlamaCache *cache, const Llama *llama, Tensor *const *places, int rows,
                      Tensor **block) {
    int64_t width = (int64_t)llama->config.num_key_value_heads * llama->config.head_dim;
    scope_begin();
    Tensor *moved = tensor_new(llama->device, llama->dtype, SHAPE(rows, width));
    for (int s = 0; s < cache->num_sequences; s++)
        if (places[s])
            write_rows(
                tensor_slice(*block, cache->offsets[s] * width, SHAPE(cache->lengths[s], width)),
                places[s], moved);
    tensor_release(*block);
    *block = tensor_retain(moved);
    scope_end();
}

/// Makes blocks in which every sequence that is not forgotten has its room.
static void make_blocks(LlamaCache *cache, const Llama *llama) {
    size_t sequences = (size_t)cache->num_sequences;
    Tensor **places = checked_calloc(sequences, sizeof *places);
    int *offsets = checked_calloc(sequences, sizeof *offsets), rows = 0;
    scope_begin();
    for (int s = 0; s < cache->num_sequences; rows += capacity(cache, s++)) {
        offsets[s] = rows;
        if (cache->prompt_lengths[s] && cache->lengths[s])
            places[s] = places_of(llama->device, rows, cache->lengths[s]);
    }
    for (int i = 0; i < cache->num_layers; i++) {
        move_rows(cache, llama, places, rows, &cache->keys[i]);
        move_rows(cache, llama, places, rows, &cache->values[i]);
    }
    scope_end();
    free(cache->offsets);
    cache->offsets = offsets;
    free(places);
}

/// Room for the new rows.
static void reserve(LlamaCache *cache, const Llama *llama, int count, const int *sequences,
                    const int *new_lengths) {
    int needed = 0;
    for (int i = 0; i < count; i++) {
        int s = sequences[i], more = cache->lengths[s] + new_lengths[i] - cache->prompt_lengths[s];
        if (more > needed) needed = more;
    }
    CHECK(needed <= cache->most_room, "llama_cache: %d tokens behind a prompt, not %d", needed,
          cache->most_room);
    bool used_up = needed > cache->room;
    while (needed > cache->room) cache->room = least(2 * cache->room, cache->most_room);
    if (used_up || !cache->keys[0]) make_blocks(cache, llama);
}

Attention llama_cache_extend(LlamaCache *cache, const Llama *llama, int count, const int *sequences,
                             const int *new_lengths, Tensor **rotations) {
    reserve(cache, llama, count, sequences, new_lengths);
    int total = 0, row = 0;
    for (int i = 0; i < count; i++) total += new_lengths[i];
    int *first = checked_malloc((size_t)count * sizeof *first);
    int32_t *places = checked_malloc((size_t)total * sizeof *places);
    int32_t(*segments)[4] = checked_malloc((size_t)count * sizeof *segments);
    for (int i = 0; i < count; i++) {
        int s = sequences[i], offset = cache->offsets[s];
        first[i] = cache->lengths[s];
        cache->lengths[s] += new_lengths[i];
        segments[i][0] = row;
        segments[i][1] = new_lengths[i];
        segments[i][2] = offset;
        segments[i][3] = cache->lengths[s];
        for (int j = first[i]; j < cache->lengths[s]; j++) places[row++] = offset + j;
    }
    const LlamaConfig *config = &llama->config;
    *rotations = llama_rotations(llama, count, first, new_lengths, total);
    cache->places = tensor_from_host(llama->device, INT32, SHAPE(total), places);
    Attention shape = attention_segments(llama->device, count, (const int32_t(*)[4])segments,
                                         config->num_attention_heads, config->num_key_value_heads,
                                         config->head_dim, true);
    free(first);
    free(places);
    free(segments);
    return shape;
}

void llama_cache_append(LlamaCache *cache, int layer, Tensor **keys, Tensor **values) {
    write_rows(*keys, cache->places, cache->keys[layer]);
    write_rows(*values, cache->places, cache->values[layer]);
    *keys = cache->keys[layer];
    *values = cache->values[layer];
}

void llama_cache_forget(LlamaCache *cache, int sequence) {
    cache->lengths[sequence] = cache->prompt_lengths[sequence] = 0;
}
