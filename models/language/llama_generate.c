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

static bool ends(const LlamaConfig *config, int32_t token) {
    for (int i = 0; i < config->num_eos; i++)
        if (config->eos_token_id[i] == token) return true;
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

/// Takes every sequence's next token; those that end leave.
static void take_tokens(Writing *writing) {
    int vocab_size = writing->llama->config.vocab_size, kept = 0;
    for (int i = 0; i < writing->count; i++) {
        int sequence = writing->sequences[i];
        Generation *generation = &writing->generations[sequence];
        int32_t token =
            choose_token(writing->logits + (size_t)i * (size_t)vocab_size, vocab_size,
                         writing->options, writing->prompts[sequence].index, generation->count);
        generation->ended = ends(&writing->llama->config, token);
        if (generation->ended) {
            generation->attention.rows -= generation->attention.rows > 0;
            llama_cache_forget(writing->cache, sequence);
            continue;
        }
        generation->tokens[generation->count++] = token;
        writing->sequences[kept] = sequence;
        writing->tokens[kept++] = token;
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
