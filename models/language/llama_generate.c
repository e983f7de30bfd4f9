#include "models/language/llama_generate.h"

#include "autograd/stop_request.h"
#include "models/language/llama_cache.h"

#include <stdlib.h>

/// The sequences that are still being written. What comes of one has the same bits whichever
/// others there are: a prompt is a pass of its own, and in the passes over the newest tokens of all
/// sequences every row is computed by itself (LlamaOptions.few_rows).
typedef struct Writing {
    const Llama *llama;
    const GenerationOptions *options;
    LlamaOptions forward;
    LlamaCache *cache;
    const GenerationPrompt *prompts;
    Generation *generations;
    int count;
    /// [count], which prompt
    int *sequences;
    /// [count], the last token of each
    int32_t *tokens;
    /// [count][V], for the next one
    float *logits;
} Writing;

static bool ends(const Writing *writing, int32_t token) {
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
static int ask_for_attention(const Writing *writing, int count, const int *sequences,
                             const int32_t *last, CaptureRow *rows) {
    int asked = 0;
    for (int i = 0; i < count; i++) {
        const GenerationPrompt *prompt = &writing->prompts[sequences[i]];
        if (!writing->options->attention || prompt->num_keys == 0) continue;
        AttentionMaps *maps = &writing->generations[sequences[i]].attention;
        rows[asked++] =
            (CaptureRow){last[i], prompt->first_key, maps, attention_maps_add_row(maps)};
    }
    return asked;
}

/// Runs lengths[i] new rows of sequence sequences[i], for `count` of them. `logits` receives
/// [count][V], those of every one's last row.
static void run_rows(Writing *writing, int count, const int *sequences, const int *lengths,
                     Tensor *embeddings, float *logits) {
    const Llama *llama = writing->llama;
    int32_t *last = checked_malloc((size_t)count * sizeof *last);
    for (int i = 0, row = -1; i < count; i++) last[i] = row += lengths[i];
    CaptureRow *rows = checked_malloc((size_t)count * sizeof *rows);
    LlamaCapture capture = {.selection = writing->options->attention, .rows = rows};
    capture.num_rows = ask_for_attention(writing, count, sequences, last, rows);
    writing->forward.capture = capture.num_rows ? &capture : NULL;

    Tensor *rotations;
    Attention shape =
        llama_cache_extend(writing->cache, llama, count, sequences, lengths, &rotations);
    Tensor *hidden = llama_forward(llama, embeddings, rotations, shape, &writing->forward);
    Tensor *places = tensor_from_host(llama->device, INT32, SHAPE(count), last);
    tensor_to_host_float(llama_next_logits(llama, hidden, places), logits);
    free(last);
    free(rows);
}

/// `length` rows of the packed embeddings, as a tensor that begins where any does.
static Tensor *prompt_rows(Tensor *embeddings, int first, int length) {
    int32_t *index = checked_malloc((size_t)length * sizeof *index);
    for (int i = 0; i < length; i++) index[i] = first + i;
    Tensor *rows =
        gather_rows(embeddings, tensor_from_host(embeddings->device, INT32, SHAPE(length), index));
    free(index);
    return rows;
}

/// Runs the prompts, each in a pass of its own; when the program is asked to stop, those that were
/// not run are left out.
static void read_prompts(Writing *writing, Tensor *embeddings) {
    int vocab_size = writing->llama->config.vocab_size, first = 0, s = 0;
    writing->forward.few_rows = false;
    for (; s < writing->count && !(s > 0 && stop_requested()); s++) {
        int length = writing->prompts[s].length;
        scope_begin();
        run_rows(writing, 1, &s, &length, prompt_rows(embeddings, first, length),
                 writing->logits + (size_t)s * (size_t)vocab_size);
        scope_end();
        first += length;
    }
    writing->count = s;
    writing->forward.few_rows = true;
}

/// Runs the newest token of every sequence.
static void read_tokens(Writing *writing) {
    int *ones = checked_malloc((size_t)writing->count * sizeof *ones);
    for (int i = 0; i < writing->count; i++) ones[i] = 1;
    scope_begin();
    run_rows(writing, writing->count, writing->sequences, ones,
             llama_embed(writing->llama, writing->tokens, writing->count), writing->logits);
    scope_end();
    free(ones);
}

/// Takes a sequence's next token, of the logits [V]. Returns whether the sequence goes on.
static bool take_token(Writing *writing, int sequence, const float *logits) {
    const GenerationOptions *options = writing->options;
    Generation *generation = &writing->generations[sequence];
    int32_t token = sample_token(logits, writing->llama->config.vocab_size, &options->sampling,
                                 writing->prompts[sequence].index, generation->count);
    generation->ended = ends(writing, token);
    if (generation->ended)
        generation->attention.rows -= generation->attention.rows > 0;
    else
        generation->tokens[generation->count++] = token;
    bool goes_on = !options->taken || options->taken(options->context, sequence, generation);
    return goes_on && !generation->ended;
}

/// Takes every sequence's next token; those that end leave.
static void take_tokens(Writing *writing) {
    size_t vocab_size = (size_t)writing->llama->config.vocab_size;
    int kept = 0;
    for (int i = 0; i < writing->count; i++) {
        int sequence = writing->sequences[i];
        if (!take_token(writing, sequence, writing->logits + (size_t)i * vocab_size)) {
            llama_cache_forget(writing->cache, sequence);
            continue;
        }
        const Generation *generation = &writing->generations[sequence];
        writing->sequences[kept] = sequence;
        writing->tokens[kept++] = generation->tokens[generation->count - 1];
    }
    writing->count = kept;
}

static Writing writing_begin(const Llama *llama, const LlamaLora *lora, int num_prompts,
                             const GenerationPrompt *prompts, const GenerationOptions *options,
                             Generation *generations) {
    Writing writing = {.llama = llama, .options = options, .forward = {.lora = lora}};
    size_t count = (size_t)num_prompts;
    int *lengths = checked_malloc(count * sizeof *lengths);
    writing.prompts = prompts;
    writing.generations = generations;
    writing.count = num_prompts;
    writing.sequences = checked_malloc(count * sizeof *writing.sequences);
    writing.tokens = checked_malloc(count * sizeof *writing.tokens);
    writing.logits =
        checked_malloc(count * (size_t)llama->config.vocab_size * sizeof *writing.logits);
    for (int s = 0; s < num_prompts; s++) {
        writing.sequences[s] = s;
        lengths[s] = prompts[s].length;
        generations[s] = (Generation){0};
        generations[s].tokens =
            checked_malloc((size_t)options->max_new_tokens * sizeof(int32_t) + 1);
        if (options->attention)
            generations[s].attention =
                attention_maps_new(options->attention, llama->config.num_hidden_layers,
                                   llama->config.num_attention_heads, prompts[s].num_keys);
    }
    writing.cache = writing.forward.cache =
        llama_cache_new(llama, num_prompts, lengths, options->max_new_tokens);
    free(lengths);
    return writing;
}

static void writing_end(Writing *writing) {
    llama_cache_free(writing->cache);
    free(writing->sequences);
    free(writing->tokens);
    free(writing->logits);
}

void llama_generate(const Llama *llama, const LlamaLora *lora, Tensor *embeddings, int num_prompts,
                    const GenerationPrompt *prompts, const GenerationOptions *options,
                    Generation *generations) {
    Writing writing = writing_begin(llama, lora, num_prompts, prompts, options, generations);
    tape_pause();
    for (int step = 0; step < options->max_new_tokens && writing.count > 0; step++) {
        if (step)
            read_tokens(&writing);
        else
            read_prompts(&writing, embeddings);
        take_tokens(&writing);
        if (stop_requested()) break;
    }
    tape_resume();
    writing_end(&writing);
}

void generation_free(Generation *generation) {
    free(generation->tokens);
    attention_maps_free(&generation->attention);
    *generation = (Generation){0};
}
