// rooms: models ops checkpoints autograd
/// The language model against transformers and PEFT (tests/parity/record_language.py), and what it promises by itself.
#include "recorded_language.h"

#include "models/llama_generate.h"
#include "models/lora.h"
#include "ops/kernels.h"
#include "tests/unit/temporary_folder.h"

#include <jansson.h>
#include <sys/stat.h>
#include <unistd.h>

static Device *device;

/// A recorded Llama and what was recorded of it.
typedef struct Recorded {
    Llama *llama;
    SafetensorsFile *file;
    int lengths[3];
    double tolerance;
} Recorded;

static const char *const cases[] = {"gqa", "odd", "sharded"};
enum { NUM_CASES = 3, NUM_SEQUENCES = 3 };

static Recorded recorded_begin(const char *name) {
    Recorded recorded = {0};
    Error error;
    char path[512];
    snprintf(path, sizeof path, RECORDED_FOLDER "llama/%s", name);
    recorded.llama = llama_load(path, device, FLOAT32, &error);
    if (!recorded.llama) fail_msg("%s", error.message);
    snprintf(path, sizeof path, RECORDED_FOLDER "llama/%s.safetensors", name);
    recorded.file = recorded_open(path);
    int *lengths = recorded_ints(recorded_find(recorded.file, "lengths"));
    memcpy(recorded.lengths, lengths, sizeof recorded.lengths);
    free(lengths);
    // Ten operations a layer (two norms, seven products, attention), and the same again in backward.
    const LlamaConfig *config = &recorded.llama->config;
    recorded.tolerance =
        float32_tolerance(config->intermediate_size, 20.0 * config->num_hidden_layers + 2);
    scope_begin();
    return recorded;
}

static void recorded_end(Recorded *recorded) {
    scope_end();
    llama_free(recorded->llama);
    safetensors_close(recorded->file);
}

static Tensor *positions_of(const int *lengths, int count) {
    int32_t positions[256];
    int total = 0;
    for (int s = 0; s < count; s++)
        for (int i = 0; i < lengths[s]; i++) positions[total++] = i;
    return tensor_from_host(device, INT32, SHAPE(total), positions);
}

static Tensor *recorded_embeddings(const Recorded *recorded) {
    Tensor *embeddings = recorded_tensor(recorded_find(recorded->file, "embeddings"), device);
    require_grad(embeddings);
    return embeddings;
}

static Tensor *forward(const Recorded *recorded, Tensor *embeddings, const LlamaOptions *options) {
    return llama_forward(
        recorded->llama, embeddings, positions_of(recorded->lengths, NUM_SEQUENCES),
        llama_attention(recorded->llama, NUM_SEQUENCES, recorded->lengths), options);
}

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
    backward(loss, NULL);
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
    backward(loss_of(recorded, forward(recorded, embeddings, &options)), NULL);
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
    assert_memory_equal(a->data, b->data, 3 * 80 * sizeof(float));
    double sum_squares = 0.0, bound = 1.0 / sqrt(80.0);
    for (int i = 0; i < 240; i++) {
        float x = ((float *)a->data)[i];
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

/// The recorded rows: 4 and 10 of the first sequence, 7 and 22 of the third, which begins at row 12.
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
        const SafetensorsEntry *entry = recorded_find(recorded.file, "attention");
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
    AttentionSelection selection = {layers, 2, heads, 3, false};
    AttentionMaps parts = capture_recorded(&recorded, &selection);
    AttentionMaps all = capture_recorded(&recorded, &(AttentionSelection){0});
    selection.mean = true;
    AttentionMaps mean_maps = capture_recorded(&recorded, &selection);
    assert_int_equal(parts.layers, 2);
    assert_int_equal(parts.heads, 3);
    assert_int_equal(mean_maps.layers * mean_maps.heads, 1);
    for (int row = 0; row < 4; row++)
        for (int key = 0; key < 5; key++) {
            double sum = 0.0;
            for (int l = 0; l < 2; l++)
                for (int h = 0; h < 3; h++) {
                    float part = attention_maps_row(&parts, row)[(l * 3 + h) * 5 + key];
                    assert_true(part == attention_maps_row(
                                            &all, row)[(layers[l] * 6 + heads[h]) * 5 + key]);
                    sum += part;
                }
            assert_true(fabs(attention_maps_row(&mean_maps, row)[key] - sum / 6.0) < 1e-6);
        }
    attention_maps_free(&parts);
    attention_maps_free(&all);
    attention_maps_free(&mean_maps);
    recorded_end(&recorded);
}

static void a_selection_of_layers_that_do_not_exist_is_refused(void **state) {
    (void)state;
    Error error;
    const int good[] = {0, 2}, outside[] = {1, 3}, twice[] = {1, 1};
    assert_true(
        attention_selection_check(&(AttentionSelection){good, 2, NULL, 0, true}, 3, 4, &error));
    assert_false(
        attention_selection_check(&(AttentionSelection){outside, 2, NULL, 0, true}, 3, 4, &error));
    assert_non_null(strstr(error.message, "layers"));
    assert_false(
        attention_selection_check(&(AttentionSelection){NULL, 0, twice, 2, true}, 3, 4, &error));
    assert_non_null(strstr(error.message, "heads"));
}

// ---- generation

static void set_prompts(const Recorded *recorded, GenerationPrompt prompts[3]) {
    int *lengths = recorded_ints(recorded_find(recorded->file, "prompts"));
    for (int i = 0; i < 3; i++)
        prompts[i] = (GenerationPrompt){
            .length = lengths[i], .index = (uint64_t)i, .first_key = 1, .num_keys = i == 1 ? 0 : 4};
    free(lengths);
}

/// The prompts' embeddings are the first rows of the recorded ones.
static Tensor *prompt_embeddings(const Recorded *recorded, const GenerationPrompt prompts[3]) {
    const SafetensorsEntry *entry = recorded_find(recorded->file, "embeddings");
    float *values = recorded_floats(entry);
    int rows = prompts[0].length + prompts[1].length + prompts[2].length;
    Tensor *x = tensor_from_host(device, FLOAT32, SHAPE(rows, entry->shape[1]), values);
    free(values);
    return x;
}

static void greedy_continuations_of_a_batch_equal_transformers(void **state) {
    (void)state;
    for (int i = 0; i < NUM_CASES; i++) {
        Recorded recorded = recorded_begin(cases[i]);
        GenerationPrompt prompts[3];
        Generation generations[3];
        set_prompts(&recorded, prompts);
        llama_generate(recorded.llama, NULL, prompt_embeddings(&recorded, prompts), 3, prompts,
                       &(GenerationOptions){.max_new_tokens = 24}, generations);
        for (int s = 0; s < 3; s++) {
            const SafetensorsEntry *entry = recorded_find(recorded.file, "greedy.%d", s);
            int *expected = recorded_ints(entry);
            bool ended = expected[entry->numel - 1] == 2;
            assert_int_equal(generations[s].ended, ended);
            assert_int_equal(generations[s].count, entry->numel - ended);
            assert_memory_equal(generations[s].tokens, expected,
                                (size_t)generations[s].count * sizeof(int));
            free(expected);
            generation_free(&generations[s]);
        }
        recorded_end(&recorded);
    }
}

/// Runs prompt and continuation of one sequence in a single pass and captures the producing rows.
static AttentionMaps teacher_forced(const Recorded *recorded, Tensor *embeddings, int first_row,
                                    const GenerationPrompt *prompt, const Generation *generation,
                                    const AttentionSelection *selection) {
    int32_t index[256];
    int count = 0, total = prompt->length + generation->count;
    for (int i = 0; i < prompt->length; i++) index[count++] = first_row + i;
    for (int i = 0; i < generation->count; i++) index[count++] = -1 - i;
    Tensor *x =
        merge_rows(embeddings, llama_embed(recorded->llama, generation->tokens, generation->count),
                   tensor_from_host(device, INT32, SHAPE(total), index));
    const LlamaConfig *config = &recorded->llama->config;
    AttentionMaps maps = attention_maps_new(selection, config->num_hidden_layers,
                                            config->num_attention_heads, prompt->num_keys);
    CaptureRow rows[64];
    for (int i = 0; i < generation->count; i++)
        rows[i] = (CaptureRow){prompt->length - 1 + i, prompt->first_key, &maps,
                               attention_maps_add_row(&maps)};
    LlamaCapture capture = {selection, generation->count, rows};
    llama_forward(recorded->llama, x, positions_of(&total, 1),
                  llama_attention(recorded->llama, 1, &total),
                  &(LlamaOptions){.capture = &capture});
    return maps;
}

static void attention_while_generating_is_that_of_the_finished_text(void **state) {
    (void)state;
    for (int i = 0; i < NUM_CASES; i++) {
        Recorded recorded = recorded_begin(cases[i]);
        AttentionSelection selection = {0};
        GenerationPrompt prompts[3];
        Generation generations[3];
        set_prompts(&recorded, prompts);
        Tensor *embeddings = prompt_embeddings(&recorded, prompts);
        llama_generate(recorded.llama, NULL, embeddings, 3, prompts,
                       &(GenerationOptions){.max_new_tokens = 9, .attention = &selection},
                       generations);
        int first_row = 0;
        for (int s = 0; s < 3; first_row += prompts[s++].length) {
            const AttentionMaps *got = &generations[s].attention;
            if (prompts[s].num_keys > 0) {
                AttentionMaps expected = teacher_forced(&recorded, embeddings, first_row,
                                                        &prompts[s], &generations[s], &selection);
                assert_int_equal(got->rows, generations[s].count);
                assert_floats_near("attention", got->values, expected.values,
                                   (int64_t)got->rows * got->layers * got->heads * got->keys,
                                   recorded.tolerance);
                attention_maps_free(&expected);
            } else {
                assert_int_equal(got->rows, 0);
            }
            generation_free(&generations[s]);
        }
        recorded_end(&recorded);
    }
}

static void tokens_are_drawn_as_often_as_they_are_probable(void **state) {
    (void)state;
    enum { DRAWS = 20000 };
    const float logits[] = {logf(0.1f), logf(0.6f), logf(0.05f), logf(0.25f)};
    GenerationOptions options = {.temperature = 1.0, .top_p = 1.0, .seed = 4};
    int counts[4] = {0};
    for (int i = 0; i < DRAWS; i++) counts[choose_token(logits, 4, &options, 7, i)]++;
    const double expected[] = {0.1, 0.6, 0.05, 0.25};
    for (int i = 0; i < 4; i++) // five standard deviations
        assert_true(fabs(counts[i] / (double)DRAWS - expected[i]) <
                    5.0 * sqrt(expected[i] * (1.0 - expected[i]) / DRAWS));
    options.top_p = 0.8; // 0.6 and 0.25
    memset(counts, 0, sizeof counts);
    for (int i = 0; i < DRAWS; i++) counts[choose_token(logits, 4, &options, 7, i)]++;
    assert_int_equal(counts[0] + counts[2], 0);
    assert_true(fabs(counts[1] / (double)DRAWS - 0.6 / 0.85) < 5.0 * sqrt(0.25 / DRAWS));
    options.temperature = 0.0;
    assert_int_equal(choose_token(logits, 4, &options, 7, 0), 1);
}

static void sampling_repeats_with_its_seed_whatever_else_is_in_the_batch(void **state) {
    (void)state;
    Recorded recorded = recorded_begin("gqa");
    GenerationPrompt prompts[3];
    Generation together[3], alone, other;
    set_prompts(&recorded, prompts);
    Tensor *embeddings = prompt_embeddings(&recorded, prompts);
    GenerationOptions options = {.max_new_tokens = 12, .temperature = 1.0, .top_p = 0.9, .seed = 5};
    llama_generate(recorded.llama, NULL, embeddings, 3, prompts, &options, together);
    int32_t rows[] = {0, 1, 2, 3, 4, 5, 6};
    Tensor *first = gather_rows(embeddings, tensor_from_host(device, INT32, SHAPE(7), rows));
    llama_generate(recorded.llama, NULL, first, 1, prompts, &options, &alone);
    assert_int_equal(alone.count, together[0].count);
    assert_memory_equal(alone.tokens, together[0].tokens, (size_t)alone.count * sizeof(int32_t));
    options.seed = 6;
    llama_generate(recorded.llama, NULL, first, 1, prompts, &options, &other);
    assert_true(other.count != alone.count ||
                memcmp(other.tokens, alone.tokens, (size_t)alone.count * sizeof(int32_t)) != 0);
    for (int s = 0; s < 3; s++) generation_free(&together[s]);
    generation_free(&alone);
    generation_free(&other);
    recorded_end(&recorded);
}

// ---- types, configurations, published weights

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

/// Loads the "gqa" weights with one key of their configuration changed (JSON text), and returns the message.
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
        {"rope_scaling", "{\"type\":\"linear\",\"factor\":2.0}", "rope_scaling.type"},
        {"rope_parameters", "{\"rope_type\":\"llama3\",\"rope_theta\":1e4}",
         "rope_parameters.rope_type"},
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

/// The folder of published material, or NULL.
static const char *shared_data(void) {
    const char *path = getenv("DIFFLMM_SHARED_DATA");
    if (!path) path = SOURCE_DIR "/../shared/data";
    struct stat found;
    return stat(path, &found) == 0 ? path : NULL;
}

static void a_published_model_tells_the_story_it_is_known_to_tell(void **state) {
    (void)state;
    char path[512];
    struct stat found;
    snprintf(path, sizeof path, "%s/public/llm/stories260K-hf", shared_data() ? shared_data() : "");
    if (stat(path, &found) != 0) {
        print_message("skipped: %s is not there\n", path);
        skip();
    }
    Error error;
    Llama *llama = llama_load(path, device, FLOAT32, &error);
    if (!llama) fail_msg("%s", error.message);
    strncat(path, "/golden.json", sizeof path - strlen(path) - 1);
    json_t *golden = json_load_file(path, 0, NULL);
    json_t *ids = json_object_get(golden, "greedy_ids_after_bos");
    json_t *expected_logits = json_object_get(golden, "first_step_logits_float64");
    assert_int_equal(json_array_size(ids), 200);

    scope_begin();
    Tensor *bos = llama_embed(llama, &(int32_t){1}, 1);
    Tensor *hidden = llama_forward(llama, bos, positions_of(&(int){1}, 1),
                                   llama_attention(llama, 1, &(int){1}), &(LlamaOptions){0});
    float logits[512], expected[512];
    tensor_to_host_float(llama_logits(llama, hidden, NULL), logits);
    for (size_t i = 0; i < 512; i++)
        expected[i] = (float)json_real_value(json_array_get(expected_logits, i));
    assert_floats_near("logits", logits, expected, 512, float32_tolerance(172, 10.0 * 5 + 2));

    Generation generation;
    llama_generate(llama, NULL, bos, 1, &(GenerationPrompt){.length = 1},
                   &(GenerationOptions){.max_new_tokens = 200}, &generation);
    assert_int_equal(generation.count, 200);
    for (int i = 0; i < 200; i++)
        assert_int_equal(generation.tokens[i], json_integer_value(json_array_get(ids, i)));
    generation_free(&generation);
    scope_end();
    json_decref(golden);
    llama_free(llama);
}

static void nothing_is_left_in_memory(void **state) {
    (void)state;
    assert_int_equal(device->bytes_in_use, 0);
}

int main(void) {
    device = ops_cpu_open(0);
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
        cmocka_unit_test(greedy_continuations_of_a_batch_equal_transformers),
        cmocka_unit_test(attention_while_generating_is_that_of_the_finished_text),
        cmocka_unit_test(tokens_are_drawn_as_often_as_they_are_probable),
        cmocka_unit_test(sampling_repeats_with_its_seed_whatever_else_is_in_the_batch),
        cmocka_unit_test(bfloat16_is_near_float32),
        IN_FOLDER(what_is_not_supported_is_refused_with_its_key),
        cmocka_unit_test(a_published_model_tells_the_story_it_is_known_to_tell),
        cmocka_unit_test(nothing_is_left_in_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
