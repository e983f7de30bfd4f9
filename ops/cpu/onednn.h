/// Inside the CPU kernels: matrix products and convolutions by oneDNN (2.6 or 3.x, whose C
/// interfaces differ; nothing outside of onednn.c knows). It runs on the process's OpenMP pool.
/// Creating a primitive costs up to milliseconds, so primitives are kept, a bounded number of them,
/// keyed by sizes and types. Memory that a primitive works in comes from the CPU device and is
/// counted there.
#pragma once
#include "autograd/tensor.h"
#include "ops/types.h"

/// c [m,n] = a [m,k] b [k,n] + bias [n], row-major without gaps.
typedef struct Matmul {
    /// none is zero
    int64_t m, n, k;
    /// of a and b
    DType type;
    DType c_type;
    /// a is stored [k,m]
    bool a_transposed;
    /// b is stored [n,k], as a linear layer's weight
    bool b_transposed;
    /// adds to c
    bool accumulate;
} Matmul;

/// A matrix of a product of which a and b need not be of one type; rows follow each other without
/// gaps.
typedef struct ProductMatrix {
    const void *data;
    DType type;
} ProductMatrix;

/// bias: FLOAT32 or NULL. BFLOAT16 only where onednn_has_bfloat16().
void onednn_matmul(const Matmul *shape, const void *a, const void *b, const float *bias, void *c);

/// The same with b a frozen matrix of either floating type that is kept beside the tensor in the
/// layout the product prefers.
void onednn_matmul_prepared(const Matmul *shape, const void *a, Tensor *b, const float *bias,
                            void *c);

/// x [batch,height,width,channels_in], weight
/// [channels_out,kernel_height,kernel_width,channels_in], y
/// [batch,height_out,width_out,channels_out].
typedef struct Convolution {
    /// of x and y
    DType type;
    int64_t batch, height, width, channels_in;
    int64_t height_out, width_out, channels_out;
    int64_t kernel_height, kernel_width;
    Conv2d shape;
} Convolution;

static inline Convolution convolution_of(DType type, const Tensor *x, const Tensor *weight,
                                         const Conv2d *shape, const Tensor *y) {
    return (Convolution){
        .type = type,
        .batch = x->shape[0],
        .height = x->shape[1],
        .width = x->shape[2],
        .channels_in = x->shape[3],
        .height_out = y->shape[1],
        .width_out = y->shape[2],
        .channels_out = y->shape[3],
        .kernel_height = weight->shape[1],
        .kernel_width = weight->shape[2],
        .shape = *shape,
    };
}

/// Filters of more elements than this are packed at each call: a kept copy of all of Stable
/// Diffusion's takes a gigabyte.
enum { KEPT_FILTER_ELEMENTS = 1 << 19 };

/// weight: frozen, of either floating type; its packed form is kept beside the tensor unless it is
/// large.
void onednn_convolution(const Convolution *shape, const void *x, Tensor *weight, const float *bias,
                        void *y);
void onednn_convolution_input_gradient(const Convolution *shape, const void *grad_y, Tensor *weight,
                                       void *grad_x);

/// Whether the processor multiplies in bfloat16 (AVX512_BF16 or AMX). Elsewhere callers convert to
/// FLOAT32: oneDNN would emulate bfloat16 on AVX-512, measured three times slower than FLOAT32, and
/// lacks it below.
bool onednn_has_bfloat16(void);
/// Whether it has AVX-512 (as in x86-64-v4), or AVX2, and no level keeps oneDNN from using it.
bool onednn_has_avx512(void);
bool onednn_has_avx2(void);

/// Keeps oneDNN to the instructions of an x86-64 level (see ops_cpu_use_level). No effect once a
/// product has run.
void onednn_limit_level(const char *level);

/// Device.release_prepared.
void onednn_release_prepared(void *prepared);
