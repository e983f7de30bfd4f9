// rooms: ops autograd
// Buffers that every device copies from while the host goes on. Executed on the host, copies out of
// page-locked memory come as late as they may.
#include "tests/unit/op_cases.h"

#include "autograd/transfer_buffer.h"

enum { MOST = 300000 };

static void fill(TransferBuffer *buffer, int64_t count, float first) {
    float *values = buffer->data;
    for (int64_t i = 0; i < count; i++) values[i] = first + (float)(i % 1000);
}

static void expect(const Tensor *x, float first) {
    const int64_t count = tensor_numel(x);
    float *found = checked_malloc((size_t)count * sizeof *found);
    tensor_to_host_float(x, found);
    for (int64_t i = 0; i < count; i++)
        if (found[i] != first + (float)(i % 1000))
            fail_msg("number %lld is %g", (long long)i, (double)found[i]);
    free(found);
}

static void buffers_are_aligned_and_locked_where_the_device_asks_for_it(void **state) {
    (void)state;
    for (size_t bytes = 1; bytes < (size_t)10 << 20; bytes += bytes / 2 + 1) {
        TransferBuffer buffer = transfer_buffer_new(case_device(), bytes);
        assert_true((uintptr_t)buffer.data % 64 == 0);
        assert_true(buffer.bytes == bytes);
        assert_int_equal(buffer.is_pinned, !case_on_cpu());
        memset(buffer.data, 1, bytes);
        transfer_buffer_free(&buffer);
        assert_null(buffer.data);
    }
    TransferBuffer none = transfer_buffer_new(case_device(), 0), unborn = {0};
    transfer_buffer_wait(&none);
    transfer_buffer_free(&none);
    transfer_buffer_free(&unborn);
}

static void a_buffer_that_was_waited_for_may_be_written_again(void **state) {
    (void)state;
    TransferBuffer buffer = transfer_buffer_new(case_device(), MOST * sizeof(float));
    const int64_t counts[] = {1, 1000, MOST};
    case_begin();
    Tensor *before[3], *after[3];
    for (int i = 0; i < 3; i++) {
        fill(&buffer, counts[i], 1);
        before[i] = tensor_from_transfer_buffer(&buffer, FLOAT32, SHAPE(counts[i]));
        transfer_buffer_wait(&buffer);
        fill(&buffer, counts[i], 2);
        after[i] = tensor_from_transfer_buffer(&buffer, FLOAT32, SHAPE(counts[i]));
        transfer_buffer_wait(&buffer);
    }
    for (int i = 0; i < 3; i++) {
        expect(before[i], 1);
        expect(after[i], 2);
    }
    case_end();
    transfer_buffer_free(&buffer);
}

/// Round r: x gets r by a copy, sums += x and sums += 2 x are computed, and x's memory is given
/// back and taken again before anything was waited for but the copy.
static void copies_and_kernels_keep_their_order(void **state) {
    (void)state;
    TransferBuffer buffers[2];
    for (int i = 0; i < 2; i++)
        buffers[i] = transfer_buffer_new(case_device(), MOST * sizeof(float));
    case_begin();
    Tensor *sums = tensor_zeros(case_device(), FLOAT32, SHAPE(MOST));
    for (int round = 1; round <= 8; round++) {
        TransferBuffer *buffer = &buffers[round % 2];
        transfer_buffer_wait(buffer);
        for (int64_t i = 0; i < MOST; i++) ((float *)buffer->data)[i] = (float)round;
        scope_begin();
        Tensor *x = tensor_from_transfer_buffer(buffer, FLOAT32, SHAPE(MOST)), *y = tensor_like(x);
        kernels(x)->scale(x, 2.0f, y);
        kernels(x)->add(sums, x, sums);
        kernels(x)->add(sums, y, sums);
        scope_end();
    }
    float *found = checked_malloc(MOST * sizeof *found);
    tensor_to_host_float(sums, found);
    for (int64_t i = 0; i < MOST; i++) assert_true(found[i] == 108.0f); // 3 (1 + ... + 8)
    free(found);
    case_end();
    for (int i = 0; i < 2; i++) transfer_buffer_free(&buffers[i]);
}

static void a_buffer_is_freed_when_its_copy_has_arrived(void **state) {
    (void)state;
    TransferBuffer buffer = transfer_buffer_new(case_device(), MOST * sizeof(float));
    fill(&buffer, MOST, 3);
    case_begin();
    Tensor *x = tensor_from_transfer_buffer(&buffer, FLOAT32, SHAPE(MOST));
    transfer_buffer_free(&buffer);
    expect(x, 3);
    case_end();
}

static int run(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(buffers_are_aligned_and_locked_where_the_device_asks_for_it),
        cmocka_unit_test(a_buffer_that_was_waited_for_may_be_written_again),
        cmocka_unit_test(copies_and_kernels_keep_their_order),
        cmocka_unit_test(a_buffer_is_freed_when_its_copy_has_arrived),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

int main(void) { return case_run_devices(run); }
