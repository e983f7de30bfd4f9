// How numpy pickles, from protocol 0 to 5 and versions 1 and 2: a type is dtype('f4', ...) filled
// with (version, byte order, ...); a scalar is scalar(type, bytes); an array is
// _reconstruct(ndarray, (0,), b'b') filled with (version, shape, type, is Fortran's order, bytes),
// or from protocol 5 on _frombuffer(bytes, type, shape, order).
#include "eval/annotations/pickled_numbers.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

const char *const PICKLED_NUMBER_GLOBALS[] = {PICKLE_NUMPY_GLOBALS, NULL};

/// How the numbers of an array lie in its bytes.
typedef struct NumberType {
    /// f: float, i: int, u: unsigned, b: bool
    char kind;
    int size;
    bool is_big_endian;
} NumberType;

/// A call of a function of that name, whatever numpy's module is called.
static bool is_call(const PickleValue *value, const char *function) {
    if (value->kind != PICKLE_CALL) return false;
    const char *dot = strrchr(value->items[0]->text, '.');
    return dot && !strcmp(dot + 1, function);
}

static const PickleValue *argument(const PickleValue *call, uint32_t index, PickleKind kind) {
    const PickleValue *arguments = call->items[1];
    if (index >= arguments->count || arguments->items[index]->kind != kind) return NULL;
    return arguments->items[index];
}

static bool read_type(const PickleValue *value, NumberType *type, Error *error) {
    static const char *const known[] = {"f2", "f4", "f8", "i1", "i2", "i4",
                                        "i8", "u1", "u2", "u4", "u8", "b1"};
    const PickleValue *code = value && is_call(value, "dtype") ? value->items[1] : NULL;
    const char *text = code && code->count ? pickle_text(code->items[0]) : NULL;
    const PickleValue *state = text && value->count == 3 ? value->items[2] : NULL;
    for (size_t i = 0; text && i < sizeof known / sizeof *known; i++) {
        if (strcmp(text, known[i]) != 0) continue;
        const char *order = NULL;
        if (state && state->kind == PICKLE_TUPLE && state->count >= 2)
            order = pickle_text(state->items[1]);
        *type = (NumberType){text[0], text[1] - '0', order && *order == '>'};
        return true;
    }
    return error_set(error, "an array of type '%s'; expected one of numbers",
                     quote(text ? text : "unknown").text);
}

static double half_from_bits(uint64_t bits) {
    const int exponent = (int)(bits >> 10 & 31);
    const double fraction = (double)(bits & 1023), sign = bits >> 15 ? -1 : 1;
    if (exponent == 31) return (bits & 1023) ? NAN : sign * INFINITY;
    return sign * (exponent ? ldexp(1024 + fraction, exponent - 25) : ldexp(fraction, -24));
}

static double number_at(const NumberType *type, const char *bytes) {
    uint64_t bits = 0;
    for (int i = 0; i < type->size; i++) {
        int at = type->is_big_endian ? i : type->size - 1 - i;
        bits = bits << 8 | (unsigned char)bytes[at];
    }
    if (type->kind == 'f' && type->size == 8) {
        double number;
        memcpy(&number, &bits, sizeof number);
        return number;
    }
    if (type->kind == 'f' && type->size == 4) {
        uint32_t low = (uint32_t)bits;
        float number;
        memcpy(&number, &low, sizeof number);
        return number;
    }
    if (type->kind == 'f') return half_from_bits(bits);
    if (type->kind != 'i') return (double)bits;
    const int unused = 64 - 8 * type->size;
    return (double)((int64_t)(bits << unused) >> unused);
}

/// The parts of an array or scalar: its type, its bytes, and its shape, NULL for a scalar.
static bool find_parts(const PickleValue *value, const PickleValue **type,
                       const PickleValue **bytes, const PickleValue **shape) {
    *shape = NULL;
    if (is_call(value, "scalar")) {
        *type = argument(value, 0, PICKLE_CALL);
        *bytes = argument(value, 1, PICKLE_BYTES);
    } else if (is_call(value, "_frombuffer")) {
        *bytes = argument(value, 0, PICKLE_BYTES);
        *type = argument(value, 1, PICKLE_CALL);
        *shape = argument(value, 2, PICKLE_TUPLE);
        if (!*shape) return false;
    } else if (is_call(value, "_reconstruct") && value->count == 3) {
        const PickleValue *state = value->items[2];
        if (state->kind != PICKLE_TUPLE || state->count != 5) return false;
        *shape = state->items[1];
        *type = state->items[2];
        *bytes = state->items[4];
        if ((*shape)->kind != PICKLE_TUPLE || (*bytes)->kind != PICKLE_BYTES) return false;
    } else {
        return false;
    }
    return *type && *bytes;
}

static bool check_shape(const PickleValue *shape, uint64_t count, Error *error) {
    uint64_t product = 1;
    for (uint32_t i = 0; shape && i < shape->count; i++) {
        const PickleValue *side = shape->items[i];
        if (side->kind != PICKLE_INT || side->integer < 0 || side->integer > UINT32_MAX ||
            (side->integer && product > UINT32_MAX))
            return error_set(error, "an array with a shape that is none");
        product *= (uint64_t)side->integer;
    }
    return product == count || error_set(error, "an array of %llu numbers with a shape of %llu",
                                         (unsigned long long)count, (unsigned long long)product);
}

static bool array_numbers(const PickleValue *value, double **numbers, int64_t *count,
                          Error *error) {
    const PickleValue *type_value, *bytes, *shape;
    NumberType type = {0};
    if (!find_parts(value, &type_value, &bytes, &shape))
        return error_set(error, "%s; expected numbers", pickle_kind_name(value->kind));
    if (!read_type(type_value, &type, error)) return false;
    if (bytes->count % (uint32_t)type.size)
        return error_set(error, "an array of %u bytes with numbers of %d", bytes->count, type.size);
    *count = bytes->count / (uint32_t)type.size;
    if (!check_shape(shape, (uint64_t)*count, error)) return false;
    *numbers = checked_malloc(((size_t)*count + 1) * sizeof **numbers);
    for (int64_t i = 0; i < *count; i++)
        (*numbers)[i] = number_at(&type, bytes->text + i * type.size);
    return true;
}

bool pickled_number(const PickleValue *value, double *number, Error *error) {
    double *numbers;
    int64_t count;
    if (value->kind == PICKLE_INT || value->kind == PICKLE_FLOAT || value->kind == PICKLE_BOOL) {
        *number = value->kind == PICKLE_INT     ? (double)value->integer
                  : value->kind == PICKLE_FLOAT ? value->number
                                                : value->truth;
        return true;
    }
    if (!array_numbers(value, &numbers, &count, error)) return false;
    *number = count ? numbers[0] : 0;
    free(numbers);
    return count == 1 ||
           error_set(error, "an array of %lld numbers; expected one", (long long)count);
}

bool pickled_numbers(const PickleValue *value, double **numbers, int64_t *count, Error *error) {
    if (value->kind != PICKLE_LIST && value->kind != PICKLE_TUPLE)
        return array_numbers(value, numbers, count, error);
    *count = value->count;
    *numbers = checked_malloc(((size_t)value->count + 1) * sizeof **numbers);
    for (uint32_t i = 0; i < value->count; i++) {
        if (pickled_number(value->items[i], &(*numbers)[i], error)) continue;
        free(*numbers);
        return error_context(error, "number %u", i);
    }
    return true;
}
