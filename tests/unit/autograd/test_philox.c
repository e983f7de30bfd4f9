/// Philox against the known answers that Random123 publishes (kat_vectors), and the properties its
/// callers rely on.
#include "autograd/normal.h"
#include "autograd/philox.h"
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

static void expect_block(uint64_t key, uint64_t high, uint64_t low, const uint32_t expected[4]) {
    uint32_t out[4];
    philox4x32(key, high, low, out);
    for (int i = 0; i < 4; i++) assert_int_equal(out[i], expected[i]);
}

static void blocks_equal_the_published_known_answers(void **state) {
    (void)state;
    expect_block(0, 0, 0, (uint32_t[]){0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8});
    expect_block(~0ull, ~0ull, ~0ull, (uint32_t[]){0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd});
    expect_block(0x299f31d0a4093822ull, 0x0370734413198a2eull, 0x85a308d3243f6a88ull,
                 (uint32_t[]){0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1});
}

static void a_number_does_not_depend_on_the_range_it_is_asked_for_in(void **state) {
    (void)state;
    float whole[23], part[9];
    philox_normal(7, 5, 0, whole, 23);
    philox_normal(7, 5, 6, part, 9);
    for (int i = 0; i < 9; i++) assert_true(part[i] == whole[6 + i]);
    philox_uniform(7, 5, 0, whole, 23);
    philox_uniform(7, 5, 13, part, 9);
    for (int i = 0; i < 9; i++) assert_true(part[i] == whole[13 + i]);
}

static void moments_are_those_of_the_distributions(void **state) {
    (void)state;
    enum { N = 40000 };
    static float x[N];
    double mean = 0, square = 0, fourth = 0;
    philox_normal(1, philox_stream(3, 9), 0, x, N);
    for (int i = 0; i < N; i++) {
        double v = x[i];
        mean += v, square += v * v, fourth += v * v * v * v;
    }
    // Five standard errors of each estimator: sqrt(1/N), sqrt(2/N), sqrt(96/N).
    assert_true(fabs(mean / N) < 5 * sqrt(1.0 / N));
    assert_true(fabs(square / N - 1) < 5 * sqrt(2.0 / N));
    assert_true(fabs(fourth / N - 3) < 5 * sqrt(96.0 / N));
    mean = 0;
    philox_uniform(1, philox_stream(4, 9), 0, x, N);
    for (int i = 0; i < N; i++) {
        assert_true(x[i] >= 0 && x[i] < 1);
        mean += (double)x[i];
    }
    assert_true(fabs(mean / N - 0.5) < 5 * sqrt(1.0 / 12 / N));
}

static int compare_floats(const void *a, const void *b) {
    float x = *(const float *)a, y = *(const float *)b;
    return (x > y) - (x < y);
}

/// Moments within six standard deviations, and the Kolmogorov-Smirnov distance below its 1e-6
/// point, sqrt(-log(1e-6 / 2) / 2 / n).
static void normals_are_normal(void **state) {
    (void)state;
    enum { N = 1 << 18 };
    static float values[N];
    philox_normal(5, philox_stream(3, 9), 0, values, N);
    double moments[5] = {0}, distance = 0, neighbours = 0;
    for (int i = 0; i < N; i++) {
        for (int k = 1; k < 5; k++) moments[k] += pow((double)values[i], k) / N;
        neighbours += (double)values[i] * (double)values[i ^ 1] / N;
    }
    assert_true(fabs(moments[1]) < 6 * sqrt(1.0 / N));
    assert_true(fabs(moments[2] - 1) < 6 * sqrt(2.0 / N));
    assert_true(fabs(moments[3]) < 6 * sqrt(15.0 / N));
    assert_true(fabs(moments[4] - 3) < 6 * sqrt(96.0 / N));
    assert_true(fabs(neighbours) < 6 * sqrt(2.0 / N)); // pairs counted twice
    qsort(values, N, sizeof *values, compare_floats);
    for (int i = 0; i < N; i++) {
        double below = 0.5 * erfc(-(double)values[i] / sqrt(2));
        distance = fmax(distance, fmax(fabs(below - (double)i / N), fabs((i + 1.0) / N - below)));
    }
    assert_true(distance < sqrt(-log(0.5e-6) / 2 / N));
}

/// |got - want| in units of 2^-24 |want|; zero must be met exactly.
static double units_off(float got, double want) {
    if (want == 0) return got == 0 ? 0 : INFINITY;
    return fabs(got - want) / fabs(want) * 0x1p24;
}

/// Every argument there is. The double reference is reduced to the eighth of a turn around a
/// quarter turn first, where its own rounding is far below the bound.
static void logarithm_and_circle_keep_their_bounds_everywhere(void **state) {
    (void)state;
    double log_off = 0, cosine_off = 0, sine_off = 0;
    for (int32_t k = 0; k < 1 << 24; k++) {
        double u = (k + 1) * 0x1p-24;
        log_off = fmax(log_off, units_off(normal_log((float)u), log(u)));
        int32_t quarter = (k + (1 << 21)) >> 22;
        double angle = 2 * acos(-1) * (k - quarter * (1 << 22)) * 0x1p-24;
        double circle[4] = {cos(angle), -sin(angle), -cos(angle), sin(angle)};
        float cosine, sine;
        normal_cos_sin(k, &cosine, &sine);
        cosine_off = fmax(cosine_off, units_off(cosine, circle[quarter % 4]));
        sine_off = fmax(sine_off, units_off(sine, circle[(quarter + 3) % 4]));
    }
    assert_true(log_off < 1.5 && cosine_off < 2.25 && sine_off < 2.25);
}

static void normals_are_box_and_mullers(void **state) {
    (void)state;
    enum { N = 40000 };
    static float u[N], x[N];
    philox_uniform(1, 2, 0, u, N);
    philox_normal(1, 2, 0, x, N);
    for (int i = 0; i < N; i += 2) {
        double radius = sqrt(-2 * log(1 - (double)u[i])), angle = 2 * acos(-1) * (double)u[i + 1];
        // The reference's own angle, up to 2 pi, is off by its rounding.
        double slack = radius * 0x1p-50;
        assert_true(fabs(x[i] - radius * cos(angle)) <=
                    5 * 0x1p-24 * fabs(radius * cos(angle)) + slack);
        assert_true(fabs(x[i + 1] - radius * sin(angle)) <=
                    5 * 0x1p-24 * fabs(radius * sin(angle)) + slack);
    }
}

/// Recorded: the numbers are the same bits on every processor.
static void normals_are_the_same_bits_everywhere(void **state) {
    (void)state;
    const float want[] = {-0x1.292dc2p+0f, 0x1.10d1f8p+0f, 0x1.83bc0ep-4f, 0x1.6fe272p+0f,
                          0x1.436112p-1f,  0x1.5c65acp-3f, 0x1.e515f8p-8f, 0x1.66195cp+0f};
    float got[8];
    philox_normal(0x299f31d0a4093822ull, 0x0370734413198a2eull, 0, got, 8);
    assert_memory_equal(got, want, sizeof want);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(blocks_equal_the_published_known_answers),
        cmocka_unit_test(a_number_does_not_depend_on_the_range_it_is_asked_for_in),
        cmocka_unit_test(moments_are_those_of_the_distributions),
        cmocka_unit_test(logarithm_and_circle_keep_their_bounds_everywhere),
        cmocka_unit_test(normals_are_normal),
        cmocka_unit_test(normals_are_box_and_mullers),
        cmocka_unit_test(normals_are_the_same_bits_everywhere),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
