// rooms: train eval models ops checkpoints data autograd
// What packing by length gains (data.tokens_per_batch): micro-batches of a fixed number of samples,
// the same grouped by length, and rows of a budget with as many tokens on average, in turns. The
// tiny model's stage 2, features of the frozen encoders at hand, a step shared out over processes.
//
//   bench_packing [--batch 8] [--processes 4] [--rounds 3] [--samples 256] [--threads 1]
//   [DATA.json IMAGES [CHECKPOINTS]]
//
// DATA.json: its lengths; without it skewed ones (most short, some long). Seconds are those of this
// process on the processor, for each micro-batch; a step of several processes lasts as long as its
// slowest one. Prints, as medians over rounds: tokens per second of one process, the share of the
// time that processes do not wait for the slowest, tokens of the largest micro-batch and the
// highest memory of tensors.
#include "bench.h"
#include "data/loader/sample_lengths.h"
#include "data/loader/sampler.h"
#include "normal_tensor.h"
#include "recipe_options.h"

#include "autograd/tape.h"

#include <math.h>

enum { MODES = 3, MOST_ROUNDS = 16, LIMIT = 512, MOST_IMAGES = 64 };

static const char *const NAMES[MODES] = {"fixed", "group_by_modality_length", "tokens_per_batch"};

typedef struct Settings {
    int batch, processes, rounds, samples, threads;
    const char *data, *images, *checkpoints;
} Settings;

/// Of every sample; kinds: negative without an image.
typedef struct Lengths {
    int64_t count, sum;
    int32_t *tokens, *kinds;
} Lengths;

typedef struct Bench {
    const Settings *settings;
    Device *device;
    DiffLMM *model;
    /// of MOST_IMAGES images
    FrozenFeatures features;
    Lengths lengths;
} Bench;

/// An epoch.
typedef struct Measured {
    double tokens_per_second, balance;
    int64_t largest, peak;
} Measured;

static void stop(const Error *error) {
    fprintf(stderr, "bench_packing: %s\n", error->message);
    exit(1);
}

static void open_model(Bench *bench, ParameterSet *parameters) {
    static char paths[3][512];
    static const char *const FOLDERS[] = {"sd", "clip", "llm"};
    for (int i = 0; i < 3; i++)
        snprintf(paths[i], sizeof paths[i], "%s/%s", bench->settings->checkpoints, FOLDERS[i]);
    static LoraOptions lora;
    lora = recipe_lora(32);
    DiffLMMOptions options = recipe_options(paths[0], paths[1], paths[2]);
    options.image_size = 128;
    options.model_max_length = LIMIT;
    options.lora = &lora;
    Error error;
    bench->model = difflmm_load(&options, bench->device, parameters, NULL, &error);
    if (!bench->model) stop(&error);
}

/// Of the data set's first samples.
static void read_lengths(Bench *bench) {
    const Settings *settings = bench->settings;
    Lengths *lengths = &bench->lengths;
    Error error = {0};
    char llm[512];
    snprintf(llm, sizeof llm, "%s/llm", settings->checkpoints);
    const DatasetOptions options = {settings->data, settings->images, MISSING_IMAGE_UNCHECKED};
    const ConversationFormat format = {TEMPLATE_VICUNA_V1, NULL, bench->model->num_visual_tokens,
                                       LIMIT, false};
    Tokenizer *tokenizer = tokenizer_open(llm, &error);
    Dataset *dataset = tokenizer ? dataset_open(&options, &error) : NULL;
    if (!dataset) stop(&error);
    if (dataset_count(dataset) < lengths->count) lengths->count = dataset_count(dataset);
    if (!sample_lengths(dataset, tokenizer, &format, 0, lengths->count, 1, lengths->tokens, &error))
        stop(&error);
    for (int64_t i = 0; i < lengths->count; i++)
        lengths->kinds[i] =
            (dataset_has_image(dataset, i) ? 1 : -1) * (1 + dataset_word_count(dataset, i));
    dataset_close(dataset);
    tokenizer_close(tokenizer);
}

/// Of texts whose logarithm is normal, a quarter of them without an image.
static void draw_lengths(Bench *bench) {
    Lengths *lengths = &bench->lengths;
    const int visual = bench->model->num_visual_tokens;
    float *normal = checked_malloc((size_t)lengths->count * sizeof *normal);
    philox_normal(7, 1, 0, normal, lengths->count);
    for (int64_t i = 0; i < lengths->count; i++) {
        const bool has_image = i % 4 != 3;
        int text = 4 + (int)(30 * exp(normal[i]));
        if (text > LIMIT - visual) text = LIMIT - visual;
        lengths->tokens[i] = text + (has_image ? visual : 0);
        lengths->kinds[i] = has_image ? text : -text;
    }
    free(normal);
}

static FrozenFeatures first_features(const Bench *bench, int64_t images) {
    const Tensor *clip = bench->features.clip, *moments = bench->features.moments;
    return (FrozenFeatures){
        tensor_slice(clip, 0, 3, (int64_t[]){images, clip->shape[1], clip->shape[2]}),
        tensor_slice(moments, 0, 4,
                     (int64_t[]){images, moments->shape[1], moments->shape[2], moments->shape[3]})};
}

/// Forward and backward of a micro-batch.
static void run_batch(const Bench *bench, const int64_t *indices, int64_t count) {
    static int32_t ids[2][LIMIT];
    static uint8_t supervised[LIMIT];
    TokenSample *samples = checked_calloc((size_t)count, sizeof *samples);
    uint64_t passes[MOST_IMAGES];
    int images = 0;
    for (int t = 0; t < LIMIT; t++) {
        ids[0][t] = ids[1][t] = 3 + t * 7 % 300;
        supervised[t] = (uint8_t)(t % 2);
    }
    ids[1][0] = PACKING_IMAGE_TOKEN;
    supervised[0] = 0;
    for (int64_t i = 0; i < count; i++) {
        const bool has_image = bench->lengths.kinds[indices[i]] > 0;
        const int tokens = bench->lengths.tokens[indices[i]],
                  text = has_image ? tokens - bench->model->num_visual_tokens + 1 : tokens;
        CHECK(images < MOST_IMAGES, "%d images", images);
        samples[i] = (TokenSample){ids[has_image], supervised, text, has_image ? images : -1,
                                   (int32_t)indices[i]};
        if (has_image) passes[images++] = (uint64_t)indices[i];
    }
    scope_begin();
    tape_begin();
    FrozenFeatures features = {0};
    if (images) features = first_features(bench, images);
    DiffusionNoise noise = {.passes = passes};
    DiffLMMBatch batch = {samples, (int)count, images ? &features : NULL, images ? &noise : NULL,
                          true,    0};
    DiffLMMLoss loss = difflmm_loss(bench->model, &batch, NULL);
    backward(loss.sum, NULL, NULL);
    tape_end();
    scope_end();
    free(samples);
}

static Sampler *open_sampler(const Bench *bench, int mode) {
    const Lengths *lengths = &bench->lengths;
    const int batch = bench->settings->batch;
    const SamplerOptions options = {
        .sample_count = lengths->count,
        .chunks = bench->settings->processes,
        .micro_batch = batch,
        .token_lengths = mode == 2 ? lengths->tokens : NULL,
        .tokens_per_chunk = batch * lengths->sum / lengths->count,
        .seed = 1,
        .shuffle = true,
        .modality_lengths = mode == 1 ? lengths->kinds : NULL,
    };
    Error error;
    Sampler *sampler = sampler_create(&options, &error);
    if (!sampler) stop(&error);
    return sampler;
}

static Measured run_epoch(const Bench *bench, int mode) {
    Sampler *sampler = open_sampler(bench, mode);
    const int64_t steps = sampler_steps_per_epoch(sampler);
    const int processes = bench->settings->processes;
    Measured measured = {0};
    double sum = 0, slowest = 0;
    device_reset_peak(bench->device);
    for (int64_t step = 0; step < steps; step++) {
        double longest = 0;
        for (int chunk = 0; chunk < processes; chunk++) {
            int64_t count, tokens = 0;
            const int64_t *samples = sampler_chunk(sampler, step, chunk, &count);
            if (count == 0) continue;
            for (int64_t i = 0; i < count; i++) tokens += bench->lengths.tokens[samples[i]];
            if (tokens > measured.largest) measured.largest = tokens;
            const double begin = bench_now();
            run_batch(bench, samples, count);
            const double seconds = bench_now() - begin;
            sum += seconds;
            if (seconds > longest) longest = seconds;
        }
        slowest += longest;
    }
    sampler_free(sampler);
    measured.tokens_per_second = (double)bench->lengths.sum / sum;
    measured.balance = sum / (processes * slowest);
    measured.peak = bench->device->bytes_peak;
    return measured;
}

static void run_rounds(const Bench *bench) {
    static double rates[MODES][MOST_ROUNDS], balances[MODES][MOST_ROUNDS];
    Measured last[MODES];
    const int rounds = bench->settings->rounds;
    for (int mode = 0; mode < MODES; mode++) run_epoch(bench, mode);
    for (int round = 0; round < rounds; round++)
        for (int mode = 0; mode < MODES; mode++) {
            last[mode] = run_epoch(bench, mode);
            rates[mode][round] = last[mode].tokens_per_second;
            balances[mode][round] = last[mode].balance;
        }
    for (int mode = 0; mode < MODES; mode++)
        printf("%-26s %8.0f tokens/s  %5.1f%% of %d processes  largest %6lld tokens  %6.1f MiB\n",
               NAMES[mode], bench_median(rates[mode], rounds),
               100 * bench_median(balances[mode], rounds), bench->settings->processes,
               (long long)last[mode].largest, (double)last[mode].peak / 0x1p20);
}

static bool read_arguments(int argc, char **argv, Settings *settings) {
    const struct {
        const char *name;
        int *value;
    } options[] = {{"--batch", &settings->batch},
                   {"--processes", &settings->processes},
                   {"--rounds", &settings->rounds},
                   {"--samples", &settings->samples},
                   {"--threads", &settings->threads}};
    const char **const paths[] = {&settings->data, &settings->images, &settings->checkpoints};
    size_t given = 0;
    for (int i = 1; i < argc; i++) {
        bool known = false;
        for (size_t k = 0; k < sizeof options / sizeof *options && !known; k++) {
            known = !strcmp(argv[i], options[k].name) && i + 1 < argc;
            if (known) *options[k].value = atoi(argv[++i]);
        }
        if (known) continue;
        if (argv[i][0] == '-' || given == 3) return false;
        *paths[given++] = argv[i];
    }
    return settings->batch > 0 && settings->processes > 0 && settings->rounds > 0 &&
           settings->rounds <= MOST_ROUNDS && settings->samples > 0 && given != 1;
}

int main(int argc, char **argv) {
    Settings settings = {8, 4, 3, 256, 1, NULL, NULL, "checkpoints/tiny"};
    if (!read_arguments(argc, argv, &settings)) {
        fputs(
            "bench_packing [--batch 8] [--processes 4] [--rounds 3] [--samples 256] [--threads 1] "
            "[DATA.json IMAGES [CHECKPOINTS]]\n",
            stderr);
        return 2;
    }
    bench_clock = CLOCK_PROCESS_CPUTIME_ID;
    ParameterSet parameters = {0};
    Bench bench = {.settings = &settings,
                   .device = bench_device("cpu", settings.threads),
                   .lengths = {.count = settings.samples}};
    bench.lengths.tokens = checked_malloc((size_t)settings.samples * sizeof *bench.lengths.tokens);
    bench.lengths.kinds = checked_malloc((size_t)settings.samples * sizeof *bench.lengths.kinds);
    open_model(&bench, &parameters);
    settings.data ? read_lengths(&bench) : draw_lengths(&bench);
    for (int64_t i = 0; i < bench.lengths.count; i++) bench.lengths.sum += bench.lengths.tokens[i];
    scope_begin();
    bench.features = difflmm_frozen_features(
        bench.model, normal_tensor(bench.device, SHAPE(MOST_IMAGES, 128, 128, 3), 0));
    run_rounds(&bench);
    scope_end();
    difflmm_free(bench.model);
    parameters_free(&parameters);
    free(bench.lengths.tokens);
    free(bench.lengths.kinds);
    return 0;
}
