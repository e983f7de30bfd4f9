/// Writing on: greedy or sampled generation for a batch of sequences of different lengths, with a cache of keys and values.
#pragma once
#include "models/language/llama.h"

typedef struct GenerationOptions {
    int max_new_tokens;
    double temperature; ///< 0: greedy, the most probable token
    double top_p;       ///< sample from the fewest tokens that have this probability; 1: from all
    uint64_t seed;      ///< of sampling, with the sequence's index and the number of the token
    const AttentionSelection *attention; ///< NULL: none is captured
} GenerationOptions;

/// What to continue.
typedef struct GenerationPrompt {
    int length;     ///< rows of the packed embeddings
    uint64_t index; ///< names the sequence for sampling
    int first_key;  ///< where the visual tokens begin in the sequence
    int num_keys;   ///< how many there are; 0: there is nothing to capture
} GenerationPrompt;

/// What came of it; free with generation_free().
typedef struct Generation {
    int32_t *tokens; ///< without the token that ended it
    int count;
    bool ended; ///< by an end-of-sequence token, not by max_new_tokens
    AttentionMaps
        attention; ///< row i: from the position that produced token i (the token before it)
} Generation;

/// Continues num_prompts prompts given as packed embeddings [sum of lengths,C], in which visual tokens may stand; lora may be NULL.
/// Fills `generations`, with what there is when the program is asked to stop. No gradients.
void llama_generate(const Llama *llama, const LlamaLora *lora, Tensor *embeddings, int num_prompts,
                    const GenerationPrompt *prompts, const GenerationOptions *options,
                    Generation *generations);
void generation_free(Generation *generation);

/// The next token by the logits [V] of one row: as GenerationOptions say; `position` counts the sequence's new tokens.
int32_t choose_token(const float *logits, int vocab_size, const GenerationOptions *options,
                     uint64_t index, int position);
