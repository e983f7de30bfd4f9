/// Inside the CPU kernels: the instructions of Intel's AMX that they use, and a stand-in in plain C
/// for processors without them.
///
/// A tile is one of eight registers, tile 0 .. 7, of up to 16 rows of up to 64 bytes. Names of
/// tiles are constants. A thread describes its tiles (tiles_begin), works, and gives them back
/// (tiles_end); what is in them is lost in between. Other code of the thread may use tiles too
/// (oneDNN does), but not between the two.
///
/// A file of kernels that includes this is compiled twice: for the level `amx`, and with AMX_PLAIN
/// for the level `amx_plain`, which has the same bits (Intel's Software Developer's Manual,
/// TDPBF16PS: two sums for each element, of even and of odd k, each a chain of fused multiply-adds
/// from zero; their sum is added to what the tile had; to nearest, even; denormal numbers count as
/// zero and become zero). test_amx_tiles compares them.
#pragma once
#include <stdbool.h>
#include <stdint.h>

enum { TILES = 8, TILE_MOST_ROWS = 16, TILE_MOST_BYTES = 64 };

/// What ldtilecfg reads. Rows and bytes that a tile does not have are neither read nor written.
typedef struct TileShapes {
    /// 1
    uint8_t palette;
    uint8_t start_row;
    uint8_t reserved[14];
    /// a multiple of 4, at most 64; 8 in use
    uint16_t row_bytes[16];
    /// at most 16; 8 in use
    uint8_t rows[16];
} TileShapes;
_Static_assert(sizeof(TileShapes) == 64, "ldtilecfg reads 64 bytes");

/// All tiles of 16 rows of 64 bytes.
extern const TileShapes whole_tiles;

/// Whether the processor has AMX with bfloat16 and the system lets this process use it, for which
/// it is asked at the first call.
bool amx_is_available(void);

// ---- the processor's

static inline void hardware_tiles_begin(const TileShapes *shapes) {
    __asm__ volatile("ldtilecfg %0" : : "m"(*shapes) : "memory");
}
static inline void hardware_tiles_end(void) { __asm__ volatile("tilerelease" : : : "memory"); }
#define HARDWARE_TILE_ZERO(tile) __asm__ volatile("tilezero %%tmm" #tile : :)
#define HARDWARE_TILE_LOAD(tile, from, stride)                           \
    __asm__ volatile("tileloadd (%0,%1,1), %%tmm" #tile                  \
                     :                                                   \
                     : "r"((const void *)(from)), "r"((int64_t)(stride)) \
                     : "memory")
#define HARDWARE_TILE_LOAD_ONCE(tile, from, stride)                      \
    __asm__ volatile("tileloaddt1 (%0,%1,1), %%tmm" #tile                \
                     :                                                   \
                     : "r"((const void *)(from)), "r"((int64_t)(stride)) \
                     : "memory")
#define HARDWARE_TILE_STORE(tile, to, stride)                    \
    __asm__ volatile("tilestored %%tmm" #tile ", (%0,%1,1)"      \
                     :                                           \
                     : "r"((void *)(to)), "r"((int64_t)(stride)) \
                     : "memory")
#define HARDWARE_TILE_MULTIPLY(sum, left, right) \
    __asm__ volatile("tdpbf16ps %%tmm" #right ", %%tmm" #left ", %%tmm" #sum : :)

// ---- the stand-in (tiles_plain.c)

void plain_tiles_begin(const TileShapes *shapes);
void plain_tiles_end(void);
void plain_tile_zero(int tile);
void plain_tile_load(int tile, const void *from, int64_t stride);
void plain_tile_store(int tile, void *to, int64_t stride);
void plain_tile_multiply(int sum, int left, int right);

// ---- the level's

#ifdef AMX_PLAIN
#define tiles_begin plain_tiles_begin
#define tiles_end plain_tiles_end
#define TILE_ZERO(tile) plain_tile_zero(tile)
#define TILE_LOAD(tile, from, stride) plain_tile_load(tile, from, stride)
#define TILE_LOAD_ONCE(tile, from, stride) plain_tile_load(tile, from, stride)
#define TILE_STORE(tile, to, stride) plain_tile_store(tile, to, stride)
#define TILE_MULTIPLY(sum, left, right) plain_tile_multiply(sum, left, right)
#else
/// Describes the thread's tiles. `shapes` may be anything that stays until the call returns.
#define tiles_begin hardware_tiles_begin
#define tiles_end hardware_tiles_end
#define TILE_ZERO(tile) HARDWARE_TILE_ZERO(tile)
/// Rows of `from` lie `stride` bytes apart.
#define TILE_LOAD(tile, from, stride) HARDWARE_TILE_LOAD(tile, from, stride)
/// The same of what need not stay in the first-level cache.
#define TILE_LOAD_ONCE(tile, from, stride) HARDWARE_TILE_LOAD_ONCE(tile, from, stride)
#define TILE_STORE(tile, to, stride) HARDWARE_TILE_STORE(tile, to, stride)
/// sum [m][n] of FLOAT32 += left [m][2k] times right [k][n] of pairs (neighbours in k) of BFLOAT16.
#define TILE_MULTIPLY(sum, left, right) HARDWARE_TILE_MULTIPLY(sum, left, right)
#endif
