// rooms: ops autograd
// Speed of the ops that do little with much: norms, gates, sums, rotary embedding, the loss and the
// optimizer, at the shapes of the official model. What counts is how near they come to reading each
// input and writing each output once.
//
//   bench_memory [--quick] [--device cpu|cuda] [--threads N] [--peak BANDWIDTH]
//
// Columns: the median over repeated runs, as gigabytes per second and milliseconds. --peak: of the
// device's memory, in TB/s, for the share.
#include "bench.h"
#include "normal_tensor.h"
#include "ops/ops.h"

static Device *device;
static double peak;

/// Tensors of one shape and type, and what norms, rope and the loss need beside them.
typedef struct Run {
    Tensor *x, *z, *y, *grad, *other_grad;
    Tensor *weight, *mean, *rstd, *index, *sum;
    /// of heads of 128
    Tensor *rotations;
    AdamWTensors adamw;
} Run;

static void rms_norm_forward(void *context) {
    Run *r = context;
    kernels(r->x)->rms_norm(r->x, r->weight, 1e-5f, r->y, r->rstd);
}

static void rms_norm_backward(void *context) {
    Run *r = context;
    kernels(r->x)->rms_norm_gradient(r->x, r->weight, r->rstd, r->z, r->grad);
}

static void layer_norm_forward(void *context) {
    Run *r = context;
    kernels(r->x)->layer_norm(r->x, r->weight, r->weight, 1e-5f, r->y, r->mean, r->rstd);
}

static void layer_norm_backward(void *context) {
    Run *r = context;
    kernels(r->x)->layer_norm_gradient(r->x, r->weight, r->mean, r->rstd, r->z, r->grad, NULL,
                                       NULL);
}

enum { GROUPS = 32 };

static void group_norm_forward(void *context) {
    Run *r = context;
    kernels(r->x)->group_norm(r->x, r->weight, r->weight, GROUPS, 1e-5f, true, r->y, r->mean,
                              r->rstd);
}

static void group_norm_backward(void *context) {
    Run *r = context;
    kernels(r->x)->group_norm_gradient(r->x, r->weight, r->weight, GROUPS, true, r->mean, r->rstd,
                                       r->z, r->grad);
}

static void swiglu_forward(void *context) {
    Run *r = context;
    kernels(r->x)->swiglu(r->x, r->z, r->y);
}

static void swiglu_backward(void *context) {
    Run *r = context;
    kernels(r->x)->swiglu_gradient(r->x, r->z, r->y, r->grad, r->other_grad);
}

static void add_forward(void *context) {
    Run *r = context;
    kernels(r->x)->add(r->x, r->z, r->y);
}

static void rope_forward(void *context) {
    Run *r = context;
    kernels(r->x)->rope(r->x, r->rotations, false, r->y);
}

static void rope_backward(void *context) {
    Run *r = context;
    kernels(r->x)->rope(r->z, r->rotations, true, r->grad);
}

/// The gradient takes the logits' place, so from the second call on it is a softmax of small
/// numbers: as much work.
static void cross_entropy(void *context) {
    Run *r = context;
    kernels(r->x)->softmax_cross_entropy(r->x, r->index, true, r->sum);
}

static void adamw(void *context) {
    Run *r = context;
    const AdamW step = {1e-3f, 0.9f, 0.999f, 1e-8f, 0.0f, 10, 1.0f};
    kernels(r->x)->adamw(&step, 1, &r->adamw);
}

static void sum_squares(void *context) {
    Run *r = context;
    double sum;
    kernels(r->x)->sum_squares(1, &r->x, &sum);
}

/// An op at a shape. How often a tensor of that shape is read or written, forward and backward.
typedef struct Line {
    const char *name;
    int64_t rows, columns;
    BenchCall forward, backward;
    int forward_passes, backward_passes;
    bool float32_only;
} Line;

static const Line lines[] = {
    {"rms_norm, LLM 616 x 4096", 616, 4096, rms_norm_forward, rms_norm_backward, 2, 3, false},
    {"layer_norm, CLIP 577 x 1024", 577, 1024, layer_norm_forward, layer_norm_backward, 2, 3,
     false},
    {"group_norm + silu, VAE 384^2 x 128", 384 * 384, 128, group_norm_forward, group_norm_backward,
     2, 3, false},
    {"group_norm + silu, U-Net 48^2 x 320", 48 * 48, 320, group_norm_forward, group_norm_backward,
     2, 3, false},
    {"swiglu, LLM 616 x 11008", 616, 11008, swiglu_forward, swiglu_backward, 3, 5, false},
    {"add, LLM 616 x 4096", 616, 4096, add_forward, NULL, 3, 0, false},
    {"add, 8 x 616 x 4096", 8 * 616, 4096, add_forward, NULL, 3, 0, false},
    {"rope, LLM 616 x 4096", 616, 4096, rope_forward, rope_backward, 2, 2, false},
    {"cross-entropy, 616 x 32000", 616, 32000, cross_entropy, NULL, 2, 0, true},
    {"adamw, 20 million", 5000, 4096, adamw, NULL, 7, 0, true},
    {"sum of squares, 20 million", 5000, 4096, sum_squares, NULL, 1, 0, true},
};

static Tensor *numbers(DType type, int rank, const int64_t *shape) {
    static uint64_t count;
    Tensor *x = normal_tensor(device, rank, shape, count++);
    return convert(x, type);
}

static Run run_new(const Line *line, DType type) {
    int64_t rows = line->rows, columns = line->columns;
    int32_t *positions = checked_malloc((size_t)rows * sizeof *positions);
    for (int64_t i = 0; i < rows; i++) positions[i] = (int32_t)(i % columns);
    // One sample, so that group_norm sees one image.
    Run run = {.index = tensor_from_host(device, INT32, SHAPE(rows), positions),
               .weight = numbers(FLOAT32, SHAPE(columns)),
               .mean = numbers(FLOAT32, SHAPE(rows)),
               .rstd = numbers(FLOAT32, SHAPE(rows)),
               .sum = tensor_zeros(device, FLOAT32, SHAPE(1)),
               .rotations = numbers(FLOAT32, SHAPE(rows, 128))};
    Tensor **same[] = {&run.x, &run.z, &run.y, &run.grad, &run.other_grad};
    for (int i = 0; i < 5; i++) *same[i] = numbers(type, SHAPE(1, rows, columns));
    run.adamw = (AdamWTensors){run.z, run.y, run.grad, run.other_grad};
    free(positions);
    return run;
}

static void print_speed(const Line *line, DType type, int passes, double seconds) {
    double bytes = (double)passes * (double)(line->rows * line->columns) * (double)dtype_size(type);
    printf(" %8.0f GB/s %7.3f ms", bytes / seconds * 1e-9, seconds * 1e3);
    if (peak > 0)
        printf(" %4.0f%%", 100 * bytes / seconds * 1e-12 / peak);
    else
        printf("      ");
}

static void measure(const Line *line, DType type) {
    scope_begin();
    Run run = run_new(line, type);
    printf("%-36s %-9s", line->name, dtype_name(type));
    print_speed(line, type, line->forward_passes, bench_measure(device, line->forward, &run));
    if (line->backward)
        print_speed(line, type, line->backward_passes, bench_measure(device, line->backward, &run));
    putchar('\n');
    fflush(stdout);
    scope_end();
}

int main(int argc, char **argv) {
    int threads = 0;
    const char *where = "cpu";
    for (int i = 1; i < argc; i++) {
        if (!strcmp(argv[i], "--quick"))
            bench_budget = 0.02;
        else if (!strcmp(argv[i], "--device") && i + 1 < argc)
            where = argv[++i];
        else if (!strcmp(argv[i], "--threads") && i + 1 < argc)
            threads = atoi(argv[++i]);
        else if (!strcmp(argv[i], "--peak") && i + 1 < argc)
            peak = atof(argv[++i]);
        else {
            fprintf(stderr, "bench_memory: unknown option %s\n", argv[i]);
            return 2;
        }
    }
    device = bench_device(where, threads);
    printf("kernels: %s\n%-36s %-9s %28s %28s\n", device->kernels->name, "", "type", "forward",
           "backward");
    for (size_t i = 0; i < sizeof lines / sizeof *lines; i++)
        for (DType type = FLOAT32; type <= BFLOAT16; type++)
            if (type == FLOAT32 || !lines[i].float32_only) measure(&lines[i], type);
    return 0;
}
