/// Inside the CPU kernels: convolutions with a filter that is read as it is stored.
#pragma once
#include "ops/cpu/onednn.h"

/// How a level convolves in BFLOAT16 with a filter that stays as its file has it
/// ([out,kh,kw,in]), where it does that better than the product library.
typedef struct OwnConvolution {
    /// Whether the others are to be called for this shape, rather than the library.
    bool (*is_used)(const Convolution *shape, bool gradient);
    /// Bytes of working memory that it takes on so many threads.
    size_t (*bytes)(const Convolution *shape, bool gradient, int threads);
    /// y = x convolved with the filter, plus bias (FLOAT32 or NULL). Sums are FLOAT32. Working
    /// memory comes from the device.
    void (*forward)(const Convolution *shape, const uint16_t *x, const uint16_t *weight,
                    const float *bias, uint16_t *y, Device *device);
    /// Elements of grad_x are rounded once.
    void (*input_gradient)(const Convolution *shape, const uint16_t *grad_y, const uint16_t *weight,
                           uint16_t *grad_x, Device *device);
} OwnConvolution;

/// Of the level in use (open.c).
const OwnConvolution *own_convolution(void);
