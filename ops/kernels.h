/// The kernel seam: one table of functions per device. Ops call it and know nothing of devices; kernels know nothing of
/// the tape. Adding a device means filling this table in a folder of its own.
///
/// Conventions. Outputs are allocated by the caller with the right shape. x, y, gradients of activations: FLOAT32 or
/// BFLOAT16, all of one type within a call unless said otherwise. Matrices (`weight`): the activations' type, or FLOAT32
/// (a trainable master, converted on the way). Biases, norm weights, statistics, parameter gradients: FLOAT32. Sums,
/// softmax and norm statistics are accumulated in FLOAT32 or better. "rows" are all dimensions but the last. `+=` marks
/// outputs that are added to. Every kernel is deterministic for a given number of threads.
#pragma once
#include "autograd/random.h"
#include "autograd/tensor.h"
#include "ops/types.h"

typedef struct Kernels {
    const char *name;

    // products: x [rows,K], weight [N,K], bias [N] or NULL (with accumulate always), y [rows,N]. A product is rounded to y's type with
    // the bias or the earlier y added. A device may round the bias first, and where y is BFLOAT16 also the sum before either is added
    void (*linear)(const Tensor *x, Tensor *weight, const Tensor *bias, bool accumulate,
                   Tensor *y); ///< y may be FLOAT32 beside BFLOAT16 x
    /// y, of x's type, = activation GELU_TANH of the product; what is between may be rounded to y's type or not
    void (*linear_gelu_tanh)(const Tensor *x, Tensor *weight, const Tensor *bias, Tensor *y);
    void (*linear_input_gradient)(const Tensor *grad_y, Tensor *weight, bool accumulate,
                                  Tensor *grad_x);
    void (*linear_weight_gradient)(const Tensor *grad_y, const Tensor *x,
                                   Tensor *grad_weight); ///< +=
    void (*sum_rows)(const Tensor *x,
                     Tensor *sum); ///< += ; x [rows,C], sum C elements; also [rows*N] against [N]

    // x [B,H,W,Ci], weight [Co,kh,kw,Ci], y [B,Ho,Wo,Co]
    void (*conv2d)(const Tensor *x, Tensor *weight, const Tensor *bias, const Conv2d *shape,
                   Tensor *y);
    void (*conv2d_input_gradient)(const Tensor *grad_y, Tensor *weight, const Conv2d *shape,
                                  Tensor *grad_x);

    // norms. x [B,...,C]. mean, rstd: FLOAT32 [B,groups] or [rows]; NULL when no backward will follow
    void (*group_norm)(const Tensor *x, const Tensor *weight, const Tensor *bias, int groups,
                       float eps, bool silu, Tensor *y, Tensor *mean, Tensor *rstd);
    void (*group_norm_gradient)(const Tensor *x, const Tensor *weight, const Tensor *bias,
                                int groups, bool silu, const Tensor *mean, const Tensor *rstd,
                                const Tensor *grad_y, Tensor *grad_x);
    void (*layer_norm)(const Tensor *x, const Tensor *weight, const Tensor *bias, float eps,
                       Tensor *y, Tensor *mean, Tensor *rstd); ///< weight, bias may be NULL
    void (*layer_norm_gradient)(const Tensor *x, const Tensor *weight, const Tensor *mean,
                                const Tensor *rstd, const Tensor *grad_y, Tensor *grad_x,
                                Tensor *grad_weight,
                                Tensor *grad_bias); ///< each output may be NULL; weight and bias +=
    void (*rms_norm)(const Tensor *x, const Tensor *weight, float eps, Tensor *y, Tensor *rstd);
    void (*rms_norm_gradient)(const Tensor *x, const Tensor *weight, const Tensor *rstd,
                              const Tensor *grad_y, Tensor *grad_x);
    /// sum = a + b, y = norm of the sum as stored: the bits of add() followed by the norm. a, b, sum of one shape and type.
    void (*add_layer_norm)(const Tensor *a, const Tensor *b, const Tensor *weight,
                           const Tensor *bias, float eps, Tensor *sum, Tensor *y, Tensor *mean,
                           Tensor *rstd);
    void (*add_rms_norm)(const Tensor *a, const Tensor *b, const Tensor *weight, float eps,
                         Tensor *sum, Tensor *y, Tensor *rstd);

    // attention. q [rows,heads*dim], k and v [rows',kv_heads*dim], y like q; log_sum_exp FLOAT32 [rows,heads] or NULL
    void (*attention)(const Tensor *q, const Tensor *k, const Tensor *v, const Attention *shape,
                      Tensor *y, Tensor *log_sum_exp);
    void (*attention_gradient)(const Tensor *q, const Tensor *k, const Tensor *v, const Tensor *y,
                               const Tensor *log_sum_exp, const Tensor *grad_y,
                               const Attention *shape, Tensor *grad_q, Tensor *grad_k,
                               Tensor *grad_v); ///< each output may be NULL
    void (*attention_rows)(
        const Tensor *q, const Tensor *k, const Attention *shape, const Tensor *rows,
        Tensor *
            probabilities); ///< rows INT32 [n]; FLOAT32 [n,heads,max_k_length], zero past what a row sees
    void (*rope)(
        const Tensor *x, const Tensor *rotations, bool transposed,
        Tensor *
            y); ///< rotations FLOAT32 [rows,head_dim]: cosines, then sines; transposed: these count negative

    // activations and gates
    void (*activation)(Activation kind, const Tensor *x, Tensor *y);
    void (*activation_gradient)(Activation kind, const Tensor *x, const Tensor *grad_y,
                                Tensor *grad_x);
    void (*geglu)(const Tensor *x, Tensor *y); ///< x [..,2C]: first half times gelu(second half)
    void (*geglu_gradient)(const Tensor *x, const Tensor *grad_y, Tensor *grad_x);
    void (*swiglu)(const Tensor *gate, const Tensor *up, Tensor *y); ///< silu(gate) * up
    void (*swiglu_gradient)(const Tensor *gate, const Tensor *up, const Tensor *grad_y,
                            Tensor *grad_gate, Tensor *grad_up);

    // element by element
    void (*add)(
        const Tensor *a, const Tensor *b,
        Tensor *
            y); ///< a and b may differ in type; y has its own; b may repeat: numel(a) % numel(b) == 0
    void (*multiply)(const Tensor *a, const Tensor *b, Tensor *y); ///< as add
    void (*scale)(const Tensor *x, float factor, Tensor *y);       ///< y may be x
    void (*convert)(const Tensor *x, Tensor *y);
    /// Keeps element i if uniform(stream, i) >= probability, times 1/(1-p). `rows` NULL: i counts the elements of x. Otherwise INT32 [rows,2],
    /// a number and a position (below 2^30) for each row of x, and the draw depends on those and the column alone: element c of a row is number
    /// (position << 34) + c of the stream with key + random_number_key(number).
    void (*dropout)(const Tensor *x, float probability, RandomStream stream, const Tensor *rows,
                    Tensor *y);
    void (*random_normal)(RandomStream stream, Tensor *y); ///< FLOAT32
    void (*gaussian_sample)(
        const Tensor *moments, const Tensor *noise,
        Tensor *
            y); ///< FLOAT32; moments [..,2C]: mean, log variance clamped to [-30,20]; y = mean + exp(logvar/2) * noise

    // moving things
    void (*concatenate)(const Tensor *a, const Tensor *b, Tensor *y); ///< along the last dimension
    void (*split)(const Tensor *y, Tensor *a, Tensor *b); ///< its inverse; each output may be NULL
    void (*upsample_nearest)(
        const Tensor *x, Tensor *y); ///< [B,H,W,C] to [B,Ho,Wo,C]; source index floor(o * H / Ho)
    void (*upsample_nearest_gradient)(const Tensor *grad_y, Tensor *grad_x);
    void (*resize_bilinear)(const Tensor *x, Tensor *y); ///< align_corners=false, no antialias
    void (*resize_bilinear_gradient)(const Tensor *grad_y, Tensor *grad_x);
    void (*gather_rows)(const Tensor *table, const Tensor *index, Tensor *y); ///< index INT32 [n]
    void (*scatter_rows)(const Tensor *rows, const Tensor *index,
                         Tensor *y); ///< y zero but for y[index[i]] = rows[i]; indices distinct
    void (*merge_rows)(const Tensor *a, const Tensor *b, const Tensor *index,
                       Tensor *y); ///< y[i] = index[i] >= 0 ? a[index[i]] : b[~index[i]]
    void (*merge_rows_gradient)(
        const Tensor *grad_y, const Tensor *index, Tensor *grad_a,
        Tensor
            *grad_b); ///< rows not used get zero; each used at most once; each output may be NULL

    // losses
    void (*softmax_cross_entropy)(
        Tensor *logits, const Tensor *targets, bool gradient,
        Tensor *
            loss_sum); ///< logits FLOAT32 [n,V], replaced by d(sum)/d(logits) if asked; loss_sum [1] +=
    void (*mean)(const Tensor *x, Tensor *y);                                ///< y FLOAT32 [1]
    void (*mean_squared_error)(const Tensor *a, const Tensor *b, Tensor *y); ///< y FLOAT32 [1]

    // optimizer, all FLOAT32
    double (*sum_squares)(int count, Tensor *const *x); ///< of all elements of `count` tensors
    void (*adamw)(const AdamW *step, int count,
                  const AdamWTensors *tensors); ///< the same step of `count` parameters
} Kernels;

#ifdef __cplusplus
extern "C" {
#endif

/// The kernel table of a tensor's device.
static inline const Kernels *kernels(const Tensor *x) { return x->device->kernels; }

/// Fills device_cpu()->kernels with the kernels for this processor (AVX-512, AVX2 or plain) and sets the size of the one
/// thread pool (0: one thread per core available to the process). Returns the device.
Device *ops_cpu_open(int threads);

/// Chooses the kernels of one x86-64 level ("v2", "v3", "v4", "v4_bf16", which is v4 with attention in pairs of bfloat16; "generic"
/// elsewhere) instead of the processor's best, as the environment variable DIFFLMM_CPU_LEVEL does. False if this processor lacks the level. Call it before anything ran: the product
/// library keeps its first choice.
bool ops_cpu_use_level(const char *level);

/// The GPU of that number (from 0) with its kernels. One device of the process: later calls return the same. NULL with a message
/// that says what is missing: the program was built without CUDA, no driver, a driver too old, no such GPU, no cuBLASLt.
Device *ops_cuda_open(int ordinal, Error *error);

/// How many GPUs there are; 0 where CUDA cannot be used.
int ops_cuda_count(void);

/// Where a GPU sits on the PCI bus ("0000:3b:00.0"): the same for all processes of a machine, whichever GPUs each of them sees. "" for
/// the processor.
enum { GPU_BUS_ID_BYTES = 32 };
void ops_cuda_bus_id(const Device *device, char text[GPU_BUS_ID_BYTES]);

#ifdef __cplusplus
}
#endif
