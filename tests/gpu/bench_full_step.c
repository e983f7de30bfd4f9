// A training step at full size with random weights: CLIP ViT-L/14-336, Stable Diffusion v1.5's VAE
// and U-Net, a Llama of 7B, in bfloat16, as the published recipe trains. Encoders, forward,
// backward and update; nothing comes from a cache.
//
//   bench_full_step [--device cuda|cpu] [--batch 1] [--text 41] [--steps 5] [--stage 1|2]
//   [--recompute N] [--fp8] [--peak TFLOPS] [--small]
//
// An image takes the place of one token by 576, so 41 make 616. --fp8: model.frozen_dtype. --small:
// tiny networks, to see that the program runs. Prints the median step, tokens (visual ones counted)
// per second, the language model's products alone as TFLOP/s (and as a share of --peak), and memory
// of tensors.
//
// The linker puts the __wrap_ functions below in the place of models/weights.h's, so networks are
// read from directories that hold a configuration and an empty weight file.
#include "models/weights.h"
#include "ops/ops.h"
#include "tests/bench/bench.h"
#include "tests/bench/normal_tensor.h"
#include "tests/bench/recipe_options.h"
#include "train/trainer/optimizer.h"

#include <math.h>
#include <sys/stat.h>
#include <unistd.h>

static Device *device;

typedef struct Settings {
    int batch, text, steps, stage, recompute, small, fp8;
    double peak;
    const char *device;
} Settings;

// ---- random weights

/// Normal numbers of variance 1 / fan_in, so that activations keep their size through the layers.
static Tensor *random_weight(int rank, const int64_t *shape) {
    static uint64_t count;
    int64_t fan_in = 1;
    for (int i = 1; i < rank; i++) fan_in *= shape[i];
    scope_begin();
    Tensor *normal = normal_tensor(device, rank, shape, count++);
    Tensor *weight = convert(scale(normal, 1 / sqrtf((float)fan_in)), BFLOAT16);
    tensor_retain(weight);
    scope_end();
    return weight;
}

Tensor *__wrap_weights_matrix(Weights *weights, const char *name, int64_t rows, int64_t columns);
Tensor *__wrap_weights_vector(Weights *weights, const char *name, int64_t length);
Tensor *__wrap_weights_conv(Weights *weights, const char *name, int64_t out, int64_t in,
                            int64_t height, int64_t width);

void __wrap_weights_matrix_type(Weights *weights, DType dtype);

/// Of the matrices from now on.
static DType matrix_type = BFLOAT16;

void __wrap_weights_matrix_type(Weights *weights, DType dtype) {
    (void)weights;
    matrix_type = dtype;
}

Tensor *__wrap_weights_matrix(Weights *weights, const char *name, int64_t rows, int64_t columns) {
    (void)name;
    if (weights_failed(weights)) return NULL;
    Tensor *matrix = random_weight(SHAPE(rows, columns));
    if (matrix_type != FLOAT8) return matrix;
    scope_begin();
    Tensor *rounded = tensor_retain(quantize_rows(matrix));
    scope_end();
    tensor_release(matrix);
    tensor_set_memory_kind(rounded, MEMORY_WEIGHTS);
    return rounded;
}

Tensor *__wrap_weights_conv(Weights *weights, const char *name, int64_t out, int64_t in,
                            int64_t height, int64_t width) {
    (void)name;
    return weights_failed(weights) ? NULL : random_weight(SHAPE(out, height, width, in));
}

/// Norms' weights are one, biases zero.
Tensor *__wrap_weights_vector(Weights *weights, const char *name, int64_t length) {
    if (weights_failed(weights)) return NULL;
    size_t end = strlen(name);
    bool bias = end >= 4 && !strcmp(name + end - 4, "bias");
    float *values = checked_calloc((size_t)length, sizeof *values);
    for (int64_t i = 0; i < length && !bias; i++) values[i] = 1;
    Tensor *vector = tensor_new_persistent(device, FLOAT32, SHAPE(length), NULL);
    tensor_fill_from_float(vector, values);
    free(values);
    return vector;
}

// ---- configurations

typedef struct ModelFiles {
    const char *folder, *file, *official, *small;
} ModelFiles;

#define UNET_BLOCKS                                                                    \
    "\"down_block_types\": [\"CrossAttnDownBlock2D\", \"CrossAttnDownBlock2D\", "      \
    "\"CrossAttnDownBlock2D\", \"DownBlock2D\"], \"up_block_types\": [\"UpBlock2D\", " \
    "\"CrossAttnUpBlock2D\", \"CrossAttnUpBlock2D\", \"CrossAttnUpBlock2D\"], "

static const ModelFiles model_files[] = {
    {"clip", "config.json",
     "{\"model_type\": \"clip_vision_model\", \"hidden_size\": 1024, \"intermediate_size\": 4096, "
     "\"num_attention_heads\": 16, \"num_hidden_layers\": 24, \"image_size\": 336, \"patch_size\": "
     "14}",
     "{\"model_type\": \"clip_vision_model\", \"hidden_size\": 32, \"intermediate_size\": 64, "
     "\"num_attention_heads\": 4, \"num_hidden_layers\": 2, \"image_size\": 56, \"patch_size\": "
     "14}"},
    {"vae", "config.json",
     "{\"block_out_channels\": [128, 256, 512, 512], \"layers_per_block\": 2, "
     "\"down_block_types\": "
     "[\"DownEncoderBlock2D\", \"DownEncoderBlock2D\", \"DownEncoderBlock2D\", "
     "\"DownEncoderBlock2D\"]}",
     "{\"block_out_channels\": [8, 16, 16, 16], \"norm_num_groups\": 8, \"down_block_types\": "
     "[\"DownEncoderBlock2D\", \"DownEncoderBlock2D\", \"DownEncoderBlock2D\", "
     "\"DownEncoderBlock2D\"]}"},
    {"unet", "config.json",
     "{" UNET_BLOCKS
     "\"block_out_channels\": [320, 640, 1280, 1280], \"cross_attention_dim\": 768, "
     "\"attention_head_dim\": 8}",
     "{" UNET_BLOCKS "\"block_out_channels\": [16, 16, 32, 32], \"cross_attention_dim\": 24, "
     "\"attention_head_dim\": 2, "
     "\"norm_num_groups\": 8}"},
    {"scheduler", "scheduler_config.json",
     "{\"beta_start\": 0.00085, \"beta_end\": 0.012, \"beta_schedule\": \"scaled_linear\"}",
     "{\"beta_start\": 0.00085, \"beta_end\": 0.012, \"beta_schedule\": \"scaled_linear\"}"},
    {"llm", "config.json",
     "{\"hidden_size\": 4096, \"intermediate_size\": 11008, \"num_hidden_layers\": 32, "
     "\"num_attention_heads\": 32, \"vocab_size\": 32000, \"rms_norm_eps\": 1e-5}",
     "{\"hidden_size\": 64, \"intermediate_size\": 96, \"num_hidden_layers\": 2, "
     "\"num_attention_heads\": 4, \"vocab_size\": 97, \"rms_norm_eps\": 1e-5}"},
};

static void fail(const char *message) {
    fprintf(stderr, "bench_full_step: %s\n", message);
    exit(1);
}

static void write_file(const char *folder, const char *name, const void *bytes, size_t count) {
    char *path = format_string("%s/%s", folder, name);
    FILE *file = fopen(path, "wb");
    if (!file || fwrite(bytes, 1, count, file) != count || fclose(file)) fail(path);
    free(path);
}

/// Directories of all networks below `root`.
static void make_directories(const char *root, bool small) {
    static const char no_tensors[] =
        "\2\0\0\0\0\0\0\0{}"; // safetensors: the header's length, an empty header
    for (size_t i = 0; i < sizeof model_files / sizeof *model_files; i++) {
        const ModelFiles *files = &model_files[i];
        const char *text = small ? files->small : files->official;
        char *folder = format_string("%s/%s", root, files->folder);
        if (mkdir(folder, 0777) != 0) fail(folder);
        write_file(folder, files->file, text, strlen(text));
        write_file(folder, "model.safetensors", no_tensors, sizeof no_tensors - 1);
        free(folder);
    }
}

static void remove_directories(const char *root) {
    for (size_t i = 0; i < sizeof model_files / sizeof *model_files; i++) {
        const char *const names[] = {model_files[i].file, "model.safetensors", ""};
        for (int k = 0; k < 3; k++) {
            char *path = format_string("%s/%s/%s", root, model_files[i].folder, names[k]);
            remove(path);
            free(path);
        }
    }
    remove(root);
}

static DiffLMM *load(const Settings *settings, ParameterSet *parameters) {
    char root[] = "/tmp/difflmm-bench-XXXXXX";
    if (!mkdtemp(root)) fail("no folder can be made in /tmp");
    make_directories(root, settings->small);
    char *clip = format_string("%s/clip", root), *llm = format_string("%s/llm", root);
    LoraOptions lora = recipe_lora(settings->small ? 4 : 128);
    DiffLMMOptions options = recipe_options(root, clip, llm);
    if (settings->small) options.image_size = 64;
    options.recompute = settings->recompute;
    options.frozen_dtype = settings->fp8 ? FROZEN_FP8 : FROZEN_AS_DTYPE;
    options.lora = settings->stage == 2 ? &lora : NULL;
    Error error;
    DiffLMM *model = difflmm_load(&options, device, parameters, NULL, &error);
    remove_directories(root);
    free(clip);
    free(llm);
    if (!model) fail(error.message);
    return model;
}

// ---- a step

static double now(void) {
    device->synchronize(device);
    return bench_now();
}

typedef struct Inputs {
    int32_t *ids;
    uint8_t *supervised;
    TokenSample *samples;
    uint64_t *passes;
    /// [batch,S,S,3], of the scope around all steps
    Tensor *images;
} Inputs;

static Inputs inputs_new(const Settings *settings, int vocabulary) {
    Inputs in = {checked_calloc((size_t)settings->text, sizeof *in.ids),
                 checked_calloc((size_t)settings->text, sizeof *in.supervised),
                 checked_calloc((size_t)settings->batch, sizeof *in.samples),
                 checked_calloc((size_t)settings->batch, sizeof *in.passes), NULL};
    for (int t = 0; t < settings->text; t++) {
        in.ids[t] = 3 + t * 7919 % (vocabulary - 3);
        in.supervised[t] = t > settings->text / 3;
    }
    in.ids[1] = PACKING_IMAGE_TOKEN;
    for (int i = 0; i < settings->batch; i++) {
        in.samples[i] = (TokenSample){in.ids, in.supervised, settings->text, i, i};
        in.passes[i] = (uint64_t)i;
    }
    return in;
}

enum { ENCODERS, FORWARD, BACKWARD, UPDATE, PARTS };

/// One step; its parts' seconds are added to `parts` (with a wait for the device after each), or
/// only the whole is waited for (NULL).
static DiffLMMLoss run_step(const Settings *settings, const DiffLMM *model, const Inputs *in,
                            Optimizer *optimizer, uint64_t step, double *parts) {
    double at[PARTS + 1] = {0};
    scope_begin();
    if (parts) at[0] = now();
    FrozenFeatures features = difflmm_frozen_features(model, in->images);
    if (parts) at[1] = now();
    tape_begin();
    for (int i = 0; i < settings->batch; i++) in->passes[i] = step << 32 | (uint64_t)i;
    DiffusionNoise noise = {.passes = in->passes};
    DiffLMMBatch batch = {in->samples, settings->batch, &features, &noise, true, step};
    DiffLMMLoss loss = difflmm_loss(model, &batch, NULL);
    if (parts) at[2] = now();
    backward(loss.sum, NULL, NULL);
    tape_end();
    if (parts) at[3] = now();
    scope_end();
    double per_token = 1.0 / (double)loss.num_supervised;
    double norm = per_token * sqrt(optimizer_sum_squares(optimizer));
    if (!(norm > 0 && isfinite(norm))) fail("the gradient is zero or not a number");
    OptimizerOptions options = {.learning_rate = {1e-3, 2e-4},
                                .beta1 = 0.9,
                                .beta2 = 0.999,
                                .epsilon = 1e-8,
                                .gradient_scale = per_token * optimizer_clip_factor(norm, 1.0)};
    optimizer_step(optimizer, &options);
    if (parts) at[4] = now();
    for (int i = 0; parts && i < PARTS; i++) parts[i] = at[i + 1] - at[i];
    return loss;
}

/// Multiply-adds of the language model's linear layers count two, forward and for the gradient of
/// their input.
static double language_flops(const LlamaConfig *config, int64_t tokens, int64_t supervised) {
    double layer = 0;
    for (LlamaModule m = 0; m < LLAMA_MODULE_COUNT; m++)
        layer += (double)llama_module_out(config, m) * llama_module_in(config, m);
    return 4 * ((double)tokens * layer * config->num_hidden_layers +
                (double)supervised * config->vocab_size * config->hidden_size);
}

static void report(const Settings *settings, const DiffLMM *model, const DiffLMMLoss *loss,
                   double seconds, const double *parts, int64_t weights) {
    double flops =
        language_flops(&model->llama->config, loss->num_tokens, loss->num_supervised) / seconds;
    printf("stage %d, batch %d, %lld tokens, bfloat16%s, recompute %d: %.1f ms per step, %.0f "
           "tokens/s\n",
           settings->stage, settings->batch, (long long)loss->num_tokens,
           settings->fp8 ? ", layers' matrices in fp8" : "", settings->recompute, seconds * 1e3,
           (double)loss->num_tokens / seconds);
    printf("  encoders %.1f ms, forward %.1f ms, backward %.1f ms, update %.1f ms (waiting after "
           "each)\n",
           parts[ENCODERS] * 1e3, parts[FORWARD] * 1e3, parts[BACKWARD] * 1e3, parts[UPDATE] * 1e3);
    printf("  the language model's products in the whole step's time: %.1f TFLOP/s", flops * 1e-12);
    if (settings->peak > 0) printf(", %.0f%% of the peak", 100 * flops * 1e-12 / settings->peak);
    printf("\n  memory: %.2f GiB at the highest, %.2f of them loaded before the first step\n",
           (double)device->bytes_peak / 0x1p30, (double)weights / 0x1p30);
    fflush(stdout);
}

static void measure(const Settings *settings) {
    ParameterSet parameters = {0};
    DiffLMM *model = load(settings, &parameters);
    Optimizer optimizer = optimizer_new(&parameters, NULL, 0);
    Inputs in = inputs_new(settings, model->llama->config.vocab_size);
    double *times = checked_calloc((size_t)settings->steps, sizeof *times), parts[PARTS];
    int64_t weights = device->bytes_in_use;
    const int64_t side = model->options.image_size;
    scope_begin();
    in.images = normal_tensor(device, SHAPE(settings->batch, side, side, 3), UINT64_MAX);
    device_reset_peak(device);
    uint64_t step = 1;
    for (int i = 0; i < 2; i++) run_step(settings, model, &in, &optimizer, step++, NULL);
    DiffLMMLoss loss = run_step(settings, model, &in, &optimizer, step++, parts);
    for (int i = 0; i < settings->steps; i++) {
        double begin = now();
        run_step(settings, model, &in, &optimizer, step++, NULL);
        times[i] = now() - begin;
    }
    report(settings, model, &loss, bench_median(times, settings->steps), parts, weights);
    scope_end();
    free(times);
    free(in.ids);
    free(in.supervised);
    free(in.samples);
    free(in.passes);
    optimizer_free(&optimizer);
    difflmm_free(model);
    parameters_free(&parameters);
}

int main(int argc, char **argv) {
    Settings settings = {.batch = 1, .text = 41, .steps = 5, .stage = 1, .device = "cuda"};
    for (int i = 1; i < argc; i++) {
        const struct {
            const char *name;
            int *value;
        } options[] = {{"--batch", &settings.batch},
                       {"--text", &settings.text},
                       {"--steps", &settings.steps},
                       {"--stage", &settings.stage},
                       {"--recompute", &settings.recompute}};
        bool known = false;
        for (size_t k = 0; k < sizeof options / sizeof *options && !known; k++) {
            known = !strcmp(argv[i], options[k].name) && i + 1 < argc;
            if (known) *options[k].value = atoi(argv[++i]);
        }
        if (known) continue;
        if (!strcmp(argv[i], "--small"))
            settings.small = 1;
        else if (!strcmp(argv[i], "--fp8"))
            settings.fp8 = 1;
        else if (!strcmp(argv[i], "--device") && i + 1 < argc)
            settings.device = argv[++i];
        else if (!strcmp(argv[i], "--peak") && i + 1 < argc)
            settings.peak = atof(argv[++i]);
        else
            fail("see the first lines of bench_full_step.c");
    }
    if (settings.batch < 1 || settings.text < 4 || settings.steps < 1) fail("sizes are too small");
    device = bench_device(settings.device, 0);
    measure(&settings);
    return 0;
}
