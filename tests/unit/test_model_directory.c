// rooms: checkpoints autograd
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "checkpoints/model_directory.h"
#include "tests/unit/temporary_folder.h"

/// A weight file with one [2, 3] tensor of that name whose elements are all `value`.
static void write_weights(const char *file, const char *tensor, float value) {
    const float values[6] = {value, value, value, value, value, value};
    const int64_t shape[2] = {2, 3};
    const SafetensorsTensor one = {tensor, ELEMENT_F32, 2, shape, values};
    Error error = {0};
    if (!safetensors_write(in_folder(file), &one, 1, NULL, 0, &error))
        fail_msg("%s", error.message);
}

static ModelDirectory *open_directory(void) {
    Error error = {0};
    ModelDirectory *directory = model_directory_open(temporary_folder, &error);
    if (!directory) fail_msg("%s", error.message);
    return directory;
}

static void expect_refusal(const char *part) {
    Error error = {0};
    assert_null(model_directory_open(temporary_folder, &error));
    if (!strstr(error.message, part)) fail_msg("'%s' not in: %s", part, error.message);
}

static void values_have_the_types_that_are_asked_for(void **state) {
    (void)state;
    write_text(
        "config.json",
        "{\"hidden_size\": 64, \"eps\": 1e-5, \"scale\": 2, \"act\": \"gelu\", \"bias\": false,\n"
        "\"dims\": [1, 2, 3], \"heads\": 8, \"nothing\": null, \"types\": [\"a\", \"b\"],\n"
        "\"vision_config\": {\"hidden_size\": 32}}");
    write_weights("model.safetensors", "w", 1);
    ModelDirectory *directory = open_directory();
    const ModelConfig *config = model_directory_config(directory);
    Error error = {0};
    int64_t integer, list[3];
    double number;
    bool flag;
    const char *text, *texts[2];
    int count;
    assert_true(model_config_int(config, "hidden_size", &integer, &error) && integer == 64);
    assert_true(model_config_int(config, "vision_config.hidden_size", &integer, &error) &&
                integer == 32);
    assert_true(model_config_float(config, "eps", &number, &error) && number == 1e-5);
    assert_true(model_config_float(config, "scale", &number, &error) && number == 2);
    assert_true(model_config_bool(config, "bias", &flag, &error) && !flag);
    assert_true(model_config_string(config, "act", &text, &error));
    assert_string_equal(text, "gelu");
    assert_true(model_config_int_list(config, "dims", 3, list, &count, &error) && count == 3);
    assert_int_equal(list[2], 3);
    assert_true(model_config_int_list(config, "heads", 3, list, &count, &error) && count == 1);
    assert_true(model_config_string_list(config, "types", 2, texts, &count, &error) && count == 2);
    assert_string_equal(texts[1], "b");
    assert_true(model_config_int_or(config, "absent", 7, &integer, &error) && integer == 7);
    assert_true(model_config_int_or(config, "nothing", 9, &integer, &error) && integer == 9);
    assert_false(model_config_has(config, "nothing"));
    model_directory_close(directory);
}

static void a_wrong_type_names_file_key_and_expectation(void **state) {
    (void)state;
    write_text("config.json", "{\"hidden_size\": \"64\", \"dims\": [1, 2, 3], \"act\": 1}");
    write_weights("model.safetensors", "w", 1);
    ModelDirectory *directory = open_directory();
    const ModelConfig *config = model_directory_config(directory);
    Error error = {0};
    int64_t integer, list[2];
    int count;
    const char *text;
    assert_false(model_config_int_or(config, "hidden_size", 7, &integer, &error));
    assert_non_null(strstr(error.message, "config.json"));
    assert_non_null(strstr(error.message, "'hidden_size' is \"64\": expected an integer"));
    assert_false(model_config_int(config, "layers", &integer, &error));
    assert_non_null(strstr(error.message, "'layers' is missing"));
    assert_false(model_config_int_list(config, "dims", 2, list, &count, &error));
    assert_false(model_config_string(config, "act", &text, &error));
    assert_false(model_config_unsupported(config, "act", "gelu", &error));
    assert_non_null(strstr(error.message, "'act' is 1: expected gelu"));
    model_directory_close(directory);
}

static void tensors_are_found_over_all_shards(void **state) {
    (void)state;
    write_text("config.json", "{}");
    write_weights("model-00001-of-00002.safetensors", "layers.0.weight", 1);
    write_weights("model-00002-of-00002.safetensors", "layers.1.weight", 2);
    write_text("model.safetensors.index.json",
               "{\"metadata\": {}, \"weight_map\": {\"layers.1.weight\": "
               "\"model-00002-of-00002.safetensors\","
               "\"layers.0.weight\": \"model-00001-of-00002.safetensors\"}}");
    ModelDirectory *directory = open_directory();
    const StoredTensor *entry;
    const int64_t shape[2] = {2, 3}, any[2] = {-1, 3};
    Error error = {0};
    assert_int_equal(model_directory_count(directory), 2);
    assert_true(model_directory_tensor(directory, "layers.1.weight", 2, shape, &entry, &error));
    assert_true(((const float *)entry->data)[5] == 2);
    assert_true(model_directory_tensor(directory, "layers.1.weight", 2, any, &entry, &error));
    int64_t cursor = 0;
    assert_string_equal(model_directory_next_unused(directory, &cursor)->name, "layers.0.weight");
    assert_null(model_directory_next_unused(directory, &cursor));
    model_directory_close(directory);
}

static void a_missing_tensor_lists_the_nearest_names(void **state) {
    (void)state;
    write_text("config.json", "{}");
    write_weights("diffusion_pytorch_model.fp16.safetensors", "conv_in.weight", 1);
    ModelDirectory *directory = open_directory();
    const StoredTensor *entry;
    const int64_t shape[2] = {2, 4};
    Error error = {0};
    assert_false(model_directory_tensor(directory, "conv_on.weight", 2, shape, &entry, &error));
    assert_non_null(strstr(error.message, "nearest names there are: conv_in.weight"));
    assert_false(model_directory_tensor(directory, "conv_in.weight", 2, shape, &entry, &error));
    assert_non_null(strstr(error.message, "has shape [2, 3]"));
    assert_non_null(strstr(error.message, "asks for [2, 4]"));
    model_directory_close(directory);
}

static void directories_that_are_not_models_say_what_is_missing(void **state) {
    (void)state;
    expect_refusal("config.json is missing");
    write_text("config.json", "{\"a\": 1,\n \"a\": 2}");
    expect_refusal("config.json:2");
    write_text("config.json", "[]");
    expect_refusal("JSON object");
    write_text("config.json", "{}");
    expect_refusal("no weights found");
    write_text("pytorch_model.bin", "");
    expect_refusal("pytorch_model.bin; expected safetensors");
    write_text("model.safetensors", "short");
    expect_refusal("model.safetensors");
    Error error = {0};
    assert_null(model_directory_open(in_folder("absent"), &error));
    assert_non_null(strstr(error.message, "no such folder"));
}

static void an_index_cannot_reach_out_of_its_folder(void **state) {
    (void)state;
    write_text("config.json", "{}");
    const char *const maps[] = {
        "{\"weight_map\": {\"w\": \"../model.safetensors\"}}",
        "{\"weight_map\": {\"w\": \"/etc/passwd\"}}",
        "{\"weight_map\": {\"w\": 3}}",
        "{\"weight_map\": {\"w\": \"\"}}",
    };
    for (size_t i = 0; i < sizeof maps / sizeof *maps; i++) {
        write_text("model.safetensors.index.json", maps[i]);
        expect_refusal("does not name a file in this folder");
    }
    write_text("model.safetensors.index.json", "{\"weight_map\": {\"w\": \"absent.safetensors\"}}");
    expect_refusal("absent.safetensors");
    write_weights("other.safetensors", "v", 1);
    write_text("model.safetensors.index.json", "{\"weight_map\": {\"w\": \"other.safetensors\"}}");
    expect_refusal("should be in other.safetensors");
    write_text("model.safetensors.index.json", "{}");
    expect_refusal("weight_map");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        IN_FOLDER(values_have_the_types_that_are_asked_for),
        IN_FOLDER(a_wrong_type_names_file_key_and_expectation),
        IN_FOLDER(tensors_are_found_over_all_shards),
        IN_FOLDER(a_missing_tensor_lists_the_nearest_names),
        IN_FOLDER(directories_that_are_not_models_say_what_is_missing),
        IN_FOLDER(an_index_cannot_reach_out_of_its_folder),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
