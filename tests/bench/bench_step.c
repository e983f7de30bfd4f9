// rooms: train eval models ops checkpoints data autograd
// Speed and memory of training steps of the tiny model: features of the frozen encoders from a
// cache, random tokens.
//
//   bench_step [--device cpu|cuda] [--batch 32] [--text 40] [--steps 12] [--threads N]
//   [CHECKPOINTS]
//
// CHECKPOINTS: the folder with sd, clip and llm (checkpoints/tiny by default). Prints a row for
// each stage and type: the median step, samples and tokens (visual ones counted) per second, and
// the highest memory of tensors.
#include "bench.h"
#include "normal_tensor.h"
#include "recipe_options.h"
#include "train/trainer/optimizer.h"

#include <math.h>

typedef struct Settings {
    int batch, text, steps, threads;
    const char *checkpoints, *device;
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

/// One optimizer step; returns the tokens that it saw.
static int64_t run_step(const Settings *settings, const DiffLMM *model,
                        const FrozenFeatures *features, Optimizer *optimizer, int step) {
    TokenSample *samples = checked_calloc((size_t)settings->batch, sizeof *samples);
    int32_t *ids = checked_calloc((size_t)settings->text, sizeof *ids);
    uint8_t *supervised = checked_calloc((size_t)settings->text, 1);
    uint64_t *passes = checked_calloc((size_t)settings->batch, sizeof *passes);
    for (int t = 0; t < settings->text; t++) {
        ids[t] = t == 1 ? PACKING_IMAGE_TOKEN : 3 + t * 7 % 300;
        supervised[t] = t > settings->text / 3;
    }
    for (int i = 0; i < settings->batch; i++) {
        samples[i] = (TokenSample){ids, supervised, settings->text, i, i};
        passes[i] = (uint64_t)step << 32 | (uint64_t)i;
    }
    scope_begin();
    tape_begin();
    DiffusionNoise noise = {.passes = passes};
    DiffLMMBatch batch = {samples, settings->batch, features, &noise, true, (uint64_t)step};
    DiffLMMLoss loss = difflmm_loss(model, &batch, NULL);
    backward(loss.sum, NULL, NULL);
    tape_end();
    scope_end();
    OptimizerOptions options = {{1e-4, 1e-4}, 0.9, 0.999,
                                1e-8,         0,   1.0 / (double)loss.num_supervised};
    double norm = options.gradient_scale * sqrt(optimizer_sum_squares(optimizer));
    options.gradient_scale *= optimizer_clip_factor(norm, 1.0);
    optimizer_step(optimizer, &options);
    free(samples);
    free(ids);
    free(supervised);
    free(passes);
    return loss.num_tokens;
}

static void measure(const Settings *settings, const char *name, AdapterKind architecture, bool lora,
                    DType dtype, Device *device) {
    ParameterSet parameters = {0};
    DiffLMM *model = load(settings, architecture, lora, dtype, device, &parameters);
    Optimizer optimizer = optimizer_new(&parameters, NULL, 0);
    double *times = checked_calloc((size_t)settings->steps, sizeof *times);
    int64_t tokens = 0;
    scope_begin();
    Tensor *images = normal_tensor(device, SHAPE(settings->batch, 128, 128, 3), 0);
    FrozenFeatures features = difflmm_frozen_features(model, images);
    run_step(settings, model, &features, &optimizer, 0);
    device_reset_peak(device);
    for (int i = 0; i < settings->steps; i++) {
        double begin = bench_now();
        tokens = run_step(settings, model, &features, &optimizer, i + 1);
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

int main(int argc, char **argv) {
    Settings settings = {32, 40, 12, 0, "checkpoints/tiny", "cpu"};
    for (int i = 1; i < argc; i++) {
        const struct {
            const char *name;
            int *value;
        } options[] = {{"--batch", &settings.batch},
                       {"--text", &settings.text},
                       {"--steps", &settings.steps},
                       {"--threads", &settings.threads}};
        bool known = false;
        for (size_t k = 0; k < sizeof options / sizeof *options && !known; k++) {
            known = !strcmp(argv[i], options[k].name) && i + 1 < argc;
            if (known) *options[k].value = atoi(argv[++i]);
        }
        if (!known && !strcmp(argv[i], "--device") && i + 1 < argc) {
            settings.device = argv[++i];
            continue;
        }
        if (!known && argv[i][0] == '-') {
            fprintf(stderr, "bench_step: unknown option %s\n", argv[i]);
            return 2;
        }
        if (!known) settings.checkpoints = argv[i];
    }
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
