/// Everything the networks are written with. Every function makes a tensor in the innermost scope
/// and, where an input wants a gradient, leaves a node on the tape. Words and semantics are
/// PyTorch's; layouts are channels last.
///
/// Frozen matrices (no gradient wanted) have x's type; trainable ones are FLOAT32 masters and are
/// converted to x's type for the product, their gradients gathered in FLOAT32. Biases and norm
/// weights are FLOAT32.
#pragma once
#include "autograd/random.h"
#include "autograd/tape.h"
#include "autograd/tensor.h"
#include "ops/types.h"

// ---- linear.c, conv2d.c

/// y = x W^T + b. x [..,K], weight [N,K], bias [N] or NULL; returns [..,N] of x's type.
/// Differentiable in x, weight, bias.
///
/// A weight of FLOAT8 is multiplied with the rows of x rounded to FLOAT8 as well, in this and all
/// linear layers; it wants no gradient, and that of x takes the rounding for the identity.
Tensor *linear(Tensor *x, Tensor *weight, Tensor *bias);
/// activation(GELU_TANH, linear(x, weight, bias)). Where no input wants a gradient a device may do
/// both at once and round once.
Tensor *linear_gelu_tanh(Tensor *x, Tensor *weight, Tensor *bias);

/// A low-rank update of a linear layer (Hu et al. 2021, arXiv 2106.09685): y += scale * dropout(x)
/// A^T B^T.
typedef struct LoRA {
    /// [r,K], trainable, FLOAT32
    Tensor *a;
    /// [N,r], trainable, FLOAT32
    Tensor *b;
    /// lora_alpha / r
    float scale;
    /// probability; 0: none
    float dropout;
    /// for the dropout
    RandomStream stream;
    /// INT32 [rows,2], a sample's number and a position in it for each row: the draw then does not
    /// depend on how samples are batched; NULL: it depends on the row
    Tensor *dropout_rows;
} LoRA;

/// linear() plus the low-rank update; lora may be NULL. The frozen weight gets no gradient.
/// Differentiable in x, A, B.
Tensor *linear_lora(Tensor *x, Tensor *weight, Tensor *bias, const LoRA *lora);

/// linear_lora() for generation: a row of the result is a function of that row of x alone, to the
/// last bit, whichever other rows there are and however many. Fast for few rows. No gradients, no
/// dropout.
Tensor *linear_few_rows(Tensor *x, Tensor *weight, Tensor *bias, const LoRA *lora);

/// x [..,C] in FLOAT8, a scale for each row (autograd/tensor.h). No gradient.
Tensor *quantize_rows(const Tensor *x);

/// x [B,H,W,Ci], weight [Co,kh,kw,Ci] (kernels 1x1, 3x3, patch-sized), bias [Co] or NULL; returns
/// [B,Ho,Wo,Co]. Differentiable in x only (convolutions belong to frozen networks; the projector's
/// 1x1 convolution is a linear()).
Tensor *conv2d(Tensor *x, Tensor *weight, Tensor *bias, Conv2d shape);

// ---- group_norm.c, layer_norm.c, rms_norm.c

/// x [B,..,C], statistics per sample and group of C/groups neighbouring channels (Wu & He 2018,
/// arXiv 1803.08494); silu: SiLU applied to the result. weight, bias [C], frozen. Differentiable in
/// x.
Tensor *group_norm(Tensor *x, Tensor *weight, Tensor *bias, int groups, float eps, bool silu);
/// y = (x - mean) / sqrt(var + eps) * weight + bias over the last dimension (Ba et al. 2016, arXiv
/// 1607.06450). Differentiable in all.
Tensor *layer_norm(Tensor *x, Tensor *weight, Tensor *bias, float eps);
/// y = x / sqrt(mean(x^2) + eps) * weight (Zhang & Sennrich 2019, arXiv 1910.07467); weight [C],
/// frozen. Differentiable in x.
Tensor *rms_norm(Tensor *x, Tensor *weight, float eps);
/// layer_norm(a + b): add() and layer_norm() to the last bit, gradients too, in one pass over
/// memory. a, b [..,C] of one shape and type. *sum receives a + b, a tensor like any op's result.
/// Differentiable in all.
Tensor *add_layer_norm(Tensor *a, Tensor *b, Tensor *weight, Tensor *bias, float eps, Tensor **sum);
/// The same for rms_norm(); weight [C], frozen. Differentiable in a and b.
Tensor *add_rms_norm(Tensor *a, Tensor *b, Tensor *weight, float eps, Tensor **sum);

// ---- attention.c, rope.c

/// Describes attention over B equal sequences: q [B*q_length,..], k and v [B*k_length,..]. scale 0:
/// 1/sqrt(head_dim).
Attention attention_uniform(Device *device, int batch, int q_length, int k_length, int heads,
                            int kv_heads, int head_dim, bool causal);
/// Self-attention over packed sequences of the given lengths (host array).
Attention attention_packed(Device *device, int num_segments, const int *lengths, int heads,
                           int kv_heads, int head_dim, bool causal);
/// Any segments: host array of num_segments times (q_offset, q_length, k_offset, k_length).
Attention attention_segments(Device *device, int num_segments, const int32_t (*segments)[4],
                             int heads, int kv_heads, int head_dim, bool causal);
/// The same with relative positions added to the scores: segments of height x width queries and as
/// many keys, not causal. vertical has query rows x heads x (2 height - 1) elements, FLOAT32,
/// horizontal the same with width. No gradients then.
Attention attention_on_grid(Attention shape, int height, int width, const Tensor *vertical,
                            const Tensor *horizontal);
/// The same with a sliding window (Beltagy et al. 2020, arXiv 2004.05150), of causal attention: a
/// query sees at most `window` keys, the last of which is its own. 0, or no segment longer than the
/// window: as it was. `pairs` keeps counting what a window hides.
Attention attention_in_window(Attention shape, int window);
/// softmax(q k^T scale) v per head, never materialised whole. Shapes see Attention; returns q's
/// shape. Differentiable in q, k, v.
Tensor *scaled_dot_product_attention(Tensor *q, Tensor *k, Tensor *v, Attention shape);
/// The attention probabilities of chosen query rows (INT32 [n], row indices of q) after the softmax
/// over all keys they see: FLOAT32 [n,heads,max_k_length], position j is key j of the row's
/// segment. No gradient.
Tensor *attention_rows(Tensor *q, Tensor *k, Attention shape, Tensor *rows);
/// Rotary position embedding (Su et al. 2021, arXiv 2104.09864) in Llama's "rotate half" form:
/// within each head, element i pairs with i + head_dim/2, and the pair (a, b) becomes (a c - b s, b
/// c + a s). x [rows,heads*head_dim]; rotations FLOAT32 [rows,head_dim]: the head_dim/2 cosines c
/// of a row's angles, then the sines s. Differentiable in x.
Tensor *rope(Tensor *x, Tensor *rotations);

// ---- activation.c

Tensor *activation(Activation kind, Tensor *x);
Tensor *gelu(Tensor *x);
Tensor *gelu_tanh(Tensor *x);
Tensor *quick_gelu(Tensor *x);
Tensor *silu(Tensor *x);
Tensor *relu(Tensor *x);
/// x [..,2C]: first half times gelu(second half), as diffusers' GEGLU. Returns [..,C].
Tensor *geglu(Tensor *x);
/// silu(gate) * up, both [..,C].
Tensor *swiglu(Tensor *gate, Tensor *up);

// ---- elementwise.c

/// a + b; b may be a trailing shape of a ([N,C] onto [B,N,C], [C] onto [B,..,C]) and FLOAT32 beside
/// a BFLOAT16 a. a's type. Differentiable in both.
Tensor *add(Tensor *a, Tensor *b);
/// a * b of one shape. Differentiable in both.
Tensor *multiply(Tensor *a, Tensor *b);
Tensor *scale(Tensor *x, float factor);
/// x in another floating type (x itself if it has it already). Differentiable.
Tensor *convert(Tensor *x, DType dtype);
/// Keeps each element with probability 1 - p and divides by it; the same stream drops the same
/// elements. p = 0: x itself.
Tensor *dropout(Tensor *x, float p, RandomStream stream);

// ---- shape.c

/// Along the last dimension; leading dimensions agree.
Tensor *concatenate(Tensor *a, Tensor *b);
/// [B,H,W,C] to [B,height,width,C], nearest (source index floor(o * H / height)).
Tensor *upsample_nearest(Tensor *x, int height, int width);
/// [B,H,W,C] to [B,height,width,C], bilinear, align_corners=false, no antialias, as torch
/// interpolate.
Tensor *resize_bilinear(Tensor *x, int height, int width);
/// Rows of a frozen table [V,C] by INT32 index [n]: [n,C]. No gradient.
Tensor *embedding(Tensor *table, Tensor *index);
/// Rows of x [rows,C] by distinct INT32 index [n]: [n,C]. Differentiable in x.
Tensor *gather_rows(Tensor *x, Tensor *index);
/// y[index[i]] = rows[i], in place: rows [n,C], distinct INT32 index [n] of rows of y. No
/// gradients.
void write_rows(Tensor *rows, Tensor *index, Tensor *y);
/// y[i] = index[i] >= 0 ? a[index[i]] : b[-1 - index[i]]: puts visual tokens (b [n_b,C]) into a
/// sequence of text embeddings (a [n_a,C]). index INT32 [n]; each row is used at most once where it
/// wants a gradient. b may be NULL if no index is negative. Differentiable in a and b.
Tensor *merge_rows(Tensor *a, Tensor *b, Tensor *index);

// ---- loss.c

/// Sum over i of the cross-entropy of softmax(hidden[rows[i]] W^T) against targets[i], fused so
/// that logits exist in chunks only and only for supervised rows. hidden [T,C], weight [V,C]
/// frozen, rows and targets INT32 [n] (rows distinct). Returns FLOAT32 [1]: the *sum*; who divides
/// by the number of supervised tokens of the whole batch is the trainer. Differentiable in hidden.
Tensor *linear_cross_entropy(Tensor *hidden, Tensor *weight, Tensor *rows, Tensor *targets);
/// Mean of all elements, FLOAT32 [1].
Tensor *mean(Tensor *x);
/// Mean of (a - b)^2, FLOAT32 [1]. Differentiable in both.
Tensor *mean_squared_error(Tensor *a, Tensor *b);

// ---- sampling.c (no gradients)

/// mean + exp(log_variance / 2) * noise from moments [..,2C] (mean first; log variance clamped to
/// [-30, 20]); noise [..,C].
Tensor *gaussian_sample(Tensor *moments, Tensor *noise);
