// rooms: models checkpoints ops autograd
// Weights longer than the pieces in which they are read (2^20 elements).
#include "tests/unit/op_cases.h"

#include "models/weights.h"
#include "ops/ops.h"
#include "tests/unit/temporary_folder.h"

enum { OUT = 70, IN = 1700, KERNEL = 3, ROWS = 1100, COLUMNS = 1001, MOST = ROWS * COLUMNS };

/// Element i of a stored tensor: whole numbers that bfloat16 holds.
static float stored(int64_t i) { return (float)(i * 7 % 251); }

_Static_assert(MOST >= OUT * IN * KERNEL * KERNEL, "the longest of the tensors");

static float *stored_values(int64_t count) {
    float *values = checked_malloc((size_t)count * sizeof *values);
    for (int64_t i = 0; i < count; i++) values[i] = stored(i);
    return values;
}

static void write_model(const SafetensorsTensor *tensors, int64_t count) {
    Error error = {0};
    write_text("config.json", "{}");
    if (!safetensors_write(in_folder("model.safetensors"), tensors, count, NULL, 0, &error))
        fail_msg("%s", error.message);
}

static Weights *open_model(DType dtype) {
    Error error = {0};
    Weights *weights = weights_open(temporary_folder, case_device(), dtype, &error);
    if (!weights) fail_msg("%s", error.message);
    return weights;
}

static void finish(Weights *weights) {
    Error error = {0};
    if (!weights_finish(weights, &error)) fail_msg("%s", error.message);
}

static float *on_host(const Tensor *x) {
    float *values = checked_malloc((size_t)tensor_numel(x) * sizeof *values);
    tensor_to_host_float(x, values);
    return values;
}

static void expect_convolution(DType dtype) {
    Weights *weights = open_model(dtype);
    Tensor *x = weights_conv(weights, "conv", OUT, IN, KERNEL, KERNEL);
    assert_non_null(x);
    assert_int_equal(x->dtype, dtype);
    float *values = on_host(x);
    const int64_t area = KERNEL * KERNEL;
    int64_t wrong = 0;
    for (int64_t o = 0; o < OUT; o++)
        for (int64_t a = 0; a < area; a++)
            for (int64_t i = 0; i < IN; i++)
                wrong += values[(o * area + a) * IN + i] != stored((o * IN + i) * area + a);
    assert_int_equal(wrong, 0);
    free(values);
    tensor_release(x);
    finish(weights);
}

static void expect_matrix(DType dtype) {
    Weights *weights = open_model(dtype);
    Tensor *x = weights_matrix(weights, "matrix", ROWS, COLUMNS);
    assert_non_null(x);
    float *values = on_host(x);
    int64_t wrong = 0;
    for (int64_t i = 0; i < ROWS * COLUMNS; i++) wrong += values[i] != stored(i);
    assert_int_equal(wrong, 0);
    free(values);
    tensor_release(x);
    finish(weights);
}

static void long_weights_arrive_whole_in_either_type(void **state) {
    (void)state;
    float *values = stored_values(MOST);
    const int64_t conv[] = {OUT, IN, KERNEL, KERNEL}, matrix[] = {ROWS, COLUMNS}, odd[] = {3};
    const SafetensorsTensor tensors[] = {{"odd", ELEMENT_U8, 1, odd, values}, // no alignment
                                         {"conv", ELEMENT_F32, 4, conv, values},
                                         {"matrix", ELEMENT_F32, 2, matrix, values}};
    write_model(tensors, 3);
    free(values);
    for (DType dtype = FLOAT32; dtype <= BFLOAT16; dtype++) {
        expect_convolution(dtype);
        expect_matrix(dtype);
    }
}

static void eight_bit_floats_are_converted(void **state) {
    (void)state;
    const int64_t shape[] = {2, 3};
    const SafetensorsTensor tensor = {"x", ELEMENT_F8_E4M3, 2, shape, "abcdef"}; // 0x61 to 0x66
    write_model(&tensor, 1);
    Weights *weights = open_model(BFLOAT16);
    Tensor *x = weights_matrix(weights, "x", 2, 3);
    assert_non_null(x);
    float *values = on_host(x);
    for (int i = 0; i < 6; i++) assert_true(values[i] == 36 + 4 * i); // 2^5 (1 + fraction / 8)
    free(values);
    tensor_release(x);
    finish(weights);
}

/// Also a part of a matrix, and whatever of the larger types is stored: rounded once.
static void matrices_are_rounded_to_eight_bits_on_request(void **state) {
    (void)state;
    enum { PART = ROWS / 2 };
    const int64_t shape[] = {ROWS, COLUMNS};
    float *values = stored_values(ROWS * COLUMNS);
    uint16_t *halves = checked_malloc((size_t)(ROWS * COLUMNS) * sizeof *halves);
    for (int64_t i = 0; i < ROWS * COLUMNS; i++) {
        halves[i] = float_to_bfloat16(values[i]);
        if (i % 3 == 0)
            values[i] += 0x1p-12f; // what bfloat16 would lose, and with it the direction
    }
    write_model((SafetensorsTensor[]){{"wide", ELEMENT_F32, 2, shape, values},
                                      {"narrow", ELEMENT_BF16, 2, shape, halves}},
                2);
    for (DType dtype = FLOAT32; dtype <= BFLOAT16; dtype++) {
        case_begin();
        Weights *weights = open_model(dtype);
        Tensor *before = weights_matrix(weights, "narrow", ROWS, COLUMNS);
        weights_matrix_type(weights, FLOAT8);
        Tensor *narrow = weights_matrix(weights, "narrow", ROWS, COLUMNS);
        Tensor *wide = weights_matrix(weights, "wide", ROWS, COLUMNS);
        Tensor *part = weights_matrix_part(weights, "wide", 1, 2, PART, COLUMNS);
        weights_matrix_type(weights, dtype);
        Tensor *after = weights_matrix(weights, "narrow", ROWS, COLUMNS);
        assert_true(before->dtype == dtype && after->dtype == dtype);
        assert_true(narrow->dtype == FLOAT8 && wide->dtype == FLOAT8 && part->dtype == FLOAT8);
        case_expect_equal("bfloat16", narrow, quantize_rows(before));
        case_expect_equal("its scales", narrow->scales, quantize_rows(before)->scales);
        Tensor *numbers = tensor_from_host(case_device(), FLOAT32, SHAPE(ROWS, COLUMNS), values);
        case_expect_equal("float32", wide, quantize_rows(numbers));
        case_expect_equal("a part", part, tensor_slice(wide, PART * COLUMNS, SHAPE(PART, COLUMNS)));
        Tensor *const all[] = {before, narrow, wide, part, after};
        for (int i = 0; i < 5; i++) tensor_release(all[i]);
        finish(weights);
        case_end();
    }
    free(halves);
    free(values);
}

/// Resident pages of mapped files, in KiB; -1 where the system does not say.
static long resident_file_kib(void) {
    FILE *file = fopen("/proc/self/status", "r");
    char line[256];
    long kib = -1;
    while (file && fgets(line, sizeof line, file)) sscanf(line, "RssFile: %ld", &kib);
    if (file) fclose(file);
    return kib;
}

static void what_was_read_of_a_file_does_not_stay_in_memory(void **state) {
    (void)state;
    const int64_t shape[] = {16, 1 << 20};
    float *values = stored_values(shape[0] * shape[1]);
    const SafetensorsTensor tensor = {"x", ELEMENT_F32, 2, shape, values};
    write_model(&tensor, 1);
    free(values);
    Weights *weights = open_model(BFLOAT16);
    long before = resident_file_kib();
    if (before < 0) skip();
    Tensor *x = weights_matrix(weights, "x", shape[0], shape[1]);
    assert_non_null(x);
    // a few pages at the ends of each piece, of 64 MiB
    assert_true(resident_file_kib() - before < 4 * 1024);
    tensor_release(x);
    finish(weights);
}

static void all_missing_tensors_are_named_together(void **state) {
    (void)state;
    const int64_t shape[] = {1};
    const float value = 1;
    const SafetensorsTensor tensor = {"w", ELEMENT_F32, 1, shape, &value};
    write_model(&tensor, 1);
    Weights *weights = open_model(FLOAT32);
    for (int i = 0; i < 12; i++) {
        weights_prefix(weights, "layers.%d.", i);
        assert_null(weights_vector(weights, "bias", 1));
    }
    weights_prefix(weights, "%s", "");
    assert_null(weights_vector(weights, "w", 1)); // there, but of no use any more
    assert_true(weights_failed(weights));
    Error error = {0};
    assert_false(weights_finish(weights, &error));
    assert_non_null(strstr(error.message, temporary_folder));
    assert_non_null(strstr(error.message, ": 12 tensors are missing: layers.0.bias, "));
    assert_non_null(strstr(error.message, "layers.9.bias and 2 more. Of the first: The nearest"));

    weights = open_model(FLOAT32);
    assert_null(weights_vector(weights, "v", 1));
    assert_false(weights_finish(weights, &error));
    assert_non_null(strstr(error.message, "tensor 'v' is missing. The nearest names there are: w"));
}

static char heard[512];

static void hear(const char *message) { snprintf(heard, sizeof heard, "%s", message); }

static void tensors_that_nobody_asks_for_are_named(void **state) {
    (void)state;
    const int64_t shape[] = {1};
    const float value = 1;
    const SafetensorsTensor tensors[] = {{"w", ELEMENT_F32, 1, shape, &value},
                                         {"b", ELEMENT_F32, 1, shape, &value},
                                         {"decoder.w", ELEMENT_F32, 1, shape, &value}};
    write_model(tensors, 3);
    weights_on_warning(hear);
    for (int leave = 0; leave < 2; leave++) {
        Weights *weights = open_model(FLOAT32);
        tensor_release(weights_vector(weights, "w", 1));
        if (leave) weights_leave(weights, "%s.*", "decoder");
        finish(weights);
        assert_non_null(strstr(heard, temporary_folder));
        assert_non_null(strstr(heard, leave ? ": 1 tensor is not used: b"
                                            : ": 2 tensors are not used: b, decoder.w"));
    }
    heard[0] = 0;
    Weights *weights = open_model(FLOAT32);
    weights_leave(weights, "*");
    finish(weights);
    assert_int_equal(heard[0], 0);
    weights_on_warning(NULL);
}

/// Where a device computes in the host's memory, a large matrix of the type wanted is the file's
/// own memory, and keeps the file open.
static void large_matrices_stay_in_the_mapped_file(void **state) {
    (void)state;
    uint16_t *values = checked_malloc(MOST * sizeof *values);
    for (int64_t i = 0; i < MOST; i++) values[i] = float_to_bfloat16(stored(i));
    const int64_t shape[] = {ROWS, COLUMNS}, small[] = {3, 5};
    const SafetensorsTensor tensors[] = {{"odd", ELEMENT_BF16, 2, small, values},
                                         {"matrix", ELEMENT_BF16, 2, shape, values}};
    write_model(tensors, 2);
    free(values);
    Device *device = case_device();
    int64_t before = device->bytes_in_use;
    Weights *weights = open_model(BFLOAT16);
    const StoredTensor *stored_matrix = model_directory_find(weights_directory(weights), "matrix");
    Tensor *x = weights_matrix(weights, "matrix", ROWS, COLUMNS),
           *odd = weights_matrix(weights, "odd", 3, 5);
    assert_int_equal(x->data == stored_matrix->data, device->shares_host_memory);
    assert_true(device->bytes_in_use - before >= MOST * 2); // counted either way
    finish(weights);
    float *read = on_host(x);
    int64_t wrong = 0;
    for (int64_t i = 0; i < MOST; i++) wrong += read[i] != stored(i);
    assert_int_equal(wrong, 0);
    free(read);
    tensor_release(x);
    tensor_release(odd);
    assert_int_equal(device->bytes_in_use, before);
}

static int run(void) {
    const struct CMUnitTest tests[] = {
        IN_FOLDER(long_weights_arrive_whole_in_either_type),
        IN_FOLDER(eight_bit_floats_are_converted),
        IN_FOLDER(matrices_are_rounded_to_eight_bits_on_request),
        IN_FOLDER(all_missing_tensors_are_named_together),
        IN_FOLDER(tensors_that_nobody_asks_for_are_named),
        IN_FOLDER(large_matrices_stay_in_the_mapped_file),
        IN_FOLDER(what_was_read_of_a_file_does_not_stay_in_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

int main(void) { return case_run_devices(run); }
