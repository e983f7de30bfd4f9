// rooms: ops autograd
// The engine's promises: what is kept, what is freed, what gathers where; with real ops on small
// tensors.
#include "autograd/parameters.h"
#include "ops/ops.h"
#include "tests/unit/op_cases.h"

static Device *device;

static Tensor *filled(int64_t rows, int64_t columns, float first) {
    float *values = checked_malloc((size_t)(rows * columns) * sizeof *values);
    for (int64_t i = 0; i < rows * columns; i++) values[i] = first + 0.25f * (float)i;
    Tensor *x = tensor_from_host(device, FLOAT32, SHAPE(rows, columns), values);
    free(values);
    return x;
}

static Tensor *leaf(ParameterSet *set, const char *name, int64_t rows, int64_t columns,
                    float first) {
    Tensor *x = parameters_add(set, name, GROUP_ADAPTERS, device, SHAPE(rows, columns));
    float *values = checked_malloc((size_t)(rows * columns) * sizeof *values);
    for (int64_t i = 0; i < rows * columns; i++) values[i] = first - 0.5f * (float)i;
    case_write(x, values);
    free(values);
    return x;
}

static const float *values(const Tensor *x) { return case_host(x); }

static void memory_returns_to_where_it_was_when_a_scope_ends(void **state) {
    (void)state;
    int64_t before = device->bytes_in_use;
    case_begin();
    Tensor *kept = NULL;
    {
        scope_begin();
        for (int i = 0; i < 10; i++) kept = tensor_zeros(device, FLOAT32, SHAPE(100, 100));
        Tensor *view = reshape(kept, SHAPE(10000));
        kept = scope_end_returning(view);
    }
    assert_true(device->bytes_in_use - before >= 40000);
    assert_true(device->bytes_in_use - before < 80000);
    assert_true(values(kept)[9999] == 0.0f);
    case_end();
    assert_int_equal(device->bytes_in_use, before);
}

static void blocks_of_every_size_can_be_kept_given_back_and_written(void **state) {
    (void)state;
    int64_t before = device->bytes_in_use;
    for (int round = 0; round < 2; round++) {
        scope_begin();
        for (int64_t n = 1; n < (9 << 20) / 4; n += 1 + n / 7) {
            Tensor *x = tensor_zeros(device, FLOAT32, SHAPE(n));
            case_write_float(x, n - 1, 1);
        }
        scope_end();
        assert_int_equal(device->bytes_in_use, before);
        device_trim(device);
        assert_int_equal(device->bytes_cached, 0);
    }
}

static void ops_without_a_wanted_gradient_leave_nothing_on_the_tape(void **state) {
    (void)state;
    case_begin();
    tape_begin();
    Tensor *y = linear(filled(3, 4, 1), filled(5, 4, 2), NULL);
    y = gelu(add(y, y));
    assert_int_equal(tape_length(), 0);
    assert_null(y->gradient);
    tape_end();
    case_end();
}

static void a_product_with_a_frozen_weight_keeps_no_activation(void **state) {
    (void)state;
    ParameterSet set = {0};
    case_begin();
    Tensor *p = leaf(&set, "p", 64, 64, 0.1f), *weight = filled(64, 64, -1);
    tape_begin();
    Tensor *x = add(filled(64, 64, 0), p);
    int64_t before = device->bytes_in_use;
    Tensor *y = NULL;
    {
        scope_begin();
        y = x;
        for (int i = 0; i < 5; i++) y = linear(y, weight, NULL);
        y = scope_end_returning(y);
    }
    assert_true(device->bytes_in_use - before < 2 * 64 * 64 * 4);
    backward(mean(y), NULL, NULL);
    assert_non_null(grad(p));
    tape_end();
    case_end();
    parameters_free(&set);
}

static void a_tensor_used_twice_gathers_both_gradients(void **state) {
    (void)state;
    ParameterSet set = {0};
    case_begin();
    Tensor *p = leaf(&set, "p", 2, 3, 1);
    tape_begin();
    Tensor *x = scale(p, 2); // loss = sum over (x + x) * x = 2 x^2 = 8 p^2, so the gradient is 16 p
    Tensor *loss = scale(mean(multiply(add(x, x), x)), 6);
    backward(loss, NULL, NULL);
    tape_end();
    for (int i = 0; i < 6; i++) assert_float_equal(values(grad(p))[i], 16 * values(p)[i], 1e-4);
    case_end();
    parameters_free(&set);
}

static void a_gradient_handed_to_two_inputs_is_not_changed_by_either(void **state) {
    (void)state;
    ParameterSet set = {0};
    case_begin();
    Tensor *p = leaf(&set, "p", 2, 2, 1), *q = leaf(&set, "q", 2, 2, 3);
    tape_begin();
    Tensor *a = scale(p, 1), *b = scale(q, 1);
    Tensor *sum = add(a, b); // passes one gradient tensor on to a and b
    Tensor *loss = scale(mean(add(sum, multiply(a, a))), 4); // and a gets another
    backward(loss, NULL, NULL);
    tape_end();
    for (int i = 0; i < 4; i++) {
        assert_float_equal(values(grad(p))[i], 1 + 2 * values(p)[i], 1e-5);
        assert_float_equal(values(grad(q))[i], 1, 1e-6);
    }
    case_end();
    parameters_free(&set);
}

static void gradients_of_leaves_add_up_over_passes_until_cleared(void **state) {
    (void)state;
    ParameterSet set = {0};
    case_begin();
    Tensor *p = leaf(&set, "p", 1, 2, 1);
    for (int pass = 1; pass <= 3; pass++) {
        tape_begin();
        backward(scale(mean(p), 2), NULL, NULL);
        tape_end();
        assert_float_equal(values(grad(p))[1], pass, 1e-6);
    }
    parameters_clear_grad(&set);
    assert_null(grad(p));
    tape_begin();
    backward(scale(mean(p), 2), NULL, NULL);
    tape_end();
    assert_float_equal(values(grad(p))[0], 1, 1e-6);
    case_end();
    parameters_free(&set);
}

static void a_reshaped_tensor_shares_its_gradient(void **state) {
    (void)state;
    ParameterSet set = {0};
    case_begin();
    Tensor *p = leaf(&set, "p", 2, 6, 1);
    tape_begin();
    Tensor *x = scale(p, 1);
    Tensor *image = reshape(x, SHAPE(1, 2, 3, 2));
    backward(scale(mean(upsample_nearest(image, 4, 6)), 48), NULL, NULL);
    tape_end();
    for (int i = 0; i < 12; i++) assert_float_equal(values(grad(p))[i], 4, 1e-5);
    parameters_clear_grad(&set);
    tape_begin(); // a leaf that an op sees reshaped has its gradient in its own shape
    backward(mean(reshape(p, SHAPE(12))), NULL, NULL);
    tape_end();
    assert_true(same_shape(grad(p), p));
    case_end();
    parameters_free(&set);
}

typedef struct TwoLayers {
    Tensor *first, *second;
} TwoLayers;

static Tensor *two_layers(const void *context, Tensor *x) {
    const TwoLayers *layers = context;
    return add(x, linear(gelu(linear(x, layers->first, NULL)), layers->second, NULL));
}

/// Gradients of p and of the layers' weights, with or without recompute; returns the bytes held
/// between forward and backward.
static int64_t two_layer_gradients(bool again, float *out) {
    ParameterSet set = {0};
    case_begin();
    Tensor *p = leaf(&set, "p", 8, 16, 0.4f);
    TwoLayers layers = {leaf(&set, "first", 32, 16, 0.7f), leaf(&set, "second", 16, 32, -0.3f)};
    float first[32 * 16], second[16 * 32];
    for (int i = 0; i < 32 * 16; i++) {
        first[i] = 0.01f * (float)(i % 13 - 6);
        second[i] = 0.02f * (float)(i % 7 - 3);
    }
    case_write(layers.first, first);
    case_write(layers.second, second);
    int64_t before = device->bytes_in_use;
    tape_begin();
    Tensor *y;
    {
        scope_begin();
        Tensor *x = scale(p, 1);
        for (int i = 0; i < 4; i++)
            x = again ? recompute(two_layers, &layers, sizeof layers, x, NULL)
                      : two_layers(&layers, x);
        y = scope_end_returning(mean(multiply(x, x)));
    }
    int64_t held = device->bytes_in_use - before;
    backward(y, NULL, NULL);
    tape_end();
    for (int k = 0; k < set.count; k++) {
        Tensor *g = grad(set.items[k].value);
        assert_non_null(g);
        tensor_to_host_float(g, out);
        out += tensor_numel(g);
    }
    case_end();
    parameters_free(&set);
    return held;
}

static void recompute_gives_the_same_bits_and_holds_less(void **state) {
    (void)state;
    enum { COUNT = 8 * 16 + 2 * 32 * 16 };
    float plain[COUNT], again[COUNT];
    int64_t held = two_layer_gradients(false, plain), held_again = two_layer_gradients(true, again);
    assert_memory_equal(plain, again, sizeof plain);
    assert_true(held_again * 2 < held);
}

typedef struct Completions {
    int indices[8], count;
} Completions;

static void note_completion(int index, void *context) {
    Completions *seen = context;
    seen->indices[seen->count++] = index;
}

/// Parameters 0 and 1 are read by the first layer, 2 and 3 by the second, 4 by nothing, and 0 again
/// at the very end of the walk.
static void leaves_complete(bool again, Completions *seen) {
    ParameterSet set = {0};
    case_begin();
    Tensor *p = leaf(&set, "p", 8, 16, 0.4f);
    TwoLayers first = {p, leaf(&set, "first.second", 16, 8, 0.2f)};
    TwoLayers second = {leaf(&set, "second.first", 32, 16, 0.7f),
                        leaf(&set, "second.second", 16, 32, -0.3f)};
    leaf(&set, "unused", 2, 2, 1);
    tape_begin();
    Tensor *x = scale(p, 1);
    const TwoLayers *layers[] = {&first, &second};
    for (int i = 0; i < 2; i++)
        x = again ? recompute(two_layers, layers[i], sizeof *layers[i], x, NULL)
                  : two_layers(layers[i], x);
    backward(mean(x), NULL, &(LeafListener){note_completion, seen});
    tape_end();
    case_end();
    parameters_free(&set);
}

static void a_leaf_is_complete_when_nothing_left_on_the_tape_reads_it(void **state) {
    (void)state;
    for (int again = 0; again < 2; again++) {
        Completions seen = {0};
        leaves_complete(again, &seen);
        assert_int_equal(seen.count, 4);
        bool second_layer_first = seen.indices[0] + seen.indices[1] == 2 + 3;
        assert_true(second_layer_first);
        assert_int_equal(seen.indices[2], 1);
        assert_int_equal(seen.indices[3], 0);
    }
}

static void count_op(void *context) { ++*(int *)context; }

static void who_listens_hears_of_every_op_forward_again_and_backward(void **state) {
    (void)state;
    enum { OPS_OF_TWO_LAYERS = 4 }; // linear, gelu, linear, add
    for (int again = 0; again < 2; again++) {
        ParameterSet set = {0};
        case_begin();
        TwoLayers layers = {leaf(&set, "first", 8, 16, 0.4f), leaf(&set, "second", 16, 8, 0.2f)};
        Tensor *x = filled(2, 16, 0.1f);
        int forward = 0, walk = 0, nothing = 0;
        tape_on_op(count_op, &forward);
        two_layers(&layers, x); // records nothing
        tape_begin();
        Tensor *y =
            again ? recompute(two_layers, &layers, sizeof layers, x, NULL) : two_layers(&layers, x);
        assert_int_equal(forward, 2 * OPS_OF_TWO_LAYERS);
        y = mean(y);
        tape_on_op(count_op, &walk);
        backward(y, NULL, NULL);
        // The mean, and each op; or the mean and the segment, of which each op runs again and then
        // backward.
        assert_int_equal(walk, again ? 2 + 2 * OPS_OF_TWO_LAYERS : 1 + OPS_OF_TWO_LAYERS);
        tape_on_op(NULL, &nothing);
        scale(x, 2);
        assert_int_equal(nothing, 0);
        tape_end();
        case_end();
        parameters_free(&set);
    }
}

static void an_evaluation_inside_a_step_records_nothing(void **state) {
    (void)state;
    ParameterSet set = {0};
    case_begin();
    Tensor *p = leaf(&set, "p", 2, 2, 1);
    tape_begin();
    Tensor *x = scale(p, 3);
    tape_pause();
    Tensor *unrecorded = scale(x, 2);
    assert_null(unrecorded->gradient);
    tape_resume();
    assert_int_equal(tape_length(), 1);
    tape_end();
    case_end();
    parameters_free(&set);
}

static void a_slice_lies_in_the_memory_of_its_base_and_outlives_it(void **state) {
    (void)state;
    const float values[] = {0, 1, 2, 3, 4, 5};
    float host[4];
    case_begin();
    scope_begin();
    Tensor *base = tensor_from_host(device, FLOAT32, SHAPE(3, 2), values);
    Tensor *slice = tensor_retain(tensor_slice(base, 2, SHAPE(2, 2)));
    kernels(base)->scale(base, 2, base);
    Tensor *moved = tensor_new_persistent(device, FLOAT32, SHAPE(2), "moved");
    device->from_host(device, moved->data, values + 4, 2 * sizeof(float));
    tensor_move(moved, tensor_slice(base, 4, SHAPE(2)));
    scope_end();
    tensor_to_host_float(slice, host);
    assert_true(host[0] == 4 && host[1] == 6 && host[2] == 4 && host[3] == 5);
    tensor_release(slice);
    tensor_to_host_float(moved, host);
    assert_true(host[0] == 4 && host[1] == 5);
    tensor_release(moved);
    case_end();
}

static int run_all(void) {
    device = case_device();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(memory_returns_to_where_it_was_when_a_scope_ends),
        cmocka_unit_test(blocks_of_every_size_can_be_kept_given_back_and_written),
        cmocka_unit_test(ops_without_a_wanted_gradient_leave_nothing_on_the_tape),
        cmocka_unit_test(a_product_with_a_frozen_weight_keeps_no_activation),
        cmocka_unit_test(a_tensor_used_twice_gathers_both_gradients),
        cmocka_unit_test(a_gradient_handed_to_two_inputs_is_not_changed_by_either),
        cmocka_unit_test(gradients_of_leaves_add_up_over_passes_until_cleared),
        cmocka_unit_test(a_reshaped_tensor_shares_its_gradient),
        cmocka_unit_test(recompute_gives_the_same_bits_and_holds_less),
        cmocka_unit_test(a_leaf_is_complete_when_nothing_left_on_the_tape_reads_it),
        cmocka_unit_test(who_listens_hears_of_every_op_forward_again_and_backward),
        cmocka_unit_test(an_evaluation_inside_a_step_records_nothing),
        cmocka_unit_test(a_slice_lies_in_the_memory_of_its_base_and_outlives_it),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

int main(void) { return case_run_devices(run_all); }
