// Loading, and the way from an image to visual tokens.
#include "models/difflmm.h"

#include "autograd/philox.h"
#include "models/clip/clip_text.h"
#include "models/llava_config.h"

#include <stdlib.h>

// ---- loading

static bool load_empty_prompt(DiffLMM *model, const char *sd, Error *error) {
    char *path = format_string("%s/text_encoder", sd);
    ClipText *text = clip_text_load(path, model->device, model->options.dtype, error);
    free(path);
    if (!text) return false;
    int width = text->encoder.hidden_size, expected = model->unet->config.cross_attention_dim;
    if (width == expected) {
        scope_begin();
        model->empty_prompt = tensor_retain(clip_text_empty_prompt(text));
        scope_end();
    }
    clip_text_free(text);
    return width == expected ||
           error_set(error,
                     "%s/text_encoder is %d wide, but %s/unet takes a context of width %d; they "
                     "belong to different models",
                     sd, width, sd, expected);
}

/// An option, by its member's name, is to blame.
#define REFUSE_OPTION(member, ...) \
    (*option = #member, (void)sizeof options->member, error_set(error, __VA_ARGS__))

static bool check_image_size(const DiffLMM *model, const char **option, Error *error) {
    const DiffLMMOptions *options = &model->options;
    int size = model->clip->image_size;
    return options->image_size * 7 / 8 == size ||
           REFUSE_OPTION(image_size,
                         "of %d pixels the vision tower sees 7/8, %d, but it was made for %d; "
                         "set image_size to %d",
                         options->image_size, options->image_size * 7 / 8, size,
                         (size * 8 + 6) / 7);
}

static bool check_diffusion(const DiffLMM *model, const char *sd, const char **option,
                            Error *error) {
    const DiffLMMOptions *options = &model->options;
    if (!check_image_size(model, option, error)) return false;
    if (model->vae->latent_channels != model->unet->config.in_channels)
        return error_set(error, "%s: the vae makes latents of %d channels, the unet takes %d", sd,
                         model->vae->latent_channels, model->unet->config.in_channels);
    if (options->timestep < 0 || options->timestep >= model->schedule->num_train_timesteps)
        return REFUSE_OPTION(timestep, "timestep is %d; the noise schedule of %s has steps 0 to %d",
                             options->timestep, sd, model->schedule->num_train_timesteps - 1);
    if (options->ensemble_size < 1)
        return REFUSE_OPTION(ensemble_size, "ensemble_size is %d; expected 1 or more",
                             options->ensemble_size);
    if (model->latent_size < 1 || unet_feature_size(model->unet, model->latent_size) < 1)
        return REFUSE_OPTION(image_size, "image_size %d is too small for %s", options->image_size,
                             sd);
    return true;
}

static bool load_vae(DiffLMM *model, const char *sd, Error *error) {
    char *path = format_string("%s/vae", sd);
    model->vae = vae_encoder_load(path, model->device, model->options.dtype, error);
    free(path);
    if (model->vae) model->latent_size = vae_latent_size(model->vae, model->options.image_size);
    return model->vae != NULL;
}

static bool load_diffusion(DiffLMM *model, const char *sd, const char **option, Error *error) {
    DType dtype = model->options.dtype;
    if (!load_vae(model, sd, error)) return false;
    char *unet = format_string("%s/unet", sd), *scheduler = format_string("%s/scheduler", sd);
    model->schedule = noise_schedule_load(scheduler, error);
    if (model->schedule)
        model->unet =
            unet_load(unet, model->options.unet_feature_block, model->device, dtype, error);
    free(scheduler);
    free(unet);
    if (model->schedule && !model->unet && error && error->is_configuration)
        *option = "unet_feature_block";
    if (!model->unet) return false;
    if (!check_diffusion(model, sd, option, error)) return false;
    unet_set_timestep(model->unet, model->options.timestep);
    return model->options.implicit_captioner || load_empty_prompt(model, sd, error);
}

static bool load_clip(DiffLMM *model, const DiffLMMOptions *options, Error *error) {
    model->clip = clip_vision_load(options->vision_tower, model->device, options->dtype, error);
    if (!model->clip) return false;
    model->num_visual_tokens = model->clip->num_patches;
    model->grid = model->clip->image_size / model->clip->patch_size;
    return true;
}

static bool load_encoders(DiffLMM *model, const DiffLMMOptions *options, const char **option,
                          Error *error) {
    return load_clip(model, options, error) &&
           (options->architecture != ADAPTERS_DIFFLMM ||
            (load_vae(model, options->sd, error) && check_image_size(model, option, error)));
}

static bool load_networks(DiffLMM *model, const DiffLMMOptions *options, const char **option,
                          Error *error) {
    bool diffusion = options->architecture == ADAPTERS_DIFFLMM;
    if (!load_clip(model, options, error)) return false;
    if (diffusion && !load_diffusion(model, options->sd, option, error)) return false;
    if (!diffusion && !llava_config_check(options->llm, model->clip->encoder.hidden_size, error))
        return false;
    bool float8 = options->frozen_dtype == FROZEN_FP8;
    model->llama = (float8 ? llama_load_float8 : llama_load)(options->llm, model->device,
                                                             options->dtype, error);
    if (!model->llama) return false;
    int width = model->llama->config.hidden_size;
    if (!diffusion || width % 4 == 0) return true;
    return error_set(error, "%s: hidden_size is %d; the projector needs a multiple of 4",
                     options->llm, width);
}

static void register_parameters(DiffLMM *model, ParameterSet *parameters) {
    const DiffLMMOptions *options = &model->options;
    const UNet *unet = model->unet;
    AdapterOptions adapters = {
        .kind = options->architecture,
        .implicit_captioner = options->implicit_captioner,
        .positional_encodings = options->positional_encodings,
        .clip_concat = options->clip_concat,
        .num_tokens = model->num_visual_tokens,
        .clip_width = model->clip->encoder.hidden_size,
        .context_width = unet ? unet->config.cross_attention_dim : 0,
        .unet_width = unet ? unet_feature_channels(unet) : 0,
        .llm_width = model->llama->config.hidden_size,
        .projector_width = options->projector_width,
        .positional_encoding_std = options->positional_encoding_std,
        .seed = options->seed,
    };
    model->adapters = adapters_new(&adapters, parameters, model->device);
    if (options->lora) model->lora = lora_new(model->llama, options->lora, parameters);
}

/// Reads networks, encoders alone or all.
typedef bool LoadFunction(DiffLMM *model, const DiffLMMOptions *options, const char **option,
                          Error *error);

static DiffLMM *load(LoadFunction *networks, const DiffLMMOptions *options, Device *device,
                     const char **option, Error *error) {
    DiffLMM *model = checked_calloc(1, sizeof *model);
    const char *unwanted = NULL;
    if (!option) option = &unwanted;
    *option = NULL;
    model->options = *options;
    model->device = device;
    bool loaded = networks(model, options, option, error);
    model->options.sd = model->options.vision_tower = model->options.llm = NULL;
    if (loaded) return model;
    difflmm_free(model);
    return NULL;
}

DiffLMM *difflmm_load(const DiffLMMOptions *options, Device *device, ParameterSet *parameters,
                      const char **option, Error *error) {
    DiffLMM *model = load(load_networks, options, device, option, error);
    if (!model) return NULL;
    register_parameters(model, parameters);
    model->options.lora = NULL; // the model's own copy is in lora->options
    return model;
}

DiffLMM *difflmm_load_encoders(const DiffLMMOptions *options, Device *device, const char **option,
                               Error *error) {
    DiffLMM *model = load(load_encoders, options, device, option, error);
    if (model) model->options.lora = NULL;
    return model;
}

void difflmm_free(DiffLMM *model) {
    if (!model) return;
    clip_vision_free(model->clip);
    vae_encoder_free(model->vae);
    noise_schedule_free(model->schedule);
    unet_free(model->unet);
    tensor_release(model->empty_prompt);
    llama_free(model->llama);
    lora_free(model->lora);
    free(model);
}

// ---- from an image to visual tokens

/// How many random numbers of a pass belong to a member of the ensemble, as a power of two.
enum { MEMBER_NUMBERS_BITS = 40 };

FrozenFeatures difflmm_frozen_features(const DiffLMM *model, Tensor *images) {
    FrozenFeatures features = {0};
    scope_begin();
    features.clip = scope_end_returning(
        clip_vision_features(model->clip, clip_preprocess(model->clip, images)));
    if (!model->vae) return features;
    scope_begin();
    features.moments = scope_end_returning(
        convert(vae_encode(model->vae, convert(images, model->options.dtype)), FLOAT32));
    return features;
}

/// One member's share [B,h,w,channels] of noise that is given for a whole ensemble.
static Tensor *given_noise(Tensor *noise, int64_t batch, int member) {
    const int64_t *shape = noise->shape;
    int32_t *images = checked_malloc((size_t)batch * sizeof *images);
    for (int64_t b = 0; b < batch; b++) images[b] = (int32_t)(member * batch + b);
    Tensor *rows = gather_rows(reshape(noise, SHAPE(shape[0], shape[1] * shape[2] * shape[3])),
                               tensor_from_host(noise->device, INT32, SHAPE(batch), images));
    free(images);
    return reshape(rows, SHAPE(batch, shape[1], shape[2], shape[3]));
}

/// Drawn on the host, image by image, so that an image's noise does not depend on its batch or on
/// the device. A pass is a stream of its own, and the members of its ensemble take parts of it that
/// do not meet: every bit of the pass counts.
static Tensor *drawn_noise(const DiffLMM *model, const uint64_t *passes, int64_t batch, int member,
                           RandomPurpose purpose) {
    int size = model->latent_size, channels = model->vae->latent_channels;
    int64_t numel = (int64_t)size * size * channels;
    float *values = checked_malloc((size_t)(batch * numel) * sizeof *values);
    CHECK(numel <= 1ll << MEMBER_NUMBERS_BITS, "an image has %lld latents", (long long)numel);
    for (int64_t b = 0; b < batch; b++) {
        RandomStream stream = random_stream(model->options.seed, purpose, passes[b]);
        philox_normal(stream.key, stream.index, (uint64_t)member << MEMBER_NUMBERS_BITS,
                      values + b * numel, numel);
    }
    Tensor *noise =
        tensor_from_host(model->device, FLOAT32, SHAPE(batch, size, size, channels), values);
    free(values);
    return noise;
}

static Tensor *noise_of_member(const DiffLMM *model, Tensor *given, const uint64_t *passes,
                               int64_t batch, int member, RandomPurpose purpose) {
    if (given) return given_noise(given, batch, member);
    return drawn_noise(model, passes, batch, member, purpose);
}

/// One draw: a sample of the latents, noised, through the U-Net.
static Tensor *unet_pass(const DiffLMM *model, const FrozenFeatures *features,
                         const DiffusionNoise *noise, int member, Intermediates *between) {
    const DiffLMMOptions *options = &model->options;
    int64_t batch = features->clip->shape[0];
    Tensor *sample =
        gaussian_sample(features->moments, noise_of_member(model, noise->vae, noise->passes, batch,
                                                           member, RANDOM_VAE_SAMPLE));
    between->latents = scale(sample, model->vae->scaling_factor);
    between->noisy_latents = q_sample(model->schedule, between->latents,
                                      noise_of_member(model, noise->diffusion, noise->passes, batch,
                                                      member, RANDOM_DIFFUSION_NOISE),
                                      options->timestep);
    return unet_features(model->unet, convert(between->noisy_latents, options->dtype),
                         between->context);
}

/// The empty prompt for every image: [B,T,width].
static Tensor *repeated_prompt(const DiffLMM *model, int64_t batch) {
    Tensor *prompt = model->empty_prompt;
    int64_t tokens = prompt->shape[0], width = prompt->shape[1];
    Tensor *first = tensor_zeros(model->device, INT32, SHAPE(batch));
    return reshape(embedding(reshape(prompt, SHAPE(1, tokens * width)), first),
                   SHAPE(batch, tokens, width));
}

static Tensor *mean_unet_feature(const DiffLMM *model, const FrozenFeatures *features,
                                 const DiffusionNoise *noise, Intermediates *between) {
    int n = model->options.ensemble_size;
    Tensor *feature = unet_pass(model, features, noise, 0, between);
    if (n > 1) { // summed in FLOAT32
        Tensor *sum = convert(feature, FLOAT32);
        for (int member = 1; member < n; member++)
            sum = add(sum, convert(unet_pass(model, features, noise, member, between), FLOAT32));
        feature = convert(scale(sum, 1.0f / (float)n), feature->dtype);
    }
    int grid = model->grid;
    if (feature->shape[1] == grid && feature->shape[2] == grid) return feature;
    return resize_bilinear(feature, grid, grid);
}

Tensor *difflmm_visual_tokens(const DiffLMM *model, const FrozenFeatures *features,
                              const DiffusionNoise *noise, Intermediates *intermediates) {
    Intermediates unwanted = {0}, *between = intermediates ? intermediates : &unwanted;
    if (model->unet) {
        between->context = model->empty_prompt ? repeated_prompt(model, features->clip->shape[0])
                                               : adapters_context(&model->adapters, features->clip);
        between->unet_feature = mean_unet_feature(model, features, noise, between);
    }
    between->visual_tokens =
        adapters_project(&model->adapters, features->clip, between->unet_feature);
    return between->visual_tokens;
}
