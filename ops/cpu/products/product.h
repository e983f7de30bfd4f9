/// Inside the CPU kernels: a product whose matrices are read as they are stored.
#pragma once
#include "ops/cpu/onednn.h"

/// How a level multiplies BFLOAT16 matrices that stay as they are, such as a large one of a file,
/// where it does that better than the product library.
typedef struct OwnProduct {
    /// c (+)= a b + bias, a and b BFLOAT16, bias FLOAT32 or NULL, sums in FLOAT32. Working memory
    /// comes from the device. False, and nothing done, where the library is to be preferred.
    bool (*multiply)(const Matmul *shape, const uint16_t *a, const uint16_t *b, const float *bias,
                     void *c, Device *device);
    /// Bytes of working memory that it takes on so many threads; 0 where it would do nothing.
    size_t (*bytes)(const Matmul *shape, int threads);
} OwnProduct;

/// Of the level in use (open.c).
const OwnProduct *own_product(void);

/// onednn_matmul(), or the level's own product where that is faster.
static inline void product_in_place(const Matmul *shape, const void *a, const void *b,
                                    const float *bias, void *c, Device *device) {
    if (!own_product()->multiply(shape, a, b, bias, c, device)) onednn_matmul(shape, a, b, bias, c);
}
