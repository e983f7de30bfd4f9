/// What a network's blocks give, for whoever compares a network with another implementation of it.
#pragma once
#include "autograd/tensor.h"

/// x is what the block of that name gives, printf style; the name is the reference implementation's
/// module name
/// ("down_blocks.0.attentions.1"). Costs nothing where nobody listens. Returns x.
Tensor *block_output(Tensor *x, const char *format, ...) __attribute__((format(printf, 2, 3)));

/// Called with each block's output, which may be gone afterwards.
typedef void BlockListener(const char *name, const Tensor *x, void *context);
/// From now on, on this thread. NULL: nobody listens.
void block_output_listen(BlockListener *listener, void *context);
