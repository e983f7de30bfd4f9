// rooms: checkpoints autograd
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "checkpoints/safetensors.h"
#include "tests/unit/temporary_folder.h"

static void write_raw(const char *path, const void *data, size_t size) {
    FILE *file = fopen(path, "wb");
    assert_non_null(file);
    assert_int_equal(fwrite(data, 1, size, file), size);
    fclose(file);
}

/// A file with this header text and so many zero bytes of data; `announced` < 0 writes the true
/// header size.
static void write_file(const char *path, const char *header, size_t data_bytes, int64_t announced) {
    size_t length = strlen(header);
    char *bytes = calloc(1, 8 + length + data_bytes);
    uint64_t size = announced < 0 ? length : (uint64_t)announced;
    memcpy(bytes, &size, 8);
    memcpy(bytes + 8, header, length);
    write_raw(path, bytes, 8 + length + data_bytes);
    free(bytes);
}

static void written_tensors_are_read_back(void **state) {
    (void)state;
    const float matrix[6] = {1, -2, 3.5f, 0, INFINITY, 1e-30f};
    const int64_t position = 576, matrix_shape[2] = {2, 3}, vector_shape[1] = {3},
                  empty_shape[2] = {0, 4};
    const uint16_t halves[3] = {0x3c00, 0xc000, 0x0001};
    const uint8_t flag = 1;
    const SafetensorsTensor tensors[] = {
        {"flag", ELEMENT_BOOL, 0, NULL, &flag},
        {"layer.weight", ELEMENT_F32, 2, matrix_shape, matrix},
        {"halves", ELEMENT_F16, 1, vector_shape, halves},
        {"position", ELEMENT_I64, 0, NULL, &position},
        {"empty", ELEMENT_F32, 2, empty_shape, NULL},
    };
    const SafetensorsMetadata metadata[] = {{"format", "pt"}};
    Error error = {0};
    const char *path = in_folder("written.safetensors");
    if (!safetensors_write(path, tensors, 5, metadata, 1, &error)) fail_msg("%s", error.message);
    SafetensorsFile *file = safetensors_open(path, &error);
    if (!file) fail_msg("%s", error.message);
    assert_int_equal(safetensors_count(file), 5);
    const char *value = NULL;
    assert_string_equal(safetensors_metadata_key(file, 0, &value), "format");
    assert_string_equal(value, "pt");
    assert_null(safetensors_metadata_key(file, 1, &value));
    assert_null(safetensors_find(file, "layer"));
    const StoredTensor *entry = safetensors_find(file, "layer.weight");
    assert_int_equal(entry->rank, 2);
    assert_int_equal(entry->shape[1], 3);
    assert_true(entry->aligned);
    assert_memory_equal(entry->data, matrix, sizeof matrix);
    for (int64_t i = 0; i < 5; i++) assert_true(safetensors_entry(file, i)->aligned);
    float values[3];
    stored_tensor_read_float32(safetensors_find(file, "halves"), 0, 3, values);
    assert_true(values[0] == 1 && values[1] == -2 && values[2] == 0x1p-24f);
    stored_tensor_read_float32(safetensors_find(file, "position"), 0, 1, values);
    assert_true(values[0] == 576);
    assert_int_equal(safetensors_find(file, "empty")->numel, 0);
    safetensors_close(file);
}

static void bfloat16_rounds_to_nearest_even(void **state) {
    (void)state;
    const uint32_t bits[5] = {0x3f808000, 0x3f818000, 0x3f808001, 0x7f800001, 0xff7fffff};
    const uint16_t expected[5] = {0x3f80, 0x3f82, 0x3f81, 0x7fc0, 0xff80};
    const int64_t shape[1] = {5};
    const SafetensorsTensor tensor = {"x", ELEMENT_F32, 1, shape, bits};
    Error error = {0};
    const char *path = in_folder("bfloat16.safetensors");
    assert_true(safetensors_write(path, &tensor, 1, NULL, 0, &error));
    SafetensorsFile *file = safetensors_open(path, &error);
    uint16_t values[5];
    stored_tensor_read_bfloat16(safetensors_find(file, "x"), 0, 5, values);
    assert_memory_equal(values, expected, sizeof expected);
    safetensors_close(file);
}

/// All 256 values of either 8-bit type, by their definition: sign, exponent, fraction.
static void eight_bit_floats_have_their_values(void **state) {
    (void)state;
    uint8_t bytes[256];
    for (int i = 0; i < 256; i++) bytes[i] = (uint8_t)i;
    const int64_t shape[1] = {256};
    const SafetensorsTensor tensors[] = {{"e4m3", ELEMENT_F8_E4M3, 1, shape, bytes},
                                         {"e5m2", ELEMENT_F8_E5M2, 1, shape, bytes}};
    static const int fraction_bits[] = {3, 2}, bias[] = {7, 15};
    Error error = {0};
    const char *path = in_folder("float8.safetensors");
    assert_true(safetensors_write(path, tensors, 2, NULL, 0, &error));
    SafetensorsFile *file = safetensors_open(path, &error);
    for (int t = 0; t < 2; t++) {
        float values[256];
        stored_tensor_read_float32(safetensors_find(file, tensors[t].name), 0, 256, values);
        for (int i = 0; i < 256; i++) {
            int magnitude = i & 0x7f, exponent = magnitude >> fraction_bits[t],
                fraction = magnitude & ((1 << fraction_bits[t]) - 1);
            double one = exponent ? 1 << fraction_bits[t] : 0;
            double value =
                ldexp(one + fraction, (exponent ? exponent : 1) - bias[t] - fraction_bits[t]);
            bool is_special = t == 0 ? magnitude == 0x7f : exponent == 31;
            if (is_special && (t == 0 || fraction))
                assert_true(isnan(values[i]));
            else
                assert_true(values[i] ==
                            (float)((i & 0x80 ? -1 : 1) * (is_special ? INFINITY : value)));
            assert_int_equal(signbit(values[i]) != 0, (i & 0x80) != 0);
        }
    }
    safetensors_close(file);
}

static void a_name_that_comes_twice_is_not_written(void **state) {
    (void)state;
    const float value = 1;
    const SafetensorsTensor tensors[] = {{"x", ELEMENT_F32, 0, NULL, &value},
                                         {"x", ELEMENT_F32, 0, NULL, &value}};
    Error error = {0};
    assert_false(safetensors_write(in_folder("twice.safetensors"), tensors, 2, NULL, 0, &error));
    assert_non_null(strstr(error.message, "twice"));
    assert_int_not_equal(access(in_folder("twice.safetensors"), F_OK), 0);
}

static void a_full_disk_leaves_the_old_file_and_nothing_else(void **state) {
    (void)state;
    enum { COUNT = 100000 };
    float *values = calloc(COUNT, sizeof *values);
    const int64_t small_shape[1] = {4}, large_shape[1] = {COUNT};
    SafetensorsTensor tensor = {"x", ELEMENT_F32, 1, small_shape, values};
    Error error = {0};
    const char *path = in_folder("full.safetensors");
    assert_true(safetensors_write(path, &tensor, 1, NULL, 0, &error));
    int before = files_in_folder();
    signal(SIGXFSZ, SIG_IGN);
    struct rlimit old, limit;
    getrlimit(RLIMIT_FSIZE, &old);
    limit = old;
    limit.rlim_cur = 65536;
    setrlimit(RLIMIT_FSIZE, &limit);
    tensor.shape = large_shape;
    bool written = safetensors_write(path, &tensor, 1, NULL, 0, &error);
    setrlimit(RLIMIT_FSIZE, &old);
    assert_false(written);
    assert_non_null(strstr(error.message, "full.safetensors"));
    assert_int_equal(files_in_folder(), before);
    SafetensorsFile *file = safetensors_open(path, &error);
    assert_non_null(file);
    assert_int_equal(safetensors_find(file, "x")->numel, 4);
    safetensors_close(file);
    free(values);
}

typedef struct Hostile {
    const char *header;
    size_t data_bytes;
    int64_t announced;
    const char *message;
} Hostile;

static const Hostile hostile[] = {
    {"{}", 0, 1000000000000, "announce"},
    {"{}", 0, 3, "cut off"},
    {"[1]", 0, -1, "JSON object"},
    {"{\"a\":", 0, -1, "JSON object"},
    {"{\"a\":1}", 0, -1, "not an object"},
    {"{\"a\":{\"dtype\":\"F33\",\"shape\":[1],\"data_offsets\":[0,4]}}", 4, -1, "dtype"},
    {"{\"a\":{\"dtype\":\"F8_E8M0\",\"shape\":[1],\"data_offsets\":[0,1]}}", 1, -1,
     "tensor 'a' has the dtype 'F8_E8M0'"},
    {"{\"a\":{\"dtype\":\"F4\",\"shape\":[2],\"data_offsets\":[0,1]}}", 1, -1,
     "tensor 'a' has the dtype 'F4'"},
    {"{}", 0, 100000001, "100 MB"},
    {"{}", 0, 100000000, "cut off"},
    {"{\"a\":{\"dtype\":\"F32\",\"shape\":[-1],\"data_offsets\":[0,4]}}", 4, -1, "shape"},
    {"{\"a\":{\"dtype\":\"F32\",\"shape\":[1.5],\"data_offsets\":[0,4]}}", 4, -1, "shape"},
    {"{\"a\":{\"dtype\":\"F32\",\"shape\":[1,1,1,1,1,1,1,1,1],\"data_offsets\":[0,4]}}", 4, -1,
     "shape"},
    {"{\"a\":{\"dtype\":\"F32\",\"shape\":[4611686018427387904,4],\"data_offsets\":[0,0]}}", 0, -1,
     "shape"},
    {"{\"a\":{\"dtype\":\"F64\",\"shape\":[4611686018427387904],\"data_offsets\":[0,0]}}", 0, -1,
     "shape"},
    {"{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]}}", 4, -1, "within the file"},
    {"{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[4,0]}}", 4, -1, "within the file"},
    {"{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0]}}", 4, -1, "within the file"},
    {"{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,4]}}", 4, -1, "need 8"},
    {"{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]},"
     "\"b\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]}}",
     4, -1, "overlaps"},
    {"{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[4,8]}}", 8, -1, "gap"},
    {"{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]}}", 8, -1, "follow the last"},
    {"{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]},"
     "\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]}}",
     4, -1, "duplicate"},
};

static void hostile_headers_are_refused_with_the_file_named(void **state) {
    (void)state;
    const char *path = in_folder("hostile.safetensors");
    for (size_t i = 0; i < sizeof hostile / sizeof *hostile; i++) {
        write_file(path, hostile[i].header, hostile[i].data_bytes, hostile[i].announced);
        Error error = {0};
        SafetensorsFile *file = safetensors_open(path, &error);
        if (file) fail_msg("accepted: %s", hostile[i].header);
        if (!strstr(error.message, path) || !strstr(error.message, hostile[i].message))
            fail_msg("case %zu: %s", i, error.message);
    }
}

static void a_file_cut_off_anywhere_is_refused(void **state) {
    (void)state;
    const float values[4] = {1, 2, 3, 4};
    const int64_t shape[1] = {4};
    const SafetensorsTensor tensor = {"x", ELEMENT_F32, 1, shape, values};
    Error error = {0};
    char path[512];
    snprintf(path, sizeof path, "%s", in_folder("whole.safetensors"));
    assert_true(safetensors_write(path, &tensor, 1, NULL, 0, &error));
    char bytes[4096];
    FILE *stream = fopen(path, "rb");
    size_t size = fread(bytes, 1, sizeof bytes, stream);
    fclose(stream);
    for (size_t length = 0; length < size; length++) {
        write_raw(in_folder("cut.safetensors"), bytes, length);
        SafetensorsFile *file = safetensors_open(in_folder("cut.safetensors"), &error);
        if (file) fail_msg("%zu of %zu bytes were accepted", length, size);
    }
}

static void a_missing_file_and_a_folder_are_errors(void **state) {
    (void)state;
    Error error = {0};
    assert_null(safetensors_open(in_folder("absent"), &error));
    assert_non_null(strstr(error.message, "absent"));
    assert_null(safetensors_open(temporary_folder, &error));
    assert_non_null(strstr(error.message, "not a file"));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(written_tensors_are_read_back),
        cmocka_unit_test(bfloat16_rounds_to_nearest_even),
        cmocka_unit_test(eight_bit_floats_have_their_values),
        cmocka_unit_test(a_name_that_comes_twice_is_not_written),
        cmocka_unit_test(a_full_disk_leaves_the_old_file_and_nothing_else),
        cmocka_unit_test(hostile_headers_are_refused_with_the_file_named),
        cmocka_unit_test(a_file_cut_off_anywhere_is_refused),
        cmocka_unit_test(a_missing_file_and_a_folder_are_errors),
    };
    return cmocka_run_group_tests(tests, make_temporary_folder, remove_temporary_folder);
}
