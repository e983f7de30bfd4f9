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
    /// (generation->ended is set then). Sequences are counted from 0 as they come. Returns whether
    /// the sequence goes on; false cuts it off behind that token. NULL: nobody is told.
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
    /// nothing more comes
    bool complete;
    /// row i: from the position that produced token i (the token before it)
    AttentionMaps attention;
};

/// Sequences that are written side by side; when one is complete, another may take its place. A
/// prompt's tokens and attention have the same bits whichever other prompts there are. No
/// gradients.
typedef struct LlamaWriting LlamaWriting;

/// For num_places >= 1 sequences at a time; lora may be NULL. `options` must outlive it.
LlamaWriting *llama_writing_new(const Llama *llama, const LlamaLora *lora, int num_places,
                                const GenerationOptions *options);
void llama_writing_free(LlamaWriting *writing);
/// Sequences that are not complete yet.
int llama_writing_count(const LlamaWriting *writing);
/// Reads a prompt given as embeddings [length,C], in which visual tokens may stand, and takes its
/// first token. A place must be free. `generation` is the sequence's from now on, and must stay
/// where it is until it is complete.
void llama_writing_add(LlamaWriting *writing, Tensor *embeddings, const GenerationPrompt *prompt,
                       Generation *generation);
/// Reads the newest token of every sequence and takes the next one of each.
void llama_writing_step(LlamaWriting *writing);

/// Continues num_prompts prompts given as packed embeddings [sum of lengths,C]; lora may be NULL.
/// Fills `generations`, with what there is when the program is asked to stop.
void llama_generate(const Llama *llama, const LlamaLora *lora, Tensor *embeddings, int num_prompts,
                    const GenerationPrompt *prompts, const GenerationOptions *options,
                    Generation *generations);
void generation_free(Generation *generation);
