/// Inside the benchmarks: what goes into a step and its loss, in a file, so that other code can be
/// held to it.
#pragma once
#include "checkpoints/safetensors.h"
#include "models/difflmm.h"
#include "normal_tensor.h"

typedef struct SavedTensors {
    SafetensorsTensor items[64];
    int count;
} SavedTensors;

static void saved_add(SavedTensors *all, const char *name, ElementType type, int rank,
                      const int64_t *shape, const void *data) {
    CHECK(all->count < (int)(sizeof all->items / sizeof *all->items), "too many tensors");
    all->items[all->count++] = (SafetensorsTensor){name, type, rank, shape, data};
}

static void saved_add_tensor(SavedTensors *all, const char *name, const Tensor *x) {
    CHECK(x->dtype == FLOAT32 && x->device == device_cpu(), "%s: not floats of the processor",
          name);
    saved_add(all, name, ELEMENT_F32, x->rank, x->shape, x->data);
}

/// Writes safetensors: the trained parameters under their names, images, vae_noise,
/// diffusion_noise (all FLOAT32, channels last), ids and supervised [text] INT32 of the first
/// sample, and loss [1], the mean over the supervised tokens with that noise. The batch has
/// features and no noise. Stops the program where it cannot.
static void saved_step_write(const char *path, const DiffLMM *model, const ParameterSet *parameters,
                             const Tensor *images, const DiffLMMBatch *batch) {
    scope_begin();
    const TokenSample *sample = &batch->samples[0];
    int64_t text = sample->count, one = 1, size = model->latent_size;
    int64_t channels = model->vae->latent_channels;
    DiffusionNoise noise = {
        .vae = normal_tensor(model->device, SHAPE(batch->num_samples, size, size, channels), 1),
        .diffusion =
            normal_tensor(model->device, SHAPE(batch->num_samples, size, size, channels), 2)};
    DiffLMMBatch noisy = *batch;
    noisy.noise = &noise;
    DiffLMMLoss loss = difflmm_loss(model, &noisy, NULL);
    float mean = tensor_item(loss.sum) / (float)loss.num_supervised;
    int32_t *supervised = checked_calloc((size_t)text, sizeof *supervised);
    for (int64_t i = 0; i < text; i++) supervised[i] = sample->supervised[i];
    SavedTensors all = {.count = 0};
    for (int i = 0; i < parameters->count; i++)
        saved_add_tensor(&all, parameters->items[i].name, parameters->items[i].value);
    saved_add_tensor(&all, "images", images);
    saved_add_tensor(&all, "vae_noise", noise.vae);
    saved_add_tensor(&all, "diffusion_noise", noise.diffusion);
    saved_add(&all, "ids", ELEMENT_I32, 1, &text, sample->ids);
    saved_add(&all, "supervised", ELEMENT_I32, 1, &text, supervised);
    saved_add(&all, "loss", ELEMENT_F32, 1, &one, &mean);
    Error error;
    if (!safetensors_write(path, all.items, all.count, NULL, 0, &error)) {
        fprintf(stderr, "%s\n", error.message);
        exit(1);
    }
    free(supervised);
    scope_end();
}
