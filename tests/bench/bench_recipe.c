// rooms: train models ops checkpoints data autograd
// The published recipe's step on model folders as users have them: seconds by network, and memory.
// tests/bench/make_official_weights.py writes such folders with random weights.
//
//   bench_recipe FOLDER [--stage 1|2] [--lora-r 128] [--batch 1] [--text 41] [--steps 3]
//   [--recompute N] [--threads N] [--lock 1] [--processor-time]
//
// FOLDER holds stable-diffusion-v1-5, clip-vit-large-patch14-336 and vicuna-7b-v1.5. An image takes
// the place of one token by 576, so 41 make 616. Prints every step, then the median of all but the
// first by network: forward times end with each network's last block (the adapters count with the
// network behind them), backward is split where the visual tokens have their gradient.
// --processor-time: one thread, and the time it had a processor for.
// --lock 1 keeps in memory what was read of the files: some machines page out what nobody used for
// a minute, and a step takes as long.
#include "bench.h"
#include "models/block_output.h"
#include "normal_tensor.h"
#include "recipe_options.h"
#include "train/trainer/optimizer.h"

#include <math.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>

typedef struct Settings {
    const char *folder;
    int batch, text, steps, stage, rank, recompute, threads, lock;
} Settings;

typedef enum Part { CLIP, VAE, UNET, LANGUAGE, LANGUAGE_BACK, UNET_BACK, UPDATE, PARTS } Part;
static const char *const part_names[PARTS] = {
    "CLIP",
    "VAE",
    "captioner, U-Net",
    "projector, language model",
    "language model, backward",
    "projector, U-Net, captioner, backward",
    "update",
};

/// Where the time of a step goes: whatever ends now gets what has passed since something ended
/// last.
typedef struct Clock {
    double last, seconds[PARTS];
    /// index of the leaf that is complete as soon as the visual tokens' gradient is there
    int visual_tokens;
} Clock;

static void end_of(Clock *clock, Part part) {
    double now = bench_now();
    clock->seconds[part] += now - clock->last;
    clock->last = now;
}

static bool begins(const char *name, const char *prefix) {
    return !strncmp(name, prefix, strlen(prefix));
}

static void block_is_done(const char *name, const Tensor *x, void *context) {
    (void)x;
    if (begins(name, "model.layers"))
        end_of(context, LANGUAGE);
    else if (begins(name, "encoder.layers") || begins(name, "embeddings") ||
             begins(name, "pre_layrnorm"))
        end_of(context, CLIP);
    else
        end_of(context, begins(name, "encoder.") ? VAE : UNET);
}

static void leaf_is_done(int index, void *context) {
    Clock *clock = context;
    if (index == clock->visual_tokens) end_of(clock, LANGUAGE_BACK);
}

static DiffLMM *load(const Settings *settings, Device *device, ParameterSet *parameters) {
    char *sd = format_string("%s/stable-diffusion-v1-5", settings->folder);
    char *clip = format_string("%s/clip-vit-large-patch14-336", settings->folder);
    char *llm = format_string("%s/vicuna-7b-v1.5", settings->folder);
    LoraOptions lora = recipe_lora(settings->rank);
    DiffLMMOptions options = recipe_options(sd, clip, llm);
    options.recompute = settings->recompute;
    options.lora = settings->stage == 2 ? &lora : NULL;
    Error error;
    DiffLMM *model = difflmm_load(&options, device, parameters, NULL, &error);
    if (!model) {
        fprintf(stderr, "bench_recipe: %s\n", error.message);
        exit(1);
    }
    for (int i = 0; i < parameters->count; i++) leaf_set_index(parameters->items[i].value, i);
    return model;
}

typedef struct Batch {
    int32_t *ids;
    uint8_t *supervised;
    TokenSample *samples;
    uint64_t *passes;
} Batch;

static Batch batch_new(const Settings *settings) {
    size_t text = (size_t)settings->text, count = (size_t)settings->batch;
    Batch batch = {checked_calloc(text, sizeof *batch.ids), checked_calloc(text, 1),
                   checked_calloc(count, sizeof *batch.samples),
                   checked_calloc(count, sizeof *batch.passes)};
    for (int t = 0; t < settings->text; t++) {
        batch.ids[t] = t == 1 ? PACKING_IMAGE_TOKEN : 3 + t * 7919 % 31997;
        batch.supervised[t] = t > 1;
    }
    for (int i = 0; i < settings->batch; i++)
        batch.samples[i] = (TokenSample){batch.ids, batch.supervised, settings->text, i, i};
    return batch;
}

static void run_step(const DiffLMM *model, const Batch *in, int count, Optimizer *optimizer,
                     uint64_t step, Clock *clock) {
    Device *device = model->device;
    scope_begin();
    Tensor *images = normal_tensor(device, SHAPE(count, 384, 384, 3), step);
    for (int i = 0; i < count; i++) in->passes[i] = step << 32 | (uint64_t)i;
    DiffusionNoise noise = {.passes = in->passes};
    clock->last = bench_now();
    FrozenFeatures features = difflmm_frozen_features(model, images);
    tape_begin();
    DiffLMMBatch batch = {in->samples, count, &features, &noise, true, step};
    DiffLMMLoss loss = difflmm_loss(model, &batch, NULL);
    end_of(clock, LANGUAGE);
    backward(loss.sum, NULL, &(LeafListener){leaf_is_done, clock});
    tape_end();
    end_of(clock, UNET_BACK);
    double value = (double)tensor_item(loss.sum) / (double)loss.num_supervised;
    scope_end();
    double per_token = 1.0 / (double)loss.num_supervised;
    double norm = per_token * sqrt(optimizer_sum_squares(optimizer));
    OptimizerOptions options = {.learning_rate = {1e-3, 2e-4},
                                .beta1 = 0.9,
                                .beta2 = 0.999,
                                .epsilon = 1e-8,
                                .gradient_scale = per_token * optimizer_clip_factor(norm, 1.0)};
    optimizer_step(optimizer, &options);
    end_of(clock, UPDATE);
    double seconds = 0;
    for (int part = 0; part < PARTS; part++) seconds += clock->seconds[part];
    printf("step %llu: %.2f s, loss %.4f, gradient norm %.3g, %lld tokens, %.1f tokens/s\n",
           (unsigned long long)step, seconds, value, norm, (long long)loss.num_tokens,
           (double)loss.num_tokens / seconds);
    fflush(stdout);
}

static void report(const Settings *settings, const Device *device, double (*times)[PARTS]) {
    int count = settings->steps > 1 ? settings->steps - 1 : 1, first = settings->steps > 1 ? 1 : 0;
    double *of_part = checked_malloc((size_t)count * sizeof *of_part), total = 0;
    for (int part = 0; part < PARTS; part++) {
        for (int i = 0; i < count; i++) of_part[i] = times[first + i][part];
        double median = bench_median(of_part, count);
        total += median;
        printf("  %-40s %7.2f s\n", part_names[part], median);
    }
    printf("  %-40s %7.2f s\n", "together", total);
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    printf("memory: %.2f GiB resident at the highest, %.2f of tensors\n",
           (double)usage.ru_maxrss / 0x1p20, (double)device->bytes_peak / 0x1p30);
    free(of_part);
}

static Settings read_settings(int argc, char **argv) {
    Settings settings = {.batch = 1, .text = 41, .steps = 3, .stage = 1, .rank = 128};
    const struct {
        const char *name;
        int *value;
    } options[] = {{"--batch", &settings.batch},         {"--text", &settings.text},
                   {"--steps", &settings.steps},         {"--stage", &settings.stage},
                   {"--recompute", &settings.recompute}, {"--threads", &settings.threads},
                   {"--lora-r", &settings.rank},         {"--lock", &settings.lock}};
    for (int i = 1; i < argc; i++) {
        bool known = false;
        for (size_t k = 0; k < sizeof options / sizeof *options && !known; k++) {
            known = !strcmp(argv[i], options[k].name) && i + 1 < argc;
            if (known) *options[k].value = atoi(argv[++i]);
        }
        if (!known && !strcmp(argv[i], "--processor-time"))
            settings.threads = 1, bench_clock = CLOCK_THREAD_CPUTIME_ID;
        else if (!known && argv[i][0] != '-')
            settings.folder = argv[i];
        else if (!known)
            settings.folder = NULL;
    }
    if (!settings.folder || settings.batch < 1 || settings.text < 3 || settings.steps < 1) {
        fprintf(stderr, "see the first lines of tests/bench/bench_recipe.c\n");
        exit(2);
    }
    return settings;
}

int main(int argc, char **argv) {
    Settings settings = read_settings(argc, argv);
    Device *device = bench_device("cpu", settings.threads);
    ParameterSet parameters = {0};
    double begin = bench_now();
    DiffLMM *model = load(&settings, device, &parameters);
    if (settings.lock && mlockall(MCL_CURRENT | MCL_ONFAULT)) perror("bench_recipe: --lock");
    printf("loaded in %.1f s\n", bench_now() - begin);
    Optimizer optimizer = optimizer_new(&parameters, NULL, 0);
    Batch batch = batch_new(&settings);
    double(*times)[PARTS] = checked_calloc((size_t)settings.steps, sizeof *times);
    for (int step = 0; step < settings.steps; step++) {
        Clock clock = {.visual_tokens = (int)(parameters_find(&parameters, "mm_projector.vt_pe") -
                                              parameters.items)};
        block_output_listen(block_is_done, &clock);
        run_step(model, &batch, settings.batch, &optimizer, (uint64_t)step + 1, &clock);
        memcpy(times[step], clock.seconds, sizeof clock.seconds);
    }
    report(&settings, device, times);
    free(times);
    free(batch.ids);
    free(batch.supervised);
    free(batch.samples);
    free(batch.passes);
    optimizer_free(&optimizer);
    difflmm_free(model);
    parameters_free(&parameters);
}
