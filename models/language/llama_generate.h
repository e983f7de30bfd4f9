/// Writing on: greedy or sampled generation for a batch of sequences of different lengths, with a
/// cache of keys and values.
#pragma once
#include "models/language/llama.h"
#include "models/language/sampling.h"

typedef struct Generation Generation;

typedef struct GenerationOptions {
    int max_new_tokens;
    /// zeros: greedy
    Sampling sampling;
    /// tokens that end a sequence beside those of the model's configuration
    const int32_t *end_tokens;
    int num_end_tokens;
    /// NULL: none is captured
    const AttentionSelection *attention;
    /// Told of every token of a sequence when it is taken, the one that ends it among them
    /// (generation->ended is set then). Returns whether the sequence goes on; false cuts it off
    /// behind that token. NULL: nobody is told.
    bool (*taken)(void *context, int sequence, const Generation *generation);
    void *context;
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
struct Generation {
    /// without the token that ended it
    int32_t *tokens;
    int count;
    /// by an end-of-sequence token, not by max_new_tokens
    bool ended;
    /// row i: from the position that produced token i (the token before it)
    AttentionMaps attention;
};

/// Continues num_prompts prompts given as packed embeddings [sum of lengths,C], in which visual
/// tokens may stand; lora may be NULL. Fills `generations`, with what there is when the program is
/// asked to stop. A prompt's tokens and attention have the same bits whichever other prompts there
/// are. No gradients.
void llama_generate(const Llama *llama, const LlamaLora *lora, Tensor *embeddings, int num_prompts,
                    const GenerationPrompt *prompts, const GenerationOptions *options,
                    Generation *generations);
void generation_free(Generation *generation);
