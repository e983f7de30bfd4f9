// rooms: train autograd
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <float.h>
#include <math.h>
#include <string.h>

#include "train/trainer/outlier_detector.h"

static const double THRESHOLD = 6;

static void assert_close(double value, double expected, double tolerance) {
    assert_true(fabs(value - expected) <= tolerance);
}

/// Independent of each other, uniform in [-1, 1), the same in every run.
static double noise(int index) {
    uint32_t bits = (uint32_t)index * 2654435761u;
    bits = (bits ^ bits >> 15) * 2246822519u;
    bits = (bits ^ bits >> 13) * 3266489917u;
    return (bits ^ bits >> 16) / 2147483648.0 - 1;
}

static void z_is_the_distance_from_the_mean_in_deviations(void **state) {
    (void)state;
    OutlierDetector detector = detector_new(8, INFINITY);
    for (int i = 0; i < 8; i++) detector_update(&detector, i % 2 ? 3 : 1);
    // Mean 2, deviation sqrt(8 / 7).
    assert_close(detector_update(&detector, 5), 3 / sqrt(8.0 / 7), 1e-12);
    // The 5 took the place of a 1: mean 2.5, squares 3 * 1.5^2 + 4 * 0.5^2 + 2.5^2.
    assert_close(detector_update(&detector, 4.5), 2 / sqrt(14.0 / 7), 1e-12);
}

static void nothing_is_judged_before_the_window_is_half_full(void **state) {
    (void)state;
    for (int window = 4; window <= 9; window++) {
        OutlierDetector detector = detector_new(window, THRESHOLD);
        for (int i = 0; i < (window + 1) / 2; i++)
            assert_true(isnan(detector_update(&detector, 1 + noise(i))));
        assert_true(isfinite(detector_update(&detector, 1)));
    }
}

static void values_that_are_not_finite_are_flagged_at_once_and_never_join(void **state) {
    (void)state;
    OutlierDetector detector = detector_new(DETECTOR_WINDOW, INFINITY);
    const double bad[] = {NAN, INFINITY, -INFINITY, 2.0 * FLT_MAX};
    for (int i = 0; i < 4; i++) assert_true(detector_update(&detector, bad[i]) == INFINITY);
    assert_int_equal(detector_state(&detector).count, 0);
    for (int i = 0; i < DETECTOR_WINDOW; i++) detector_update(&detector, noise(i));
    OutlierDetector untouched = detector;
    for (int i = 0; i < 4; i++) assert_true(detector_update(&detector, bad[i]) == INFINITY);
    assert_true(detector_update(&detector, 0.5) == detector_update(&untouched, 0.5));
}

static void a_spike_is_seen_and_does_not_hide_the_next_one(void **state) {
    (void)state;
    OutlierDetector detector = detector_new(DETECTOR_WINDOW, THRESHOLD);
    for (int i = 0; i < DETECTOR_WINDOW; i++) detector_update(&detector, 2 + 0.1 * noise(i));
    double first = detector_update(&detector, 3), second = detector_update(&detector, 3);
    assert_true(first > THRESHOLD && second == first);

    OutlierDetector keeping_all = detector_new(DETECTOR_WINDOW, INFINITY);
    for (int i = 0; i < DETECTOR_WINDOW; i++) detector_update(&keeping_all, 2 + 0.1 * noise(i));
    first = detector_update(&keeping_all, 3);
    assert_true(detector_update(&keeping_all, 3) < first);
}

static void a_straight_fall_is_no_outlier_however_steep(void **state) {
    (void)state;
    const double slopes[] = {1e-3, 1, 1e6};
    for (int s = 0; s < 3; s++) {
        OutlierDetector detector = detector_new(DETECTOR_WINDOW, THRESHOLD);
        for (int i = 0; i < DETECTOR_WINDOW; i++) detector_update(&detector, -slopes[s] * i);
        // n values of slope a: (n + 1) a / 2 below the mean, deviation a sqrt(n (n + 1) / 12). The
        // values are kept as float32, which rounds each by 2^-24 of at most 128 a, where the
        // deviation is 37 a.
        double z = detector_update(&detector, -slopes[s] * DETECTOR_WINDOW);
        assert_close(z, -sqrt(3 * (DETECTOR_WINDOW + 1.0) / DETECTOR_WINDOW), 1e-6);
    }
}

static void a_loss_that_falls_fast_and_levels_off_raises_no_alarm(void **state) {
    (void)state;
    for (double tau = 2; tau < 2000; tau *= 3) {
        OutlierDetector detector = detector_new(DETECTOR_WINDOW, THRESHOLD);
        for (int i = 0; i < 5000; i++) {
            double z = detector_update(&detector, 0.5 + 8 * exp(-i / tau) + 0.05 * noise(i));
            assert_true(isnan(z) || z < THRESHOLD);
        }
    }
}

static void a_loss_that_drops_at_once_is_followed(void **state) {
    (void)state;
    OutlierDetector detector = detector_new(DETECTOR_WINDOW, THRESHOLD);
    for (int i = 0; i < DETECTOR_WINDOW; i++) detector_update(&detector, 5 + 0.1 * noise(i));
    assert_true(detector_update(&detector, 1) < -THRESHOLD);
    for (int i = 0; i < DETECTOR_WINDOW; i++) detector_update(&detector, 1 + 0.1 * noise(i));
    assert_true(fabs(detector_update(&detector, 1)) < 2);
}

static void rounding_in_a_loss_that_stands_still_is_no_outlier(void **state) {
    (void)state;
    OutlierDetector detector = detector_new(DETECTOR_WINDOW, THRESHOLD);
    for (int i = 0; i < DETECTOR_WINDOW; i++) detector_update(&detector, 2);
    assert_close(detector_update(&detector, 2), 0, 0);
    assert_true(detector_update(&detector, 2 * (1 + FLT_EPSILON)) < 1e-3);
    // 1% is ten times the least deviation that is assumed, 0.002; as float32 2.02 is off by at most
    // 2^-24 * 2.
    assert_close(detector_update(&detector, 2.02), 10, 1e-4);
}

static void zeros_are_at_rest_and_what_follows_them_is_not(void **state) {
    (void)state;
    OutlierDetector detector = detector_new(4, THRESHOLD);
    for (int i = 0; i < 4; i++) detector_update(&detector, 0);
    assert_close(detector_update(&detector, 0), 0, 0);
    assert_true(detector_update(&detector, 1e-3) == INFINITY);
}

static void half_a_window_of_outliers_is_the_new_level(void **state) {
    (void)state;
    OutlierDetector detector = detector_new(DETECTOR_WINDOW, THRESHOLD);
    for (int i = 0; i < DETECTOR_WINDOW; i++) detector_update(&detector, 1 + 0.1 * noise(i));
    for (int i = 0; i < DETECTOR_WINDOW / 2; i++)
        assert_true(detector_update(&detector, 9 + 0.1 * noise(i)) > THRESHOLD);
    for (int i = 0; i < DETECTOR_WINDOW / 2 - 1; i++)
        assert_true(isnan(detector_update(&detector, 9 + 0.1 * noise(i))));
    assert_true(fabs(detector_update(&detector, 9)) < 2);
}

static void a_value_that_fits_ends_the_row_of_outliers(void **state) {
    (void)state;
    OutlierDetector detector = detector_new(DETECTOR_WINDOW, THRESHOLD);
    for (int i = 0; i < DETECTOR_WINDOW; i++) detector_update(&detector, 1 + 0.1 * noise(i));
    for (int rows = 0; rows < 2; rows++) {
        for (int i = 0; i < DETECTOR_WINDOW / 2 - 1; i++)
            assert_true(detector_update(&detector, 9) > THRESHOLD);
        assert_true(detector_update(&detector, 1) < THRESHOLD);
    }
    assert_true(detector_update(&detector, 9) > THRESHOLD);
}

/// A noisy loss with spikes and a rise that stays.
static double loss_at(int i) {
    double level = i < 700 ? 2 * exp(-i / 200.0) : 6;
    return level + 0.1 * noise(i) + (i % 97 == 50 ? 40 : 0);
}

static void going_on_from_a_state_gives_the_same_bits_as_never_stopping(void **state) {
    (void)state;
    OutlierDetector detector = detector_new(DETECTOR_WINDOW, THRESHOLD);
    for (int i = 0; i < 1000; i++) {
        OutlierDetector resumed = detector_new(DETECTOR_WINDOW, THRESHOLD);
        DetectorState kept = detector_state(&detector);
        assert_true(detector_restore(&resumed, &kept, NULL));
        for (int k = i; k < i + 3; k++) {
            OutlierDetector *each[] = {&detector, &resumed};
            double z[2];
            for (int d = 0; d < 2; d++) z[d] = detector_update(each[d], loss_at(k));
            assert_memory_equal(&z[0], &z[1], sizeof z[0]);
        }
        assert_true(detector_restore(&detector, &kept, NULL));
        detector_update(&detector, loss_at(i));
    }
}

static void a_shorter_window_takes_the_last_values(void **state) {
    (void)state;
    OutlierDetector longer = detector_new(16, THRESHOLD), shorter = detector_new(8, THRESHOLD),
                    restored = detector_new(8, THRESHOLD);
    for (int i = 0; i < 16; i++) {
        detector_update(&longer, noise(i));
        detector_update(&shorter, noise(i));
    }
    DetectorState kept = detector_state(&longer);
    assert_true(detector_restore(&restored, &kept, NULL));
    assert_true(detector_update(&restored, 0.5) == detector_update(&shorter, 0.5));
}

static void a_state_that_makes_no_sense_is_refused(void **state) {
    (void)state;
    OutlierDetector detector = detector_new(8, THRESHOLD);
    for (int i = 0; i < 8; i++) detector_update(&detector, noise(i));
    OutlierDetector before = detector;
    DetectorState bad[4];
    for (int i = 0; i < 4; i++) bad[i] = detector_state(&detector);
    bad[0].count = -1;
    bad[1].count = DETECTOR_WINDOW + 1;
    bad[2].outliers_in_a_row = -1;
    bad[3].values[7] = NAN;
    for (int i = 0; i < 4; i++) {
        Error error = {0};
        assert_false(detector_restore(&detector, &bad[i], &error));
        assert_non_null(strstr(error.message, "outlier detector"));
    }
    assert_true(detector_update(&detector, 0.5) == detector_update(&before, 0.5));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(z_is_the_distance_from_the_mean_in_deviations),
        cmocka_unit_test(nothing_is_judged_before_the_window_is_half_full),
        cmocka_unit_test(values_that_are_not_finite_are_flagged_at_once_and_never_join),
        cmocka_unit_test(a_spike_is_seen_and_does_not_hide_the_next_one),
        cmocka_unit_test(a_straight_fall_is_no_outlier_however_steep),
        cmocka_unit_test(a_loss_that_falls_fast_and_levels_off_raises_no_alarm),
        cmocka_unit_test(a_loss_that_drops_at_once_is_followed),
        cmocka_unit_test(rounding_in_a_loss_that_stands_still_is_no_outlier),
        cmocka_unit_test(zeros_are_at_rest_and_what_follows_them_is_not),
        cmocka_unit_test(half_a_window_of_outliers_is_the_new_level),
        cmocka_unit_test(a_value_that_fits_ends_the_row_of_outliers),
        cmocka_unit_test(going_on_from_a_state_gives_the_same_bits_as_never_stopping),
        cmocka_unit_test(a_shorter_window_takes_the_last_values),
        cmocka_unit_test(a_state_that_makes_no_sense_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
