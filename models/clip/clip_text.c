#include "models/clip/clip_text.h"

#include "models/block_output.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { MAX_VOCABULARY = 1 << 24, MAX_POSITIONS = 1 << 16 };

// ---- special tokens

/// Opens `file` of a tokenizer's folder; NULL with *error untouched if there is none.
static ModelConfig *open_if_there(const char *folder, const char *file, bool *failed,
                                  Error *error) {
    char *path = format_string("%s/%s", folder, file);
    ModelConfig *config = NULL;
    if (access(path, F_OK) == 0) {
        config = model_config_open(path, error);
        if (!config) *failed = true;
    }
    free(path);
    return config;
}

/// The id of the token that tokenizer_config.json names under `key`, as text or as an object with
/// its content.
static bool token_id(const ModelConfig *config, const ModelConfig *vocabulary, const char *where,
                     const char *key, int32_t *id, Error *error) {
    char inner[32];
    snprintf(inner, sizeof inner, "%s.content", key);
    const char *token;
    if (model_config_has(config, inner)) key = inner;
    if (!model_config_string(config, key, &token, error)) return false;
    char *entry = format_string("%s%s", where, token);
    int64_t value;
    bool found = model_config_int(vocabulary, entry, &value, error);
    free(entry);
    if (!found) return false;
    if (value < 0 || value >= MAX_VOCABULARY)
        return error_set(error, "%s: token '%s' has id %lld", model_config_path(vocabulary), token,
                         (long long)value);
    *id = (int32_t)value;
    return true;
}

typedef enum Lookup { FOUND, ABSENT, FAILED } Lookup;

/// The special tokens of a tokenizer's folder: vocab.json, or the same map inside tokenizer.json.
static Lookup tokenizer_tokens(ClipText *clip, const char *folder, Error *error) {
    bool failed = false;
    const char *where = "";
    ModelConfig *config = open_if_there(folder, "tokenizer_config.json", &failed, error);
    ModelConfig *vocabulary = config ? open_if_there(folder, "vocab.json", &failed, error) : NULL;
    if (config && !vocabulary && !failed) {
        vocabulary = open_if_there(folder, "tokenizer.json", &failed, error);
        where = "model.vocab.";
    }
    if (config && vocabulary)
        failed = !token_id(config, vocabulary, where, "bos_token", &clip->bos, error) ||
                 !token_id(config, vocabulary, where, "eos_token", &clip->eos, error) ||
                 !token_id(config, vocabulary, where, "pad_token", &clip->pad, error);
    Lookup result = failed ? FAILED : config && vocabulary ? FOUND : ABSENT;
    model_config_close(config);
    model_config_close(vocabulary);
    return result;
}

/// The special tokens by config.json. Configurations from before transformers 4.31 (Stable
/// Diffusion's among them) say 0, 1 and 2, which is wrong; transformers then takes the highest id
/// for the end, and so do we. The pad is CLIPTokenizer's: the end.
static void configured_tokens(ClipText *clip, Weights *weights) {
    int last = clip->vocab_size - 1;
    clip->bos = weights_int_or(weights, "bos_token_id", last > 0 ? last - 1 : 0, 0, last);
    clip->eos = weights_int_or(weights, "eos_token_id", last, 0, last);
    if (clip->eos == 2 && last > 2) {
        clip->eos = last;
        clip->bos = last - 1;
    }
    clip->pad = clip->eos;
}

static void read_tokens(ClipText *clip, const char *directory, Weights *weights) {
    char *beside = format_string("%s/../tokenizer", directory);
    Error error;
    Lookup lookup = tokenizer_tokens(clip, beside, &error);
    if (lookup == ABSENT) lookup = tokenizer_tokens(clip, directory, &error);
    free(beside);
    if (lookup == FAILED) weights_fail(weights, "%s", error.message);
    if (lookup == ABSENT) configured_tokens(clip, weights);
    if (weights_failed(weights)) return;
    int32_t highest = clip->bos > clip->eos ? clip->bos : clip->eos;
    if (clip->pad > highest) highest = clip->pad;
    if (highest >= clip->vocab_size)
        weights_fail(weights,
                     "the tokenizer's special tokens go up to %d, but vocab_size is %d: the "
                     "tokenizer belongs to another model",
                     highest, clip->vocab_size);
}

// ---- loading

static void configure(ClipText *clip, Weights *weights) {
    static const ClipDefaults defaults = {512, 2048, 8, 12};
    const char *type = weights_string_or(weights, "model_type", "clip_text_model");
    if (weights_has_key(weights, "text_cfg"))
        weights_refuse(weights, "text_cfg",
                       "a CLIPTextModel as transformers saves it, Stable Diffusion's text_encoder");
    if (strcmp(type, "clip") != 0 && strcmp(type, "clip_text_model") != 0)
        weights_refuse(weights, "model_type", "clip or clip_text_model");
    if (weights_has_key(weights, "text_config")) weights_section(weights, "text_config");
    clip->encoder = clip_encoder_configure(weights, &defaults);
    clip->vocab_size = weights_int_or(weights, "vocab_size", 49408, 1, MAX_VOCABULARY);
    clip->max_position_embeddings =
        weights_int_or(weights, "max_position_embeddings", 77, 2, MAX_POSITIONS);
}

static void load(ClipText *clip, const char *directory, Weights *weights) {
    configure(clip, weights);
    read_tokens(clip, directory, weights);
    int width = clip->encoder.hidden_size;
    weights_prefix(weights, "text_model.");
    // CLIPTextModel is saved with and without the name of its tower.
    const char *tower = weights_have(weights, "final_layer_norm.weight") ? "text_model." : "";
    weights_prefix(weights, "%s", tower);
    clip->token_embedding =
        weights_matrix(weights, "embeddings.token_embedding.weight", clip->vocab_size, width);
    clip->position_embedding = weights_matrix(weights, "embeddings.position_embedding.weight",
                                              clip->max_position_embeddings, width);
    clip->final_layer_norm = affine_norm(weights, "final_layer_norm", width);
    clip_encoder_load(&clip->encoder, weights, tower, CLIP_NAMES_TRANSFORMERS);
    weights_leave(weights, "text_projection.weight");
    weights_leave(weights, "vision_model.*");
    weights_leave(weights, "visual_projection.weight");
    weights_leave(weights, "logit_scale");
    weights_leave(weights, "*.position_ids");
}

ClipText *clip_text_load(const char *directory, Device *device, DType dtype, Error *error) {
    Weights *weights = weights_open(directory, device, dtype, error);
    if (!weights) return NULL;
    ClipText *clip = checked_calloc(1, sizeof *clip);
    clip->device = device;
    clip->dtype = dtype;
    load(clip, directory, weights);
    if (weights_finish(weights, error)) return clip;
    clip_text_free(clip);
    return NULL;
}

void clip_text_free(ClipText *clip) {
    if (!clip) return;
    tensor_release(clip->token_embedding);
    tensor_release(clip->position_embedding);
    affine_release(&clip->final_layer_norm);
    clip_encoder_release(&clip->encoder);
    free(clip);
}

// ---- forward

Tensor *clip_text_hidden(const ClipText *clip, const int32_t *ids, int batch, int length) {
    CHECK(batch > 0 && length > 0 && length <= clip->max_position_embeddings,
          "clip_text_hidden: %d prompts of %d tokens", batch, length);
    int64_t width = clip->encoder.hidden_size, count = (int64_t)batch * length;
    int32_t *places = checked_malloc((size_t)length * sizeof *places);
    for (int i = 0; i < length; i++) places[i] = i;
    for (int64_t i = 0; i < count; i++)
        CHECK(ids[i] >= 0 && ids[i] < clip->vocab_size, "clip_text_hidden: token %d", ids[i]);
    scope_begin();
    Tensor *index = tensor_from_host(clip->device, INT32, SHAPE(count), ids);
    Tensor *positions = tensor_from_host(clip->device, INT32, SHAPE(length), places);
    free(places);
    Tensor *x = reshape(embedding(clip->token_embedding, index), SHAPE(batch, length, width));
    x = block_output(add(x, embedding(clip->position_embedding, positions)), "embeddings");
    x = clip_encoder(&clip->encoder, reshape(x, SHAPE(count, width)), batch, true);
    x = apply_layer_norm(&clip->final_layer_norm, x, clip->encoder.layer_norm_eps);
    return scope_end_returning(reshape(x, SHAPE(batch, length, width)));
}

Tensor *clip_text_empty_prompt(const ClipText *clip) {
    int length = clip->max_position_embeddings;
    int32_t *ids = checked_malloc((size_t)length * sizeof *ids);
    for (int i = 0; i < length; i++) ids[i] = i == 0 ? clip->bos : i == 1 ? clip->eos : clip->pad;
    scope_begin();
    Tensor *hidden = clip_text_hidden(clip, ids, 1, length);
    free(ids);
    return scope_end_returning(reshape(hidden, SHAPE(length, clip->encoder.hidden_size)));
}
