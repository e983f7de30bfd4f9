/// Adapters in every published form, both ways; PEFT's configuration; and what is said about files
/// that do not fit. Recorded by tests/parity/record_adapters.py.
#include "tests/unit/recorded_adapters.h"

#include "autograd/output/output_directory.h"
#include "checkpoints/published_adapters.h"
#include "checkpoints/torch/torch_archive_write.h"
#include "train/saved/export.h"
#include "train/saved/peft_config.h"
#include "train/saved/trained_weights.h"

#include <jansson.h>

typedef struct Model {
    ParameterSet parameters;
    Adapters adapters;
} Model;

static Model model_new(AdapterOptions options) {
    Model model = {0};
    model.adapters = adapters_new(&options, &model.parameters, device);
    return model;
}

static void expect_same_values(const ParameterSet *a, const ParameterSet *b) {
    assert_int_equal(a->count, b->count);
    for (int i = 0; i < a->count; i++) {
        const Parameter *other = parameters_find(b, a->items[i].name);
        assert_non_null(other);
        assert_true(same_shape(a->items[i].value, other->value));
        assert_memory_equal(a->items[i].value->data, other->value->data,
                            (size_t)tensor_numel(other->value) * sizeof(float));
    }
}

static void load(const char *path, ParameterSet *parameters, bool with_lora) {
    Error error = {0};
    PublishedAdapters *published = published_adapters_open(path, &error);
    if (!published || !published_adapters_load(published, parameters, with_lora, &error))
        fail_msg("%s", error.message);
    published_adapters_close(published);
}

// ---- adapters

static void exported_adapters_come_back_to_the_bit(void **state) {
    (void)state;
    Error error = {0};
    for (int lora = 0; lora < 2; lora++)
        for (int format = 0; format < 2; format++) {
            make_temporary_folder(NULL);
            AdapterOptions other = recorded_sizes;
            other.seed = 4;
            Model from = model_new(recorded_sizes), to = model_new(other);
            if (lora) add_lora(&from.parameters, 2, 8, 12);
            if (lora) add_lora(&to.parameters, 2, 8, 12);
            if (lora) initialize_constant(to.parameters.items[to.parameters.count - 1].value, 9);
            assert_true(published_adapters_write(temporary_folder, &from.parameters, true,
                                                 (PublishedFormat)format, &error));
            const char *stem = lora ? "non_lora_trainables" : "mm_projector";
            char name[64];
            snprintf(name, sizeof name, "%s.%s", stem, format ? "safetensors" : "bin");
            assert_int_equal(access(in_folder(name), F_OK), 0);
            if (lora) write_text("adapter_config.json", "{}");
            assert_true(published_adapters_at(temporary_folder));
            load(temporary_folder, &to.parameters, lora);
            expect_same_values(&from.parameters, &to.parameters);
            parameters_free(&from.parameters);
            parameters_free(&to.parameters);
            remove_temporary_folder(NULL);
        }
}

static void llavas_projector_comes_back_to_the_bit(void **state) {
    (void)state;
    Error error = {0};
    AdapterOptions options = {
        .kind = ADAPTERS_LLAVA, .num_tokens = 4, .clip_width = 6, .llm_width = 8, .seed = 1};
    Model from = model_new(options);
    options.seed = 2;
    Model to = model_new(options);
    assert_true(
        published_adapters_write(temporary_folder, &from.parameters, true, PUBLISHED_BIN, &error));
    load(in_folder("mm_projector.bin"), &to.parameters, false);
    expect_same_values(&from.parameters, &to.parameters);
    parameters_free(&from.parameters);
    parameters_free(&to.parameters);
}

static void pytorchs_projector_computes_here_what_it_computes_there(void **state) {
    (void)state;
    static const char outputs[] = "adapters/stage1/outputs";
    Model model = model_new(recorded_sizes);
    load(ADAPTERS "stage1/mm_projector.bin", &model.parameters, false);
    scope_begin();
    Error error = {0};
    SafetensorsFile *file =
        safetensors_open(recorded_path("adapters/stage1/outputs.safetensors"), &error);
    if (!file) fail_msg("%s", error.message);
    Tensor *x[4];
    static const char *const names[] = {"clip", "unet", "context", "visual_tokens"};
    for (int i = 0; i < 4; i++) {
        const StoredTensor *stored = safetensors_find(file, names[i]);
        assert_non_null(stored);
        x[i] = tensor_from_host(device, FLOAT32, stored->rank, stored->shape, stored->data);
    }
    safetensors_close(file);
    // Some ten sums of at most eight products each follow one another.
    double bound = recorded_bound(FLOAT32, 10, 8);
    recorded_expect(outputs, names[2], adapters_context(&model.adapters, x[0]), x[2], bound);
    recorded_expect(outputs, names[3], adapters_project(&model.adapters, x[0], x[1]), x[3], bound);
    scope_end();
    parameters_free(&model.parameters);
}

static void a_model_without_captioner_passes_over_the_published_one(void **state) {
    (void)state;
    AdapterOptions options = recorded_sizes;
    options.implicit_captioner = false;
    Model model = model_new(options);
    load(ADAPTERS "stage1/mm_projector.bin", &model.parameters, false);
    parameters_free(&model.parameters);
}

static void a_pytorch_and_peft_folder_is_read_whole(void **state) {
    (void)state;
    Error error = {0};
    LoraOptions options = {0};
    Model model = model_new(recorded_sizes);
    add_lora(&model.parameters, 2, 8, 12);
    load(ADAPTERS "stage2", &model.parameters, true);
    assert_true(peft_config_read(ADAPTERS "stage2/adapter_config.json", 2, &options, &error));
    assert_int_equal(options.r, 2);
    assert_true(options.modules[Q_PROJ] && options.modules[DOWN_PROJ] && !options.modules[V_PROJ]);
    assert_true(fabsf(lora_scale(&options) - 6.0f / sqrtf(2.0f)) < 1e-6f);
    TorchArchive *lora = open_archive(ADAPTERS "stage2/adapter_model.bin");
    static const char name[] = "base_model.model.model.layers.1.mlp.down_proj.lora_B.weight";
    assert_memory_equal(torch_archive_find(lora, name)->data,
                        parameters_find(&model.parameters, name)->value->data, 8 * 2 * 4);
    torch_archive_close(lora);
    parameters_free(&model.parameters);
}

// ---- what does not fit

typedef struct Misfit {
    /// of a tensor of the file that is changed; NULL: one is added
    const char *name;
    const char *new_name;
    ElementType type;
    /// of the tensor; 0: as it is
    int first_size;
    /// parts of the message
    const char *says[3];
} Misfit;

static const Misfit misfits[] = {
    {"model.mm_projector.vt_pe", NULL, ELEMENT_F32, 0, {"missing: 'mm_projector.vt_pe'"}},
    {NULL, "model.embed_tokens.weight", ELEMENT_F32, 0, {"'model.embed_tokens.weight'"}},
    {NULL,
     "mm_projector.vt_pe",
     ELEMENT_F32,
     0,
     {"two tensors of one name", "'model.mm_projector.vt_pe'", "'mm_projector.vt_pe'"}},
    {"model.mm_projector.clip_pe",
     "model.mm_projector.clip_pe",
     ELEMENT_F32,
     3,
     {"another shape", "'model.mm_projector.clip_pe' is [3, 5], expected [4, 5]"}},
    {"model.mm_projector.clip_pe",
     "model.mm_projector.clip_pe",
     ELEMENT_I32,
     0,
     {"no floating-point number", "'model.mm_projector.clip_pe' is I32"}},
    {"model.mm_projector.linear.0.bias",
     "model.mm_projector.linear.0.bais",
     ELEMENT_F32,
     0,
     {"missing: 'mm_projector.linear.0.bias'", "'model.mm_projector.linear.0.bais'"}},
};

/// Writes the model's adapters, one tensor changed.
static void write_misfit(const char *path, const ParameterSet *parameters, const Misfit *misfit) {
    SafetensorsTensor tensors[32];
    char names[32][96];
    int64_t shapes[32][MAX_RANK];
    int count = 0;
    Error error = {0};
    for (int i = 0; i < parameters->count; i++) {
        const Tensor *x = parameters->items[i].value;
        snprintf(names[count], sizeof names[count], "model.%s", parameters->items[i].name);
        memcpy(shapes[count], x->shape, sizeof shapes[count]);
        tensors[count] =
            (SafetensorsTensor){names[count], ELEMENT_F32, x->rank, shapes[count], x->data};
        bool changed = misfit->name && !strcmp(misfit->name, names[count]);
        if (changed && !misfit->new_name) continue;
        if (changed) {
            tensors[count].name = misfit->new_name;
            tensors[count].type = misfit->type;
            if (misfit->first_size) shapes[count][0] = misfit->first_size;
        }
        count++;
    }
    if (!misfit->name) {
        tensors[count] = tensors[0];
        tensors[count++].name = misfit->new_name;
    }
    bool bin = strstr(path, ".bin") != NULL;
    assert_true(bin ? torch_archive_write(path, tensors, count, &error)
                    : safetensors_write(path, tensors, count, NULL, 0, &error));
}

static void what_does_not_fit_is_listed_by_name(void **state) {
    (void)state;
    Model model = model_new(recorded_sizes);
    for (size_t i = 0; i < sizeof misfits / sizeof *misfits; i++)
        for (int format = 0; format < 2; format++) {
            const char *path = in_folder(format ? "misfit.safetensors" : "misfit.bin");
            write_misfit(path, &model.parameters, &misfits[i]);
            Error error = {0};
            PublishedAdapters *published = published_adapters_open(path, &error);
            assert_false(published &&
                         published_adapters_load(published, &model.parameters, false, &error));
            expect_message(&error, path, misfits[i].says);
            published_adapters_close(published);
        }
    parameters_free(&model.parameters);
}

static void files_cut_off_and_folders_of_half_are_refused(void **state) {
    (void)state;
    Error error = {0};
    size_t size;
    char *bytes = read_file(ADAPTERS "stage1/mm_projector.bin", &size);
    for (size_t cut = 0; cut < size; cut += 97) {
        const char *path = in_folder("cut.bin");
        FILE *file = fopen(path, "wb");
        assert_int_equal(fwrite(bytes, 1, cut, file), cut);
        fclose(file);
        assert_null(published_adapters_open(path, &error));
        assert_non_null(strstr(error.message, path));
        unlink(path);
    }
    free(bytes);
    assert_null(published_adapters_open(in_folder("none.bin"), &error));
    expect_message(&error, "none.bin", (const char *const[3]){NULL});
    write_text("adapter_model.bin", "");
    assert_null(published_adapters_open(temporary_folder, &error));
    expect_message(&error, temporary_folder,
                   (const char *const[3]){"mm_projector", "non_lora_trainables"});
    write_text("mm_projector.bin", "");
    assert_null(published_adapters_open(temporary_folder, &error));
    expect_message(&error, temporary_folder,
                   (const char *const[3]){"adapter_config.json is missing"});
}

static void an_error_lists_as_many_names_as_it_can_and_counts_the_rest(void **state) {
    (void)state;
    Error error = {0};
    Model model = model_new(recorded_sizes);
    add_lora(&model.parameters, 30, 8, 12);
    PublishedAdapters *published = published_adapters_open(ADAPTERS "stage2", &error);
    assert_false(published_adapters_load(published, &model.parameters, true, &error));
    expect_message(&error, "stage2",
                   (const char *const[3]){"layers.2.self_attn.q_proj.lora_A.weight", " more"});
    published_adapters_close(published);
    parameters_free(&model.parameters);
}

// ---- PEFT's configuration

typedef struct PeftCase {
    /// beside peft_type, r and lora_alpha
    const char *json;
    /// short names of the targets; NULL: refused
    const char *modules;
    const char *says[3];
} PeftCase;

static const PeftCase peft_cases[] = {
    {"'target_modules': ['q_proj', 'v_proj']", "q_proj v_proj", {0}},
    {"'target_modules': ['self_attn.o_proj', 'mlp.up_proj']", "o_proj up_proj", {0}},
    {"'target_modules': 'all-linear'",
     "q_proj k_proj v_proj o_proj gate_proj up_proj down_proj",
     {0}},
    {"'target_modules': '.*_proj', 'bias': 'none', 'lora_bias': false, 'rank_pattern': {}",
     "q_proj k_proj v_proj o_proj gate_proj up_proj down_proj",
     {0}},
    {"'target_modules': 'model\\\\.layers\\\\.\\\\d+\\\\.mlp\\\\.(gate|up)_proj'",
     "gate_proj up_proj",
     {0}},
    {"'target_modules': '^(?!.*mlp).*_proj'", "q_proj k_proj v_proj o_proj", {0}},
    // A regular expression must fit the whole path, a name its end after a dot.
    {"'target_modules': 'q_proj'", NULL, {"target_modules", "q_proj"}},
    {"'target_modules': ['_proj']", NULL, {"target_modules"}},
    {"'target_modules': ['model.layers.0.mlp.up_proj']",
     NULL,
     {"target_modules", "layers.1.mlp.up_proj"}},
    {"'target_modules': 'model.layers.[01].*q_proj'", NULL, {"target_modules", "layers.2"}},
    {"'target_modules': ['q_proj', 'lm_head']", NULL, {"target_modules", "lm_head"}},
    {"'target_modules': '('", NULL, {"target_modules", "regular expression"}},
    {"'target_modules': '(a*)*b(((.*)*)*)*c'", NULL, {"target_modules"}},
    {"'target_modules': []", NULL, {"target_modules"}},
    {"'target_modules': [1]", NULL, {"target_modules"}},
    {"'target_modules': null", NULL, {"target_modules"}},
    {"'use_dora': true, 'target_modules': 'all-linear'", NULL, {"'use_dora'"}},
    {"'use_something_new': true, 'target_modules': 'all-linear'", NULL, {"'use_something_new'"}},
    {"'some_new_config': {'a': 1}, 'target_modules': 'all-linear'", NULL, {"'some_new_config'"}},
    {"'rank_pattern': {'q_proj': 4}, 'target_modules': 'all-linear'", NULL, {"'rank_pattern'"}},
    {"'alpha_pattern': {'q_proj': 4}, 'target_modules': 'all-linear'", NULL, {"'alpha_pattern'"}},
    {"'layers_to_transform': [0], 'target_modules': 'all-linear'", NULL, {"'layers_to_transform'"}},
    {"'modules_to_save': ['lm_head'], 'target_modules': 'all-linear'", NULL, {"'modules_to_save'"}},
    {"'bias': 'all', 'target_modules': 'all-linear'", NULL, {"'bias'", "none"}},
    {"'init_lora_weights': 'pissa', 'target_modules': 'all-linear'", NULL, {"'init_lora_weights'"}},
    {"'use_rslora': 1, 'target_modules': 'all-linear'", NULL, {"'use_rslora'"}},
    {"'lora_dropout': 1, 'target_modules': 'all-linear'", NULL, {"'lora_dropout'"}},
    {"'lora_dropout': 0.9999999999, 'target_modules': 'all-linear'", NULL, {"'lora_dropout'"}},
};

/// JSON with its quotes, which C would have to escape.
static const char *quoted(const char *text) {
    static char out[512];
    snprintf(out, sizeof out, "%s", text);
    for (char *c = out; *c; c++)
        if (*c == '\'') *c = '"';
    return out;
}

static void write_peft(const char *rest) {
    char text[768];
    snprintf(text, sizeof text, "{\"peft_type\": \"LORA\", \"r\": 4, \"lora_alpha\": 6, %s}",
             quoted(rest));
    write_text("adapter_config.json", text);
}

static void pefts_configuration_is_understood_or_refused_by_key(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof peft_cases / sizeof *peft_cases; i++) {
        const PeftCase *peft = &peft_cases[i];
        Error error = {0};
        LoraOptions options = {0};
        write_peft(peft->json);
        bool read = peft_config_read(in_folder("adapter_config.json"), 3, &options, &error);
        if (!peft->modules) {
            if (read) fail_msg("%s is accepted", peft->json);
            expect_message(&error, "adapter_config.json", peft->says);
            continue;
        }
        if (!read) fail_msg("%s: %s", peft->json, error.message);
        char modules[128] = "";
        for (int m = 0; m < LLAMA_MODULE_COUNT; m++)
            if (options.modules[m])
                snprintf(modules + strlen(modules), sizeof modules - strlen(modules), "%s%s",
                         *modules ? " " : "", strchr(llama_module_name((LlamaModule)m), '.') + 1);
        assert_string_equal(modules, peft->modules);
        assert_true(options.r == 4 && lora_scale(&options) == 1.5f);
    }
}

static void a_scale_that_is_no_float_is_refused(void **state) {
    (void)state;
    const char *const alphas[] = {"1e300", "1e-300", "0"};
    for (size_t i = 0; i < sizeof alphas / sizeof *alphas; i++) {
        char text[160];
        Error error = {0};
        LoraOptions options = {0};
        snprintf(text, sizeof text,
                 "{\"peft_type\": \"LORA\", \"r\": 4, \"lora_alpha\": %s, \"target_modules\": "
                 "\"all-linear\"}",
                 alphas[i]);
        write_text("adapter_config.json", text);
        assert_false(peft_config_read(in_folder("adapter_config.json"), 3, &options, &error));
        assert_non_null(strstr(error.message, "'lora_alpha'"));
    }
}

static void a_written_peft_configuration_is_read_back(void **state) {
    (void)state;
    Error error = {0};
    LoraOptions options = {.r = 8, .alpha = 2.5f, .dropout = 0.05f, .use_rslora = true}, read = {0};
    options.modules[K_PROJ] = options.modules[GATE_PROJ] = true;
    const char *path = in_folder("adapter_config.json");
    assert_true(peft_config_write(path, &options, "vicuna", &error));
    assert_true(peft_config_read(path, 5, &read, &error));
    assert_memory_equal(&options, &read, sizeof read);
    json_t *root = json_load_file(path, 0, NULL);
    assert_true(json_number_value(json_object_get(root, "lora_dropout")) == 0.05);
    assert_string_equal(json_string_value(json_object_get(root, "base_model_name_or_path")),
                        "vicuna");
    json_decref(root);
}

// ---- LoRA of a model and LoRA of a file

static void stored_lora_must_be_the_models(void **state) {
    (void)state;
    Error error = {0};
    Model model = model_new(recorded_sizes);
    add_lora(&model.parameters, 2, 8, 12);
    LlamaLora lora = {.options = {.r = 2, .alpha = 6, .use_rslora = true}, .num_layers = 2};
    lora.options.modules[Q_PROJ] = lora.options.modules[DOWN_PROJ] = true;
    assert_true(trained_weights_load(ADAPTERS "stage2", &model.parameters, &lora, true, &error));
    const LoraOptions right = lora.options;
    const char *const keys[] = {"lora_r", "lora_alpha", "use_rslora", "target_modules"};
    for (int i = 0; i < 4; i++) {
        lora.options = right;
        if (i == 0) lora.options.r = 4;
        if (i == 1) lora.options.alpha = 4;
        if (i == 2) lora.options.use_rslora = false;
        if (i == 3) lora.options.modules[V_PROJ] = true;
        assert_false(
            trained_weights_load(ADAPTERS "stage2", &model.parameters, &lora, true, &error));
        expect_message(&error, "adapter_config.json", (const char *const[3]){keys[i]});
    }
    lora.options = right;
    assert_false(trained_weights_load(ADAPTERS "stage1/mm_projector.bin", &model.parameters, &lora,
                                      true, &error));
    expect_message(&error, "mm_projector.bin", (const char *const[3]){"no LoRA adapter"});
    assert_true(trained_weights_load(ADAPTERS "stage1/mm_projector.bin", &model.parameters, &lora,
                                     false, &error));
    parameters_free(&model.parameters);
}

static void a_model_given_by_its_weights_takes_what_the_configuration_leaves_open(void **state) {
    (void)state;
    Error error = {0};
    char llm[1024];
    snprintf(llm, sizeof llm, "model.llm=%s", recorded_path("llama/gqa"));
    const char *overrides[] = {llm, "eval.checkpoint=" ADAPTERS "stage2", "lora.lora_alpha=7",
                               "lora.lora_enable=false"};
    Config *config = config_load(NULL, overrides, 3, &error);
    assert_true(trained_weights_settle(config, &error));
    assert_true(config->lora.lora_enable && config->lora.lora_r == 2 && config->lora.use_rslora);
    assert_true(config->lora.lora_alpha == 7);
    assert_int_equal(config->lora.target_modules.count, 2);
    assert_string_equal(config->lora.target_modules.values[1], "down_proj");
    config_free(config);
    config = config_load(NULL, overrides, 4, &error);
    assert_true(trained_weights_settle(config, &error));
    assert_false(config->lora.lora_enable);
    config_free(config);
}

// ---- folders

static void a_folder_appears_whole_or_not_at_all(void **state) {
    (void)state;
    Error error = {0};
    OutputDirectory *directory = output_directory_create(in_folder("out/"), &error);
    assert_non_null(directory);
    char path[512];
    snprintf(path, sizeof path, "%s/file", output_directory_temporary_path(directory));
    FILE *file = fopen(path, "w");
    assert_int_equal(fclose(file), 0);
    assert_int_equal(access(in_folder("out"), F_OK), -1);
    assert_true(output_directory_commit(directory, &error));
    assert_int_equal(access(in_folder("out/file"), F_OK), 0);
    assert_null(output_directory_create(in_folder("out"), &error));
    expect_message(&error, "/out", (const char *const[3]){"exists already"});

    // Somebody else was faster, or nothing comes of it: nothing is left.
    directory = output_directory_create(in_folder("second"), &error);
    assert_int_equal(mkdir(in_folder("second"), 0777), 0);
    assert_false(output_directory_commit(directory, &error));
    directory = output_directory_create(in_folder("third"), &error);
    output_directory_abandon(directory);
    assert_int_equal(files_in_folder(), 2);
    assert_null(output_directory_create(in_folder("none/out"), &error));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(exported_adapters_come_back_to_the_bit),
        IN_FOLDER(llavas_projector_comes_back_to_the_bit),
        cmocka_unit_test(pytorchs_projector_computes_here_what_it_computes_there),
        cmocka_unit_test(a_model_without_captioner_passes_over_the_published_one),
        cmocka_unit_test(a_pytorch_and_peft_folder_is_read_whole),
        IN_FOLDER(what_does_not_fit_is_listed_by_name),
        IN_FOLDER(files_cut_off_and_folders_of_half_are_refused),
        cmocka_unit_test(an_error_lists_as_many_names_as_it_can_and_counts_the_rest),
        IN_FOLDER(pefts_configuration_is_understood_or_refused_by_key),
        IN_FOLDER(a_scale_that_is_no_float_is_refused),
        IN_FOLDER(a_written_peft_configuration_is_read_back),
        cmocka_unit_test(stored_lora_must_be_the_models),
        cmocka_unit_test(a_model_given_by_its_weights_takes_what_the_configuration_leaves_open),
        IN_FOLDER(a_folder_appears_whole_or_not_at_all),
    };
    return cmocka_run_group_tests(tests, open_device, NULL);
}
