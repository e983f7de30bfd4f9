// rooms: ops autograd
// The processor's own products of floats with a large matrix (ops/cpu/products/float32_product.h)
// beside the product library's, in turns, each time with another matrix, so that it comes from
// memory as a layer's does. "widened": BFLOAT16 weights and activations on a processor that
// multiplies floats only; the library's side converts all of them first.
//
//   bench_float_products [--threads N] [--processor-time] [--repeat 9] [--only TEXT]
//   [float32|widened]
//
// --only: the shapes with this in their name. --processor-time: one thread, and the time it had a
// processor for. Prints medians in GFLOP/s, for a W^T ("forward") and a W ("gradient"), and the
// ratio of the medians; nothing where the library is used. DIFFLMM_CPU_LEVEL=v3 or v4: as a
// processor without BFLOAT16 does it.
#include "bench.h"
#include "ops/cpu/converted.h"
#include "ops/cpu/products/float32_product.h"
#include "products_in_turns.h"

/// in the name of what is measured
static const char *only = "";

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
    {"tiny 3200 x 160 -> 160", 3200, 160, 160},
    {"tiny 3200 x 160 -> 448", 3200, 160, 448},
};

typedef enum Kind { FLOAT32_BY_FLOAT32, WIDENED, KINDS } Kind;
static const char *const kind_names[KINDS] = {"float32", "widened"};

typedef struct Linear {
    Kind kind;
    Matmul shape;
    void *a, *b[MATRICES], *c;
    Device *device;
} Linear;

static DType stored_type(Kind kind) { return kind == FLOAT32_BY_FLOAT32 ? FLOAT32 : BFLOAT16; }

/// The library's way with BFLOAT16 where it multiplies floats only.
static void multiply_converted(const Linear *l, const void *b) {
    Matmul shape = l->shape;
    int64_t sizes[] = {shape.m * shape.k, shape.k * shape.n, shape.m * shape.n};
    float *floats[3];
    for (int i = 0; i < 3; i++)
        floats[i] = l->device->allocate(l->device, (size_t)sizes[i] * sizeof(float));
    convert_elements(l->a, BFLOAT16, FLOAT32, sizes[0], floats[0]);
    convert_elements(b, BFLOAT16, FLOAT32, sizes[1], floats[1]);
    shape.c_type = FLOAT32;
    onednn_matmul(&shape, floats[0], floats[1], NULL, floats[2]);
    convert_elements(floats[2], FLOAT32, BFLOAT16, sizes[2], l->c);
    for (int i = 0; i < 3; i++)
        l->device->release(l->device, floats[i], (size_t)sizes[i] * sizeof(float));
}

static bool multiply(void *context, bool library, int which) {
    Linear *l = context;
    const void *b = l->b[which];
    DType type = stored_type(l->kind);
    if (!library)
        return float32_product(&l->shape, (ProductMatrix){l->a, type}, (ProductMatrix){b, type},
                               NULL, l->c, l->device);
    if (l->kind == WIDENED)
        multiply_converted(l, b);
    else
        onednn_matmul(&l->shape, l->a, b, NULL, l->c);
    return true;
}

static void *random_matrix(Kind kind, int64_t count, uint64_t seed) {
    uint16_t *values = random_values(count, seed);
    if (stored_type(kind) == BFLOAT16) return values;
    float *floats = checked_malloc((size_t)count * sizeof *floats);
    convert_elements(values, BFLOAT16, FLOAT32, count, floats);
    free(values);
    return floats;
}

static void compare_linear(const char *name, Kind kind, const Matmul *shape, int repeats,
                           Device *device) {
    int64_t m = shape->m, n = shape->n, k = shape->k;
    Linear l = {kind,  *shape, random_matrix(kind, m * k, 1), {0}, random_matrix(kind, m * n, 1),
                device};
    for (int i = 0; i < MATRICES; i++) l.b[i] = random_matrix(kind, k * n, (uint64_t)i + 2);
    print_comparison(name, shape->b_transposed ? FORWARD : GRADIENT,
                     2.0 * (double)m * (double)n * (double)k, multiply, &l, repeats);
    for (int i = 0; i < MATRICES; i++) free(l.b[i]);
    free(l.a);
    free(l.c);
}

static void compare_linears(Kind kind, int repeats, Device *device) {
    printf("%s\n", kind_names[kind]);
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++)
        for (int gradient = 0; gradient < 2 && strstr(shapes[i].name, only); gradient++) {
            Matmul shape = {.m = shapes[i].m,
                            .n = gradient ? shapes[i].k : shapes[i].n,
                            .k = gradient ? shapes[i].n : shapes[i].k,
                            .type = FLOAT32,
                            .c_type = stored_type(kind),
                            .b_transposed = !gradient};
            compare_linear(shapes[i].name, kind, &shape, repeats, device);
        }
}

int main(int argc, char **argv) {
    int threads = 0, repeats = 9;
    const char *family = NULL;
    for (int i = 1; i < argc; i++) {
        if (!strcmp(argv[i], "--threads") && i + 1 < argc)
            threads = atoi(argv[++i]);
        else if (!strcmp(argv[i], "--only") && i + 1 < argc)
            only = argv[++i];
        else if (!strcmp(argv[i], "--processor-time"))
            threads = 1, bench_clock = CLOCK_THREAD_CPUTIME_ID;
        else if (!strcmp(argv[i], "--repeat") && i + 1 < argc)
            repeats = atoi(argv[++i]);
        else if (argv[i][0] != '-')
            family = argv[i];
        else
            repeats = 0;
    }
    if (repeats < 1 || repeats > MOST_REPEATS) {
        fprintf(stderr, "see the first lines of tests/bench/bench_float_products.c\n");
        return 2;
    }
    Device *device = bench_device("cpu", threads);
    printf("kernels: %s\n", device->kernels->name);
    printf("%-28s %-9s %8s %8s %6s\n", "", "", "ours", "oneDNN", "ratio");
    for (Kind kind = 0; kind < KINDS; kind++)
        if (!family || !strcmp(family, kind_names[kind])) compare_linears(kind, repeats, device);
    return 0;
}
