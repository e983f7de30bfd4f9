// Blocked as in Goto & van de Geijn 2008 (Anatomy of high-performance matrix multiplication):
// panels of both matrices are packed as FLOAT32, and a tile of sums stays in registers over a block
// of k.
#include "matrix_product.h"

#include <algorithm>
#include <vector>

namespace {

/// Sixteen floats, anywhere in memory: one register or several, as the processor has them.
typedef float Vector __attribute__((vector_size(64), aligned(4), may_alias));
constexpr int WIDTH = 16, ROWS = 2, COLUMNS = 6;
constexpr int64_t PANEL = ROWS * WIDTH;
constexpr int64_t BLOCK_ROWS = 16 * WIDTH, BLOCK_K = 256;

/// sums [COLUMNS][PANEL] = a [k][PANEL] times b [k][COLUMNS], the sums in registers.
inline __attribute__((always_inline)) void tile(int64_t k, const float *a, const float *b,
                                                float *sums) {
    const Vector *rows = reinterpret_cast<const Vector *>(a);
    Vector *out = reinterpret_cast<Vector *>(sums);
    Vector sum[COLUMNS][ROWS] = {};
    for (int64_t l = 0; l < k; l++)
#pragma GCC unroll 16
        for (int j = 0; j < COLUMNS; j++)
#pragma GCC unroll 4
            for (int i = 0; i < ROWS; i++) sum[j][i] += rows[l * ROWS + i] * b[l * COLUMNS + j];
#pragma GCC unroll 16
    for (int j = 0; j < COLUMNS; j++)
#pragma GCC unroll 4
        for (int i = 0; i < ROWS; i++) out[j * ROWS + i] = sum[j][i];
}

// Clang knows neither the levels as features nor the width as a target.
#if defined(__x86_64__) && !defined(__clang__)
#define WITH_LEVELS 1
__attribute__((target("arch=x86-64-v4,prefer-vector-width=512"))) void tile_v4(int64_t k,
                                                                               const float *a,
                                                                               const float *b,
                                                                               float *sums) {
    tile(k, a, b, sums);
}
__attribute__((target("arch=x86-64-v3"))) void tile_v3(int64_t k, const float *a, const float *b,
                                                       float *sums) {
    tile(k, a, b, sums);
}
#else
#define WITH_LEVELS 0
#endif
void tile_any(int64_t k, const float *a, const float *b, float *sums) { tile(k, a, b, sums); }

using Tile = void (*)(int64_t, const float *, const float *, float *);
Tile choose_tile() {
#if WITH_LEVELS
    if (__builtin_cpu_supports("x86-64-v4")) return tile_v4;
    if (__builtin_cpu_supports("x86-64-v3")) return tile_v3;
#endif
    return tile_any;
}

int64_t round_up(int64_t n, int64_t to) { return (n + to - 1) / to * to; }

/// Panels of `width` rows (of columns, for B seen as its transpose), element (l, row) of a panel at
/// l * width + row; zero beyond.
void pack(const Matrix &matrix, bool transposed, int64_t first, int64_t count, int64_t first_k,
          int64_t k, int64_t width, float *packed) {
    for (int64_t panel = 0; panel < count; panel += width)
        for (int64_t l = 0; l < k; l++)
            for (int64_t i = panel; i < panel + width; i++)
                *packed++ = i >= count   ? 0.0f
                            : transposed ? matrix.at(first_k + l, first + i)
                                         : matrix.at(first + i, first_k + l);
}

} // namespace

void matrix_product(int64_t m, int64_t n, const Matrix &a, const Matrix &b, int64_t first_k,
                    int64_t last_k, float *sums) {
    static const Tile run = choose_tile();
    std::fill(sums, sums + m * n, 0.0f);
    int64_t panels_b = round_up(n, COLUMNS);
    std::vector<float> packed_b((size_t)(panels_b * BLOCK_K));
    std::vector<float> packed_a((size_t)(BLOCK_ROWS * BLOCK_K));
    for (int64_t k0 = first_k; k0 < last_k; k0 += BLOCK_K) {
        int64_t k = std::min(BLOCK_K, last_k - k0);
        pack(b, true, 0, n, k0, k, COLUMNS, packed_b.data());
        for (int64_t i0 = 0; i0 < m; i0 += BLOCK_ROWS) {
            int64_t rows = std::min(BLOCK_ROWS, m - i0);
            pack(a, false, i0, rows, k0, k, PANEL, packed_a.data());
            for (int64_t j0 = 0; j0 < n; j0 += COLUMNS)
                for (int64_t i = 0; i < rows; i += PANEL) {
                    float part[PANEL * COLUMNS];
                    run(k, packed_a.data() + i * k, packed_b.data() + j0 * k, part);
                    int64_t height = std::min(PANEL, rows - i);
                    for (int64_t j = j0; j < std::min(j0 + COLUMNS, n); j++)
                        for (int64_t r = 0; r < height; r++)
                            sums[j * m + i0 + i + r] += part[(j - j0) * PANEL + r];
                }
        }
    }
}
