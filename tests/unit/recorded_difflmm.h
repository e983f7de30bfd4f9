/// The small DiffLMM that tests/parity/record_language.py recorded, and the batch that it was
/// recorded with.
///
/// A test that includes this file includes nothing else of cmocka's.
#pragma once
#include "models/difflmm.h"
#include "ops/kernels.h"
#include "tests/unit/recorded_language.h"

#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wunused-function"

#define FOLDER RECORDED_FOLDER "difflmm/"

enum { MAX_LENGTH = 23, NUM_TOKENS = 16, NUM_IMAGES = 2, IMAGE = PACKING_IMAGE_TOKEN };

/// set to the device under test before the tests run
static Device *device;
static SafetensorsFile *golden;

// Forward: VAE 30 operations, U-Net 70, projector 8, language model 24; backward the same again.
// Sums reach 3*3*32 terms.
static double forward_tolerance(void) { return float32_tolerance(288, 132); }
static double gradient_tolerance(void) { return float32_tolerance(288, 2 * 132); }

// ---- the recorded samples

static const int32_t ids_with_image_1[] = {1, 17, 23, IMAGE, 5, 9, 33, 2};
static const uint8_t supervised_with_image_1[] = {0, 0, 0, 0, 0, 1, 1, 1};
static const int32_t ids_text[] = {1, 40, 41, 8, 19, 2, 7, 12, 2};
static const uint8_t supervised_text[] = {0, 0, 0, 1, 1, 1, 0, 1, 1};
static const int32_t ids_with_image_0[] = {IMAGE, 13, 14, 15, 16, 17, 18, 19, 20, 21};
static const uint8_t supervised_with_image_0[] = {0, 1, 1, 1, 1, 1, 1, 1, 1, 1};

static const TokenSample samples[3] = {
    {ids_with_image_1, supervised_with_image_1, 8, 1, 4},
    {ids_text, supervised_text, 9, -1, 2},
    {ids_with_image_0, supervised_with_image_0, 10, 0, 7},
};

// ---- a model and its parameters

typedef struct Model {
    DiffLMM *difflmm;
    ParameterSet parameters;
} Model;

static const LoraOptions recorded_lora = {
    .r = 4, .alpha = 8.0f, .modules = {true, true, true, true, true, true, true}, .seed = 2};

static DiffLMMOptions default_options(void) {
    return (DiffLMMOptions){.architecture = ADAPTERS_DIFFLMM,
                            .sd = FOLDER "sd",
                            .vision_tower = FOLDER "clip",
                            .llm = FOLDER "llm",
                            .implicit_captioner = true,
                            .positional_encodings = true,
                            .clip_concat = true,
                            .positional_encoding_std = 1.0,
                            .unet_feature_block = 1,
                            .timestep = 100,
                            .ensemble_size = 1,
                            .image_size = 64,
                            .model_max_length = MAX_LENGTH,
                            .dtype = FLOAT32,
                            .seed = 1};
}

static Model model_begin(const DiffLMMOptions *options) {
    Model model = {0};
    Error error;
    model.difflmm = difflmm_load(options, device, &model.parameters, NULL, &error);
    if (!model.difflmm) fail_msg("%s", error.message);
    case_begin();
    return model;
}

static void model_end(Model *model) {
    case_end();
    difflmm_free(model->difflmm);
    parameters_free(&model->parameters);
}

static Tensor *recorded_images(void) {
    return recorded_tensor(recorded_find(golden, "images"), device);
}

/// Noise [ensemble,B,h,w,4] as recorded, its first `ensemble` draws.
static Tensor *recorded_noise(const char *name, int ensemble) {
    const StoredTensor *entry = recorded_find(golden, "noise.%s", name);
    float *values = recorded_floats(entry);
    Tensor *noise = tensor_from_host(
        device, FLOAT32,
        SHAPE(ensemble * entry->shape[1], entry->shape[2], entry->shape[3], entry->shape[4]),
        values);
    free(values);
    return noise;
}

typedef struct Pass {
    FrozenFeatures features;
    DiffusionNoise noise;
    Intermediates between;
    DiffLMMLoss loss;
} Pass;

/// The recorded batch with the recorded noise; the tape records, and the caller ends it.
static Pass recorded_pass(const Model *model) {
    int ensemble = model->difflmm->options.ensemble_size;
    Pass pass = {.features = difflmm_frozen_features(model->difflmm, recorded_images()),
                 .noise = {.vae = recorded_noise("vae", ensemble),
                           .diffusion = recorded_noise("diffusion", ensemble)}};
    tape_begin();
    DiffLMMBatch batch = {samples, 3, &pass.features, &pass.noise, .train = true};
    pass.loss = difflmm_loss(model->difflmm, &batch, &pass.between);
    return pass;
}

#pragma GCC diagnostic pop
