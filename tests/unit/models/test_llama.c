// rooms: models ops checkpoints autograd
/// The language model against transformers and PEFT (tests/parity/record_language.py), and what it
/// promises by itself.
#include "tests/unit/recorded_llama.h"

#include "models/language/lora.h"
#include "tests/unit/temporary_folder.h"

#include <jansson.h>
#include <unistd.h>

static Tensor *loss_of(const Recorded *recorded, Tensor *hidden) {
    return linear_cross_entropy(hidden, recorded->llama->lm_head,
                                recorded_indices(recorded_find(recorded->file, "rows"), device),
                                recorded_indices(recorded_find(recorded->file, "targets"), device));
}

/// Logits, loss and gradient of the embeddings with what is recorded under `prefix`.
static void check_pass(const Recorded *recorded, const char *name, const char *prefix,
                       const LlamaOptions *options) {
    Tensor *embeddings = recorded_embeddings(recorded);
    tape_begin();
    Tensor *hidden = forward(recorded, embeddings, options);
    Tensor *loss = loss_of(recorded, hidden);
    double tolerance = recorded->tolerance;
    double logits_off =
        assert_near_recorded("logits", llama_logits(recorded->llama, hidden, NULL),
                             recorded_find(recorded->file, "%slogits", prefix), tolerance);
    double loss_off = assert_near_recorded(
        "loss", loss, recorded_find(recorded->file, "%sloss", prefix), tolerance);
    backward(loss, NULL, NULL);
    tape_end();
    double grad_off =
        assert_near_recorded("gradient", grad(embeddings),
                             recorded_find(recorded->file, "%sgrad.embeddings", prefix), tolerance);
    print_message("%s%s: logits off by %.1e, loss %.1e, gradient %.1e (allowed %.1e)\n", prefix,
                  name, logits_off, loss_off, grad_off, tolerance);
}

static void logits_loss_and_gradient_equal_transformers(void **state) {
    (void)state;
    for (int i = 0; i < NUM_CASES; i++) {
        Recorded recorded = recorded_begin(cases[i]);
        check_pass(&recorded, cases[i], "", &(LlamaOptions){0});
        recorded_end(&recorded);
    }
}

static LlamaLora *all_linears(const Llama *llama, ParameterSet *set, float dropout) {
    LoraOptions options = {.r = 3, .alpha = 6.0f, .dropout = dropout, .seed = 1};
    Error error;
    assert_true(lora_target_modules((const char *[]){"all-linear"}, 1, options.modules, &error));
    return lora_new(llama, &options, set);
}

static void lora_equals_peft_in_names_values_and_gradients(void **state) {
    (void)state;
    for (int i = 0; i < NUM_CASES; i++) {
        Recorded recorded = recorded_begin(cases[i]);
        ParameterSet set = {0};
        LlamaLora *lora = all_linears(recorded.llama, &set, 0.0f);
        assert_int_equal(set.count, count_recorded(recorded.file, "lora."));
        set_recorded_parameters(&set, recorded.file, "lora.");
        check_pass(&recorded, cases[i], "with_lora.", &(LlamaOptions){.lora = lora});
        double worst = 0.0;
        for (int p = 0; p < set.count; p++) {
            assert_int_equal(set.items[p].group, GROUP_LORA);
            const char *name = set.items[p].name;
            worst = fmax(
                worst, assert_near_recorded(name, grad(set.items[p].value),
                                            recorded_find(recorded.file, "with_lora.grad.%s", name),
                                            recorded.tolerance));
        }
        print_message("%s: LoRA's gradients off by at most %.1e\n", cases[i], worst);
        lora_free(lora);
        parameters_free(&set);
        recorded_end(&recorded);
    }
}

/// Gradients of the embeddings and of one LoRA matrix with recompute as given.
static void gradients_with_recompute(const Recorded *recorded, const LlamaLora *lora,
                                     ParameterSet *set, int recompute_every, float *of_embeddings,
                                     float *of_parameter) {
    LlamaOptions options = {
        .lora = lora, .train = true, .seed = 3, .pass = 9, .recompute = recompute_every};
    Tensor *embeddings = recorded_embeddings(recorded);
    parameters_clear_grad(set);
    tape_begin();
    backward(loss_of(recorded, forward(recorded, embeddings, &options)), NULL, NULL);
    tape_end();
    tensor_to_host_float(grad(embeddings), of_embeddings);
    tensor_to_host_float(grad(set->items[0].value), of_parameter);
}

static void recomputed_layers_give_the_same_gradients(void **state) {
    (void)state;
    Recorded recorded = recorded_begin("gqa");
    ParameterSet set = {0};
    LlamaLora *lora = all_linears(recorded.llama, &set, 0.25f);
    set_recorded_parameters(&set, recorded.file, "lora.");
    float kept[2][4096], again[2][4096];
    gradients_with_recompute(&recorded, lora, &set, 0, kept[0], kept[1]);
    for (int every = 1; every <= 2; every++) {
        gradients_with_recompute(&recorded, lora, &set, every, again[0], again[1]);
        assert_memory_equal(kept[0], again[0], 35 * 48 * sizeof(float));
        assert_memory_equal(kept[1], again[1], 3 * 48 * sizeof(float));
    }
    lora_free(lora);
    parameters_free(&set);
    recorded_end(&recorded);
}

static float first_logit(const Recorded *recorded, const LlamaOptions *options) {
    float values[35 * 48];
    tensor_to_host_float(
        forward(recorded, recorded_tensor(recorded_find(recorded->file, "embeddings"), device),
                options),
        values);
    return values[47];
}

static void dropout_depends_on_seed_and_pass_and_happens_only_in_training(void **state) {
    (void)state;
    Recorded recorded = recorded_begin("gqa");
    ParameterSet set = {0};
    LlamaLora *lora = all_linears(recorded.llama, &set, 0.5f);
    float plain = first_logit(&recorded, &(LlamaOptions){0});
    // B is zero at first: the update changes nothing.
    assert_true(first_logit(&recorded, &(LlamaOptions){.lora = lora}) == plain);
    set_recorded_parameters(&set, recorded.file, "lora.");
    LlamaOptions options = {.lora = lora, .train = true, .seed = 1, .pass = 1};
    float trained = first_logit(&recorded, &options);
    assert_true(trained == first_logit(&recorded, &options));
    options.pass = 2;
    assert_true(trained != first_logit(&recorded, &options));
    options.seed = 2;
    options.pass = 1;
    assert_true(trained != first_logit(&recorded, &options));
    options.train = false;
    float evaluated = first_logit(&recorded, &options);
    options.pass = 2;
    assert_true(evaluated == first_logit(&recorded, &options));
    lora_free(lora);
    parameters_free(&set);
    recorded_end(&recorded);
}

static void an_unknown_target_module_names_the_nearest(void **state) {
    (void)state;
    bool modules[LLAMA_MODULE_COUNT];
    Error error;
    assert_true(lora_target_modules((const char *[]){"v_proj", "mlp.up_proj"}, 2, modules, &error));
    assert_true(modules[V_PROJ] && modules[UP_PROJ] && !modules[Q_PROJ] && !modules[DOWN_PROJ]);
    assert_false(lora_target_modules((const char *[]){"gate_prj"}, 1, modules, &error));
    assert_non_null(strstr(error.message, "gate_prj"));
    assert_non_null(strstr(error.message, "did you mean gate_proj"));
    assert_false(lora_target_modules(NULL, 0, modules, &error));
    assert_non_null(strstr(error.message, "the list is empty: LoRA would train nothing"));
}

static void a_lora_matrix_does_not_depend_on_which_others_there_are(void **state) {
    (void)state;
    Recorded recorded = recorded_begin("gqa");
    ParameterSet all = {0}, some = {0};
    LlamaLora *every = all_linears(recorded.llama, &all, 0.0f);
    LoraOptions options = {.r = 3, .alpha = 6.0f, .seed = 1, .modules = {[DOWN_PROJ] = true}};
    LlamaLora *down = lora_new(recorded.llama, &options, &some);
    assert_int_equal(some.count, 6);
    const char *name = "base_model.model.model.layers.2.mlp.down_proj.lora_A.weight";
    const Tensor *a = parameters_find(&all, name)->value, *b = parameters_find(&some, name)->value;
    const float *values = case_host(a);
    assert_memory_equal(values, case_host(b), 3 * 80 * sizeof(float));
    double sum_squares = 0.0, bound = 1.0 / sqrt(80.0);
    for (int i = 0; i < 240; i++) {
        float x = values[i];
        assert_true(fabs(x) <= bound);
        sum_squares += x * x;
    }
    // Uniform: variance bound^2/3; the mean of 240 squares scatters by 0.06 of it.
    assert_true(fabs(sum_squares / 240.0 / (bound * bound / 3.0) - 1.0) < 0.25);
    lora_free(every);
    lora_free(down);
    parameters_free(&all);
    parameters_free(&some);
    recorded_end(&recorded);
}

// ---- attention

/// The recorded rows: 4 and 10 of the first sequence, 7 and 22 of the third, which begins at
/// row 12.
static AttentionMaps capture_recorded(const Recorded *recorded,
                                      const AttentionSelection *selection) {
    const LlamaConfig *config = &recorded->llama->config;
    AttentionMaps maps =
        attention_maps_new(selection, config->num_hidden_layers, config->num_attention_heads, 5);
    CaptureRow rows[4];
    const int where[4][2] = {{4, 2}, {10, 2}, {12 + 7, 3}, {12 + 22, 3}};
    for (int i = 0; i < 4; i++)
        rows[i] = (CaptureRow){where[i][0], where[i][1], &maps, attention_maps_add_row(&maps)};
    LlamaCapture capture = {selection, 4, rows};
    forward(recorded, recorded_embeddings(recorded), &(LlamaOptions){.capture = &capture});
    return maps;
}

static void captured_attention_equals_transformers(void **state) {
    (void)state;
    for (int i = 0; i < NUM_CASES; i++) {
        Recorded recorded = recorded_begin(cases[i]);
        AttentionMaps maps = capture_recorded(&recorded, &(AttentionSelection){0});
        const StoredTensor *entry = recorded_find(recorded.file, "attention");
        assert_int_equal(maps.rows * maps.layers * maps.heads * maps.keys, entry->numel);
        float *expected = recorded_floats(entry);
        assert_floats_near("attention", maps.values, expected, entry->numel, recorded.tolerance);
        free(expected);
        attention_maps_free(&maps);
        recorded_end(&recorded);
    }
}

static void the_mean_over_chosen_layers_and_heads_is_that_of_the_parts(void **state) {
    (void)state;
    Recorded recorded = recorded_begin("gqa");
    const int layers[] = {0, 2}, heads[] = {1, 4, 5};
    AttentionSelection selection = {layers, 2, heads, 3, ATTENTION_APART};
    AttentionMaps parts = capture_recorded(&recorded, &selection);
    AttentionMaps all = capture_recorded(&recorded, &(AttentionSelection){0});
    selection.mean = ATTENTION_MEAN;
    AttentionMaps mean_maps = capture_recorded(&recorded, &selection);
    selection.mean = ATTENTION_MEAN_OF_HEADS;
    AttentionMaps by_layer = capture_recorded(&recorded, &selection);
    assert_true(by_layer.layers == 2 && by_layer.heads == 1);
    assert_int_equal(parts.layers, 2);
    assert_int_equal(parts.heads, 3);
    assert_int_equal(mean_maps.layers * mean_maps.heads, 1);
    for (int row = 0; row < 4; row++)
        for (int key = 0; key < 5; key++) {
            double sum = 0.0;
            for (int l = 0; l < 2; l++) {
                double of_layer = 0.0;
                for (int h = 0; h < 3; h++) {
                    float part = attention_maps_row(&parts, row)[(l * 3 + h) * 5 + key];
                    assert_true(part == attention_maps_row(
                                            &all, row)[(layers[l] * 6 + heads[h]) * 5 + key]);
                    of_layer += part;
                }
                assert_true(fabs(attention_maps_row(&by_layer, row)[l * 5 + key] - of_layer / 3) <
                            1e-6);
                sum += of_layer;
            }
            assert_true(fabs(attention_maps_row(&mean_maps, row)[key] - sum / 6.0) < 1e-6);
        }
    attention_maps_free(&parts);
    attention_maps_free(&all);
    attention_maps_free(&mean_maps);
    attention_maps_free(&by_layer);
    recorded_end(&recorded);
}

static void a_selection_of_layers_that_do_not_exist_is_refused(void **state) {
    (void)state;
    Error error;
    const int good[] = {0, 2}, outside[] = {1, 3}, twice[] = {1, 1};
    assert_true(attention_selection_check(&(AttentionSelection){good, 2, NULL, 0, ATTENTION_MEAN},
                                          3, 4, &error));
    assert_false(attention_selection_check(
        &(AttentionSelection){outside, 2, NULL, 0, ATTENTION_MEAN}, 3, 4, &error));
    assert_non_null(strstr(error.message, "layers"));
    assert_false(attention_selection_check(&(AttentionSelection){NULL, 0, twice, 2, ATTENTION_MEAN},
                                           3, 4, &error));
    assert_non_null(strstr(error.message, "heads"));
}

// ---- types, configurations

static void bfloat16_is_near_float32(void **state) {
    (void)state;
    Recorded recorded = recorded_begin("gqa");
    Error error;
    Llama *narrow = llama_load(RECORDED_FOLDER "llama/gqa", device, BFLOAT16, &error);
    assert_non_null(narrow);
    Llama *wide = recorded.llama;
    recorded.llama = narrow;
    Tensor *embeddings =
        convert(recorded_tensor(recorded_find(recorded.file, "embeddings"), device), BFLOAT16);
    Tensor *hidden = forward(&recorded, embeddings, &(LlamaOptions){0});
    assert_int_equal(hidden->dtype, BFLOAT16);
    // 2^-9 per rounding; ten roundings a layer that add up like a random walk, three deviations.
    assert_near_recorded("logits", llama_logits(narrow, hidden, NULL),
                         recorded_find(recorded.file, "logits"),
                         3.0 * 0x1p-9 * sqrt(10.0 * 3 + 2) * 2.0);
    llama_free(narrow);
    recorded.llama = wide;
    recorded_end(&recorded);
}

/// Cosine of the angle between two tensors.
static double cosine(const Tensor *a, const Tensor *b) {
    const double *x = case_doubles(a), *y = case_doubles(b);
    double xy = 0, xx = 0, yy = 0;
    for (int64_t i = 0; i < tensor_numel(a); i++) {
        xy += x[i] * y[i];
        xx += x[i] * x[i];
        yy += y[i] * y[i];
    }
    return xy / sqrt(xx * yy);
}

/// The layers' matrices alone are rounded. A rounding to eight bits errs by 2^-4 at most, by 0.024
/// in the mean square where the numbers lie evenly within their octave; a product has two of them,
/// a layer seven products, whose errors add up as a random walk does. Three deviations.
static void eight_bit_layers_are_near_float32(void **state) {
    (void)state;
    Recorded recorded = recorded_begin("gqa");
    Error error;
    Llama *wide = recorded.llama;
    Tensor *embeddings = recorded_embeddings(&recorded), *gradients[2], *logits[2];
    recorded.llama = NULL;
    for (int narrow = 0; narrow < 2; narrow++) {
        recorded.llama =
            narrow ? llama_load_float8(RECORDED_FOLDER "llama/gqa", device, FLOAT32, &error) : wide;
        assert_non_null(recorded.llama);
        assert_int_equal(recorded.llama->lm_head->dtype, FLOAT32);
        for (int m = 0; m < LLAMA_MODULE_COUNT; m++)
            assert_int_equal(recorded.llama->layers[0].linears[m].weight->dtype,
                             narrow ? FLOAT8 : FLOAT32);
        grad_clear(embeddings);
        tape_begin();
        Tensor *hidden = forward(&recorded, embeddings, &(LlamaOptions){0});
        logits[narrow] = llama_logits(recorded.llama, hidden, NULL);
        backward(loss_of(&recorded, hidden), NULL, NULL);
        tape_end();
        gradients[narrow] = case_convert(grad(embeddings), FLOAT32);
    }
    double layers = wide->config.num_hidden_layers, allowed = 3 * 0.024 * sqrt(14 * layers);
    double off = case_relative_error(logits[1], logits[0]);
    double angle = cosine(gradients[1], gradients[0]);
    print_message("float8: logits off by %.2g (allowed %.2g), cosine of the gradients %.4f\n", off,
                  allowed, angle);
    assert_true(off > 0 && off <= allowed);
    assert_true(angle >= cos(allowed));
    llama_free(recorded.llama);
    recorded.llama = wide;
    recorded_end(&recorded);
}

/// Loads the "gqa" weights with one key of their configuration changed (JSON text), and returns the
/// message.
static const char *message_with(const char *key, const char *value) {
    static Error error;
    json_t *config = json_load_file(RECORDED_FOLDER "llama/gqa/config.json", 0, NULL);
    json_t *changed = json_loads(value, JSON_DECODE_ANY, NULL);
    assert_non_null(changed);
    json_object_set_new(config, key, changed);
    assert_int_equal(json_dump_file(config, in_folder("config.json"), 0), 0);
    json_decref(config);
    error.message[0] = 0;
    Llama *llama = llama_load(temporary_folder, device, FLOAT32, &error);
    llama_free(llama);
    return llama ? "loaded" : error.message;
}

static void what_is_not_supported_is_refused_with_its_key(void **state) {
    (void)state;
    assert_int_equal(
        symlink(RECORDED_FOLDER "llama/gqa/model.safetensors", in_folder("model.safetensors")), 0);

    assert_string_equal(message_with("rope_scaling", "null"), "loaded");
    assert_string_equal(message_with("rope_scaling", "{\"rope_type\":\"default\"}"), "loaded");
    static const char *const bad[][3] = {
        {"rope_scaling", "{\"type\":\"longrope\",\"factor\":2.0}", "rope_scaling.type"},
        {"rope_scaling", "{\"rope_type\":\"linear\"}", "rope_scaling.factor"},
        {"rope_scaling", "{\"rope_type\":\"linear\",\"factor\":-1}", "rope_scaling.factor"},
        {"rope_parameters", "{\"rope_type\":\"llama3\",\"factor\":8.0,\"rope_theta\":1e4}",
         "rope_parameters.low_freq_factor"},
        {"rope_parameters",
         "{\"rope_type\":\"llama3\",\"factor\":8.0,\"low_freq_factor\":4.0,\"high_freq_factor\":1."
         "0}",
         "rope_parameters.high_freq_factor"},
        {"rope_parameters", "{\"rope_theta\":0.5}", "rope_theta"},
        {"rope_parameters", "{\"partial_rotary_factor\":0.5}",
         "rope_parameters.partial_rotary_factor"},
        {"partial_rotary_factor", "0.25", "partial_rotary_factor"},
        {"quantization_config", "{\"bits\":4}", "quantization_config"},
        {"hidden_act", "\"gelu\"", "hidden_act"},
        {"model_type", "\"gpt2\"", "model_type"},
        {"num_key_value_heads", "4", "num_key_value_heads"},
        {"hidden_size", "-5", "hidden_size"},
        {"hidden_size", "\"wide\"", "hidden_size"},
        {"num_hidden_layers", "1000000000000", "num_hidden_layers"},
        {"head_dim", "7", "head_dim"},
        {"rms_norm_eps", "-1", "rms_norm_eps"},
        {"attention_bias", "true", "bias"},
        {"num_hidden_layers", "4", "model.layers.3"},
        {"intermediate_size", "81", "gate_proj"},
        {"vocab_size", "100", "embed_tokens"},
        {"eos_token_id", "[2, -7]", "eos_token_id"},
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        const char *message = message_with(bad[i][0], bad[i][1]);
        if (!strstr(message, bad[i][2])) fail_msg("%s: %s gave: %s", bad[i][0], bad[i][1], message);
    }
}

/// Loads the same weights beside a generation_config.json; the ends are left in *config.
static const char *message_beside(const char *generation_config, LlamaConfig *config) {
    static Error error;
    write_text("generation_config.json", generation_config);
    error.message[0] = 0;
    Llama *llama = llama_load(temporary_folder, device, FLOAT32, &error);
    if (llama) *config = llama->config;
    llama_free(llama);
    return llama ? "loaded" : error.message;
}

static void what_ends_a_text_is_what_generation_config_says(void **state) {
    (void)state;
    LlamaConfig config;
    assert_int_equal(
        symlink(RECORDED_FOLDER "llama/gqa/model.safetensors", in_folder("model.safetensors")), 0);
    assert_string_equal(message_with("eos_token_id", "7"), "loaded");
    assert_string_equal(message_beside("{\"eos_token_id\": [5, 9, 11]}", &config), "loaded");
    assert_int_equal(config.num_eos, 3);
    assert_int_equal(config.eos_token_id[0], 5);
    assert_int_equal(config.eos_token_id[2], 11);
    static const char *const silent[] = {"{\"use_cache\": true}", "{\"eos_token_id\": null}"};
    for (size_t i = 0; i < sizeof silent / sizeof *silent; i++) {
        assert_string_equal(message_beside(silent[i], &config), "loaded");
        assert_int_equal(config.num_eos, 1);
        assert_int_equal(config.eos_token_id[0], 7);
    }
    static const char *const bad[][2] = {
        {"{", "generation_config.json:1"},
        {"{\"eos_token_id\": \"</s>\"}", "eos_token_id"},
        {"{\"eos_token_id\": [2, -1]}", "-1"},
        {"{\"eos_token_id\": [1,2,3,4,5,6,7,8,9]}", "eos_token_id"}};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        const char *message = message_beside(bad[i][0], &config);
        if (!strstr(message, bad[i][1]) || !strstr(message, "generation_config.json"))
            fail_msg("%s gave: %s", bad[i][0], message);
    }
}

static void nothing_is_left_in_memory(void **state) {
    (void)state;
    assert_int_equal(device->bytes_in_use, 0);
}

static int run_all(void) {
    device = case_device();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(logits_loss_and_gradient_equal_transformers),
        cmocka_unit_test(lora_equals_peft_in_names_values_and_gradients),
        cmocka_unit_test(recomputed_layers_give_the_same_gradients),
        cmocka_unit_test(dropout_depends_on_seed_and_pass_and_happens_only_in_training),
        cmocka_unit_test(an_unknown_target_module_names_the_nearest),
        cmocka_unit_test(a_lora_matrix_does_not_depend_on_which_others_there_are),
        cmocka_unit_test(captured_attention_equals_transformers),
        cmocka_unit_test(the_mean_over_chosen_layers_and_heads_is_that_of_the_parts),
        cmocka_unit_test(a_selection_of_layers_that_do_not_exist_is_refused),
        cmocka_unit_test(bfloat16_is_near_float32),
        cmocka_unit_test(eight_bit_layers_are_near_float32),
        IN_FOLDER(what_is_not_supported_is_refused_with_its_key),
        IN_FOLDER(what_ends_a_text_is_what_generation_config_says),
        cmocka_unit_test(nothing_is_left_in_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

int main(void) { return case_run_devices(run_all); }
