// rooms: ops autograd
// FLOAT8: its numbers and their rounding against their definition, products with a matrix of it at
// every kernel level, and what linear layers make of one.
#include "ops/ops.h"
#include "tests/unit/op_cases.h"
#include "tests/unit/product_reference.h"

/// (-1)^s 2^(e-7) (1 + m/8), or below the least exponent (-1)^s 2^-6 m/8.
static double number_of(int byte) {
    int exponent = byte >> 3 & 15, mantissa = byte & 7;
    double magnitude = exponent ? ldexp(1 + mantissa / 8.0, exponent - 7) : ldexp(mantissa, -9);
    return byte & 0x80 ? -magnitude : magnitude;
}

/// The byte of the number nearest to x, of two the even one.
static int nearest_byte(double x) {
    int best = 0;
    for (int byte = 1; byte < 0x7f; byte++) {
        double nearer = fabs(fabs(x) - number_of(best)) - fabs(fabs(x) - number_of(byte));
        if (nearer > 0 || (nearer == 0 && byte % 2 == 0)) best = byte;
    }
    return signbit(x) ? best | 0x80 : best;
}

static void bytes_stand_for_their_numbers(void **state) {
    (void)state;
    for (int byte = 0; byte < 256; byte++) {
        if ((byte & 0x7f) == 0x7f) continue;
        assert_true((double)float8_to_float((uint8_t)byte) == number_of(byte));
        assert_int_equal(float_to_float8((float)number_of(byte)), byte);
    }
}

/// Halfway between neighbours, and a hair to either side.
static void numbers_between_go_to_the_nearest(void **state) {
    (void)state;
    for (int byte = 0; byte < 0x7e; byte++) {
        float half = (float)((number_of(byte) + number_of(byte + 1)) / 2);
        const float around[] = {nextafterf(half, 0), half, nextafterf(half, FLOAT8_MAX)};
        for (int i = 0; i < 3; i++) {
            assert_int_equal(float_to_float8(around[i]), nearest_byte(around[i]));
            assert_int_equal(float_to_float8(-around[i]), nearest_byte(-around[i]));
        }
    }
}

/// The least power of two at which a row fits, but no less than 2^-117.
static double scale_of(const double *row, int64_t columns) {
    double largest = 0, scale = 0x1p-117;
    for (int64_t c = 0; c < columns; c++) largest = fmax(largest, fabs(row[c]));
    while (largest / scale > 448) scale *= 2;
    return scale;
}

static void expect_rounded(const Tensor *x, const Tensor *y) {
    int64_t rows = tensor_rows(x), columns = tensor_columns(x);
    const double *values = case_doubles(x), *scales = case_doubles(y->scales);
    const uint8_t *bytes = case_host(y);
    for (int64_t r = 0; r < rows; r++) {
        const double *row = values + r * columns;
        assert_true(scales[r] == scale_of(row, columns));
        for (int64_t c = 0; c < columns; c++)
            assert_int_equal(bytes[r * columns + c], nearest_byte(row[c] / scales[r]));
    }
}

static void rows_are_rounded_by_their_own_scales(void **state) {
    (void)state;
    static const int64_t shapes[][2] = {{1, 1}, {3, 7}, {5, 16}, {2, 1024}, {2, 1031}, {33, 264}};
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++)
        for (DType type = FLOAT32; type <= BFLOAT16; type++) {
            case_begin();
            Tensor *x = case_normal(type, 2, shapes[i]);
            expect_rounded(x, quantize_rows(x));
            case_end();
        }
}

/// Rows of every magnitude, and rows whose largest element is at and around the end of the range.
static void every_magnitude_has_its_scale(void **state) {
    (void)state;
    enum { COLUMNS = 24 };
    for (int exponent = -149; exponent < 128; exponent++)
        for (DType type = FLOAT32; type <= BFLOAT16; type++) {
            case_begin();
            float rows[4][COLUMNS];
            const float mantissas[] = {1, 1.75f, 1.7578125f, 1.9921875f};
            for (int r = 0; r < 4; r++)
                for (int c = 0; c < COLUMNS; c++)
                    rows[r][c] = ldexpf(c % 2 ? mantissas[r] : -mantissas[r], exponent - c);
            Tensor *x = tensor_new(case_device(), type, SHAPE(4, COLUMNS));
            tensor_fill_from_float(x, rows[0]);
            expect_rounded(x, quantize_rows(x));
            case_end();
        }
}

static void a_row_of_zeros_is_one(void **state) {
    (void)state;
    case_begin();
    Tensor *x = tensor_zeros(case_device(), BFLOAT16, SHAPE(2, 40));
    const double *got = case_doubles(quantize_rows(x));
    for (int i = 0; i < 80; i++) assert_true(got[i] == 0);
    case_end();
}

/// Its neighbours are as before.
static void a_row_that_is_not_finite_is_nan(void **state) {
    (void)state;
    const float wrong[] = {NAN, -NAN, INFINITY, -INFINITY};
    for (int i = 0; i < 4; i++) {
        case_begin();
        Tensor *x = case_normal(FLOAT32, SHAPE(3, 70));
        const double *before = case_doubles(quantize_rows(x));
        case_write_float(x, 70 + 17 * i, wrong[i]);
        const double *got = case_doubles(quantize_rows(x));
        for (int j = 0; j < 210; j++)
            assert_true(j / 70 == 1 ? isnan(got[j]) : got[j] == before[j]);
        Tensor *y = linear(x, case_normal(FLOAT8, SHAPE(5, 70)), NULL);
        const double *product = case_doubles(y);
        for (int j = 0; j < 15; j++) assert_true(isnan(product[j]) == (j / 5 == 1));
        case_end();
    }
}

static void a_slice_has_its_rows_scales(void **state) {
    (void)state;
    case_begin();
    Tensor *whole = case_normal(FLOAT8, SHAPE(9, 33));
    const double *all = case_doubles(whole);
    const double *part = case_doubles(tensor_slice(whole, 4 * 33, SHAPE(3, 33)));
    for (int i = 0; i < 3 * 33; i++) assert_true(part[i] == all[4 * 33 + i]);
    case_end();
}

// ---- products

/// Vectors, packs and tiles that are not whole; the processor's own products with large matrices.
static const LinearShape shapes[] = {{1, 1, 1},     {3, 17, 5},     {16, 64, 48},  {33, 250, 19},
                                     {7, 1031, 65}, {64, 512, 640}, {65, 331, 517}};

static void products_are_those_of_the_numbers(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++) {
        case_begin();
        check_forward(shapes[i], FLOAT8, FLOAT8);
        check_input_gradient(shapes[i], FLOAT32, FLOAT8);
        check_input_gradient(shapes[i], BFLOAT16, FLOAT8);
        case_end();
    }
}

// ---- layers

enum { ROWS = 19, K = 72, N = 35, RANK = 3 };

typedef struct Layer {
    Tensor *weight, *bias;
} Layer;

static Tensor *layer_op(const void *context, DType dtype, Tensor *const *inputs) {
    const Layer *layer = context;
    LoRA lora = {.a = inputs[1], .b = inputs[2], .scale = 0.5f};
    return linear_lora(convert(inputs[0], dtype), layer->weight, layer->bias,
                       inputs[1] ? &lora : NULL);
}

static Tensor *leaf(Tensor *x) {
    require_grad(x);
    return x;
}

/// A layer of FLOAT8 is one whose rows and matrix hold the rounded numbers, and so is its gradient.
static void a_layer_rounds_its_rows(void **state) {
    (void)state;
    for (DType type = FLOAT32; type <= BFLOAT16; type++) {
        case_begin();
        Tensor *x = case_normal(FLOAT32, SHAPE(ROWS, K)), *bias = case_normal(FLOAT32, SHAPE(N));
        Tensor *weight = case_normal(FLOAT8, SHAPE(N, K)), *wide = case_convert(weight, type);
        Tensor *inputs[3] = {leaf(case_convert(x, FLOAT32))};
        Tensor *rounded[3] = {leaf(case_convert(quantize_rows(x), FLOAT32))};
        Tensor *y = case_backward(layer_op, &(Layer){weight, bias}, type, 3, inputs, NULL);
        Tensor *want = case_backward(layer_op, &(Layer){wide, bias}, type, 3, rounded, NULL);
        double allowed = case_unit(type) * 8;
        assert_true(case_relative_error(y, want) <= allowed);
        assert_true(case_relative_error(grad(inputs[0]), grad(rounded[0])) <= allowed);
        assert_true(case_relative_error(y, linear(convert(x, type), wide, bias)) > 0.005);
        case_end();
    }
}

/// Which is multiplied with the rows as they are.
static void a_low_rank_update_is_of_the_unrounded_rows(void **state) {
    (void)state;
    case_begin();
    Tensor *weight = case_normal(FLOAT8, SHAPE(N, K)),
           *none = tensor_zeros(case_device(), FLOAT32, SHAPE(N, K));
    Tensor *inputs[3] = {leaf(case_normal(FLOAT32, SHAPE(ROWS, K))),
                         leaf(case_normal(FLOAT32, SHAPE(RANK, K))),
                         leaf(case_normal(FLOAT32, SHAPE(N, RANK)))};
    Tensor *alone[3] = {leaf(case_convert(inputs[0], FLOAT32))};
    Tensor *update[3];
    for (int i = 0; i < 3; i++) update[i] = leaf(case_convert(inputs[i], FLOAT32));
    Tensor *y = case_backward(layer_op, &(Layer){weight, NULL}, FLOAT32, 3, inputs, NULL);
    Tensor *first = case_backward(layer_op, &(Layer){weight, NULL}, FLOAT32, 3, alone, NULL);
    Tensor *second = case_backward(layer_op, &(Layer){none, NULL}, FLOAT32, 3, update, NULL);
    double allowed = case_unit(FLOAT32) * 32;
    assert_true(case_relative_error(y, add(first, second)) <= allowed);
    assert_true(case_relative_error(grad(inputs[0]), add(grad(alone[0]), grad(update[0]))) <=
                allowed);
    for (int i = 1; i < 3; i++)
        assert_true(case_relative_error(grad(inputs[i]), grad(update[i])) <= allowed);
    case_end();
}

static int run(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bytes_stand_for_their_numbers),
        cmocka_unit_test(numbers_between_go_to_the_nearest),
        cmocka_unit_test(rows_are_rounded_by_their_own_scales),
        cmocka_unit_test(every_magnitude_has_its_scale),
        cmocka_unit_test(a_row_of_zeros_is_one),
        cmocka_unit_test(a_row_that_is_not_finite_is_nan),
        cmocka_unit_test(a_slice_has_its_rows_scales),
        cmocka_unit_test(products_are_those_of_the_numbers),
        cmocka_unit_test(a_layer_rounds_its_rows),
        cmocka_unit_test(a_low_rank_update_is_of_the_unrounded_rows),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

int main(void) { return case_run_levels(run); }
