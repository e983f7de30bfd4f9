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
#include "checkpoints/torch/torch_archive_write.h"
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
    expect_refusal("pytorch_model.bin: not a file of torch.save()");
    write_text("model.safetensors", "short");
    expect_refusal("model.safetensors");
    Error error = {0};
    assert_null(model_directory_open(in_folder("absent"), &error));
    assert_non_null(strstr(error.message, "no such folder"));
}

static void a_weight_file_alone_has_tensors_and_no_configuration(void **state) {
    (void)state;
    write_weights("part.safetensors", "w", 3);
    Error error = {0};
    ModelDirectory *directory = model_directory_open(in_folder("part.safetensors"), &error);
    if (!directory) fail_msg("%s", error.message);
    const StoredTensor *entry;
    assert_false(model_config_has(model_directory_config(directory), "hidden_size"));
    assert_int_equal(model_directory_count(directory), 1);
    assert_false(model_directory_tensor(directory, "w", 1, (int64_t[]){6}, &entry, &error));
    assert_non_null(strstr(error.message, "part.safetensors: tensor 'w' has shape [2, 3]"));
    assert_non_null(strstr(error.message, "[6]"));
    model_directory_close(directory);
    write_text("text.pth", "nothing of the kind");
    assert_null(model_directory_open(in_folder("text.pth"), &error));
    assert_non_null(strstr(error.message, "text.pth"));
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

static void write_archive(const char *file, const char *tensor, float value) {
    const float values[6] = {value, value, value, value, value, value};
    const int64_t shape[2] = {2, 3};
    const SafetensorsTensor one = {tensor, ELEMENT_F32, 2, shape, values};
    Error error = {0};
    if (!torch_archive_write(in_folder(file), &one, 1, &error)) fail_msg("%s", error.message);
}

static void expect_tensor(ModelDirectory *directory, const char *name, float value) {
    const int64_t shape[2] = {2, 3};
    const StoredTensor *entry;
    Error error = {0};
    if (!model_directory_tensor(directory, name, 2, shape, &entry, &error))
        fail_msg("%s", error.message);
    float values[6];
    stored_tensor_read_float32(entry, 0, 6, values);
    assert_true(values[5] == value);
}

static void weights_of_pytorch_are_read_where_there_are_no_safetensors(void **state) {
    (void)state;
    static const char *const names[] = {"pytorch_model.bin", "diffusion_pytorch_model.bin",
                                        "adapter_model.bin", "mm_projector.bin",
                                        "non_lora_trainables.bin"};
    write_text("config.json", "{}");
    for (int i = 0; i < 5; i++) {
        write_archive(names[i], "w", (float)i);
        ModelDirectory *directory = open_directory();
        expect_tensor(directory, "w", (float)i);
        model_directory_close(directory);
        remove(in_folder(names[i]));
    }
    write_archive("pytorch_model.bin", "w", 1);
    write_weights("model.safetensors", "w", 2);
    ModelDirectory *directory = open_directory();
    expect_tensor(directory, "w", 2);
    model_directory_close(directory);
}

static void shards_of_pytorch_are_read(void **state) {
    (void)state;
    write_text("config.json", "{}");
    write_archive("pytorch_model-00001-of-00002.bin", "a", 1);
    write_archive("pytorch_model-00002-of-00002.bin", "b", 2);
    write_text("pytorch_model.bin.index.json",
               "{\"weight_map\": {\"a\": \"pytorch_model-00001-of-00002.bin\",\n"
               "\"b\": \"pytorch_model-00002-of-00002.bin\"}}");
    ModelDirectory *directory = open_directory();
    assert_int_equal(model_directory_file_count(directory), 2);
    expect_tensor(directory, "a", 1);
    expect_tensor(directory, "b", 2);
    model_directory_close(directory);
}

static void an_adapter_comes_with_what_else_was_trained(void **state) {
    (void)state;
    write_text("adapter_config.json", "{}");
    write_weights("adapter_model.safetensors", "lora_A.weight", 1);
    write_archive("non_lora_trainables.bin", "mm_projector.0.weight", 2);
    ModelDirectory *directory = open_directory();
    expect_tensor(directory, "lora_A.weight", 1);
    expect_tensor(directory, "mm_projector.0.weight", 2);
    model_directory_close(directory);
    write_archive("non_lora_trainables.bin", "lora_A.weight", 2);
    expect_refusal("'lora_A.weight' is in two files, adapter_model.safetensors and "
                   "non_lora_trainables.bin");
}

static void a_tensor_in_two_shards_is_refused(void **state) {
    (void)state;
    write_text("config.json", "{}");
    write_weights("a.safetensors", "w", 1);
    const float values[2] = {0};
    const SafetensorsTensor two[] = {{"v", ELEMENT_F32, 0, NULL, values},
                                     {"w", ELEMENT_F32, 0, NULL, values}};
    Error error = {0};
    assert_true(safetensors_write(in_folder("b.safetensors"), two, 2, NULL, 0, &error));
    write_text("model.safetensors.index.json",
               "{\"weight_map\": {\"w\": \"a.safetensors\", \"v\": \"b.safetensors\"}}");
    expect_refusal("'w' is in two files, a.safetensors and b.safetensors");
    write_text("model.safetensors.index.json",
               "{\"weight_map\": {\"w\": \"a.safetensors\", \"w\": \"b.safetensors\"}}");
    expect_refusal("duplicate object key");
    // a name that leads back to the index itself
    write_text("model.safetensors.index.json",
               "{\"weight_map\": {\"w\": \"model.safetensors.index.json\"}}");
    expect_refusal("tensor 'w' is in a file that cannot be used");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        IN_FOLDER(values_have_the_types_that_are_asked_for),
        IN_FOLDER(a_wrong_type_names_file_key_and_expectation),
        IN_FOLDER(tensors_are_found_over_all_shards),
        IN_FOLDER(a_missing_tensor_lists_the_nearest_names),
        IN_FOLDER(directories_that_are_not_models_say_what_is_missing),
        IN_FOLDER(a_weight_file_alone_has_tensors_and_no_configuration),
        IN_FOLDER(an_index_cannot_reach_out_of_its_folder),
        IN_FOLDER(weights_of_pytorch_are_read_where_there_are_no_safetensors),
        IN_FOLDER(shards_of_pytorch_are_read),
        IN_FOLDER(an_adapter_comes_with_what_else_was_trained),
        IN_FOLDER(a_tensor_in_two_shards_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
