/// Python pickles (protocols 0 to 5), read as data: a tree of numbers, strings and containers.
/// Nothing is ever executed.
///
/// Known are None, bool, int, float, str, bytes and bytearray, Python 2's str, list, tuple, set,
/// frozenset, dict and OrderedDict. A pickle may call on any Python class or function by name; only
/// names that the caller lists are accepted, and give a value that says what was to be called with
/// what. Any other name is an error that tells it.
///
/// A pickle is not trusted. Memory is bounded by a constant times its size, which may be at most
/// PICKLE_MAX_BYTES; the tree has no cycles, is at most PICKLE_MAX_DEPTH deep, and walking all of
/// it takes at most a constant times the pickle's size although parts may be shared; no dict has a
/// key twice. [opcodes: the comments of Python's Lib/pickletools.py]
#pragma once
#include "autograd/error.h"

#include <stddef.h>
#include <stdint.h>

enum { PICKLE_MAX_BYTES = 1 << 30, PICKLE_MAX_DEPTH = 100 };

/// The names that numpy's types, scalars and arrays are pickled with, by numpy 1 and 2.
#define PICKLE_NUMPY_GLOBALS                                                   \
    "numpy.dtype", "numpy.ndarray", "numpy.core.multiarray._reconstruct",      \
        "numpy._core.multiarray._reconstruct", "numpy.core.multiarray.scalar", \
        "numpy._core.multiarray.scalar", "numpy.core.numeric._frombuffer",     \
        "numpy._core.numeric._frombuffer"

typedef enum PickleKind {
    PICKLE_NONE,
    PICKLE_BOOL,
    /// of 64 bits; wider ones are refused
    PICKLE_INT,
    PICKLE_FLOAT,
    /// str: UTF-8
    PICKLE_TEXT,
    /// bytes, bytearray, and Python 2's str: any bytes
    PICKLE_BYTES,
    PICKLE_LIST,
    PICKLE_TUPLE,
    PICKLE_SET,
    /// in order; OrderedDict as well, without attributes
    PICKLE_DICT,
    /// a class or function that the caller listed: `text` is its name, "torch.FloatStorage"
    PICKLE_GLOBAL,
    /// what calling a global would give: items[0] the global, items[1] the tuple of arguments;
    /// items[2], of numpy's types and arrays only, what fills it
    PICKLE_CALL,
    /// an object outside of the pickle: items[0] is its id
    PICKLE_PERSISTENT,
} PickleKind;

typedef struct PickleValue PickleValue;
struct PickleValue {
    PickleKind kind;
    /// bytes of text; items; pairs of a dict
    uint32_t count;
    union {
        bool truth;
        int64_t integer;
        double number;
        /// [count], then a NUL; text and bytes may contain others
        const char *text;
        /// [count]; of a dict [2 * count]: key, value, key, value, ...
        PickleValue **items;
    };
};

typedef struct Pickle Pickle;

/// Reads the pickle at the beginning of bytes[size]; `used` receives how many bytes it takes.
/// `globals` are the accepted names
/// ("module.name", Python 3's modules), ended by NULL; NULL for none. The result owns its values
/// and needs the bytes no longer. NULL on failure: the message has no file name.
Pickle *pickle_read(const void *bytes, size_t size, const char *const *globals, size_t *used,
                    Error *error);
/// A file that is one pickle, without any globals. NULL on failure.
Pickle *pickle_open(const char *path, Error *error);
/// The same, with these accepted.
Pickle *pickle_open_with(const char *path, const char *const *globals, Error *error);
void pickle_close(Pickle *pickle);
const PickleValue *pickle_root(const Pickle *pickle);

/// The value of a text key of a dict; NULL if there is none, or `dict` is no dict.
const PickleValue *pickle_get(const PickleValue *dict, const char *key);
/// Text, or bytes that are UTF-8 (Python 2's strings), without a NUL inside; otherwise NULL.
const char *pickle_text(const PickleValue *value);
/// "an int", "a dict", ... for messages.
const char *pickle_kind_name(PickleKind kind);
