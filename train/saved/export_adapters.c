// config.json carries the keys by which LLaVA and DiffLMM's published code build the model around
// the adapters.
#include "train/saved/export.h"

#include "autograd/json_file.h"
#include "autograd/output/output_file.h"
#include "checkpoints/model_config.h"
#include "checkpoints/projector_width.h"
#include "train/config/config_schema.h"
#include "train/saved/peft_config.h"

#include <stdlib.h>
#include <string.h>

// ---- what the published code calls things

/// The public name of a network whose folder is called as in its repository: by it the published
/// code knows what kind it is.
static const char *public_name(const char *folder) {
    static const struct {
        const char *folder, *name;
    } known[] = {
        {"stable-diffusion-v1-5", "stable-diffusion-v1-5/stable-diffusion-v1-5"},
        {"stable-diffusion-2-1", "stabilityai/stable-diffusion-2-1"},
        {"clip-vit-large-patch14-336", "openai/clip-vit-large-patch14-336"},
        {"clip-vit-large-patch14", "openai/clip-vit-large-patch14"},
    };
    const char *slash = strrchr(folder, '/'), *name = slash ? slash + 1 : folder;
    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        if (!strcmp(name, known[i].folder)) return known[i].name;
    return folder;
}

static const char UNET_LINEAR[] = "mm_projector.sd_proj_layer.0.weight";

static const Tensor *value_of(const ExportSource *source, const char *name) {
    const Parameter *parameter = parameters_find(&source->parameters, name);
    return parameter ? parameter->value : NULL;
}

/// Channels of the U-Net's up blocks, from the first, then CLIP's width.
static json_t *hidden_sizes(const char *sd, int64_t clip_width, Error *error) {
    enum { MOST_BLOCKS = 16 };
    int64_t channels[MOST_BLOCKS];
    int count = 0;
    char *path = format_string("%s/unet/config.json", sd);
    ModelConfig *unet = model_config_open(path, error);
    json_t *sizes = NULL;
    if (unet &&
        model_config_int_list(unet, "block_out_channels", MOST_BLOCKS, channels, &count, error)) {
        sizes = json_array();
        for (int i = count - 1; i >= 0; i--)
            json_array_append_new(sizes, json_integer(channels[i]));
        json_array_append_new(sizes, json_integer(clip_width));
    }
    model_config_close(unet);
    free(path);
    return sizes;
}

static bool set_llava_tower(const ExportSource *source, json_t *root) {
    const Tensor *first = value_of(source, "mm_projector.0.weight");
    json_t *keys =
        json_pack("{s:s, s:s, s:i, s:I}", "mm_projector_type", "mlp2x_gelu", "mm_vision_tower",
                  public_name(source->config->model.vision_tower), "mm_vision_select_layer", -2,
                  "mm_hidden_size", (json_int_t)first->shape[1]);
    return keys && json_object_update_new(root, keys) == 0;
}

static bool set_difflmm_tower(const ExportSource *source, json_t *root, Error *error) {
    const DiffLMMOptions *model = &source->config->model;
    const Tensor *captioner = value_of(source, "mm_projector.clip_projector.2.weight"),
                 *reads_clip = value_of(source, "mm_projector.clip_projector.0.weight"),
                 *encoding = value_of(source, "mm_projector.vt_pe"),
                 *reduces_unet = value_of(source, UNET_LINEAR),
                 *linear = value_of(source, "mm_projector.linear.0.weight");
    int64_t clip_width =
        reads_clip ? reads_clip->shape[1] : linear->shape[1] - reduces_unet->shape[0];
    json_t *sizes = hidden_sizes(model->sd, clip_width, error);
    if (!sizes) return false;
    json_t *keys = json_pack(
        "{s:s, s:s, s:s, s:I, s:o, s:I, s:I, s:I, s:I, s:b, s:b, s:I}", "mm_projector_type",
        "SDCLIPBlock", "mm_vision_tower", public_name(model->sd), "mm_vision_sd_clip",
        public_name(model->vision_tower), "mm_vision_select_layer",
        (json_int_t)model->unet_feature_block, "mm_hidden_size", sizes, "mm_vision_resolution",
        (json_int_t)source->config->data.image_size, "mm_vision_sd_timestep",
        (json_int_t)model->timestep, "mm_vision_sd_ensemble_size", (json_int_t)model->ensemble_size,
        "mm_vision_sd_clip_proj_in", (json_int_t)clip_width, "mm_vision_sd_concat_clip",
        model->clip_concat, "mm_vision_sd_implicit_caption", model->implicit_captioner,
        "mm_vision_sd_pe", (json_int_t)(encoding ? encoding->shape[0] : -1));
    if (captioner && keys)
        json_object_set_new(keys, "mm_vision_sd_clip_proj_out",
                            json_integer((json_int_t)captioner->shape[0]));
    return (keys && json_object_update_new(root, keys) == 0) ||
           error_set(error, "model.sd or model.vision_tower is not UTF-8");
}

static bool set_keys(const ExportSource *source, json_t *root, Error *error) {
    const Config *config = source->config;
    json_t *keys = json_pack(
        "{s:[s], s:s, s:b, s:b, s:b, s:b, s:b, s:s, s:s, s:s, s:I, s:s}", "architectures",
        "LlavaLlamaForCausalLM", "model_type", "llava_llama", "use_mm_proj", true,
        "tune_mm_mlp_adapter", !source->has_lora, "freeze_mm_mlp_adapter", false,
        "mm_use_im_start_end", false, "mm_use_im_patch_token", false, "mm_vision_select_feature",
        "patch", "mm_patch_merge_type", "flat", "image_aspect_ratio",
        config->data.image_aspect_ratio == IMAGE_PAD ? "pad" : "square",
        "tokenizer_model_max_length", (json_int_t)config->data.model_max_length,
        "tokenizer_padding_side", "right");
    json_object_update_new(root, keys);
    if (config->model.architecture == ADAPTERS_DIFFLMM)
        return set_difflmm_tower(source, root, error);
    return set_llava_tower(source, root) || error_set(error, "model.vision_tower is not UTF-8");
}

/// The published code has no word for it, and does what clip_twice says.
static void set_normalization(const ExportSource *source, json_t *root) {
    const ConfigField *field = &CONFIG_FIELDS[config_find_key("data.image_normalization")];
    if (source->config->model.architecture == ADAPTERS_LLAVA || !source->knows_normalization)
        return;
    json_object_set_new(root, field->name,
                        json_string(field->names[source->config->data.image_normalization]));
}

static bool projector_of(const ExportSource *source, ProjectorSizes *sizes) {
    bool is_llava = value_of(source, "mm_projector.0.weight") != NULL;
    return parameters_projector_sizes(&source->parameters, is_llava, sizes);
}

/// The published code has no word for this either, and makes it as wide as the language model.
static void set_projector_width(const ExportSource *source, json_t *root) {
    ProjectorSizes sizes;
    if (projector_of(source, &sizes) && sizes.width != sizes.out)
        json_object_set_new(root, "projector_width", json_integer((json_int_t)sizes.width));
}

void export_tell_width(const ExportSource *source, FILE *out) {
    ProjectorSizes sizes;
    if (!projector_of(source, &sizes) || sizes.width == sizes.out) return;
    fprintf(out,
            "warning: the projector is %lld wide between its two layers (\"projector_width\" in "
            "config.json); LLaVA's code and DiffLMM's make it %lld and have no key for it: they "
            "can load it only where their two layers are changed to Linear(%lld, %lld) and "
            "Linear(%lld, %lld)\n",
            (long long)sizes.width, (long long)sizes.out, (long long)sizes.in,
            (long long)sizes.width, (long long)sizes.width, (long long)sizes.out);
}

bool export_config(const ExportSource *source, bool is_merged, const char *folder, Error *error) {
    char *from = format_string("%s/config.json", source->config->model.llm),
         *to = format_string("%s/config.json", folder), *text = NULL;
    json_t *root = json_file_read_object(from, JSON_REJECT_DUPLICATES, error);
    bool written = false;
    if (root) set_normalization(source, root);
    if (root) set_projector_width(source, root);
    if (root && (is_merged || set_keys(source, root, error)))
        text = json_dumps(root, JSON_INDENT(2) | JSON_REAL_PRECISION(15));
    if (text) written = output_whole_file(to, text, strlen(text), error);
    json_decref(root);
    free(text);
    free(from);
    free(to);
    return written;
}

/// Whether the weights are those of the configured architecture, as far as the keys above need.
static bool check_architecture(const ExportSource *source, Error *error) {
    bool llava = source->config->model.architecture == ADAPTERS_LLAVA;
    const char *name = llava ? "mm_projector.0.weight" : "mm_projector.linear.0.weight";
    const Tensor *x = value_of(source, name), *unet = value_of(source, UNET_LINEAR);
    if (!x || x->rank != 2)
        return error_set(error, "the weights have no matrix '%s', which model.architecture: %s has",
                         name, llava ? "llava" : "difflmm");
    return llava || unet ||
           error_set(error, "the weights have no '%s', which model.architecture: difflmm has",
                     UNET_LINEAR);
}

bool export_adapters(const ExportSource *source, const char *folder, PublishedFormat format,
                     Error *error) {
    if (!check_architecture(source, error) ||
        !published_adapters_write(folder, &source->parameters, true, format, error) ||
        !export_config(source, false, folder, error))
        return false;
    if (!source->has_lora) return true;
    char *path = format_string("%s/adapter_config.json", folder);
    bool written = peft_config_write(path, &source->lora, source->config->model.llm, error);
    free(path);
    return written;
}
