// rooms: ops autograd
// How fast the processor multiplies at best: the instruction alone, no memory. Of bfloat16 (in
// tiles where it has them, otherwise AVX512_BF16's) and of floats (fused multiply-adds of the
// widest vectors).
//
//   bench_instruction [--threads N] [--processor-time] [--seconds 0.5]
//
// --processor-time: one thread, and the time it had a processor for. Prints a line for each,
// GFLOP/s of all threads together. What else runs on the cores changes it from minute to minute:
// measure it between what is held to it.
#include "bench.h"
#include "ops/cpu/amx/tiles.h"
#include "ops/cpu/onednn.h"

#include <omp.h>

#ifdef __x86_64__
#include <immintrin.h>

/// Does `rounds` rounds; returns the operations of one.
typedef double (*Rounds)(int64_t rounds);

/// Keeps what was computed. Sums begin with different numbers: equal ones would be one.
static volatile float sink;

enum { SUMS = 24, SUMS_AVX2 = 12 };

__attribute__((target("avx512f,avx512bf16"))) static double bfloat16_rounds(int64_t rounds) {
    __m512 sum[SUMS];
    __m512bh left = (__m512bh)_mm512_set1_epi32((int)sink), right = left;
#pragma GCC unroll 24
    for (int i = 0; i < SUMS; i++) sum[i] = _mm512_set1_ps((float)i);
    for (int64_t round = 0; round < rounds; round++) {
#pragma GCC unroll 24
        for (int i = 0; i < SUMS; i++) sum[i] = _mm512_dpbf16_ps(sum[i], left, right);
    }
#pragma GCC unroll 24
    for (int i = 0; i < SUMS; i++) sink = _mm512_reduce_add_ps(sum[i]);
    return SUMS * 16 * 2 * 2;
}

__attribute__((target("avx512f"))) static double avx512_rounds(int64_t rounds) {
    __m512 sum[SUMS], left = _mm512_set1_ps(sink), right = left;
#pragma GCC unroll 24
    for (int i = 0; i < SUMS; i++) sum[i] = _mm512_set1_ps((float)i);
    for (int64_t round = 0; round < rounds; round++) {
#pragma GCC unroll 24
        for (int i = 0; i < SUMS; i++) sum[i] = _mm512_fmadd_ps(left, right, sum[i]);
    }
#pragma GCC unroll 24
    for (int i = 0; i < SUMS; i++) sink = _mm512_reduce_add_ps(sum[i]);
    return SUMS * 16 * 2;
}

__attribute__((target("avx2,fma"))) static double avx2_rounds(int64_t rounds) {
    __m256 sum[SUMS_AVX2], left = _mm256_set1_ps(sink), right = left;
#pragma GCC unroll 12
    for (int i = 0; i < SUMS_AVX2; i++) sum[i] = _mm256_set1_ps((float)i);
    for (int64_t round = 0; round < rounds; round++) {
#pragma GCC unroll 12
        for (int i = 0; i < SUMS_AVX2; i++) sum[i] = _mm256_fmadd_ps(left, right, sum[i]);
    }
#pragma GCC unroll 12
    for (int i = 0; i < SUMS_AVX2; i++) sink = _mm256_cvtss_f32(sum[i]);
    return SUMS_AVX2 * 8 * 2;
}

static double tile_rounds(int64_t rounds) {
    tiles_begin(&whole_tiles);
    TILE_ZERO(0);
    TILE_ZERO(1);
    TILE_ZERO(2);
    TILE_ZERO(3);
    TILE_ZERO(4);
    TILE_ZERO(5);
    TILE_ZERO(6);
    TILE_ZERO(7);
    for (int64_t round = 0; round < rounds; round++) {
        TILE_MULTIPLY(0, 4, 6);
        TILE_MULTIPLY(1, 4, 7);
        TILE_MULTIPLY(2, 5, 6);
        TILE_MULTIPLY(3, 5, 7);
    }
    tiles_end();
    return 4 * 16 * 16 * 32 * 2;
}

/// Operations a second of all threads, median over turns of about a tenth of `seconds`.
static double rate(Rounds run, double seconds) {
    enum { TURNS = 10 };
    int64_t rounds = 1 << 12;
    double times[TURNS], each = 0, begin = bench_now();
    int threads = omp_get_max_threads();
    for (run(rounds); bench_now() - begin < seconds / TURNS / 2; rounds *= 2) {
        begin = bench_now();
        run(rounds);
    }
    for (int turn = 0; turn < TURNS; turn++) {
        begin = bench_now();
#pragma omp parallel num_threads(threads) reduction(max : each)
        each = run(rounds);
        times[turn] = bench_now() - begin;
    }
    return each * (double)rounds * threads / bench_median(times, TURNS);
}

static void print_rate(const char *type, const char *name, Rounds run, double seconds) {
    printf("%-9s %-28s %9.1f GFLOP/s, %d threads\n", type, name, rate(run, seconds) * 1e-9,
           omp_get_max_threads());
    fflush(stdout);
}

static void measure(double seconds) {
    if (amx_is_available())
        print_rate("bfloat16", "tiles", tile_rounds, seconds);
    else if (onednn_has_bfloat16())
        print_rate("bfloat16", "AVX512_BF16", bfloat16_rounds, seconds);
    if (onednn_has_avx512())
        print_rate("float32", "AVX-512", avx512_rounds, seconds);
    else if (onednn_has_avx2())
        print_rate("float32", "AVX2", avx2_rounds, seconds);
}
#else
static void measure(double seconds) { (void)seconds; }
#endif

int main(int argc, char **argv) {
    int threads = 0;
    double seconds = 0.5;
    for (int i = 1; i < argc; i++) {
        if (!strcmp(argv[i], "--threads") && i + 1 < argc) {
            threads = atoi(argv[++i]);
        } else if (!strcmp(argv[i], "--seconds") && i + 1 < argc) {
            seconds = atof(argv[++i]);
        } else if (!strcmp(argv[i], "--processor-time")) {
            threads = 1, bench_clock = CLOCK_THREAD_CPUTIME_ID;
        } else {
            fprintf(stderr, "bench_instruction: unknown option %s\n", argv[i]);
            return 2;
        }
    }
    bench_device("cpu", threads);
    measure(seconds);
    return 0;
}
