// Moving rows and pixels: nothing is computed, so backward moves gradients back and keeps at most
// an index.
#include "ops/kernels.h"
#include "ops/ops.h"

static void concatenate_backward(Node *node, Tensor *grad_output) {
    Tensor *grad_a = node_wants(node, 0) ? node_new_grad(node, 0) : NULL;
    Tensor *grad_b = node_wants(node, 1) ? node_new_grad(node, 1) : NULL;
    kernels(grad_output)->split(grad_output, grad_a, grad_b);
    if (grad_a) node_add_grad(node, 0, grad_a);
    if (grad_b) node_add_grad(node, 1, grad_b);
}

Tensor *concatenate(Tensor *a, Tensor *b) {
    int64_t shape[MAX_RANK];
    memcpy(shape, a->shape, sizeof shape);
    bool agree = a->rank == b->rank && a->dtype == b->dtype;
    for (int i = 0; i + 1 < a->rank; i++) agree = agree && a->shape[i] == b->shape[i];
    CHECK(agree, "concatenate: %s and %s", tensor_describe(a), tensor_describe(b));
    shape[a->rank - 1] += tensor_columns(b);
    Tensor *y = tensor_new(a->device, a->dtype, a->rank, shape);
    kernels(a)->concatenate(a, b, y);
    RECORD(y, concatenate_backward, a, b);
    return y;
}

static Tensor *new_image(const char *op, const Tensor *x, int height, int width) {
    CHECK(x->rank == 4 && x->shape[1] > 0 && x->shape[2] > 0 && height > 0 && width > 0,
          "%s: %s to %d x %d", op, tensor_describe(x), height, width);
    return tensor_new(x->device, x->dtype, SHAPE(x->shape[0], height, width, x->shape[3]));
}

static void upsample_nearest_backward(Node *node, Tensor *grad_output) {
    Tensor *grad_x = node_new_grad(node, 0);
    kernels(grad_output)->upsample_nearest_gradient(grad_output, grad_x);
    node_add_grad(node, 0, grad_x);
}

Tensor *upsample_nearest(Tensor *x, int height, int width) {
    Tensor *y = new_image("upsample_nearest", x, height, width);
    kernels(x)->upsample_nearest(x, y);
    RECORD(y, upsample_nearest_backward, x);
    return y;
}

static void resize_bilinear_backward(Node *node, Tensor *grad_output) {
    Tensor *grad_x = node_new_grad(node, 0);
    kernels(grad_output)->resize_bilinear_gradient(grad_output, grad_x);
    node_add_grad(node, 0, grad_x);
}

Tensor *resize_bilinear(Tensor *x, int height, int width) {
    Tensor *y = new_image("resize_bilinear", x, height, width);
    kernels(x)->resize_bilinear(x, y);
    RECORD(y, resize_bilinear_backward, x);
    return y;
}

static Tensor *new_rows(const char *op, const Tensor *x, const Tensor *index) {
    CHECK(index->dtype == INT32, "%s: index %s", op, tensor_describe(index));
    return tensor_new(x->device, x->dtype, SHAPE(tensor_numel(index), tensor_columns(x)));
}

Tensor *embedding(Tensor *table, Tensor *index) {
    Tensor *y = new_rows("embedding", table, index);
    kernels(table)->gather_rows(table, index, y);
    return y;
}

static void gather_rows_backward(Node *node, Tensor *grad_output) {
    Tensor *grad_x = node_new_grad(node, 0);
    kernels(grad_output)->scatter_rows(grad_output, node->saved[0], grad_x);
    node_add_grad(node, 0, grad_x);
}

Tensor *gather_rows(Tensor *x, Tensor *index) {
    Tensor *y = new_rows("gather_rows", x, index);
    kernels(x)->gather_rows(x, index, y);
    Node *node = RECORD(y, gather_rows_backward, x);
    if (node) node_save(node, 0, index);
    return y;
}

void write_rows(Tensor *rows, Tensor *index, Tensor *y) {
    CHECK(index->dtype == INT32 && tensor_numel(index) == tensor_rows(rows) &&
              rows->dtype == y->dtype && tensor_columns(rows) == tensor_columns(y),
          "write_rows: %s to %s by %s", tensor_describe(rows), tensor_describe(y),
          tensor_describe(index));
    CHECK(!requires_grad(rows) && !requires_grad(y), "write_rows: has no gradient");
    kernels(rows)->write_rows(rows, index, y);
}

static void merge_rows_backward(Node *node, Tensor *grad_output) {
    Tensor *grad_a = node_wants(node, 0) ? node_new_grad(node, 0) : NULL;
    Tensor *grad_b = node_wants(node, 1) ? node_new_grad(node, 1) : NULL;
    kernels(grad_output)->merge_rows_gradient(grad_output, node->saved[0], grad_a, grad_b);
    if (grad_a) node_add_grad(node, 0, grad_a);
    if (grad_b) node_add_grad(node, 1, grad_b);
}

Tensor *merge_rows(Tensor *a, Tensor *b, Tensor *index) {
    CHECK(!b || (a->dtype == b->dtype && tensor_columns(a) == tensor_columns(b)),
          "merge_rows: %s and %s", tensor_describe(a), tensor_describe(b));
    Tensor *y = new_rows("merge_rows", a, index);
    kernels(a)->merge_rows(a, b, index, y);
    Node *node = RECORD(y, merge_rows_backward, a, b);
    if (node) node_save(node, 0, index);
    return y;
}
