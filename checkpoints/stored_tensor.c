// Conversion of stored elements. Sources may be unaligned, hence the copies; they compile to plain
// loads.
#include "checkpoints/stored_tensor.h"
#include "autograd/tensor.h"

#include <stdio.h>
#include <string.h>

static const struct {
    const char *name;
    size_t size;
} types[ELEMENT_TYPE_COUNT] = {
    [ELEMENT_BOOL] = {"BOOL", 1},       [ELEMENT_U8] = {"U8", 1},
    [ELEMENT_I8] = {"I8", 1},           [ELEMENT_F8_E4M3] = {"F8_E4M3", 1},
    [ELEMENT_F8_E5M2] = {"F8_E5M2", 1}, [ELEMENT_I16] = {"I16", 2},
    [ELEMENT_U16] = {"U16", 2},         [ELEMENT_F16] = {"F16", 2},
    [ELEMENT_BF16] = {"BF16", 2},       [ELEMENT_I32] = {"I32", 4},
    [ELEMENT_U32] = {"U32", 4},         [ELEMENT_F32] = {"F32", 4},
    [ELEMENT_I64] = {"I64", 8},         [ELEMENT_U64] = {"U64", 8},
    [ELEMENT_F64] = {"F64", 8},
};

size_t element_size(ElementType type) { return types[type].size; }
const char *element_name(ElementType type) { return types[type].name; }

const char *shape_text(int rank, const int64_t *shape, char *buffer, size_t size) {
    size_t used = (size_t)snprintf(buffer, size, "[");
    for (int i = 0; i < rank && used < size; i++)
        used += (size_t)snprintf(buffer + used, size - used, i ? ", %lld" : "%lld",
                                 (long long)shape[i]);
    if (used < size) snprintf(buffer + used, size - used, "]");
    return buffer;
}

// ---- elements in row-major order

static void gather(const StoredTensor *tensor, int64_t first, int64_t count, char *out) {
    size_t size = element_size(tensor->type);
    int64_t index[STORED_MAX_RANK] = {0}, offset = 0;
    for (int d = tensor->rank - 1; d >= 0; d--) {
        index[d] = first % tensor->shape[d];
        first /= tensor->shape[d];
        offset += index[d] * tensor->strides[d];
    }
    for (int64_t i = 0; i < count; i++) {
        memcpy(out + (size_t)i * size, (const char *)tensor->first + offset * (int64_t)size, size);
        for (int d = tensor->rank - 1; d >= 0; d--) {
            offset += tensor->strides[d];
            if (++index[d] < tensor->shape[d]) break;
            offset -= tensor->shape[d] * tensor->strides[d];
            index[d] = 0;
        }
    }
}

static void check_range(const StoredTensor *tensor, int64_t first, int64_t count) {
    CHECK(first >= 0 && count >= 0 && first <= tensor->numel - count,
          "stored tensor '%s': elements %lld to %lld of %lld", tensor->name, (long long)first,
          (long long)(first + count), (long long)tensor->numel);
}

void stored_tensor_read(const StoredTensor *tensor, int64_t first, int64_t count, void *out) {
    check_range(tensor, first, count);
    size_t size = element_size(tensor->type);
    if (count == 0) return;
    if (tensor->data)
        memcpy(out, (const char *)tensor->data + (size_t)first * size, (size_t)count * size);
    else
        gather(tensor, first, count, out);
}

// ---- conversion

static float half_to_float(uint16_t half) {
    uint32_t sign = (uint32_t)(half & 0x8000u) << 16, bits;
    uint32_t exponent = (half >> 10) & 0x1fu, fraction = half & 0x3ffu;
    if (exponent == 0) {
        // Zero and subnormals are multiples of 2^-24.
        float value = (float)fraction * 0x1p-24f;
        return sign ? -value : value;
    }
    if (exponent == 31)
        bits = sign | 0x7f800000u | (fraction << 13);
    else
        bits = sign | ((exponent + 112) << 23) | (fraction << 13);
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

static float e4m3_to_float(uint8_t bits) {
    uint32_t sign = (uint32_t)(bits & 0x80u) << 24, exponent = (bits >> 3) & 0xfu,
             fraction = bits & 7u, wide;
    if (exponent == 0) { // zero and subnormals are multiples of 2^-9
        float value = (float)fraction * 0x1p-9f;
        return sign ? -value : value;
    }
    if (exponent == 15 && fraction == 7)
        wide = sign | 0x7fc00000u; // the one NaN; there is no infinity
    else
        wide = sign | ((exponent + 120) << 23) | (fraction << 20);
    float value;
    memcpy(&value, &wide, sizeof value);
    return value;
}

#define CASE_PLAIN(element, ctype)                                           \
    case element:                                                            \
        for (int64_t i = 0; i < count; i++) {                                \
            ctype value;                                                     \
            memcpy(&value, bytes + i * (int64_t)sizeof value, sizeof value); \
            out[i] = (float)value;                                           \
        }                                                                    \
        break

static void convert(ElementType type, const char *bytes, int64_t count, float *out) {
    switch (type) {
        CASE_PLAIN(ELEMENT_BOOL, uint8_t);
        CASE_PLAIN(ELEMENT_U8, uint8_t);
        CASE_PLAIN(ELEMENT_I8, int8_t);
        CASE_PLAIN(ELEMENT_I16, int16_t);
        CASE_PLAIN(ELEMENT_U16, uint16_t);
        CASE_PLAIN(ELEMENT_I32, int32_t);
        CASE_PLAIN(ELEMENT_U32, uint32_t);
        CASE_PLAIN(ELEMENT_I64, int64_t);
        CASE_PLAIN(ELEMENT_U64, uint64_t);
        CASE_PLAIN(ELEMENT_F64, double);
    case ELEMENT_F32:
        memcpy(out, bytes, (size_t)count * sizeof(float));
        break;
    case ELEMENT_F8_E4M3:
        for (int64_t i = 0; i < count; i++) out[i] = e4m3_to_float((uint8_t)bytes[i]);
        break;
    case ELEMENT_F8_E5M2:
        for (int64_t i = 0; i < count; i++)
            out[i] = half_to_float((uint16_t)((uint8_t)bytes[i] << 8));
        break;
    case ELEMENT_F16:
    case ELEMENT_BF16:
        for (int64_t i = 0; i < count; i++) {
            uint16_t value;
            memcpy(&value, bytes + 2 * i, sizeof value);
            out[i] = type == ELEMENT_F16 ? half_to_float(value) : bfloat16_to_float(value);
        }
        break;
    case ELEMENT_TYPE_COUNT:
        CHECK(false, "no type");
    }
}

enum { CHUNK = 1024, MAX_ELEMENT_BYTES = 8 };

void stored_tensor_read_float32(const StoredTensor *tensor, int64_t first, int64_t count,
                                float *out) {
    check_range(tensor, first, count);
    if (count == 0) return;
    if (tensor->data) {
        const char *start = (const char *)tensor->data + (size_t)first * element_size(tensor->type);
        convert(tensor->type, start, count, out);
        return;
    }
    char bytes[CHUNK * MAX_ELEMENT_BYTES];
    for (int64_t done = 0, part; done < count; done += part) {
        part = count - done < CHUNK ? count - done : CHUNK;
        gather(tensor, first + done, part, bytes);
        convert(tensor->type, bytes, part, out + done);
    }
}

void stored_tensor_read_bfloat16(const StoredTensor *tensor, int64_t first, int64_t count,
                                 uint16_t *out) {
    if (tensor->type == ELEMENT_BF16) {
        stored_tensor_read(tensor, first, count, out);
        return;
    }
    float values[CHUNK];
    for (int64_t done = 0, part; done < count; done += part) {
        part = count - done < CHUNK ? count - done : CHUNK;
        stored_tensor_read_float32(tensor, first + done, part, values);
        for (int64_t i = 0; i < part; i++) out[done + i] = float_to_bfloat16(values[i]);
    }
}
