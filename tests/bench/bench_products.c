// rooms: ops autograd
// The level's own product with a large BFLOAT16 matrix (ops/cpu/product.h) beside the
// product library's, in turns, each time with another matrix, so that it comes from memory as a
// layer's does. From 616 rows of a 7B model down to the smallest product that it takes. Then
// convolutions with a large filter as products (ops/cpu/convolution_product.h) beside the
// library's, which packs the filter.
//
//   bench_products [--threads N] [--repeat 9] [linear|conv2d]
//
// Prints medians in GFLOP/s, for a W^T ("forward") and a W ("gradient"), and the ratio of the
// medians. Nothing where the library is used.
#include "bench.h"
#include "ops/cpu/convolution_product.h"
#include "ops/cpu/product.h"

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
    {"40 x 4096 -> 11008", 40, 4096, 11008},
    {"40 x 4096 -> 32000", 40, 4096, 32000},
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

static void print_comparison(const char *name, bool gradient, double flops, Call call,
                             void *context, int repeats) {
    double seconds[2];
    printf("%-28s %-9s ", name, gradient ? "gradient" : "forward");
    if (measure(call, context, repeats, seconds))
        printf("%8.1f %8.1f %6.2f\n", flops / seconds[0] * 1e-9, flops / seconds[1] * 1e-9,
               seconds[1] / seconds[0]);
    else
        printf("%8s\n", "oneDNN's is used");
    fflush(stdout);
}

// ---- linear layers

typedef struct Linear {
    Matmul shape;
    uint16_t *a, *b[MATRICES], *c;
    Device *device;
} Linear;

static bool multiply(void *context, bool library, int which) {
    Linear *l = context;
    if (!library)
        return own_product()->multiply(&l->shape, l->a, l->b[which], NULL, l->c, l->device);
    onednn_matmul(&l->shape, l->a, l->b[which], NULL, l->c);
    return true;
}

static void compare_linear(const char *name, const Matmul *shape, int repeats, Device *device) {
    int64_t m = shape->m, n = shape->n, k = shape->k;
    Linear l = {*shape, random_values(m * k, 1), {0}, random_values(m * n, 1), device};
    for (int i = 0; i < MATRICES; i++) l.b[i] = random_values(k * n, (uint64_t)i + 2);
    print_comparison(name, !shape->b_transposed, 2.0 * (double)m * (double)n * (double)k, multiply,
                     &l, repeats);
    for (int i = 0; i < MATRICES; i++) free(l.b[i]);
    free(l.a);
    free(l.c);
}

static void compare_linears(int repeats, Device *device) {
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++)
        for (int gradient = 0; gradient < 2; gradient++) {
            Matmul shape = {.m = shapes[i].m,
                            .n = gradient ? shapes[i].k : shapes[i].n,
                            .k = gradient ? shapes[i].n : shapes[i].k,
                            .type = BFLOAT16,
                            .c_type = BFLOAT16,
                            .b_transposed = !gradient};
            compare_linear(shapes[i].name, &shape, repeats, device);
        }
}

// ---- convolutions

static const struct {
    int64_t batch, size, in, out, kernel;
} convolutions[] = {
    {2, 12, 1280, 1280, 3}, {1, 16, 1280, 1280, 3}, {1, 12, 640, 1280, 3},  {1, 12, 1280, 1280, 3},
    {1, 12, 1920, 1280, 3}, {1, 12, 2560, 1280, 3}, {1, 12, 2560, 1280, 1}, {1, 8, 1280, 1280, 3},
    {1, 8, 2560, 1280, 3},  {1, 6, 1280, 1280, 3},  {1, 6, 2560, 1280, 3},  {1, 6, 2560, 1280, 1},
};

typedef struct Filtered {
    Convolution shape;
    uint16_t *x, *y;
    Tensor *filters[MATRICES];
    bool gradient;
    Device *device;
} Filtered;

static bool convolve(void *context, bool library, int which) {
    Filtered *f = context;
    Tensor *filter = f->filters[which];
    if (!library && f->gradient)
        return convolution_product_input_gradient(&f->shape, f->y, filter->data, f->x, f->device);
    if (!library) return convolution_product(&f->shape, f->x, filter->data, NULL, f->y, f->device);
    if (f->gradient)
        onednn_convolution_input_gradient(&f->shape, f->y, filter, f->x);
    else
        onednn_convolution(&f->shape, f->x, filter, NULL, f->y);
    return true;
}

static void compare_convolutions(int repeats, Device *device) {
    for (size_t i = 0; i < sizeof convolutions / sizeof *convolutions; i++) {
        int64_t batch = convolutions[i].batch, size = convolutions[i].size;
        int64_t in = convolutions[i].in, out = convolutions[i].out;
        int64_t kernel = convolutions[i].kernel, pixels = batch * size * size;
        int pad = (int)kernel / 2;
        scope_begin();
        Filtered f = {{BFLOAT16,
                       batch,
                       size,
                       size,
                       in,
                       size,
                       size,
                       out,
                       kernel,
                       kernel,
                       {1, pad, pad, pad, pad}},
                      random_values(pixels * in, 1),
                      random_values(pixels * out, 1),
                      {0},
                      false,
                      device};
        for (int m = 0; m < MATRICES; m++) {
            uint16_t *values = random_values(out * kernel * kernel * in, (uint64_t)m + 2);
            f.filters[m] =
                tensor_from_host(device, BFLOAT16, SHAPE(out, kernel, kernel, in), values);
            free(values);
        }
        char name[64];
        snprintf(name, sizeof name, "%d x %d^2 %d -> %d, %dx%d", (int)batch, (int)size, (int)in,
                 (int)out, (int)kernel, (int)kernel);
        double flops = 2.0 * (double)(pixels * out * kernel * kernel * in);
        for (int gradient = 0; gradient < 2; gradient++) {
            f.gradient = gradient;
            print_comparison(name, gradient, flops, convolve, &f, repeats);
        }
        scope_end();
        free(f.x);
        free(f.y);
    }
}

int main(int argc, char **argv) {
    int threads = 0, repeats = 9;
    const char *family = NULL;
    for (int i = 1; i < argc; i++) {
        if (!strcmp(argv[i], "--threads") && i + 1 < argc)
            threads = atoi(argv[++i]);
        else if (!strcmp(argv[i], "--repeat") && i + 1 < argc)
            repeats = atoi(argv[++i]);
        else if (argv[i][0] != '-')
            family = argv[i];
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
    if (!family || !strcmp(family, "linear")) compare_linears(repeats, device);
    if (!family || !strcmp(family, "conv2d")) compare_convolutions(repeats, device);
}
