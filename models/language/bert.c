#include "models/language/bert.h"

#include "models/block_output.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_WIDTH = 1 << 16, MAX_LAYERS = 1024, MAX_VOCABULARY = 1 << 24, MAX_POSITIONS = 1 << 16 };

// ---- config.json

static void expect_text(Weights *weights, const char *key, const char *expected) {
    if (strcmp(weights_string_or(weights, key, expected), expected) != 0)
        weights_refuse(weights, key, expected);
}

static Activation read_activation(Weights *weights) {
    const char *name = weights_string_or(weights, "hidden_act", "gelu");
    if (!strcmp(name, "gelu_new") || !strcmp(name, "gelu_pytorch_tanh")) return GELU_TANH;
    if (strcmp(name, "gelu") != 0) weights_refuse(weights, "hidden_act", "gelu or gelu_new");
    return GELU;
}

/// Where a configuration is silent, transformers assumes the base model.
static void configure(Bert *bert, Weights *weights) {
    expect_text(weights, "model_type", "bert");
    expect_text(weights, "position_embedding_type", "absolute");
    if (weights_bool_or(weights, "is_decoder", false))
        weights_refuse(weights, "is_decoder", "false");
    bert->hidden_size = weights_int_or(weights, "hidden_size", 768, 1, MAX_WIDTH);
    bert->intermediate_size = weights_int_or(weights, "intermediate_size", 3072, 1, MAX_WIDTH);
    bert->num_hidden_layers = weights_int_or(weights, "num_hidden_layers", 12, 1, MAX_LAYERS);
    bert->num_attention_heads = weights_int_or(weights, "num_attention_heads", 12, 1, MAX_WIDTH);
    bert->vocab_size = weights_int_or(weights, "vocab_size", 30522, 1, MAX_VOCABULARY);
    bert->type_vocab_size = weights_int_or(weights, "type_vocab_size", 2, 1, MAX_VOCABULARY);
    bert->max_position_embeddings =
        weights_int_or(weights, "max_position_embeddings", 512, 1, MAX_POSITIONS);
    bert->layer_norm_eps = (float)weights_float_or(weights, "layer_norm_eps", 1e-12);
    if (!(bert->layer_norm_eps >= 0.0f && bert->layer_norm_eps < 1.0f))
        weights_refuse(weights, "layer_norm_eps", "0 to 1");
    bert->hidden_act = read_activation(weights);
    if (bert->hidden_size % bert->num_attention_heads != 0 ||
        bert->hidden_size / bert->num_attention_heads > ATTENTION_MAX_HEAD_DIM)
        weights_refuse(weights, "num_attention_heads",
                       "a divisor of hidden_size, heads no wider than 1024");
}

// ---- weights

/// Checkpoints converted from TensorFlow call a norm's weight gamma and its bias beta.
static Affine load_norm(Weights *weights, const char *name, int channels) {
    char gamma[128], beta[128];
    snprintf(gamma, sizeof gamma, "%s.gamma", name);
    snprintf(beta, sizeof beta, "%s.beta", name);
    if (!weights_have(weights, gamma)) return affine_norm(weights, name, channels);
    return (Affine){.weight = weights_vector(weights, gamma, channels),
                    .bias = weights_vector(weights, beta, channels)};
}

static BertLayer load_layer(const Bert *bert, Weights *weights) {
    int width = bert->hidden_size, inner = bert->intermediate_size;
    return (BertLayer){
        .query = affine_linear(weights, "attention.self.query", width, width),
        .key = affine_linear(weights, "attention.self.key", width, width),
        .value = affine_linear(weights, "attention.self.value", width, width),
        .attention_output = affine_linear(weights, "attention.output.dense", width, width),
        .attention_norm = load_norm(weights, "attention.output.LayerNorm", width),
        .intermediate = affine_linear(weights, "intermediate.dense", inner, width),
        .output = affine_linear(weights, "output.dense", width, inner),
        .output_norm = load_norm(weights, "output.LayerNorm", width),
    };
}

static void load(Bert *bert, Weights *weights) {
    int width = bert->hidden_size;
    weights_prefix(weights, "bert.");
    const char *prefix = weights_have(weights, "embeddings.word_embeddings.weight") ? "bert." : "";
    weights_prefix(weights, "%sembeddings.", prefix);
    bert->word_embeddings =
        weights_matrix(weights, "word_embeddings.weight", bert->vocab_size, width);
    bert->position_embeddings =
        weights_matrix(weights, "position_embeddings.weight", bert->max_position_embeddings, width);
    bert->token_type_embeddings =
        weights_matrix(weights, "token_type_embeddings.weight", bert->type_vocab_size, width);
    bert->embeddings_norm = load_norm(weights, "LayerNorm", width);
    bert->layers = checked_calloc((size_t)bert->num_hidden_layers, sizeof *bert->layers);
    for (int i = 0; i < bert->num_hidden_layers; i++) {
        weights_prefix(weights, "%sencoder.layer.%d.", prefix, i);
        bert->layers[i] = load_layer(bert, weights);
    }
}

Bert *bert_load(const char *path, Device *device, DType dtype, Error *error) {
    Weights *weights = weights_open(path, device, dtype, error);
    if (!weights) return NULL;
    Bert *bert = checked_calloc(1, sizeof *bert);
    bert->device = device;
    bert->dtype = dtype;
    configure(bert, weights);
    if (!weights_failed(weights)) load(bert, weights);
    weights_leave(weights, "cls.*");
    weights_leave(weights, "*pooler.*");
    weights_leave(weights, "*.position_ids");
    if (weights_finish(weights, error)) return bert;
    bert_free(bert);
    return NULL;
}

void bert_free(Bert *bert) {
    if (!bert) return;
    for (int i = 0; bert->layers && i < bert->num_hidden_layers; i++) {
        BertLayer *layer = &bert->layers[i];
        affine_release(&layer->query);
        affine_release(&layer->key);
        affine_release(&layer->value);
        affine_release(&layer->attention_output);
        affine_release(&layer->attention_norm);
        affine_release(&layer->intermediate);
        affine_release(&layer->output);
        affine_release(&layer->output_norm);
    }
    tensor_release(bert->word_embeddings);
    tensor_release(bert->position_embeddings);
    tensor_release(bert->token_type_embeddings);
    affine_release(&bert->embeddings_norm);
    free(bert->layers);
    free(bert);
}

// ---- forward

Tensor *bert_embed(const Bert *bert, const int32_t *ids, int num_sequences, const int *lengths) {
    int64_t count = 0, row = 0;
    for (int s = 0; s < num_sequences; s++) {
        CHECK(lengths[s] > 0 && lengths[s] <= bert->max_position_embeddings,
              "bert_embed: a sequence of %d tokens", lengths[s]);
        count += lengths[s];
    }
    int32_t *places = checked_malloc((size_t)count * sizeof *places + 1);
    for (int s = 0; s < num_sequences; s++)
        for (int i = 0; i < lengths[s]; i++) places[row++] = i;
    for (int64_t i = 0; i < count; i++)
        CHECK(ids[i] >= 0 && ids[i] < bert->vocab_size,
              "bert_embed: token %d of a vocabulary of %d", ids[i], bert->vocab_size);
    scope_begin();
    Device *device = bert->device;
    Tensor *x =
        embedding(bert->word_embeddings, tensor_from_host(device, INT32, SHAPE(count), ids));
    Tensor *type = embedding(bert->token_type_embeddings,
                             tensor_from_host(device, INT32, SHAPE(1), &(int32_t){0}));
    x = add(x, reshape(type, SHAPE(bert->hidden_size)));
    x = add(x, embedding(bert->position_embeddings,
                         tensor_from_host(device, INT32, SHAPE(count), places)));
    free(places);
    return scope_end_returning(apply_layer_norm(&bert->embeddings_norm, x, bert->layer_norm_eps));
}

static Tensor *run_layer(const Bert *bert, const BertLayer *layer, Tensor *x, Attention shape) {
    float eps = bert->layer_norm_eps;
    Tensor *sum;
    scope_begin();
    Tensor *q = apply_linear(&layer->query, x);
    Tensor *k = apply_linear(&layer->key, x);
    Tensor *v = apply_linear(&layer->value, x);
    Tensor *h =
        apply_linear(&layer->attention_output, scaled_dot_product_attention(q, k, v, shape));
    x = apply_add_layer_norm(&layer->attention_norm, h, x, eps, &sum);
    h = activation(bert->hidden_act, apply_linear(&layer->intermediate, x));
    h = apply_linear(&layer->output, h);
    return scope_end_returning(apply_add_layer_norm(&layer->output_norm, h, x, eps, &sum));
}

Tensor *bert_encode(const Bert *bert, Tensor *embeddings, int num_sequences, const int *lengths) {
    int heads = bert->num_attention_heads;
    scope_begin();
    Attention shape = attention_packed(bert->device, num_sequences, lengths, heads, heads,
                                       bert->hidden_size / heads, false);
    Tensor *x = embeddings;
    for (int i = 0; i < bert->num_hidden_layers; i++)
        x = block_output(run_layer(bert, &bert->layers[i], x, shape), "encoder.layer.%d", i);
    return scope_end_returning(x);
}

Tensor *bert_forward(const Bert *bert, const int32_t *ids, int num_sequences, const int *lengths) {
    scope_begin();
    Tensor *x = bert_embed(bert, ids, num_sequences, lengths);
    return scope_end_returning(bert_encode(bert, x, num_sequences, lengths));
}

void bert_means(const Bert *bert, const int32_t *ids, int num_sequences, const int *lengths,
                float *means) {
    int64_t width = bert->hidden_size, row = 0;
    scope_begin();
    Tensor *hidden = bert_forward(bert, ids, num_sequences, lengths);
    float *values = checked_malloc((size_t)tensor_numel(hidden) * sizeof *values + 1);
    tensor_to_host_float(hidden, values);
    for (int s = 0; s < num_sequences; s++) {
        for (int64_t c = 0; c < width; c++) {
            double sum = 0.0;
            for (int i = 0; i < lengths[s]; i++) sum += values[(row + i) * width + c];
            means[s * width + c] = (float)(sum / lengths[s]);
        }
        row += lengths[s];
    }
    free(values);
    scope_end();
}
