// rooms: ops autograd
// Memory and copies of every device; what only CUDA can do wrong is in
// tests/cuda_on_cpu/test_cuda_device.cpp.
#include "tests/unit/op_cases.h"

#include "autograd/gradient.h"

#include <pthread.h>

static const size_t MEBIBYTE = 1u << 20;

// ---- copies

static void fill_pattern(unsigned char *bytes, size_t size, unsigned seed) {
    for (size_t i = 0; i < size; i++) bytes[i] = (unsigned char)(i * 7 + (i >> 11) + seed);
}

static void expect_pattern(Device *device, const void *place, size_t size, unsigned seed) {
    unsigned char *found = checked_malloc(size), *expected = checked_malloc(size);
    fill_pattern(expected, size, seed);
    device->to_host(device, found, place, size);
    assert_memory_equal(found, expected, size);
    free(found);
    free(expected);
}

static void a_copied_buffer_may_be_changed_at_once(void **state) {
    (void)state;
    Device *device = case_device();
    const size_t sizes[] = {1, 63, 65535, 65536, 65537, 4u << 20, (4u << 20) + 1, 9000001};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        unsigned char *buffer = checked_malloc(sizes[i]);
        void *block = device->allocate(device, sizes[i]);
        fill_pattern(buffer, sizes[i], 1);
        device->from_host(device, block, buffer, sizes[i]);
        memset(buffer, 0xee, sizes[i]);
        expect_pattern(device, block, sizes[i], 1);
        device->release(device, block, sizes[i]);
        free(buffer);
    }
}

/// More copies at a time than any staging memory holds, of sizes that share no divisor with it.
static void many_copies_arrive_whole(void **state) {
    (void)state;
    enum { COPIES = 1200 };
    Device *device = case_device();
    void *blocks[COPIES];
    size_t largest = 3 * MEBIBYTE;
    unsigned char *buffer = checked_malloc(largest);
    for (int i = 0; i < COPIES; i++) {
        size_t size = i % 60 == 59 ? largest - (size_t)i : (size_t)(i * 37 % 9000 + 1);
        blocks[i] = device->allocate(device, size);
        fill_pattern(buffer, size, (unsigned)i);
        device->from_host(device, blocks[i], buffer, size);
    }
    for (int i = 0; i < COPIES; i++) {
        size_t size = i % 60 == 59 ? largest - (size_t)i : (size_t)(i * 37 % 9000 + 1);
        expect_pattern(device, blocks[i], size, (unsigned)i);
        device->release(device, blocks[i], size);
    }
    free(buffer);
}

/// Round r: x gets r everywhere by a copy, y = 2 x is computed, and their memory is given back
/// before anything waited.
static void copies_and_kernels_keep_their_order(void **state) {
    (void)state;
    Device *device = case_device();
    const int64_t sizes[] = {100, 40000, 300000};
    for (int s = 0; s < 3; s++) {
        int64_t n = sizes[s];
        float *host = checked_malloc((size_t)n * sizeof *host);
        case_begin();
        Tensor *sums = tensor_zeros(device, FLOAT32, SHAPE(n));
        for (int round = 1; round <= 8; round++) {
            scope_begin();
            for (int64_t i = 0; i < n; i++) host[i] = (float)round;
            Tensor *x = tensor_from_host(device, FLOAT32, SHAPE(n), host), *y = tensor_like(x);
            kernels(x)->scale(x, 2.0f, y);
            for (int64_t i = 0; i < n; i++) host[i] = (float)-round;
            device->from_host(device, x->data, host, (size_t)n * sizeof *host);
            kernels(x)->add(sums, x, sums);
            kernels(x)->add(sums, y, sums);
            scope_end();
        }
        tensor_to_host_float(sums, host);
        for (int64_t i = 0; i < n; i++) assert_true(host[i] == 36.0f); // 1 + ... + 8
        case_end();
        free(host);
    }
}

// ---- blocks

static void a_freed_block_is_handed_out_again(void **state) {
    (void)state;
    Device *device = case_device();
    device_trim(device);
    assert_int_equal(device->bytes_cached, 0);
    void *first = device->allocate(device, 100000);
    int64_t whole = device->bytes_in_use;
    device->release(device, first, 100000);
    assert_int_equal(device->bytes_in_use, 0);
    assert_int_equal(device->bytes_cached, whole);
    void *again = device->allocate(device, 99000); // of the same class
    assert_ptr_equal(again, first);
    assert_int_equal(device->bytes_cached, 0);
    void *other = device->allocate(device, 99000);
    assert_ptr_not_equal(other, first);
    device->release(device, again, 99000);
    device->release(device, other, 99000);
    assert_int_equal(device->bytes_cached, 2 * whole);
    device_trim(device);
    assert_int_equal(device->bytes_cached, 0);
}

static void a_block_has_room_for_what_was_asked(void **state) {
    (void)state;
    Device *device = case_device();
    for (size_t size = 1; size < 100 * MEBIBYTE; size += size / 3 + 1) {
        int64_t before = device->bytes_in_use;
        void *block = device->allocate(device, size);
        int64_t bytes = device->bytes_in_use - before;
        assert_true((uintptr_t)block % 64 == 0);
        assert_true(bytes >= (int64_t)size && bytes <= (int64_t)(size + size / 8 + 64));
        device->release(device, block, size);
    }
    device_trim(device);
}

typedef struct Worker {
    pthread_t thread;
    unsigned number;
    int wrong;
} Worker;

static void *work(void *argument) {
    Worker *worker = argument;
    Device *device = case_device();
    unsigned char sent[3000], found[3000];
    for (unsigned round = 0; round < 50; round++) {
        size_t size = 1 + (worker->number * 911 + round * 53) % sizeof sent;
        void *block = device->allocate(device, size);
        fill_pattern(sent, size, worker->number + round);
        device->from_host(device, block, sent, size);
        device->to_host(device, found, block, size);
        worker->wrong += memcmp(sent, found, size) != 0;
        device->release(device, block, size);
    }
    return NULL;
}

static void threads_share_a_device(void **state) {
    (void)state;
    Worker workers[4] = {0};
    int64_t before = case_device()->bytes_in_use;
    for (unsigned i = 0; i < 4; i++) {
        workers[i].number = i;
        assert_int_equal(pthread_create(&workers[i].thread, NULL, work, &workers[i]), 0);
    }
    for (int i = 0; i < 4; i++) {
        pthread_join(workers[i].thread, NULL);
        assert_int_equal(workers[i].wrong, 0);
    }
    assert_int_equal(case_device()->bytes_in_use, before);
}

// ---- what memory is for

static const int64_t *by_kind(void) { return case_device()->bytes_by_kind; }

static void memory_is_counted_by_kind(void **state) {
    (void)state;
    Device *device = case_device();
    const int64_t bytes = 256 * 1024;
    for (int kind = 0; kind < MEMORY_KINDS; kind++) assert_int_equal(by_kind()[kind], 0);
    scope_begin();
    Tensor *activation = tensor_zeros(device, FLOAT32, SHAPE(64, 1024));
    assert_int_equal(by_kind()[MEMORY_ACTIVATIONS], bytes);
    reshape(activation, SHAPE(65536));
    assert_int_equal(by_kind()[MEMORY_ACTIVATIONS], bytes);
    Tensor *weight = tensor_new_persistent(device, FLOAT32, SHAPE(65536), "weight");
    assert_int_equal(by_kind()[MEMORY_WEIGHTS], bytes);
    Tensor *moment = tensor_new_persistent(device, FLOAT32, SHAPE(65536), NULL);
    tensor_set_memory_kind(moment, MEMORY_OPTIMIZER);
    assert_int_equal(by_kind()[MEMORY_OPTIMIZER], bytes);
    require_grad(weight);
    Tensor *buffer = tensor_new_persistent(device, FLOAT32, SHAPE(65536), NULL);
    leaf_set_gradient(weight, buffer);
    tensor_release(buffer);
    assert_int_equal(by_kind()[MEMORY_GRADIENTS], bytes);
    assert_int_equal(by_kind()[MEMORY_WEIGHTS], bytes);
    void *scratch = device->allocate(device, (size_t)bytes);
    assert_int_equal(by_kind()[MEMORY_WORKSPACE], bytes);
    assert_int_equal(device->bytes_in_use, 5 * bytes);
    device->release(device, scratch, (size_t)bytes);
    scope_end();
    tensor_release(weight);
    tensor_release(moment);
    for (int kind = 0; kind < MEMORY_KINDS; kind++) assert_int_equal(by_kind()[kind], 0);
}

static void a_leafs_gradient_is_counted_as_one(void **state) {
    (void)state;
    Device *device = case_device();
    Tensor *weight = tensor_new_persistent(device, FLOAT32, SHAPE(16384), "weight");
    require_grad(weight);
    device->fill_zero(device, weight->data, 65536);
    scope_begin();
    tape_begin();
    Tensor *y = tensor_zeros(device, FLOAT32, SHAPE(16384));
    Node *node = record_node(y, NULL, "test", 1, &weight);
    y->gradient->value = tensor_retain(tensor_like(y));
    node_leaf_grad(node, 0);
    assert_int_equal(by_kind()[MEMORY_GRADIENTS], 65536);
    tape_end();
    scope_end();
    tensor_release(weight);
    assert_int_equal(by_kind()[MEMORY_GRADIENTS], 0);
}

static void the_peak_is_remembered_with_its_kinds(void **state) {
    (void)state;
    Device *device = case_device();
    const int64_t bytes = 1 << 20;
    device_reset_peak(device);
    scope_begin();
    Tensor *weight = tensor_new_persistent(device, FLOAT32, SHAPE(bytes / 4), NULL);
    scope_begin();
    tensor_new(device, FLOAT32, SHAPE(bytes / 2));
    scope_end();
    tensor_new(device, FLOAT32, SHAPE(bytes / 4));
    scope_end();
    assert_int_equal(device->bytes_peak, 3 * bytes);
    assert_int_equal(device->bytes_by_kind_at_peak[MEMORY_WEIGHTS], bytes);
    assert_int_equal(device->bytes_by_kind_at_peak[MEMORY_ACTIVATIONS], 2 * bytes);
    assert_int_equal(device->bytes_by_kind_at_peak[MEMORY_WORKSPACE], 0);
    device_reset_peak(device);
    assert_int_equal(device->bytes_peak, bytes);
    assert_int_equal(device->bytes_by_kind_at_peak[MEMORY_ACTIVATIONS], 0);
    tensor_release(weight);
}

// ---- a full device, in a program of its own: this one's GPU is not shared over a fork

static const char FILL[] = "fill";

static int fill_device(const char *name) {
    Error error = {0};
    Device *device = strcmp(name, "cpu") ? ops_cuda_open(0, &error) : device_cpu();
    if (!device) {
        fprintf(stderr, "%s\n", error.message);
        return 3;
    }
    scope_begin();
    tensor_new_persistent(device, FLOAT32, SHAPE(3, 1 << 18), "weight");
    tensor_new(device, BFLOAT16, SHAPE(1 << 20));
    device->allocate(device, (size_t)1 << 50);
    return 4;
}

static int child_says(const char *argument, char *said, size_t size) {
    int ends[2], status = -1;
    assert_int_equal(pipe(ends), 0);
    pid_t child = fork();
    if (child == 0) {
        dup2(ends[1], 2);
        close(ends[0]);
        close(ends[1]);
        execl("/proc/self/exe", "test_device", FILL, argument, (char *)NULL);
        _exit(5);
    }
    close(ends[1]);
    size_t used = 0;
    for (ssize_t n; (n = read(ends[0], said + used, size - 1 - used)) > 0;) used += (size_t)n;
    said[used] = 0;
    close(ends[0]);
    assert_int_equal(waitpid(child, &status, 0), child);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static void a_full_device_says_what_fills_it_and_what_helps(void **state) {
    (void)state;
    const char *device = case_on_cpu() ? "cpu" : "cuda";
    const char *parts[] = {"out of memory on ",
                           device,
                           "1073741824.0 MiB were asked for",
                           "weights 3.0 MiB",
                           "gradients 0.0 MiB",
                           "optimizer 0.0 MiB",
                           "activations 2.0 MiB",
                           "workspace 0.0 MiB",
                           case_on_cpu() ? "The machine has" : "The GPU has",
                           "training.per_device_train_batch_size",
                           "training.gradient_accumulation_steps",
                           "model.recompute",
                           "model.dtype: bfloat16",
                           "data.model_max_length"};
    char said[4096];
    int code = child_says(device, said, sizeof said);
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++)
        if (!strstr(said, parts[i])) fail_msg("'%s' not in: %s", parts[i], said);
    assert_int_equal(code, 1);
}

static int run(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(memory_is_counted_by_kind),
        cmocka_unit_test(a_leafs_gradient_is_counted_as_one),
        cmocka_unit_test(the_peak_is_remembered_with_its_kinds),
        cmocka_unit_test(a_freed_block_is_handed_out_again),
        cmocka_unit_test(a_block_has_room_for_what_was_asked),
        cmocka_unit_test(a_copied_buffer_may_be_changed_at_once),
        cmocka_unit_test(many_copies_arrive_whole),
        cmocka_unit_test(copies_and_kernels_keep_their_order),
        cmocka_unit_test(threads_share_a_device),
        cmocka_unit_test(a_full_device_says_what_fills_it_and_what_helps),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

int main(int argc, char **argv) {
    if (argc == 3 && !strcmp(argv[1], FILL)) return fill_device(argv[2]);
    return case_run_devices(run);
}
