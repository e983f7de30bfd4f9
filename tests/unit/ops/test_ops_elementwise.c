// rooms: ops autograd
// Activations, gates, sums and products, conversion, dropout and random numbers.
#include "ops/ops.h"
#include "tests/unit/op_cases.h"

/// Odd sizes: one element, less than a vector, past a chunk, enough for several threads.
static const int64_t sizes[] = {1, 7, 1027, 40003};
enum { SIZES = sizeof sizes / sizeof *sizes };

/// Both checks of gradients; differences are taken of small inputs only (a run of the op for each
/// of four points).
static void check_gradients(const char *name, CaseOp op, const void *context, int count,
                            Tensor *const *inputs, double roundings) {
    if (tensor_numel(inputs[0]) < 5000) case_check_gradient(name, op, context, count, inputs);
    case_check_bfloat16(name, op, context, count, inputs, roundings);
}

// ---- activations

static double sigmoid64(double x) { return 1 / (1 + exp(-x)); }
static double gelu64(double x) { return 0.5 * x * erfc(-x / sqrt(2)); }
static double quick_gelu64(double x) { return x * sigmoid64(1.702 * x); }
static double silu64(double x) { return x * sigmoid64(x); }
static double relu64(double x) { return x < 0 ? 0 : x; }
/// The argument of gelu_tanh's sigmoid.
static double tanh_argument(double x) { return 2 * sqrt(2 / M_PI) * (x + 0.044715 * x * x * x); }
static double gelu_tanh64(double x) { return x * sigmoid64(tanh_argument(x)); }
static double (*const references[])(double) = {gelu64, gelu_tanh64, quick_gelu64, silu64, relu64};

/// An argument y of exp() is rounded to within |y| units, which is a relative error of the
/// exponential where x is negative. |y| is x^2/2 for gelu and 1.702 |x| at most for the sigmoids of
/// x; a cubic's is rounded four times (a square, two constants with their sum, a product).
static double exponent_units(Activation kind, double x) {
    if (x > 0) return 0;
    if (kind == GELU) return x * x / 2;
    return kind == GELU_TANH ? 4 * fabs(tanh_argument(x)) : 1.702 * fabs(x);
}

static Tensor *activation_op(const void *context, DType dtype, Tensor *const *inputs) {
    return activation(*(const Activation *)context, convert(inputs[0], dtype));
}

/// Every activation at 2^15 points from -20 to 20. The sigmoid's 2 units, a product and the
/// polynomial's 10 steps come on top of the exponent's.
static void activations_are_exact_to_a_few_units(void **state) {
    (void)state;
    enum { POINTS = 1 << 15 };
    for (Activation kind = GELU; kind <= RELU; kind++) {
        case_begin();
        float *x = case_memory(POINTS, sizeof *x);
        for (int i = 0; i < POINTS; i++) x[i] = 40.0f * ((float)i + 0.37f) / (float)POINTS - 20.0f;
        const float *y =
            case_host(activation(kind, tensor_from_host(case_device(), FLOAT32, SHAPE(POINTS), x)));
        for (int i = 0; i < POINTS; i++) {
            double at = (double)x[i], want = references[kind](at);
            double allowed =
                (12 + exponent_units(kind, at)) * case_unit(FLOAT32) * fabs(want) + 1e-37;
            if (!(fabs((double)y[i] - want) <= allowed))
                fail_msg("activation %d at %.9g: %.9g, expected %.9g +- %.2g", kind, at,
                         (double)y[i], want, allowed);
        }
        case_end();
    }
}

static void activations_at_the_ends_of_the_range(void **state) {
    (void)state;
    const float x[] = {-3e38f, -1e4f, -100.0f, -0.0f, 0.0f, 1e-40f, 100.0f, 3e38f, NAN};
    for (Activation kind = GELU; kind <= RELU; kind++) {
        case_begin();
        float y[9];
        tensor_to_host_float(
            activation(kind, tensor_from_host(case_device(), FLOAT32, SHAPE(9), x)), y);
        for (int i = 0; i < 3; i++) assert_true(fabsf(y[i]) < 1e-30f);
        assert_true(y[3] == 0.0f && y[4] == 0.0f && y[5] <= x[5]);
        assert_true(y[6] == x[6] && y[7] == x[7] && isnan(y[8]));
        case_end();
    }
}

static void activations_agree_in_every_size_and_type(void **state) {
    (void)state;
    for (Activation kind = GELU; kind <= RELU; kind++)
        for (int i = 0; i < SIZES; i++)
            for (DType dtype = FLOAT32; dtype <= BFLOAT16; dtype++) {
                case_begin();
                Tensor *x = case_normal(dtype, SHAPE(sizes[i]));
                double *want = case_doubles(x);
                for (int64_t j = 0; j < sizes[i]; j++) want[j] = references[kind](want[j]);
                double units = 12 + exponent_units(kind, -6); // |x| < 6
                case_expect("activation", activation(kind, x), want, NULL, units * units);
                case_end();
            }
}

static void activation_gradients_agree_with_differences(void **state) {
    (void)state;
    for (Activation kind = GELU; kind <= SILU; kind++)
        for (int i = 1; i < SIZES; i++) {
            case_begin();
            Tensor *inputs[] = {case_normal(FLOAT32, SHAPE(sizes[i]))};
            require_grad(inputs[0]);
            check_gradients("activation", activation_op, &kind, 1, inputs, 2);
            case_end();
        }
}

/// Differences say nothing near the bend, where the derivative is taken to be 0.
static void the_gradient_of_relu_passes_where_x_is_positive(void **state) {
    (void)state;
    for (int i = 0; i < SIZES; i++)
        for (DType dtype = FLOAT32; dtype <= BFLOAT16; dtype++) {
            case_begin();
            Tensor *x = case_normal(dtype, SHAPE(sizes[i])), *grad_x = tensor_like(x);
            Tensor *grad_y = case_normal(dtype, SHAPE(sizes[i]));
            x->device->fill_zero(x->device, x->data, dtype_size(dtype)); // the bend itself
            double *want = case_doubles(grad_y);
            const double *at = case_doubles(x);
            for (int64_t j = 0; j < sizes[i]; j++) want[j] *= at[j] > 0;
            kernels(x)->activation_gradient(RELU, x, grad_y, grad_x);
            case_expect("relu", grad_x, want, NULL, 0);
            case_end();
        }
}

// ---- gates

static Tensor *geglu_op(const void *context, DType dtype, Tensor *const *inputs) {
    (void)context;
    return geglu(convert(inputs[0], dtype));
}

static Tensor *swiglu_op(const void *context, DType dtype, Tensor *const *inputs) {
    (void)context;
    return swiglu(convert(inputs[0], dtype), convert(inputs[1], dtype));
}

static const int64_t gate_shapes[][2] = {{1, 1}, {5, 3}, {3, 1031}, {70, 517}};

static void gates_agree_with_float64(void **state) {
    (void)state;
    for (int i = 0; i < 4; i++)
        for (DType dtype = FLOAT32; dtype <= BFLOAT16; dtype++) {
            case_begin();
            int64_t rows = gate_shapes[i][0], columns = gate_shapes[i][1], n = rows * columns;
            Tensor *x = case_normal(dtype, SHAPE(rows, 2 * columns));
            Tensor *gate = case_normal(dtype, SHAPE(rows, columns));
            Tensor *up = case_normal(dtype, SHAPE(rows, columns));
            const double *in = case_doubles(x), *g = case_doubles(gate), *u = case_doubles(up);
            double *want = case_zeros(n);
            for (int64_t j = 0; j < n; j++) {
                int64_t at = j / columns * 2 * columns + j % columns;
                want[j] = in[at] * gelu64(in[at + columns]);
            }
            case_expect("geglu", geglu(x), want, NULL, 900);
            for (int64_t j = 0; j < n; j++) want[j] = silu64(g[j]) * u[j];
            case_expect("swiglu", swiglu(gate, up), want, NULL, 900);
            case_end();
        }
}

static void gate_gradients_agree_with_differences(void **state) {
    (void)state;
    for (int i = 0; i < 4; i++) {
        case_begin();
        int64_t rows = gate_shapes[i][0], columns = gate_shapes[i][1];
        Tensor *halves[] = {case_normal(FLOAT32, SHAPE(rows, 2 * columns))};
        require_grad(halves[0]);
        check_gradients("geglu", geglu_op, NULL, 1, halves, 2);
        Tensor *pair[2];
        for (int j = 0; j < 2; j++)
            require_grad(pair[j] = case_normal(FLOAT32, SHAPE(rows, columns)));
        check_gradients("swiglu", swiglu_op, NULL, 2, pair, 2);
        pair[1] = case_normal(FLOAT32, SHAPE(rows, columns));
        check_gradients("swiglu, one gradient", swiglu_op, NULL, 2, pair, 2);
        case_end();
    }
}

// ---- sums and products

typedef struct AddCase {
    int rank_a, rank_b;
    int64_t a[MAX_RANK], b[MAX_RANK];
} AddCase;

static const AddCase add_cases[] = {
    {2, 2, {3, 5}, {3, 5}},
    {1, 1, {40003}, {40003}},
    {3, 2, {4, 7, 9}, {7, 9}},
    {3, 1, {4, 7, 9}, {9}},
    {3, 1, {3, 50, 512}, {512}},
    {2, 1, {30, 1500}, {1500}}, // b longer than a chunk
    {4, 3, {2, 3, 5, 80}, {3, 5, 80}},
    {2, 1, {6, 1}, {1}},
    {2, 1, {1, 33}, {33}},
};
enum { ADD_CASES = sizeof add_cases / sizeof *add_cases };

static void add_repeats_b_along_a(void **state) {
    (void)state;
    for (int i = 0; i < ADD_CASES; i++)
        for (int types = 0; types < 3; types++) { // float32, bfloat16, bfloat16 + float32
            const AddCase *c = &add_cases[i];
            case_begin();
            Tensor *a = case_normal(types ? BFLOAT16 : FLOAT32, c->rank_a, c->a);
            Tensor *b = case_normal(types == 1 ? BFLOAT16 : FLOAT32, c->rank_b, c->b);
            const double *x = case_doubles(a), *y = case_doubles(b);
            double *want = case_zeros(tensor_numel(a));
            for (int64_t j = 0; j < tensor_numel(a); j++) want[j] = x[j] + y[j % tensor_numel(b)];
            Tensor *sum = add(a, b);
            assert_int_equal(sum->dtype, a->dtype);
            case_expect("add", sum, want, NULL, 1);
            case_end();
        }
}

static Tensor *add_op(const void *context, DType dtype, Tensor *const *inputs) {
    (void)context;
    return add(convert(inputs[0], dtype), inputs[1]);
}

static Tensor *add_of_activations(const void *context, DType dtype, Tensor *const *inputs) {
    (void)context;
    return add(convert(inputs[0], dtype), scale(convert(inputs[1], dtype), 2.0f));
}

static void add_gradients_agree_with_differences(void **state) {
    (void)state;
    for (int i = 0; i < ADD_CASES; i++) {
        const AddCase *c = &add_cases[i];
        case_begin();
        Tensor *inputs[] = {case_normal(FLOAT32, c->rank_a, c->a),
                            case_normal(FLOAT32, c->rank_b, c->b)};
        require_grad(inputs[0]);
        require_grad(inputs[1]);
        check_gradients("add", add_op, NULL, 2, inputs, 2);
        check_gradients("add of activations", add_of_activations, NULL, 2, inputs, 3);
        case_end();
    }
}

static void accumulating_adds_any_type_in_place(void **state) {
    (void)state;
    for (int types = 0; types < 4; types++) {
        case_begin();
        Tensor *sum = case_normal(types & 1 ? BFLOAT16 : FLOAT32, SHAPE(33, 1001));
        Tensor *x = case_normal(types & 2 ? BFLOAT16 : FLOAT32, SHAPE(33, 1001));
        double *want = case_doubles(sum);
        const double *more = case_doubles(x);
        for (int64_t i = 0; i < tensor_numel(x); i++) want[i] += more[i];
        case_device()->accumulate(x, sum);
        case_expect("accumulate", sum, want, NULL, 1);
        case_end();
    }
}

static Tensor *multiply_op(const void *context, DType dtype, Tensor *const *inputs) {
    (void)context;
    return multiply(convert(inputs[0], dtype), convert(inputs[1], dtype));
}

static Tensor *square_op(const void *context, DType dtype, Tensor *const *inputs) {
    (void)context;
    Tensor *x = convert(inputs[0], dtype);
    return multiply(x, x);
}

static Tensor *scale_op(const void *context, DType dtype, Tensor *const *inputs) {
    return scale(convert(inputs[0], dtype), *(const float *)context);
}

static void multiply_and_scale_agree_with_float64(void **state) {
    (void)state;
    for (int i = 0; i < SIZES; i++)
        for (DType dtype = FLOAT32; dtype <= BFLOAT16; dtype++) {
            case_begin();
            Tensor *a = case_normal(dtype, SHAPE(sizes[i])),
                   *b = case_normal(dtype, SHAPE(sizes[i]));
            const double *x = case_doubles(a), *y = case_doubles(b);
            double *want = case_zeros(sizes[i]);
            for (int64_t j = 0; j < sizes[i]; j++) want[j] = x[j] * y[j];
            case_expect("multiply", multiply(a, b), want, NULL, 1);
            for (int64_t j = 0; j < sizes[i]; j++) want[j] = x[j] * -0.75;
            case_expect("scale", scale(a, -0.75f), want, NULL, 1);
            kernels(a)->scale(a, -0.75f, a);
            case_expect("scale in place", a, want, NULL, 1);
            case_end();
        }
}

static void the_product_of_the_kernels_repeats_b_along_a(void **state) {
    (void)state;
    for (int i = 0; i < ADD_CASES; i++)
        for (int types = 0; types < 3; types++) { // float32, bfloat16, bfloat16 + float32
            const AddCase *c = &add_cases[i];
            case_begin();
            Tensor *a = case_normal(types ? BFLOAT16 : FLOAT32, c->rank_a, c->a);
            Tensor *b = case_normal(types == 1 ? BFLOAT16 : FLOAT32, c->rank_b, c->b);
            const double *x = case_doubles(a), *y = case_doubles(b);
            double *want = case_zeros(tensor_numel(a));
            for (int64_t j = 0; j < tensor_numel(a); j++) want[j] = x[j] * y[j % tensor_numel(b)];
            Tensor *product = tensor_like(a);
            kernels(a)->multiply(a, b, product);
            case_expect("multiply", product, want, NULL, 1);
            case_end();
        }
}

static void product_gradients_agree_with_differences(void **state) {
    (void)state;
    const float factor = -1.5f;
    for (int i = 0; i < SIZES; i++) {
        case_begin();
        Tensor *inputs[2];
        for (int j = 0; j < 2; j++) require_grad(inputs[j] = case_normal(FLOAT32, SHAPE(sizes[i])));
        check_gradients("multiply", multiply_op, NULL, 2, inputs, 2);
        check_gradients("square", square_op, NULL, 1, inputs, 3);
        check_gradients("scale", scale_op, &factor, 1, inputs, 2);
        inputs[1] = case_normal(FLOAT32, SHAPE(sizes[i]));
        check_gradients("multiply, one gradient", multiply_op, NULL, 2, inputs, 2);
        case_end();
    }
}

// ---- conversion

static void converting_rounds_to_nearest_even_and_back_exactly(void **state) {
    (void)state;
    enum { ALL = 1 << 16 };
    case_begin();
    uint16_t *every = case_memory(ALL, sizeof *every);
    for (int i = 0; i < ALL; i++) every[i] = (uint16_t)i;
    Tensor *floats = convert(tensor_from_host(case_device(), BFLOAT16, SHAPE(ALL), every), FLOAT32);
    uint32_t *bits = case_host(floats);
    for (int i = 0; i < ALL; i++) assert_int_equal(bits[i], (uint32_t)i << 16);
    // Below, at and above the tie between neighbours, for every neighbour; NaN must not become
    // infinity.
    for (uint32_t low = 0; low < 4; low++) {
        const uint32_t tail[] = {0x0001, 0x7fff, 0x8000, 0x8001};
        for (int i = 0; i < ALL; i++) bits[i] = (uint32_t)i << 16 | tail[low];
        case_write(floats, bits);
        const uint16_t *rounded = case_host(convert(floats, BFLOAT16));
        for (int i = 0; i < ALL; i++) {
            float value;
            memcpy(&value, &bits[i], sizeof value);
            uint16_t want = float_to_bfloat16(value), got = rounded[i];
            if (isnan(value))
                assert_true(isnan(bfloat16_to_float(got)));
            else
                assert_int_equal(got, want);
        }
    }
    assert_ptr_equal(convert(floats, FLOAT32), floats);
    case_end();
}

static Tensor *convert_chain(const void *context, DType dtype, Tensor *const *inputs) {
    (void)context;
    return convert(scale(convert(scale(inputs[0], 2.0f), dtype), 0.5f), FLOAT32);
}

static void convert_converts_the_gradient_back(void **state) {
    (void)state;
    case_begin();
    Tensor *inputs[] = {case_normal(FLOAT32, SHAPE(7, 11))};
    require_grad(inputs[0]);
    check_gradients("convert", convert_chain, NULL, 1, inputs, 1);
    case_end();
}

// ---- dropout

static const RandomStream stream = {0x123456789abcdef0ull, 0xfedcba9876543210ull};

static void dropout_keeps_what_the_stream_says(void **state) {
    (void)state;
    const float probabilities[] = {0.05f, 0.5f, 0.9f};
    for (int i = 0; i < SIZES; i++)
        for (int p = 0; p < 3; p++)
            for (DType dtype = FLOAT32; dtype <= BFLOAT16; dtype++) {
                case_begin();
                Tensor *x = case_normal(dtype, SHAPE(sizes[i]));
                double *want = case_doubles(x);
                float *uniform = checked_malloc((size_t)sizes[i] * sizeof *uniform);
                philox_uniform(stream.key, stream.index, 0, uniform, sizes[i]);
                for (int64_t j = 0; j < sizes[i]; j++)
                    want[j] = uniform[j] >= probabilities[p]
                                  ? want[j] / (1 - (double)probabilities[p])
                                  : 0;
                free(uniform);
                Tensor *y = dropout(x, probabilities[p], stream);
                case_expect("dropout", y, want, NULL, 2);
                case_expect_equal("the same stream", dropout(x, probabilities[p], stream), y);
                case_end();
            }
}

/// A row's draw is that of its number and position, wherever the row lies and whatever the others
/// are.
static void dropout_by_row_keeps_what_number_and_position_say(void **state) {
    (void)state;
    const int32_t rows[5][2] = {{7, 0}, {-3, (1 << 30) - 1}, {7, 1}, {0, 0}, {2147483647, 5}};
    const int64_t widths[] = {1, 6, 33, 2050};
    const float p = 0.4f;
    for (int w = 0; w < 4; w++)
        for (DType dtype = FLOAT32; dtype <= BFLOAT16; dtype++) {
            case_begin();
            int64_t width = widths[w];
            Tensor *x = case_normal(dtype, SHAPE(5, width)), *y = tensor_like(x);
            Tensor *keys = tensor_from_host(case_device(), INT32, SHAPE(5, 2), rows);
            double *want = case_doubles(x);
            float *uniform = checked_malloc((size_t)width * sizeof *uniform);
            for (int r = 0; r < 5; r++) {
                philox_uniform(stream.key + random_number_key(rows[r][0]), stream.index,
                               (uint64_t)rows[r][1] << 34, uniform, width);
                for (int64_t c = 0; c < width; c++)
                    want[r * width + c] =
                        uniform[c] >= p ? want[r * width + c] / (1 - (double)p) : 0;
            }
            free(uniform);
            kernels(x)->dropout(x, p, stream, keys, y);
            case_expect("dropout", y, want, NULL, 2);
            case_end();
        }
}

/// The share kept is binomial: six standard deviations. Another stream draws another mask: two
/// independent masks agree in a share of p^2 + (1-p)^2.
static void dropout_keeps_its_share(void **state) {
    (void)state;
    enum { N = 1 << 20 };
    const double p = 0.1;
    case_begin();
    float *values = case_memory(N, sizeof *values);
    for (int i = 0; i < N; i++) values[i] = 1.0f;
    Tensor *ones = tensor_from_host(case_device(), FLOAT32, SHAPE(N), values);
    const RandomStream other = {stream.key, stream.index + 1};
    const float *a = case_host(dropout(ones, (float)p, stream));
    const float *b = case_host(dropout(ones, (float)p, other));
    double kept = 0, agree = 0, total = 0;
    for (int i = 0; i < N; i++) {
        kept += a[i] != 0;
        agree += (a[i] != 0) == (b[i] != 0);
        total += (double)a[i];
    }
    double same = p * p + (1 - p) * (1 - p);
    assert_true(fabs(kept / N - (1 - p)) < 6 * sqrt(p * (1 - p) / N));
    assert_true(fabs(total / N - 1) < 6 * sqrt(p / (1 - p) / N));
    assert_true(fabs(agree / N - same) < 6 * sqrt(same * (1 - same) / N));
    case_end();
}

static Tensor *dropout_op(const void *context, DType dtype, Tensor *const *inputs) {
    return dropout(convert(inputs[0], dtype), *(const float *)context, stream);
}

static void dropout_drops_the_gradients_of_what_it_dropped(void **state) {
    (void)state;
    const float p = 0.25f;
    case_begin();
    Tensor *inputs[] = {case_normal(FLOAT32, SHAPE(37, 41))};
    require_grad(inputs[0]);
    check_gradients("dropout", dropout_op, &p, 1, inputs, 2);
    assert_ptr_equal(dropout(inputs[0], 0.0f, stream), inputs[0]);
    case_end();
}

// ---- random numbers

static void gaussian_sample_clamps_the_log_variance(void **state) {
    (void)state;
    case_begin();
    const int64_t rows = 331, columns = 101;
    Tensor *moments = case_normal_times(16, FLOAT32, SHAPE(rows, 2 * columns));
    Tensor *noise = case_normal(FLOAT32, SHAPE(rows, columns));
    const double *in = case_doubles(moments), *z = case_doubles(noise);
    double *want = case_zeros(rows * columns), *size = case_zeros(rows * columns);
    for (int64_t i = 0; i < rows * columns; i++) {
        int64_t at = i / columns * 2 * columns + i % columns;
        double log_variance = fmin(fmax(in[at + columns], -30), 20);
        want[i] = in[at] + exp(log_variance / 2) * z[i];
        size[i] = fabs(in[at]) + exp(log_variance / 2) * fabs(z[i]);
    }
    case_expect("gaussian_sample", gaussian_sample(moments, noise), want, size, 4);
    case_end();
}

static int elementwise_tests(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(activations_are_exact_to_a_few_units),
        cmocka_unit_test(activations_at_the_ends_of_the_range),
        cmocka_unit_test(activations_agree_in_every_size_and_type),
        cmocka_unit_test(activation_gradients_agree_with_differences),
        cmocka_unit_test(the_gradient_of_relu_passes_where_x_is_positive),
        cmocka_unit_test(gates_agree_with_float64),
        cmocka_unit_test(gate_gradients_agree_with_differences),
        cmocka_unit_test(add_repeats_b_along_a),
        cmocka_unit_test(add_gradients_agree_with_differences),
        cmocka_unit_test(accumulating_adds_any_type_in_place),
        cmocka_unit_test(multiply_and_scale_agree_with_float64),
        cmocka_unit_test(the_product_of_the_kernels_repeats_b_along_a),
        cmocka_unit_test(product_gradients_agree_with_differences),
        cmocka_unit_test(converting_rounds_to_nearest_even_and_back_exactly),
        cmocka_unit_test(convert_converts_the_gradient_back),
        cmocka_unit_test(dropout_keeps_what_the_stream_says),
        cmocka_unit_test(dropout_by_row_keeps_what_number_and_position_say),
        cmocka_unit_test(dropout_keeps_its_share),
        cmocka_unit_test(dropout_drops_the_gradients_of_what_it_dropped),
        cmocka_unit_test(gaussian_sample_clamps_the_log_variance),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

int main(void) { return case_run_vector_levels(elementwise_tests); }
