// rooms: ops autograd
// Kernels of single elements move them in packs of 16 bytes where addresses and sizes allow, one by
// one elsewhere, copies in words of 2 to 16 bytes: everything in every type at addresses of either
// kind, the same bits.
#include "ops/ops.h"
#include "tests/unit/op_cases.h"

static const DType floating[] = {FLOAT32, BFLOAT16};

/// Packs and a rest, for both types.
enum { LENGTH = 1003 };

/// A copy of x's elements that only the element type aligns.
static Tensor *misaligned(const Tensor *x) {
    int64_t n = tensor_numel(x);
    Tensor *whole = tensor_new(x->device, x->dtype, SHAPE(n + 1));
    char *data = (char *)whole->data + dtype_size(x->dtype);
    x->device->from_host(x->device, data, case_host(x), (size_t)n * dtype_size(x->dtype));
    return scope_adopt(tensor_over(x->device, x->dtype, x->rank, x->shape, data, NULL));
}

/// x itself, or its copy.
static Tensor *placed(Tensor *x, bool packs) { return packs ? x : misaligned(x); }

// ---- sums, products, conversions

static void check_combination(DType a_type, DType b_type, DType y_type, int64_t b_length) {
    Tensor *a = case_normal(a_type, SHAPE(3 * LENGTH)), *b = case_normal(b_type, SHAPE(b_length));
    const double *left = case_doubles(a), *right = case_doubles(b);
    double *sum = case_zeros(3 * LENGTH), *product = case_zeros(3 * LENGTH);
    for (int64_t i = 0; i < 3 * LENGTH; i++) {
        sum[i] = left[i] + right[i % b_length];
        product[i] = left[i] * right[i % b_length];
    }
    for (int packs = 0; packs < 2; packs++) {
        Tensor *to = placed(tensor_new(a->device, y_type, SHAPE(3 * LENGTH)), packs);
        kernels(a)->add(placed(a, packs), placed(b, packs), to);
        case_expect("sum", to, sum, NULL, 0);
        kernels(a)->multiply(placed(a, packs), placed(b, packs), to);
        case_expect("product", to, product, NULL, 0);
    }
}

static void sums_and_products_of_all_types(void **state) {
    (void)state;
    const int64_t lengths[] = {1, LENGTH, 3 * LENGTH};
    for (int i = 0; i < 24; i++) {
        case_begin();
        check_combination(floating[i % 2], floating[i / 2 % 2], floating[i / 4 % 2],
                          lengths[i / 8]);
        case_end();
    }
}

static void conversions_between_all_types(void **state) {
    (void)state;
    for (int i = 0; i < 8; i++) {
        case_begin();
        bool packs = i & 4;
        Tensor *x = placed(case_normal(floating[i % 2], SHAPE(LENGTH)), packs);
        Tensor *y = placed(tensor_new(x->device, floating[i / 2 % 2], SHAPE(LENGTH)), packs);
        const double *want = case_doubles(x);
        kernels(x)->convert(x, y);
        case_expect("converted", y, want, NULL, 0);
        kernels(x)->scale(x, 0.5f, y);
        double *half = case_doubles(x);
        for (int64_t j = 0; j < LENGTH; j++) half[j] /= 2;
        case_expect("scaled", y, half, NULL, 0);
        case_end();
    }
}

// ---- activations and gates: their values are checked elsewhere

static void activations_at_any_address(void **state) {
    (void)state;
    for (Activation kind = GELU; kind <= RELU; kind++)
        for (int t = 0; t < 2; t++) {
            case_begin();
            Tensor *x = case_normal(floating[t], SHAPE(LENGTH));
            Tensor *grad_y = case_normal(floating[t], SHAPE(LENGTH));
            Tensor *y[2], *grad_x[2];
            for (int packs = 0; packs < 2; packs++) {
                y[packs] = placed(tensor_like(x), packs);
                grad_x[packs] = placed(tensor_like(x), packs);
                Tensor *in = placed(x, packs);
                kernels(x)->activation(kind, in, y[packs]);
                kernels(x)->activation_gradient(kind, in, placed(grad_y, packs), grad_x[packs]);
            }
            case_expect_equal("activation", y[0], y[1]);
            case_expect_equal("its gradient", grad_x[0], grad_x[1]);
            case_end();
        }
}

enum { ROWS = 5, COLUMNS = 24 };

static void check_gates(DType type) {
    Tensor *x = case_normal(type, SHAPE(ROWS, 2 * COLUMNS));
    Tensor *gate = case_normal(type, SHAPE(ROWS, COLUMNS)),
           *up = case_normal(type, SHAPE(ROWS, COLUMNS));
    Tensor *grad_y = case_normal(type, SHAPE(ROWS, COLUMNS));
    Tensor *out[2][5];
    for (int packs = 0; packs < 2; packs++) {
        for (int i = 0; i < 5; i++) out[packs][i] = placed(tensor_like(i == 1 ? x : gate), packs);
        Tensor *halves = placed(x, packs), *g = placed(gate, packs), *u = placed(up, packs);
        Tensor *grad = placed(grad_y, packs), **to = out[packs];
        kernels(x)->geglu(halves, to[0]);
        kernels(x)->geglu_gradient(halves, grad, to[1]);
        kernels(x)->swiglu(g, u, to[2]);
        kernels(x)->swiglu_gradient(g, u, grad, to[3], to[4]);
    }
    for (int i = 0; i < 5; i++) case_expect_equal("gate", out[0][i], out[1][i]);
}

static void gates_at_any_address(void **state) {
    (void)state;
    for (int t = 0; t < 2; t++) {
        case_begin();
        check_gates(floating[t]);
        case_end();
    }
}

// ---- samples and means

static void samples_at_any_address(void **state) {
    (void)state;
    case_begin();
    Tensor *samples[2];
    Tensor *moments = case_normal(FLOAT32, SHAPE(ROWS, 2 * COLUMNS));
    Tensor *noise = case_normal(FLOAT32, SHAPE(ROWS, COLUMNS));
    for (int packs = 0; packs < 2; packs++) {
        samples[packs] = placed(tensor_like(noise), packs);
        kernels(noise)->gaussian_sample(placed(moments, packs), placed(noise, packs),
                                        samples[packs]);
    }
    case_expect_equal("samples", samples[0], samples[1]);
    case_end();
}

static void means_at_any_address(void **state) {
    (void)state;
    for (int i = 0; i < 4; i++) {
        case_begin();
        bool packs = i & 2;
        Tensor *a = placed(case_normal(floating[i % 2], SHAPE(LENGTH)), packs);
        Tensor *b = placed(case_normal(floating[i % 2], SHAPE(LENGTH)), packs);
        const double *x = case_doubles(a), *y = case_doubles(b);
        double sum = 0, size = 0, squares = 0;
        for (int64_t j = 0; j < LENGTH; j++) {
            sum += x[j] / LENGTH;
            size += fabs(x[j]) / LENGTH;
            squares += (x[j] - y[j]) * (x[j] - y[j]) / LENGTH;
        }
        Tensor *to = tensor_new(a->device, FLOAT32, SHAPE(1));
        kernels(a)->mean(a, to);
        case_expect("mean", to, &sum, &size, LENGTH);
        kernels(a)->mean_squared_error(a, b, to);
        case_expect("mean squared error", to, &squares, NULL, LENGTH);
        case_end();
    }
}

// ---- copies: the words that widths are made of

static void check_columns(int64_t width, const uint16_t *values, Tensor *x) {
    Tensor *left = tensor_new(x->device, BFLOAT16, SHAPE(ROWS, width)), *right = tensor_like(left);
    Tensor *again = tensor_like(x);
    kernels(x)->split(x, left, right);
    const uint16_t *l = case_host(left), *r = case_host(right);
    for (int64_t i = 0; i < ROWS * width; i++) {
        const uint16_t *row = values + i / width * 2 * width;
        assert_int_equal(l[i], row[i % width]);
        assert_int_equal(r[i], row[width + i % width]);
    }
    kernels(x)->concatenate(left, right, again);
    case_expect_equal("split and joined", again, x);
}

static void check_rows(int64_t width, const uint16_t *values, Tensor *x) {
    Tensor *a = tensor_new(x->device, BFLOAT16, SHAPE(ROWS, width)), *b = tensor_like(a);
    Tensor *again = tensor_like(x);
    int32_t places[2 * ROWS];
    for (int32_t i = 0; i < ROWS; i++) {
        places[2 * i] = ROWS - 1 - i;
        places[2 * i + 1] = ~i;
    }
    Tensor *index = tensor_from_host(x->device, INT32, SHAPE(2 * ROWS), places);
    kernels(x)->merge_rows_gradient(x, index, a, b);
    const uint16_t *from_a = case_host(a), *from_b = case_host(b);
    for (int64_t i = 0; i < ROWS * width; i++) {
        int64_t row = i / width;
        assert_int_equal(from_a[i], values[2 * (ROWS - 1 - row) * width + i % width]);
        assert_int_equal(from_b[i], values[(2 * row + 1) * width + i % width]);
    }
    kernels(x)->merge_rows(a, b, index, again);
    case_expect_equal("parted and merged", again, x);
}

static void copies_in_words_of_every_width(void **state) {
    (void)state;
    for (int64_t width = 1; width <= 16; width *= 2) {
        case_begin();
        uint16_t values[2 * ROWS * 16];
        for (int i = 0; i < 2 * ROWS * width; i++) values[i] = (uint16_t)(i * 37 + 1);
        check_columns(width, values,
                      tensor_from_host(case_device(), BFLOAT16, SHAPE(ROWS, 2 * width), values));
        check_rows(width, values,
                   tensor_from_host(case_device(), BFLOAT16, SHAPE(2 * ROWS, width), values));
        case_end();
    }
}

static int run(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sums_and_products_of_all_types),
        cmocka_unit_test(conversions_between_all_types),
        cmocka_unit_test(activations_at_any_address),
        cmocka_unit_test(gates_at_any_address),
        cmocka_unit_test(samples_at_any_address),
        cmocka_unit_test(means_at_any_address),
        cmocka_unit_test(copies_in_words_of_every_width),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

int main(void) { return case_run_devices(run); }
