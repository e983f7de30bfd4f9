// rooms: train eval models ops checkpoints data autograd
// Speed and memory of training steps of the tiny model: random tokens, features of the frozen
// encoders from a cache or computed in each step.
//
//   bench_step [--device cpu|cuda] [--batch 32] [--text 40] [--steps 12] [--threads N]
//   [--features cached|computed] [--processor-time] [--only TEXT] [--type float32|bfloat16]
//   [--save FILE] [CHECKPOINTS]
//
// CHECKPOINTS: the folder with sd, clip and llm (checkpoints/tiny by default). Prints a row for
// each stage and type (--only: with this in its name): the median step, samples and tokens (visual
// ones counted) per second, and the highest memory of tensors. --processor-time: one thread, and
// the time it had a processor for. --save: what goes into the first step, and its loss, for
// torch_tiny_step.py.
#include "bench.h"
#include "normal_tensor.h"
#include "recipe_options.h"
#include "saved_step.h"
#include "train/trainer/optimizer.h"

#include <math.h>

typedef struct Settings {
    int batch, text, steps, threads;
    const char *checkpoints, *device;
    /// the tower's and the VAE's work is part of a step
    bool computed;
    /// in the name of a row; NULL: every type; NULL: nothing is saved
    const char *only, *type, *save;
} Settings;

static DiffLMM *load(const Settings *settings, AdapterKind architecture, bool lora_enabled,
                     DType dtype, Device *device, ParameterSet *parameters) {
    char sd[512], clip[512], llm[512];
    snprintf(sd, sizeof sd, "%s/sd", settings->checkpoints);
    snprintf(clip, sizeof clip, "%s/clip", settings->checkpoints);
    snprintf(llm, sizeof llm, "%s/llm", settings->checkpoints);
    LoraOptions lora = recipe_lora(32);
    DiffLMMOptions options = recipe_options(sd, clip, llm);
    options.architecture = architecture;
    options.image_size = 128;
    options.model_max_length = 512;
    options.dtype = dtype;
    options.lora = lora_enabled ? &lora : NULL;
    Error error;
    DiffLMM *model = difflmm_load(&options, device, parameters, NULL, &error);
    if (!model) {
        fprintf(stderr, "bench_step: %s\n", error.message);
        exit(1);
    }
    return model;
}

typedef struct Batch {
    int32_t *ids;
    uint8_t *supervised;
    TokenSample *samples;
    uint64_t *passes;
} Batch;

static Batch batch_new(const Settings *settings, int step) {
    size_t text = (size_t)settings->text, count = (size_t)settings->batch;
    Batch batch = {checked_calloc(text, sizeof *batch.ids), checked_calloc(text, 1),
                   checked_calloc(count, sizeof *batch.samples),
                   checked_calloc(count, sizeof *batch.passes)};
    for (int t = 0; t < settings->text; t++) {
        batch.ids[t] = t == 1 ? PACKING_IMAGE_TOKEN : 3 + t * 7 % 300;
        batch.supervised[t] = t > settings->text / 3;
    }
    for (int i = 0; i < settings->batch; i++) {
        batch.samples[i] = (TokenSample){batch.ids, batch.supervised, settings->text, i, i};
        batch.passes[i] = (uint64_t)step << 32 | (uint64_t)i;
    }
    return batch;
}

static void batch_free(Batch *batch) {
    free(batch->samples);
    free(batch->ids);
    free(batch->supervised);
    free(batch->passes);
}

/// One optimizer step; returns the tokens that it saw.
static int64_t run_step(const Settings *settings, const DiffLMM *model, Tensor *images,
                        const FrozenFeatures *cached, Optimizer *optimizer, int step) {
    Batch in = batch_new(settings, step);
    scope_begin();
    FrozenFeatures features = settings->computed ? difflmm_frozen_features(model, images) : *cached;
    tape_begin();
    DiffusionNoise noise = {.passes = in.passes};
    DiffLMMBatch batch = {in.samples, settings->batch, &features, &noise, true, (uint64_t)step};
    DiffLMMLoss loss = difflmm_loss(model, &batch, NULL);
    backward(loss.sum, NULL, NULL);
    tape_end();
    scope_end();
    OptimizerOptions options = {{1e-4, 1e-4}, 0.9, 0.999,
                                1e-8,         0,   1.0 / (double)loss.num_supervised};
    double norm = options.gradient_scale * sqrt(optimizer_sum_squares(optimizer));
    options.gradient_scale *= optimizer_clip_factor(norm, 1.0);
    optimizer_step(optimizer, &options);
    batch_free(&in);
    return loss.num_tokens;
}

static void save(const Settings *settings, const DiffLMM *model, const ParameterSet *parameters,
                 Tensor *images, const FrozenFeatures *features) {
    Batch in = batch_new(settings, 0);
    DiffLMMBatch batch = {in.samples, settings->batch, features, NULL, true, 0};
    saved_step_write(settings->save, model, parameters, images, &batch);
    batch_free(&in);
}

static void measure(const Settings *settings, const char *name, AdapterKind architecture, bool lora,
                    DType dtype, Device *device) {
    if (settings->only && !strstr(name, settings->only)) return;
    if (settings->type && strcmp(dtype_name(dtype), settings->type) != 0) return;
    ParameterSet parameters = {0};
    DiffLMM *model = load(settings, architecture, lora, dtype, device, &parameters);
    Optimizer optimizer = optimizer_new(&parameters, NULL, 0);
    double *times = checked_calloc((size_t)settings->steps, sizeof *times);
    int64_t tokens = 0;
    scope_begin();
    Tensor *images = normal_tensor(device, SHAPE(settings->batch, 128, 128, 3), 0);
    FrozenFeatures features = difflmm_frozen_features(model, images);
    if (settings->save) save(settings, model, &parameters, images, &features);
    run_step(settings, model, images, &features, &optimizer, 0);
    device_reset_peak(device);
    for (int i = 0; i < settings->steps; i++) {
        double begin = bench_now();
        tokens = run_step(settings, model, images, &features, &optimizer, i + 1);
        device->synchronize(device);
        times[i] = bench_now() - begin;
    }
    scope_end();
    double seconds = bench_median(times, settings->steps);
    printf("%-26s %-9s %9.1f ms %9.0f samples/s %9.0f tokens/s %8.0f MiB\n", name,
           dtype_name(dtype), seconds * 1e3, settings->batch / seconds, (double)tokens / seconds,
           (double)device->bytes_peak / 0x1p20);
    fflush(stdout);
    free(times);
    optimizer_free(&optimizer);
    difflmm_free(model);
    parameters_free(&parameters);
}

static Settings read_settings(int argc, char **argv) {
    const char *features = "cached";
    Settings settings = {
        .batch = 32, .text = 40, .steps = 12, .checkpoints = "checkpoints/tiny", .device = "cpu"};
    const struct {
        const char *name;
        int *value;
    } numbers[] = {{"--batch", &settings.batch},
                   {"--text", &settings.text},
                   {"--steps", &settings.steps},
                   {"--threads", &settings.threads}};
    const struct {
        const char *name, **value;
    } words[] = {{"--device", &settings.device},
                 {"--features", &features},
                 {"--only", &settings.only},
                 {"--type", &settings.type},
                 {"--save", &settings.save}};
    for (int i = 1; i < argc; i++) {
        bool known = false;
        for (size_t k = 0; k < sizeof numbers / sizeof *numbers && !known; k++) {
            known = !strcmp(argv[i], numbers[k].name) && i + 1 < argc;
            if (known) *numbers[k].value = atoi(argv[++i]);
        }
        for (size_t k = 0; k < sizeof words / sizeof *words && !known; k++) {
            known = !strcmp(argv[i], words[k].name) && i + 1 < argc;
            if (known) *words[k].value = argv[++i];
        }
        if (known) continue;
        if (!strcmp(argv[i], "--processor-time")) {
            settings.threads = 1, bench_clock = CLOCK_THREAD_CPUTIME_ID;
        } else if (argv[i][0] == '-') {
            fprintf(stderr, "bench_step: unknown option %s\n", argv[i]);
            exit(2);
        } else {
            settings.checkpoints = argv[i];
        }
    }
    settings.computed = !strcmp(features, "computed");
    if (!settings.computed && strcmp(features, "cached") != 0) {
        fprintf(stderr, "bench_step: --features is %s; expected cached or computed\n", features);
        exit(2);
    }
    return settings;
}

int main(int argc, char **argv) {
    Settings settings = read_settings(argc, argv);
    if (settings.batch < 1 || settings.text < 4 || settings.steps < 1) {
        fputs("bench_step: expected --batch >= 1, --text >= 4, --steps >= 1\n", stderr);
        return 2;
    }
    Device *device = bench_device(settings.device, settings.threads);
    printf("kernels: %s; batch %d, %d text tokens, median of %d steps\n", device->kernels->name,
           settings.batch, settings.text, settings.steps);
    for (int type = FLOAT32; type <= BFLOAT16; type++) {
        measure(&settings, "difflmm stage 1", ADAPTERS_DIFFLMM, false, (DType)type, device);
        measure(&settings, "difflmm stage 2 (LoRA 32)", ADAPTERS_DIFFLMM, true, (DType)type,
                device);
        measure(&settings, "llava stage 1", ADAPTERS_LLAVA, false, (DType)type, device);
        measure(&settings, "llava stage 2 (LoRA 32)", ADAPTERS_LLAVA, true, (DType)type, device);
    }
    return 0;
}
