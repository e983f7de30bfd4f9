// rooms: ops autograd
// Linear layers, convolutions and rotary embedding against float64, in every type, at every kernel
// level.
#include "ops/ops.h"
#include "tests/unit/op_cases.h"
#include "tests/unit/product_reference.h"

static const DType floating[] = {FLOAT32, BFLOAT16};

// ---- linear

static const LinearShape linear_shapes[] = {{1, 1, 1},    {1, 37, 5},    {7, 13, 3},
                                            {3, 4099, 9}, {65, 64, 96},  {130, 70, 50},
                                            {2, 8, 257},  {300, 20, 160}};

/// Every shape, with activations and weights of every type that the contract allows together.
static void for_each_linear(LinearCheck check) {
    for (size_t i = 0; i < sizeof linear_shapes / sizeof *linear_shapes; i++)
        for (int t = 0; t < 3; t++) {
            case_begin();
            check(linear_shapes[i], t == 0 ? FLOAT32 : BFLOAT16, t == 2 ? BFLOAT16 : FLOAT32);
            case_end();
        }
}

static void linear_multiplies(void **state) {
    (void)state;
    for_each_linear(check_forward);
}

static void linear_gives_the_gradient_of_its_input(void **state) {
    (void)state;
    for_each_linear(check_input_gradient);
}

static void check_weight_gradient(LinearShape s, DType type, DType weight_type) {
    if (weight_type != FLOAT32) return; // gradients of parameters are FLOAT32
    Tensor *grad_y = case_normal(type, SHAPE(s.rows, s.n));
    Tensor *x = case_normal(type, SHAPE(s.rows, s.k));
    Tensor *grad_weight = case_normal(FLOAT32, SHAPE(s.n, s.k));
    Tensor *grad_bias = case_normal(FLOAT32, SHAPE(s.n));
    Reference weight = reference_new(s.n * s.k), bias = reference_new(s.n);
    reference_add_rows(weight, s.n, s.k, case_doubles(grad_weight), s.k);
    reference_add_rows(bias, 1, s.n, case_doubles(grad_bias), 0);
    const double *g = case_doubles(grad_y);
    reference_product(weight, s.n, s.k, s.rows, g, 1, s.n, case_doubles(x), s.k, 1);
    for (int64_t row = 0; row < s.rows; row++) reference_add_rows(bias, 1, s.n, g + row * s.n, 0);
    kernels(x)->linear_weight_gradient(grad_y, x, grad_weight);
    reference_expect("weight gradient", grad_weight, weight, (double)s.rows);
    kernels(x)->sum_rows(grad_y, grad_bias);
    reference_expect("bias gradient", grad_bias, bias, (double)s.rows);
}

static void linear_adds_to_the_gradients_of_its_parameters(void **state) {
    (void)state;
    for_each_linear(check_weight_gradient);
}

static void sums_of_many_rows_or_columns_stay_exact(void **state) {
    (void)state;
    const int64_t shapes[][2] = {{100003, 3}, {1, 70001}, {5, 2500}, {65, 1025}};
    for (size_t s = 0; s < sizeof shapes / sizeof *shapes; s++) {
        case_begin();
        int64_t rows = shapes[s][0], columns = shapes[s][1];
        float *values = case_memory(rows * columns, sizeof *values);
        for (int64_t i = 0; i < rows * columns; i++) values[i] = (float)(i % columns % 7);
        Tensor *x = tensor_from_host(case_device(), FLOAT32, SHAPE(rows, columns), values);
        Tensor *sum = tensor_zeros(case_device(), FLOAT32, SHAPE(columns));
        for (int twice = 0; twice < 2; twice++) kernels(x)->sum_rows(x, sum);
        const float *sums = case_host(sum);
        for (int64_t c = 0; c < columns; c++) assert_true(sums[c] == (float)(2 * rows * (c % 7)));
        case_end();
    }
}

static void no_rows_give_no_result_and_no_gradient(void **state) {
    (void)state;
    case_begin();
    Tensor *x = tensor_new(case_device(), FLOAT32, SHAPE(0, 5));
    Tensor *weight = case_normal(FLOAT32, SHAPE(3, 5));
    require_grad(weight);
    tape_begin();
    Tensor *y = linear(x, weight, NULL);
    assert_int_equal(tensor_numel(y), 0);
    backward(y, tensor_like(y), NULL);
    tape_end();
    case_expect("gradient", grad(weight), case_zeros(15), NULL, 1);
    case_end();
}

static Tensor *linear_op(const void *context, DType dtype, Tensor *const *inputs) {
    (void)context;
    return linear(convert(inputs[0], dtype), inputs[1], inputs[2]);
}

/// What is between may be rounded once more, to y's type, with a slope of at most 1.13 (gelu_tanh's
/// largest).
static void check_gelu_tanh(LinearShape s, DType type, DType weight_type) {
    Tensor *x = case_normal(type, SHAPE(s.rows, s.k));
    Tensor *weight = case_normal_times(0.125, weight_type, SHAPE(s.n, s.k));
    Tensor *bias = case_normal(FLOAT32, SHAPE(s.n));
    for (int biased = 0; biased < 2; biased++) {
        Reference sum = reference_new(s.rows * s.n);
        reference_product(sum, s.rows, s.n, s.k, case_doubles(x), s.k, 1, case_doubles(weight), 1,
                          s.k);
        if (biased) reference_add_rows(sum, s.rows, s.n, case_doubles(bias), 0);
        Tensor *y = linear_gelu_tanh(x, weight, biased ? bias : NULL);
        const double *got = case_doubles(y);
        for (int64_t i = 0; i < s.rows * s.n; i++) {
            double at = sum.value[i];
            double u = sqrt(2 / M_PI) * (at + 0.044715 * at * at * at),
                   want = at / (1 + exp(-2 * u));
            double in_sum = case_unit(type) * fabs(at) +
                            case_product_unit(type) * (1 + case_unit(type)) * sum.stored[i] +
                            (4 + sqrt((double)s.k)) * case_unit(FLOAT32) * sum.magnitude[i];
            // 0.5 x (1 + tanh(u)) as written loses |x| units where tanh(u) is near -1.
            double in_activation = (16 + 4 * fabs(2 * u)) * case_unit(FLOAT32) * fabs(at);
            double allowed = case_unit(type) * fabs(want) + 1.13 * in_sum + in_activation;
            if (!(fabs(got[i] - want) <= allowed))
                fail_msg("%s: element %lld is %.9g, expected %.9g +- %.2g", tensor_describe(y),
                         (long long)i, got[i], want, allowed);
        }
    }
}

static void linear_gelu_tanh_is_the_activation_of_the_product(void **state) {
    (void)state;
    for_each_linear(check_gelu_tanh);
}

static Tensor *linear_gelu_tanh_op(const void *context, DType dtype, Tensor *const *inputs) {
    (void)context;
    return linear_gelu_tanh(convert(inputs[0], dtype), inputs[1], inputs[2]);
}

static void linear_gelu_tanh_passes_gradients_to_every_input(void **state) {
    (void)state;
    for (int wanted = 0; wanted < 3; wanted++) {
        case_begin();
        Tensor *inputs[] = {case_normal(FLOAT32, SHAPE(2, 3, 9)),
                            case_normal_times(0.125, FLOAT32, SHAPE(5, 9)),
                            case_normal(FLOAT32, SHAPE(5))};
        require_grad(inputs[wanted]);
        case_check_gradient("linear_gelu_tanh", linear_gelu_tanh_op, NULL, 3, inputs);
        case_check_bfloat16("linear_gelu_tanh", linear_gelu_tanh_op, NULL, 3, inputs, 3);
        case_end();
    }
}

static void linear_passes_gradients_to_every_input(void **state) {
    (void)state;
    case_begin();
    Tensor *inputs[] = {case_normal(FLOAT32, SHAPE(2, 3, 17)), case_normal(FLOAT32, SHAPE(11, 17)),
                        case_normal(FLOAT32, SHAPE(11))};
    for (int i = 0; i < 3; i++) require_grad(inputs[i]);
    case_check_gradient("linear", linear_op, NULL, 3, inputs);
    case_check_bfloat16("linear", linear_op, NULL, 3, inputs, 2);
    case_end();
}

static Tensor *linear_of_computed_weight(const void *context, DType dtype, Tensor *const *inputs) {
    (void)context;
    return linear(convert(inputs[0], dtype), scale(inputs[1], 0.5f), scale(inputs[2], 0.5f));
}

static void a_computed_weight_gets_a_gradient_too(void **state) {
    (void)state;
    case_begin();
    Tensor *inputs[] = {case_normal(FLOAT32, SHAPE(5, 7)), case_normal(FLOAT32, SHAPE(4, 7)),
                        case_normal(FLOAT32, SHAPE(4))};
    for (int i = 0; i < 3; i++) require_grad(inputs[i]);
    case_check_gradient("linear of a computed weight", linear_of_computed_weight, NULL, 3, inputs);
    case_end();
}

static void a_frozen_weight_keeps_no_activation(void **state) {
    (void)state;
    case_begin();
    Tensor *x = case_normal(FLOAT32, SHAPE(5, 7)), *weight = case_normal(FLOAT32, SHAPE(4, 7));
    require_grad(x);
    tape_begin();
    int before = x->references;
    linear(x, weight, NULL);
    assert_int_equal(x->references, before);
    assert_int_equal(tape_length(), 1);
    tape_end();
    linear(x, weight, NULL);
    case_end();
}

static void a_small_frozen_weight_is_prepared_once_and_let_go(void **state) {
    (void)state;
    Device *device = case_device();
    if (!case_on_cpu()) skip(); // only the processor's product library has layouts of its own
    assert_int_equal(device->bytes_prepared, 0);
    for (int i = 0; i < 4; i++) {
        int t = i % 2;
        int64_t n = i < 2 ? 80 : 48; // a square weight read the other way round is another weight
        case_begin();
        Tensor *x = case_normal(floating[t], SHAPE(33, 48));
        Tensor *weight = case_normal(floating[t], SHAPE(n, 48));
        Tensor *plain = linear(x, weight, NULL);
        Tensor *grad_plain = tensor_like(x), *grad_prepared = tensor_like(x);
        kernels(x)->linear_input_gradient(plain, weight, false, grad_plain);
        assert_int_equal(device->bytes_prepared, 0);
        weight->name = checked_strdup("frozen");
        Tensor *prepared = linear(x, weight, NULL);
        int64_t bytes = device->bytes_prepared;
        assert_true(bytes >= n * 48 * (int64_t)dtype_size(floating[t]) / 2);
        case_expect_equal("again", linear(x, weight, NULL), prepared);
        assert_int_equal(device->bytes_prepared, bytes);
        kernels(x)->linear_input_gradient(plain, weight, false, grad_prepared);
        // The same sums in another order: each within its own rounding of the exact one.
        double allowed = 2 * case_unit(floating[t]) + 16 * case_unit(FLOAT32);
        assert_true(case_relative_error(prepared, plain) <= allowed);
        assert_true(case_relative_error(grad_prepared, grad_plain) <= allowed);
        case_end();
        assert_int_equal(device->bytes_prepared, 0);
    }
}

static void a_trained_weight_is_never_prepared(void **state) {
    (void)state;
    case_begin();
    Tensor *x = case_normal(FLOAT32, SHAPE(3, 4)), *weight = case_normal(FLOAT32, SHAPE(5, 4));
    weight->name = checked_strdup("trained");
    require_grad(weight);
    Tensor *before = linear(x, weight, NULL);
    float *values = case_host(weight);
    for (int64_t i = 0; i < 20; i++) values[i] *= 2;
    case_write(weight, values);
    const double *once = case_doubles(before), *twice = case_doubles(linear(x, weight, NULL));
    for (int64_t i = 0; i < 15; i++) assert_true(twice[i] == 2 * once[i]);
    assert_null(weight->prepared);
    case_end();
}

// ---- low-rank update

static Tensor *lora_op(const void *context, DType dtype, Tensor *const *inputs) {
    LoRA lora = *(const LoRA *)context;
    lora.a = inputs[1];
    lora.b = inputs[2];
    return linear_lora(convert(inputs[0], dtype), case_convert(inputs[3], dtype), inputs[4], &lora);
}

static void low_rank_update_passes_gradients(void **state) {
    (void)state;
    for (int dropping = 0; dropping < 3; dropping++) {
        case_begin();
        int32_t rows[9][2];
        for (int i = 0; i < 9; i++) rows[i][0] = i / 4, rows[i][1] = i % 4;
        LoRA lora = {.scale = 2.0f,
                     .dropout = dropping ? 0.25f : 0.0f,
                     .stream = random_stream(3, RANDOM_DROPOUT, 5)};
        if (dropping == 2)
            lora.dropout_rows = tensor_from_host(case_device(), INT32, SHAPE(9, 2), rows);
        Tensor *inputs[] = {case_normal(FLOAT32, SHAPE(9, 33)), case_normal(FLOAT32, SHAPE(4, 33)),
                            case_normal(FLOAT32, SHAPE(21, 4)), case_normal(FLOAT32, SHAPE(21, 33)),
                            case_normal(FLOAT32, SHAPE(21))};
        for (int i = 0; i < 3; i++) require_grad(inputs[i]);
        case_check_gradient("linear_lora", lora_op, &lora, 5, inputs);
        // h, its scaling, the frozen product, y; backward as many
        case_check_bfloat16("linear_lora", lora_op, &lora, 5, inputs, 6);
        case_end();
    }
}

static void low_rank_update_is_the_sum_of_two_layers(void **state) {
    (void)state;
    case_begin();
    Tensor *x = case_normal(FLOAT32, SHAPE(9, 33)), *weight = case_normal(FLOAT32, SHAPE(21, 33));
    LoRA lora = {case_normal(FLOAT32, SHAPE(4, 33)),
                 case_normal(FLOAT32, SHAPE(21, 4)),
                 2.0f,
                 0.25f,
                 random_stream(3, RANDOM_DROPOUT, 5),
                 NULL};
    Tensor *y = linear_lora(x, weight, NULL, &lora);
    Tensor *d = dropout(x, lora.dropout, lora.stream);
    Reference want = reference_new(9 * 21), hidden = reference_new(9 * 4);
    reference_product(want, 9, 21, 33, case_doubles(x), 33, 1, case_doubles(weight), 1, 33);
    reference_product(hidden, 9, 4, 33, case_doubles(d), 33, 1, case_doubles(lora.a), 1, 33);
    const double *b = case_doubles(lora.b);
    for (int64_t i = 0; i < 9; i++)
        for (int64_t j = 0; j < 21; j++)
            for (int64_t r = 0; r < 4; r++) {
                want.value[i * 21 + j] += 2 * hidden.value[i * 4 + r] * b[j * 4 + r];
                want.magnitude[i * 21 + j] += fabs(2 * hidden.magnitude[i * 4 + r] * b[j * 4 + r]);
            }
    reference_expect("linear_lora", y, want, 33 + 4);
    case_expect_equal("no update", linear_lora(x, weight, NULL, NULL), linear(x, weight, NULL));
    case_end();
}

// ---- convolution

static const ConvolutionCase convolutions[] = {
    {2, 9, 7, 5, 6, 3, 3, {1, 1, 1, 1, 1}},
    {1, 8, 8, 16, 32, 3, 3, {1, 1, 1, 1, 1}},
    {2, 9, 8, 4, 8, 3, 3, {2, 0, 0, 1, 1}}, // the VAE's downsampling
    {1, 9, 7, 3, 5, 3, 3, {2, 1, 1, 1, 1}},
    {1, 28, 42, 3, 17, 14, 14, {14, 0, 0, 0, 0}}, // patches
    {2, 7, 9, 12, 5, 2, 3, {4, 1, 2, 3, 0}},      // windows apart, and beyond every side
    {1, 4, 4, 17, 3, 2, 2, {3, 3, 3, 0, 2}},      // some that see nothing but padding
    {3, 5, 6, 20, 33, 1, 1, {1, 0, 0, 0, 0}},
    {2, 5, 6, 8, 7, 1, 1, {2, 0, 0, 0, 0}},
    {1, 3, 3, 1, 1, 3, 3, {1, 0, 0, 0, 0}},
    {1, 6, 5, 2, 3, 2, 3, {1, 0, 2, 1, 0}},
    {1, 10, 10, 4, 320, 3, 3, {1, 1, 1, 1, 1}},
    {1, 3, 2, 640, 96, 3, 3, {1, 1, 1, 1, 1}}, // a filter too large to be kept packed for the
                                               // gradient
};

static void convolution_matches_its_definition_both_ways(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof convolutions / sizeof *convolutions; i++)
        for (int t = 0; t < 3; t++) {
            case_begin();
            check_convolution(&convolutions[i], t == 0 ? FLOAT32 : BFLOAT16,
                              t == 2 ? BFLOAT16 : FLOAT32);
            case_end();
        }
    assert_int_equal(case_device()->bytes_prepared, 0); // prepared copies died with their weights
}

/// They overlap nowhere, so their gradient is a product with the filter as it is.
static void the_gradient_of_patches_keeps_no_packed_filter(void **state) {
    (void)state;
    if (!case_on_cpu()) return;
    for (size_t t = 0; t < sizeof floating / sizeof *floating; t++) {
        case_begin();
        Conv2d shape = {.stride = 14};
        Tensor *weight = case_normal(floating[t], SHAPE(32, 14, 14, 3));
        Tensor *grad_y = case_normal(floating[t], SHAPE(1, 3, 2, 32));
        Tensor *grad_x = tensor_new(case_device(), floating[t], SHAPE(1, 45, 30, 3));
        kernels(grad_y)->conv2d_input_gradient(grad_y, weight, &shape, grad_x);
        assert_int_equal(case_device()->bytes_prepared, 0);
        case_end();
    }
}

static Tensor *convolution_op(const void *context, DType dtype, Tensor *const *inputs) {
    return conv2d(convert(inputs[0], dtype), case_convert(inputs[1], dtype), inputs[2],
                  *(const Conv2d *)context);
}

static void convolution_passes_the_gradient(void **state) {
    (void)state;
    case_begin();
    Conv2d shape = {2, 0, 0, 1, 1};
    Tensor *inputs[] = {case_normal(FLOAT32, SHAPE(2, 6, 8, 3)),
                        case_normal(FLOAT32, SHAPE(4, 3, 3, 3)), case_normal(FLOAT32, SHAPE(4))};
    require_grad(inputs[0]);
    case_check_gradient("conv2d", convolution_op, &shape, 3, inputs);
    case_check_bfloat16("conv2d", convolution_op, &shape, 3, inputs, 2);
    case_end();
}

// ---- rotary embedding

static void rope_turns_pairs_by_their_angles(void **state) {
    (void)state;
    const struct {
        int64_t rows;
        int heads, dim;
        float theta;
    } cases[] = {{1, 1, 2, 10000.0f},
                 {7, 3, 6, 10000.0f},
                 {33, 8, 20, 500000.0f},
                 {5, 40, 128, 10000.0f},
                 {3, 5, 256, 1000.0f}};
    for (size_t c = 0; c < sizeof cases / sizeof *cases; c++)
        for (int t = 0; t < 2; t++) {
            case_begin();
            int64_t rows = cases[c].rows, dim = cases[c].dim, columns = cases[c].heads * dim;
            Tensor *x = case_normal(floating[t], SHAPE(rows, columns));
            float *angles = case_memory(rows * dim, sizeof *angles);
            const double *from = case_doubles(x);
            Reference want = reference_new(rows * columns);
            for (int64_t row = 0; row < rows; row++) {
                int32_t position = (int32_t)(row * row * 97 % 4001);
                for (int64_t i = 0; i < columns; i++) {
                    int64_t in_head = i % dim, pair = in_head % (dim / 2);
                    double angle =
                        position * pow(cases[c].theta, -2.0 * (double)pair / (double)dim);
                    bool second = in_head >= dim / 2;
                    angles[row * dim + in_head] = (float)(second ? sin(angle) : cos(angle));
                    int64_t at = row * columns + i, other = second ? at - dim / 2 : at + dim / 2;
                    reference_add(want, at, from[at] * cos(angle));
                    reference_add(want, at, (second ? 1 : -1) * from[other] * sin(angle));
                }
            }
            Tensor *rotations = tensor_from_host(case_device(), FLOAT32, SHAPE(rows, dim), angles);
            Tensor *y = rope(x, rotations);
            case_expect("rope", y, want.value, want.magnitude, 4);
            // Turned back: a rotation keeps lengths, so what is left are the roundings of storing
            // twice and of the sines.
            Tensor *back = tensor_like(y);
            kernels(y)->rope(y, rotations, true, back);
            assert_true(case_relative_error(back, x) <=
                        sqrt(2.0) * case_unit(floating[t]) + 8 * case_unit(FLOAT32));
            case_end();
        }
}

static Tensor *rope_op(const void *context, DType dtype, Tensor *const *inputs) {
    (void)context;
    return rope(convert(inputs[0], dtype), inputs[1]);
}

static void rope_passes_the_gradient(void **state) {
    (void)state;
    case_begin();
    // Not of length 1: a model may multiply cosines and sines by a factor.
    Tensor *inputs[] = {case_normal(FLOAT32, SHAPE(4, 12)), case_normal(FLOAT32, SHAPE(4, 6))};
    require_grad(inputs[0]);
    case_check_gradient("rope", rope_op, NULL, 2, inputs);
    case_check_bfloat16("rope", rope_op, NULL, 2, inputs, 2);
    case_end();
}

static int run(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(linear_multiplies),
        cmocka_unit_test(linear_gives_the_gradient_of_its_input),
        cmocka_unit_test(linear_adds_to_the_gradients_of_its_parameters),
        cmocka_unit_test(sums_of_many_rows_or_columns_stay_exact),
        cmocka_unit_test(no_rows_give_no_result_and_no_gradient),
        cmocka_unit_test(linear_passes_gradients_to_every_input),
        cmocka_unit_test(linear_gelu_tanh_is_the_activation_of_the_product),
        cmocka_unit_test(linear_gelu_tanh_passes_gradients_to_every_input),
        cmocka_unit_test(a_computed_weight_gets_a_gradient_too),
        cmocka_unit_test(a_frozen_weight_keeps_no_activation),
        cmocka_unit_test(a_small_frozen_weight_is_prepared_once_and_let_go),
        cmocka_unit_test(a_trained_weight_is_never_prepared),
        cmocka_unit_test(low_rank_update_passes_gradients),
        cmocka_unit_test(low_rank_update_is_the_sum_of_two_layers),
        cmocka_unit_test(convolution_matches_its_definition_both_ways),
        cmocka_unit_test(the_gradient_of_patches_keeps_no_packed_filter),
        cmocka_unit_test(convolution_passes_the_gradient),
        cmocka_unit_test(rope_turns_pairs_by_their_angles),
        cmocka_unit_test(rope_passes_the_gradient),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

int main(void) { return case_run_levels(run); }
