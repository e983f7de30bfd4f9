/// Inside the CPU kernels: FLOAT32 products with a matrix that stays as it is stored, and of
/// BFLOAT16 matrices on processors that multiply floats only: elements are widened where they are
/// packed, so that a weight is never copied as a whole.
///
/// Measured by tests/bench/bench_float_products on one core of Zen 4 against oneDNN 2.6 (other
/// processors are not measured), AVX-512 without BFLOAT16: at 616 rows of a 7B model 7 to 8% faster
/// with W^T and 14 to 29% with W, CLIP's layers 36 to 59%, the U-Net's 0 to 14%, 40 rows 0 to 3%
/// with W^T and 48 to 73% with W; AVX2 at 616 rows 5 to 10%. BFLOAT16 matrices, which the library
/// gets converted: 4 to 11%, without the memory of the converted ones.
#pragma once
#include "ops/cpu/onednn.h"

/// c (+)= a b + bias, a and b of either floating type, sums in FLOAT32 whose order depends on k
/// alone: neither on m, n nor on the number of threads. bias: FLOAT32 or NULL; c:
/// shape->c_type. Working memory comes from the device. False, and nothing done, where
/// onednn_matmul() of FLOAT32 is to be preferred, or shape->type is not FLOAT32.
bool float32_product(const Matmul *shape, ProductMatrix a, ProductMatrix b, const float *bias,
                     void *c, Device *device);

/// Bytes of working memory that it takes on so many threads; 0 where it would do nothing.
size_t float32_product_bytes(const Matmul *shape, DType a_type, DType b_type, int threads);
