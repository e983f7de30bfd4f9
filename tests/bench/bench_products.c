// rooms: ops autograd
// The level's own product with a large BFLOAT16 matrix (ops/cpu/products/product.h) beside the
// product library's, in turns, each time with another matrix, so that it comes from memory as a
// layer's does. From 616 rows of a 7B model down to the smallest product that it takes. Then those
// with small frozen matrices, of which the library is given its own packed copies, as
// ops/cpu/linear.c does; and the level's own convolutions with a large filter
// (ops/cpu/convolution/convolution.h) beside the library's, which packs the filter.
//
//   bench_products [--threads N] [--repeat 9] [linear|prepared|conv2d]
//
// Prints the level, then medians in GFLOP/s, for a W^T ("forward"), a W ("gradient") and, of what
// is trained, W += grad_y^T x ("weights"), and the ratio of the medians. Nothing where the library
// is used.
#include "bench.h"
#include "ops/cpu/convolution/convolution.h"
#include "ops/cpu/products/product.h"
#include "products_in_turns.h"

typedef struct Layer {
    const char *name;
    int64_t m, k, n;
    bool trained;
} Layer;

static const Layer layers[] = {
    {"LLM 616 x 4096 -> 4096", 616, 4096, 4096, false},
    {"LLM 616 x 4096 -> 11008", 616, 4096, 11008, true},
    {"LLM 616 x 11008 -> 4096", 616, 11008, 4096, false},
    {"LoRA 616 x 4096 -> 128", 616, 4096, 128, true},
    {"LoRA 616 x 128 -> 11008", 616, 128, 11008, true},
    {"LoRA 616 x 4096 -> 8", 616, 4096, 8, true},
    {"LoRA 616 x 8 -> 4096", 616, 8, 4096, true},
    {"CLIP 577 x 1024 -> 4096", 577, 1024, 4096, false},
    {"CLIP 577 x 4096 -> 1024", 577, 4096, 1024, false},
    {"U-Net 2304 x 320 -> 2560", 2304, 320, 2560, false},
    {"U-Net 144 x 1280 -> 10240", 144, 1280, 10240, false},
    {"64 x 4096 -> 4096", 64, 4096, 4096, false},
    {"40 x 4096 -> 11008", 40, 4096, 11008, false},
    {"40 x 4096 -> 32000", 40, 4096, 32000, true},
    {"80 x 512 -> 512", 80, 512, 512, true},
    {"tiny 3200 x 160 -> 160", 3200, 160, 160, true},
};

static const Layer small_layers[] = {
    {"U-Net 2304 x 320 -> 320", 2304, 320, 320, false},
    {"U-Net 576 x 640 -> 640", 576, 640, 640, false},
    {"CLIP 577 x 512 -> 1024", 577, 512, 1024, false},
    {"tiny 3200 x 160 -> 160", 3200, 160, 160, false},
    {"tiny 3200 x 160 -> 448", 3200, 160, 448, false},
};

// ---- linear layers

typedef struct Linear {
    Matmul shape;
    uint16_t *a, *b[MATRICES];
    /// the same, of which the library keeps packed copies
    Tensor *prepared[MATRICES];
    void *c;
    Device *device;
} Linear;

static bool multiply(void *context, bool library, int which) {
    Linear *l = context;
    if (!library)
        return own_product()->multiply(&l->shape, l->a, l->b[which], NULL, l->c, l->device);
    if (l->prepared[which])
        onednn_matmul_prepared(&l->shape, l->a, l->prepared[which], NULL, l->c);
    else
        onednn_matmul(&l->shape, l->a, l->b[which], NULL, l->c);
    return true;
}

static Matmul product_of(const Layer *layer, Pass pass) {
    int64_t m = layer->m, k = layer->k, n = layer->n;
    Matmul shape = {.m = m, .n = n, .k = k, .type = BFLOAT16, .c_type = BFLOAT16};
    if (pass == FORWARD) shape.b_transposed = true;
    if (pass == GRADIENT) shape.n = k, shape.k = n;
    if (pass == WEIGHTS) {
        shape.m = n, shape.n = k, shape.k = m;
        shape.c_type = FLOAT32;
        shape.a_transposed = shape.accumulate = true;
    }
    return shape;
}

static void compare_linear(const Layer *layer, Pass pass, bool prepared, int repeats,
                           Device *device) {
    const Matmul shape = product_of(layer, pass);
    scope_begin();
    Linear l = {.shape = shape, .a = random_values(shape.m * shape.k, 1), .device = device};
    size_t c_bytes = (size_t)(shape.m * shape.n) * dtype_size(shape.c_type);
    l.c = checked_calloc(c_bytes, 1);
    for (int i = 0; i < MATRICES; i++) {
        l.b[i] = random_values(shape.k * shape.n, (uint64_t)i + 2);
        if (prepared)
            l.prepared[i] = tensor_from_host(device, BFLOAT16, SHAPE(layer->n, layer->k), l.b[i]);
    }
    double flops = 2.0 * (double)shape.m * (double)shape.n * (double)shape.k;
    print_comparison(layer->name, pass, flops, multiply, &l, repeats);
    for (int i = 0; i < MATRICES; i++) free(l.b[i]);
    free(l.a);
    free(l.c);
    scope_end();
}

static void compare_linears(int repeats, Device *device) {
    for (size_t i = 0; i < sizeof layers / sizeof *layers; i++)
        for (Pass pass = FORWARD; pass < PASSES; pass++)
            if (pass != WEIGHTS || layers[i].trained)
                compare_linear(&layers[i], pass, false, repeats, device);
}

static void compare_prepared(int repeats, Device *device) {
    printf("small frozen matrices, the library's packed once\n");
    for (size_t i = 0; i < sizeof small_layers / sizeof *small_layers; i++)
        for (Pass pass = FORWARD; pass <= GRADIENT; pass++)
            compare_linear(&small_layers[i], pass, true, repeats, device);
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
    if (!library) {
        const OwnConvolution *own = own_convolution();
        if (!own->is_used(&f->shape, f->gradient)) return false;
        if (f->gradient)
            own->input_gradient(&f->shape, f->y, filter->data, f->x, f->device);
        else
            own->forward(&f->shape, f->x, filter->data, NULL, f->y, f->device);
        return true;
    }
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
            print_comparison(name, gradient ? GRADIENT : FORWARD, flops, convolve, &f, repeats);
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
    printf("%-28s %-9s %8s %8s %6s\n", device->kernels->name, "", "ours", "oneDNN", "ratio");
    if (!family || !strcmp(family, "linear")) compare_linears(repeats, device);
    if (!family || !strcmp(family, "prepared")) compare_prepared(repeats, device);
    if (!family || !strcmp(family, "conv2d")) compare_convolutions(repeats, device);
}
