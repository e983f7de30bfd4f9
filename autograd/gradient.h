/// Inside the engine: where a tensor's gradient gathers. It outlives the tensor's data, so that the
/// tape need not keep data for the sake of an address.
#pragma once
#include "autograd/tensor.h"

struct Gradient {
    int references;
    /// a parameter: value is FLOAT32 and kept between passes
    bool leaf;
    /// value holds something (a leaf's buffer is kept while empty)
    bool gathered;
    /// of a leaf: its own shape, whatever reshape an op sees
    int rank;
    int64_t shape[MAX_RANK];
    Tensor *value;
    /// of a leaf: nodes on tapes that may still add to it
    int pending;
    /// of a leaf: its place in a ParameterSet, -1 outside of one
    int index;
};

Gradient *gradient_new(bool leaf);
Gradient *gradient_retain(Gradient *gradient);
void gradient_release(Gradient *gradient);

/// Whether another tensor, or another holder of this one, would see what is written into x.
bool tensor_shares_memory(const Tensor *x);
