/// Shared by the tests of ops: random tensors, comparison with a float64 reference under a
/// tolerance that follows from the type and the size, numerical gradients of any op, and a run of
/// the whole test program per device and kernel level.
///
///     int main(void) { return case_run_levels(run_my_tests); }
///
///     static void sum_rows_adds_columns(void **state) {
///         case_begin();
///         Tensor *x = case_normal(BFLOAT16, SHAPE(7, 13));
///         ...
///         case_end();
///     }
///
/// A test that includes this file includes nothing else of cmocka's.
#pragma once
#include "autograd/philox.h"
#include "autograd/tape.h"
#include "ops/kernels.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wunused-function"

/// Runs the tests: `return cmocka_run_group_tests(tests, NULL, NULL);`
typedef int (*CaseProgram)(void);

static Device *case_chosen;

/// The device under test.
static Device *case_device(void) { return case_chosen; }

static bool case_on_cpu(void) { return case_chosen == device_cpu(); }

#ifndef DIFFLMM_TEST_WITHOUT_CPU
/// `level` NULL: the processor's best. False if this processor lacks it.
static bool case_open_cpu(const char *level) {
    if (level) {
        setenv("DIFFLMM_CPU_LEVEL", level, 1);
        if (!ops_cpu_use_level(level)) {
            printf("# level %s: not supported by this processor, skipped\n", level);
            return false;
        }
    }
    case_chosen = ops_cpu_open(0);
    return true;
}
#endif

#ifdef DIFFLMM_TEST_CUDA
/// `level` NULL: what is used otherwise. False if this GPU lacks it.
static bool case_open_cuda(const char *level) {
    Error error;
    if (level) setenv("CUDA_ON_CPU_LEVEL", level, 1);
    case_chosen = ops_cuda_open(0, &error);
    if (!case_chosen) {
        printf("# %s\n", error.message);
        exit(1);
    }
    if (!level || ops_cuda_use_level(level)) return true;
    printf("# level %s: not supported by this GPU, skipped\n", level);
    return false;
}
#endif

/// The program's result, in a process of its own, on the device that `open` opens.
static int case_run_in_child(CaseProgram program, bool (*open)(const char *level),
                             const char *device, const char *level) {
    fflush(NULL);
    pid_t child = fork();
    if (child == 0) {
        if (!open(level)) exit(0);
        printf("# %s %s\n", device, level ? level : "");
        exit(program() ? 1 : 0);
    }
    int status = 1;
    if (child > 0 && waitpid(child, &status, 0) == child && status == 0) return 0;
    printf("# %s %s failed\n", device, level ? level : "");
    return 1;
}

/// Runs the tests on the processor at each of the levels (NULL: its best), then on the GPU, each in
/// a process of its own: a library that chooses its code once per process keeps its first choice,
/// and a GPU is not shared over a fork. The environment variable DIFFLMM_TEST_DEVICE (cpu, cuda)
/// leaves the other out. Returns what main() returns.
static int case_run(CaseProgram program, const char *const *levels, size_t count) {
    const char *only = getenv("DIFFLMM_TEST_DEVICE");
    int failed = 0, runs = 0;
#ifndef DIFFLMM_TEST_WITHOUT_CPU
    for (size_t i = 0; i < count && (!only || !strcmp(only, "cpu")); i++, runs++)
        failed |= case_run_in_child(program, case_open_cpu, "cpu", levels[i]);
#else
    (void)levels, (void)count;
#endif
#ifdef DIFFLMM_TEST_CUDA
    if (!only || !strcmp(only, "cuda")) {
        failed |= case_run_in_child(program, case_open_cuda, "cuda", NULL);
        runs++;
    }
#endif
    if (!runs) printf("# this program has no device %s\n", only ? only : "to run on");
    return failed || !runs;
}

#ifdef __x86_64__
static const char *const case_levels[] = {"v2", "v3", "v4", "v4_bf16", "amx_plain", "amx"};
enum { CASE_LEVELS = sizeof case_levels / sizeof *case_levels, CASE_VECTOR_LEVELS = 4 };
#else
static const char *const case_levels[] = {"generic"};
enum { CASE_LEVELS = 1, CASE_VECTOR_LEVELS = 1 };
#endif

/// The tests of kernels: every kernel level that this processor supports, and the GPU.
static int case_run_levels(CaseProgram program) {
    return case_run(program, case_levels, CASE_LEVELS);
}

/// Those of kernels that multiply no matrices, which tiles have no part in.
static int case_run_vector_levels(CaseProgram program) {
    return case_run(program, case_levels, CASE_VECTOR_LEVELS);
}

/// The same, and on the GPU with the kernels that Hopper alone has.
static int case_run_levels_and_hopper(CaseProgram program) {
    int failed = case_run_levels(program);
#ifdef DIFFLMM_TEST_CUDA
    const char *only = getenv("DIFFLMM_TEST_DEVICE");
    if (!only || !strcmp(only, "cuda"))
        failed |= case_run_in_child(program, case_open_cuda, "cuda", "sm_90a");
#endif
    return failed;
}

/// The tests of what is built from kernels: the processor's best level, and the GPU.
static int case_run_devices(CaseProgram program) {
    return case_run(program, (const char *const[]){NULL}, 1);
}

// ---- one case: a scope, and host arrays that die with it

static void *case_arrays[4096];
static int case_array_count;
/// How many arrays there were when a case began: cases nest, and a test that fails leaves its own
/// open.
static int case_marks[256], case_depth;

static void case_begin(void) {
    CHECK(case_depth < 256, "more than 256 open cases");
    case_marks[case_depth++] = case_array_count;
    scope_begin();
}

static void case_end(void) {
    scope_end();
    int mark = case_marks[--case_depth];
    while (case_array_count > mark) free(case_arrays[--case_array_count]);
}

/// Zeroed memory, freed by case_end().
static void *case_memory(int64_t count, size_t size) {
    CHECK(case_array_count < 4096, "more than 4096 arrays in the cases that are open");
    void *array = checked_calloc((size_t)(count > 0 ? count : 1), size);
    return case_arrays[case_array_count++] = array;
}

static double *case_zeros(int64_t n) { return case_memory(n, sizeof(double)); }

/// x's elements in host memory, in x's own type: tests never touch a tensor's memory, which a GPU's
/// may not be. Freed by case_end().
static void *case_host(const Tensor *x) {
    void *copy = case_memory(tensor_numel(x), dtype_size(x->dtype));
    x->device->to_host(x->device, copy, x->data, (size_t)tensor_numel(x) * dtype_size(x->dtype));
    return copy;
}

/// Replaces the elements of x by host memory of x's own type.
static void case_write(Tensor *x, const void *values) {
    x->device->from_host(x->device, x->data, values,
                         (size_t)tensor_numel(x) * dtype_size(x->dtype));
}

static void case_write_float(Tensor *x, int64_t i, float value) {
    x->device->from_host(x->device, (float *)x->data + i, &value, sizeof value);
}

/// x's elements as float64, freed by case_end().
static double *case_doubles(const Tensor *x) {
    int64_t n = tensor_numel(x);
    double *array = case_zeros(n);
    float *values = checked_malloc((size_t)(n > 0 ? n : 1) * sizeof *values);
    tensor_to_host_float(x, values);
    for (int64_t i = 0; i < n; i++) array[i] = values[i];
    free(values);
    return array;
}

// ---- random tensors

/// Standard normal numbers rounded to bfloat16 whatever the type, so that a FLOAT32 and a BFLOAT16
/// run see the same inputs (and FLOAT8 what becomes of them, rows times powers of two, so that they
/// differ in their scales). Every call draws new numbers; the
/// sequence is the same in every run.
static Tensor *case_normal(DType dtype, int rank, const int64_t *shape) {
    static uint64_t calls;
    if (dtype == FLOAT8) {
        Tensor *numbers = case_normal(FLOAT32, rank, shape);
        int64_t columns = tensor_columns(numbers), count = tensor_numel(numbers);
        float *scaled = checked_malloc((size_t)count * sizeof *scaled + 1);
        tensor_to_host_float(numbers, scaled);
        for (int64_t i = 0; i < count; i++) scaled[i] = ldexpf(scaled[i], (int)(i / columns % 7));
        tensor_fill_from_float(numbers, scaled);
        free(scaled);
        Tensor *rounded = tensor_new(case_device(), FLOAT8, rank, shape);
        kernels(numbers)->quantize_rows(numbers, rounded);
        return rounded;
    }
    Tensor *x = tensor_new(case_device(), dtype, rank, shape);
    int64_t n = tensor_numel(x);
    float *values = checked_malloc((size_t)(n > 0 ? n : 1) * sizeof *values);
    philox_normal(20241008, calls++, 0, values, n);
    for (int64_t i = 0; i < n; i++) values[i] = bfloat16_to_float(float_to_bfloat16(values[i]));
    tensor_fill_from_float(x, values);
    free(values);
    return x;
}

/// The same numbers times `factor` (a power of two keeps them exact in bfloat16).
static Tensor *case_normal_times(double factor, DType dtype, int rank, const int64_t *shape) {
    Tensor *x = case_normal(dtype, rank, shape);
    int64_t n = tensor_numel(x);
    float *values = checked_malloc((size_t)(n > 0 ? n : 1) * sizeof *values);
    tensor_to_host_float(x, values);
    for (int64_t i = 0; i < n; i++) values[i] = (float)(factor * values[i]);
    tensor_fill_from_float(x, values);
    free(values);
    return x;
}

/// x in another type (exact from BFLOAT16 to FLOAT32), not recorded.
static Tensor *case_convert(const Tensor *x, DType dtype) {
    Tensor *y = tensor_new(x->device, dtype, x->rank, x->shape);
    int64_t n = tensor_numel(x);
    float *values = checked_malloc((size_t)(n > 0 ? n : 1) * sizeof *values);
    tensor_to_host_float(x, values);
    tensor_fill_from_float(y, values);
    free(values);
    return y;
}

// ---- comparison

/// The unit roundoff: the largest relative error of rounding to nearest.
static double case_unit(DType dtype) { return dtype == BFLOAT16 ? 0x1p-8 : 0x1p-24; }

/// The unit of the roundings that a product into `dtype` has before a bias or an earlier value is
/// added to it, 0 where it has none. The processor's products are rounded once, with everything
/// added. A GPU's library may round a product into BFLOAT16 before it adds, by which it then errs
/// by a unit of the product's own magnitude, whatever of the product the addition cancels.
static double case_product_unit(DType dtype) {
    return dtype == BFLOAT16 && !case_on_cpu() ? case_unit(BFLOAT16) : 0;
}

/// Compares `got` with a float64 reference. The error allowed for element i is
///     unit(got's type) |want[i]|  +  (4 + sqrt(terms)) unit(FLOAT32) magnitude[i]:
/// one rounding on storing, and `terms` roundings of partial results no larger than magnitude[i]
/// that add up as a random walk does. For a sum, magnitude is the sum of the absolute values of
/// what is added and `terms` their number. magnitude NULL: |want|. `stored` (NULL: nothing): the
/// size of the sums that case_product_unit() is the rounding of; the result is rounded with those
/// errors in it.
static void case_expect_product(const char *what, const Tensor *got, const double *want,
                                const double *magnitude, double terms, const double *stored) {
    double unit = case_unit(got->dtype);
    double product_unit = stored ? case_product_unit(got->dtype) * (1 + unit) : 0;
    int64_t n = tensor_numel(got);
    const double *values = case_doubles(got);
    double rounding = (4 + sqrt(terms)) * case_unit(FLOAT32);
    for (int64_t i = 0; i < n; i++) {
        double size = magnitude ? magnitude[i] : fabs(want[i]);
        double allowed = unit * fabs(want[i]) + rounding * size + 1e-37;
        if (stored) allowed += product_unit * stored[i];
        if (!(fabs(values[i] - want[i]) <= allowed))
            fail_msg("%s, %s: element %lld is %.9g, expected %.9g +- %.2g", what,
                     tensor_describe(got), (long long)i, values[i], want[i], allowed);
    }
}

static void case_expect(const char *what, const Tensor *got, const double *want,
                        const double *magnitude, double terms) {
    case_expect_product(what, got, want, magnitude, terms, NULL);
}

/// Bit for bit the same.
static void case_expect_equal(const char *what, const Tensor *a, const Tensor *b) {
    if (!same_shape(a, b) || a->dtype != b->dtype)
        fail_msg("%s: %s beside %s", what, tensor_describe(a), tensor_describe(b));
    if (memcmp(case_host(a), case_host(b), (size_t)tensor_numel(a) * dtype_size(a->dtype)) != 0)
        fail_msg("%s: the two %s differ", what, tensor_describe(a));
}

/// |a - b| / |b| in the Euclidean norm.
static double case_relative_error(const Tensor *a, const Tensor *b) {
    const double *x = case_doubles(a), *y = case_doubles(b);
    double difference = 0, size = 1e-60;
    for (int64_t i = 0; i < tensor_numel(a); i++) {
        difference += (x[i] - y[i]) * (x[i] - y[i]);
        size += y[i] * y[i];
    }
    return sqrt(difference / size);
}

// ---- gradients of any op

/// The op under test as a function of its inputs. `dtype` is the activations' type: inputs are
/// FLOAT32, and the op converts those that are activations (convert() is the identity for FLOAT32).
typedef Tensor *(*CaseOp)(const void *context, DType dtype, Tensor *const *inputs);

/// sum(y * weights) in float64; *size is the sum of absolute values.
static double case_weighted_sum(CaseOp op, const void *context, Tensor *const *inputs,
                                const double *weights, double *size) {
    scope_begin();
    Tensor *y = op(context, FLOAT32, inputs);
    int64_t n = tensor_numel(y);
    float *values = checked_malloc((size_t)n * sizeof *values);
    tensor_to_host_float(y, values);
    double sum = 0;
    *size = 0;
    for (int64_t i = 0; i < n; i++) {
        sum += values[i] * weights[i];
        *size += values[i] * weights[i] * values[i] * weights[i];
    }
    *size = sqrt(*size);
    free(values);
    scope_end();
    return sum;
}

/// Runs forward and backward in the given type with a fixed random output gradient. `weights` (NULL
/// allowed) receives that gradient (freed by case_end). Gradients are then in grad(inputs[i]).
/// Returns the output.
static Tensor *case_backward(CaseOp op, const void *context, DType dtype, int count,
                             Tensor *const *inputs, double **weights) {
    for (int i = 0; i < count; i++)
        if (inputs[i]) grad_clear(inputs[i]);
    tape_begin();
    Tensor *y = op(context, dtype, inputs);
    Tensor *direction = tensor_like(y);
    int64_t n = tensor_numel(y);
    float *values = checked_malloc((size_t)n * sizeof *values);
    philox_normal(7, 7, 0, values, n);
    for (int64_t i = 0; i < n; i++) values[i] = bfloat16_to_float(float_to_bfloat16(values[i]));
    tensor_fill_from_float(direction, values);
    free(values);
    backward(y, direction, NULL);
    tape_end();
    if (weights) *weights = case_doubles(direction);
    return y;
}

static int64_t case_checked_elements(void) {
#ifdef DIFFLMM_TEST_CUDA_ON_CPU
    if (!case_on_cpu()) return 6;
#endif
    return 48;
}

/// The gradient of every input that require_grad() marks against central differences of the op
/// itself in FLOAT32.
///
/// For an element at x the difference quotients D(h) and D(2h) give the extrapolation (4 D(h) -
/// D(2h)) / 3. What may remain is the rounding of the outputs (their norm times unit(FLOAT32), a
/// random walk, over the step) and a part of the quotients' own disagreement. Large inputs are
/// checked at 48 elements spread over them; where a GPU's kernels are executed on the processor, at
/// 6: each of them costs four runs of the op, and the kernels' gradients are compared with
/// references element by element elsewhere.
static void case_check_gradient(const char *name, CaseOp op, const void *context, int count,
                                Tensor *const *inputs) {
    double *weights;
    case_backward(op, context, FLOAT32, count, inputs, &weights);
    for (int which = 0; which < count; which++) {
        Tensor *x = inputs[which];
        if (!x || !x->gradient) continue;
        if (!grad(x)) fail_msg("%s: input %d got no gradient", name, which);
        const double *analytic = case_doubles(grad(x));
        const float *data = case_host(x);
        int64_t n = tensor_numel(x), most = case_checked_elements();
        int64_t step = n <= most ? 1 : n / most;
        for (int64_t i = 0; i < n; i += step) {
            const float h = 0x1p-6f;
            double size, at[4];
            const float offsets[4] = {-2 * h, -h, h, 2 * h};
            float places[4];
            for (int p = 0; p < 4; p++) {
                places[p] = data[i] + offsets[p];
                case_write_float(x, i, places[p]);
                at[p] = case_weighted_sum(op, context, inputs, weights, &size);
            }
            case_write_float(x, i, data[i]);
            double near = (at[2] - at[1]) / ((double)places[2] - places[1]);
            double far = (at[3] - at[0]) / ((double)places[3] - places[0]);
            double numeric = (4 * near - far) / 3;
            double allowed = 0.5 * fabs(near - far) +
                             16 * case_unit(FLOAT32) * (size + 1e-3) / (double)h +
                             32 * case_unit(FLOAT32) * fabs(numeric);
            if (!(fabs(analytic[i] - numeric) <= allowed))
                fail_msg("%s: gradient of input %d at element %lld is %.7g, differences give %.7g "
                         "+- %.2g",
                         name, which, (long long)i, analytic[i], numeric, allowed);
        }
    }
}

/// Output and gradients in BFLOAT16 against the same in FLOAT32. `roundings`: how many times a
/// value on the way from input to output or gradient is rounded to bfloat16; the relative errors
/// (Euclidean norm) of independent roundings add up as squares do, so unit(BFLOAT16)
/// sqrt(roundings) is allowed.
static void case_check_bfloat16(const char *name, CaseOp op, const void *context, int count,
                                Tensor *const *inputs, double roundings) {
    Tensor *gradients[8] = {0};
    Tensor *want = case_backward(op, context, FLOAT32, count, inputs, NULL);
    for (int i = 0; i < count; i++)
        if (inputs[i] && inputs[i]->gradient) gradients[i] = case_convert(grad(inputs[i]), FLOAT32);
    Tensor *got = case_backward(op, context, BFLOAT16, count, inputs, NULL);
    double allowed = case_unit(BFLOAT16) * sqrt(roundings);
    double error = case_relative_error(got, want);
    if (!(error <= allowed))
        fail_msg("%s: output in bfloat16 is off by %.2g, allowed %.2g", name, error, allowed);
    for (int i = 0; i < count; i++) {
        if (!gradients[i]) continue;
        error = case_relative_error(grad(inputs[i]), gradients[i]);
        if (!(error <= allowed))
            fail_msg("%s: gradient of input %d in bfloat16 is off by %.2g, allowed %.2g", name, i,
                     error, allowed);
    }
}

#pragma GCC diagnostic pop
