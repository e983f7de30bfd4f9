// rooms: train autograd
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <float.h>
#include <math.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "autograd/text/nearest_name.h"
#include "tests/unit/temporary_folder.h"
#include "train/command.h"
#include "train/config/config.h"
#include "train/config/config_schema.h"

static const char *file_with(const char *text, size_t length) {
    const char *path = in_folder("c.yaml");
    FILE *file = fopen(path, "wb");
    assert_non_null(file);
    assert_int_equal(fwrite(text, 1, length, file), length);
    assert_int_equal(fclose(file), 0);
    return path;
}

static Config *load(const char *yaml, const char *const *overrides, int count) {
    Error error = {0};
    Config *config = config_load(file_with(yaml, strlen(yaml)), overrides, count, &error);
    if (!config) fail_msg("%s", error.message);
    return config;
}

static void expect_part(const char *message, const char *part) {
    if (!strstr(message, part)) fail_msg("'%s' is not in: %s", part, message);
}

/// The file is refused at that line and column, with that part in the message.
static void refused(const char *yaml, const char *place, const char *part) {
    Error error = {0};
    const char *path = file_with(yaml, strlen(yaml));
    Config *config = config_load(path, NULL, 0, &error);
    if (config) fail_msg("accepted: %s", yaml);
    char start[600];
    snprintf(start, sizeof start, "%s:%s: ", path, place);
    if (strncmp(error.message, start, strlen(start)))
        fail_msg("expected it to begin with '%s': %s", start, error.message);
    expect_part(error.message, part);
}

/// Whether anybody asks why or not.
static void override_refused(const char *override, const char *part) {
    Error error = {0};
    assert_null(config_load(NULL, &override, 1, NULL));
    assert_null(config_load(NULL, &override, 1, &error));
    expect_part(error.message, "command line: ");
    expect_part(error.message, part);
}

static void without_a_file_every_key_has_its_default(void **state) {
    (void)state;
    Error error = {0};
    Config *config = config_load(NULL, NULL, 0, &error);
    assert_non_null(config);
    assert_int_equal(config->model.architecture, ADAPTERS_DIFFLMM);
    assert_int_equal(config->model.timestep, 100);
    assert_int_equal(config->model.unet_feature_block, 1);
    assert_int_equal(config->model.projector_width, 0); // auto
    assert_true(config->model.implicit_captioner);
    assert_null(config->model.llm);
    assert_int_equal(config->lora.target_modules.count, 7);
    assert_string_equal(config->lora.target_modules.values[6], "down_proj");
    assert_true(config->training.learning_rate == 1e-3);
    assert_int_equal(config->training.max_steps, -1);
    assert_string_equal(config->training.resume, "auto");
    assert_null(config->eval.prompt);
    assert_int_equal(config->eval.layers.count, 0);
    config_free(config);
}

static void values_of_every_type_are_read(void **state) {
    (void)state;
    Config *config = load("# a comment\n"
                          "model:\n"
                          "  architecture: llava\n"
                          "  llm: some dir/llama # relative\n"
                          "  recompute: 4\n"
                          "  clip_concat: False\n"
                          "lora:\n"
                          "data:\n"
                          "  system_message: \"a: \\\"b\\\"\\n\"\n"
                          "training: {learning_rate: 2e-5, seed: 12, resume: never}\n"
                          "eval:\n"
                          "  layers: [3, 1]\n"
                          "  heads:\n"
                          "    - 0\n",
                          NULL, 0);
    assert_int_equal(config->model.architecture, ADAPTERS_LLAVA);
    assert_string_equal(config->model.llm, "some dir/llama");
    assert_int_equal(config->model.recompute, 4);
    assert_false(config->model.clip_concat);
    assert_string_equal(config->data.system_message, "a: \"b\"\n");
    assert_true(config->training.learning_rate == 2e-5);
    assert_int_equal(config->training.seed, 12);
    assert_string_equal(config->training.resume, "never");
    assert_int_equal(config->eval.layers.count, 2);
    assert_int_equal(config->eval.layers.values[0], 3);
    assert_int_equal(config->eval.heads.count, 1);
    config_free(config);
}

static void recompute_has_named_values(void **state) {
    (void)state;
    Config *config = load("model: {recompute: all}\n", NULL, 0);
    assert_int_equal(config->model.recompute, 1);
    config_free(config);
    config = load("model: {recompute: none}\n", NULL, 0);
    assert_int_equal(config->model.recompute, 0);
    config_free(config);
}

static void an_empty_file_is_all_defaults(void **state) {
    (void)state;
    const char *const texts[] = {"", "# nothing\n", "---\n", "model:\n"};
    for (int i = 0; i < 4; i++) config_free(load(texts[i], NULL, 0));
}

static void the_adapters_learn_at_the_learning_rate_unless_told(void **state) {
    (void)state;
    Config *config = load("training: {learning_rate: 0.5}\n", NULL, 0);
    assert_true(config->training.mm_projector_lr == 0.5);
    config_free(config);
    config = load("training: {learning_rate: 0.5, mm_projector_lr: 0.25}\n", NULL, 0);
    assert_true(config->training.mm_projector_lr == 0.25);
    config_free(config);
}

static void the_command_line_wins_over_the_file_and_its_last_word_counts(void **state) {
    (void)state;
    const char *const overrides[] = {"model.llm=a=b: c #d",
                                     "training.seed=1",
                                     "training.seed=2",
                                     "eval.layers=[5, 6]",
                                     "lora.target_modules=[q_proj]",
                                     "model.adapters=",
                                     "data.system_message=null"};
    Config *config = load("model: {llm: x, adapters: y}\ntraining: {seed: 9}\n", overrides, 7);
    assert_string_equal(config->model.llm, "a=b: c #d");
    assert_int_equal(config->training.seed, 2);
    assert_int_equal(config->eval.layers.count, 2);
    assert_int_equal(config->eval.layers.values[1], 6);
    assert_int_equal(config->lora.target_modules.count, 1);
    assert_null(config->adapters);
    assert_null(config->data.system_message);
    config_free(config);
}

static void an_unknown_key_gets_the_nearest_valid_one(void **state) {
    (void)state;
    refused("training:\n  learning_rte: 1\n", "2:3", "did you mean 'training.learning_rate'?");
    refused("training:\n  seed: 1\n  lora_r: 1\n", "3:3", "did you mean 'lora.lora_r'?");
    refused("modle:\n  llm: x\n", "1:1", "did you mean section 'model'?");
    refused("learning_rate: 1\n", "1:1", "below section 'training:'");
    refused("data:\n  zzzzzzzz: 1\n", "2:3", "'difflmm config data'");
    override_refused("lora.r=8", "did you mean 'lora.lora_r'?");
    override_refused("model.lln=x", "did you mean 'model.llm'?");
    override_refused("learning_rate=1", "did you mean 'training.learning_rate'?");
    override_refused("seed", "not of the form");
}

static void a_wrong_type_is_refused_with_what_was_expected(void **state) {
    (void)state;
    refused("training:\n  seed: fast\n", "2:9", "'fast', expected an integer of at least 0");
    refused("training:\n  seed: 1.5\n", "2:9", "expected an integer");
    refused("training:\n  seed: \"1\"\n", "2:9", "the string '1'");
    refused("training:\n  seed: 99999999999999999999\n", "2:9", "expected an integer");
    refused("training:\n  seed: null\n", "2:9", "expected an integer");
    refused("training:\n  learning_rate: nan\n", "2:18", "expected a number");
    refused("training:\n  learning_rate: 0x10\n", "2:18", "expected a number");
    refused("training:\n  learning_rate: 1e999\n", "2:18", "expected a number");
    refused("training:\n  learning_rate: -1\n", "2:18", "of at least 0");
    refused("training:\n  adam_epsilon: 0\n", "2:17", "above 0");
    refused("training:\n  adam_epsilon: 1e-60\n", "2:17", "above 0"); // 0 as a float
    refused("training:\n  learning_rate: 1e39\n", "2:18", "expected a number");
    refused("training:\n  max_steps: 2147483648\n", "2:14", "from -1 to 2147483647");
    refused("training:\n  save_total_limit: 4294967297\n", "2:21", "from 0 to 2147483647");
    refused("model:\n  recompute: 4294967297\n", "2:14", "from 0 to 2147483647");
    refused("model:\n  clip_concat: yes\n", "2:16", "expected true or false");
    refused("model:\n  architecture: DiffLMM\n", "2:17", "expected one of difflmm or llava");
    refused("model:\n  unet_feature_block: 4\n", "2:23", "from 0 to 3");
    refused("model:\n  projector_width: 0\n", "2:20",
            "expected auto, or an integer from 1 to 1048576");
    refused("model:\n  projector_width: 1048577\n", "2:20", "from 1 to 1048576");
    refused("model:\n  projector_width: wide\n", "2:20", "expected auto, or an integer");
    refused("model:\n  llm: [a]\n", "2:8", "is a list, expected a path");
    refused("model:\n  llm: {a: b}\n", "2:8", "is a mapping of keys, expected a path");
    refused("eval:\n  layers: 3\n", "2:11", "expected a list of integers");
    refused("eval:\n  layers: [1, -1]\n", "2:15", "from 0 to 1023");
    refused("eval:\n  layers: [1, [2]]\n", "2:15", "no single value");
    refused("training:\n  resume: null\n", "2:11", "expected a path");
    override_refused("training.seed=x", "training.seed is 'x', expected an integer");
    override_refused("eval.layers=[0] [1]", "eval.layers=[0] [1]");
    override_refused("eval.layers=", "expected a list");
    override_refused("model.llm=\xff", "not UTF-8");
}

static void every_integer_but_a_seed_fits_where_it_is_used(void **state) {
    (void)state;
    for (int i = 0; i < NUM_CONFIG_FIELDS; i++) {
        const ConfigField *field = &CONFIG_FIELDS[i];
        if (field->type == FIELD_INT || field->type == FIELD_INT_LIST)
            assert_true(!strcmp(field->name, "seed") || field->maximum <= INT32_MAX);
        if (field->type == FIELD_FLOAT) assert_true(field->maximum <= FLT_MAX);
    }
}

static void what_is_not_a_configuration_is_refused(void **state) {
    (void)state;
    refused("just words\n", "1:1", "consists of sections");
    refused("- model\n", "1:1", "consists of sections");
    refused("model: 3\n", "1:8", "must hold keys");
    refused("[a, b]\n", "1:1", "a configuration consists");
    refused("? [a]\n: 3\n", "1:3", "a key must be a name");
    refused("model:\n  llm: \"x\n", "3:1", "not valid YAML");
    refused("model:\n\tllm: x\n", "2:1", "not valid YAML");
    refused("model:\n  llm: \xffx\n", "2:8", "not valid YAML: invalid leading UTF-8 octet");
    refused("model:\n  sd: y # \x01\n", "2:11", "not valid YAML: control characters");
    refused("model:\n  llm: x\n---\nmodel:\n", "3:1", "second YAML document");
    refused("model:\n  llm: \"a\\0b\"\n", "2:8", "zero byte");
}

static const DatasetFile *file_of(const DatasetFiles *files, int index) {
    assert_true(index < files->count);
    return &files->values[index];
}

static void data_are_a_path_or_a_list_of_files_with_folders_and_weights(void **state) {
    (void)state;
    Config *config = load("data:\n"
                          "  image_folder: shared\n"
                          "  train:\n"
                          "    - path: a.json\n"
                          "      image_folder: of a\n"
                          "      weight: 0.5\n"
                          "    - weight: 2\n"
                          "      path: \"x, [b] ~.json\"\n"
                          "    - c.json\n"
                          "  eval: e.json\n",
                          NULL, 0);
    for (int again = 0; again < 2; again++) {
        const DatasetFiles *files = &config->data.train;
        assert_true(files->is_list);
        assert_int_equal(files->count, 3);
        assert_string_equal(file_of(files, 0)->path, "a.json");
        assert_string_equal(file_of(files, 0)->image_folder, "of a");
        assert_true(file_of(files, 0)->weight == 0.5);
        assert_string_equal(file_of(files, 1)->path, "x, [b] ~.json");
        assert_string_equal(file_of(files, 1)->image_folder, "shared");
        assert_true(file_of(files, 1)->weight == 2);
        assert_string_equal(file_of(files, 2)->path, "c.json");
        assert_true(file_of(files, 2)->weight == 1);
        assert_false(config->data.eval.is_list);
        assert_string_equal(file_of(&config->data.eval, 0)->image_folder, "shared");
        char *yaml = config_to_yaml(config);
        expect_part(yaml, "  train: [{path: a.json, image_folder: \"of a\", weight: 0.5}, {path: ");
        expect_part(yaml, "  eval: e.json\n");
        config_free(config);
        config = load(yaml, NULL, 0);
        free(yaml);
    }
    config_free(config);
}

static void a_list_of_files_may_stand_on_the_command_line(void **state) {
    (void)state;
    const char *overrides[] = {"data.train=[{path: a.json, weight: 0.25}, b.json]",
                               "data.image_folder=images"};
    Config *config = load("data:\n  train: other.json\n", overrides, 2);
    assert_int_equal(config->data.train.count, 2);
    assert_true(file_of(&config->data.train, 0)->weight == 0.25);
    assert_string_equal(file_of(&config->data.train, 1)->image_folder, "images");
    config_free(config);
    overrides[0] = "data.train=[a].json"; // a file's name
    config = load("", overrides, 1);
    assert_false(config->data.train.is_list);
    assert_string_equal(file_of(&config->data.train, 0)->path, "[a].json");
    Error error = {0};
    assert_false(config_require_data(config, &error));
    expect_part(error.message, "data.image_folder is missing");
    config_free(config);
    overrides[0] = "data.train=[{path: a.json, image_folder: b}]";
    config = load("", overrides, 1);
    assert_true(config_require_data(config, &error));
    config_free(config);
}

static void lists_of_files_that_are_not_right_say_where(void **state) {
    (void)state;
    refused("data:\n  train: []\n", "2:10", "data.train is an empty list");
    refused("data:\n  train: {path: a}\n", "2:10",
            "is a mapping of keys, expected a path, or a list");
    refused("data:\n  train:\n    - path: a\n      wieght: 1\n", "4:7",
            "unknown key 'wieght' of a file; expected path, image_folder or weight");
    refused("data:\n  train:\n    - path: a\n      path: b\n", "4:7", "path was already given");
    refused("data:\n  train:\n    - a\n    - weight: 1\n", "4:7",
            "a file of data.train has no path");
    refused("data:\n  train:\n    - path: a\n      weight: 0\n", "4:15",
            "weight is '0', expected a number");
    refused("data:\n  train:\n    - path: a\n      weight: 1001\n", "4:15", "weight is '1001'");
    refused("data:\n  train:\n    - path: a\n      weight: many\n", "4:15", "weight is 'many'");
    refused("data:\n  train:\n    - path: a\n      weight: [1]\n", "4:15",
            "weight is no single value");
    refused("data:\n  train:\n    - path: null\n", "3:13", "path is 'null', expected a path");
    refused("data:\n  train:\n    - [a]\n", "3:7", "has a list as an element");
    refused("data:\n  train:\n    - null\n", "3:7", "path is 'null'");
    refused("data:\n  eval:\n    - path: a\n      weight: 2\n", "3:5",
            "data.eval: a has the weight 2; held-out data is measured once");
    override_refused("data.train=[{path: a, weigt: 2}]", "unknown key 'weigt' of a file");
    override_refused("data.train=[]", "an empty list");
}

static void a_key_given_twice_is_refused(void **state) {
    (void)state;
    refused("model:\n  llm: a\n  llm: b\n", "3:3", "already given in line 2");
    refused("model:\n  llm: a\nmodel:\n  sd: b\n", "3:1", "already given");
}

static void paths_may_begin_with_a_home_folder(void **state) {
    (void)state;
    Error error = {0};
    const struct passwd *root = getpwuid(0);
    assert_non_null(root);
    char *as_root = format_string("data.image_folder=~%s/images", root->pw_name);
    char *of_root = format_string("%s/images", root->pw_dir);
    setenv("HOME", "/home/of mine", 1);
    const char *settings[] = {
        "training.output_dir=~/runs/x", "model.llm=~",        as_root,
        "data.train=a/~/b.json",        "eval.prompt=~/what", "training.resume=~/a.h5"};
    Config *config = config_load(NULL, settings, 6, &error);
    if (!config) fail_msg("%s", error.message);
    assert_string_equal(config->training.output_dir, "/home/of mine/runs/x");
    assert_null(config->model.llm); // YAML's null
    assert_string_equal(config->data.image_folder, of_root);
    assert_string_equal(config->data.train.values[0].path, "a/~/b.json");
    assert_string_equal(config->eval.prompt, "~/what");
    assert_string_equal(config->training.resume, "/home/of mine/a.h5");
    config_free(config);
    static const char yaml[] = "model:\n  llm: \"~\"\n  sd: ~/sd\n";
    config = config_load(file_with(yaml, sizeof yaml - 1), NULL, 0, &error);
    if (!config) fail_msg("%s", error.message);
    assert_string_equal(config->model.llm, "/home/of mine");
    assert_string_equal(config->model.sd, "/home/of mine/sd");
    config_free(config);
    free(as_root);
    free(of_root);
    refused("model:\n  llm: ~nobody-of-this-name/llm\n", "2:8", "no user 'nobody-of-this-name'");
    setenv("HOME", "/home/caf\xe9", 1);
    refused("model:\n  llm: ~/llm\n", "2:8", "/home/caf\\xe9/llm is not UTF-8");
}

static void a_byte_order_mark_is_passed_over(void **state) {
    (void)state;
    Error error = {0};
    refused("\xef\xbb\xbfmodel:\n  dtype: float31\n", "2:10", "float31");
    assert_null(config_load(file_with("\xff\xfem\0o\0", 6), NULL, 0, &error));
    expect_part(error.message, "text in UTF-16; expected UTF-8");
}

static void anchors_aliases_and_tags_are_refused(void **state) {
    (void)state;
    refused("model:\n  llm: &a x\n", "2:8", "anchors and aliases");
    refused("model: &a\n  llm: x\n", "1:8", "anchors and aliases");
    refused("model:\n  llm: *a\n", "2:8", "anchors and aliases");
    refused("training:\n  seed: !!int 3\n", "2:9", "tag");
}

static void features_are_kept_of_a_cache_only(void **state) {
    (void)state;
    override_refused("data.feature_folder=features", "computes, which is false");
}

static void a_file_that_cannot_be_read_is_named(void **state) {
    (void)state;
    Error error = {0};
    assert_null(config_load("/nowhere/c.yaml", NULL, 0, &error));
    expect_part(error.message, "/nowhere/c.yaml: cannot be read: No such file");
    assert_null(config_load(temporary_folder, NULL, 0, &error));
    expect_part(error.message, "a folder, not a file");
    char *big = malloc(2 << 20);
    memset(big, '#', 2 << 20);
    assert_null(config_load(file_with(big, 2 << 20), NULL, 0, &error));
    expect_part(error.message, "longer than");
    free(big);
}

static void nesting_without_end_does_no_harm(void **state) {
    (void)state;
    char *deep = malloc(1 << 20);
    memset(deep, '[', 1 << 20);
    Error error = {0};
    assert_null(config_load(file_with(deep, 1 << 20), NULL, 0, &error));
    memcpy(deep, "model: {", 8);
    assert_null(config_load(file_with(deep, 1 << 20), NULL, 0, &error));
    free(deep);
}

/// Every truncation and many single-byte changes of a good file are either read or refused, never
/// worse.
static void damaged_files_are_read_or_refused(void **state) {
    (void)state;
    const char text[] = "model:\n  llm: \"a \\x41 b\"\n  recompute: all\neval: {layers: [1, 2], "
                        "prompt: 'x'}\ntraining:\n  learning_rate: 2e-5\n";
    char damaged[sizeof text];
    uint32_t bits = 1;
    for (size_t i = 0; i < 1500; i++) {
        memcpy(damaged, text, sizeof text);
        size_t length = i < sizeof text ? i : sizeof text - 1;
        if (i >= sizeof text) {
            bits = bits * 1664525u + 1013904223u;
            damaged[(bits >> 8) % (sizeof text - 1)] = (char)(bits >> 24);
        }
        Error error = {0};
        Config *config = config_load(file_with(damaged, length), NULL, 0, &error);
        assert_true(config || *error.message);
        config_free(config);
    }
}

static void required_keys_are_named_with_their_meaning(void **state) {
    (void)state;
    Config *config = load("model: {llm: a, vision_tower: b}\n", NULL, 0);
    Error error = {0};
    assert_true(config_require(config, &error, "model.llm", NULL));
    assert_false(config_require(config, &error, "model.llm", "data.train", NULL));
    expect_part(error.message, "c.yaml: data.train is missing: training conversations");
    expect_part(error.message, "data.train=VALUE");
    assert_false(config_require_model(config, &error));
    expect_part(error.message, "model.sd is missing");
    config->model.architecture = ADAPTERS_LLAVA;
    assert_true(config_require_model(config, &error));
    config->data.image_normalization = IMAGE_NORMALIZATION_CLIP_TWICE;
    assert_false(config_require_model(config, &error));
    expect_part(error.message, "data.image_normalization: clip_twice");
    config_free(config);
}

static void a_later_refusal_knows_where_the_value_came_from(void **state) {
    (void)state;
    const char *override = "data.train=x.json";
    Config *config = load("model:\n  llm: a\n", &override, 1);
    Error error = {0};
    assert_false(config_refuse(config, "model.llm", &error, "no %s there", "tokenizer"));
    expect_part(error.message, "c.yaml:2:8: model.llm: no tokenizer there");
    config_refuse(config, "data.train", &error, "empty");
    assert_string_equal(error.message, "command line: data.train: empty");
    config_refuse(config, "training.seed", &error, "odd");
    assert_string_equal(error.message, "default: training.seed: odd");
    config_free(config);
}

static void a_section_of_sweeps_is_passed_over(void **state) {
    (void)state;
    Config *config = load("sweep:\n  grid: {a: [[1], {b: c}]}\ntraining: {seed: 3}\n", NULL, 0);
    assert_int_equal(config->training.seed, 3);
    config_free(config);
    config = load("training: {seed: 3}\nsweep:\n", NULL, 0);
    assert_int_equal(config->training.seed, 3);
    config_free(config);
    refused("sweep: {a: [}\n", "1:13", "not valid YAML");
    refused("sweep:\n  variants: {\xff: {}}\n", "2:14",
            "not valid YAML: invalid leading UTF-8 octet");
}

static void keys_that_are_set_read_back_as_those_alone(void **state) {
    (void)state;
    const char *override = "eval.prompt=null";
    Config *config = load("training: {learning_rate: 3e-3}\n", &override, 1);
    char *yaml = config_set_keys_to_yaml(config);
    assert_string_equal(yaml, "training:\n  learning_rate: 0.003\n\neval:\n  prompt: null\n");
    Config *again = load(yaml, NULL, 0);
    assert_true(again->training.mm_projector_lr == 3e-3);
    free(yaml);
    config_free(again);
    config_free(config);
}

static void the_resolved_configuration_reads_back_to_the_same(void **state) {
    (void)state;
    const char *const overrides[] = {
        "data.system_message=null or \"not\" \\ \x01 \xc3\xa9 'x'", "model.llm=true", "model.sd=12",
        "training.learning_rate=0.1234567890123456", "eval.prompt= spaces ",
        "lora.target_modules=[a, 'b, c', \"null\"]", "model.recompute=7",
        "model.projector_width=292",
        // a C1 control, line breaks of Unicode's, a byte-order mark
        "eval.checkpoint=a\xc2\x85/\xe2\x80\xa8/\xe2\x80\xa9/"
        "\xef\xbb\xbf/\xef\xbf\xbf/\xc2\xa0\xef\xbf\xbd"};
    Config *config = load("", overrides, 9);
    char *yaml = config_to_yaml(config);
    Config *again = load(yaml, NULL, 0);
    char *second = config_to_yaml(again);
    assert_string_equal(yaml, second);
    assert_string_equal(again->data.system_message, config->data.system_message);
    assert_string_equal(again->eval.prompt, " spaces ");
    assert_string_equal(again->eval.checkpoint, config->eval.checkpoint);
    assert_string_equal(again->model.llm, "true");
    assert_int_equal(again->model.projector_width, 292);
    assert_true(again->training.learning_rate == 0.1234567890123456);
    Error error = {0};
    assert_true(config_save(config, in_folder("c.yaml"), &error));
    assert_int_equal(files_in_folder(), 1);
    Config *saved = config_load(in_folder("c.yaml"), NULL, 0, &error);
    assert_non_null(saved);
    config_free(saved);
    free(yaml);
    free(second);
    config_free(config);
    config_free(again);
}

static void the_documentation_is_a_configuration_of_defaults(void **state) {
    (void)state;
    char *text = NULL;
    size_t length = 0;
    FILE *out = open_memstream(&text, &length);
    config_document(out);
    fclose(out);
    Config *documented = load(text, NULL, 0);
    Config *defaults = load("", NULL, 0);
    char *first = config_to_yaml(documented), *second = config_to_yaml(defaults);
    assert_string_equal(first, second);
    assert_non_null(strstr(text, "  # an integer from 0 to 3\n  unet_feature_block: 1\n"));
    assert_non_null(strstr(text, "  projector_width: auto\n"));
    free(first);
    free(second);
    free(text);
    config_free(documented);
    config_free(defaults);
}

static void a_key_can_be_asked_about(void **state) {
    (void)state;
    char *text = NULL;
    size_t length = 0;
    FILE *out = open_memstream(&text, &length);
    Error error = {0};
    assert_true(config_document_key(out, "training.warmup_ratio", &error));
    assert_false(config_document_key(out, "warmup_ration", &error));
    expect_part(error.message, "did you mean 'training.warmup_ratio'?");
    fclose(out);
    expect_part(text, "a number from 0 to 1");
    free(text);
}

static void the_verb_says_by_its_exit_code_what_happened(void **state) {
    (void)state;
    char *good[] = {"config", "model.llm", "lora", NULL};
    assert_int_equal(command_config(3, good), EXIT_DONE);
    char *help[] = {"config", "--help", NULL};
    assert_int_equal(command_config(2, help), EXIT_DONE);
    char *misspelt[] = {"config", "model.lln", NULL};
    assert_int_equal(command_config(2, misspelt), EXIT_USAGE);
    char *absent[] = {"config", "/nowhere/c.yaml", NULL};
    assert_int_equal(command_config(2, absent), EXIT_USAGE);
}

static void configurations_that_ship_are_valid(void **state) {
    (void)state;
    const char *const names[] = {"tiny_stage1",         "tiny_stage2",         "tiny_eval",
                                 "tiny_llava_stage1",   "tiny_llava_stage2",   "tiny_llava_eval",
                                 "difflmm-7b-pretrain", "difflmm-7b-finetune", "difflmm-7b-eval",
                                 "crowded/stage1",      "crowded/stage2",      "crowded/eval"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        char path[512];
        snprintf(path, sizeof path, SOURCE_DIR "/configs/%s.yaml", names[i]);
        Error error = {0};
        Config *config = config_load(path, NULL, 0, &error);
        if (!config || !config_require_model(config, &error)) fail_msg("%s", error.message);
        bool is_eval = strstr(names[i], "eval");
        bool is_complete = is_eval
                               ? config_require(config, &error, "eval.annotations",
                                                "eval.image_folder", "eval.output_dir", NULL)
                               : config_require(config, &error, "data.train", "data.image_folder",
                                                "training.output_dir", NULL);
        if (!is_complete) fail_msg("%s", error.message);
        config_free(config);
    }
}

static void the_published_recipe_is_as_published(void **state) {
    (void)state;
    Error error = {0};
    Config *one = config_load(SOURCE_DIR "/configs/difflmm-7b-pretrain.yaml", NULL, 0, &error);
    Config *two = config_load(SOURCE_DIR "/configs/difflmm-7b-finetune.yaml", NULL, 0, &error);
    assert_non_null(one);
    assert_non_null(two);
    assert_true(one->training.learning_rate == 1e-3);
    assert_int_equal(one->data.version, TEMPLATE_PLAIN);
    assert_int_equal(one->data.image_aspect_ratio, IMAGE_CENTER_CROP);
    assert_false(one->lora.lora_enable);
    assert_true(two->training.learning_rate == 2e-4);
    assert_true(two->training.mm_projector_lr == 2e-5);
    assert_int_equal(two->data.version, TEMPLATE_VICUNA_V1);
    assert_int_equal(two->data.image_aspect_ratio, IMAGE_PAD);
    assert_true(two->data.group_by_modality_length);
    assert_true(two->lora.lora_enable);
    assert_int_equal(two->lora.lora_r, 128);
    assert_true(two->lora.lora_alpha == 256);
    config_free(one);
    config_free(two);
}

static void edit_distance_counts_swaps_once(void **state) {
    (void)state;
    assert_int_equal(edit_distance("", "abc"), 3);
    assert_int_equal(edit_distance("abc", "abc"), 0);
    assert_int_equal(edit_distance("modle", "model"), 1);
    assert_int_equal(edit_distance("kitten", "sitting"), 3);
    const char *const names[] = {"train", "eval"};
    assert_int_equal(nearest_name("trian", names, 2), 0);
    assert_int_equal(nearest_name("qqqqq", names, 2), -1);
    assert_int_equal(nearest_name("x", names, 0), -1);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        IN_FOLDER(without_a_file_every_key_has_its_default),
        IN_FOLDER(values_of_every_type_are_read),
        IN_FOLDER(recompute_has_named_values),
        IN_FOLDER(an_empty_file_is_all_defaults),
        IN_FOLDER(the_adapters_learn_at_the_learning_rate_unless_told),
        IN_FOLDER(the_command_line_wins_over_the_file_and_its_last_word_counts),
        IN_FOLDER(an_unknown_key_gets_the_nearest_valid_one),
        IN_FOLDER(a_wrong_type_is_refused_with_what_was_expected),
        cmocka_unit_test(every_integer_but_a_seed_fits_where_it_is_used),
        IN_FOLDER(what_is_not_a_configuration_is_refused),
        IN_FOLDER(data_are_a_path_or_a_list_of_files_with_folders_and_weights),
        IN_FOLDER(a_list_of_files_may_stand_on_the_command_line),
        IN_FOLDER(lists_of_files_that_are_not_right_say_where),
        IN_FOLDER(a_key_given_twice_is_refused),
        IN_FOLDER(paths_may_begin_with_a_home_folder),
        IN_FOLDER(a_byte_order_mark_is_passed_over),
        IN_FOLDER(anchors_aliases_and_tags_are_refused),
        cmocka_unit_test(features_are_kept_of_a_cache_only),
        IN_FOLDER(a_file_that_cannot_be_read_is_named),
        IN_FOLDER(nesting_without_end_does_no_harm),
        IN_FOLDER(damaged_files_are_read_or_refused),
        IN_FOLDER(required_keys_are_named_with_their_meaning),
        IN_FOLDER(a_later_refusal_knows_where_the_value_came_from),
        IN_FOLDER(a_section_of_sweeps_is_passed_over),
        IN_FOLDER(keys_that_are_set_read_back_as_those_alone),
        IN_FOLDER(the_resolved_configuration_reads_back_to_the_same),
        IN_FOLDER(the_documentation_is_a_configuration_of_defaults),
        IN_FOLDER(a_key_can_be_asked_about),
        IN_FOLDER(the_verb_says_by_its_exit_code_what_happened),
        IN_FOLDER(configurations_that_ship_are_valid),
        IN_FOLDER(the_published_recipe_is_as_published),
        IN_FOLDER(edit_distance_counts_swaps_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
