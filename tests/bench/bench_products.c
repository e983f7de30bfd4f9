// rooms: ops autograd
// The processor's own product with a large BFLOAT16 matrix (ops/cpu/bfloat16_product.h) beside the product library's, in turns, each time
// with another matrix, so that it comes from memory as a layer's does. From 616 rows of a 7B model down to the smallest product that it takes.
//
//   bench_products [--threads N] [--repeat 9]
//
// Prints medians in GFLOP/s, for a W^T ("forward") and a W ("gradient"), and the ratio of the medians. Nothing where the library is used.
#include "bench.h"
#include "ops/cpu/bfloat16_product.h"

enum { MATRICES = 8, MOST_REPEATS = 1000 };

static const struct {
    const char *name;
    int64_t m, k, n;
} shapes[] = {
    {"LLM 616 x 4096 -> 4096", 616, 4096, 4096},
    {"LLM 616 x 4096 -> 11008", 616, 4096, 11008},
    {"LLM 616 x 11008 -> 4096", 616, 11008, 4096},
    {"CLIP 577 x 1024 -> 4096", 577, 1024, 4096},
    {"CLIP 577 x 4096 -> 1024", 577, 4096, 1024},
    {"U-Net 2304 x 320 -> 2560", 2304, 320, 2560},
    {"U-Net 144 x 1280 -> 10240", 144, 1280, 10240},
    {"64 x 4096 -> 4096", 64, 4096, 4096},
    {"80 x 512 -> 512", 80, 512, 512},
};

static uint16_t *random_values(int64_t count, uint64_t seed) {
    uint16_t *values = checked_malloc((size_t)count * sizeof *values);
    for (int64_t i = 0; i < count; i++) {
        seed = seed * 6364136223846793005u + 1442695040888963407u;
        values[i] = float_to_bfloat16((float)(int32_t)(seed >> 32) * 0x1p-31f);
    }
    return values;
}

/// GFLOP/s of ours and of the library's; false where ours is not used.
static bool measure(const Matmul *shape, int repeats, Device *device, double speeds[2]) {
    uint16_t *a = random_values(shape->m * shape->k, 1), *b[MATRICES];
    uint16_t *c = checked_malloc((size_t)(shape->m * shape->n) * sizeof *c);
    for (int i = 0; i < MATRICES; i++) b[i] = random_values(shape->k * shape->n, (uint64_t)i + 2);
    double times[2][MOST_REPEATS];
    bool used = true;
    for (int i = -2; i < repeats && used; i++) // two that do not count
        for (int library = 0; library < 2 && used; library++) {
            const uint16_t *matrix = b[(2 * (i + 2) + library) % MATRICES];
            double begin = bench_now();
            if (library)
                onednn_matmul(shape, a, matrix, NULL, c);
            else
                used = bfloat16_product(shape, a, matrix, NULL, c, device);
            if (i >= 0) times[library][i] = bench_now() - begin;
        }
    double flops = 2.0 * (double)shape->m * (double)shape->n * (double)shape->k;
    for (int library = 0; library < 2 && used; library++)
        speeds[library] = flops / bench_median(times[library], repeats) * 1e-9;
    for (int i = 0; i < MATRICES; i++) free(b[i]);
    free(a);
    free(c);
    return used;
}

int main(int argc, char **argv) {
    int threads = 0, repeats = 9;
    for (int i = 1; i < argc; i++) {
        if (!strcmp(argv[i], "--threads") && i + 1 < argc)
            threads = atoi(argv[++i]);
        else if (!strcmp(argv[i], "--repeat") && i + 1 < argc)
            repeats = atoi(argv[++i]);
        else
            repeats = 0;
    }
    if (repeats < 1 || repeats > MOST_REPEATS) {
        fprintf(stderr, "see the first lines of tests/bench/bench_products.c\n");
        return 2;
    }
    Device *device = bench_device("cpu", threads);
    if (!onednn_has_bfloat16()) {
        fprintf(stderr, "bench_products: this processor does not multiply in bfloat16\n");
        return 1;
    }
    printf("%-28s %-9s %8s %8s %6s\n", "", "", "ours", "oneDNN", "ratio");
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++)
        for (int gradient = 0; gradient < 2; gradient++) {
            Matmul shape = {.m = shapes[i].m,
                            .n = gradient ? shapes[i].k : shapes[i].n,
                            .k = gradient ? shapes[i].n : shapes[i].k,
                            .type = BFLOAT16,
                            .c_type = BFLOAT16,
                            .b_transposed = !gradient};
            double speeds[2];
            printf("%-28s %-9s ", shapes[i].name, gradient ? "gradient" : "forward");
            if (measure(&shape, repeats, device, speeds))
                printf("%8.1f %8.1f %6.2f\n", speeds[0], speeds[1], speeds[0] / speeds[1]);
            else
                printf("%8s\n", "oneDNN's is used");
            fflush(stdout);
        }
}
