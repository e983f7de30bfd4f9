#include "models/adapters.h"

#include "models/initialization.h"

#include <stdio.h>

static const float norm_eps = 1e-5f; // nn.LayerNorm's

/// What registering needs beside a name and a shape.
typedef struct Registry {
    ParameterSet *parameters;
    Device *device;
    uint64_t seed;
} Registry;

static Tensor *register_parameter(const Registry *registry, const char *name, int rank,
                                  const int64_t *shape) {
    return parameters_add(registry->parameters, name, GROUP_ADAPTERS, registry->device, rank,
                          shape);
}

/// "<name>.weight" and "<name>.bias" of a linear layer; `rank` 4 for one that is published as a 1x1
/// convolution.
static Affine register_linear(const Registry *registry, const char *name, int out, int in,
                              int rank) {
    char full[96];
    Affine layer;
    snprintf(full, sizeof full, "%s.weight", name);
    layer.weight = register_parameter(registry, full, rank, (const int64_t[]){out, in, 1, 1});
    snprintf(full, sizeof full, "%s.bias", name);
    layer.bias = register_parameter(registry, full, SHAPE(out));
    initialize_linear_weight(layer.weight, registry->seed);
    initialize_linear_bias(layer.bias, in, registry->seed);
    return layer;
}

static Affine register_norm(const Registry *registry, int width) {
    Affine layer = {register_parameter(registry, "mm_projector.sd_norm_layer.weight", SHAPE(width)),
                    register_parameter(registry, "mm_projector.sd_norm_layer.bias", SHAPE(width))};
    initialize_constant(layer.weight, 1.0f);
    initialize_constant(layer.bias, 0.0f);
    return layer;
}

static Tensor *register_encoding(const Registry *registry, const char *name,
                                 const AdapterOptions *options, int width) {
    Tensor *encoding = register_parameter(registry, name, SHAPE(options->num_tokens, width));
    initialize_normal(encoding, options->positional_encoding_std, registry->seed);
    return encoding;
}

static void register_captioner(Adapters *adapters, const Registry *registry) {
    const AdapterOptions *options = &adapters->options;
    adapters->captioner[0] = register_linear(registry, "mm_projector.clip_projector.0",
                                             options->context_width, options->clip_width, 2);
    adapters->captioner[1] = register_linear(registry, "mm_projector.clip_projector.2",
                                             options->context_width, options->context_width, 2);
    if (options->positional_encodings)
        adapters->captioner_encoding =
            register_encoding(registry, "mm_projector.clip_pe", options, options->context_width);
}

/// The two layers between the features that the projector sees and the visual tokens.
static void register_two_layers(Adapters *adapters, const Registry *registry,
                                const char *const names[2], int in) {
    int d = adapters->options.llm_width;
    int width = adapters->options.projector_width ? adapters->options.projector_width : d;
    adapters->linears[0] = register_linear(registry, names[0], width, in, 2);
    adapters->linears[1] = register_linear(registry, names[1], d, width, 2);
}

static void register_projector(Adapters *adapters, const Registry *registry) {
    const AdapterOptions *options = &adapters->options;
    int d = options->llm_width, reduced = d / 4;
    static const char *const names[] = {"mm_projector.linear.0", "mm_projector.linear.2"};
    adapters->unet_norm = register_norm(registry, options->unet_width);
    adapters->unet_linear =
        register_linear(registry, "mm_projector.sd_proj_layer.0", reduced, options->unet_width, 4);
    register_two_layers(adapters, registry, names,
                        reduced + (options->clip_concat ? options->clip_width : 0));
    if (options->positional_encodings)
        adapters->visual_encoding = register_encoding(registry, "mm_projector.vt_pe", options, d);
}

Adapters adapters_new(const AdapterOptions *options, ParameterSet *parameters, Device *device) {
    Registry registry = {parameters, device, options->seed};
    Adapters adapters = {.options = *options};
    if (options->kind == ADAPTERS_LLAVA) {
        static const char *const names[] = {"mm_projector.0", "mm_projector.2"};
        register_two_layers(&adapters, &registry, names, options->clip_width);
        return adapters;
    }
    if (options->implicit_captioner) register_captioner(&adapters, &registry);
    register_projector(&adapters, &registry);
    return adapters;
}

static Tensor *apply(const Affine *layer, Tensor *x) {
    Tensor *weight = layer->weight;
    return linear(x, reshape(weight, SHAPE(weight->shape[0], weight->shape[1])), layer->bias);
}

static Tensor *two_layers(const Affine layers[2], Tensor *x) {
    return apply(&layers[1], gelu(apply(&layers[0], x)));
}

static Tensor *add_encoding(Tensor *x, Tensor *encoding) { return encoding ? add(x, encoding) : x; }

Tensor *adapters_context(const Adapters *adapters, Tensor *clip) {
    CHECK(adapters->captioner[0].weight, "these adapters have no implicit captioner");
    return add_encoding(two_layers(adapters->captioner, clip), adapters->captioner_encoding);
}

Tensor *adapters_project(const Adapters *adapters, Tensor *clip, Tensor *unet) {
    const AdapterOptions *options = &adapters->options;
    if (options->kind == ADAPTERS_LLAVA) return two_layers(adapters->linears, clip);
    Tensor *x = reshape(unet, SHAPE(unet->shape[0], options->num_tokens, options->unet_width));
    x = layer_norm(x, adapters->unet_norm.weight, adapters->unet_norm.bias, norm_eps);
    x = gelu(apply(&adapters->unet_linear, x));
    if (options->clip_concat) x = concatenate(x, clip);
    return add_encoding(two_layers(adapters->linears, x), adapters->visual_encoding);
}
