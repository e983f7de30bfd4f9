/// Plain descriptions shared by ops and kernels.
#pragma once
#include "autograd/tensor.h"

typedef enum Activation {
    /// exact, x * Phi(x)
    GELU,
    /// its approximation, 0.5 x (1 + tanh(sqrt(2/pi) (x + 0.044715 x^3)))
    GELU_TANH,
    /// x * sigmoid(1.702 x), as CLIP
    QUICK_GELU,
    /// x * sigmoid(x)
    SILU,
    /// max(x, 0); NaN stays NaN
    RELU,
} Activation;

/// Geometry of a convolution; kernel size comes from the weight [Co,kh,kw,Ci]. Padding is zero and
/// may be asymmetric (the VAE's downsamplers pad bottom and right only). Output: (H + top + bottom
/// - kh) / stride + 1.
typedef struct Conv2d {
    int stride;
    int pad_top, pad_left, pad_bottom, pad_right;
} Conv2d;

/// The widest head that attention takes (the autoencoder of Stable Diffusion has one of 512).
enum { ATTENTION_MAX_HEAD_DIM = 1024 };

/// What the places of query and key on a grid add to a score (decomposed relative positions: Li et
/// al. 2021, arXiv 2112.01526, eq. 4). A segment's queries and its keys are the same height x width
/// places, row by row, and query (y,x) and key (y',x') get
///   vertical[query, head, y' - y + height - 1] + horizontal[query, head, x' - x + width - 1].
typedef struct RelativePositions {
    int height, width;
    /// FLOAT32 [query rows, heads, 2 height - 1]; NULL: nothing is added
    const Tensor *vertical;
    /// FLOAT32 [query rows, heads, 2 width - 1]
    const Tensor *horizontal;
} RelativePositions;

/// Scaled-dot-product attention over packed sequences: query rows q_offset .. q_offset+q_length of
/// a segment attend to key rows k_offset .. k_offset+k_length. Causal: query i of a segment sees
/// keys 0 .. i + k_length - q_length, with a window only the last so many of these. Query head h
/// uses key head h / (heads / kv_heads). Rows in no segment, and queries that see no key, give
/// zero. For gradients the segments' keys follow one another without overlap.
typedef struct Attention {
    int heads, kv_heads, head_dim;
    /// usually 1/sqrt(head_dim)
    float scale;
    bool causal;
    int num_segments;
    int max_q_length, max_k_length;
    /// of a query and a key that it sees, over all segments: what the work is counted by
    int64_t pairs;
    /// in segments, of queries and of keys
    int64_t q_rows, k_rows;
    /// INT32 [num_segments,4]: q_offset, q_length, k_offset, k_length
    const Tensor *segments;
    RelativePositions relative;
    /// 0: none; only with causal, from attention_in_window()
    int window;
} Attention;

/// One AdamW update (Loshchilov & Hutter 2019, arXiv 1711.05101), as torch.optim.AdamW computes it:
///   p -= lr * weight_decay * p;  m = b1 m + (1-b1) g;  v = b2 v + (1-b2) g^2;
///   p -= lr * (m / (1-b1^t)) / (sqrt(v / (1-b2^t)) + eps)
typedef struct AdamW {
    float learning_rate, beta1, beta2, epsilon, weight_decay;
    /// t, from 1
    int64_t step;
    /// multiplies the gradient first (clipping, loss normalisation)
    float gradient_scale;
} AdamW;

/// One parameter of an AdamW step.
typedef struct AdamWTensors {
    /// NULL: zero
    const Tensor *gradient;
    Tensor *exp_avg, *exp_avg_sq, *parameter;
} AdamWTensors;
