/// How values of a pickle are made. Not for use outside of pickle*.c.
#pragma once
#include "checkpoints/torch/pickle.h"

typedef struct PickleBlock PickleBlock;

/// A value with items: list, tuple, set, dict, call, persistent.
typedef struct PickleContainer {
    PickleValue value;
    /// of items
    uint32_t capacity;
    /// for pickle_check()
    uint8_t visit;
    uint8_t height;
    /// nodes of the tree below, shared parts counted as often as they occur
    uint64_t extent;
    struct PickleContainer *next;
} PickleContainer;

struct Pickle {
    PickleBlock *blocks;
    PickleContainer *containers;
    const PickleValue *root;
    /// items and bytes that calls may still copy: as many as the pickle has bytes
    size_t copies_left;
};

PickleValue *pickle_new(Pickle *pickle, PickleKind kind);
PickleValue *pickle_new_int(Pickle *pickle, int64_t integer);
/// TEXT, BYTES or GLOBAL, its bytes copied.
PickleValue *pickle_new_string(Pickle *pickle, PickleKind kind, const char *text, size_t length);
/// A container with `count` items (of a dict: pairs), copied.
PickleValue *pickle_new_container(Pickle *pickle, PickleKind kind, PickleValue *const *items,
                                  uint32_t count);
bool pickle_is_container(PickleKind kind);
/// Appends `count` items, of a dict pairs. false if there are more than a pickle may have.
bool pickle_append(PickleValue *container, PickleValue *const *items, size_t count);

/// A name that is always accepted: containers that Python pickles by a call.
bool pickle_is_own_global(const char *name);
/// A name whose call gives something empty that a state fills: numpy's types and arrays.
bool pickle_takes_state(const char *name);
/// operands[0], a GLOBAL, called with operands[1], a TUPLE: one of those containers, otherwise a
/// CALL. NULL on failure.
PickleValue *pickle_call(Pickle *pickle, PickleValue *const operands[2], Error *error);

/// Python 2's repr of a str ('it\'s'), decoded; NULL if it is not one. The caller frees it.
char *pickle_decode_repr(const char *line, size_t length, size_t *used);
/// raw-unicode-escape (Latin-1, \u00e9, \U0001f600; Python 2 wrote the latter as two surrogates) as
/// UTF-8. NULL for a broken escape.
char *pickle_decode_raw_unicode(const char *line, size_t length, size_t *used);
/// Refuses cycles, runaway depth and sharing, and keys that come twice. `bytes` is the size of the
/// pickle.
bool pickle_check(PickleValue *root, size_t bytes, Error *error);

// ---- reading

typedef struct PickleReader {
    Pickle *pickle;
    const unsigned char *bytes;
    size_t size, at;
    const char *const *globals;
    PickleValue **stack;
    size_t depth, stack_capacity;
    /// stack depths
    size_t *marks;
    size_t mark_count, mark_capacity;
    /// NULL where nothing was stored
    PickleValue **memo;
    size_t memo_capacity, memo_count;
    Error *error;
} PickleReader;

/// The next `count` bytes, NULL and an error if they are not there.
const char *pickle_take(PickleReader *reader, uint64_t count);
/// A little-endian number of 1 to 8 bytes.
bool pickle_take_number(PickleReader *reader, int bytes, uint64_t *number);
/// The text up to the next line feed, which is passed over.
bool pickle_take_line(PickleReader *reader, const char **line, size_t *length);
/// A line that is a number, as a string.
bool pickle_take_number_line(PickleReader *reader, char *text, size_t capacity);
/// A number of so many bytes, and what is done with it.
bool pickle_by_number(PickleReader *reader, int bytes, bool (*use)(PickleReader *, uint64_t));
/// Always true.
bool pickle_push(PickleReader *reader, PickleValue *value);
/// Executes an instruction that pushes one number or string; any other is an error.
bool pickle_push_scalar(PickleReader *reader, char instruction);
