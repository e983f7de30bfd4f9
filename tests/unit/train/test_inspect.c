// difflmm inspect over every format.
#include "tests/unit/file_bytes.h"
#include "tests/unit/temporary_folder.h"

#include "checkpoints/safetensors.h"
#include "checkpoints/torch/torch_archive_write.h"
#include "checkpoints/training_state.h"
#include "train/command.h"
#include "train/report/inspection.h"

#define ARCHIVES SOURCE_DIR "/tests/parity/data/archives/"

static json_t *inspect(const char *path, bool checksums) {
    Error error = {0};
    json_t *inspection = inspect_path(path, checksums, &error);
    if (!inspection) fail_msg("%s", error.message);
    return inspection;
}

static void expect_refusal(const char *path, bool checksums, const char *part) {
    Error error = {0};
    assert_null(inspect_path(path, checksums, &error));
    if (!strstr(error.message, part)) fail_msg("'%s' not in: %s", part, error.message);
}

static const json_t *tensor_of(const json_t *inspection, const char *name) {
    size_t index;
    json_t *tensor;
    json_array_foreach(json_object_get(inspection, "tensors"), index, tensor) {
        if (!strcmp(json_string_value(json_object_get(tensor, "name")), name)) return tensor;
    }
    fail_msg("there is no '%s'", name);
    return NULL;
}

static const char *text_of(const json_t *object, const char *key) {
    const char *text = json_string_value(json_object_get(object, key));
    if (!text) fail_msg("there is no '%s'", key);
    return text;
}

static json_int_t total_of(const json_t *inspection, const char *key) {
    return json_integer_value(json_object_get(json_object_get(inspection, "total"), key));
}

static char *printed(const json_t *inspection) {
    char *text = NULL;
    size_t size;
    FILE *out = open_memstream(&text, &size);
    inspection_print(inspection, out);
    fclose(out);
    return text;
}

static void the_same_tensor_has_the_same_line_in_every_format(void **state) {
    (void)state;
    static const char *const names[] = {"views", "views_legacy", "dtypes", "nested_legacy_4"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        char archive_path[512], plain_path[512];
        snprintf(archive_path, sizeof archive_path, ARCHIVES "%s.pt", names[i]);
        snprintf(plain_path, sizeof plain_path, ARCHIVES "%s.safetensors", names[i]);
        json_t *archive = inspect(archive_path, true), *plain = inspect(plain_path, true);
        size_t index;
        json_t *tensor;
        json_array_foreach(json_object_get(plain, "tensors"), index, tensor)
            assert_true(json_equal(tensor, tensor_of(archive, text_of(tensor, "name"))));
        assert_true(json_equal(json_object_get(plain, "total"), json_object_get(archive, "total")));
        assert_string_equal(text_of(plain, "format"), "safetensors");
        assert_string_equal(text_of(archive, "format"), strstr(names[i], "legacy")
                                                            ? "PyTorch archive (before 1.6)"
                                                            : "PyTorch archive");
        json_decref(archive);
        json_decref(plain);
    }
}

static void a_tensor_is_described_whole(void **state) {
    (void)state;
    const int64_t shape[2] = {3, 3};
    const SafetensorsTensor tensor = {"digits", ELEMENT_U8, 2, shape, "123456789"};
    const SafetensorsMetadata metadata = {"format", "pt"};
    Error error = {0};
    const char *path = in_folder("digits.safetensors");
    assert_true(safetensors_write(path, &tensor, 1, &metadata, 1, &error));
    json_t *inspection = inspect(path, true);
    const json_t *found = tensor_of(inspection, "digits");
    assert_string_equal(text_of(found, "type"), "U8");
    assert_string_equal(text_of(found, "crc32c"), "e3069283"); // the check value of CRC-32C
    assert_int_equal(json_integer_value(json_object_get(found, "bytes")), 9);
    assert_string_equal(text_of(json_object_get(inspection, "metadata"), "format"), "pt");
    char *text = printed(inspection);
    assert_non_null(strstr(text, "digits  U8       [3, 3]         9 B  e3069283\n"));
    assert_non_null(strstr(text, "\n1 tensors, 9 elements, 9 B\n"));
    free(text);
    json_decref(inspection);
}

static void what_is_beside_the_tensors_is_shown(void **state) {
    (void)state;
    json_t *inspection = inspect(ARCHIVES "training.pt", false);
    char *text = printed(inspection);
    assert_non_null(strstr(text, "  tensors are in: state_dict\n"));
    assert_non_null(strstr(text, "  epoch: 3\n"));
    assert_non_null(strstr(text, "  lr: 1e-05\n"));
    assert_non_null(strstr(text, "        exp_avg: a tensor\n"));
    assert_null(json_object_get(tensor_of(inspection, "0.weight"), "crc32c"));
    free(text);
    json_decref(inspection);
}

static void a_pickle_shows_its_outer_parts(void **state) {
    (void)state;
    for (int protocol = 0; protocol <= 5; protocol++) {
        char path[512];
        snprintf(path, sizeof path, ARCHIVES "values_%d.p", protocol);
        json_t *inspection = inspect(path, true);
        char *text = printed(inspection);
        assert_non_null(strstr(text, "a dict of 15\n"));
        assert_non_null(strstr(text, "  bytes: (5 bytes)\n"));
        assert_non_null(strstr(text, "    ... 1 more\n"));
        assert_non_null(strstr(text, "  ... 7 more\n"));
        free(text);
        json_decref(inspection);
    }
}

static void a_training_checkpoint_is_listed(void **state) {
    (void)state;
    Error error = {0};
    const char *path = in_folder("checkpoint-7.h5");
    StateWriter *writer = state_create(path, &error);
    const float values[2] = {1, 2};
    const int64_t shape[1] = {2};
    assert_true(
        state_write_array(writer, "weights/projector", STATE_FLOAT32, 1, shape, values, &error) &&
        state_write_attribute_int(writer, "position/step", 7, &error) &&
        state_commit(writer, &error));
    json_t *inspection = inspect(path, true);
    assert_string_equal(text_of(inspection, "format"), "training checkpoint");
    assert_string_equal(text_of(tensor_of(inspection, "weights/projector"), "type"), "F32");
    assert_int_equal(json_integer_value(
                         json_object_get(json_object_get(inspection, "metadata"), "position/step")),
                     7);
    json_decref(inspection);
}

static void a_model_directory_is_listed_with_its_shards(void **state) {
    (void)state;
    const int64_t shape[1] = {2};
    const SafetensorsTensor a = {"a", ELEMENT_F32, 1, shape, "aaaabbbb"},
                            b = {"b", ELEMENT_BF16, 1, shape, "ccdd"};
    Error error = {0};
    write_text("config.json", "{\"model_type\": \"llama\"}");
    write_text("pytorch_model.bin.index.json",
               "{\"weight_map\": {\"a\": \"1.bin\", \"b\": \"2.bin\"}}");
    assert_true(torch_archive_write(in_folder("1.bin"), &a, 1, &error));
    assert_true(torch_archive_write(in_folder("2.bin"), &b, 1, &error));
    json_t *inspection = inspect(temporary_folder, true);
    assert_string_equal(text_of(tensor_of(inspection, "b"), "file"), "2.bin");
    assert_int_equal(total_of(inspection, "bytes"), 12);
    assert_string_equal(text_of(json_object_get(inspection, "metadata"), "model_type"), "llama");
    json_decref(inspection);
}

static void damage_that_only_checksums_show_is_found(void **state) {
    (void)state;
    FileBytes bytes = file_bytes_read(ARCHIVES "dtypes.pt");
    const unsigned char value[] = {0, 0, 0xc0, 0xbf, 0, 0, 0x50, 0x40}; // -1.5, 3.25
    unsigned char *found = memmem(bytes.data, bytes.size, value, sizeof value);
    assert_non_null(found);
    found[0] = 1;
    const char *path = in_folder("damaged.pt");
    file_bytes_write(&bytes, path);
    file_bytes_free(&bytes);
    json_decref(inspect(path, false));
    expect_refusal(path, true, "is damaged: its CRC-32");
}

static void names_cannot_command_a_terminal(void **state) {
    (void)state;
    const uint8_t byte = 0;
    const SafetensorsTensor tensor = {"a\033[2Jb\nc", ELEMENT_U8, 0, NULL, &byte};
    Error error = {0};
    const char *path = in_folder("escape.safetensors");
    assert_true(safetensors_write(path, &tensor, 1, NULL, 0, &error));
    json_t *inspection = inspect(path, false);
    char *text = printed(inspection);
    assert_null(strchr(text, '\033'));
    assert_non_null(strstr(text, "a?[2Jb?c"));
    free(text);
    json_decref(inspection);
}

static void other_files_are_refused(void **state) {
    (void)state;
    write_text("notes.txt", "Some text that is no format at all.");
    expect_refusal(in_folder("notes.txt"), false, "none of the formats that are read");
    write_text("empty", "");
    expect_refusal(in_folder("empty"), false, "none of the formats that are read");
    expect_refusal(in_folder("absent"), false, "cannot be read");
    expect_refusal(temporary_folder, false, "config.json is missing");
}

static int run_command(const char *a, const char *b) {
    char *arguments[] = {(char[]){"inspect"}, (char *)a, (char *)b, NULL};
    return command_inspect(b ? 3 : a ? 2 : 1, arguments);
}

static void exit_codes_tell_usage_from_files(void **state) {
    (void)state;
    assert_int_equal(run_command(NULL, NULL), EXIT_USAGE);
    assert_int_equal(run_command("--jsn", NULL), EXIT_USAGE);
    assert_int_equal(run_command("a.pt", "b.pt"), EXIT_USAGE);
    assert_int_equal(run_command("/nowhere/a.pt", "--json"), EXIT_FAILED);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_same_tensor_has_the_same_line_in_every_format),
        IN_FOLDER(a_tensor_is_described_whole),
        cmocka_unit_test(what_is_beside_the_tensors_is_shown),
        cmocka_unit_test(a_pickle_shows_its_outer_parts),
        IN_FOLDER(a_training_checkpoint_is_listed),
        IN_FOLDER(a_model_directory_is_listed_with_its_shards),
        IN_FOLDER(damage_that_only_checksums_show_is_found),
        IN_FOLDER(names_cannot_command_a_terminal),
        IN_FOLDER(other_files_are_refused),
        cmocka_unit_test(exit_codes_tell_usage_from_files),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
