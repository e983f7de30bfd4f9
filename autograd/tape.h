/// The tape: what was computed, in order, with what its backward needs; and the walk back.
///
/// An op whose inputs want no gradient leaves nothing here. A node keeps its inputs' *gradients*
/// (small) and only those tensors that its backward formula reads: a product with a frozen weight
/// keeps no activation.
#pragma once
#include "autograd/tensor.h"

#include <string.h>

typedef struct Node Node;
typedef void (*Backward)(Node *node, Tensor *grad_output);

enum { NODE_INPUTS = 6, NODE_SAVED = 10, NODE_ARGUMENT_BYTES = 128 };

/// One end of a node: whose gradient, and the shape under which the op saw the tensor (a reshape
/// shares its gradient).
typedef struct NodeEnd {
    /// NULL: not wanted
    Gradient *gradient;
    DType dtype;
    int rank;
    int64_t shape[MAX_RANK];
} NodeEnd;

struct Node {
    Backward backward;
    NodeEnd output;
    NodeEnd inputs[NODE_INPUTS];
    /// retained until the node has run
    Tensor *saved[NODE_SAVED];
    _Alignas(16) unsigned char arguments[NODE_ARGUMENT_BYTES];
    /// the backward function's, for messages
    const char *name;
    /// parameters that a recomputed segment reads
    Gradient **hidden_leaves;
    int hidden_count;
    /// of a recomputed segment: a copy that is the node's own
    void *context;
};

/// Puts a node for `output` on the tape, if it records and any of the inputs (NULL allowed) wants a
/// gradient; `output` then wants one too. Returns the node, or NULL: there is nothing to save.
Node *record_node(Tensor *output, Backward backward, const char *name, int num_inputs,
                  Tensor *const *inputs);
#define RECORD(output, backward, ...)                                        \
    record_node(output, backward, #backward,                                 \
                (int)(sizeof((Tensor *[]){__VA_ARGS__}) / sizeof(Tensor *)), \
                (Tensor *const[]){__VA_ARGS__})

/// Keeps x for the backward formula under `slot`. NULL is allowed.
void node_save(Node *node, int slot, Tensor *x);
/// Plain values that backward needs: at most NODE_ARGUMENT_BYTES, copied.
#define NODE_SET_ARGUMENTS(node, value)                                              \
    do {                                                                             \
        _Static_assert(sizeof(value) <= NODE_ARGUMENT_BYTES, "arguments too large"); \
        memcpy((node)->arguments, &(value), sizeof(value));                          \
    } while (0)
#define NODE_ARGUMENTS(node, type) ((const type *)(const void *)(node)->arguments)

/// In a backward: whether input i's gradient is wanted.
bool node_wants(const Node *node, int input);
/// In a backward: an undefined tensor of input i's shape, to be filled and handed to node_add_grad.
/// Its type is the input's.
Tensor *node_new_grad(const Node *node, int input);
/// In a backward: adds g (input i's shape; any floating type) to the gradient of input i.
void node_add_grad(Node *node, int input, Tensor *g);
/// In a backward: the FLOAT32 buffer of a leaf's gradient to add to (zero the first time). Only for
/// leaves.
Tensor *node_leaf_grad(Node *node, int input);
/// Whether input i is a leaf (a parameter).
bool node_input_is_leaf(const Node *node, int input);

/// Starts recording on this thread. Nests: a tape inside a tape is independent.
void tape_begin(void);
/// Stops recording and forgets what has not run backward.
void tape_end(void);
/// Recording may be interrupted (evaluation inside a training step).
void tape_pause(void);
void tape_resume(void);
/// Whether ops record now.
bool tape_recording(void);
/// Nodes on the innermost tape.
int tape_length(void);

/// Who is told, by the name leaf_index(), that a leaf's gradient is complete: no node is left on
/// the tape that could add to it (recomputed segments included). A leaf that no node read is never
/// told of.
typedef struct LeafListener {
    void (*complete)(int index, void *context);
    void *context;
} LeafListener;

/// Runs the innermost tape backward from `output` with the given gradient of it (NULL: ones, for a
/// one-element loss), gathers the gradients of leaves, tells `listener` of each that is complete
/// (NULL: nobody listens) and empties the tape.
void backward(Tensor *output, Tensor *grad_output, const LeafListener *listener);

/// From now on, on this thread: called for every op that has run, forward (recorded or not, and
/// once more where a segment is run again) and backward; so at least once a layer. It runs no ops
/// itself. NULL: nobody listens, which costs nothing.
typedef void OpListener(void *context);
void tape_on_op(OpListener *listener, void *context);

/// A part of a network as a function of one tensor; `context` is what else it reads.
typedef Tensor *(*Segment)(const void *context, Tensor *x);

/// Runs the segment without keeping its intermediates; backward runs it again (activation
/// checkpointing, Chen et al. 2016, arXiv 1604.06174). `context`, of any size, is copied; what it
/// points to must outlive the backward pass; up to three tensors that it reads are held by `held`
/// (NULL allowed).
Tensor *recompute(Segment segment, const void *context, size_t bytes, Tensor *x,
                  Tensor *const held[3]);
