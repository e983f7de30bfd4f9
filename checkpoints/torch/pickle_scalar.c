// The instructions that read one number or one string.
#include "autograd/text/utf8.h"
#include "checkpoints/torch/pickle_internal.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

// ---- input

static bool cut_off(PickleReader *reader) { return error_set(reader->error, "cut off"); }

/// The next `count` bytes, NULL if they are not there.
const char *pickle_take(PickleReader *reader, uint64_t count) {
    if (count > reader->size - reader->at) {
        cut_off(reader);
        return NULL;
    }
    const char *bytes = (const char *)reader->bytes + reader->at;
    reader->at += (size_t)count;
    return bytes;
}

/// A little-endian number of 1 to 8 bytes.
bool pickle_take_number(PickleReader *reader, int bytes, uint64_t *number) {
    const char *data = pickle_take(reader, (uint64_t)bytes);
    *number = 0;
    for (int i = 0; data && i < bytes; i++) *number |= (uint64_t)(unsigned char)data[i] << (8 * i);
    return data != NULL;
}

/// The text up to the next line feed, which is passed over.
bool pickle_take_line(PickleReader *reader, const char **line, size_t *length) {
    *line = (const char *)reader->bytes + reader->at;
    const char *end = memchr(*line, '\n', reader->size - reader->at);
    if (!end) return cut_off(reader);
    *length = (size_t)(end - *line);
    reader->at += *length + 1;
    return true;
}

/// A line that is a number, as a string.
bool pickle_take_number_line(PickleReader *reader, char *text, size_t capacity) {
    const char *line;
    size_t length = 0;
    if (!pickle_take_line(reader, &line, &length)) return false;
    if (length == 0 || length >= capacity || memchr(line, '\0', length))
        return error_set(reader->error, "a line that should be a number is not");
    memcpy(text, line, length);
    text[length] = '\0';
    return true;
}

// ---- numbers

static bool push_int(PickleReader *reader, int64_t value) {
    return pickle_push(reader, pickle_new_int(reader->pickle, value));
}

static bool push_bool(PickleReader *reader, bool truth) {
    PickleValue *value = pickle_new(reader->pickle, PICKLE_BOOL);
    value->truth = truth;
    return pickle_push(reader, value);
}

static bool push_float(PickleReader *reader, double number) {
    PickleValue *value = pickle_new(reader->pickle, PICKLE_FLOAT);
    value->number = number;
    return pickle_push(reader, value);
}

/// "12", or for bool "00" and "01"; LONG ends in an L.
static bool int_line(PickleReader *reader, bool is_long) {
    char text[32], *end;
    if (!pickle_take_number_line(reader, text, sizeof text)) return false;
    if (!is_long && (!strcmp(text, "00") || !strcmp(text, "01")))
        return push_bool(reader, text[1] == '1');
    errno = 0;
    long long value = strtoll(text, &end, 10);
    if (is_long && *end == 'L') end++;
    if (end == text || *end || errno)
        return error_set(reader->error, "'%s' is not an integer of 64 bits", quote(text).text);
    return push_int(reader, value);
}

/// Two's complement, little-endian, of any length.
static bool long_bytes(PickleReader *reader, uint64_t length) {
    const unsigned char *data = (const unsigned char *)pickle_take(reader, length);
    if (!data) return false;
    unsigned char sign = length && data[length - 1] & 0x80 ? 0xff : 0;
    uint64_t value = sign ? UINT64_MAX : 0;
    for (uint64_t i = length; i-- > 0;) {
        // Bytes above the eighth may only repeat the sign, the eighth must show it.
        if ((i >= 8 && data[i] != sign) || (i == 7 && ((data[i] ^ sign) & 0x80)))
            return error_set(reader->error, "an integer of %llu bytes does not fit 64 bits",
                             (unsigned long long)length);
        value = value << 8 | data[i];
    }
    return push_int(reader, (int64_t)value);
}

static bool float_line(PickleReader *reader) {
    char text[64], *end;
    if (!pickle_take_number_line(reader, text, sizeof text)) return false;
    double number = strtod(text, &end);
    if (end == text || *end)
        return error_set(reader->error, "'%s' is not a number", quote(text).text);
    return push_float(reader, number);
}

static bool float_bytes(PickleReader *reader) {
    const unsigned char *data = (const unsigned char *)pickle_take(reader, 8);
    if (!data) return false;
    uint64_t bits = 0;
    for (int i = 0; i < 8; i++)
        bits = bits << 8 | data[i]; // the one big-endian number of the format
    double number;
    memcpy(&number, &bits, sizeof number);
    return push_float(reader, number);
}

// ---- strings

static bool push_string(PickleReader *reader, PickleKind kind, const char *text, size_t length) {
    if (kind == PICKLE_TEXT && !is_utf8(text, length))
        return error_set(reader->error, "a string that is not UTF-8");
    return pickle_push(reader, pickle_new_string(reader->pickle, kind, text, length));
}

/// A string after its length of so many bytes.
static bool counted_string(PickleReader *reader, PickleKind kind, int length_bytes) {
    uint64_t length;
    if (!pickle_take_number(reader, length_bytes, &length)) return false;
    const char *text = pickle_take(reader, length);
    return text && push_string(reader, kind, text, (size_t)length);
}

/// A string that is a line in one of the notations of protocol 0.
static bool decoded_line(PickleReader *reader, PickleKind kind,
                         char *(*decode)(const char *, size_t, size_t *)) {
    const char *line;
    size_t length = 0, used;
    if (!pickle_take_line(reader, &line, &length)) return false;
    char *text = decode(line, length, &used);
    if (!text) return error_set(reader->error, "damaged: a string with a broken escape");
    bool pushed = push_string(reader, kind, text, used);
    free(text);
    return pushed;
}

// ---- instructions

bool pickle_by_number(PickleReader *reader, int bytes, bool (*use)(PickleReader *, uint64_t)) {
    uint64_t number;
    return pickle_take_number(reader, bytes, &number) && use(reader, number);
}

static bool push_unsigned(PickleReader *reader, uint64_t number) {
    return push_int(reader, (int64_t)number);
}

static bool push_signed(PickleReader *reader, uint64_t number) {
    return push_int(reader, (int32_t)(uint32_t)number);
}

static bool execute_number(PickleReader *reader, char instruction) {
    switch (instruction) {
    case 'N':
        return pickle_push(reader, pickle_new(reader->pickle, PICKLE_NONE));
    case '\x88':
        return push_bool(reader, true);
    case '\x89':
        return push_bool(reader, false);
    case 'I':
        return int_line(reader, false);
    case 'L':
        return int_line(reader, true);
    case 'J':
        return pickle_by_number(reader, 4, push_signed);
    case 'K':
        return pickle_by_number(reader, 1, push_unsigned);
    case 'M':
        return pickle_by_number(reader, 2, push_unsigned);
    case '\x8a':
        return pickle_by_number(reader, 1, long_bytes);
    case '\x8b':
        return pickle_by_number(reader, 4, long_bytes);
    case 'F':
        return float_line(reader);
    case 'G':
        return float_bytes(reader);
    default:
        return error_set(reader->error, "the instruction 0x%02x is unknown or refused",
                         (unsigned char)instruction);
    }
}

bool pickle_push_scalar(PickleReader *reader, char instruction) {
    switch (instruction) {
    case 'S':
        return decoded_line(reader, PICKLE_BYTES, pickle_decode_repr);
    case 'T':
    case 'B':
        return counted_string(reader, PICKLE_BYTES, 4);
    case 'U':
    case 'C':
        return counted_string(reader, PICKLE_BYTES, 1);
    case '\x8e':
    case '\x96':
        return counted_string(reader, PICKLE_BYTES, 8);
    case 'V':
        return decoded_line(reader, PICKLE_TEXT, pickle_decode_raw_unicode);
    case 'X':
        return counted_string(reader, PICKLE_TEXT, 4);
    case '\x8c':
        return counted_string(reader, PICKLE_TEXT, 1);
    case '\x8d':
        return counted_string(reader, PICKLE_TEXT, 8);
    default:
        return execute_number(reader, instruction);
    }
}
