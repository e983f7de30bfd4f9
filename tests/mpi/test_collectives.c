// The process group, run by mpirun: test_collectives DEVICE TESTS. Every rank runs the same tests;
// CUDA tensors are summed by NCCL, emulated or real. With kernels executed on the processor every
// rank has another order of streams.
#include "autograd/tape.h"
#include "ops/kernels.h"
#include "train/group/process_group.h"
#include "train/group/replicas.h"

#include <math.h>
#include <mpi.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

// ---- what the process group asks of MPI, counted on the way [the profiling interface: MPI 4.1,
// chapter 15]

static int mpi_calls;
#define COUNTED(name, parameters, arguments) \
    int MPI_##name parameters {              \
        mpi_calls++;                         \
        return PMPI_##name arguments;        \
    }
COUNTED(Testall, (int n, MPI_Request requests[], int *done, MPI_Status statuses[]),
        (n, requests, done, statuses))
COUNTED(Iprobe, (int source, int tag, MPI_Comm over, int *arrived, MPI_Status *status),
        (source, tag, over, arrived, status))
COUNTED(Isend,
        (const void *bytes, int n, MPI_Datatype type, int to, int tag, MPI_Comm over,
         MPI_Request *request),
        (bytes, n, type, to, tag, over, request))
COUNTED(Iallreduce,
        (const void *from, void *to, int n, MPI_Datatype type, MPI_Op operation, MPI_Comm over,
         MPI_Request *request),
        (from, to, n, type, operation, over, request))
COUNTED(Ireduce,
        (const void *from, void *to, int n, MPI_Datatype type, MPI_Op operation, int root,
         MPI_Comm over, MPI_Request *request),
        (from, to, n, type, operation, root, over, request))
COUNTED(Ibcast,
        (void *bytes, int n, MPI_Datatype type, int root, MPI_Comm over, MPI_Request *request),
        (bytes, n, type, root, over, request))
COUNTED(Iallgather,
        (const void *from, int n, MPI_Datatype type, void *to, int room, MPI_Datatype there,
         MPI_Comm over, MPI_Request *request),
        (from, n, type, to, room, there, over, request))
COUNTED(Comm_free, (MPI_Comm * communicator), (communicator))
COUNTED(Finalize, (void), ())

static ProcessGroup *group;
static Device *device;
static int rank, count;

static void check_ok(bool ok, const Error *error) {
    if (!ok) fail_msg("rank %d: %s", rank, error->message);
}

static void assert_says(const Error *error, const char *text) {
    if (!strstr(error->message, text))
        fail_msg("rank %d expected \"%s\", not: %s", rank, text, error->message);
}

// ---- values: what every rank has is known to all

/// Whose sums are exact.
static float whole_number(int of_rank, int64_t i) {
    return (float)((i * 7 + of_rank * 13) % 251) - 125;
}

/// In [-1, 1), by the finalizer of splitmix64 [Steele, Lea & Flood 2014].
static float real_number(int of_rank, int64_t i) {
    uint64_t x = (uint64_t)(i * 1024 + of_rank + 1) * 0x9e3779b97f4a7c15ull;
    x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9ull;
    x = (x ^ x >> 27) * 0x94d049bb133111ebull;
    return (float)((x ^ x >> 31) >> 40) * 0x1p-23f - 1;
}

typedef float Number(int of_rank, int64_t i);

static double sum_over_ranks(Number *number, int64_t i) {
    double sum = 0;
    for (int r = 0; r < count; r++) sum += number(r, i);
    return sum;
}

static Tensor *tensor_of(Number *number, int64_t n) {
    Tensor *x = tensor_new(device, FLOAT32, SHAPE(n));
    float *values = checked_malloc((size_t)n * sizeof *values);
    for (int64_t i = 0; i < n; i++) values[i] = number(rank, i);
    tensor_fill_from_float(x, values);
    free(values);
    return x;
}

static float *values_of(const Tensor *x) {
    float *values = checked_malloc((size_t)tensor_numel(x) * sizeof *values);
    tensor_to_host_float(x, values);
    return values;
}

static void wait_for(const char *what) {
    Error error;
    check_ok(process_group_wait(group, what, &error), &error);
}

/// x[i] = factor * sum over ranks, exactly, for i from `first` to `end`.
static void assert_whole_sums(const Tensor *x, double factor, int64_t first, int64_t end) {
    float *values = values_of(x);
    for (int64_t i = first; i < end; i++) {
        double expected = factor * sum_over_ranks(whole_number, i);
        if (values[i] != expected)
            fail_msg("rank %d: %s [%lld] is %g, not %g", rank, tensor_describe(x), (long long)i,
                     values[i], expected);
    }
    free(values);
}

// ---- sums

enum { SIZES = 5 };
/// Times the number of ranks where each has a part. The last is beyond what MPI sends without being
/// asked.
static const int64_t sizes[SIZES] = {1, 3, 7, 1023, 300007};

static void all_reduce_gives_every_rank_the_sum(void **state) {
    (void)state;
    Tensor *x[SIZES];
    scope_begin();
    for (int i = 0; i < SIZES; i++) {
        x[i] = tensor_of(whole_number, sizes[i]);
        process_group_all_reduce(group, x[i]);
        process_group_progress(group);
    }
    wait_for("sums");
    for (int i = 0; i < SIZES; i++) assert_whole_sums(x[i], 1, 0, sizes[i]);
    scope_end();
}

static void reduce_scatter_gives_every_rank_its_part_of_the_sum(void **state) {
    (void)state;
    Tensor *x[SIZES];
    scope_begin();
    for (int i = 0; i < SIZES; i++) {
        x[i] = tensor_of(whole_number, sizes[i] * count);
        process_group_reduce_scatter(group, x[i]);
    }
    wait_for("sums");
    for (int i = 0; i < SIZES; i++)
        assert_whole_sums(x[i], 1, sizes[i] * rank, sizes[i] * (rank + 1));
    scope_end();
}

/// Element i, held by one rank of `count` only.
static int64_t gathered_part;
static float own_or_nan(int of_rank, int64_t i) {
    return i / gathered_part == of_rank ? whole_number(of_rank, i) : NAN;
}

static void all_gather_gives_every_rank_all_parts(void **state) {
    (void)state;
    Tensor *x[SIZES];
    scope_begin();
    for (int i = 0; i < SIZES; i++) {
        gathered_part = sizes[i];
        x[i] = tensor_of(own_or_nan, sizes[i] * count);
        process_group_all_gather(group, x[i]);
    }
    wait_for("parts");
    for (int i = 0; i < SIZES; i++) {
        float *values = values_of(x[i]);
        for (int64_t j = 0; j < sizes[i] * count; j++)
            assert_true(values[j] == whole_number((int)(j / sizes[i]), j));
        free(values);
    }
    scope_end();
}

/// Adding R numbers one by one rounds R - 1 times, each time by at most 2^-24 of a partial sum,
/// which the sum of magnitudes bounds.
static void sums_are_within_rounding_and_the_same_every_time(void **state) {
    (void)state;
    enum { N = 100003 };
    float *before = NULL;
    for (int run = 0; run < 2; run++) {
        scope_begin();
        Tensor *x = tensor_of(real_number, N);
        process_group_all_reduce(group, x);
        wait_for("sums");
        float *values = values_of(x);
        for (int64_t i = 0; i < N; i++) {
            double magnitude = 0;
            for (int r = 0; r < count; r++) magnitude += fabs(real_number(r, i));
            assert_true(fabs(values[i] - sum_over_ranks(real_number, i)) <=
                        (count - 1) * 0x1p-24 * magnitude);
        }
        Error error;
        check_ok(process_group_same(group, "a sum", values, N * sizeof *values, &error), &error);
        if (before) assert_memory_equal(before, values, N * sizeof *values);
        free(before);
        before = values;
        scope_end();
    }
    free(before);
}

/// Kernels that make what is summed, that run beside it in memory just freed, and that use it.
static void sums_follow_what_made_them_and_come_before_what_uses_them(void **state) {
    (void)state;
    enum { N = 5003, STEPS = 12 };
    for (int step = 0; step < STEPS; step++) {
        scope_begin();
        Tensor *made = tensor_of(whole_number, N), *x = tensor_like(made),
               *used = tensor_like(made);
        kernels(x)->scale(made, 3, x);
        process_group_all_reduce(group, x);
        for (int i = 0; i < 3; i++) {
            scope_begin();
            Tensor *beside = tensor_like(made);
            kernels(x)->scale(made, -1, beside);
            Tensor *other = tensor_like(made);
            kernels(x)->add(beside, made, other);
            process_group_progress(group);
            scope_end();
        }
        kernels(made)->scale(made, 0.5f, made); // no longer needed by the sum
        wait_for("sums");
        kernels(x)->scale(x, 2, used);
        kernels(x)->scale(x, -1, x);
        assert_whole_sums(used, 6, 0, N);
        assert_whole_sums(x, -3, 0, N);
        scope_end();
    }
}

// ---- control messages

static void totals_are_over_all_ranks(void **state) {
    (void)state;
    Error error;
    double sums[2] = {rank, 1}, largest[2] = {rank, -rank};
    check_ok(process_group_sum(group, sums, 2, &error), &error);
    assert_true(sums[0] == count * (count - 1) / 2 && sums[1] == count);
    check_ok(process_group_max(group, largest, 2, &error), &error);
    assert_true(largest[0] == count - 1 && largest[1] == 0);
}

static void a_broadcast_comes_from_its_root(void **state) {
    (void)state;
    Error error;
    for (int root = 0; root < count; root++) {
        char bytes[] = "?????";
        if (rank == root) memcpy(bytes, "hello", 5);
        check_ok(process_group_broadcast(group, root, bytes, sizeof bytes, &error), &error);
        assert_string_equal(bytes, "hello");
    }
}

static void bits_of_all_ranks_come_together_on_rank_0(void **state) {
    (void)state;
    Error error;
    uint32_t words[70] = {0};
    for (int i = rank; i < 70; i += count) words[i] = 0x80000001u + (uint32_t)i;
    check_ok(process_group_gather_bits(group, words, 70, &error), &error);
    for (int i = 0; rank == 0 && i < 70; i++) assert_int_equal(words[i], 0x80000001u + (uint32_t)i);
}

static void ranks_that_differ_from_the_first_are_named(void **state) {
    (void)state;
    Error error;
    int value = 5;
    check_ok(process_group_same(group, "the seed", &value, sizeof value, &error), &error);
    value = rank == count - 1;
    assert_false(process_group_same(group, "the seed", &value, sizeof value, &error));
    char expected[64];
    snprintf(expected, sizeof expected, "the seed of rank %d differs", count - 1);
    assert_says(&error, expected);
    if (count < 3) return;
    value = rank != 0;
    assert_false(process_group_same(group, "the seed", &value, sizeof value, &error));
    assert_says(&error, count == 3 ? "ranks 1 and 2 differs" : "ranks 1, 2");
}

static void weights_that_differ_are_named_with_their_ranks(void **state) {
    (void)state;
    enum { N = 1001 };
    static const char *const names[] = {"a", "b", "c"};
    ParameterSet parameters = {0};
    Error error = {0};
    int64_t agreed = 0;
    scope_begin();
    float *values = values_of(tensor_of(whole_number, N));
    for (int i = 0; i < N; i++) values[i] = whole_number(0, i);
    for (int i = 0; i < 3; i++)
        tensor_fill_from_float(
            parameters_add(&parameters, names[i], GROUP_ADAPTERS, device, 1, (int64_t[]){N}),
            values);
    check_ok(replicas_agree(group, &parameters, 7, &agreed, &error), &error);
    assert_int_equal(agreed, 7);
    if (rank == count - 1) values[N - 1] = nextafterf(values[N - 1], 1e9f);
    for (int i = 1; i < 3; i++) tensor_fill_from_float(parameters.items[i].value, values);
    assert_false(replicas_agree(group, &parameters, 9, &agreed, &error));
    char expected[64];
    snprintf(expected, sizeof expected, "after step 9 'b' of rank %d is not", count - 1);
    assert_says(&error, expected);
    assert_says(&error, "the same after step 7");
    assert_int_equal(agreed, 7);
    free(values);
    parameters_free(&parameters);
    scope_end();
}

static void a_rank_that_fails_tells_the_others_why(void **state) {
    (void)state;
    Error error = {0};
    assert_true(process_group_agree(group, true, &error));
    bool ok = rank != count - 1;
    if (!ok) error_set(&error, "the disk is full");
    error.is_configuration = !ok;
    assert_false(process_group_agree(group, ok, &error));
    char expected[64];
    snprintf(expected, sizeof expected, "rank %d: the disk is full", count - 1);
    assert_string_equal(error.message, ok ? expected : "the disk is full");
    assert_true(error.is_configuration);
}

static void ranks_that_share_a_gpu_are_refused(void **state) {
    (void)state;
    Error error = {0};
    char own[32], expected[64];
    snprintf(own, sizeof own, "0000:%02x:00.0", rank + 1);
    check_ok(process_group_distinct_gpus(group, own, &error), &error);
    check_ok(process_group_distinct_gpus(group, "", &error), &error); // on the processor
    const char *shared = rank == 0 || rank == count - 1 ? "0000:3b:00.0" : own;
    assert_false(process_group_distinct_gpus(group, shared, &error));
    snprintf(expected, sizeof expected,
             "ranks 0 and %d would compute on the same GPU, 0000:3b:00.0 of ", count - 1);
    assert_says(&error, expected);
    snprintf(expected, sizeof expected, "(--processes %d)", count - 1);
    assert_says(&error, expected);
    assert_true(error.is_configuration);
}

// ---- faults

enum { GO_TAG = 99 };

/// The last rank stays until all others let it go: what it does afterwards is no answer to their
/// sums.
static bool last_rank_stays_away(void) {
    if (rank != count - 1) return false;
    for (int r = 0; r < count - 1; r++)
        MPI_Recv(NULL, 0, MPI_BYTE, r, GO_TAG, MPI_COMM_WORLD, MPI_STATUS_IGNORE);
    return true;
}

static void let_last_rank_go(void) {
    MPI_Send(NULL, 0, MPI_BYTE, count - 1, GO_TAG, MPI_COMM_WORLD);
}

static void assert_waited_in_vain(const Error *error) {
    char ranks[32];
    snprintf(ranks, sizeof ranks, "in vain for rank %d (", count - 1);
    assert_says(error, ranks);
    assert_says(error, "the gradients of step 12");
    assert_says(error, "waited 1 seconds");
    assert_true(process_group_is_broken(group));
}

static void a_rank_that_does_not_come_is_a_time_out_on_the_others(void **state) {
    (void)state;
    if (last_rank_stays_away()) return;
    process_group_set_timeout(group, 1);
    scope_begin();
    Tensor *x = tensor_of(whole_number, 1000);
    process_group_all_reduce(group, x);
    Error error = {0};
    double began = MPI_Wtime();
    assert_false(process_group_wait(group, "the gradients of step 12", &error));
    assert_true(MPI_Wtime() - began < 10);
    print_message("%s\n", error.message);
    assert_waited_in_vain(&error);
    // and then it stays that error
    process_group_all_reduce(group, x);
    assert_false(process_group_wait(group, "the gradients of step 13", &error));
    assert_waited_in_vain(&error);
    let_last_rank_go();
    scope_end();
}

/// The last rank answers once the others have given up, so that MPI would have something to write
/// into what they asked with.
static void a_failed_wait_gives_the_callers_memory_back(void **state) {
    (void)state;
    Error error = {0};
    double value = rank + 1;
    bool late = last_rank_stays_away();
    if (late) {
        check_ok(process_group_sum(group, &value, 1, &error), &error);
    } else {
        process_group_set_timeout(group, 1);
        assert_false(process_group_sum(group, &value, 1, &error));
        let_last_rank_go();
    }
    MPI_Barrier(MPI_COMM_WORLD);
    if (!late) assert_true(value == rank + 1);
}

static void a_broken_group_asks_nothing_of_mpi(void **state) {
    (void)state;
    if (!process_group_is_broken(group)) return; // the rank that was away
    enum { N = 1000 };
    Error error = {0};
    double value = 1;
    uint32_t words[2] = {0};
    RankNames differing;
    scope_begin();
    Tensor *x = tensor_of(whole_number, N * count);
    int before = mpi_calls;
    process_group_progress(group);
    process_group_set_timeout(group, 2);
    process_group_all_reduce(group, x);
    process_group_reduce_scatter(group, x);
    process_group_all_gather(group, x);
    assert_false(process_group_wait(group, "more gradients", &error));
    assert_false(process_group_sum(group, &value, 1, &error));
    assert_false(process_group_max(group, &value, 1, &error));
    assert_false(process_group_compare(group, "a value", &value, 8, &differing, &error));
    assert_false(process_group_same(group, "a value", &value, 8, &error));
    assert_false(process_group_broadcast(group, 0, &value, 8, &error));
    assert_false(process_group_gather_bits(group, words, 2, &error));
    assert_false(process_group_distinct_gpus(group, "0000:01:00.0", &error));
    assert_false(process_group_agree(group, true, &error));
    assert_says(&error, "in vain for rank"); // always why it is broken
    error_set(&error, "the disk is full");
    assert_false(process_group_agree(group, false, &error));
    assert_string_equal(error.message, "the disk is full");
    process_group_close(group);
    assert_int_equal(mpi_calls, before);
    scope_end();
}

/// Real NCCL hangs there (and then runs into the time limit).
static void ranks_that_sum_different_sizes_are_told(void **state) {
    (void)state;
    if (device == device_cpu()) skip();
    scope_begin();
    Tensor *x = tensor_of(whole_number, 1000 + rank);
    process_group_all_reduce(group, x);
    Error error = {0};
    assert_false(process_group_wait(group, "the gradients of step 12", &error));
    print_message("%s\n", error.message);
    assert_says(&error, "the gradients of step 12");
    assert_says(&error, "NCCL");
    assert_says(&error, rank == 0 ? "of 1000 elements" : "elements");
    scope_end();
}

static void ranks_on_one_gpu_are_told(void **state) {
    (void)state;
    Error error = {0};
    Device *shared = ops_cuda_open(0, &error);
    assert_non_null(shared);
    assert_false(process_group_use_device(group, shared, &error));
    assert_says(&error, "are both on GPU 0");
}

/// Although for longer than the time limit.
static void a_rank_that_gets_on_with_its_work_is_waited_for(void **state) {
    (void)state;
    Error error = {0};
    double value = 1, began = MPI_Wtime();
    process_group_set_timeout(group, 1);
    while (rank == count - 1 && MPI_Wtime() - began < 3) {
        usleep(100000);
        process_group_progress(group);
    }
    check_ok(process_group_sum(group, &value, 1, &error), &error);
    assert_true(value == count && !process_group_is_broken(group));
    if (rank != count - 1) assert_true(MPI_Wtime() - began > 2);
}

static void slow_backward(Node *node, Tensor *grad_output) {
    usleep(300000);
    node_add_grad(node, 0, grad_output);
}

static Tensor *slow_op(Tensor *x) {
    Tensor *y = tensor_like(x);
    usleep(300000);
    RECORD(y, slow_backward, x);
    return y;
}

static void sign_of_life(void *context) {
    (void)context;
    process_group_progress(group);
}

/// Forward and backward together take longer than the time limit, and no op of them does.
static void a_rank_in_the_middle_of_a_pass_is_waited_for(void **state) {
    (void)state;
    Error error = {0};
    double value = 1;
    process_group_set_timeout(group, 1);
    if (rank == count - 1) {
        scope_begin();
        tape_begin();
        tape_on_op(sign_of_life, NULL);
        Tensor *x = tensor_of(whole_number, 1);
        require_grad(x);
        for (int i = 0; i < 5; i++) x = slow_op(x);
        backward(x, NULL, NULL);
        tape_on_op(NULL, NULL);
        tape_end();
        scope_end();
    }
    check_ok(process_group_sum(group, &value, 1, &error), &error);
    assert_true(value == count && !process_group_is_broken(group));
}

/// Started by mpirun: it ends the job. The others need not notice.
static void a_rank_dies(void **state) {
    (void)state;
    if (rank == count - 1) raise(SIGKILL);
    Error error;
    double value = 0;
    process_group_sum(group, &value, 1, &error);
}

/// Where mpirun leaves that to the job.
static void a_rank_that_has_died_is_noticed_within_seconds(void **state) {
    (void)state;
    if (rank == count - 1) raise(SIGKILL);
    Error error = {0};
    double value = 0, began = MPI_Wtime();
    assert_false(process_group_sum(group, &value, 1, &error));
    assert_true(MPI_Wtime() - began < 10);
    print_message("%s\n", error.message);
    char expected[64];
    snprintf(expected, sizeof expected, "rank %d has died, or ended, while rank %d waited for it",
             count - 1, rank);
    assert_says(&error, expected);
}

// ---- the program

static const struct CMUnitTest sums[] = {
    cmocka_unit_test(all_reduce_gives_every_rank_the_sum),
    cmocka_unit_test(reduce_scatter_gives_every_rank_its_part_of_the_sum),
    cmocka_unit_test(all_gather_gives_every_rank_all_parts),
    cmocka_unit_test(sums_are_within_rounding_and_the_same_every_time),
    cmocka_unit_test(sums_follow_what_made_them_and_come_before_what_uses_them),
    cmocka_unit_test(totals_are_over_all_ranks),
    cmocka_unit_test(a_broadcast_comes_from_its_root),
    cmocka_unit_test(bits_of_all_ranks_come_together_on_rank_0),
    cmocka_unit_test(ranks_that_differ_from_the_first_are_named),
    cmocka_unit_test(weights_that_differ_are_named_with_their_ranks),
    cmocka_unit_test(a_rank_that_fails_tells_the_others_why),
    cmocka_unit_test(ranks_that_share_a_gpu_are_refused),
};
static const struct CMUnitTest missing[] = {
    cmocka_unit_test(a_rank_that_gets_on_with_its_work_is_waited_for),
    cmocka_unit_test(a_rank_in_the_middle_of_a_pass_is_waited_for),
    cmocka_unit_test(a_rank_that_does_not_come_is_a_time_out_on_the_others),
    cmocka_unit_test(a_broken_group_asks_nothing_of_mpi),
};
static const struct CMUnitTest late[] = {
    cmocka_unit_test(a_failed_wait_gives_the_callers_memory_back),
    cmocka_unit_test(a_broken_group_asks_nothing_of_mpi),
};
static const struct CMUnitTest mismatch[] = {
    cmocka_unit_test(ranks_that_sum_different_sizes_are_told),
};
static const struct CMUnitTest shared[] = {
    cmocka_unit_test(ranks_on_one_gpu_are_told),
};
static const struct CMUnitTest death[] = {
    cmocka_unit_test(a_rank_dies),
};
static const struct CMUnitTest unattended_death[] = {
    cmocka_unit_test(a_rank_that_has_died_is_noticed_within_seconds),
};

static int run(const char *name) {
    if (!strcmp(name, "sums")) return cmocka_run_group_tests(sums, NULL, NULL);
    if (!strcmp(name, "missing")) return cmocka_run_group_tests(missing, NULL, NULL);
    if (!strcmp(name, "late")) return cmocka_run_group_tests(late, NULL, NULL);
    if (!strcmp(name, "mismatch")) return cmocka_run_group_tests(mismatch, NULL, NULL);
    if (!strcmp(name, "shared")) return cmocka_run_group_tests(shared, NULL, NULL);
    if (!strcmp(name, "death")) return cmocka_run_group_tests(death, NULL, NULL);
    if (!strcmp(name, "unattended_death"))
        return cmocka_run_group_tests(unattended_death, NULL, NULL);
    return 1;
}

static bool open_device(const char *name, const char *tests, Error *error) {
    char seed[16];
    snprintf(seed, sizeof seed, "%d", 1 + rank);
    setenv("CUDA_ON_CPU_SEED", seed, 0);
    if (!strcmp(tests, "shared")) return true; // opens its own
    device =
        strcmp(name, "cuda") ? ops_cpu_open(1) : ops_cuda_open(process_local_rank(group), error);
    return device && process_group_use_device(group, device, error);
}

int main(int argc, char **argv) {
    Error error;
    if (argc != 3 || !process_group_is_launched()) {
        fprintf(
            stderr,
            "mpirun -n N %s cpu|cuda sums|missing|late|mismatch|shared|death|unattended_death\n",
            argv[0]);
        return 2;
    }
    group = process_group_open(30, &error);
    rank = group ? process_rank(group) : 0;
    count = group ? process_count(group) : 0;
    if (!group || count < 2 || !open_device(argv[1], argv[2], &error)) {
        fprintf(stderr, "rank %d of %d: %s\n", rank, count, error.message);
        return 1;
    }
    int failed = run(argv[2]);
    if (failed) process_group_abort(group, 1);          // the others may wait for this rank
    if (!strcmp(argv[2], "unattended_death")) _Exit(0); // MPI_Finalize may wait for who is gone
    bool broken = process_group_is_broken(group);
    process_group_close(group);
    if (broken) MPI_Finalize(); // mpirun asks for it
    return 0;
}
