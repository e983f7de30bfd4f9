/// Contiguous tensors, and the scopes that free them.
///
/// A tensor is a type, a shape and a block of memory: channels last (an image is [B,H,W,C], tokens
/// are [B,T,C]), no strides. Every tensor made by tensor_new() or by an op belongs to the innermost
/// open scope and dies with it, unless it is returned from the scope or held (by the tape, by
/// tensor_retain). Weights and parameters live outside of scopes.
///
/// Types. Activations are FLOAT32 or BFLOAT16. Matrices of frozen networks have the activations'
/// type, or are FLOAT8; trainable parameters, biases, norm weights and statistics are FLOAT32.
/// Indices are INT32.
///
/// FLOAT8 is e4m3 (Micikevicius et al. 2022, arXiv 2209.05433) with one scale a row: element (r,c)
/// is scales[r] times the number that its byte stands for. Scales are powers of two, so that a
/// number of FLOAT8 is one of BFLOAT16 and of FLOAT32, too.
#pragma once
#include "autograd/device.h"
#include "autograd/error.h"

#include <stdbool.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef enum DType { FLOAT32, BFLOAT16, INT32, FLOAT8 } DType;

enum { MAX_RANK = 4 };

typedef struct Tensor Tensor;
typedef struct Gradient Gradient;
typedef struct Storage Storage;

struct Tensor {
    DType dtype;
    int rank;
    int64_t shape[MAX_RANK];
    void *data;
    Device *device;
    /// shared by a tensor and its reshapes
    Storage *storage;
    /// of FLOAT8: FLOAT32 [rows], owned, powers of two; NaN for a row that is not finite
    Tensor *scales;
    /// NULL: no gradient is wanted
    Gradient *gradient;
    /// a kernel's copy of a frozen weight (see Device.release_prepared)
    void *prepared;
    /// for messages, owned; NULL unless a weight or parameter
    char *name;
    int references;
};

/// Shape as a compound literal: tensor_new(device, FLOAT32, SHAPE(2, 3)).
#define SHAPE(...) \
    (int)(sizeof((int64_t[]){__VA_ARGS__}) / sizeof(int64_t)), (const int64_t[]) { __VA_ARGS__ }

/// A tensor with undefined content, owned by the innermost scope.
Tensor *tensor_new(Device *device, DType dtype, int rank, const int64_t *shape);
/// The same, zero; not of FLOAT8.
Tensor *tensor_zeros(Device *device, DType dtype, int rank, const int64_t *shape);
/// Undefined content; type, shape and device of x.
Tensor *tensor_like(const Tensor *x);
/// Copies host memory of the given type into a new tensor of the innermost scope.
Tensor *tensor_from_host(Device *device, DType dtype, int rank, const int64_t *shape,
                         const void *data);
/// x's memory under another shape of as many elements (gradient shared as well): no copy. Not of
/// FLOAT8.
Tensor *reshape(Tensor *x, int rank, const int64_t *shape);

/// A tensor outside of any scope: content undefined, one reference that the caller owns. Counted as
/// MEMORY_WEIGHTS.
Tensor *tensor_new_persistent(Device *device, DType dtype, int rank, const int64_t *shape,
                              const char *name);
/// A persistent tensor over memory that somebody else owns and that outlives it.
Tensor *tensor_over(Device *device, DType dtype, int rank, const int64_t *shape, void *data,
                    const char *name);

/// A persistent tensor over a part of what `owner` owns (a mapped file), which is only read.
/// Counted as MEMORY_WEIGHTS; release(owner) is called when the tensor and its reshapes are gone.
Tensor *tensor_over_part(Device *device, DType dtype, int rank, const int64_t *shape,
                         const void *data, const char *name, void *owner,
                         void (*release)(void *owner));

/// Counts x's memory, which its reshapes share, as another kind; tensors of scopes are
/// MEMORY_ACTIVATIONS at first.
void tensor_set_memory_kind(Tensor *x, MemoryKind kind);

/// A part of base as a tensor of the innermost scope, from element `offset` on: no copy, no
/// gradient; of FLOAT8 whole rows. Base's memory lives as long as the slice (tensor_retain() makes
/// it outlive the scope).
Tensor *tensor_slice(const Tensor *base, int64_t offset, int rank, const int64_t *shape);
/// Moves x into the memory of `slice`, which has as many elements of its type: x's content is
/// copied there, and x lies there from now on. x has no reshape.
void tensor_move(Tensor *x, const Tensor *slice);

/// One more owner. Returns x. NULL is allowed in both.
Tensor *tensor_retain(Tensor *x);
/// One owner less; the last frees it.
void tensor_release(Tensor *x);

/// Opens a scope. Scopes nest, per thread.
void scope_begin(void);
/// Frees the scope's tensors.
void scope_end(void);
/// Frees the scope's tensors except x, which passes to the enclosing scope. Returns x.
Tensor *scope_end_returning(Tensor *x);
/// Hands a retained tensor (one reference of the caller's) to the innermost scope. Returns x.
Tensor *scope_adopt(Tensor *x);

/// Marks x as a leaf whose gradient is wanted: FLOAT32, gathered (+=) over backward passes until
/// grad_clear().
void require_grad(Tensor *x);
/// Numbers a leaf (a place in a ParameterSet, from 0), for the LeafListener of backward().
void leaf_set_index(Tensor *x, int index);
/// Lets a leaf's gradient gather in `buffer` (FLOAT32, x's shape), which it keeps.
void leaf_set_gradient(Tensor *x, Tensor *buffer);
/// Counts a leaf's gradient as gathered, zero if nothing came.
void leaf_settle_gradient(Tensor *x);
/// True if a gradient of x is wanted and the tape records.
bool requires_grad(const Tensor *x);
/// The gathered gradient of a leaf, or NULL if none came. Valid until the next backward pass or
/// grad_clear().
Tensor *grad(const Tensor *x);
/// Forgets the gathered gradient.
void grad_clear(Tensor *x);

int64_t tensor_numel(const Tensor *x);
/// Product of all dimensions but the last.
int64_t tensor_rows(const Tensor *x);
/// The last dimension.
int64_t tensor_columns(const Tensor *x);
size_t dtype_size(DType dtype);
const char *dtype_name(DType dtype);
bool same_shape(const Tensor *a, const Tensor *b);
/// "[2, 3, 4] float32" in a buffer that the next eight calls leave alone.
const char *tensor_describe(const Tensor *x);

/// Copies to host memory as float, whatever the floating type (of FLOAT8 with its scales). `out`
/// holds tensor_numel(x) floats.
void tensor_to_host_float(const Tensor *x, float *out);
/// Fills x (FLOAT32 or BFLOAT16) from host floats.
void tensor_fill_from_float(Tensor *x, const float *values);
/// The one value of a one-element floating tensor.
float tensor_item(const Tensor *x);

/// The largest number of FLOAT8 before its scale, 1.75 * 2^8.
#define FLOAT8_MAX 448.0f

/// The number that a byte of FLOAT8 stands for, without its scale; 0x7f and 0xff, which no tensor
/// holds, are NaN in the format.
static inline float float8_to_float(uint8_t value) {
    union {
        uint32_t bits;
        float number;
    } u;
    uint32_t magnitude = value & 0x7fu;
    u.bits = (magnitude << 20) + (120u << 23);
    // Exponents begin at -6; below are multiples of 2^-9.
    u.number = magnitude < 8 ? (float)(int)magnitude * 0x1p-9f : u.number;
    u.bits |= (uint32_t)(value & 0x80u) << 24;
    return u.number;
}

/// Round to nearest even; |value| <= FLOAT8_MAX.
static inline uint8_t float_to_float8(float value) {
    union {
        float number;
        uint32_t bits;
    } u = {value}, small;
    uint32_t sign = u.bits >> 24 & 0x80u;
    u.bits &= 0x7fffffffu;
    small.number = u.number + 0x1p14f; // whose last place is 2^-9
    uint32_t rounded = (u.bits + 0x7ffffu + (u.bits >> 20 & 1u) - (120u << 23)) >> 20;
    return (uint8_t)(sign | (u.number < 0x1p-6f ? small.bits & 0xfu : rounded));
}

/// The scale of a row whose largest magnitude is given: the least power of two that brings it to
/// FLOAT8_MAX at most, and no less than 2^-117, so that what is scaled are normal numbers. NaN if
/// the magnitude is not finite.
static inline float float8_scale(float largest) {
    union {
        float number;
        uint32_t bits;
    } u = {largest};
    uint32_t exponent = u.bits >> 23, above = (u.bits & 0x7fffffu) > 0x600000u;
    if (exponent == 255) return u.number - u.number;
    u.bits = (exponent < 18 ? 10 : exponent - 8 + above) << 23;
    return u.number;
}

static inline float bfloat16_to_float(uint16_t value) {
    union {
        uint32_t bits;
        float number;
    } u = {(uint32_t)value << 16};
    return u.number;
}

/// Round to nearest even; NaN stays NaN.
static inline uint16_t float_to_bfloat16(float value) {
    union {
        float number;
        uint32_t bits;
    } u = {value};
    if ((u.bits & 0x7fffffffu) > 0x7f800000u) return (uint16_t)((u.bits >> 16) | 0x40u);
    return (uint16_t)((u.bits + 0x7fffu + ((u.bits >> 16) & 1u)) >> 16);
}

#ifdef __cplusplus
}
#endif
