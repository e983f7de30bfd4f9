/// Keys and values of tokens that have been seen, for sequences of different lengths, packed one
/// behind the other.
#pragma once
#include "models/language/llama.h"

struct LlamaCache {
    int num_layers, num_sequences;
    /// tokens seen of each sequence
    int *lengths;
    /// where each begins in the packed rows
    int *offsets;
    /// per layer [rows,kv_heads*head_dim]; NULL before the first pass
    Tensor **keys, **values;
    /// how old rows and those of the pass under way are put together; NULL in the first
    Tensor *merge;
};

LlamaCache *llama_cache_new(const Llama *llama, int num_sequences);
void llama_cache_free(LlamaCache *cache);

/// Begins a pass that brings new_lengths[s] >= 1 tokens of sequence s, packed in order. Returns the
/// attention of the new tokens over old and new ones, and their rotations for llama_forward(). The
/// pass must lie within the present scope.
Attention llama_cache_extend(LlamaCache *cache, const Llama *llama, const int *new_lengths,
                             Tensor **rotations);
/// Within a pass: puts a layer's new keys and values in, and replaces them by all there are.
void llama_cache_append(LlamaCache *cache, int layer, Tensor **keys, Tensor **values);
/// Forgets the sequences whose keep[s] is false; the others close ranks.
void llama_cache_keep(LlamaCache *cache, const bool *keep);
