// rooms: ops autograd
// Speed of the products: linear layers, convolutions and attention, forward and input gradient, at
// the shapes of the official model and of the tiny one, in both types.
//
//   bench_ops [--quick] [--device cpu|cuda] [--threads N] [--processor-time] [--official] [--peak
//   FLOAT32 BFLOAT16] [--type float32|bfloat16] [--seconds 0.4]
//             [linear|conv2d|attention [NAME]]
//
// --processor-time: one thread, and the time it had a processor for: figures that mean something on
// a machine with other work.
// --official: not the tiny model's shapes. NAME: only shapes whose names contain it. --seconds: how
// long a measurement takes. --peak: what the device could do at best in each type, in TFLOP/s, for
// the share of it.
//
// Columns: the median over repeated runs, as GFLOP/s and milliseconds. Attention counts the
// products that the formula needs (4 per query, visible key and channel forward, 10 backward: the
// gradients of q, k and v), not what masks or padding waste.
#include "bench.h"
#include "ops/ops.h"

static Device *device;
/// without the tiny model's shapes
static bool official;
/// only shapes whose names contain this; NULL: every type
static const char *wanted = "", *wanted_type;
/// TFLOP/s by type; 0: not known
static double peaks[2];

static void print_heading(const char *family) {
    printf("\n%-34s %-9s %28s %28s\n", family, "type", "forward", "input gradient");
}

static void print_speed(DType type, double flops, double seconds) {
    printf(" %8.1f GF/s %7.3f ms", flops / seconds * 1e-9, seconds * 1e3);
    if (peaks[type] > 0)
        printf(" %4.0f%%", 100 * flops / seconds * 1e-12 / peaks[type]);
    else
        printf("      ");
}

static void print_row(const char *name, DType type, double flops, double seconds,
                      double gradient_flops, double gradient_seconds) {
    printf("%-34s %-9s", name, dtype_name(type));
    print_speed(type, flops, seconds);
    print_speed(type, gradient_flops, gradient_seconds);
    putchar('\n');
    fflush(stdout);
}

static bool left_out(const char *name, DType type) {
    if (wanted_type && strcmp(dtype_name(type), wanted_type) != 0) return true;
    return (official && !strncmp(name, "tiny", 4)) || !strstr(name, wanted);
}

/// Small numbers without structure.
static Tensor *numbers(DType type, int rank, const int64_t *shape) {
    Tensor *x = tensor_new(device, type, rank, shape);
    int64_t n = tensor_numel(x);
    float *values = checked_malloc((size_t)n * sizeof *values);
    for (int64_t i = 0; i < n; i++)
        values[i] = (float)((i * 2654435761u >> 7) % 1024) / 512.0f - 1.0f;
    tensor_fill_from_float(x, values);
    free(values);
    return x;
}

/// A weight as a loaded model has it.
static Tensor *frozen(DType type, int rank, const int64_t *shape) {
    Tensor *x = numbers(type, rank, shape);
    x->name = checked_strdup("frozen");
    return x;
}

// ---- linear

typedef struct Linear {
    Tensor *x, *weight, *y, *grad_x;
} Linear;

static void linear_forward(void *context) {
    Linear *c = context;
    kernels(c->x)->linear(c->x, c->weight, NULL, false, c->y);
}

static void linear_gradient(void *context) {
    Linear *c = context;
    kernels(c->x)->linear_input_gradient(c->y, c->weight, false, c->grad_x);
}

static void bench_linear(void) {
    static const struct {
        const char *name;
        int64_t rows, k, n;
    } shapes[] = {
        {"LLM 616 x 4096 -> 4096", 616, 4096, 4096},
        {"LLM 616 x 4096 -> 11008", 616, 4096, 11008},
        {"LLM 616 x 11008 -> 4096", 616, 11008, 4096},
        {"LLM 1 x 4096 -> 4096", 1, 4096, 4096},
        {"CLIP 577 x 1024 -> 4096", 577, 1024, 4096},
        {"U-Net 2304 x 320 -> 320", 2304, 320, 320},
        {"U-Net 2304 x 320 -> 2560", 2304, 320, 2560},
        {"U-Net 144 x 1280 -> 10240", 144, 1280, 10240},
        {"tiny LLM 3200 x 160 -> 160", 3200, 160, 160},
        {"tiny LLM 3200 x 160 -> 448", 3200, 160, 448},
        {"tiny LoRA 3200 x 160 -> 32", 3200, 160, 32},
        {"tiny LLM 1 x 160 -> 448", 1, 160, 448},
        {"tiny U-Net 2048 x 64 -> 64", 2048, 64, 64},
        {"tiny U-Net 2048 x 64 -> 512", 2048, 64, 512},
    };
    print_heading("linear");
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++)
        for (int t = 0; t < 2; t++) {
            DType type = t ? BFLOAT16 : FLOAT32;
            if (left_out(shapes[i].name, type)) continue;
            int64_t rows = shapes[i].rows, k = shapes[i].k, n = shapes[i].n;
            scope_begin();
            Linear c = {numbers(type, SHAPE(rows, k)), frozen(type, SHAPE(n, k)),
                        numbers(type, SHAPE(rows, n)), numbers(type, SHAPE(rows, k))};
            double flops = 2.0 * (double)(rows * k * n);
            double forward = bench_measure(device, linear_forward, &c),
                   gradient = bench_measure(device, linear_gradient, &c);
            print_row(shapes[i].name, type, flops, forward, flops, gradient);
            scope_end();
        }
}

// ---- convolution

typedef struct Convolution {
    Tensor *x, *weight, *y, *grad_x;
    Conv2d shape;
} Convolution;

static void conv2d_forward(void *context) {
    Convolution *c = context;
    kernels(c->x)->conv2d(c->x, c->weight, NULL, &c->shape, c->y);
}

static void conv2d_gradient(void *context) {
    Convolution *c = context;
    kernels(c->x)->conv2d_input_gradient(c->y, c->weight, &c->shape, c->grad_x);
}

static void bench_conv2d(void) {
    static const struct {
        const char *name;
        int64_t batch, size, in, out, kernel;
        Conv2d shape;
    } shapes[] = {
        {"VAE 384^2 3 -> 128", 1, 384, 3, 128, 3, {1, 1, 1, 1, 1}},
        {"VAE 384^2 128 -> 128", 1, 384, 128, 128, 3, {1, 1, 1, 1, 1}},
        {"VAE 384^2 128, stride 2", 1, 384, 128, 128, 3, {2, 0, 0, 1, 1}},
        {"VAE 96^2 512 -> 512", 1, 96, 512, 512, 3, {1, 1, 1, 1, 1}},
        {"VAE 48^2 512 -> 8", 1, 48, 512, 8, 3, {1, 1, 1, 1, 1}},
        {"U-Net 48^2 4 -> 320", 1, 48, 4, 320, 3, {1, 1, 1, 1, 1}},
        {"U-Net 48^2 320 -> 320", 1, 48, 320, 320, 3, {1, 1, 1, 1, 1}},
        {"U-Net 48^2 320, stride 2", 1, 48, 320, 320, 3, {2, 1, 1, 1, 1}},
        {"U-Net 24^2 640 -> 640", 1, 24, 640, 640, 3, {1, 1, 1, 1, 1}},
        {"U-Net 12^2 1280 -> 1280", 1, 12, 1280, 1280, 3, {1, 1, 1, 1, 1}},
        {"U-Net 6^2 2560 -> 1280", 1, 6, 2560, 1280, 3, {1, 1, 1, 1, 1}},
        {"U-Net 12^2 2560 -> 1280, 1x1", 1, 12, 2560, 1280, 1, {1, 0, 0, 0, 0}},
        {"CLIP patches 336^2 3 -> 1024", 1, 336, 3, 1024, 14, {14, 0, 0, 0, 0}},
        {"SAM patches 1024^2 3 -> 768", 1, 1024, 3, 768, 16, {16, 0, 0, 0, 0}},
        {"SAM 64^2 256 -> 256", 1, 64, 256, 256, 3, {1, 1, 1, 1, 1}},
        {"SAM mask 256^2 1 -> 4", 1, 256, 1, 4, 2, {2, 0, 0, 0, 0}},
        {"SAM mask 128^2 4 -> 16", 1, 128, 4, 16, 2, {2, 0, 0, 0, 0}},
        {"tiny CLIP patches 32 x 112^2", 32, 112, 3, 128, 14, {14, 0, 0, 0, 0}},
        {"tiny VAE 32 x 128^2 16 -> 16", 32, 128, 16, 16, 3, {1, 1, 1, 1, 1}},
        {"tiny U-Net 32 x 16^2 32 -> 32", 32, 16, 32, 32, 3, {1, 1, 1, 1, 1}},
        {"tiny U-Net 32 x 8^2 64 -> 64", 32, 8, 64, 64, 3, {1, 1, 1, 1, 1}},
    };
    print_heading("conv2d");
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++)
        for (int t = 0; t < 2; t++) {
            DType type = t ? BFLOAT16 : FLOAT32;
            if (left_out(shapes[i].name, type)) continue;
            int64_t size = shapes[i].size, kernel = shapes[i].kernel, batch = shapes[i].batch;
            int64_t in = shapes[i].in, out = shapes[i].out;
            Conv2d shape = shapes[i].shape;
            int64_t to = (size + shape.pad_top + shape.pad_bottom - kernel) / shape.stride + 1;
            scope_begin();
            Convolution c = {
                numbers(type, SHAPE(batch, size, size, in)),
                frozen(type, SHAPE(out, kernel, kernel, in)),
                numbers(type, SHAPE(batch, to, to, out)),
                numbers(type, SHAPE(batch, size, size, in)),
                shape,
            };
            double flops = 2.0 * (double)(batch * to * to * out * kernel * kernel * in);
            double forward = bench_measure(device, conv2d_forward, &c),
                   gradient = bench_measure(device, conv2d_gradient, &c);
            print_row(shapes[i].name, type, flops, forward, flops, gradient);
            scope_end();
        }
}

// ---- attention

typedef struct AttentionRun {
    Tensor *q, *k, *v, *y, *log_sum_exp, *grad_q, *grad_k, *grad_v;
    Attention shape;
} AttentionRun;

static void attention_forward(void *context) {
    AttentionRun *c = context;
    kernels(c->q)->attention(c->q, c->k, c->v, &c->shape, c->y, c->log_sum_exp);
}

static void attention_gradient(void *context) {
    AttentionRun *c = context;
    kernels(c->q)->attention_gradient(c->q, c->k, c->v, c->y, c->log_sum_exp, c->q, &c->shape,
                                      c->grad_q, c->grad_k, c->grad_v);
}

static void bench_attention(void) {
    static const struct {
        const char *name;
        int batch, queries, keys, heads, dim;
        bool causal;
    } shapes[] = {
        {"LLM 616 causal, 32 x 128", 1, 616, 616, 32, 128, true},
        {"LLM 4 x 616 causal, 32 x 128", 4, 616, 616, 32, 128, true},
        {"LLM 1 on 700, 32 x 128", 1, 1, 700, 32, 128, true},
        {"CLIP 577, 16 x 64", 1, 577, 577, 16, 64, false},
        {"CLIP 4 x 577, 16 x 64", 4, 577, 577, 16, 64, false},
        {"U-Net 2304, 8 x 40", 1, 2304, 2304, 8, 40, false},
        {"U-Net 2304 on 576, 8 x 40", 1, 2304, 576, 8, 40, false},
        {"U-Net 576, 8 x 80", 1, 576, 576, 8, 80, false},
        {"U-Net 144, 8 x 160", 1, 144, 144, 8, 160, false},
        {"tiny LLM 32 x 100 causal, 8 x 20", 32, 100, 100, 8, 20, true},
        {"tiny U-Net 32 x 256, 4 x 8", 32, 256, 256, 4, 8, false},
        {"tiny U-Net 32 x 64, 4 x 16", 32, 64, 64, 4, 16, false},
        {"tiny U-Net 32 x 64, 4 x 32", 32, 64, 64, 4, 32, false},
    };
    print_heading("attention");
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++)
        for (int t = 0; t < 2; t++) {
            DType type = t ? BFLOAT16 : FLOAT32;
            if (left_out(shapes[i].name, type)) continue;
            int heads = shapes[i].heads, dim = shapes[i].dim;
            int64_t rows = (int64_t)shapes[i].batch * shapes[i].queries;
            int64_t keys = (int64_t)shapes[i].batch * shapes[i].keys, width = heads * dim;
            scope_begin();
            AttentionRun c = {
                numbers(type, SHAPE(rows, width)),
                numbers(type, SHAPE(keys, width)),
                numbers(type, SHAPE(keys, width)),
                numbers(type, SHAPE(rows, width)),
                numbers(FLOAT32, SHAPE(rows, heads)),
                numbers(type, SHAPE(rows, width)),
                numbers(type, SHAPE(keys, width)),
                numbers(type, SHAPE(keys, width)),
                attention_uniform(device, shapes[i].batch, shapes[i].queries, shapes[i].keys, heads,
                                  heads, dim, shapes[i].causal),
            };
            double visible = shapes[i].keys;
            if (shapes[i].causal) visible -= (shapes[i].queries - 1) / 2.0;
            double products = (double)(rows * width) * visible;
            double forward = bench_measure(device, attention_forward, &c);
            double gradient = bench_measure(device, attention_gradient, &c);
            print_row(shapes[i].name, type, 4 * products, forward, 10 * products, gradient);
            scope_end();
        }
}

int main(int argc, char **argv) {
    int threads = 0;
    const char *family = NULL, *where = "cpu";
    for (int i = 1; i < argc; i++) {
        if (!strcmp(argv[i], "--quick"))
            bench_budget = 0.02;
        else if (!strcmp(argv[i], "--device") && i + 1 < argc)
            where = argv[++i];
        else if (!strcmp(argv[i], "--threads") && i + 1 < argc)
            threads = atoi(argv[++i]);
        else if (!strcmp(argv[i], "--processor-time"))
            threads = 1, bench_clock = CLOCK_THREAD_CPUTIME_ID;
        else if (!strcmp(argv[i], "--type") && i + 1 < argc)
            wanted_type = argv[++i];
        else if (!strcmp(argv[i], "--seconds") && i + 1 < argc)
            bench_budget = atof(argv[++i]);
        else if (!strcmp(argv[i], "--official"))
            official = true;
        else if (!strcmp(argv[i], "--peak") && i + 2 < argc)
            peaks[FLOAT32] = atof(argv[++i]), peaks[BFLOAT16] = atof(argv[++i]);
        else if (argv[i][0] != '-')
            *(family ? &wanted : &family) = argv[i];
        else {
            fprintf(stderr, "bench_ops: unknown option %s\n", argv[i]);
            return 2;
        }
    }
    device = bench_device(where, threads);
    printf("kernels: %s\n", device->kernels->name);
    if (!family || !strcmp(family, "linear")) bench_linear();
    if (!family || !strcmp(family, "conv2d")) bench_conv2d();
    if (!family || !strcmp(family, "attention")) bench_attention();
    return 0;
}
