// What the instructions of ops/cpu/amx/tiles.h do, in C. The rules for denormal numbers are the
// processor's own: they hold for its vectors as well, if their control register asks for them.
#include "ops/cpu/amx/tiles.h"

#ifdef __x86_64__
#include "autograd/error.h"

#include <string.h>
#include <xmmintrin.h>

enum { LANES = 16 };

typedef struct Tiles {
    bool described;
    TileShapes shapes;
    uint32_t words[TILES][TILE_MOST_ROWS][LANES];
} Tiles;

/// The thread's.
static _Thread_local Tiles tiles;

void plain_tiles_begin(const TileShapes *shapes) {
    CHECK(shapes->palette == 1 && shapes->start_row == 0, "tiles of palette %d", shapes->palette);
    for (int i = 0; i < TILES; i++)
        CHECK(shapes->rows[i] <= TILE_MOST_ROWS && shapes->row_bytes[i] <= TILE_MOST_BYTES &&
                  shapes->row_bytes[i] % sizeof(uint32_t) == 0,
              "tile %d of %d rows of %d bytes", i, shapes->rows[i], shapes->row_bytes[i]);
    memset(&tiles, 0, sizeof tiles);
    tiles.shapes = *shapes;
    tiles.described = true;
}

void plain_tiles_end(void) { tiles.described = false; }

static void check_tile(int tile) {
    CHECK(tiles.described && tile >= 0 && tile < TILES && tiles.shapes.rows[tile] &&
              tiles.shapes.row_bytes[tile],
          "tile %d is used without a shape", tile);
}

void plain_tile_zero(int tile) {
    check_tile(tile);
    memset(tiles.words[tile], 0, sizeof tiles.words[tile]);
}

void plain_tile_load(int tile, const void *from, int64_t stride) {
    plain_tile_zero(tile);
    for (int row = 0; row < tiles.shapes.rows[tile]; row++)
        memcpy(tiles.words[tile][row], (const char *)from + row * stride,
               tiles.shapes.row_bytes[tile]);
}

void plain_tile_store(int tile, void *to, int64_t stride) {
    check_tile(tile);
    for (int row = 0; row < tiles.shapes.rows[tile]; row++)
        memcpy((char *)to + row * stride, tiles.words[tile][row], tiles.shapes.row_bytes[tile]);
}

/// The lower (even k) or the upper element of a pair.
static inline float even_of(uint32_t pair) {
    uint32_t bits = pair << 16;
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}
static inline float odd_of(uint32_t pair) {
    uint32_t bits = pair & 0xffff0000u;
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

/// Never inlined: nothing of it may move to where the control register is another.
static __attribute__((noinline)) void multiply(uint32_t sum[][LANES], int rows,
                                               const uint32_t left[][LANES], int pairs,
                                               const uint32_t right[][LANES]) {
    float even_right[TILE_MOST_ROWS][LANES], odd_right[TILE_MOST_ROWS][LANES];
    for (int k = 0; k < pairs; k++)
        for (int n = 0; n < LANES; n++) {
            even_right[k][n] = even_of(right[k][n]);
            odd_right[k][n] = odd_of(right[k][n]);
        }
    for (int m = 0; m < rows; m++) {
        float even[LANES] = {0}, odd[LANES] = {0}, total[LANES];
        for (int k = 0; k < pairs; k++) {
            float even_left = even_of(left[m][k]), odd_left = odd_of(left[m][k]);
            for (int n = 0; n < LANES; n++) {
                even[n] = __builtin_fmaf(even_left, even_right[k][n], even[n]);
                odd[n] = __builtin_fmaf(odd_left, odd_right[k][n], odd[n]);
            }
        }
        memcpy(total, sum[m], sizeof total);
        for (int n = 0; n < LANES; n++) total[n] += even[n] + odd[n];
        memcpy(sum[m], total, sizeof total);
    }
}

/// All exceptions masked, to nearest; denormal operands are zero, denormal results become zero.
enum { CONTROL_OF_TILES = 0x1f80 | 0x0040 | 0x8000 };

void plain_tile_multiply(int sum, int left, int right) {
    check_tile(sum);
    check_tile(left);
    check_tile(right);
    const TileShapes *shapes = &tiles.shapes;
    CHECK(sum != left && sum != right && left != right && shapes->rows[sum] == shapes->rows[left] &&
              shapes->row_bytes[sum] == shapes->row_bytes[right] &&
              shapes->row_bytes[left] == sizeof(uint32_t) * shapes->rows[right],
          "tiles %d, %d and %d cannot be multiplied", sum, left, right);
    unsigned control = _mm_getcsr();
    _mm_setcsr(CONTROL_OF_TILES);
    multiply(tiles.words[sum], shapes->rows[sum], tiles.words[left], shapes->rows[right],
             tiles.words[right]);
    _mm_setcsr(control);
}
#endif
