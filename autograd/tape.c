// Nodes lie in the order in which ops ran, which is a topological order: backward is a walk from
// the last to the first.
#include "autograd/tape.h"

#include "autograd/gradient.h"

#include <stdlib.h>
#include <string.h>

typedef struct Tape Tape;
struct Tape {
    Node **nodes;
    int count, capacity;
    int paused;
    Tape *outer;
};

static _Thread_local Tape *tape;

void tape_begin(void) {
    Tape *inner = checked_calloc(1, sizeof *inner);
    inner->outer = tape;
    tape = inner;
}

// ---- who listens

static _Thread_local OpListener *op_listener;
static _Thread_local void *op_listener_context;

void tape_on_op(OpListener *listener, void *context) {
    op_listener = listener;
    op_listener_context = context;
}

static void op_has_run(void) {
    if (op_listener) op_listener(op_listener_context);
}

// ---- when a leaf's gradient is complete

static void end_free(Gradient *gradient, const LeafListener *listener) {
    if (gradient && gradient->leaf && --gradient->pending == 0 && listener && gradient->index >= 0)
        listener->complete(gradient->index, listener->context);
    gradient_release(gradient);
}

/// The leaves that a segment reads while it runs without being recorded.
typedef struct LeafList {
    Gradient **leaves;
    int count, capacity;
} LeafList;

static _Thread_local LeafList *collecting;

static void collect_leaf(LeafList *list, Gradient *leaf) {
    if (list->count == list->capacity) {
        list->capacity = list->capacity ? 2 * list->capacity : 16;
        list->leaves = checked_realloc(list->leaves, (size_t)list->capacity * sizeof *list->leaves);
    }
    leaf->pending++;
    list->leaves[list->count++] = gradient_retain(leaf);
}

static void node_free(Node *node, const LeafListener *listener) {
    gradient_release(node->output.gradient);
    for (int i = 0; i < NODE_INPUTS; i++) end_free(node->inputs[i].gradient, listener);
    for (int i = 0; i < node->hidden_count; i++) end_free(node->hidden_leaves[i], listener);
    free(node->hidden_leaves);
    free(node->context);
    for (int i = 0; i < NODE_SAVED; i++) tensor_release(node->saved[i]);
    free(node);
}

void tape_end(void) {
    CHECK(tape, "tape_end without tape_begin");
    while (tape->count) node_free(tape->nodes[--tape->count], NULL);
    Tape *outer = tape->outer;
    free(tape->nodes);
    free(tape);
    tape = outer;
}

void tape_pause(void) {
    if (tape) tape->paused++;
}

void tape_resume(void) {
    if (!tape) return;
    CHECK(tape->paused > 0, "tape_resume without tape_pause");
    tape->paused--;
}

bool tape_recording(void) { return tape && !tape->paused; }

int tape_length(void) { return tape ? tape->count : 0; }

static NodeEnd node_end(const Tensor *x) {
    NodeEnd end = {gradient_retain(x->gradient), x->dtype, x->rank, {0}};
    memcpy(end.shape, x->shape, sizeof end.shape);
    return end;
}

static Node *append_node(Tensor *output, Backward backward_function, const char *name) {
    CHECK(!output->gradient, "%s: its output already has a place on the tape", name);
    Node *node = checked_calloc(1, sizeof *node);
    node->backward = backward_function;
    node->name = name;
    output->gradient = gradient_new(false);
    node->output = node_end(output);
    if (tape->count == tape->capacity) {
        tape->capacity = tape->capacity ? 2 * tape->capacity : 256;
        tape->nodes = checked_realloc(tape->nodes, (size_t)tape->capacity * sizeof *tape->nodes);
    }
    tape->nodes[tape->count++] = node;
    return node;
}

static void node_attach(Node *node, int input, const Tensor *x) {
    node->inputs[input] = node_end(x);
    if (x->gradient->leaf) x->gradient->pending++;
}

Node *record_node(Tensor *output, Backward backward_function, const char *name, int num_inputs,
                  Tensor *const *inputs) {
    CHECK(num_inputs <= NODE_INPUTS, "%s: %d inputs", name, num_inputs);
    bool wanted = false;
    op_has_run();
    for (int i = 0; i < num_inputs; i++) {
        wanted |= requires_grad(inputs[i]);
        if (collecting && inputs[i] && inputs[i]->gradient && inputs[i]->gradient->leaf)
            collect_leaf(collecting, inputs[i]->gradient);
    }
    if (!wanted) return NULL;
    Node *node = append_node(output, backward_function, name);
    for (int i = 0; i < num_inputs; i++)
        if (requires_grad(inputs[i])) node_attach(node, i, inputs[i]);
    return node;
}

void node_save(Node *node, int slot, Tensor *x) {
    CHECK(slot >= 0 && slot < NODE_SAVED && !node->saved[slot], "%s: slot %d", node->name, slot);
    node->saved[slot] = tensor_retain(x);
}

bool node_wants(const Node *node, int input) { return node->inputs[input].gradient != NULL; }

bool node_input_is_leaf(const Node *node, int input) {
    return node_wants(node, input) && node->inputs[input].gradient->leaf;
}

static Device *node_device(const Node *node) { return node->output.gradient->value->device; }

Tensor *node_new_grad(const Node *node, int input) {
    const NodeEnd *end = &node->inputs[input];
    CHECK(end->gradient, "%s: gradient %d is not wanted", node->name, input);
    return tensor_new(node_device(node), end->dtype, end->rank, end->shape);
}

Tensor *node_leaf_grad(Node *node, int input) {
    NodeEnd *end = &node->inputs[input];
    CHECK(end->gradient && end->gradient->leaf, "%s: input %d is not a leaf", node->name, input);
    Gradient *gradient = end->gradient;
    Device *device = node_device(node);
    if (!gradient->value) {
        gradient->value =
            tensor_new_persistent(device, FLOAT32, gradient->rank, gradient->shape, NULL);
        tensor_set_memory_kind(gradient->value, MEMORY_GRADIENTS);
    }
    if (!gradient->gathered)
        device->fill_zero(device, gradient->value->data,
                          (size_t)tensor_numel(gradient->value) * sizeof(float));
    gradient->gathered = true;
    return reshape(gradient->value, end->rank, end->shape);
}

/// value + g in memory of its own.
static void gather_in_new_memory(Gradient *gradient, const Tensor *g) {
    Tensor *old = gradient->value;
    Tensor *sum = tensor_new_persistent(old->device, old->dtype, old->rank, old->shape, NULL);
    tensor_set_memory_kind(sum, MEMORY_ACTIVATIONS);
    old->device->fill_zero(old->device, sum->data,
                           (size_t)tensor_numel(sum) * dtype_size(sum->dtype));
    old->device->accumulate(old, sum);
    old->device->accumulate(g, sum);
    gradient->value = sum;
    tensor_release(old);
}

void node_add_grad(Node *node, int input, Tensor *g) {
    NodeEnd *end = &node->inputs[input];
    if (!end->gradient) return;
    Gradient *gradient = end->gradient;
    int64_t numel = 1;
    for (int i = 0; i < end->rank; i++) numel *= end->shape[i];
    CHECK(tensor_numel(g) == numel, "%s: a gradient %s for an input of %lld elements", node->name,
          tensor_describe(g), (long long)numel);
    if (gradient->leaf) {
        g->device->accumulate(g, node_leaf_grad(node, input));
    } else if (!gradient->gathered && g->dtype == end->dtype) {
        gradient->value = tensor_retain(g); // shared until somebody adds to it
        gradient->gathered = true;
    } else if (!gradient->gathered) {
        Tensor *converted = tensor_zeros(g->device, end->dtype, end->rank, end->shape);
        g->device->accumulate(g, converted);
        gradient->value = tensor_retain(converted);
        gradient->gathered = true;
    } else if (tensor_shares_memory(gradient->value)) {
        gather_in_new_memory(gradient, g);
    } else {
        g->device->accumulate(g, gradient->value);
    }
}

static void start_from(Tensor *output, Tensor *grad_output) {
    CHECK(output->gradient && !output->gradient->leaf,
          "backward: %s depends on nothing that wants a gradient", tensor_describe(output));
    if (!grad_output) {
        CHECK(tensor_numel(output) == 1,
              "backward: %s is not one number, so a gradient of it must be given",
              tensor_describe(output));
        grad_output = tensor_like(output);
        tensor_fill_from_float(grad_output, &(float){1.0f});
    }
    CHECK(tensor_numel(grad_output) == tensor_numel(output) && grad_output->dtype == output->dtype,
          "backward: gradient %s of %s", tensor_describe(grad_output), tensor_describe(output));
    tensor_release(output->gradient->value);
    output->gradient->value = tensor_retain(grad_output);
    output->gradient->gathered = true;
}

static void run_node(Node *node) {
    Gradient *gradient = node->output.gradient;
    if (!gradient->gathered) return;
    scope_begin();
    node->backward(node, reshape(gradient->value, node->output.rank, node->output.shape));
    scope_end();
    tensor_release(gradient->value);
    gradient->value = NULL;
    gradient->gathered = false;
    op_has_run();
}

void backward(Tensor *output, Tensor *grad_output, const LeafListener *listener) {
    CHECK(tape, "backward without a tape");
    tape_pause();
    scope_begin();
    start_from(output, grad_output);
    scope_end();
    while (tape->count) {
        Node *node = tape->nodes[--tape->count];
        run_node(node);
        node_free(node, listener);
    }
    tape_resume();
}

// ---- recompute

static void recompute_backward(Node *node, Tensor *grad_output) {
    Segment segment;
    memcpy(&segment, node->arguments, sizeof segment);
    Tensor *x = reshape(node->saved[0], node->saved[0]->rank, node->saved[0]->shape);
    gradient_release(x->gradient);
    x->gradient = node_wants(node, 0) ? gradient_new(false) : NULL;
    tape_begin();
    Tensor *y = segment(node->context, x);
    // The outer node holds the leaves that the segment reads: none is complete before it has run.
    if (requires_grad(y)) backward(y, grad_output, NULL);
    tape_end();
    if (x->gradient && x->gradient->gathered) node_add_grad(node, 0, x->gradient->value);
}

Tensor *recompute(Segment segment, const void *context, size_t bytes, Tensor *x,
                  Tensor *const held[3]) {
    bool recording = tape_recording();
    LeafList hidden = {0};
    if (recording) collecting = &hidden;
    tape_pause();
    scope_begin();
    Tensor *y = scope_end_returning(segment(context, x));
    tape_resume();
    if (recording) collecting = NULL;
    if (!recording || y == x) {
        while (hidden.count) end_free(hidden.leaves[--hidden.count], NULL);
        free(hidden.leaves);
        return y;
    }
    // Recorded whether or not x wants a gradient: the segment may hold parameters that do.
    Node *node = append_node(y, recompute_backward, "recompute");
    if (x->gradient) node_attach(node, 0, x);
    node->hidden_leaves = hidden.leaves;
    node->hidden_count = hidden.count;
    node_save(node, 0, x);
    for (int i = 0; i < 3; i++) node_save(node, i + 1, held ? held[i] : NULL);
    node->context = checked_malloc(bytes);
    memcpy(node->context, context, bytes);
    NODE_SET_ARGUMENTS(node, segment);
    return y;
}
