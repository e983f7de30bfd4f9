/// Keys and values of tokens that have been seen, for sequences of different lengths. Each sequence
/// has rows of its own in a block per layer, with room behind them for the tokens to come: a pass
/// writes its rows where they stay. Where the room is used up it is doubled, and all rows are moved
/// once.
#pragma once
#include "models/language/llama.h"

struct LlamaCache {
    int num_layers, num_sequences;
    /// of each sequence: tokens seen, and where its rows begin in the blocks
    int *lengths, *offsets;
    /// of each sequence: the tokens that it begins with; 0: it is forgotten
    int *prompt_lengths;
    /// rows that each sequence has behind those, and the most that are ever needed
    int room, most_room;
    /// per layer [rows,kv_heads*head_dim], undefined where no token was seen; NULL before the first
    /// pass
    Tensor **keys, **values;
    /// INT32 [n]: the rows of the blocks that those of the pass under way become
    Tensor *places;
};

/// For num_sequences sequences, of which number s begins with prompt_lengths[s] >= 1 tokens and
/// gets at most most_new_tokens more.
LlamaCache *llama_cache_new(const Llama *llama, int num_sequences, const int *prompt_lengths,
                            int most_new_tokens);
void llama_cache_free(LlamaCache *cache);

/// Begins a pass that brings new_lengths[i] >= 1 tokens of sequence sequences[i], for `count`
/// different ones, packed in order. Returns the attention of the new tokens over old and new ones,
/// and their rotations for llama_forward(). The pass must lie within the present scope.
Attention llama_cache_extend(LlamaCache *cache, const Llama *llama, int count, const int *sequences,
                             const int *new_lengths, Tensor **rotations);
/// Within a pass: puts a layer's new keys and values in, and replaces them by the blocks.
void llama_cache_append(LlamaCache *cache, int layer, Tensor **keys, Tensor **values);
/// Forgets a sequence. Its rows are given up when the others are next moved.
void llama_cache_forget(LlamaCache *cache, int sequence);
