#include "models/language/llama_generate.h"

#include "autograd/stop_request.h"
#include "models/language/llama_cache.h"

#include <stdlib.h>
#include <string.h>

/// A sequence that is being written.
typedef struct Sequence {
    /// counts those that were added
    int number;
    GenerationPrompt prompt;
    Generation *generation;
    /// in the cache
    int place;
} Sequence;

/// What comes of a sequence has the same bits whichever others there are: a prompt is a pass of its
/// own, and in the passes over the newest tokens of all sequences every row is computed by itself
/// (LlamaOptions.few_rows).
struct LlamaWriting {
    const Llama *llama;
    const GenerationOptions *options;
    LlamaOptions forward;
    LlamaCache *cache;
    int count, num_places, added;
    /// [count] of [num_places]
    Sequence *sequences;
    /// [num_places][V], for the next token
    float *logits;
};

static bool ends(const LlamaWriting *writing, int32_t token) {
    const LlamaConfig *config = &writing->llama->config;
    const GenerationOptions *options = writing->options;
    for (int i = 0; i < config->num_eos; i++)
        if (config->eos_token_id[i] == token) return true;
    for (int i = 0; i < options->num_end_tokens; i++)
        if (options->end_tokens[i] == token) return true;
    return false;
}

/// Asks for the attention of every sequence's last row, which produces the next token. Returns how
/// many were asked for.
static int ask_for_attention(const GenerationOptions *options, int count, Sequence *sequences,
                             const int32_t *last, CaptureRow *rows) {
    int asked = 0;
    for (int i = 0; i < count; i++) {
        const GenerationPrompt *prompt = &sequences[i].prompt;
        if (!options->attention || prompt->num_keys == 0) continue;
        AttentionMaps *maps = &sequences[i].generation->attention;
        rows[asked++] =
            (CaptureRow){last[i], prompt->first_key, maps, attention_maps_add_row(maps)};
    }
    return asked;
}

/// Runs lengths[i] new rows of each of `count` sequences. writing->logits receives [count][V],
/// those of every one's last row.
static void run_rows(LlamaWriting *writing, int count, Sequence *sequences, const int *lengths,
                     Tensor *embeddings) {
    const Llama *llama = writing->llama;
    size_t n = (size_t)count;
    int32_t *last = checked_malloc(n * sizeof *last);
    int *places = checked_malloc(n * sizeof *places);
    for (int i = 0, row = -1; i < count; i++) {
        last[i] = row += lengths[i];
        places[i] = sequences[i].place;
    }
    CaptureRow *rows = checked_malloc(n * sizeof *rows);
    LlamaCapture capture = {.selection = writing->options->attention, .rows = rows};
    capture.num_rows = ask_for_attention(writing->options, count, sequences, last, rows);
    writing->forward.capture = capture.num_rows ? &capture : NULL;

    Tensor *rotations;
    Attention shape = llama_cache_extend(writing->cache, llama, count, places, lengths, &rotations);
    Tensor *hidden = llama_forward(llama, embeddings, rotations, shape, &writing->forward);
    Tensor *ends_of = tensor_from_host(llama->device, INT32, SHAPE(count), last);
    tensor_to_host_float(llama_next_logits(llama, hidden, ends_of), writing->logits);
    free(last);
    free(places);
    free(rows);
}

/// Takes the next token of a sequence by its logits [V].
static void take_token(const LlamaWriting *writing, const Sequence *sequence, const float *logits) {
    const GenerationOptions *options = writing->options;
    Generation *generation = sequence->generation;
    int32_t token = sample_token(logits, writing->llama->config.vocab_size, &options->sampling,
                                 sequence->prompt.index, generation->count);
    generation->ended = ends(writing, token);
    if (generation->ended)
        generation->attention.rows -= generation->attention.rows > 0;
    else
        generation->tokens[generation->count++] = token;
    bool goes_on =
        !options->taken || options->taken(options->context, sequence->number, generation);
    generation->complete =
        !goes_on || generation->ended || generation->count == options->max_new_tokens;
    if (generation->complete) llama_cache_forget(writing->cache, sequence->place);
}

LlamaWriting *llama_writing_new(const Llama *llama, const LlamaLora *lora, int num_places,
                                const GenerationOptions *options) {
    LlamaWriting *writing = checked_calloc(1, sizeof *writing);
    size_t places = (size_t)num_places, vocab_size = (size_t)llama->config.vocab_size;
    *writing = (LlamaWriting){.llama = llama, .options = options, .forward = {.lora = lora}};
    writing->num_places = num_places;
    writing->sequences = checked_malloc(places * sizeof *writing->sequences);
    writing->logits = checked_malloc(places * vocab_size * sizeof *writing->logits);
    writing->cache = writing->forward.cache =
        llama_cache_new(llama, num_places, options->max_new_tokens);
    return writing;
}

void llama_writing_free(LlamaWriting *writing) {
    if (!writing) return;
    llama_cache_free(writing->cache);
    free(writing->sequences);
    free(writing->logits);
    free(writing);
}

int llama_writing_count(const LlamaWriting *writing) { return writing->count; }

void llama_writing_add(LlamaWriting *writing, Tensor *embeddings, const GenerationPrompt *prompt,
                       Generation *generation) {
    const LlamaConfig *config = &writing->llama->config;
    const GenerationOptions *options = writing->options;
    CHECK(writing->count < writing->num_places, "llama_writing: all of %d places are taken",
          writing->num_places);
    *generation = (Generation){.complete = options->max_new_tokens < 1};
    int number = writing->added++;
    if (options->attention)
        generation->attention = attention_maps_new(options->attention, config->num_hidden_layers,
                                                   config->num_attention_heads, prompt->num_keys);
    if (generation->complete) return;
    generation->tokens = checked_malloc((size_t)options->max_new_tokens * sizeof(int32_t));
    Sequence *sequence = &writing->sequences[writing->count];
    *sequence =
        (Sequence){number, *prompt, generation, llama_cache_begin(writing->cache, prompt->length)};
    tape_pause();
    scope_begin();
    writing->forward.few_rows = false;
    run_rows(writing, 1, sequence, &prompt->length, embeddings);
    scope_end();
    tape_resume();
    take_token(writing, sequence, writing->logits);
    writing->count += !generation->complete;
}

/// The newest token of every sequence, embedded.
static Tensor *newest_tokens(const LlamaWriting *writing) {
    int32_t *tokens = checked_malloc((size_t)writing->count * sizeof *tokens);
    for (int i = 0; i < writing->count; i++) {
        const Generation *generation = writing->sequences[i].generation;
        tokens[i] = generation->tokens[generation->count - 1];
    }
    Tensor *embeddings = llama_embed(writing->llama, tokens, writing->count);
    free(tokens);
    return embeddings;
}

void llama_writing_step(LlamaWriting *writing) {
    size_t vocab_size = (size_t)writing->llama->config.vocab_size;
    int kept = 0, *ones = checked_malloc((size_t)writing->count * sizeof *ones + 1);
    for (int i = 0; i < writing->count; i++) ones[i] = 1;
    tape_pause();
    scope_begin();
    writing->forward.few_rows = true;
    if (writing->count)
        run_rows(writing, writing->count, writing->sequences, ones, newest_tokens(writing));
    scope_end();
    tape_resume();
    for (int i = 0; i < writing->count; i++) {
        Sequence sequence = writing->sequences[i];
        take_token(writing, &sequence, writing->logits + (size_t)i * vocab_size);
        if (!sequence.generation->complete) writing->sequences[kept++] = sequence;
    }
    writing->count = kept;
    free(ones);
}

// ---- a batch

/// `length` rows of the packed embeddings, as a tensor that begins where any does.
static Tensor *prompt_rows(Tensor *embeddings, int first, int length) {
    int32_t *index = checked_malloc((size_t)length * sizeof *index);
    for (int i = 0; i < length; i++) index[i] = first + i;
    Tensor *rows =
        gather_rows(embeddings, tensor_from_host(embeddings->device, INT32, SHAPE(length), index));
    free(index);
    return rows;
}

void llama_generate(const Llama *llama, const LlamaLora *lora, Tensor *embeddings, int num_prompts,
                    const GenerationPrompt *prompts, const GenerationOptions *options,
                    Generation *generations) {
    LlamaWriting *writing = llama_writing_new(llama, lora, num_prompts, options);
    memset(generations, 0, (size_t)num_prompts * sizeof *generations);
    tape_pause();
    for (int s = 0, first = 0; s < num_prompts && !(s > 0 && stop_requested()); s++) {
        scope_begin();
        llama_writing_add(writing, prompt_rows(embeddings, first, prompts[s].length), &prompts[s],
                          &generations[s]);
        scope_end();
        first += prompts[s].length;
    }
    while (writing->count && !stop_requested()) llama_writing_step(writing);
    tape_resume();
    llama_writing_free(writing);
}

void generation_free(Generation *generation) {
    free(generation->tokens);
    attention_maps_free(&generation->attention);
    *generation = (Generation){0};
}
