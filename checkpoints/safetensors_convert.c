// Conversion of stored elements. Sources may be unaligned, hence the copies; they compile to plain loads.
#include "autograd/tensor.h"
#include "checkpoints/safetensors.h"

#include <string.h>

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

#define CASE_PLAIN(element, ctype)                                           \
    case element:                                                            \
        for (int64_t i = 0; i < count; i++) {                                \
            ctype value;                                                     \
            memcpy(&value, bytes + i * (int64_t)sizeof value, sizeof value); \
            out[i] = (float)value;                                           \
        }                                                                    \
        return true

/// Elements [first, first + count) as float; false for types without a conversion.
static bool convert(const SafetensorsEntry *entry, int64_t first, int64_t count, float *out) {
    const char *bytes = (const char *)entry->data + first * (int64_t)element_size(entry->type);
    switch (entry->type) {
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
        return true;
    case ELEMENT_F16:
    case ELEMENT_BF16:
        for (int64_t i = 0; i < count; i++) {
            uint16_t value;
            memcpy(&value, bytes + 2 * i, sizeof value);
            out[i] = entry->type == ELEMENT_F16 ? half_to_float(value) : bfloat16_to_float(value);
        }
        return true;
    default:
        return false;
    }
}

static bool no_conversion(const SafetensorsEntry *entry, Error *error) {
    return error_set(error,
                     "tensor '%s' has type %s, which cannot be used: expected F32, BF16 or F16",
                     entry->name, element_name(entry->type));
}

bool safetensors_read_float32(const SafetensorsEntry *entry, float *out, Error *error) {
    return convert(entry, 0, entry->numel, out) || no_conversion(entry, error);
}

bool safetensors_read_bfloat16(const SafetensorsEntry *entry, uint16_t *out, Error *error) {
    if (entry->type == ELEMENT_BF16) {
        memcpy(out, entry->data, entry->bytes);
        return true;
    }
    enum { CHUNK = 1024 };
    float values[CHUNK];
    for (int64_t first = 0; first < entry->numel; first += CHUNK) {
        int64_t count = entry->numel - first < CHUNK ? entry->numel - first : CHUNK;
        if (!convert(entry, first, count, values)) return no_conversion(entry, error);
        for (int64_t i = 0; i < count; i++) out[first + i] = float_to_bfloat16(values[i]);
    }
    return true;
}
