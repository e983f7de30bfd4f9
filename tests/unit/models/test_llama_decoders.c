// rooms: models ops checkpoints autograd
/// The kinds of decoders (scalings of the rotary embedding, windows, Qwen2's biases) against
/// transformers (tests/parity/record_decoders.py), and published configurations.
#include "tests/unit/recorded.h"

#include "models/block_output.h"
#include "models/language/llama_config.h"
#include "models/language/llama_generate.h"

#include <jansson.h>

static const char *const cases[] = {"linear", "dynamic", "llama3", "yarn", "mistral", "qwen2"};
enum { CASES = sizeof cases / sizeof *cases, SEQUENCES = 3, PROMPTS = 2, INNER = 32 };
/// A layer rounds two norms, seven products, two rotations, the attention, the gate and two sums;
/// backward again.
static const double ROUNDINGS_PER_LAYER = 15.0;

static double float32_bound(int layers, int passes) {
    return recorded_bound(FLOAT32, 2 + passes * ROUNDINGS_PER_LAYER * layers, INNER);
}

/// How much a network amplifies bfloat16's roundings depends on its weights: transformers' own
/// error in bfloat16 says it. Ours, with fewer roundings, may be larger by chance only: both are
/// lengths of some hundred independent errors.
static const double CHANCE = 1.2;

static double bfloat16_bound(const char *name, const char *part) {
    char error[64];
    snprintf(error, sizeof error, "bfloat16.%s", part);
    return CHANCE * tensor_item(recorded("decoders/golden", name, error));
}

/// What has passed `layers` layers, `passes` times, against the golden part.
static void expect(const char *name, const char *part, const Tensor *x, DType dtype, int layers,
                   int passes) {
    double bound = dtype == FLOAT32 ? float32_bound(layers, passes) : bfloat16_bound(name, part);
    recorded_expect(name, part, x, recorded("decoders/golden", name, part), bound);
}

static Tensor *input(const char *part) { return recorded("decoders/inputs", "packed", part); }

static void input_ints(const char *part, int count, int *values) {
    Tensor *x = input(part);
    assert_int_equal(tensor_numel(x), count);
    case_device()->to_host(case_device(), values, x->data, (size_t)count * sizeof *values);
}

static Llama *load_folder(const char *folder, DType dtype) {
    Error error;
    Llama *llama = llama_load(folder, case_device(), dtype, &error);
    if (!llama) fail_msg("%s", error.message);
    return llama;
}

static Llama *load(const char *name, DType dtype) {
    char path[512];
    snprintf(path, sizeof path, RECORDED_FOLDER "decoders/%s", name);
    return load_folder(path, dtype);
}

static void expect_layer(const char *name, const Tensor *x, void *context) {
    int layer = name[strlen(name) - 1] - '0';
    char part[32];
    snprintf(part, sizeof part, "layers.%d", layer);
    expect(context, part, x, x->dtype, layer + 1, 1);
}

/// Layers, logits and the gradient of the embeddings.
static void check_pass(const char *name, Llama *llama) {
    DType dtype = llama->dtype;
    int lengths[SEQUENCES], layers = llama->config.num_hidden_layers;
    input_ints("lengths", SEQUENCES, lengths);
    Tensor *embeddings = input("embeddings");
    require_grad(embeddings);
    Tensor *rotations = llama_rotations(llama, SEQUENCES, NULL, lengths, tensor_rows(embeddings));
    block_output_listen(expect_layer, (void *)(uintptr_t)name);
    tape_begin();
    Tensor *hidden = llama_forward(llama, convert(embeddings, dtype), rotations,
                                   llama_attention(llama, SEQUENCES, lengths), &(LlamaOptions){0});
    block_output_listen(NULL, NULL);
    Tensor *logits = llama_logits(llama, hidden, NULL);
    expect(name, "logits", logits, dtype, layers, 1);
    backward(logits, convert(input("direction"), dtype), NULL);
    tape_end();
    expect(name, "grad", grad(embeddings), dtype, layers, 2);
}

static void layers_logits_and_gradients_equal_transformers(void **state) {
    (void)state;
    static const DType types[] = {FLOAT32, BFLOAT16};
    for (int i = 0; i < 2 * CASES; i++) {
        case_begin();
        Llama *llama = load(cases[i / 2], types[i % 2]);
        check_pass(cases[i / 2], llama);
        llama_free(llama);
        case_end();
    }
}

/// The first prompt is the first rows of the first sequence, the second those of the last.
static Tensor *prompt_rows(const int *prompts) {
    int lengths[SEQUENCES], index[64], count = 0;
    input_ints("lengths", SEQUENCES, lengths);
    for (int i = 0; i < prompts[0]; i++) index[count++] = i;
    for (int i = 0; i < prompts[1]; i++) index[count++] = lengths[0] + lengths[1] + i;
    return gather_rows(input("embeddings"),
                       tensor_from_host(case_device(), INT32, SHAPE(count), index));
}

static void check_generation(const char *name, const Generation *generation, int prompt) {
    char part[32];
    snprintf(part, sizeof part, "greedy.%d", prompt);
    Tensor *expected = recorded("decoders/golden", name, part);
    const int32_t *tokens = case_host(expected);
    int64_t count = tensor_numel(expected) - generation->ended;
    assert_int_equal(generation->count, count);
    assert_memory_equal(generation->tokens, tokens, (size_t)count * sizeof *tokens);
    if (generation->ended) assert_int_equal(tokens[count], 2);
}

/// With a cache of keys and values, past the window and the original length.
static void greedy_continuations_equal_transformers(void **state) {
    (void)state;
    for (int i = 0; i < CASES; i++) {
        case_begin();
        Llama *llama = load(cases[i], FLOAT32);
        int lengths[PROMPTS];
        input_ints("prompts", PROMPTS, lengths);
        GenerationPrompt prompts[PROMPTS] = {{.length = lengths[0]}, {.length = lengths[1]}};
        Generation generations[PROMPTS];
        llama_generate(llama, NULL, prompt_rows(lengths), PROMPTS, prompts,
                       &(GenerationOptions){.max_new_tokens = 12}, generations);
        for (int p = 0; p < PROMPTS; p++) {
            check_generation(cases[i], &generations[p], p);
            generation_free(&generations[p]);
        }
        llama_free(llama);
        case_end();
    }
}

/// The recorded configuration of a case with keys set (to JSON text) or, where the text is NULL,
/// removed.
static void write_config(const char *name, int count, const char *const changes[][2]) {
    char path[512];
    snprintf(path, sizeof path, RECORDED_FOLDER "decoders/%s/config.json", name);
    json_t *config = json_load_file(path, 0, NULL);
    assert_non_null(config);
    for (int i = 0; i < count; i++)
        if (changes[i][1])
            json_object_set_new(config, changes[i][0],
                                json_loads(changes[i][1], JSON_DECODE_ANY, NULL));
        else
            json_object_del(config, changes[i][0]);
    assert_int_equal(json_dump_file(config, in_folder("config.json"), 0), 0);
    json_decref(config);
    snprintf(path, sizeof path, RECORDED_FOLDER "decoders/%s/model.safetensors", name);
    unlink(in_folder("model.safetensors"));
    assert_int_equal(symlink(path, in_folder("model.safetensors")), 0);
}

static void transformers_4_says_the_same_in_other_words(void **state) {
    (void)state;
    static const struct {
        const char *name;
        int count;
        const char *changes[4][2];
    } forms[] = {
        {"qwen2", 3, {{"layer_types", NULL}, {"rope_parameters", NULL}, {"rope_theta", "1e4"}}},
        {"qwen2", 2, {{"model_type", NULL}, {"sliding_window", "11"}}}, // by its architecture
        {"mistral", 1, {{"model_type", "\"llava_mistral\""}}},
        {"dynamic",
         3,
         {{"rope_parameters", NULL},
          {"rope_theta", "300"},
          {"rope_scaling", "{\"type\": \"dynamic\", \"factor\": 4.0}"}}},
        {"llama3",
         2,
         {{"original_max_position_embeddings", "16"},
          {"rope_parameters", "{\"rope_type\": \"llama3\", \"factor\": 8, \"low_freq_factor\": 1, "
                              "\"high_freq_factor\": 4, \"rope_theta\": 500}"}}},
    };
    for (size_t i = 0; i < sizeof forms / sizeof *forms; i++) {
        case_begin();
        write_config(forms[i].name, forms[i].count, forms[i].changes);
        Llama *llama = load_folder(temporary_folder, FLOAT32);
        check_pass(forms[i].name, llama);
        llama_free(llama);
        case_end();
    }
}

static int window_of_layer(const char *name, int count, const char *const changes[][2], int layer) {
    write_config(name, count, changes);
    Llama *llama = load_folder(temporary_folder, FLOAT32);
    int window = llama->config.windows[layer];
    llama_free(llama);
    return window;
}

static void windows_are_those_that_the_configuration_asks_for(void **state) {
    (void)state;
    const char *const none[][2] = {{"sliding_window", "null"}};
    assert_int_equal(window_of_layer("mistral", 0, NULL, 1), 7);
    assert_int_equal(window_of_layer("mistral", 1, none, 1), 0);
    const char *const off[][2] = {{"layer_types", NULL}, {"use_sliding_window", "false"}};
    const char *const all[][2] = {{"layer_types", NULL}, {"max_window_layers", "0"}};
    assert_int_equal(window_of_layer("qwen2", 0, NULL, 1), 0);
    assert_int_equal(window_of_layer("qwen2", 0, NULL, 2), 11);
    assert_int_equal(window_of_layer("qwen2", 2, off, 2), 0);
    assert_int_equal(window_of_layer("qwen2", 2, all, 0), 11);
    const char *const llama[][2] = {{"sliding_window", "5"}};
    assert_int_equal(window_of_layer("linear", 1, llama, 0), 0); // Llama has no such thing
}

static void what_is_not_supported_is_refused_with_its_key(void **state) {
    (void)state;
    static const char *const bad[][4] = {
        {"qwen2", "layer_types", "[\"full_attention\"]", "layer_types"},
        {"qwen2", "layer_types", "[\"full_attention\", \"full_attention\", \"chunked_attention\"]",
         "layer_types"},
        {"qwen2", "sliding_window", "null", "layer_types"},
        {"qwen2", "use_mrope", "true", "use_mrope"},
        {"mistral", "sliding_window", "-3", "sliding_window"},
        {"mistral", "model_type", "\"mixtral\"", "model_type"},
        {"mistral", "model_type", "\"qwen2\"", "q_proj.bias"},
        {"mistral", "head_dim", "11", "head_dim"},
        {"dynamic", "rope_scaling", "{\"type\": \"dynamic\", \"factor\": 0.5}",
         "rope_scaling.factor"},
        {"linear", "rope_scaling", "{\"type\": \"su\", \"factor\": 4}", "rope_scaling.type"},
        {"linear", "rope_scaling", "{\"type\": \"linear\", \"factor\": \"4\"}",
         "rope_scaling.factor"},
        {"yarn", "rope_scaling", "{\"rope_type\": \"yarn\", \"factor\": 4, \"beta_fast\": -1}",
         "rope_scaling.beta_fast"},
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        const char *const change[][2] = {{bad[i][1], bad[i][2]}};
        write_config(bad[i][0], 1, change);
        Error error = {0};
        Llama *llama = llama_load(temporary_folder, case_device(), FLOAT32, &error);
        if (llama || !strstr(error.message, bad[i][3]))
            fail_msg("%s: %s gave: %s", bad[i][1], bad[i][2], llama ? "loaded" : error.message);
    }
}

// ---- frequencies

/// What llama_config_read() makes of the folder's config.json.
static LlamaRope rope_of_folder(int head_dim) {
    Error error;
    Weights *weights = weights_open(temporary_folder, case_device(), FLOAT32, &error);
    if (!weights) fail_msg("%s", error.message);
    LlamaRope rope = llama_rope_read(weights, head_dim);
    if (!weights_finish(weights, &error)) fail_msg("%s", error.message);
    return rope;
}

/// transformers takes theta to a power in float32: a relative error of the exponent's rounding
/// times log(theta), and as much again for each of the few operations after that.
static void check_frequencies(const char *name, const LlamaRope *rope, int head_dim, int length,
                              const json_t *expected) {
    double got[ATTENTION_MAX_HEAD_DIM / 2], worst = 0.0;
    llama_rope_frequencies(rope, head_dim, length, got);
    assert_int_equal(json_array_size(expected), head_dim / 2);
    for (int i = 0; i < head_dim / 2; i++) {
        double want = json_real_value(json_array_get(expected, (size_t)i));
        worst = fmax(worst, fabs(got[i] / want - 1.0));
    }
    double allowed = (log(rope->theta) + 16.0) * 0x1p-24;
    printf("# %s: frequencies off by %.1e (allowed %.1e)\n", name, worst, allowed);
    if (!(worst <= allowed)) fail_msg("%s: %g", name, worst);
}

static void frequencies_of_published_scalings_equal_transformers(void **state) {
    (void)state;
    write_config("linear", 0, NULL);
    json_t *records = json_load_file(RECORDED_FOLDER "decoders/rope.json", 0, NULL);
    assert_int_equal(json_array_size(records), 9);
    for (size_t i = 0; i < json_array_size(records); i++) {
        const json_t *record = json_array_get(records, i);
        int head_dim = (int)json_integer_value(json_object_get(record, "head_dim"));
        json_dump_file(json_object_get(record, "config"), in_folder("config.json"), 0);
        LlamaRope rope = rope_of_folder(head_dim);
        check_frequencies(json_string_value(json_object_get(record, "name")), &rope, head_dim,
                          (int)json_integer_value(json_object_get(record, "length")),
                          json_object_get(record, "frequencies"));
        double factor = json_number_value(json_object_get(record, "rotation_factor"));
        assert_true(fabs(rope.rotation_factor / factor - 1.0) < 1e-12);
    }
    json_decref(records);
}

// ---- published configurations

static void published_configurations_are_accepted(void **state) {
    (void)state;
    static const char *const names[] = {"vicuna-7b-v1.1", "llava-v1.5-7b"};
    const char *shared = getenv("DIFFLMM_SHARED_DATA");
    char path[512];
    for (int i = 0; i < 2; i++) {
        snprintf(path, sizeof path, "%s/public/configs/%s.json",
                 shared ? shared : SOURCE_DIR "/../shared/data", names[i]);
        if (access(path, R_OK) != 0) {
            print_message("skipped: %s is not there\n", path);
            skip();
        }
        write_config("linear", 0, NULL);
        unlink(in_folder("config.json"));
        assert_int_equal(symlink(path, in_folder("config.json")), 0);
        Error error;
        Weights *weights = weights_open(temporary_folder, case_device(), BFLOAT16, &error);
        LlamaConfig config = llama_config_read(weights);
        if (!weights_finish(weights, &error)) fail_msg("%s", error.message);
        assert_int_equal(config.hidden_size, 4096);
        assert_int_equal(config.num_key_value_heads, 32);
        assert_int_equal(config.head_dim, 128);
        assert_true(config.rope.scaling == ROPE_DEFAULT && config.rope.theta == 10000.0);
        assert_true(config.rms_norm_eps == (i ? 1e-5f : 1e-6f));
        assert_false(config.qkv_bias || config.o_bias || config.tie_word_embeddings);
        llama_config_release(&config);
        unlink(in_folder("config.json"));
    }
}

static int run_all(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(layers_logits_and_gradients_equal_transformers),
        cmocka_unit_test(greedy_continuations_equal_transformers),
        IN_FOLDER(transformers_4_says_the_same_in_other_words),
        IN_FOLDER(windows_are_those_that_the_configuration_asks_for),
        IN_FOLDER(what_is_not_supported_is_refused_with_its_key),
        IN_FOLDER(frequencies_of_published_scalings_equal_transformers),
        IN_FOLDER(published_configurations_are_accepted),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

int main(void) { return case_run_devices(run_all); }
