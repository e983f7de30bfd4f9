// rooms: ops autograd
// Moving rows and pixels: exact where nothing is computed, float64 where pixels are mixed.
#include "ops/ops.h"
#include "tests/unit/op_cases.h"

static Tensor *index_tensor(int64_t n, const int32_t *values) {
    return tensor_from_host(case_device(), INT32, SHAPE(n), values);
}

static void check_gradients(const char *name, CaseOp op, const void *context, int count,
                            Tensor *const *inputs, double roundings) {
    for (int i = 0; i < count; i++)
        if (inputs[i]) require_grad(inputs[i]);
    case_check_gradient(name, op, context, count, inputs);
    case_check_bfloat16(name, op, context, count, inputs, roundings);
}

// ---- columns

static const int64_t column_cases[][3] = {{1, 1, 1}, {5, 3, 8}, {7, 1, 40}, {300, 64, 129}};

static void concatenate_puts_columns_side_by_side(void **state) {
    (void)state;
    for (int i = 0; i < 4; i++)
        for (DType dtype = FLOAT32; dtype <= BFLOAT16; dtype++) {
            case_begin();
            int64_t rows = column_cases[i][0], m = column_cases[i][1], n = column_cases[i][2];
            Tensor *a = case_normal(dtype, SHAPE(1, rows, m)),
                   *b = case_normal(dtype, SHAPE(1, rows, n));
            const double *x = case_doubles(a), *z = case_doubles(b);
            Tensor *y = concatenate(a, b);
            const double *got = case_doubles(y);
            assert_int_equal(tensor_numel(y), rows * (m + n));
            for (int64_t j = 0; j < rows * (m + n); j++) {
                int64_t row = j / (m + n), column = j % (m + n);
                double want = column < m ? x[row * m + column] : z[row * n + column - m];
                assert_true(got[j] == want);
            }
            case_end();
        }
}

static Tensor *concatenate_op(const void *context, DType dtype, Tensor *const *inputs) {
    (void)context;
    return concatenate(convert(inputs[0], dtype), convert(inputs[1], dtype));
}

static void concatenate_splits_the_gradient(void **state) {
    (void)state;
    for (int i = 0; i < 3; i++) {
        case_begin();
        const int64_t *c = column_cases[i];
        Tensor *inputs[] = {case_normal(FLOAT32, SHAPE(c[0], c[1])),
                            case_normal(FLOAT32, SHAPE(c[0], c[2]))};
        check_gradients("concatenate", concatenate_op, NULL, 2, inputs, 2);
        // Only the second wants one.
        Tensor *second[] = {case_normal(FLOAT32, SHAPE(c[0], c[1])), inputs[1]};
        case_check_gradient("concatenate, second", concatenate_op, NULL, 2, second);
        case_end();
    }
}

// ---- resizing

typedef struct ResizeCase {
    int64_t shape[4];
    int height, width;
} ResizeCase;

static const ResizeCase resize_cases[] = {
    {{1, 1, 1, 1}, 3, 2},    {{2, 3, 4, 5}, 6, 8},  {{1, 3, 5, 7}, 7, 11},
    {{1, 7, 6, 3}, 4, 5},    {{2, 9, 8, 2}, 2, 3},  {{1, 4, 4, 9}, 4, 4},
    {{1, 5, 3, 1100}, 3, 5}, {{1, 8, 8, 33}, 1, 1}, {{1, 24, 24, 40}, 48, 47},
};
enum { RESIZE_CASES = sizeof resize_cases / sizeof *resize_cases };

static void upsample_nearest_rounds_the_source_index_down(void **state) {
    (void)state;
    for (int i = 0; i < RESIZE_CASES; i++)
        for (DType dtype = FLOAT32; dtype <= BFLOAT16; dtype++) {
            const ResizeCase *c = &resize_cases[i];
            case_begin();
            Tensor *x = case_normal(dtype, 4, c->shape);
            const double *in = case_doubles(x);
            const double *got = case_doubles(upsample_nearest(x, c->height, c->width));
            int64_t channels = c->shape[3];
            for (int64_t j = 0; j < c->shape[0] * c->height * c->width * channels; j++) {
                int64_t pixel = j / channels, row = pixel / c->width;
                int64_t top = (row % c->height) * c->shape[1] / c->height;
                int64_t left = (pixel % c->width) * c->shape[2] / c->width;
                int64_t from = (row / c->height * c->shape[1] + top) * c->shape[2] + left;
                assert_true(got[j] == in[from * channels + j % channels]);
            }
            case_end();
        }
}

/// Where output o lies in an axis, as torch.nn.functional.interpolate(align_corners=False) has it.
static void place(int64_t o, int64_t input, int64_t output, int64_t *low, double *fraction) {
    double at = ((double)o + 0.5) * (double)input / (double)output - 0.5;
    at = fmin(fmax(at, 0), (double)(input - 1));
    *low = (int64_t)fmin(floor(at), (double)(input > 1 ? input - 2 : 0));
    *fraction = at - (double)*low;
}

static void resize_bilinear_agrees_with_float64(void **state) {
    (void)state;
    for (int i = 0; i < RESIZE_CASES; i++)
        for (DType dtype = FLOAT32; dtype <= BFLOAT16; dtype++) {
            const ResizeCase *c = &resize_cases[i];
            case_begin();
            Tensor *x = case_normal(dtype, 4, c->shape);
            const double *in = case_doubles(x);
            int64_t channels = c->shape[3], n = c->shape[0] * c->height * c->width * channels;
            double *want = case_zeros(n), *size = case_zeros(n);
            for (int64_t j = 0; j < n; j++) {
                int64_t pixel = j / channels, row = pixel / c->width, top, left;
                double down, over;
                place(row % c->height, c->shape[1], c->height, &top, &down);
                place(pixel % c->width, c->shape[2], c->width, &left, &over);
                for (int corner = 0; corner < 4; corner++) {
                    double weight = (corner & 2 ? down : 1 - down) * (corner & 1 ? over : 1 - over);
                    if (weight == 0) continue;
                    int64_t at =
                        (row / c->height * c->shape[1] + top + (corner >> 1)) * c->shape[2];
                    double value = in[(at + left + (corner & 1)) * channels + j % channels];
                    want[j] += weight * value;
                    size[j] += fabs(
                        value); // a fraction is rounded, so even a small weight's error is a unit
                }
            }
            case_expect("resize_bilinear", resize_bilinear(x, c->height, c->width), want, size, 4);
            case_end();
        }
}

/// torch.nn.functional.interpolate(mode="bilinear", align_corners=False) of 0..5 as 2 x 3 to 3 x 4.
static void resize_bilinear_is_torchs(void **state) {
    (void)state;
    case_begin();
    const float x[] = {0, 1, 2, 3, 4, 5};
    const double want[] = {0, 0.625, 1.375, 2, 1.5, 2.125, 2.875, 3.5, 3, 3.625, 4.375, 5};
    Tensor *image = tensor_from_host(case_device(), FLOAT32, SHAPE(1, 2, 3, 1), x);
    case_expect("resize_bilinear", resize_bilinear(image, 3, 4), want, NULL, 4);
    case_end();
}

static Tensor *upsample_op(const void *context, DType dtype, Tensor *const *inputs) {
    const ResizeCase *c = context;
    return upsample_nearest(convert(inputs[0], dtype), c->height, c->width);
}

static Tensor *resize_op(const void *context, DType dtype, Tensor *const *inputs) {
    const ResizeCase *c = context;
    return resize_bilinear(convert(inputs[0], dtype), c->height, c->width);
}

static void resizing_gradients_agree_with_differences(void **state) {
    (void)state;
    for (int i = 0; i < RESIZE_CASES; i++) {
        case_begin();
        Tensor *inputs[] = {case_normal(FLOAT32, 4, resize_cases[i].shape)};
        check_gradients("upsample_nearest", upsample_op, &resize_cases[i], 1, inputs, 2);
        check_gradients("resize_bilinear", resize_op, &resize_cases[i], 1, inputs, 2);
        case_end();
    }
}

// ---- rows

static void embedding_takes_rows_in_any_order_and_again(void **state) {
    (void)state;
    for (DType dtype = FLOAT32; dtype <= BFLOAT16; dtype++) {
        case_begin();
        Tensor *table = case_normal(dtype, SHAPE(11, 5));
        const int32_t rows[] = {10, 0, 3, 3, 10, 7};
        const double *in = case_doubles(table);
        const double *got = case_doubles(embedding(table, index_tensor(6, rows)));
        for (int i = 0; i < 30; i++) assert_true(got[i] == in[rows[i / 5] * 5 + i % 5]);
        case_end();
    }
}

/// Every third row of many, from the last on.
static Tensor *every_third_row(int64_t rows) {
    int32_t *values = checked_malloc((size_t)rows * sizeof *values);
    int64_t n = 0;
    for (int64_t row = rows - 1; row >= 0; row -= 3) values[n++] = (int32_t)row;
    Tensor *index = index_tensor(n, values);
    free(values);
    return index;
}

static Tensor *gather_op(const void *context, DType dtype, Tensor *const *inputs) {
    (void)context;
    return gather_rows(convert(inputs[0], dtype), every_third_row(tensor_rows(inputs[0])));
}

static void gather_rows_scatters_the_gradient(void **state) {
    (void)state;
    const int64_t shapes[][2] = {{1, 1}, {10, 7}, {500, 300}};
    for (int i = 0; i < 3; i++) {
        case_begin();
        int64_t rows = shapes[i][0], columns = shapes[i][1];
        Tensor *inputs[] = {case_normal(FLOAT32, SHAPE(rows, columns))}, *y;
        if (rows < 100) {
            check_gradients("gather_rows", gather_op, NULL, 1, inputs, 2);
        } else { // its rows of the gradient are those of y's, the others zero
            double *weights;
            require_grad(inputs[0]);
            y = case_backward(gather_op, NULL, FLOAT32, 1, inputs, &weights);
            const double *got = case_doubles(grad(inputs[0]));
            for (int64_t row = 0; row < rows; row++)
                for (int64_t c = 0; c < columns; c++) {
                    int64_t from = (rows - 1 - row) / 3;
                    bool used = (rows - 1 - row) % 3 == 0;
                    assert_true(got[row * columns + c] == (used ? weights[from * columns + c] : 0));
                }
            assert_int_equal(tensor_rows(y), (rows + 2) / 3);
        }
        case_end();
    }
}

static void gathering_no_rows_gives_none_and_a_zero_gradient(void **state) {
    (void)state;
    case_begin();
    tape_begin();
    Tensor *x = case_normal(FLOAT32, SHAPE(4, 3));
    require_grad(x);
    Tensor *y = gather_rows(x, tensor_new(case_device(), INT32, SHAPE(0)));
    assert_int_equal(tensor_numel(y), 0);
    backward(y, tensor_like(y), NULL);
    tape_end();
    case_expect("gradient", grad(x), case_zeros(12), NULL, 1);
    case_end();
}

/// A sequence of text with visual tokens in it: one text row is replaced (the image's place), the
/// sequence is cut off inside the visual tokens.
static const int32_t merged[] = {0, 1, -1, -2, -3, -4};

static Tensor *merge_op(const void *context, DType dtype, Tensor *const *inputs) {
    (void)context;
    return merge_rows(convert(inputs[0], dtype), convert(inputs[1], dtype),
                      index_tensor(6, merged));
}

static Tensor *merge_text_op(const void *context, DType dtype, Tensor *const *inputs) {
    (void)context;
    return merge_rows(convert(inputs[0], dtype), NULL, index_tensor(2, merged));
}

static void merge_rows_puts_visual_tokens_among_text(void **state) {
    (void)state;
    for (DType dtype = FLOAT32; dtype <= BFLOAT16; dtype++) {
        case_begin();
        Tensor *text = case_normal(dtype, SHAPE(5, 3)), *visual = case_normal(dtype, SHAPE(7, 3));
        const double *a = case_doubles(text), *b = case_doubles(visual);
        const double *got = case_doubles(merge_rows(text, visual, index_tensor(6, merged)));
        for (int i = 0; i < 18; i++) {
            int32_t from = merged[i / 3];
            assert_true(got[i] == (from >= 0 ? a[from * 3 + i % 3] : b[(-1 - from) * 3 + i % 3]));
        }
        case_end();
    }
}

static void write_rows_leaves_the_other_rows(void **state) {
    (void)state;
    const int32_t to[] = {4, 0, 3};
    const int from[] = {1, -1, -1, 2, 0}; // row of y, -1: its own
    for (DType dtype = FLOAT32; dtype <= BFLOAT16; dtype++)
        for (int64_t columns = 1; columns < 70; columns += 23) {
            case_begin();
            Tensor *rows = case_normal(dtype, SHAPE(3, columns)),
                   *y = case_normal(dtype, SHAPE(5, columns));
            const double *written = case_doubles(rows), *before = case_doubles(y);
            write_rows(rows, index_tensor(3, to), y);
            const double *got = case_doubles(y);
            for (int64_t i = 0; i < 5 * columns; i++) {
                int row = from[i / columns];
                double want = row < 0 ? before[i] : written[row * columns + i % columns];
                assert_true(got[i] == want);
            }
            case_end();
        }
}

static void merge_rows_gives_unused_rows_a_zero_gradient(void **state) {
    (void)state;
    case_begin();
    Tensor *inputs[] = {case_normal(FLOAT32, SHAPE(5, 3)), case_normal(FLOAT32, SHAPE(7, 3))};
    check_gradients("merge_rows", merge_op, NULL, 2, inputs, 2);
    const double *text = case_doubles(grad(inputs[0])), *visual = case_doubles(grad(inputs[1]));
    for (int i = 0; i < 15; i++) assert_true((text[i] != 0) == (i < 6));
    for (int i = 0; i < 21; i++) assert_true((visual[i] != 0) == (i < 12));
    check_gradients("merge_rows, text only", merge_text_op, NULL, 1, inputs, 2);
    Tensor *visual_only[] = {case_normal(FLOAT32, SHAPE(5, 3)), inputs[1]};
    case_check_gradient("merge_rows, one gradient", merge_op, NULL, 2, visual_only);
    case_end();
}

static int shape_tests(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(concatenate_puts_columns_side_by_side),
        cmocka_unit_test(concatenate_splits_the_gradient),
        cmocka_unit_test(upsample_nearest_rounds_the_source_index_down),
        cmocka_unit_test(resize_bilinear_agrees_with_float64),
        cmocka_unit_test(resize_bilinear_is_torchs),
        cmocka_unit_test(resizing_gradients_agree_with_differences),
        cmocka_unit_test(embedding_takes_rows_in_any_order_and_again),
        cmocka_unit_test(gather_rows_scatters_the_gradient),
        cmocka_unit_test(gathering_no_rows_gives_none_and_a_zero_gradient),
        cmocka_unit_test(write_rows_leaves_the_other_rows),
        cmocka_unit_test(merge_rows_puts_visual_tokens_among_text),
        cmocka_unit_test(merge_rows_gives_unused_rows_a_zero_gradient),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

int main(void) { return case_run_vector_levels(shape_tests); }
