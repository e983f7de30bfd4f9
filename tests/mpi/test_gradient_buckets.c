// Gradients in buckets, summed while backward goes on, run by mpirun. The network reads its
// parameters from the last to the first registered: the contrary of what buckets are laid out for.
#include "autograd/tape.h"
#include "ops/kernels.h"
#include "ops/ops.h"
#include "train/trainer/gradient_buckets.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { PARAMETERS = 6, LENGTH = 1024, STEPS = 4 };

static ProcessGroup *group;
static Device *device;
static int rank, count;

/// What a rank adds to the gradient of an element; sums of it are rounded.
static float gradient_of(int of_rank, int parameter, int64_t i) {
    return (float)(((i * 31 + parameter * 17 + of_rank * 13) % 251) - 125) / 3.0f;
}

/// A run of steps.
typedef struct Run {
    ParameterSet set;
    GradientBuckets *buckets;
    /// sums that had begun when the last parameter but one was complete, by step
    int begun[STEPS];
    /// of the last parameter of each step
    float gradients[STEPS][PARAMETERS * LENGTH];
} Run;

/// A parameter in a bucket each.
static void run_begin(Run *run, bool shard) {
    *run = (Run){0};
    for (int p = 0; p < PARAMETERS; p++) {
        char name[16];
        snprintf(name, sizeof name, "p%d", p);
        Tensor *x = parameters_add(&run->set, name, GROUP_ADAPTERS, device, SHAPE(LENGTH));
        device->fill_zero(device, x->data, LENGTH * sizeof(float));
    }
    run->buckets = gradient_buckets_new(&run->set, group, LENGTH * sizeof(float), shard);
}

static void run_end(Run *run) {
    parameters_free(&run->set);
    gradient_buckets_free(run->buckets);
}

/// sum over p and i of p[i] * gradient_of(rank, p, i); it reads the last parameter first.
static Tensor *loss_of(const Run *run) {
    Tensor *sum = NULL;
    float values[LENGTH];
    for (int p = PARAMETERS - 1; p >= 0; p--) {
        for (int64_t i = 0; i < LENGTH; i++) values[i] = gradient_of(rank, p, i);
        Tensor *factor = tensor_from_host(device, FLOAT32, SHAPE(LENGTH), values);
        Tensor *x = multiply(run->set.items[p].value, factor);
        sum = sum ? add(sum, x) : x;
    }
    return scale(mean(sum), LENGTH);
}

typedef struct Watch {
    const Run *run;
    const LeafListener *listener;
    int completed, begun;
} Watch;

static void parameter_is_complete(int index, void *context) {
    Watch *watch = context;
    assert_int_equal(index, watch->completed++); // the first is read last
    watch->listener->complete(index, watch->listener->context);
    if (watch->completed == PARAMETERS - 1)
        watch->begun = gradient_buckets_begun(watch->run->buckets);
}

/// With or without a sample on this rank.
static void run_step(Run *run, int step, bool has_sample) {
    Error error = {0};
    scope_begin();
    tape_begin();
    Watch watch = {.run = run, .listener = gradient_buckets_begin(run->buckets)};
    assert_non_null(watch.listener);
    if (has_sample) backward(loss_of(run), NULL, &(LeafListener){parameter_is_complete, &watch});
    run->begun[step] = watch.begun;
    tape_end();
    scope_end();
    if (!gradient_buckets_finish(run->buckets, step, &error)) fail_msg("%s", error.message);
    for (int p = 0; p < PARAMETERS; p++)
        tensor_to_host_float(grad(run->set.items[p].value), run->gradients[step] + p * LENGTH);
    parameters_clear_grad(&run->set);
}

static void assert_sums(const float *gradients) {
    for (int p = 0; p < PARAMETERS; p++)
        for (int64_t i = 0; i < LENGTH; i++) {
            double sum = 0, size = 0;
            for (int r = 0; r < count; r++) {
                sum += gradient_of(r, p, i);
                size += 42; // the largest, 125 / 3
            }
            double error = gradients[p * LENGTH + i] - sum;
            assert_true(error <= size * count * 0x1p-24 && error >= -size * count * 0x1p-24);
        }
}

static void from_the_second_step_on_sums_begin_while_backward_goes_on(void **state) {
    (void)state;
    static Run run;
    run_begin(&run, false);
    for (int step = 0; step < STEPS; step++) {
        run_step(&run, step, true);
        // All that are complete; before the order is known, the sums wait for the last one's.
        assert_int_equal(run.begun[step], step == 0 ? 0 : PARAMETERS - 1);
        assert_sums(run.gradients[step]);
        assert_memory_equal(run.gradients[step], run.gradients[0], sizeof run.gradients[0]);
    }
    run_end(&run);
}

static void the_order_is_learned_when_rank_0_has_a_sample(void **state) {
    (void)state;
    static Run run;
    run_begin(&run, false);
    for (int step = 0; step < STEPS; step++) {
        bool learned = step > 2;
        run_step(&run, step, step >= 2 || rank != 0);
        assert_int_equal(run.begun[step], learned ? PARAMETERS - 1 : 0);
    }
    assert_sums(run.gradients[2]);
    assert_sums(run.gradients[3]);
    run_end(&run);
}

static void a_rank_without_a_sample_sums_in_the_order_of_the_others(void **state) {
    (void)state;
    static Run run;
    run_begin(&run, false);
    for (int step = 0; step < STEPS; step++) run_step(&run, step, step != 2 || rank == 0);
    for (int p = 0; p < PARAMETERS; p++)
        for (int64_t i = 0; i < LENGTH; i++)
            assert_true(run.gradients[2][p * LENGTH + i] == gradient_of(0, p, i));
    assert_memory_equal(run.gradients[3], run.gradients[0], sizeof run.gradients[0]);
    run_end(&run);
}

/// The elements that this rank updates, in the bits of the unsharded sums.
static void sharded_sums_have_the_same_bits(void **state) {
    (void)state;
    static Run whole, sharded;
    run_begin(&whole, false);
    run_begin(&sharded, true);
    for (int step = 0; step < STEPS; step++) {
        run_step(&whole, step, true);
        run_step(&sharded, step, true);
        assert_int_equal(sharded.begun[step], step == 0 ? 0 : PARAMETERS - 1);
        int ranges;
        const ParameterRange *range = gradient_buckets_ranges(sharded.buckets, &ranges);
        assert_int_equal(ranges, PARAMETERS);
        for (int k = 0; k < ranges; k++, range++) {
            int64_t first = range->parameter * LENGTH + range->first;
            assert_memory_equal(sharded.gradients[step] + first, whole.gradients[step] + first,
                                (size_t)range->count * sizeof(float));
        }
    }
    run_end(&whole);
    run_end(&sharded);
}

static bool open_device(const char *name, Error *error) {
    device =
        strcmp(name, "cuda") ? ops_cpu_open(1) : ops_cuda_open(process_local_rank(group), error);
    return device && process_group_use_device(group, device, error);
}

int main(int argc, char **argv) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(from_the_second_step_on_sums_begin_while_backward_goes_on),
        cmocka_unit_test(the_order_is_learned_when_rank_0_has_a_sample),
        cmocka_unit_test(a_rank_without_a_sample_sums_in_the_order_of_the_others),
        cmocka_unit_test(sharded_sums_have_the_same_bits),
    };
    Error error = {0};
    group = argc == 2 ? process_group_open(30, &error) : NULL;
    if (!group || process_count(group) < 2 || !open_device(argv[1], &error)) {
        fprintf(stderr, "mpirun -n N %s cpu|cuda: %s\n", argv[0], error.message);
        return 1;
    }
    rank = process_rank(group);
    count = process_count(group);
    if (cmocka_run_group_tests(tests, NULL, NULL))
        process_group_abort(group, 1); // the others may wait for this rank
    process_group_close(group);
    return 0;
}
