// difflmm features: every intermediate of one pass, as safetensors: for research, and to hold other
// code against.
#include "checkpoints/safetensors.h"
#include "train/command.h"
#include "train/evaluation/evaluation_setup.h"
#include "train/saved/trained_weights.h"
#include "train/trainer/model_setup.h"
#include "train/trainer/training_check.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MOST_TENSORS = 16 };

typedef struct FeatureArguments {
    const char *config, *image, *out, *text, *noise;
    ArgumentList settings;
} FeatureArguments;

static const Argument ARGUMENTS[] = {
    CONFIG_ARGUMENT(FeatureArguments),
    {"IMAGE", NULL, "JPEG or PNG", ARGUMENT_PATH, INTO(FeatureArguments, image), ARGUMENT_REQUIRED},
    {"--out", "FILE", "the safetensors that are written", ARGUMENT_PATH,
     INTO(FeatureArguments, out), ARGUMENT_REQUIRED},
    {"--text", "TEXT", "what the model is to say about IMAGE; data.version is its template",
     ARGUMENT_TEXT, INTO(FeatureArguments, text)},
    {"--noise", "FILE",
     "safetensors with tensors 'vae' and 'diffusion' [ensemble_size,h,w,channels]: the standard "
     "normal noise of the latents' sample and of the diffusion step; without it both are drawn "
     "from eval.seed",
     ARGUMENT_PATH, INTO(FeatureArguments, noise)},
    SETTINGS_ARGUMENT(FeatureArguments),
    {0}};

static const CommandLine LINE = {
    "features",
    "Runs the model of eval.checkpoint (null: as initialised by eval.seed) once and writes, in "
    "float32 and channels last: image, clip_features, moments, latents, noisy_latents, context, "
    "unet_feature, visual_tokens, and with --text logits (of every position of the packed "
    "sequence), token_ids, loss (mean over the supervised tokens).\n",
    ARGUMENTS,
    "  difflmm features configs/tiny_stage1.yaml runs/tiny-world/test/images/000000500003.jpg "
    "--out features.safetensors\n"};

// ---- what is written

typedef struct Collected {
    SafetensorsTensor tensors[MOST_TENSORS];
    int count;
} Collected;

static void collect(Collected *all, const char *name, const Tensor *x) {
    if (!x) return;
    CHECK(all->count < MOST_TENSORS, "too many tensors");
    float *values = checked_malloc((size_t)tensor_numel(x) * sizeof *values);
    tensor_to_host_float(x, values);
    all->tensors[all->count++] = (SafetensorsTensor){name, ELEMENT_F32, x->rank, x->shape, values};
}

static void collect_integers(Collected *all, const char *name, const int32_t *values,
                             const int64_t *count) {
    int32_t *copy = checked_malloc((size_t)*count * sizeof *copy);
    memcpy(copy, values, (size_t)*count * sizeof *copy);
    all->tensors[all->count++] = (SafetensorsTensor){name, ELEMENT_I32, 1, count, copy};
}

static void free_collected(Collected *all) {
    for (int i = 0; i < all->count; i++) free((void *)all->tensors[i].data);
}

// ---- one pass

static Tensor *read_noise_tensor(const DiffLMM *model, const SafetensorsFile *file,
                                 const char *name, Error *error) {
    const StoredTensor *entry = safetensors_find(file, name);
    int64_t ensemble = model->options.ensemble_size, size = model->latent_size,
            channels = model->vae->latent_channels;
    if (!entry || entry->rank != 4 || entry->shape[0] != ensemble || entry->shape[1] != size ||
        entry->shape[2] != size || entry->shape[3] != channels) {
        error_set(error, "%s: expected a tensor '%s' of shape [%lld, %lld, %lld, %lld]",
                  safetensors_path(file), name, (long long)ensemble, (long long)size,
                  (long long)size, (long long)channels);
        return NULL;
    }
    Tensor *noise = tensor_new(model->device, FLOAT32, SHAPE(ensemble, size, size, channels));
    float *values = checked_malloc((size_t)entry->numel * sizeof *values);
    stored_tensor_read_float32(entry, 0, entry->numel, values);
    tensor_fill_from_float(noise, values);
    free(values);
    return noise;
}

static bool read_noise(const DiffLMM *model, const char *path, DiffusionNoise *noise,
                       Error *error) {
    if (!path) return true;
    if (!model->vae) return error_set(error, "--noise: the configured architecture draws none");
    SafetensorsFile *file = safetensors_open(path, error);
    if (!file) return false;
    noise->vae = read_noise_tensor(model, file, "vae", error);
    noise->diffusion = noise->vae ? read_noise_tensor(model, file, "diffusion", error) : NULL;
    safetensors_close(file);
    return noise->diffusion != NULL;
}

/// The text as the answer to eval.prompt, in front of which the image goes where the prompt has no
/// place for it.
static bool tokenize_text(const Config *config, const FeatureArguments *arguments,
                          const ModelSetup *setup, TokenSequence *sequence, Error *error) {
    const char *prompt = evaluation_prompt(config);
    char *question = format_string("%s%s", strstr(prompt, "<image>") ? "" : "<image>", prompt);
    const Turn turns[] = {{ROLE_HUMAN, question}, {ROLE_GPT, arguments->text}};
    bool ok =
        training_check_image_fits(config, setup->format.visual_tokens, error) &&
        conversation_tokenize(setup->tokenizer, &setup->format, turns, 2, true, sequence, error);
    free(question);
    if (ok && !sequence->supervised_count)
        fprintf(stderr, "warning: no token of --text is supervised%s: there is no loss\n",
                sequence->answer_is_cut_off ? " (data.model_max_length cuts it off)" : "");
    return ok;
}

/// Runs the pass in the caller's scope. pixels: [image_size, image_size, 3].
static bool run_pass(const Config *config, const FeatureArguments *arguments,
                     const ModelSetup *setup, const float *pixels, Collected *all,
                     TokenSequence *sequence, Error *error) {
    const DiffLMM *model = setup->model;
    const int64_t side = config->data.image_size;
    Tensor *image = tensor_new(setup->device, FLOAT32, SHAPE(1, side, side, 3));
    tensor_fill_from_float(image, pixels);
    DiffusionNoise noise = {.passes = (uint64_t[]){0}};
    if (!read_noise(model, arguments->noise, &noise, error)) return false;
    if (arguments->text && !tokenize_text(config, arguments, setup, sequence, error)) return false;
    FrozenFeatures features = difflmm_frozen_features(model, image);
    Intermediates between = {0};
    Tensor *loss = NULL;
    if (arguments->text) {
        TokenSample sample = {
            .ids = sequence->ids, .supervised = sequence->supervised, .count = sequence->count};
        DiffLMMBatch batch = {&sample, 1, &features, &noise, false, 0};
        DiffLMMLoss result = difflmm_loss(model, &batch, &between);
        if (result.sum) loss = scale(result.sum, 1.0f / (float)result.num_supervised);
    } else {
        between.visual_tokens = difflmm_visual_tokens(model, &features, &noise, &between);
    }
    collect(all, "image", image);
    collect(all, "clip_features", features.clip);
    collect(all, "moments", features.moments);
    collect(all, "latents", between.latents);
    collect(all, "noisy_latents", between.noisy_latents);
    collect(all, "context", between.context);
    collect(all, "unet_feature", between.unet_feature);
    collect(all, "visual_tokens", between.visual_tokens);
    collect(all, "logits", between.logits);
    collect(all, "loss", loss);
    return true;
}

static bool write_features(const Config *config, const FeatureArguments *arguments,
                           const ModelSetup *setup, const float *pixels, Error *error) {
    Collected all = {0};
    TokenSequence sequence = {0};
    scope_begin();
    bool ok = run_pass(config, arguments, setup, pixels, &all, &sequence, error);
    int64_t count = sequence.count;
    if (ok && count) collect_integers(&all, "token_ids", sequence.ids, &count);
    ok = ok && safetensors_write(arguments->out, all.tensors, all.count, NULL, 0, error);
    for (int i = 0; ok && i < all.count; i++) {
        char shape[128];
        printf("%-14s %-4s %s\n", all.tensors[i].name, element_name(all.tensors[i].type),
               shape_text(all.tensors[i].rank, all.tensors[i].shape, shape, sizeof shape));
    }
    scope_end();
    free_collected(&all);
    token_sequence_free(&sequence);
    return ok;
}

static bool features_of(const Config *config, const FeatureArguments *arguments, Error *error) {
    const ImageView view = {config->data.image_aspect_ratio, config->data.image_normalization,
                            (int)config->data.image_size};
    const size_t side = (size_t)view.size;
    float *pixels = checked_malloc(side * side * 3 * sizeof *pixels);
    ImageGeometry geometry;
    ModelSetup setup;
    bool ok = image_read_preprocess(arguments->image, &view, pixels, &geometry, error) &&
              model_setup_open(config, (uint64_t)config->eval.seed, NULL, &setup, error);
    if (ok) {
        ok = model_setup_load_checkpoint(config, &setup, error) &&
             write_features(config, arguments, &setup, pixels, error);
        model_setup_close(&setup);
    }
    free(pixels);
    return ok;
}

static int run(const FeatureArguments *arguments) {
    Error error = {0};
    Config *config = config_load(arguments->config, arguments->settings.values,
                                 arguments->settings.count, &error);
    if (!config) return command_refuse("features", &error, EXIT_USAGE);
    bool complete = config_require_model(config, &error);
    bool ok = complete && trained_weights_settle(config, &error) &&
              features_of(config, arguments, &error);
    config_free(config);
    return ok ? EXIT_DONE : command_refuse("features", &error, complete ? EXIT_FAILED : EXIT_USAGE);
}

int command_features(int argc, char **argv) {
    FeatureArguments arguments = {0};
    int exit_code;
    if (!command_begin(&LINE, argc, argv, &arguments, &exit_code)) return exit_code;
    exit_code = run(&arguments);
    arguments_free(&LINE, &arguments);
    return exit_code;
}
