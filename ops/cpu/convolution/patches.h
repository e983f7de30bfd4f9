/// Inside the CPU kernels: the input gradient of convolutions whose windows do not overlap, as
/// those that cut an image into patches (CLIP, Segment Anything).
///
/// oneDNN 2.6 has no fast code for some of them and falls back on its reference, which took 1,000
/// times as long for CLIP's patches on an Intel with AMX. Measured by tests/bench/bench_ops on Zen
/// 4, whose figures tests/bench/README.md has.
#pragma once
#include "ops/cpu/onednn.h"

/// Whether the windows lie apart (and are not the image itself, pixel by pixel) and are so large
/// that this is to be preferred.
bool convolution_patches_are_used(const Convolution *shape);

/// As onednn_convolution_input_gradient(), for windows that lie apart. Sums are FLOAT32, elements
/// of grad_x are rounded once. Working memory comes from the weight's device.
void convolution_patches_input_gradient(const Convolution *shape, const void *grad_y,
                                        const Tensor *weight, void *grad_x);

/// Bytes of working memory that it takes on so many threads, the product library's own left out.
size_t convolution_patches_bytes(const Convolution *shape, const Tensor *weight, int threads);
