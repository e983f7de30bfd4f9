#include "models/language/llama_generate.h"

#include "autograd/philox.h"
#include "autograd/stop_request.h"
#include "models/language/llama_cache.h"

#include <math.h>
#include <stdlib.h>

// ---- choosing a token

static int32_t most_probable(const float *logits, int vocab_size) {
    int best = 0;
    for (int i = 1; i < vocab_size; i++)
        if (logits[i] > logits[best]) best = i;
    return best;
}

typedef struct Candidate {
    double probability;
    int32_t token;
} Candidate;

static int more_probable_first(const void *a, const void *b) {
    const Candidate *x = a, *y = b;
    if (x->probability != y->probability) return x->probability > y->probability ? -1 : 1;
    return (x->token > y->token) - (x->token < y->token);
}

/// The shortest beginning of the sorted candidates whose share reaches top_p; `mass` receives its
/// sum.
static int nucleus(const Candidate *candidates, int count, double total, double top_p,
                   double *mass) {
    *mass = 0.0;
    for (int i = 0; i < count; i++) {
        *mass += candidates[i].probability;
        if (*mass >= top_p * total) return i + 1;
    }
    return count;
}

int32_t choose_token(const float *logits, int vocab_size, const GenerationOptions *options,
                     uint64_t index, int position) {
    int32_t best = most_probable(logits, vocab_size);
    if (options->temperature <= 0.0) return best;
    Candidate *candidates = checked_malloc((size_t)vocab_size * sizeof *candidates);
    double total = 0.0, mass, passed = 0.0;
    for (int i = 0; i < vocab_size; i++) {
        double p = exp(((double)logits[i] - logits[best]) / options->temperature);
        candidates[i] = (Candidate){p, i};
        total += p;
    }
    qsort(candidates, (size_t)vocab_size, sizeof *candidates, more_probable_first);
    int count = nucleus(candidates, vocab_size, total, options->top_p, &mass);
    RandomStream stream = random_stream(options->seed, RANDOM_GENERATION, index);
    float uniform;
    philox_uniform(stream.key, stream.index, (uint64_t)position, &uniform, 1);
    int chosen = 0;
    while (chosen < count - 1 &&
           (passed += candidates[chosen].probability) <= (double)uniform * mass)
        chosen++;
    int32_t token = candidates[chosen].token;
    free(candidates);
    return token;
}

// ---- the loop

/// The sequences that are still being written.
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
    /// [count], rows in the next pass
    int *new_lengths;
    /// [count], the last token of each
    int32_t *tokens;
} Writing;

static bool ends(const LlamaConfig *config, int32_t token) {
    for (int i = 0; i < config->num_eos; i++)
        if (config->eos_token_id[i] == token) return true;
    return false;
}

/// Asks for the attention of every sequence's last row, which produces the next token. Returns how
/// many were asked for.
static int ask_for_attention(const Writing *writing, CaptureRow *rows) {
    int asked = 0, row = -1;
    for (int s = 0; s < writing->count; s++) {
        row += writing->new_lengths[s];
        const GenerationPrompt *prompt = &writing->prompts[writing->sequences[s]];
        if (!writing->options->attention || prompt->num_keys == 0) continue;
        AttentionMaps *maps = &writing->generations[writing->sequences[s]].attention;
        rows[asked++] = (CaptureRow){row, prompt->first_key, maps, attention_maps_add_row(maps)};
    }
    return asked;
}

/// Runs the new rows and returns the logits [count][V] of every sequence's last one.
static float *next_logits(Writing *writing, Tensor *embeddings) {
    const Llama *llama = writing->llama;
    CaptureRow *capture_rows = checked_malloc((size_t)writing->count * sizeof *capture_rows);
    LlamaCapture capture = {.selection = writing->options->attention, .rows = capture_rows};
    capture.num_rows = ask_for_attention(writing, capture_rows);
    writing->forward.capture = capture.num_rows ? &capture : NULL;

    int32_t *last = checked_malloc((size_t)writing->count * sizeof *last);
    for (int s = 0, row = -1; s < writing->count; s++) last[s] = row += writing->new_lengths[s];
    Tensor *rotations;
    Attention shape = llama_cache_extend(writing->cache, llama, writing->new_lengths, &rotations);
    Tensor *hidden = llama_forward(llama, embeddings, rotations, shape, &writing->forward);
    Tensor *logits = llama_logits(
        llama, hidden, tensor_from_host(llama->device, INT32, SHAPE(writing->count), last));
    float *host = checked_malloc((size_t)tensor_numel(logits) * sizeof *host);
    tensor_to_host_float(logits, host);
    free(last);
    free(capture_rows);
    return host;
}

/// Takes every sequence's next token; those that end leave.
static void take_tokens(Writing *writing, const float *logits) {
    int vocab_size = writing->llama->config.vocab_size, kept = 0;
    bool *keep = checked_malloc((size_t)writing->count * sizeof *keep);
    for (int s = 0; s < writing->count; s++) {
        int sequence = writing->sequences[s];
        Generation *generation = &writing->generations[sequence];
        int32_t token = choose_token(logits + (size_t)s * vocab_size, vocab_size, writing->options,
                                     writing->prompts[sequence].index, generation->count);
        generation->ended = ends(&writing->llama->config, token);
        if (!generation->ended) generation->tokens[generation->count++] = token;
        generation->attention.rows -= generation->ended && generation->attention.rows > 0;
        keep[s] = !generation->ended;
        if (!keep[s]) continue;
        writing->sequences[kept] = sequence;
        writing->new_lengths[kept] = 1;
        writing->tokens[kept++] = token;
    }
    llama_cache_keep(writing->cache, keep);
    writing->count = kept;
    free(keep);
}

static Writing writing_begin(const Llama *llama, const LlamaLora *lora, int num_prompts,
                             const GenerationPrompt *prompts, const GenerationOptions *options,
                             Generation *generations) {
    Writing writing = {.llama = llama, .options = options, .forward = {.lora = lora}};
    writing.prompts = prompts;
    writing.generations = generations;
    writing.count = num_prompts;
    writing.cache = writing.forward.cache = llama_cache_new(llama, num_prompts);
    writing.sequences = checked_malloc((size_t)num_prompts * sizeof *writing.sequences);
    writing.new_lengths = checked_malloc((size_t)num_prompts * sizeof *writing.new_lengths);
    writing.tokens = checked_malloc((size_t)num_prompts * sizeof *writing.tokens);
    for (int s = 0; s < num_prompts; s++) {
        writing.sequences[s] = s;
        writing.new_lengths[s] = prompts[s].length;
        generations[s] = (Generation){0};
        generations[s].tokens =
            checked_malloc((size_t)options->max_new_tokens * sizeof(int32_t) + 1);
        if (options->attention)
            generations[s].attention =
                attention_maps_new(options->attention, llama->config.num_hidden_layers,
                                   llama->config.num_attention_heads, prompts[s].num_keys);
    }
    return writing;
}

static void writing_end(Writing *writing) {
    llama_cache_free(writing->cache);
    free(writing->sequences);
    free(writing->new_lengths);
    free(writing->tokens);
}

void llama_generate(const Llama *llama, const LlamaLora *lora, Tensor *embeddings, int num_prompts,
                    const GenerationPrompt *prompts, const GenerationOptions *options,
                    Generation *generations) {
    Writing writing = writing_begin(llama, lora, num_prompts, prompts, options, generations);
    tape_pause();
    for (int step = 0; step < options->max_new_tokens && writing.count > 0; step++) {
        scope_begin();
        float *logits = next_logits(
            &writing, step ? llama_embed(llama, writing.tokens, writing.count) : embeddings);
        take_tokens(&writing, logits);
        free(logits);
        scope_end();
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
