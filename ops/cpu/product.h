/// Inside the CPU kernels: a product with a matrix that is read as it is stored.
#pragma once
#include "ops/cpu/bfloat16_product.h"

/// onednn_matmul(), or the processor's own product where that is faster.
static inline void product_in_place(const Matmul *shape, const void *a, const void *b,
                                    const float *bias, void *c, Device *device) {
    if (!bfloat16_product(shape, a, b, bias, c, device)) onednn_matmul(shape, a, b, bias, c);
}
