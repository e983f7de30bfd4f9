// Working memory is the one thing here that is not asked for by the models' own code: each formula
// names the kernel it follows.
#include "train/plan/plan_device.h"

#include "autograd/block_cache.h"
#include "ops/cpu/amx/attention_memory.h"
#include "ops/cpu/convolution/convolution.h"
#include "ops/cpu/convolution/patches.h"
#include "ops/cpu/products/float32_product.h"
#include "ops/cpu/products/product.h"
#include "ops/kernels.h"

#include <stdlib.h>

typedef struct PlanDevice {
    Device device;
    BlockCache blocks;
    Kernels kernels;
    PlanDeviceOptions options;
    /// of no memory: no processor has such addresses
    uintptr_t next_address;
    int64_t requested, held, held_peak;
} PlanDevice;

static PlanDevice *plan_device(const Tensor *x) { return (PlanDevice *)(void *)x->device; }

// ---- memory that is not there

/// What the system gives: large blocks of the processor's memory are whole pages
/// (autograd/device.c).
static int64_t system_bytes(const PlanDevice *plan, size_t bytes) {
    const size_t page = 4096, large = 1 << 20;
    if (plan->options.cuda || bytes < large) return (int64_t)bytes;
    return (int64_t)((bytes + page - 1) / page * page);
}

static void *count_block(Device *device, size_t bytes) {
    PlanDevice *plan = (PlanDevice *)(void *)device;
    void *address = (void *)plan->next_address; // NOLINT(performance-no-int-to-ptr)
    plan->next_address += bytes;
    plan->held += system_bytes(plan, bytes);
    if (plan->held > plan->held_peak) plan->held_peak = plan->held;
    return address;
}

static void uncount_block(Device *device, void *block, size_t bytes) {
    (void)block;
    PlanDevice *plan = (PlanDevice *)(void *)device;
    plan->held -= system_bytes(plan, bytes);
}

static void *take(Device *device, size_t bytes) {
    ((PlanDevice *)(void *)device)->requested += (int64_t)bytes;
    return block_cache_take(device, bytes);
}

// What kernels, copies and so on are given they ignore.
#pragma GCC diagnostic ignored "-Wunused-parameter"

static void copy_nothing(Device *device, void *to, const void *from, size_t bytes) {}
static void fill_nothing(Device *device, void *pointer, size_t bytes) {}
static void wait_for_nothing(Device *device) {}
static void accumulate_nothing(const Tensor *x, Tensor *sum) {}
static void release_prepared(void *prepared) {}

// ---- working memory

static void work_in(const Tensor *like, int64_t bytes) {
    if (bytes <= 0) return;
    Device *device = like->device;
    device->release(device, device->allocate(device, (size_t)bytes), (size_t)bytes);
}

static int64_t least(int64_t a, int64_t b) { return a < b ? a : b; }
static int64_t round_up(int64_t n, int64_t unit) { return (n + unit - 1) / unit * unit; }

static int64_t bytes_in(const Tensor *x, DType type) {
    return tensor_numel(x) * (int64_t)dtype_size(type);
}

/// A copy of x where it is not in that type.
static int64_t converted_bytes(const Tensor *x, DType type) {
    return x->dtype == type ? 0 : bytes_in(x, type);
}

/// In which type the processor multiplies (ops/cpu/linear.c).
static DType cpu_product_type(const Tensor *x) {
    DType type = x->dtype == FLOAT8 ? BFLOAT16 : x->dtype;
    return plan_device(x)->options.has_bfloat16 ? type : FLOAT32;
}

enum { CUBLASLT_WORKSPACE = 32 << 20, CUDA_COLUMN_BYTES = 64 << 20 };

/// ops/cpu/linear.c: small frozen matrices are kept prepared.
static bool kept_prepared(const Tensor *weight) {
    enum { PREPARED_ELEMENTS = 1 << 19 };
    return !plan_device(weight)->options.cuda && weight->name && !weight->gradient &&
           weight->dtype != FLOAT8 && tensor_numel(weight) <= PREPARED_ELEMENTS;
}

/// ops/cpu/linear.c: copies in the product's type, and what the processor's own products pack; that
/// of floats needs no copies. A prepared matrix is not packed. FLOAT8 is widened to that type
/// first, and then multiplied as if it had been so.
static int64_t cpu_product_bytes(const Tensor *x, const Tensor *weight, const Tensor *y) {
    DType type = cpu_product_type(x);
    DType x_type = x->dtype == FLOAT8 ? type : x->dtype;
    DType weight_type = weight->dtype == FLOAT8 ? type : weight->dtype;
    Matmul shape = {.m = tensor_rows(x),
                    .n = tensor_columns(y),
                    .k = tensor_columns(x),
                    .type = type,
                    .c_type = y->dtype};
    int threads = plan_device(x)->options.threads;
    bool packed = !kept_prepared(weight) && tensor_numel(x) > 0 && tensor_numel(y) > 0;
    int64_t bytes =
        packed ? (int64_t)float32_product_bytes(&shape, x_type, weight_type, threads) : 0;
    if (bytes)
        return bytes + (x->dtype == FLOAT8 ? bytes_in(x, type) : 0) +
               (weight->dtype == FLOAT8 ? bytes_in(weight, type) : 0);
    bytes = converted_bytes(x, type) + converted_bytes(weight, type) +
            (type == FLOAT32 ? converted_bytes(y, FLOAT32) : 0);
    return packed ? bytes + (int64_t)own_product()->bytes(&shape, threads) : bytes;
}

/// The same for grad_W += grad_y^T x.
static int64_t packed_bytes_of_gradient(const Tensor *grad_y, const Tensor *x, DType type) {
    if (tensor_numel(x) == 0 || tensor_numel(grad_y) == 0) return 0;
    Matmul shape = {.m = tensor_columns(grad_y),
                    .n = tensor_columns(x),
                    .k = tensor_rows(x),
                    .type = type,
                    .c_type = FLOAT32,
                    .a_transposed = true,
                    .accumulate = true};
    return (int64_t)own_product()->bytes(&shape, plan_device(x)->options.threads);
}

/// ops/cuda/cublaslt.cu: the library's workspace, a FLOAT32 weight converted, FLOAT8 widened (a
/// bias is too small to count).
static void work_of_product(const Tensor *x, const Tensor *weight, const Tensor *y) {
    DType type = x->dtype == FLOAT8 ? BFLOAT16 : x->dtype;
    work_in(x, plan_device(x)->options.cuda
                   ? CUBLASLT_WORKSPACE + converted_bytes(weight, type) + converted_bytes(x, type)
                   : cpu_product_bytes(x, weight, y));
}

/// A copy of a weight in the product library's layout, one for each direction, made when it is
/// first used (ops/cpu/onednn.c).
static void prepare(Tensor *weight, bool gradient, int64_t elements, DType type) {
    uintptr_t bit = gradient ? 2 : 1, prepared = (uintptr_t)weight->prepared;
    if (prepared & bit) return;
    weight->prepared = (void *)(prepared | bit); // NOLINT(performance-no-int-to-ptr)
    weight->device->bytes_prepared += round_up(elements * (int64_t)dtype_size(type), 64);
}

/// Columns of a prepared matrix are padded to a vector.
static void prepare_matrix(Tensor *weight, bool gradient) {
    enum { LANES = 16 };
    if (!kept_prepared(weight)) return;
    int64_t from = weight->shape[gradient ? 0 : 1], to = weight->shape[gradient ? 1 : 0];
    prepare(weight, gradient, from * round_up(to, LANES), cpu_product_type(weight));
}

static void work_of_weight_gradient(const Tensor *grad_y, const Tensor *x) {
    DType type = cpu_product_type(x);
    if (plan_device(x)->options.cuda)
        work_in(x, CUBLASLT_WORKSPACE);
    else
        work_in(x, converted_bytes(grad_y, type) + converted_bytes(x, type) +
                       packed_bytes_of_gradient(grad_y, x, type));
}

/// Partial sums of up to 32 blocks of rows (ops/cpu/linear.c); ops/cuda/linear.cu has no more
/// slices.
static void work_of_row_sums(const Tensor *x, const Tensor *sum) {
    enum { MOST_BLOCKS = 32, BLOCK_ROWS = 64 };
    int64_t columns = tensor_numel(sum);
    if (columns == 0) return;
    int64_t rows = tensor_numel(x) / columns;
    work_in(x, 4 * columns * least(MOST_BLOCKS, (rows + BLOCK_ROWS - 1) / BLOCK_ROWS));
}

/// A convolution's weight is kept prepared on the processor, channels padded to a vector; a large
/// one only while it is used. Returns the bytes of that.
static int64_t prepare_convolution(Tensor *weight, DType type, bool gradient) {
    enum { LANES = 16 };
    int64_t area = weight->shape[1] * weight->shape[2];
    int64_t in = weight->shape[3] < LANES ? weight->shape[3] : round_up(weight->shape[3], LANES);
    int64_t elements = round_up(weight->shape[0], LANES) * in * area;
    if (tensor_numel(weight) > KEPT_FILTER_ELEMENTS) return elements * (int64_t)dtype_size(type);
    prepare(weight, gradient, elements, type);
    return 0;
}

/// ops/cuda/conv2d.cu: columns of a slice of pixels, unless the kernel is one pixel.
static int64_t column_bytes(const Tensor *weight, const Tensor *y) {
    int64_t columns = tensor_numel(weight) / weight->shape[0];
    if (weight->shape[1] * weight->shape[2] == 1) return 0;
    return least(CUDA_COLUMN_BYTES, tensor_rows(y) * columns * (int64_t)dtype_size(y->dtype));
}

/// Of an image x and what becomes of it, y, or of their gradients.
static void work_of_convolution(const Tensor *x, Tensor *weight, const Conv2d *shape, bool gradient,
                                const Tensor *y) {
    if (plan_device(x)->options.cuda) {
        work_in(x,
                CUBLASLT_WORKSPACE + column_bytes(weight, y) + converted_bytes(weight, x->dtype));
        return;
    }
    DType type = cpu_product_type(x);
    Convolution convolution = convolution_of(type, x, weight, shape, y);
    if (weight->dtype == type && own_convolution()->is_used(&convolution, gradient))
        work_in(x, (int64_t)own_convolution()->bytes(&convolution, gradient,
                                                     plan_device(x)->options.threads));
    else if (gradient && convolution_patches_are_used(&convolution))
        work_in(x, converted_bytes(x, type) + converted_bytes(y, type) +
                       (int64_t)convolution_patches_bytes(&convolution, weight,
                                                          plan_device(x)->options.threads));
    else
        work_in(x, prepare_convolution(weight, type, gradient) + converted_bytes(x, type) +
                       converted_bytes(y, type));
}

/// ops/cpu/attention.c and attention_gradient.c, or those of tiles: each thread packs one head's
/// keys and values, and has blocks of queries.
static int64_t cpu_attention_bytes(const Tensor *q, const Attention *shape, bool gradient) {
    enum { LANES = 16, QUERIES = 48, KEYS = 128, SERIAL_WORK = 1 << 19 };
    int64_t width = round_up(shape->head_dim, LANES), keys = round_up(shape->max_k_length, KEYS);
    int64_t key_panels = gradient ? 5 : 2, query_panels = gradient ? 5 : 2,
            squares = gradient ? 3 : 1;
    int64_t floats = key_panels * keys * width + KEYS * width + query_panels * QUERIES * width +
                     squares * QUERIES * KEYS + 2 * QUERIES;
    int64_t in_tiles = q->dtype == BFLOAT16 ? attention_tile_floats(shape, gradient) : 0;
    if (in_tiles) floats = in_tiles;
    int64_t work = (int64_t)shape->num_segments * shape->heads * shape->max_q_length *
                   shape->max_k_length * shape->head_dim;
    return 4 * floats * (work < SERIAL_WORK ? 1 : plan_device(q)->options.threads);
}

static void work_of_attention(const Tensor *q, const Attention *shape) {
    if (!plan_device(q)->options.cuda) work_in(q, cpu_attention_bytes(q, shape, false));
}

/// On a GPU one number per row and head, the product of an output and its gradient.
static void work_of_attention_gradient(const Tensor *q, const Attention *shape) {
    work_in(q, plan_device(q)->options.cuda ? 4 * tensor_rows(q) * shape->heads
                                            : cpu_attention_bytes(q, shape, true));
}

// ---- the kernels

#define WORK_OF_linear prepare_matrix(weight, false), work_of_product(x, weight, y)
#define WORK_OF_linear_gelu_tanh prepare_matrix(weight, false), work_of_product(x, weight, y)
#define WORK_OF_linear_input_gradient \
    prepare_matrix(weight, true), work_of_product(grad_y, weight, grad_x)
#define WORK_OF_linear_weight_gradient work_of_weight_gradient(grad_y, x)
#define WORK_OF_sum_rows work_of_row_sums(x, sum)
#define WORK_OF_conv2d work_of_convolution(x, weight, shape, false, y)
#define WORK_OF_conv2d_input_gradient work_of_convolution(grad_x, weight, shape, true, grad_y)
#define WORK_OF_attention work_of_attention(q, shape)
#define WORK_OF_attention_gradient work_of_attention_gradient(q, shape)
// None worth counting.
#define NOTHING (void)0
#define WORK_OF_group_norm NOTHING
#define WORK_OF_group_norm_gradient NOTHING
#define WORK_OF_layer_norm NOTHING
#define WORK_OF_layer_norm_gradient NOTHING
#define WORK_OF_rms_norm NOTHING
#define WORK_OF_rms_norm_gradient NOTHING
#define WORK_OF_add_layer_norm NOTHING
#define WORK_OF_add_rms_norm NOTHING
#define WORK_OF_linear_few_rows NOTHING
#define WORK_OF_quantize_rows NOTHING
#define WORK_OF_attention_rows NOTHING
#define WORK_OF_rope NOTHING
#define WORK_OF_activation NOTHING
#define WORK_OF_activation_gradient NOTHING
#define WORK_OF_geglu NOTHING
#define WORK_OF_geglu_gradient NOTHING
#define WORK_OF_swiglu NOTHING
#define WORK_OF_swiglu_gradient NOTHING
#define WORK_OF_add NOTHING
#define WORK_OF_multiply NOTHING
#define WORK_OF_scale NOTHING
#define WORK_OF_convert NOTHING
#define WORK_OF_dropout NOTHING
#define WORK_OF_gaussian_sample NOTHING
#define WORK_OF_concatenate NOTHING
#define WORK_OF_split NOTHING
#define WORK_OF_upsample_nearest NOTHING
#define WORK_OF_upsample_nearest_gradient NOTHING
#define WORK_OF_resize_bilinear NOTHING
#define WORK_OF_resize_bilinear_gradient NOTHING
#define WORK_OF_gather_rows NOTHING
#define WORK_OF_scatter_rows NOTHING
#define WORK_OF_write_rows NOTHING
#define WORK_OF_merge_rows NOTHING
#define WORK_OF_merge_rows_gradient NOTHING
#define WORK_OF_softmax_cross_entropy NOTHING
#define WORK_OF_mean NOTHING
#define WORK_OF_mean_squared_error NOTHING
#define WORK_OF_adamw NOTHING
/// The host's result, of the only kernel that has one.
#define WORK_OF_sum_squares *sum = 0

#define COUNTING_KERNEL(kernel, parameters, arguments) \
    static void count_##kernel parameters { WORK_OF_##kernel; }
KERNELS(COUNTING_KERNEL)

#define COUNTING_POINTER(kernel, parameters, arguments) .kernel = count_##kernel,
static const Kernels COUNTING = {.name = "plan", KERNELS(COUNTING_POINTER)};

Device *plan_device_open(const PlanDeviceOptions *options) {
    PlanDevice *plan = checked_calloc(1, sizeof *plan);
    *plan = (PlanDevice){.options = *options,
                         .kernels = COUNTING,
                         .blocks = {.allocate = count_block,
                                    .release = uncount_block,
                                    // As device_cpu() and the GPU's device have it.
                                    .allowance = options->cuda ? -1 : 256ll << 20},
                         .next_address = (uintptr_t)1 << 62};
    plan->device = (Device){.name = "plan",
                            .counts_only = true,
                            .allocate = take,
                            .release = block_cache_give,
                            .from_host = copy_nothing,
                            .to_host = copy_nothing,
                            .fill_zero = fill_nothing,
                            .synchronize = wait_for_nothing,
                            .kernels = &plan->kernels,
                            .accumulate = accumulate_nothing,
                            .release_prepared = release_prepared,
                            .cache = &plan->blocks};
    pthread_mutex_init(&plan->blocks.lock, NULL);
    return &plan->device;
}

void plan_device_close(Device *device) {
    if (!device) return;
    CHECK(device->bytes_in_use == 0, "a plan's device is closed with %lld bytes in use",
          (long long)device->bytes_in_use);
    PlanDevice *plan = (PlanDevice *)(void *)device;
    device_trim(device);
    for (int i = 0; i < BLOCK_CACHE_CLASSES; i++) free(plan->blocks.free_lists[i].blocks);
    pthread_mutex_destroy(&plan->blocks.lock);
    free(plan);
}

int64_t plan_device_requested(const Device *device) {
    return ((const PlanDevice *)(const void *)device)->requested;
}

int64_t plan_device_held_peak(const Device *device) {
    return ((const PlanDevice *)(const void *)device)->held_peak;
}
