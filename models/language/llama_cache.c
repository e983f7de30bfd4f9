#include "models/language/llama_cache.h"

#include <stdlib.h>
#include <string.h>

/// At first there is room for so many tokens to come.
enum { FIRST_ROOM = 128 };

static int least(int a, int b) { return a < b ? a : b; }

LlamaCache *llama_cache_new(const Llama *llama, int num_places, int most_new_tokens) {
    LlamaCache *cache = checked_calloc(1, sizeof *cache);
    size_t layers = (size_t)llama->config.num_hidden_layers, places = (size_t)num_places;
    cache->num_layers = llama->config.num_hidden_layers;
    cache->num_places = num_places;
    cache->most_room = most_new_tokens;
    cache->room = least(most_new_tokens, FIRST_ROOM);
    cache->lengths = checked_calloc(places, sizeof *cache->lengths);
    cache->prompt_lengths = checked_calloc(places, sizeof *cache->prompt_lengths);
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
    free(cache->prompt_lengths);
    free(cache);
}

int llama_cache_begin(LlamaCache *cache, int prompt_length) {
    int place = 0;
    while (place < cache->num_places && cache->prompt_lengths[place]) place++;
    CHECK(place < cache->num_places, "llama_cache: all of %d places are taken", cache->num_places);
    cache->prompt_lengths[place] = prompt_length;
    if (prompt_length > cache->longest_prompt) cache->longest_prompt = prompt_length;
    return place;
}

void llama_cache_forget(LlamaCache *cache, int place) {
    cache->lengths[place] = cache->prompt_lengths[place] = 0;
}

static Tensor *rows_from(Device *device, int first, int count) {
    int32_t *numbers = checked_malloc((size_t)count * sizeof *numbers);
    for (int i = 0; i < count; i++) numbers[i] = first + i;
    Tensor *rows = tensor_from_host(device, INT32, SHAPE(count), numbers);
    free(numbers);
    return rows;
}

/// Moves the rows of all sequences to rows[place], in a block of places of `capacity`.
static void move_rows(const LlamaCache *cache, const Llama *llama, Tensor *const *rows,
                      int capacity, Tensor **block) {
    int64_t width = (int64_t)llama->config.num_key_value_heads * llama->config.head_dim;
    scope_begin();
    Tensor *moved = tensor_new(llama->device, llama->dtype,
                               SHAPE((int64_t)cache->num_places * capacity, width));
    for (int i = 0; i < cache->num_places; i++)
        if (rows[i])
            write_rows(tensor_slice(*block, (int64_t)i * cache->capacity * width,
                                    SHAPE(cache->lengths[i], width)),
                       rows[i], moved);
    tensor_release(*block);
    *block = tensor_retain(moved);
    scope_end();
}

/// Makes blocks whose places have this capacity.
static void make_blocks(LlamaCache *cache, const Llama *llama, int capacity) {
    Tensor **rows = checked_calloc((size_t)cache->num_places, sizeof *rows);
    scope_begin();
    for (int i = 0; i < cache->num_places; i++)
        if (cache->lengths[i]) rows[i] = rows_from(llama->device, i * capacity, cache->lengths[i]);
    for (int i = 0; i < cache->num_layers; i++) {
        move_rows(cache, llama, rows, capacity, &cache->keys[i]);
        move_rows(cache, llama, rows, capacity, &cache->values[i]);
    }
    scope_end();
    cache->capacity = capacity;
    free(rows);
}

/// Room for the new rows.
static void reserve(LlamaCache *cache, const Llama *llama, int count, const int *places,
                    const int *new_lengths) {
    int needed = 0;
    for (int i = 0; i < count; i++) {
        int length = cache->lengths[places[i]] + new_lengths[i],
            behind = length - cache->prompt_lengths[places[i]];
        CHECK(behind <= cache->most_room, "llama_cache: %d tokens behind a prompt, not %d", behind,
              cache->most_room);
        if (length > needed) needed = length;
    }
    while (needed > cache->longest_prompt + cache->room)
        cache->room = least(2 * cache->room, cache->most_room);
    if (needed > cache->capacity) make_blocks(cache, llama, cache->longest_prompt + cache->room);
}

Attention llama_cache_extend(LlamaCache *cache, const Llama *llama, int count, const int *places,
                             const int *new_lengths, Tensor **rotations) {
    reserve(cache, llama, count, places, new_lengths);
    int total = 0, row = 0;
    for (int i = 0; i < count; i++) total += new_lengths[i];
    int *first = checked_malloc((size_t)count * sizeof *first);
    int32_t *rows = checked_malloc((size_t)total * sizeof *rows);
    int32_t(*segments)[4] = checked_malloc((size_t)count * sizeof *segments);
    for (int i = 0; i < count; i++) {
        int s = places[i], offset = s * cache->capacity;
        first[i] = cache->lengths[s];
        cache->lengths[s] += new_lengths[i];
        segments[i][0] = row;
        segments[i][1] = new_lengths[i];
        segments[i][2] = offset;
        segments[i][3] = cache->lengths[s];
        for (int j = first[i]; j < cache->lengths[s]; j++) rows[row++] = offset + j;
    }
    const LlamaConfig *config = &llama->config;
    *rotations = llama_rotations(llama, count, first, new_lengths, total);
    cache->rows = tensor_from_host(llama->device, INT32, SHAPE(total), rows);
    Attention shape = attention_segments(llama->device, count, (const int32_t(*)[4])segments,
                                         config->num_attention_heads, config->num_key_value_heads,
                                         config->head_dim, true);
    free(first);
    free(rows);
    free(segments);
    return shape;
}

void llama_cache_append(LlamaCache *cache, int layer, Tensor **keys, Tensor **values) {
    write_rows(*keys, cache->rows, cache->keys[layer]);
    write_rows(*values, cache->rows, cache->values[layer]);
    *keys = cache->keys[layer];
    *values = cache->values[layer];
}
