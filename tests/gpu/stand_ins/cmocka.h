/// Stands in for cmocka where that is not installed: what the tests in tests/unit use of it, under
/// the same names.
///
/// A failed assertion prints what and where, and leaves its test by longjmp.
#pragma once
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wunused-function"

struct CMUnitTest {
    const char *name;
    void (*run)(void **state);
    int (*setup)(void **state);
    int (*teardown)(void **state);
};

#define cmocka_unit_test(test) \
    { #test, test, NULL, NULL }
#define cmocka_unit_test_setup_teardown(test, setup, teardown) \
    { #test, test, setup, teardown }

/// how a test ended
enum { CMOCKA_PASSED, CMOCKA_FAILED, CMOCKA_SKIPPED };

static jmp_buf cmocka_test_end;

__attribute__((noreturn, format(printf, 3, 4))) static void cmocka_fail(const char *file, int line,
                                                                        const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    printf("%s:%d: ", file, line);
    vprintf(format, arguments);
    putchar('\n');
    va_end(arguments);
    longjmp(cmocka_test_end, CMOCKA_FAILED);
}

#define fail_msg(...) cmocka_fail(__FILE__, __LINE__, __VA_ARGS__)
#define skip() longjmp(cmocka_test_end, CMOCKA_SKIPPED)
#define print_message(...) printf(__VA_ARGS__)

#define assert_true(condition)                                 \
    do {                                                       \
        if (!(condition)) fail_msg("%s", "!(" #condition ")"); \
    } while (0)
#define assert_false(condition) assert_true(!(condition))
#define assert_null(pointer) assert_true((pointer) == NULL)
#define assert_non_null(pointer) assert_true((pointer) != NULL)
#define assert_ptr_equal(a, b) assert_true((const void *)(a) == (const void *)(b))
#define assert_float_equal(a, b, epsilon) \
    cmocka_floats_equal(__FILE__, __LINE__, (double)(a), (double)(b), (double)(epsilon))
#define assert_int_equal(a, b) cmocka_ints_equal(__FILE__, __LINE__, (long long)(a), (long long)(b))
#define assert_string_equal(a, b) cmocka_strings_equal(__FILE__, __LINE__, a, b)
#define assert_memory_equal(a, b, bytes) cmocka_memory_equal(__FILE__, __LINE__, a, b, bytes)

static void cmocka_ints_equal(const char *file, int line, long long a, long long b) {
    if (a != b) cmocka_fail(file, line, "%lld != %lld", a, b);
}

static void cmocka_floats_equal(const char *file, int line, double a, double b, double epsilon) {
    double difference = a > b ? a - b : b - a;
    if (!(difference <= epsilon)) cmocka_fail(file, line, "%g != %g +- %g", a, b, epsilon);
}

static void cmocka_strings_equal(const char *file, int line, const char *a, const char *b) {
    if (strcmp(a, b) != 0) cmocka_fail(file, line, "\"%s\" != \"%s\"", a, b);
}

static void cmocka_memory_equal(const char *file, int line, const void *a, const void *b,
                                size_t bytes) {
    const unsigned char *x = (const unsigned char *)a, *y = (const unsigned char *)b;
    for (size_t i = 0; i < bytes; i++)
        if (x[i] != y[i])
            cmocka_fail(file, line, "byte %zu of %zu is 0x%02x, not 0x%02x", i, bytes, x[i], y[i]);
}

static int cmocka_run_test(const struct CMUnitTest *test) {
    void *state = NULL;
    printf("[ RUN      ] %s\n", test->name);
    int outcome = setjmp(cmocka_test_end);
    if (outcome == CMOCKA_PASSED) {
        if (test->setup && test->setup(&state) != 0) fail_msg("%s: the fixture failed", test->name);
        test->run(&state);
    }
    if (test->teardown) test->teardown(&state);
    return outcome;
}

static int cmocka_run_tests(const struct CMUnitTest *tests, size_t count, int (*setup)(void **),
                            int (*teardown)(void **)) {
    static const char *const words[] = {"[       OK ]", "[  FAILED  ]", "[  SKIPPED ]"};
    int counts[3] = {0};
    void *state = NULL;
    if (setup && setup(&state) != 0) {
        printf("[  FAILED  ] the group's fixture\n");
        return 1;
    }
    for (size_t i = 0; i < count; i++) {
        int outcome = cmocka_run_test(&tests[i]);
        printf("%s %s\n", words[outcome], tests[i].name);
        fflush(stdout);
        counts[outcome]++;
    }
    if (teardown) teardown(&state);
    printf("[==========] %zu tests: %d passed, %d failed, %d skipped\n", count,
           counts[CMOCKA_PASSED], counts[CMOCKA_FAILED], counts[CMOCKA_SKIPPED]);
    return counts[CMOCKA_FAILED];
}

#define cmocka_run_group_tests(tests, setup, teardown) \
    cmocka_run_tests(tests, sizeof(tests) / sizeof *(tests), setup, teardown)

#pragma GCC diagnostic pop
