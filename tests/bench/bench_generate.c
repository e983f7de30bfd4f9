// rooms: models ops checkpoints autograd
// Generation at the shape of Vicuna-7B (some of its layers, and the vocabulary) with random
// weights: greedy, the attention of every token to the visual tokens captured as the mean of layers
// and heads. Beside it how fast these threads read the same weights, in turns: no step can be
// faster.
//
//   bench_generate [--layers 4] [--batch 1] [--prompt 640] [--tokens 24] [--rounds 3] [--threads N]
//                  [--clock wall|cpu] [--no-attention] [--fp8]
//
// Prints seconds of a step (a token of every sequence), the median and the least, the same of
// reading the weights once, and their ratios; seconds of the prompts' passes; memory. --clock cpu
// counts the process's time on the processor instead (with one thread it means something), for a
// machine that others use. --fp8: the layers' matrices in FLOAT8 (model.frozen_dtype).
// tests/bench/torch_generate.py runs this and transformers in turns.
#include "bench.h"
#include "models/block_output.h"
#include "models/language/llama_generate.h"
#include "tests/random_llama.h"

#include <omp.h>
#include <sys/resource.h>

enum { MOST_STEPS = 4096, VISUAL_TOKENS = 576 };

typedef struct Settings {
    int layers, batch, prompt, tokens, rounds, threads;
    bool attention, fp8;
} Settings;

// ---- reading the weights

static uint64_t sink;

static void read_tensor(const Tensor *x) {
    const uint64_t *words = x->data;
    int64_t n = tensor_numel(x) * (int64_t)dtype_size(x->dtype) / 8;
    uint64_t sum = 0;
#pragma omp parallel for reduction(^ : sum) schedule(static)
    for (int64_t i = 0; i < n / 8; i++) {
        const uint64_t *line = words + 8 * i;
        sum ^= line[0] ^ line[1] ^ line[2] ^ line[3] ^ line[4] ^ line[5] ^ line[6] ^ line[7];
    }
    sink ^= sum;
}

/// What a step reads of the weights, in bytes; reads it if `wanted`.
static double read_weights(const Llama *llama, bool wanted) {
    double bytes = (double)tensor_numel(llama->lm_head) * (double)dtype_size(llama->dtype);
    if (wanted) read_tensor(llama->lm_head);
    for (int i = 0; i < llama->config.num_hidden_layers; i++)
        for (int m = 0; m < LLAMA_MODULE_COUNT; m++) {
            const Tensor *weight = llama->layers[i].linears[m].weight;
            bytes += (double)tensor_numel(weight) * (double)dtype_size(weight->dtype);
            if (wanted) read_tensor(weight);
        }
    return bytes;
}

/// Rounds the layers' matrices to FLOAT8.
static void round_layers(Llama *llama) {
    for (int i = 0; i < llama->config.num_hidden_layers; i++)
        for (int m = 0; m < LLAMA_MODULE_COUNT; m++) {
            Tensor **weight = &llama->layers[i].linears[m].weight;
            scope_begin();
            Tensor *rounded = tensor_retain(quantize_rows(*weight));
            scope_end();
            tensor_release(*weight);
            *weight = rounded;
        }
}

// ---- generating

/// When passes were through.
typedef struct Passes {
    char last_layer[64];
    double at[MOST_STEPS];
    int count;
} Passes;

static void note_time(const char *name, const Tensor *x, void *context) {
    (void)x;
    Passes *passes = context;
    if (strcmp(name, passes->last_layer) == 0 && passes->count < MOST_STEPS)
        passes->at[passes->count++] = bench_now();
}

/// Seconds of the steps but the first, of which there are settings->tokens.
static void generate(const Llama *llama, const Settings *settings, double *steps, double *reading) {
    int64_t rows = (int64_t)settings->batch * settings->prompt;
    Passes passes = {.count = 0};
    snprintf(passes.last_layer, sizeof passes.last_layer, "model.layers.%d", settings->layers - 1);
    AttentionSelection selection = {.mean = ATTENTION_MEAN};
    GenerationOptions options = {.max_new_tokens = settings->tokens + 2,
                                 .attention = settings->attention ? &selection : NULL};
    GenerationPrompt *prompts = checked_calloc((size_t)settings->batch, sizeof *prompts);
    Generation *generations = checked_calloc((size_t)settings->batch, sizeof *generations);
    for (int i = 0; i < settings->batch; i++)
        prompts[i] = (GenerationPrompt){settings->prompt, (uint64_t)i, 20,
                                        settings->prompt > 20 + VISUAL_TOKENS ? VISUAL_TOKENS : 0};
    scope_begin();
    int32_t *ids = checked_malloc((size_t)rows * sizeof *ids);
    for (int64_t i = 0; i < rows; i++) ids[i] = (int32_t)(i * 7919 % llama->config.vocab_size);
    Tensor *embeddings = llama_embed(llama, ids, rows);
    block_output_listen(note_time, &passes);
    double begin = bench_now();
    llama_generate(llama, NULL, embeddings, settings->batch, prompts, &options, generations);
    block_output_listen(NULL, NULL);
    // A pass for each prompt, then one for each token but the first.
    const double *last_prompt = passes.at + passes.count - settings->tokens - 2;
    *reading = *last_prompt - begin;
    for (int i = 0; i < settings->tokens; i++) steps[i] = last_prompt[i + 2] - last_prompt[i + 1];
    scope_end();
    for (int i = 0; i < settings->batch; i++) generation_free(&generations[i]);
    free(ids);
    free(prompts);
    free(generations);
}

static void measure(const Llama *llama, const Settings *settings) {
    static double steps[MOST_STEPS], reads[MOST_STEPS];
    double prompts = 0, bytes = read_weights(llama, false);
    int count = 0, read = 0;
    for (int round = 0; round < settings->rounds; round++) {
        for (int i = 0; i < 8; i++) {
            double begin = bench_now();
            read_weights(llama, true);
            reads[read++] = bench_now() - begin;
        }
        generate(llama, settings, steps + count, &prompts);
        count += settings->tokens;
    }
    double step = bench_median(steps, count), reading = bench_median(reads, read);
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    printf("step %.4f s (least %.4f), %.2f tokens/s; weights, %.2f GB, read in %.4f s (%.4f), "
           "%.1f GB/s; ratio %.2f (%.2f); prompts %.2f s; tensors %lld MiB, process %ld MiB\n",
           step, steps[0], settings->batch / step, bytes * 1e-9, reading, reads[0],
           bytes / reading * 1e-9, step / reading, steps[0] / reads[0], prompts,
           (long long)(llama->device->bytes_peak >> 20), usage.ru_maxrss >> 10);
}

int main(int argc, char **argv) {
    Settings settings = {4, 1, 640, 24, 3, 0, true, false};
    const struct {
        const char *name;
        int *value;
    } numbers[] = {{"--layers", &settings.layers}, {"--batch", &settings.batch},
                   {"--prompt", &settings.prompt}, {"--tokens", &settings.tokens},
                   {"--rounds", &settings.rounds}, {"--threads", &settings.threads}};
    for (int i = 1; i < argc; i++) {
        const char *value = i + 1 < argc ? argv[i + 1] : "";
        bool known = false;
        for (size_t n = 0; n < sizeof numbers / sizeof *numbers; n++)
            if (!strcmp(argv[i], numbers[n].name)) *numbers[n].value = atoi(value), known = true;
        if (!strcmp(argv[i], "--clock")) {
            known = true;
            if (!strcmp(value, "cpu")) bench_clock = CLOCK_PROCESS_CPUTIME_ID;
        }
        if (known)
            i++;
        else if (!strcmp(argv[i], "--no-attention"))
            settings.attention = false;
        else if (!strcmp(argv[i], "--fp8"))
            settings.fp8 = true;
        else
            return fprintf(stderr, "bench_generate: '%s' is no option\n", argv[i]), 2;
    }
    if (settings.tokens < 1 || settings.rounds < 1 ||
        (int64_t)settings.tokens * settings.rounds > MOST_STEPS || settings.batch < 1)
        return fprintf(stderr, "bench_generate: too many or too few steps\n"), 2;
    LlamaConfig vicuna = {
        .hidden_size = 4096,
        .intermediate_size = 11008,
        .num_hidden_layers = settings.layers,
        .num_attention_heads = 32,
        .num_key_value_heads = 32,
        .head_dim = 128,
        .vocab_size = 32000,
        .rms_norm_eps = 1e-5f,
        .rope = {.scaling = ROPE_DEFAULT, .theta = 1e4, .factor = 1, .rotation_factor = 1}};
    Llama *llama = random_llama(&vicuna, bench_device("cpu", settings.threads), BFLOAT16);
    if (settings.fp8) round_layers(llama);
    measure(llama, &settings);
    llama_free(llama);
    return (int)(sink & 1) & 0;
}
