/// Inside the CPU kernels: products of BFLOAT16 activations with a large matrix that stays as its file has it, on processors that multiply
/// BFLOAT16 in vectors (AVX512_BF16) but not in tiles (AMX).
///
/// The product library packs such a matrix in pieces at every call, and packs it again for every block of rows; here each element is
/// packed once, beside the products. Measured on two cores of Zen 4 against oneDNN 2.6 (tests/bench/bench_ops): 3 to 12% faster with W^T,
/// 15 to 25% with W, at 616 rows of a 7B model, where it reaches 94% of what the instruction can do.
#pragma once
#include "ops/cpu/onednn.h"

/// c (+)= a b + bias, a and b BFLOAT16, sums in FLOAT32 whose order depends on k alone: neither on m, n nor on the number of threads.
/// bias: FLOAT32 or NULL. Working memory comes from the device. False, and nothing done, where the library's own product is to be
/// preferred (or the processor is another).
bool bfloat16_product(const Matmul *shape, const uint16_t *a, const uint16_t *b, const float *bias,
                      void *c, Device *device);

/// Bytes of working memory that it takes on so many threads; 0 where it would do nothing.
size_t bfloat16_product_bytes(const Matmul *shape, int threads);
