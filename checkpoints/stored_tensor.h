/// A tensor as a weight file holds it, whatever the file's format: where its elements lie in the
/// mapped file, and their conversion.
#pragma once
#include "autograd/error.h"

#include <stddef.h>
#include <stdint.h>

typedef enum ElementType {
    ELEMENT_BOOL,
    ELEMENT_U8,
    ELEMENT_I8,
    /// 4 bits of exponent, no infinities [Micikevicius et al. 2022, arXiv 2209.05433]
    ELEMENT_F8_E4M3,
    /// the upper half of an F16
    ELEMENT_F8_E5M2,
    ELEMENT_I16,
    ELEMENT_U16,
    ELEMENT_F16,
    ELEMENT_BF16,
    ELEMENT_I32,
    ELEMENT_U32,
    ELEMENT_F32,
    ELEMENT_I64,
    ELEMENT_U64,
    ELEMENT_F64,
    ELEMENT_TYPE_COUNT,
} ElementType;

enum { STORED_MAX_RANK = 8 };

/// Bytes of one element.
size_t element_size(ElementType type);
/// The name that safetensors uses: "F32", "BF16", ...
const char *element_name(ElementType type);

/// One stored tensor: everything is owned by the open file, lives until that is closed, and is
/// read-only.
///
/// `data` are the elements in row-major order, in place in the mapping, aligned to their type only
/// if `aligned` says so. It is NULL for the few tensors that lie otherwise in their file (a
/// transposed or expanded view in a PyTorch archive): such are read with the functions below, which
/// take any.
typedef struct StoredTensor {
    const char *name;
    ElementType type;
    int rank;
    int64_t shape[STORED_MAX_RANK];
    int64_t numel;
    const void *data;
    /// numel elements of that type
    size_t bytes;
    bool aligned;
    /// where the element of index 0, ..., 0 lies
    const void *first;
    /// in elements, none negative; only for data == NULL
    int64_t strides[STORED_MAX_RANK];
} StoredTensor;

/// Elements [first, first + count) in row-major order as they are, `count` elements into `out`.
void stored_tensor_read(const StoredTensor *tensor, int64_t first, int64_t count, void *out);
/// The same converted to float32: exact for 8-bit and 16-bit floats and F32, rounded for F64 and
/// wide integers.
void stored_tensor_read_float32(const StoredTensor *tensor, int64_t first, int64_t count,
                                float *out);
/// The same converted to bfloat16 bit patterns, rounded to nearest even.
void stored_tensor_read_bfloat16(const StoredTensor *tensor, int64_t first, int64_t count,
                                 uint16_t *out);

/// "[2, 3, 4]" into a buffer; returns the buffer.
const char *shape_text(int rank, const int64_t *shape, char *buffer, size_t size);
