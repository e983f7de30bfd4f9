// Which products of BFLOAT16 are the processor's own; product_blocks.h and bfloat16_tile.h do them.
#include "ops/cpu/products/bfloat16_product.h"

#if defined(__AVX512BF16__) && defined(__AVX512BW__)
#include "ops/cpu/products/bfloat16_tile.h"
#include "ops/cpu/products/product_blocks.h"

enum {
    /// below, packing is not worth its while
    FEWEST_ROWS = 33,
    FEWEST_PRODUCTS = 1 << 24
};

// With n tiles there are more than 14 (n - 1) rows, and n is at least 3: 43 rows in 4 tiles make
// the lowest.
_Static_assert(FEWEST_ROWS / 3 >= LOWEST_TILE && (3 * TILE_ROWS + 1) / 4 == LOWEST_TILE, "heights");

/// Tiles pay where there are several rows of them, and every thread has columns.
static bool worth_its_while(const Matmul *shape, int threads) {
    return shape->type == BFLOAT16 && !shape->a_transposed && shape->m >= FEWEST_ROWS &&
           shape->n >= TILE_COLUMNS * threads &&
           shape->m * shape->n * shape->k >= FEWEST_PRODUCTS && onednn_has_bfloat16();
}

static size_t product_bytes(const Matmul *shape, int threads) {
    return worth_its_while(shape, threads) ? blocks_bytes(shape, threads) : 0;
}

static bool multiply(const Matmul *shape, const uint16_t *a, const uint16_t *b, const float *bias,
                     void *c, Device *device) {
    int threads = omp_get_max_threads();
    size_t bytes = product_bytes(shape, threads);
    if (!bytes) return false;
    char *memory = device->allocate(device, bytes);
    multiply_blocks(shape, (ProductMatrix){a, BFLOAT16}, (ProductMatrix){b, BFLOAT16}, bias, c,
                    threads, memory);
    device->release(device, memory, bytes);
    return true;
}

#else

static size_t product_bytes(const Matmul *shape, int threads) {
    (void)shape, (void)threads;
    return 0;
}

static bool multiply(const Matmul *shape, const uint16_t *a, const uint16_t *b, const float *bias,
                     void *c, Device *device) {
    (void)shape, (void)a, (void)b, (void)bias, (void)c, (void)device;
    return false;
}

#endif

const OwnProduct bfloat16_product = {multiply, product_bytes};
