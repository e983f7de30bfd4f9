/// Inside the CPU kernels: convolutions of a few pixels with a large BFLOAT16 filter, as matrix
/// products that read the filter as it is stored, on processors that multiply BFLOAT16 in vectors
/// (as bfloat16_product.h).
///
/// The product library packs such a filter at every call. Measured by tests/bench/bench_products on
/// two cores of Zen 4 against oneDNN 2.6, 3 x 3 kernels, in two runs: at 6 x 6 pixels 57 to 65%
/// faster forward and 79 to 109% backward, at 12 x 12 pixels 8 to 16% and 17 to 33%.
#pragma once
#include "ops/cpu/convolution/convolution.h"

/// Takes working memory of at most about twice what the packed filter would, for Stable Diffusion a
/// quarter.
extern const OwnConvolution convolution_product;
