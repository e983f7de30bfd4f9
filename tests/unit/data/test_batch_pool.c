// rooms: data ops autograd
// Micro-batches whose images a device copies: a buffer that was handed back while its copy was on
// its way is not written before the copy has run. Executed on the host, copies come as late as they
// may.
#include "tests/unit/op_cases.h"

#include "data/loader/micro_batch.h"

#include <pthread.h>

enum { NUMBERS = 70000 };

static void fill(MicroBatch *batch, int64_t count, float value) {
    for (int64_t i = 0; i < count; i++) batch->images[i] = value;
}

static Tensor *to_device(const MicroBatch *batch, int64_t count) {
    return tensor_from_transfer_buffer(&batch->pixels, FLOAT32, SHAPE(count));
}

static void expect(const Tensor *x, float value) {
    const int64_t count = tensor_numel(x);
    float *found = checked_malloc((size_t)count * sizeof *found);
    tensor_to_host_float(x, found);
    for (int64_t i = 0; i < count; i++)
        if (found[i] != value) fail_msg("number %lld is %g", (long long)i, (double)found[i]);
    free(found);
}

static void a_buffer_that_is_handed_back_is_written_when_its_copy_has_run(void **state) {
    (void)state;
    enum { ROUNDS = 6 };
    BatchPool *pool = batch_pool_new(case_device());
    const void *first = NULL;
    Tensor *copies[ROUNDS];
    case_begin();
    for (int round = 0; round < ROUNDS; round++) {
        MicroBatch *batch = batch_pool_take(pool, 2, NUMBERS);
        if (!first) first = batch->images;
        assert_ptr_equal(batch->images, first); // the same memory each time
        fill(batch, NUMBERS, (float)round);
        copies[round] = to_device(batch, NUMBERS);
        micro_batch_free(batch);
    }
    for (int round = 0; round < ROUNDS; round++) expect(copies[round], (float)round);
    case_end();
    batch_pool_free(pool);
}

static void a_buffer_grows_when_its_copy_has_run(void **state) {
    (void)state;
    enum { ROUNDS = 5 };
    BatchPool *pool = batch_pool_new(case_device());
    Tensor *copies[ROUNDS];
    case_begin();
    for (int round = 0; round < ROUNDS; round++) {
        const int64_t count = NUMBERS * (round + 1);
        MicroBatch *batch = batch_pool_take(pool, 1, count);
        assert_true((uintptr_t)batch->images % 64 == 0);
        assert_int_equal(batch->pixels.is_pinned, !case_on_cpu());
        fill(batch, count, (float)round);
        copies[round] = to_device(batch, count);
        micro_batch_free(batch);
    }
    MicroBatch *smaller = batch_pool_take(pool, 3, 10);
    assert_true(smaller->pixels.bytes == (size_t)ROUNDS * NUMBERS * sizeof(float));
    micro_batch_free(smaller);
    for (int round = 0; round < ROUNDS; round++) expect(copies[round], (float)round);
    case_end();
    batch_pool_free(pool);
}

static void a_pool_ends_when_its_copies_have_run(void **state) {
    (void)state;
    BatchPool *pool = batch_pool_new(case_device());
    MicroBatch *batch = batch_pool_take(pool, 1, NUMBERS), *empty = batch_pool_take(pool, 1, 0);
    fill(batch, NUMBERS, 7);
    case_begin();
    Tensor *copy = to_device(batch, NUMBERS);
    micro_batch_free(batch);
    micro_batch_free(empty);
    batch_pool_free(pool);
    expect(copy, 7);
    case_end();
}

typedef struct Worker {
    pthread_t thread;
    BatchPool *pool;
    /// made, and to be copied
    MicroBatch *batch;
    float value;
} Worker;

static void *make(void *context) {
    Worker *worker = context;
    worker->batch = batch_pool_take(worker->pool, 1, NUMBERS);
    fill(worker->batch, NUMBERS, worker->value);
    return NULL;
}

/// As the loader's threads do, while earlier copies are on their way.
static void threads_make_batches_and_another_copies_them(void **state) {
    (void)state;
    enum { THREADS = 3, ROUNDS = 5 };
    BatchPool *pool = batch_pool_new(case_device());
    Worker workers[THREADS];
    Tensor *copies[ROUNDS][THREADS];
    case_begin();
    for (int round = 0; round < ROUNDS; round++) {
        for (int i = 0; i < THREADS; i++) {
            workers[i] = (Worker){.pool = pool, .value = (float)(round * THREADS + i)};
            assert_int_equal(pthread_create(&workers[i].thread, NULL, make, &workers[i]), 0);
        }
        for (int i = 0; i < THREADS; i++) {
            pthread_join(workers[i].thread, NULL);
            copies[round][i] = to_device(workers[i].batch, NUMBERS);
            micro_batch_free(workers[i].batch);
        }
    }
    for (int round = 0; round < ROUNDS; round++)
        for (int i = 0; i < THREADS; i++) expect(copies[round][i], (float)(round * THREADS + i));
    case_end();
    batch_pool_free(pool);
}

static int run(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_buffer_that_is_handed_back_is_written_when_its_copy_has_run),
        cmocka_unit_test(a_buffer_grows_when_its_copy_has_run),
        cmocka_unit_test(a_pool_ends_when_its_copies_have_run),
        cmocka_unit_test(threads_make_batches_and_another_copies_them),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

int main(void) { return case_run_devices(run); }
