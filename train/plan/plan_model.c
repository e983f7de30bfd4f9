// Each network is read on its own first, so that all that is wrong is reported and not the first
// thing alone; then the model as a whole.
#include "train/plan/plan_parts.h"

#include "models/clip/clip_text.h"
#include "models/llava_config.h"
#include "ops/cpu/onednn.h"
#include "ops/kernels.h"
#include "train/group/core_count.h"
#include "train/plan/plan_device.h"

#include <stdlib.h>
#include <string.h>

bool plan_wants_cuda(const Config *config) {
    int device = config->training.device;
    return device == DEVICE_CUDA || (device == DEVICE_AUTO && ops_cuda_count() > 0);
}

// ---- parameters

static void add_part(Plan *plan, PlanPart part) {
    if (!part.parameters) return;
    size_t count = (size_t)plan->part_count + 1;
    plan->parts = checked_realloc(plan->parts, count * sizeof *plan->parts);
    plan->parts[plan->part_count++] = part;
}

/// What is read in FLOAT32 takes four bytes each.
static void add_frozen(Plan *plan, const char *name, const Device *device, int64_t before) {
    add_part(plan, (PlanPart){.name = name,
                              .parameters = (plan_device_requested(device) - before) /
                                            (int64_t)sizeof(float)});
}

static const char *const TRAINED[] = {"projector", "implicit captioner", "positional encodings",
                                      "LoRA"};
enum { PROJECTOR, CAPTIONER, ENCODINGS, LORA, TRAINED_COUNT };

/// By the published names of the parameters.
static int trained_part(const Parameter *parameter) {
    if (parameter->group == GROUP_LORA) return LORA;
    if (strstr(parameter->name, "_pe")) return ENCODINGS;
    return strstr(parameter->name, "clip_projector") ? CAPTIONER : PROJECTOR;
}

static void add_trained(Plan *plan, const ParameterSet *parameters) {
    const TrainingSection *training = &plan->config->training;
    int64_t counts[TRAINED_COUNT] = {0};
    for (int i = 0; i < parameters->count; i++)
        counts[trained_part(&parameters->items[i])] += tensor_numel(parameters->items[i].value);
    for (int i = 0; i < TRAINED_COUNT; i++)
        add_part(plan, (PlanPart){.name = TRAINED[i],
                                  .trained = true,
                                  .parameters = counts[i],
                                  .learning_rate = i != LORA && plan->config->lora.lora_enable
                                                       ? training->mm_projector_lr
                                                       : training->learning_rate,
                                  .weight_decay = training->weight_decay});
}

// ---- the networks one by one

typedef struct Networks {
    ClipVision *clip;
    VaeEncoder *vae;
    NoiseSchedule *schedule;
    UNet *unet;
    ClipText *text;
    Llama *llama;
} Networks;

static void free_networks(Networks *networks) {
    clip_vision_free(networks->clip);
    vae_encoder_free(networks->vae);
    noise_schedule_free(networks->schedule);
    unet_free(networks->unet);
    clip_text_free(networks->text);
    llama_free(networks->llama);
}

static void add_network(Plan *plan, const char *key, const char *path, const void *network,
                        const Error *error, char *detail) {
    if (!network) {
        free(detail);
        detail = checked_strdup(error->message);
    }
    plan_add_file(plan, key, path, network != NULL, detail);
}

static void read_clip(Plan *plan, Device *device, Networks *networks) {
    const char *path = plan->config->model.vision_tower;
    int64_t before = plan_device_requested(device);
    Error error;
    if (!path) return;
    ClipVision *clip = networks->clip = clip_vision_load(path, device, FLOAT32, &error);
    add_network(plan, "model.vision_tower", path, clip, &error,
                clip ? format_string("CLIP, %d pixels, %d tokens of width %d", clip->image_size,
                                     clip->num_patches, clip->encoder.hidden_size)
                     : NULL);
    if (clip) add_frozen(plan, "CLIP vision tower", device, before);
}

static void read_llama(Plan *plan, Device *device, Networks *networks) {
    const char *path = plan->config->model.llm;
    int64_t before = plan_device_requested(device);
    Error error;
    if (!path) return;
    Llama *llama = networks->llama = llama_load(path, device, FLOAT32, &error);
    add_network(plan, "model.llm", path, llama, &error,
                llama ? format_string("Llama, %d layers of width %d, %d embeddings",
                                      llama->config.num_hidden_layers, llama->config.hidden_size,
                                      llama->config.vocab_size)
                      : NULL);
    if (llama) add_frozen(plan, "language model", device, before);
}

static void read_vae(Plan *plan, Device *device, Networks *networks, const char *path) {
    int64_t before = plan_device_requested(device);
    Error error;
    VaeEncoder *vae = networks->vae = vae_encoder_load(path, device, FLOAT32, &error);
    add_network(plan, "model.sd", path, vae, &error,
                vae ? format_string("VAE, latents of %d channels", vae->latent_channels) : NULL);
    if (vae) add_frozen(plan, "VAE encoder", device, before);
}

static void read_unet(Plan *plan, Device *device, Networks *networks, const char *path) {
    int block = (int)plan->config->model.unet_feature_block;
    int64_t before = plan_device_requested(device);
    Error error;
    UNet *unet = networks->unet = unet_load(path, block, device, FLOAT32, &error);
    bool asked = !unet && error.is_configuration;
    add_network(plan, asked ? "model.unet_feature_block" : "model.sd", path, unet, &error,
                unet ? format_string("U-Net up to up block %d, features of %d channels", block,
                                     unet_feature_channels(unet))
                     : NULL);
    if (unet) add_frozen(plan, "U-Net (the part that runs)", device, before);
}

static void read_schedule(Plan *plan, Networks *networks, const char *path) {
    Error error;
    NoiseSchedule *schedule = networks->schedule = noise_schedule_load(path, &error);
    add_network(plan, "model.sd", path, schedule, &error,
                schedule
                    ? format_string("noise schedule of %d steps", schedule->num_train_timesteps)
                    : NULL);
}

/// Needed where there is no captioner: the empty prompt is what remains of it.
static void read_text(Plan *plan, Device *device, Networks *networks, const char *path) {
    if (plan->config->model.implicit_captioner) return;
    Error error;
    ClipText *text = networks->text = clip_text_load(path, device, FLOAT32, &error);
    add_network(plan, "model.sd", path, text, &error,
                text ? format_string("CLIP text encoder of width %d", text->encoder.hidden_size)
                     : NULL);
}

static void read_diffusion(Plan *plan, Device *device, Networks *networks) {
    const char *sd = plan->config->model.sd;
    if (!sd || plan->config->model.architecture != ADAPTERS_DIFFLMM) return;
    char *vae = format_string("%s/vae", sd), *unet = format_string("%s/unet", sd),
         *scheduler = format_string("%s/scheduler", sd),
         *text = format_string("%s/text_encoder", sd);
    read_vae(plan, device, networks, vae);
    read_unet(plan, device, networks, unet);
    read_schedule(plan, networks, scheduler);
    read_text(plan, device, networks, text);
    free(vae);
    free(unet);
    free(scheduler);
    free(text);
}

static void read_tokenizer(Plan *plan, PlanModel *model) {
    const char *path = plan->config->model.llm;
    Error error;
    if (!path) return;
    model->tokenizer = tokenizer_open(path, &error);
    char *file = tokenizer_file(path);
    add_network(plan, "model.llm", file, model->tokenizer, &error,
                model->tokenizer
                    ? format_string("%d pieces", tokenizer_vocabulary_size(model->tokenizer))
                    : NULL);
    free(file);
}

// ---- do they belong together?

static void check_image_size(Plan *plan, const ClipVision *clip) {
    int64_t size = plan->config->data.image_size;
    if (!clip || plan->config->model.architecture != ADAPTERS_DIFFLMM ||
        size * 7 / 8 == clip->image_size)
        return;
    plan_refuse(plan, "data.image_size",
                "of %lld pixels the vision tower sees 7/8, %lld, but it was made for %d; set %d",
                (long long)size, (long long)size * 7 / 8, clip->image_size,
                (clip->image_size * 8 + 6) / 7);
}

static void check_latents(Plan *plan, const Networks *networks) {
    const VaeEncoder *vae = networks->vae;
    const UNet *unet = networks->unet;
    if (!vae || !unet) return;
    if (vae->latent_channels != unet->config.in_channels)
        plan_refuse(plan, "model.sd", "the VAE makes latents of %d channels, the U-Net takes %d",
                    vae->latent_channels, unet->config.in_channels);
    int size = vae_latent_size(vae, (int)plan->config->data.image_size);
    if (size < 1 || unet_feature_size(unet, size) < 1)
        plan_refuse(plan, "data.image_size", "latents of %d x %d are too small for the U-Net", size,
                    size);
}

static void check_together(Plan *plan, const Networks *networks, const Tokenizer *tokenizer) {
    bool diffusion = plan->config->model.architecture == ADAPTERS_DIFFLMM;
    check_image_size(plan, networks->clip);
    check_latents(plan, networks);
    if (networks->schedule &&
        plan->config->model.timestep >= networks->schedule->num_train_timesteps)
        plan_refuse(plan, "model.timestep", "is %lld; the noise schedule has steps 0 to %d",
                    (long long)plan->config->model.timestep,
                    networks->schedule->num_train_timesteps - 1);
    if (networks->text && networks->unet &&
        networks->text->encoder.hidden_size != networks->unet->config.cross_attention_dim)
        plan_refuse(plan, "model.sd",
                    "the text encoder is %d wide, but the U-Net takes a context of width %d",
                    networks->text->encoder.hidden_size,
                    networks->unet->config.cross_attention_dim);
    const Llama *llama = networks->llama;
    Error error;
    if (llama && networks->clip && !diffusion &&
        !llava_config_check(plan->config->model.llm, networks->clip->encoder.hidden_size, &error))
        plan_refuse(plan, "model.llm", "%s", error.message);
    if (llama && diffusion && llama->config.hidden_size % 4)
        plan_refuse(plan, "model.llm", "hidden_size is %d; the projector needs a multiple of 4",
                    llama->config.hidden_size);
    if (llama && tokenizer && tokenizer_vocabulary_size(tokenizer) > llama->config.vocab_size)
        plan_refuse(plan, "model.llm",
                    "the tokenizer has %d pieces and the language model only %d embeddings",
                    tokenizer_vocabulary_size(tokenizer), llama->config.vocab_size);
}

// ---- the whole

static int cpu_threads(const Plan *plan) {
    int processes = (int)plan->options.processes;
    return plan->config->training.threads > 0 ? (int)plan->config->training.threads
                                              : cores_allowed(processes, processes);
}

static bool check_lora(Plan *plan) {
    const LoraSection *lora = &plan->config->lora;
    bool modules[LLAMA_MODULE_COUNT];
    Error error;
    if (!lora->lora_enable || lora_target_modules((const char *const *)lora->target_modules.values,
                                                  lora->target_modules.count, modules, &error))
        return true;
    plan_refuse(plan, "lora.target_modules", "%s", error.message);
    return false;
}

static void assemble(Plan *plan, PlanModel *model) {
    LoraOptions lora;
    DiffLMMOptions options;
    Error error;
    if (!check_lora(plan) ||
        !model_setup_options(plan->config, (uint64_t)plan->config->training.seed, &lora, &options,
                             &error))
        return;
    const char *option;
    model->model = difflmm_load(&options, model->device, &model->parameters, &option, &error);
    if (!model->model)
        plan_refuse(plan, option ? model_setup_key_of_option(option) : "model.architecture", "%s",
                    error.message);
    else
        add_trained(plan, &model->parameters);
}

static void check_device(Plan *plan) {
    if (plan->config->training.device == DEVICE_CUDA && ops_cuda_count() == 0)
        plan_refuse(plan, "training.device", "no GPU can be used on this machine");
}

void plan_model_open(Plan *plan, PlanModel *model) {
    Networks networks = {0};
    PlanDeviceOptions options = {.cuda = plan_wants_cuda(plan->config),
                                 .has_bfloat16 = onednn_has_bfloat16(),
                                 .threads = cpu_threads(plan)};
    Device *device = plan_device_open(&options);
    check_device(plan);
    read_tokenizer(plan, model);
    int refused = plan->problem_count;
    bool named = config_require_model(plan->config, NULL);
    read_llama(plan, device, &networks);
    read_clip(plan, device, &networks);
    read_diffusion(plan, device, &networks);
    check_together(plan, &networks, model->tokenizer);
    free_networks(&networks);
    plan_device_close(device);
    model->device = plan_device_open(&options);
    if (named && plan->problem_count == refused) assemble(plan, model);
}

void plan_model_close(PlanModel *model) {
    difflmm_free(model->model);
    parameters_free(&model->parameters);
    if (model->tokenizer) tokenizer_close(model->tokenizer);
    plan_device_close(model->device);
    *model = (PlanModel){0};
}
