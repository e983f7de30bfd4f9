/// The kernel seam: one table of functions per device. Ops call it and know nothing of devices;
/// kernels know nothing of the tape. Adding a device means filling this table in a folder of its
/// own.
///
/// The families below are the one list of kernels. Everything that has a place for each of them is
/// made from it: the table itself, the devices' tables, and those that count, plan or check what
/// the kernels do. So adding a kernel here makes every file that does not know it yet fail to
/// compile.
///
/// Conventions. Outputs are allocated by the caller with the right shape. x, y, gradients of
/// activations: FLOAT32 or BFLOAT16, all of one type within a call unless said otherwise. Matrices
/// (`weight`): the activations' type, or FLOAT32 (a trainable master, converted on the way), or
/// where it is said FLOAT8.
/// Biases, norm weights, statistics, parameter gradients: FLOAT32. Sums, softmax and norm
/// statistics are accumulated in FLOAT32 or better. "rows" are all dimensions but the last. Outputs
/// are replaced where "added to" is not said. Every kernel is deterministic for a given number of
/// threads.
#pragma once
#include "autograd/random.h"
#include "autograd/tensor.h"
#include "ops/types.h"

// ---- the kernels, K(name, parameters, arguments), by the file of ops/cpu that holds them

/// Products: x [rows,K], weight [N,K], bias [N] or NULL (with accumulate always), y [rows,N].
///
///   linear                  y = x weight^T + bias, or added to y; y may be FLOAT32 beside
///                           BFLOAT16 x. A product is rounded to y's type with the bias or the
///                           earlier y added. A device may round the bias first, and where y is
///                           BFLOAT16 also the sum before either is added
///   linear_gelu_tanh        y, of x's type, is activation GELU_TANH of that; what is between may
///                           be rounded to y's type
///                           x and weight may both be FLOAT8 instead: the product of the numbers
///                           that they stand for, y of either type
///   linear_input_gradient   grad_x = grad_y weight, or added to grad_x; weight may be FLOAT8
///   linear_weight_gradient  grad_weight is added to
///   sum_rows                sum is added to: x [rows,C], sum C elements; also [rows*N] against [N]
#define KERNELS_linear(K)                                                                        \
    K(linear, (const Tensor *x, Tensor *weight, const Tensor *bias, bool accumulate, Tensor *y), \
      (x, weight, bias, accumulate, y))                                                          \
    K(linear_gelu_tanh, (const Tensor *x, Tensor *weight, const Tensor *bias, Tensor *y),        \
      (x, weight, bias, y))                                                                      \
    K(linear_input_gradient,                                                                     \
      (const Tensor *grad_y, Tensor *weight, bool accumulate, Tensor *grad_x),                   \
      (grad_y, weight, accumulate, grad_x))                                                      \
    K(linear_weight_gradient, (const Tensor *grad_y, const Tensor *x, Tensor *grad_weight),      \
      (grad_y, x, grad_weight))                                                                  \
    K(sum_rows, (const Tensor *x, Tensor *sum), (x, sum))

/// Products whose row is a function of that row of x alone, bit for bit: it matters neither which
/// other rows there are nor how many. Few rows are fast.
///
///   linear_few_rows   as linear, FLOAT8 too, rounded once
#define KERNELS_few_rows(K)                                                              \
    K(linear_few_rows,                                                                   \
      (const Tensor *x, Tensor *weight, const Tensor *bias, bool accumulate, Tensor *y), \
      (x, weight, bias, accumulate, y))

/// Rounding to FLOAT8: x [rows,C], y FLOAT8 of that shape.
///
///   quantize_rows   scales[r] = float8_scale(the row's largest magnitude); y = x / scales[r],
///                   rounded to nearest even. A row that is not finite becomes NaN as a whole
#define KERNELS_float8(K) K(quantize_rows, (const Tensor *x, Tensor *y), (x, y))

/// Convolutions: x [B,H,W,Ci], weight [Co,kh,kw,Ci], bias [Co] or NULL, y [B,Ho,Wo,Co].
#define KERNELS_conv2d(K)                                                                    \
    K(conv2d,                                                                                \
      (const Tensor *x, Tensor *weight, const Tensor *bias, const Conv2d *shape, Tensor *y), \
      (x, weight, bias, shape, y))                                                           \
    K(conv2d_input_gradient,                                                                 \
      (const Tensor *grad_y, Tensor *weight, const Conv2d *shape, Tensor *grad_x),           \
      (grad_y, weight, shape, grad_x))

/// Norms of groups: x [B,...,C]. mean, rstd: FLOAT32 [B,groups]; NULL when no backward will follow.
/// silu: applied to the result.
#define KERNELS_group_norm(K)                                                            \
    K(group_norm,                                                                        \
      (const Tensor *x, const Tensor *weight, const Tensor *bias, int groups, float eps, \
       bool silu, Tensor *y, Tensor *mean, Tensor *rstd),                                \
      (x, weight, bias, groups, eps, silu, y, mean, rstd))                               \
    K(group_norm_gradient,                                                               \
      (const Tensor *x, const Tensor *weight, const Tensor *bias, int groups, bool silu, \
       const Tensor *mean, const Tensor *rstd, const Tensor *grad_y, Tensor *grad_x),    \
      (x, weight, bias, groups, silu, mean, rstd, grad_y, grad_x))

/// Norms of rows: x [rows,C]. mean, rstd: FLOAT32 [rows]; NULL when no backward will follow.
///
///   layer_norm             weight and bias may be NULL
///   layer_norm_gradient    each output may be NULL; grad_weight and grad_bias are added to
///   add_layer_norm         sum = a + b, y = norm of the sum as stored: the bits of add() followed
///                          by the norm. a, b, sum of one shape and type
///   add_rms_norm           likewise
#define KERNELS_norm(K)                                                                           \
    K(layer_norm,                                                                                 \
      (const Tensor *x, const Tensor *weight, const Tensor *bias, float eps, Tensor *y,           \
       Tensor *mean, Tensor *rstd),                                                               \
      (x, weight, bias, eps, y, mean, rstd))                                                      \
    K(layer_norm_gradient,                                                                        \
      (const Tensor *x, const Tensor *weight, const Tensor *mean, const Tensor *rstd,             \
       const Tensor *grad_y, Tensor *grad_x, Tensor *grad_weight, Tensor *grad_bias),             \
      (x, weight, mean, rstd, grad_y, grad_x, grad_weight, grad_bias))                            \
    K(rms_norm, (const Tensor *x, const Tensor *weight, float eps, Tensor *y, Tensor *rstd),      \
      (x, weight, eps, y, rstd))                                                                  \
    K(rms_norm_gradient,                                                                          \
      (const Tensor *x, const Tensor *weight, const Tensor *rstd, const Tensor *grad_y,           \
       Tensor *grad_x),                                                                           \
      (x, weight, rstd, grad_y, grad_x))                                                          \
    K(add_layer_norm,                                                                             \
      (const Tensor *a, const Tensor *b, const Tensor *weight, const Tensor *bias, float eps,     \
       Tensor *sum, Tensor *y, Tensor *mean, Tensor *rstd),                                       \
      (a, b, weight, bias, eps, sum, y, mean, rstd))                                              \
    K(add_rms_norm,                                                                               \
      (const Tensor *a, const Tensor *b, const Tensor *weight, float eps, Tensor *sum, Tensor *y, \
       Tensor *rstd),                                                                             \
      (a, b, weight, eps, sum, y, rstd))

/// Attention: q [rows,heads*dim], k and v [rows',kv_heads*dim], y like q; log_sum_exp FLOAT32
/// [rows,heads] or NULL.
///
///   attention_rows      rows INT32 [n]; probabilities FLOAT32 [n,heads,max_k_length], zero past
///                       what a row sees
///   attention_gradient  each output may be NULL
#define KERNELS_attention(K)                                                                 \
    K(attention,                                                                             \
      (const Tensor *q, const Tensor *k, const Tensor *v, const Attention *shape, Tensor *y, \
       Tensor *log_sum_exp),                                                                 \
      (q, k, v, shape, y, log_sum_exp))
#define KERNELS_attention_rows(K)                                                    \
    K(attention_rows,                                                                \
      (const Tensor *q, const Tensor *k, const Attention *shape, const Tensor *rows, \
       Tensor *probabilities),                                                       \
      (q, k, shape, rows, probabilities))
#define KERNELS_attention_gradient(K)                                                           \
    K(attention_gradient,                                                                       \
      (const Tensor *q, const Tensor *k, const Tensor *v, const Tensor *y,                      \
       const Tensor *log_sum_exp, const Tensor *grad_y, const Attention *shape, Tensor *grad_q, \
       Tensor *grad_k, Tensor *grad_v),                                                         \
      (q, k, v, y, log_sum_exp, grad_y, shape, grad_q, grad_k, grad_v))

/// rotations FLOAT32 [rows,head_dim]: cosines, then sines; transposed: these count negative.
#define KERNELS_rope(K)                                                             \
    K(rope, (const Tensor *x, const Tensor *rotations, bool transposed, Tensor *y), \
      (x, rotations, transposed, y))

/// Activations and gates.
///
///   geglu   x [..,2C]: first half times gelu(second half)
///   swiglu  silu(gate) * up
#define KERNELS_activation(K)                                                         \
    K(activation, (Activation kind, const Tensor *x, Tensor *y), (kind, x, y))        \
    K(activation_gradient,                                                            \
      (Activation kind, const Tensor *x, const Tensor *grad_y, Tensor *grad_x),       \
      (kind, x, grad_y, grad_x))                                                      \
    K(geglu, (const Tensor *x, Tensor *y), (x, y))                                    \
    K(geglu_gradient, (const Tensor *x, const Tensor *grad_y, Tensor *grad_x),        \
      (x, grad_y, grad_x))                                                            \
    K(swiglu, (const Tensor *gate, const Tensor *up, Tensor *y), (gate, up, y))       \
    K(swiglu_gradient,                                                                \
      (const Tensor *gate, const Tensor *up, const Tensor *grad_y, Tensor *grad_gate, \
       Tensor *grad_up),                                                              \
      (gate, up, grad_y, grad_gate, grad_up))

/// Element by element.
///
///   add, multiply    a and b may differ in type; y has its own; b may repeat: numel(a) % numel(b)
///                    == 0
///   scale            y may be x
///   dropout          keeps element i if uniform(stream, i) >= probability, times 1/(1-p). `rows`
///                    NULL: i counts the elements of x. Otherwise INT32 [rows,2], a number and a
///                    position (below 2^30) for each row of x, and the draw depends on those and
///                    the column alone: element c of a row is number (position << 34) + c of the
///                    stream with key + random_number_key(number)
///   gaussian_sample  y = mean + exp(logvar/2) * noise, FLOAT32; moments [..,2C]: mean, log
///                    variance clamped to [-30,20]
#define KERNELS_elementwise(K)                                                                  \
    K(add, (const Tensor *a, const Tensor *b, Tensor *y), (a, b, y))                            \
    K(multiply, (const Tensor *a, const Tensor *b, Tensor *y), (a, b, y))                       \
    K(scale, (const Tensor *x, float factor, Tensor *y), (x, factor, y))                        \
    K(convert, (const Tensor *x, Tensor *y), (x, y))                                            \
    K(dropout,                                                                                  \
      (const Tensor *x, float probability, RandomStream stream, const Tensor *rows, Tensor *y), \
      (x, probability, stream, rows, y))                                                        \
    K(gaussian_sample, (const Tensor *moments, const Tensor *noise, Tensor *y), (moments, noise, y))

/// Moving things.
///
///   concatenate, split   along the last dimension, and its inverse, of which each output may be
///                        NULL
///   upsample_nearest     [B,H,W,C] to [B,Ho,Wo,C]; source index floor(o * H / Ho)
///   resize_bilinear      align_corners=false, no antialias
///   gather_rows          index INT32 [n]
///   scatter_rows         y zero but for y[index[i]] = rows[i]; indices distinct
///   write_rows           y[index[i]] = rows[i], what else is in y stays; indices distinct
///   merge_rows           y[i] = index[i] >= 0 ? a[index[i]] : b[~index[i]]
///   merge_rows_gradient  rows not used get zero; each used at most once; each output may be NULL
#define KERNELS_shape(K)                                                                     \
    K(concatenate, (const Tensor *a, const Tensor *b, Tensor *y), (a, b, y))                 \
    K(split, (const Tensor *y, Tensor *a, Tensor *b), (y, a, b))                             \
    K(upsample_nearest, (const Tensor *x, Tensor *y), (x, y))                                \
    K(upsample_nearest_gradient, (const Tensor *grad_y, Tensor *grad_x), (grad_y, grad_x))   \
    K(resize_bilinear, (const Tensor *x, Tensor *y), (x, y))                                 \
    K(resize_bilinear_gradient, (const Tensor *grad_y, Tensor *grad_x), (grad_y, grad_x))    \
    K(gather_rows, (const Tensor *table, const Tensor *index, Tensor *y), (table, index, y)) \
    K(scatter_rows, (const Tensor *rows, const Tensor *index, Tensor *y), (rows, index, y))  \
    K(write_rows, (const Tensor *rows, const Tensor *index, Tensor *y), (rows, index, y))    \
    K(merge_rows, (const Tensor *a, const Tensor *b, const Tensor *index, Tensor *y),        \
      (a, b, index, y))                                                                      \
    K(merge_rows_gradient,                                                                   \
      (const Tensor *grad_y, const Tensor *index, Tensor *grad_a, Tensor *grad_b),           \
      (grad_y, index, grad_a, grad_b))

/// Losses.
///
///   softmax_cross_entropy     logits FLOAT32 [n,V], replaced by d(sum)/d(logits) if asked;
///                             loss_sum [1] is added to
///   mean, mean_squared_error  y FLOAT32 [1]
#define KERNELS_loss(K)                                                          \
    K(softmax_cross_entropy,                                                     \
      (Tensor * logits, const Tensor *targets, bool gradient, Tensor *loss_sum), \
      (logits, targets, gradient, loss_sum))                                     \
    K(mean, (const Tensor *x, Tensor *y), (x, y))                                \
    K(mean_squared_error, (const Tensor *a, const Tensor *b, Tensor *y), (a, b, y))

/// The optimizer, all FLOAT32.
///
///   sum_squares  *sum (the host's) = that of all elements of `count` tensors, in double
///   adamw        the same step of `count` parameters
#define KERNELS_optimizer(K)                                                    \
    K(sum_squares, (int count, Tensor *const *x, double *sum), (count, x, sum)) \
    K(adamw, (const AdamW *step, int count, const AdamWTensors *tensors), (step, count, tensors))

// clang-format off
/// F(family, x) for every family.
#define KERNEL_FAMILIES(F, x) \
    F(linear, x)              \
    F(few_rows, x)            \
    F(float8, x)              \
    F(conv2d, x)              \
    F(group_norm, x)          \
    F(norm, x)                \
    F(attention, x)           \
    F(attention_rows, x)      \
    F(attention_gradient, x)  \
    F(rope, x)                \
    F(activation, x)          \
    F(elementwise, x)         \
    F(shape, x)               \
    F(loss, x)                \
    F(optimizer, x)
// clang-format on

#define KERNELS_OF_FAMILY(family, K) KERNELS_##family(K)
/// K(name, parameters, arguments) for every kernel.
#define KERNELS(K) KERNEL_FAMILIES(KERNELS_OF_FAMILY, K)

// ---- the table

typedef struct Kernels {
    const char *name;
#define KERNEL_POINTER(name, parameters, arguments) void(*name) parameters;
    KERNELS(KERNEL_POINTER)
#undef KERNEL_POINTER
} Kernels;

#define ONE_MORE_KERNEL(name, parameters, arguments) +1
/// For what is coupled to the list by reading it: an assertion on the number sends its author there
/// again.
enum { KERNEL_COUNT = 0 KERNELS(ONE_MORE_KERNEL) };
#undef ONE_MORE_KERNEL

/// Puts a family into a device's `table`, where its kernels are functions of their names: the end
/// of each file of kernels.
#define TAKE_KERNEL(name, parameters, arguments) table->name = name;
#define TAKE_KERNELS(family) KERNELS_##family(TAKE_KERNEL)

#ifdef __cplusplus
extern "C" {
#endif

/// The kernel table of a tensor's device.
static inline const Kernels *kernels(const Tensor *x) { return x->device->kernels; }

/// Fills device_cpu()->kernels with the kernels for this processor (AVX-512, AVX2 or plain) and
/// sets the size of the one thread pool (0: one thread per core available to the process). Returns
/// the device.
Device *ops_cpu_open(int threads);

/// Chooses the kernels of one x86-64 level ("v2", "v3", "v4", "v4_bf16", which is v4 with attention
/// in pairs of bfloat16, "amx", which is that with products in tiles, "amx_plain", the same with
/// tiles of plain C wherever v4_bf16 runs; "generic" elsewhere) instead of the processor's best, as
/// the environment variable DIFFLMM_CPU_LEVEL does. False if this processor lacks the level. Call
/// it before anything ran: the product library keeps its first choice.
bool ops_cpu_use_level(const char *level);

/// The GPU of that number (from 0) with its kernels. One device of the process: later calls return
/// the same. NULL with a message that says what is missing: the program was built without CUDA, no
/// driver, a driver too old, no such GPU, no cuBLASLt.
Device *ops_cuda_open(int ordinal, Error *error);

/// Chooses kernels for the open GPU, as the environment variable DIFFLMM_CUDA_LEVEL does: "sm_80",
/// those of every GPU, which are used otherwise, or "sm_90a", where there are any for Hopper alone
/// (not measured yet). False if the GPU or the program lacks them.
bool ops_cuda_use_level(const char *level);

/// How many GPUs there are; 0 where CUDA cannot be used.
int ops_cuda_count(void);

/// Where a GPU sits on the PCI bus ("0000:3b:00.0"): the same for all processes of a machine,
/// whichever GPUs each of them sees. "" for the processor.
enum { GPU_BUS_ID_BYTES = 32 };
void ops_cuda_bus_id(const Device *device, char text[GPU_BUS_ID_BYTES]);

#ifdef __cplusplus
}
#endif
