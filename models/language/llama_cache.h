/// Keys and values of tokens that have been seen, for sequences of different lengths. Each sequence
/// has a place of its own in a block per layer, with room behind its rows for the tokens to come: a
/// pass writes its rows where they stay. A place whose sequence is forgotten is the next one's.
/// Where the room is used up it is doubled, and all rows are moved once.
#pragma once
#include "models/language/llama.h"

struct LlamaCache {
    int num_layers, num_places;
    /// of each place: tokens seen, and those that its sequence begins with; 0: it is free
    int *lengths, *prompt_lengths;
    /// of all sequences there were
    int longest_prompt;
    /// rows behind the longest prompt, and the most that are ever needed
    int room, most_room;
    /// rows of each place in the blocks
    int capacity;
    /// per layer [num_places*capacity,kv_heads*head_dim], undefined where no token was seen; NULL
    /// before the first pass
    Tensor **keys, **values;
    /// INT32 [n]: the rows of the blocks that those of the pass under way become
    Tensor *rows;
};

/// For num_places sequences at a time, each of which gets at most most_new_tokens behind those that
/// it begins with.
LlamaCache *llama_cache_new(const Llama *llama, int num_places, int most_new_tokens);
void llama_cache_free(LlamaCache *cache);

/// A sequence that begins with prompt_length >= 1 tokens: the free place that is now its own.
int llama_cache_begin(LlamaCache *cache, int prompt_length);
/// Forgets the sequence of a place, which is free then.
void llama_cache_forget(LlamaCache *cache, int place);

/// Begins a pass that brings new_lengths[i] >= 1 tokens of the sequence of places[i], for `count`
/// different ones, packed in order. Returns the attention of the new tokens over old and new ones,
/// and their rotations for llama_forward(). The pass must lie within the present scope.
Attention llama_cache_extend(LlamaCache *cache, const Llama *llama, int count, const int *places,
                             const int *new_lengths, Tensor **rotations);
/// Within a pass: puts a layer's new keys and values in, and replaces them by the blocks.
void llama_cache_append(LlamaCache *cache, int layer, Tensor **keys, Tensor **values);
