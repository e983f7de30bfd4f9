// rooms: models ops checkpoints autograd
/// BERT against transformers (tests/parity/record_bert.py).
#include "tests/unit/recorded.h"

#include "models/block_output.h"
#include "models/language/bert.h"

#include <jansson.h>

enum { LAYERS = 3, INNER = 70, SEQUENCES = 3, TOKENS = 20 };
/// A layer rounds its queries, keys or values, the attention, four products, GELU and two norms
/// with their sums; backward again.
static const double ROUNDINGS_PER_LAYER = 10.0;

static double bound(DType dtype, int passes) {
    return recorded_bound(dtype, 3 + passes * ROUNDINGS_PER_LAYER * LAYERS, INNER);
}

static Tensor *golden(const char *part) { return recorded("bert/golden", "packed", part); }

typedef struct Packed {
    int lengths[SEQUENCES];
    int32_t ids[TOKENS];
} Packed;

static Packed packed_ids(void) {
    Packed packed;
    Device *device = case_device();
    Tensor *lengths = golden("lengths"), *ids = golden("ids");
    device->to_host(device, packed.lengths, lengths->data, sizeof packed.lengths);
    device->to_host(device, packed.ids, ids->data, sizeof packed.ids);
    return packed;
}

static Bert *load(const char *name, DType dtype) {
    Error error;
    char path[512];
    snprintf(path, sizeof path, RECORDED_FOLDER "bert/%s", name);
    Bert *bert = bert_load(path, case_device(), dtype, &error);
    if (!bert) fail_msg("%s", error.message);
    return bert;
}

static void expect_layer(const char *name, const Tensor *x, void *context) {
    char part[32];
    snprintf(part, sizeof part, "layers.%c", name[strlen(name) - 1]);
    recorded_expect("bert", part, x, golden(part), bound(x->dtype, 1));
    ++*(int *)context;
}

static void layers_and_gradients_equal_transformers(void **state) {
    (void)state;
    static const DType types[] = {FLOAT32, BFLOAT16};
    for (int t = 0; t < 2; t++) {
        case_begin();
        Bert *bert = load("plain", types[t]);
        Packed packed = packed_ids();
        Tensor *embeddings = bert_embed(bert, packed.ids, SEQUENCES, packed.lengths);
        recorded_expect("bert", "embeddings", embeddings, golden("embeddings"),
                        recorded_bound(types[t], 3, 36));
        Tensor *leaf = golden("embeddings");
        require_grad(leaf);
        int layers = 0;
        block_output_listen(expect_layer, &layers);
        tape_begin();
        Tensor *hidden = bert_encode(bert, convert(leaf, types[t]), SEQUENCES, packed.lengths);
        block_output_listen(NULL, NULL);
        assert_int_equal(layers, LAYERS);
        backward(hidden, convert(golden("direction"), types[t]), NULL);
        tape_end();
        recorded_expect("bert", "grad.embeddings", grad(leaf), golden("grad.embeddings"),
                        bound(types[t], 2));
        bert_free(bert);
        case_end();
    }
}

static void means_over_the_tokens_equal_transformers(void **state) {
    (void)state;
    case_begin();
    Bert *bert = load("plain", FLOAT32);
    Packed packed = packed_ids();
    float *means = case_memory(SEQUENCES * bert->hidden_size, sizeof *means);
    bert_means(bert, packed.ids, SEQUENCES, packed.lengths, means);
    Tensor *got =
        tensor_from_host(case_device(), FLOAT32, SHAPE(SEQUENCES, bert->hidden_size), means);
    recorded_expect("bert", "means", got, golden("means"), bound(FLOAT32, 1));
    bert_free(bert);
    case_end();
}

static void names_of_old_checkpoints_give_the_same_bits(void **state) {
    (void)state;
    case_begin();
    Bert *plain = load("plain", FLOAT32), *old = load("old", FLOAT32);
    Packed packed = packed_ids();
    case_expect_equal("old names", bert_forward(old, packed.ids, SEQUENCES, packed.lengths),
                      bert_forward(plain, packed.ids, SEQUENCES, packed.lengths));
    bert_free(plain);
    bert_free(old);
    case_end();
}

/// Loads "plain" with one key of its configuration changed (JSON text), and returns the message.
static const char *message_with(const char *key, const char *value) {
    static Error error;
    json_t *config = json_load_file(RECORDED_FOLDER "bert/plain/config.json", 0, NULL);
    json_object_set_new(config, key, json_loads(value, JSON_DECODE_ANY, NULL));
    assert_int_equal(json_dump_file(config, in_folder("config.json"), 0), 0);
    json_decref(config);
    Bert *bert = bert_load(temporary_folder, case_device(), FLOAT32, &error);
    bert_free(bert);
    return bert ? "loaded" : error.message;
}

static void what_is_not_supported_is_refused_with_its_key(void **state) {
    (void)state;
    assert_int_equal(
        symlink(RECORDED_FOLDER "bert/plain/model.safetensors", in_folder("model.safetensors")), 0);
    static const char *const bad[][3] = {
        {"model_type", "\"roberta\"", "model_type"},
        {"position_embedding_type", "\"relative_key\"", "position_embedding_type"},
        {"hidden_act", "\"relu\"", "hidden_act"},
        {"is_decoder", "true", "is_decoder"},
        {"num_attention_heads", "5", "num_attention_heads"},
        {"layer_norm_eps", "2", "layer_norm_eps"},
        {"num_hidden_layers", "4", "encoder.layer.3"},
        {"intermediate_size", "71", "intermediate.dense"},
        {"max_position_embeddings", "17", "position_embeddings"},
        {"type_vocab_size", "1", "token_type_embeddings"},
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        const char *message = message_with(bad[i][0], bad[i][1]);
        if (!strstr(message, bad[i][2])) fail_msg("%s: %s gave: %s", bad[i][0], bad[i][1], message);
    }
}

static int run_all(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(layers_and_gradients_equal_transformers),
        cmocka_unit_test(means_over_the_tokens_equal_transformers),
        cmocka_unit_test(names_of_old_checkpoints_give_the_same_bits),
        IN_FOLDER(what_is_not_supported_is_refused_with_its_key),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

int main(void) { return case_run_devices(run_all); }
