/// Inside the CUDA kernels only: matrix products by cuBLASLt, which is opened when the program runs
/// and never linked.
///
/// Products accumulate in FLOAT32 (no TF32) and are deterministic: the library promises the same
/// bits for the same call on the same kind of GPU from one stream, and the only way of splitting a
/// sum that it is allowed here keeps partial sums in FLOAT32 in a workspace and adds them in a step
/// of its own.
///
/// Into BFLOAT16, a product alone is rounded once; one that is added to c is rounded before the
/// addition and after it, by every algorithm; one with a bias is rounded after it, and before it
/// too by the algorithms that split the sum. PyTorch's results have the same roundings. GELU into
/// FLOAT32 has a relative error of 4e-6 (a tanh of the hardware), so it is asked for into BFLOAT16
/// only. All this was measured on an H200 with CUDA 13.0, over every algorithm that the heuristic
/// proposes.
///
/// Of the library's epilogues the bias is used, and GELU, which is the approximation by tanh. Its
/// documentation does not say so; what uses it in place of the approximation does: PyTorch
/// ("cuBLASLt-based fused GELU epilogue [...] uses tanh approximation",
/// github.com/pytorch/pytorch/pull/104061) and XLA (gemm_rewriter.cc, which replaces the
/// written-out approximation and nothing else). So exact GELU is never left to the library.
#pragma once
#include "ops/cuda/cuda.h"

/// Opens the library. False, with what is missing, if it is not there or lacks a call. Once per
/// process; later calls return true at once.
bool cublaslt_open(Error *error);

/// c [m,n] = op(a) [m,k] op(b) [k,n] + bias [n], or activation GELU_TANH of that, row-major without
/// gaps. Types of a, b and c: all BFLOAT16, all FLOAT32, BFLOAT16 a and b into FLOAT32 c, or FLOAT8
/// a and b into either.
struct Product {
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
    /// not together with accumulate; into BFLOAT16 only
    bool gelu_tanh;
    /// of FLOAT8: of a's rows and of b's as it is stored
    const float *a_scales = nullptr, *b_scales = nullptr;
};

/// Queues the product on the stream of `like`, from whose device scratch memory comes too. bias:
/// c's type or NULL. Any alignment that the element type allows. Stops the program with the
/// library's status and the sizes on failure.
void multiply(const Tensor *like, const Product &product, const void *a, const void *b,
              const void *bias, void *c);

/// The product of FLOAT8 a as it is and b as a linear layer's weight, on the chip's units for it:
/// sums in FLOAT32, rounded once. Neither added to c nor with GELU. False, and nothing queued,
/// where the library has none for this chip, these sizes or these addresses: it wants n and k of
/// whole 16 bytes. Not run on a GPU yet.
bool multiply_float8(const Tensor *like, const Product &product, const void *a, const void *b,
                     void *c);

/// A matrix or a bias in the type that a product takes: the tensor's own elements, or those of a
/// FLOAT32 master rounded to BFLOAT16, or of FLOAT8 widened, in scratch memory that lives as long
/// as this object.
/// `operand` NULL: no data. Scratch memory comes from the device of `like`.
class ProductOperand {
  public:
    ProductOperand(const Tensor *like, const Tensor *operand, DType type);
    const void *data() const { return elements; }

  private:
    Workspace copy;
    const void *elements;
};
