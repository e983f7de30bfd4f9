/// Writing on: greedy or sampled generation for a batch of sequences of different lengths, with a
/// cache of keys and values.
#pragma once
#include "models/language/llama.h"

typedef struct GenerationOptions {
    int max_new_tokens;
    /// 0: greedy, the most probable token
    double temperature;
    /// sample from the fewest tokens that have this probability; 1: from all
    double top_p;
    /// of sampling, with the sequence's index and the number of the token
    uint64_t seed;
    /// NULL: none is captured
    const AttentionSelection *attention;
} GenerationOptions;

/// What to continue.
typedef struct GenerationPrompt {
    /// rows of the packed embeddings
    int length;
    /// names the sequence for sampling
    uint64_t index;
    /// where the visual tokens begin in the sequence
    int first_key;
    /// how many there are; 0: there is nothing to capture
    int num_keys;
} GenerationPrompt;

/// What came of it; free with generation_free().
typedef struct Generation {
    /// without the token that ended it
    int32_t *tokens;
    int count;
    /// by an end-of-sequence token, not by max_new_tokens
    bool ended;
    /// row i: from the position that produced token i (the token before it)
    AttentionMaps attention;
} Generation;

/// Continues num_prompts prompts given as packed embeddings [sum of lengths,C], in which visual
/// tokens may stand; lora may be NULL. Fills `generations`, with what there is when the program is
/// asked to stop. A prompt's tokens and attention have the same bits whichever other prompts there
/// are. No gradients.
void llama_generate(const Llama *llama, const LlamaLora *lora, Tensor *embeddings, int num_prompts,
                    const GenerationPrompt *prompts, const GenerationOptions *options,
                    Generation *generations);
void generation_free(Generation *generation);

/// The next token by the logits [V] of one row: as GenerationOptions say; `position` counts the
/// sequence's new tokens.
int32_t choose_token(const float *logits, int vocab_size, const GenerationOptions *options,
                     uint64_t index, int position);
