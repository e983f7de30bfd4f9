/// Inside the CPU kernels: products of BFLOAT16 activations with a large matrix that stays as its
/// file has it, on processors that multiply BFLOAT16 in vectors (AVX512_BF16) but not in tiles
/// (AMX).
///
/// The product library packs such a matrix in pieces at every call; here each element is packed
/// once, beside the products. Measured by tests/bench/bench_products on two cores of Zen 4 against
/// oneDNN 2.6, in three runs: at 616 rows of a 7B model 3 to 6% faster with W^T and 10 to 21% with
/// W, CLIP's layers 28 to 53%, the U-Net's -4 to 21%; 40 rows, which make little of a step, 6 to
/// 15% slower with W^T and 3 to 35% faster with W.
#pragma once
#include "ops/cpu/products/product.h"

/// The order of sums depends on k alone: neither on m, n nor on the number of threads. Does nothing
/// where the processor is another.
extern const OwnProduct bfloat16_product;
