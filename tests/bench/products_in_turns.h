/// Inside the benchmarks of products: ours beside the product library's, in turns.
#pragma once
#include "bench.h"

enum { MATRICES = 8, MOST_REPEATS = 1000 };

static uint16_t *random_values(int64_t count, uint64_t seed) {
    uint16_t *values = checked_malloc((size_t)count * sizeof *values);
    for (int64_t i = 0; i < count; i++) {
        seed = seed * 6364136223846793005u + 1442695040888963407u;
        values[i] = float_to_bfloat16((float)(int32_t)(seed >> 32) * 0x1p-31f);
    }
    return values;
}

/// One of the two, with matrix number `which` of MATRICES; false where ours is not used.
typedef bool (*Call)(void *context, bool library, int which);

/// Median seconds of ours and of the library's, in turns.
static bool measure(Call call, void *context, int repeats, double seconds[2]) {
    double times[2][MOST_REPEATS];
    for (int i = -2; i < repeats; i++) // two that do not count
        for (int library = 0; library < 2; library++) {
            double begin = bench_now();
            if (!call(context, library, (2 * (i + 2) + library) % MATRICES)) return false;
            if (i >= 0) times[library][i] = bench_now() - begin;
        }
    for (int library = 0; library < 2; library++)
        seconds[library] = bench_median(times[library], repeats);
    return true;
}

/// What a layer computes.
typedef enum Pass { FORWARD, GRADIENT, WEIGHTS, PASSES } Pass;
static const char *const pass_names[] = {"forward", "gradient", "weights"};

static void print_comparison(const char *name, Pass pass, double flops, Call call, void *context,
                             int repeats) {
    double seconds[2];
    printf("%-28s %-9s ", name, pass_names[pass]);
    if (measure(call, context, repeats, seconds))
        printf("%8.1f %8.1f %6.2f\n", flops / seconds[0] * 1e-9, flops / seconds[1] * 1e-9,
               seconds[1] / seconds[0]);
    else
        printf("%8s\n", "oneDNN's is used");
    fflush(stdout);
}
