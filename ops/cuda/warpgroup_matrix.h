/// Inside the CUDA kernels only: what a warpgroup, four warps of which the first's number is a
/// multiple of four, does together on Hopper's tensor cores (wgmma), and barriers in shared memory
/// (mbarrier), as the PTX ISA defines them for sm_90a. Kernels that call these are for that chip
/// alone: WITH_WARPGROUPS says whether they are being compiled for it.
///
/// Matrices in shared memory lie in slabs of 64 columns of bfloat16: a slab's rows are 128 bytes
/// each, one behind the other, and of row r the 16 bytes number c lie at number c ^ (r % 8), so
/// that neither rows nor columns meet in a bank. A slab begins at a multiple of 1024 bytes.
///
/// A product's result, 64 rows of N columns, is a Tile of each warp: warp w has rows 16 w to
/// 16 w + 15, its lanes what warp_matrix.h says of c. Operands in registers likewise, as its a.
///
/// Products run behind the threads' backs: between products_begin() and the products_wait() that
/// ends them, what they read and write must be left alone, registers as well.
#pragma once
#include "ops/cuda/warp_matrix.h"

enum {
    WARPGROUP = 128,
    /// columns of a slab
    SLAB = 64,
    SLAB_ROW_BYTES = 128,
};

#ifdef __CUDACC__
#ifdef __CUDA_ARCH_FEAT_SM90_ALL
#define WITH_WARPGROUPS 1
#else
#define WITH_WARPGROUPS 0
#endif
#else
#define WITH_WARPGROUPS 1
#include <warpgroup_instructions.h>
#endif

/// Where a matrix begins in shared memory, and how it goes on.
typedef uint64_t MatrixAddress;

/// `shared` is the first of 8 rows of a slab, its column a multiple of 16. From 8 rows to the next
/// 8 it is 1024 bytes; from slab to slab `slab_bytes`, which only transposed operands of more than
/// 64 columns need.
static __device__ __forceinline__ MatrixAddress matrix_address(unsigned shared,
                                                               unsigned slab_bytes) {
    const uint64_t swizzled_by_128_bytes = 1ull << 62;
    const unsigned eight_rows = 8 * SLAB_ROW_BYTES;
    return swizzled_by_128_bytes | (uint64_t)(eight_rows >> 4) << 32 |
           (uint64_t)((slab_bytes >> 4) & 0x3fff) << 16 | ((shared >> 4) & 0x3fff);
}

/// Of 16 bytes in a slab, the bytes from its begin.
static __device__ __forceinline__ int slab_offset(int row, int column) {
    return row * SLAB_ROW_BYTES + ((column / 8) ^ (row % 8)) * 16;
}

#ifdef __CUDACC__

// ---- barriers

/// A barrier completes a phase when so many have arrived.
static __device__ __forceinline__ void barrier_open(uint64_t *barrier, unsigned arrivals) {
    asm volatile("mbarrier.init.shared::cta.b64 [%0], %1;" ::"r"(shared_address(barrier)),
                 "r"(arrivals)
                 : "memory");
}

static __device__ __forceinline__ void barrier_arrive(uint64_t *barrier) {
    asm volatile("mbarrier.arrive.shared::cta.b64 _, [%0];" ::"r"(shared_address(barrier))
                 : "memory");
}

/// Arrives when the copies that the thread has begun are done.
static __device__ __forceinline__ void barrier_arrive_with_copies(uint64_t *barrier) {
    asm volatile(
        "cp.async.mbarrier.arrive.noinc.shared::cta.b64 [%0];" ::"r"(shared_address(barrier))
        : "memory");
}

/// Until the phase of that parity is complete; phases are counted from 0.
static __device__ __forceinline__ void barrier_wait(uint64_t *barrier, unsigned parity) {
    asm volatile("{\n"
                 ".reg .pred done;\n"
                 "again:\n"
                 "mbarrier.try_wait.parity.shared::cta.b64 done, [%0], %1;\n"
                 "@done bra complete;\n"
                 "bra again;\n"
                 "complete:\n"
                 "}" ::"r"(shared_address(barrier)),
                 "r"(parity)
                 : "memory");
}

/// Lets products see what threads have written to shared memory, and are known to have.
static __device__ __forceinline__ void show_to_products() {
    asm volatile("fence.proxy.async.shared::cta;" ::: "memory");
}

// ---- registers

/// How many registers a thread of this warpgroup has from here on, a multiple of 8. All its warps
/// call it.
template <int N> static __device__ __forceinline__ void take_registers() {
    asm volatile("setmaxnreg.inc.sync.aligned.u32 %0;" ::"n"(N));
}
template <int N> static __device__ __forceinline__ void give_registers() {
    asm volatile("setmaxnreg.dec.sync.aligned.u32 %0;" ::"n"(N));
}

// ---- products

static __device__ __forceinline__ void products_begin() {
    asm volatile("wgmma.fence.sync.aligned;" ::: "memory");
}
/// The end of a group.
static __device__ __forceinline__ void products_commit() {
    asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory");
}
/// Until no more than the last N groups run.
template <int N> static __device__ __forceinline__ void products_wait() {
    asm volatile("wgmma.wait_group.sync.aligned %0;" ::"n"(N) : "memory");
}

/// Where a product may have changed the tile, for the compiler.
template <int N> static __device__ __forceinline__ void tile_changed(float (&tile)[N][4]) {
    UNROLL
    for (int i = 0; i < 4 * N; i++) asm volatile("" : "+f"(tile[i / 4][i % 4])::"memory");
}

#define TILE_4(c, i) "+f"(c[i][0]), "+f"(c[i][1]), "+f"(c[i][2]), "+f"(c[i][3])
#define TILE_16(c, i) TILE_4(c, i), TILE_4(c, i + 1), TILE_4(c, i + 2), TILE_4(c, i + 3)
#define TILE_32(c, i) TILE_16(c, i), TILE_16(c, i + 4)
#define TILE_48(c, i) TILE_32(c, i), TILE_16(c, i + 8)
#define TILE_64(c, i) TILE_32(c, i), TILE_32(c, i + 8)
#define TILE_96(c, i) TILE_64(c, i), TILE_32(c, i + 16)

// clang-format off
#define TILE_REGISTERS_32 \
    "%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15, " \
    "%16, %17, %18, %19, %20, %21, %22, %23, %24, %25, %26, %27, %28, %29, %30, %31"
#define TILE_REGISTERS_48 \
    "%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15, " \
    "%16, %17, %18, %19, %20, %21, %22, %23, %24, %25, %26, %27, %28, %29, %30, %31, " \
    "%32, %33, %34, %35, %36, %37, %38, %39, %40, %41, %42, %43, %44, %45, %46, %47"
#define TILE_REGISTERS_64 \
    "%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15, " \
    "%16, %17, %18, %19, %20, %21, %22, %23, %24, %25, %26, %27, %28, %29, %30, %31, " \
    "%32, %33, %34, %35, %36, %37, %38, %39, %40, %41, %42, %43, %44, %45, %46, %47, " \
    "%48, %49, %50, %51, %52, %53, %54, %55, %56, %57, %58, %59, %60, %61, %62, %63"
#define TILE_REGISTERS_96 \
    "%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15, " \
    "%16, %17, %18, %19, %20, %21, %22, %23, %24, %25, %26, %27, %28, %29, %30, %31, " \
    "%32, %33, %34, %35, %36, %37, %38, %39, %40, %41, %42, %43, %44, %45, %46, %47, " \
    "%48, %49, %50, %51, %52, %53, %54, %55, %56, %57, %58, %59, %60, %61, %62, %63, " \
    "%64, %65, %66, %67, %68, %69, %70, %71, %72, %73, %74, %75, %76, %77, %78, %79, " \
    "%80, %81, %82, %83, %84, %85, %86, %87, %88, %89, %90, %91, %92, %93, %94, %95"
// clang-format on

/// c += a b^T, or = where `add` is 0: 16 columns of a and of N rows of b, both in shared memory.
template <int N>
static __device__ __forceinline__ void multiply_rows(float (&c)[N][4], MatrixAddress a,
                                                     MatrixAddress b, int add) {
    if constexpr (N == 8)
        asm volatile("{\n.reg .pred add;\nsetp.ne.b32 add, %34, 0;\n"
                     "wgmma.mma_async.sync.aligned.m64n64k16.f32.bf16.bf16 {" TILE_REGISTERS_32
                     "}, %32, %33, add, 1, 1, 0, 0;\n}"
                     : TILE_32(c, 0)
                     : "l"(a), "l"(b), "r"(add));
    else if constexpr (N == 12)
        asm volatile("{\n.reg .pred add;\nsetp.ne.b32 add, %50, 0;\n"
                     "wgmma.mma_async.sync.aligned.m64n96k16.f32.bf16.bf16 {" TILE_REGISTERS_48
                     "}, %48, %49, add, 1, 1, 0, 0;\n}"
                     : TILE_48(c, 0)
                     : "l"(a), "l"(b), "r"(add));
    else if constexpr (N == 16)
        asm volatile("{\n.reg .pred add;\nsetp.ne.b32 add, %66, 0;\n"
                     "wgmma.mma_async.sync.aligned.m64n128k16.f32.bf16.bf16 {" TILE_REGISTERS_64
                     "}, %64, %65, add, 1, 1, 0, 0;\n}"
                     : TILE_64(c, 0)
                     : "l"(a), "l"(b), "r"(add));
    else
        static_assert(N == 8, "no product of so many columns");
}

/// c += a b: 16 columns of a, in registers, and as many rows of b, of N columns, in shared memory.
template <int N>
static __device__ __forceinline__ void multiply_columns(float (&c)[N][4], const unsigned (&a)[4],
                                                        MatrixAddress b) {
    if constexpr (N == 8)
        asm volatile("{\n.reg .pred add;\nsetp.ne.b32 add, 1, 0;\n"
                     "wgmma.mma_async.sync.aligned.m64n64k16.f32.bf16.bf16 {" TILE_REGISTERS_32
                     "}, {%32, %33, %34, %35}, %36, add, 1, 1, 1;\n}"
                     : TILE_32(c, 0)
                     : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b));
    else if constexpr (N == 16)
        asm volatile("{\n.reg .pred add;\nsetp.ne.b32 add, 1, 0;\n"
                     "wgmma.mma_async.sync.aligned.m64n128k16.f32.bf16.bf16 {" TILE_REGISTERS_64
                     "}, {%64, %65, %66, %67}, %68, add, 1, 1, 1;\n}"
                     : TILE_64(c, 0)
                     : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b));
    else if constexpr (N == 24)
        asm volatile("{\n.reg .pred add;\nsetp.ne.b32 add, 1, 0;\n"
                     "wgmma.mma_async.sync.aligned.m64n192k16.f32.bf16.bf16 {" TILE_REGISTERS_96
                     "}, {%96, %97, %98, %99}, %100, add, 1, 1, 1;\n}"
                     : TILE_96(c, 0)
                     : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b));
    else
        static_assert(N == 8, "no product of so many columns");
}

#undef TILE_4
#undef TILE_16
#undef TILE_32
#undef TILE_48
#undef TILE_64
#undef TILE_96
#undef TILE_REGISTERS_32
#undef TILE_REGISTERS_48
#undef TILE_REGISTERS_64
#undef TILE_REGISTERS_96

#else

static inline unsigned shared_address(const void *pointer) {
    return cuda_on_cpu_shared_address(pointer);
}
static inline void barrier_open(uint64_t *barrier, unsigned arrivals) {
    cuda_on_cpu_barrier_open(barrier, arrivals);
}
static inline void barrier_arrive(uint64_t *barrier) { cuda_on_cpu_barrier_arrive(barrier); }
static inline void barrier_arrive_with_copies(uint64_t *barrier) {
    cuda_on_cpu_barrier_arrive_with_copies(barrier);
}
static inline void barrier_wait(uint64_t *barrier, unsigned parity) {
    cuda_on_cpu_barrier_wait(barrier, parity);
}
static inline void show_to_products() { cuda_on_cpu_show_to_products(); }
template <int N> static inline void take_registers() { cuda_on_cpu_set_registers(N); }
template <int N> static inline void give_registers() { cuda_on_cpu_set_registers(N); }
static inline void products_begin() { cuda_on_cpu_products_begin(); }
static inline void products_commit() { cuda_on_cpu_products_commit(); }
template <int N> static inline void products_wait() { cuda_on_cpu_products_wait(N); }
template <int N> static inline void tile_changed(float (&)[N][4]) {}
template <int N>
static inline void multiply_rows(float (&c)[N][4], MatrixAddress a, MatrixAddress b, int add) {
    static_assert(N == 8 || N == 12 || N == 16, "no product of so many columns");
    cuda_on_cpu_wgmma(c[0], 8 * N, nullptr, a, b, add);
}
template <int N>
static inline void multiply_columns(float (&c)[N][4], const unsigned (&a)[4], MatrixAddress b) {
    static_assert(N == 8 || N == 16 || N == 24, "no product of so many columns");
    cuda_on_cpu_wgmma(c[0], 8 * N, a, 0, b, true);
}
#endif
