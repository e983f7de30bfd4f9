/// Inside the CPU kernels: products with a large BFLOAT16 matrix that stays as its file has it. The product library wants such a matrix
/// packed. Left to it, it packs in small pieces at every call, which costs 3% of a product of 616 rows with W^T (left so: nothing
/// gained by doing it here) but 15 to 30% of one with W; here a panel of columns that fits the last-level cache is packed at a time, and
/// multiplied while it is there.
#pragma once
#include "ops/cpu/chunk.h"
#include "ops/cpu/onednn.h"

#include <string.h>

/// Of a packed panel: some megabytes, which leave room for a block of the other matrix beside it.
enum { PANEL_BYTES = 6 << 20 };

/// Row pairs first_pair .. last_pair of columns column .. column+width of b [k,n], into blocks of `block` columns.
static inline void pack_pairs(const uint16_t *restrict b, int64_t k, int64_t n, int64_t column,
                              int64_t width, int64_t block, int64_t pairs, int64_t first_pair,
                              int64_t last_pair, uint16_t *restrict packed) {
    for (int64_t pair = first_pair; pair < last_pair; pair++)
        for (int64_t begin = 0; begin < width; begin += block) {
            uint16_t *restrict to = packed + (begin * pairs + pair * block) * 2;
            const uint16_t *upper = b + 2 * pair * n + column + begin, *lower = upper + n;
            int64_t count = width - begin < block ? width - begin : block;
            if (2 * pair + 1 < k && count == block) {
                for (int64_t j = 0; j < block; j++) {
                    to[2 * j] = upper[j];
                    to[2 * j + 1] = lower[j];
                }
                continue;
            }
            for (int64_t j = 0; j < block; j++) {
                to[2 * j] = j < count && 2 * pair < k ? upper[j] : 0;
                to[2 * j + 1] = j < count && 2 * pair + 1 < k ? lower[j] : 0;
            }
        }
}

/// Columns column .. column+width of b [k,n].
static inline void pack_panel(const uint16_t *b, int64_t k, int64_t n, int64_t column,
                              int64_t width, int64_t block, uint16_t *packed) {
    enum { PIECE = 64 };
    int64_t pairs = (k + PACKED_ROWS - 1) / PACKED_ROWS * (PACKED_ROWS / 2);
    PARALLEL_FOR(k * width)
    for (int64_t first = 0; first < pairs; first += PIECE) {
        int64_t last = first + PIECE < pairs ? first + PIECE : pairs;
        pack_pairs(b, k, n, column, width, block, pairs, first, last, packed);
    }
}

/// Rows of a panel's product [m,width] to their place in c [m,n].
static inline void place_panel(const char *from, int64_t m, size_t width_bytes, size_t row_bytes,
                               char *to) {
    PARALLEL_FOR(m * (int64_t)width_bytes)
    for (int64_t row = 0; row < m; row++)
        memcpy(to + (size_t)row * row_bytes, from + (size_t)row * width_bytes, width_bytes);
}

/// A product cut into panels of `width` columns, the last one narrower.
typedef struct Panels {
    const Matmul *shape;
    int64_t depth, width; ///< of a packed panel
    int64_t block;        ///< columns of a block in it
} Panels;

static inline Matmul panel_at(const Panels *panels, int64_t column) {
    Matmul panel = *panels->shape;
    panel.n = panel.n - column < panels->width ? panel.n - column : panels->width;
    return panel;
}

/// Whether packing pays, and the product library wants every panel packed as pack_panel() does.
static inline bool panels_plan(const Matmul *shape, bool bias, Panels *panels) {
    enum { FEWEST_ROWS = 256, GROUP = 256 };
    if (shape->type != BFLOAT16 || shape->b_transposed || shape->accumulate) return false;
    int64_t depth = (shape->k + PACKED_ROWS - 1) / PACKED_ROWS * PACKED_ROWS;
    int64_t width = PANEL_BYTES / 2 / depth / GROUP * GROUP;
    if (shape->m < FEWEST_ROWS || shape->n < 2 * GROUP || width == 0) return false;
    *panels = (Panels){shape, depth, width, 0};
    Matmul first = panel_at(panels, 0), last = panel_at(panels, (shape->n - 1) / width * width);
    panels->block = onednn_packed_block(&first, bias);
    return panels->block && onednn_packed_block(&last, bias) == panels->block;
}

/// c = a b + bias, b [k,n] BFLOAT16 as it lies in memory. False, and nothing done, where packing would not pay.
static inline bool panel_product(const Matmul *shape, const void *a, const uint16_t *b,
                                 const float *bias, void *c, Device *device) {
    Panels panels;
    if (!panels_plan(shape, bias != NULL, &panels)) return false;
    size_t element = dtype_size(shape->c_type),
           bytes = (size_t)(panels.depth * (panels.width + panels.block)) * sizeof *b,
           product_bytes = (size_t)(shape->m * panels.width) * element;
    uint16_t *packed = device->allocate(device, bytes);
    char *product = device->allocate(device, product_bytes);
    for (int64_t column = 0; column < shape->n; column += panels.width) {
        Matmul panel = panel_at(&panels, column);
        pack_panel(b, shape->k, shape->n, column, panel.n, panels.block, packed);
        onednn_matmul_packed(&panel, a, packed, bias ? bias + column : NULL, product);
        place_panel(product, shape->m, (size_t)panel.n * element, (size_t)shape->n * element,
                    (char *)c + (size_t)column * element);
    }
    device->release(device, product, product_bytes);
    device->release(device, packed, bytes);
    return true;
}
