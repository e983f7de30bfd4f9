// Which FLOAT32 products are the processor's own, and for which level they are compiled.
#include "ops/cpu/products/float32_product.h"

#include "ops/cpu/products/float32_blocks.h"

#include <omp.h>

#ifdef __x86_64__
enum { FEWEST_ROWS = 33, FEWEST_COLUMNS = 512, FEWEST_STEPS = 320, FEWEST_PRODUCTS = 1 << 24 };

/// The library takes matrices of floats only. Where those are, tiles pay where there are several
/// rows of them, and where each element of a and c is used often enough to make up for packing and
/// writing it.
static bool worth_its_while(const Matmul *shape, DType a_type, DType b_type) {
    if (shape->type != FLOAT32 || shape->a_transposed || !onednn_has_avx2()) return false;
    if (a_type != FLOAT32 || b_type != FLOAT32 || shape->c_type != FLOAT32) return true;
    return shape->m >= FEWEST_ROWS && shape->n >= FEWEST_COLUMNS && shape->k >= FEWEST_STEPS &&
           shape->m * shape->n * shape->k >= FEWEST_PRODUCTS;
}

size_t float32_product_bytes(const Matmul *shape, DType a_type, DType b_type, int threads) {
    if (!worth_its_while(shape, a_type, b_type)) return 0;
    return onednn_has_avx512() ? float32_blocks_bytes_v4(shape, threads)
                               : float32_blocks_bytes_v3(shape, threads);
}

bool float32_product(const Matmul *shape, ProductMatrix a, ProductMatrix b, const float *bias,
                     void *c, Device *device) {
    int threads = omp_get_max_threads();
    size_t bytes = float32_product_bytes(shape, a.type, b.type, threads);
    if (!bytes) return false;
    char *memory = device->allocate(device, bytes);
    (onednn_has_avx512() ? float32_blocks_v4 : float32_blocks_v3)(shape, a, b, bias, c, threads,
                                                                  memory);
    device->release(device, memory, bytes);
    return true;
}

#else

size_t float32_product_bytes(const Matmul *shape, DType a_type, DType b_type, int threads) {
    (void)shape, (void)a_type, (void)b_type, (void)threads;
    return 0;
}

bool float32_product(const Matmul *shape, ProductMatrix a, ProductMatrix b, const float *bias,
                     void *c, Device *device) {
    (void)shape, (void)a, (void)b, (void)bias, (void)c, (void)device;
    return false;
}

#endif
