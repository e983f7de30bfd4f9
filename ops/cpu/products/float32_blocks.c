// The processor's own FLOAT32 products, once per x86-64 level: product_blocks.h cuts,
// float32_tile.h multiplies. float32_product.c says where they are used.
#include "ops/cpu/products/float32_blocks.h"

#if defined(__AVX2__)
#include "ops/cpu/products/float32_tile.h"
#include "ops/cpu/products/product_blocks.h"

size_t LEVEL_NAME(float32_blocks_bytes)(const Matmul *shape, int threads) {
    return blocks_bytes(shape, threads);
}

void LEVEL_NAME(float32_blocks)(const Matmul *shape, ProductMatrix a, ProductMatrix b,
                                const float *bias, char *c, int threads, char *memory) {
    multiply_blocks(shape, a, b, bias, c, threads, memory);
}
#endif
