/// Inside the CPU kernels: convolutions of a few pixels with a large BFLOAT16 filter, as matrix
/// products that read the filter as it is stored, on processors that multiply BFLOAT16 in vectors
/// but not in tiles (as bfloat16_product.h).
///
/// The product library packs such a filter at every call. Measured by tests/bench/bench_products on
/// two cores of Zen 4 against oneDNN 2.6, 3 x 3 kernels, in two runs: at 6 x 6 pixels 57 to 65%
/// faster forward and 79 to 109% backward, at 12 x 12 pixels 8 to 16% and 17 to 33%.
#pragma once
#include "ops/cpu/onednn.h"

/// y = x convolved with the filter (stored as onednn_convolution() has it), plus bias (FLOAT32 or
/// NULL). Sums are FLOAT32. Working memory comes from the device. False, and nothing done, where
/// onednn_convolution() is to be preferred.
bool convolution_product(const Convolution *shape, const void *x, const void *weight,
                         const float *bias, void *y, Device *device);

/// The same for onednn_convolution_input_gradient(). Elements of grad_x are rounded once.
bool convolution_product_input_gradient(const Convolution *shape, const void *grad_y,
                                        const void *weight, void *grad_x, Device *device);

/// Bytes of working memory that they take on so many threads, the library's own left out: at most
/// about twice what the packed filter would take, for Stable Diffusion a quarter.
size_t convolution_product_bytes(const Convolution *shape, bool gradient, int threads);

/// Whether they do anything.
bool convolution_product_is_used(const Convolution *shape, bool gradient);
