// A pickle is a program for a machine with a stack and a memo. This machine has the instructions
// that make values, and instead of the three that call Python (REDUCE, NEWOBJ, BUILD) it makes the
// few containers that Python pickles by a call; a call of a name that the caller listed becomes a
// value. Whatever else would call is refused.
#include "checkpoints/mapped_file.h"
#include "checkpoints/torch/pickle_internal.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

// ---- stack and memo

bool pickle_push(PickleReader *reader, PickleValue *value) {
    if (reader->depth == reader->stack_capacity) {
        reader->stack_capacity = 2 * reader->stack_capacity + 64;
        reader->stack =
            checked_realloc(reader->stack, reader->stack_capacity * sizeof *reader->stack);
    }
    reader->stack[reader->depth++] = value;
    return true;
}

/// Where the values since the last mark begin.
static size_t floor_of(const PickleReader *reader) {
    return reader->mark_count ? reader->marks[reader->mark_count - 1] : 0;
}

static bool has_values(PickleReader *reader, size_t count) {
    if (reader->depth - floor_of(reader) >= count) return true;
    return error_set(reader->error, "damaged: an instruction needs more values than there are");
}

static bool push_mark(PickleReader *reader) {
    if (reader->mark_count == reader->mark_capacity) {
        reader->mark_capacity = 2 * reader->mark_capacity + 64;
        reader->marks =
            checked_realloc(reader->marks, reader->mark_capacity * sizeof *reader->marks);
    }
    reader->marks[reader->mark_count++] = reader->depth;
    return true;
}

/// Takes the values since the last mark off the stack, with the mark; they stay readable until the
/// next push.
static bool pop_to_mark(PickleReader *reader, PickleValue ***values, size_t *count) {
    *values = NULL;
    *count = 0;
    if (reader->mark_count == 0)
        return error_set(reader->error, "damaged: values without a mark before them");
    size_t start = reader->marks[--reader->mark_count];
    *values = reader->stack + start;
    *count = reader->depth - start;
    reader->depth = start;
    return true;
}

static bool memo_put(PickleReader *reader, uint64_t index) {
    if (!has_values(reader, 1)) return false;
    // Python numbers what it stores one after the other, and each takes at least a byte.
    if (index > reader->size)
        return error_set(reader->error, "damaged: memo %llu of a pickle of %zu bytes",
                         (unsigned long long)index, reader->size);
    if (index >= reader->memo_capacity) {
        size_t capacity = 2 * (size_t)index + 64;
        reader->memo = checked_realloc(reader->memo, capacity * sizeof *reader->memo);
        for (size_t i = reader->memo_capacity; i < capacity; i++) reader->memo[i] = NULL;
        reader->memo_capacity = capacity;
    }
    if (!reader->memo[index]) reader->memo_count++;
    reader->memo[index] = reader->stack[reader->depth - 1];
    return true;
}

static bool memo_get(PickleReader *reader, uint64_t index) {
    if (index >= reader->memo_capacity || !reader->memo[index])
        return error_set(reader->error, "damaged: memo %llu was never stored",
                         (unsigned long long)index);
    return pickle_push(reader, reader->memo[index]);
}

/// An index written as a line.
static bool take_index(PickleReader *reader, uint64_t *index) {
    char text[24], *end;
    if (!pickle_take_number_line(reader, text, sizeof text)) return false;
    errno = 0;
    *index = strtoull(text, &end, 10);
    if (*end || errno || text[0] < '0' || text[0] > '9')
        return error_set(reader->error, "damaged: '%s' is no memo index", quote(text).text);
    return true;
}

// ---- containers

static bool new_container(PickleReader *reader, PickleKind kind, PickleValue **items,
                          size_t count) {
    if (kind == PICKLE_DICT) {
        if (count % 2) return error_set(reader->error, "damaged: a dict's key without a value");
        count /= 2;
    }
    return pickle_push(reader, pickle_new_container(reader->pickle, kind, items, (uint32_t)count));
}

static bool container_since_mark(PickleReader *reader, PickleKind kind) {
    PickleValue **items;
    size_t count;
    return pop_to_mark(reader, &items, &count) && new_container(reader, kind, items, count);
}

static bool short_tuple(PickleReader *reader, size_t count) {
    if (!has_values(reader, count)) return false;
    reader->depth -= count;
    return new_container(reader, PICKLE_TUPLE, reader->stack + reader->depth, count);
}

/// Adds items, which were taken off the stack, to the container that is now on its top.
static bool extend(PickleReader *reader, PickleKind kind, PickleValue **items, size_t count) {
    if (!has_values(reader, 1)) return false;
    PickleValue *container = reader->stack[reader->depth - 1];
    if (container->kind != kind)
        return error_set(reader->error, "damaged: items are added to %s",
                         pickle_kind_name(container->kind));
    if (kind == PICKLE_DICT && count % 2)
        return error_set(reader->error, "damaged: a dict's key without a value");
    return pickle_append(container, items, kind == PICKLE_DICT ? count / 2 : count) ||
           error_set(reader->error, "too many items");
}

static bool extend_since_mark(PickleReader *reader, PickleKind kind) {
    PickleValue **items;
    size_t count;
    return pop_to_mark(reader, &items, &count) && extend(reader, kind, items, count);
}

static bool extend_by_top(PickleReader *reader, PickleKind kind, size_t count) {
    if (!has_values(reader, count)) return false;
    reader->depth -= count;
    return extend(reader, kind, reader->stack + reader->depth, count);
}

// ---- names and calls

static bool is_listed(const char *const *names, const char *name) {
    for (; names && *names; names++)
        if (strcmp(*names, name) == 0) return true;
    return false;
}

static bool push_global(PickleReader *reader, const char *module, size_t module_length,
                        const char *name, size_t name_length) {
    enum { LONGEST = 200 };
    char text[LONGEST + 1];
    if (module_length == 11 && !memcmp(module, "__builtin__", 11)) { // as Python 2 called it
        module = "builtins";
        module_length = strlen(module);
    }
    size_t length = module_length + 1 + name_length;
    if (length > LONGEST || memchr(module, '\0', module_length) || memchr(name, '\0', name_length))
        return error_set(reader->error, "damaged: the name of a class of %zu bytes", length);
    memcpy(text, module, module_length);
    text[module_length] = '.';
    memcpy(text + module_length + 1, name, name_length);
    text[length] = '\0';
    if (!pickle_is_own_global(text) && !is_listed(reader->globals, text))
        return error_set(reader->error,
                         "calls for '%s', which is refused: only tensors, numbers, strings and "
                         "containers are read, and nothing is executed",
                         quote(text).text);
    return pickle_push(reader, pickle_new_string(reader->pickle, PICKLE_GLOBAL, text, length));
}

static bool global_lines(PickleReader *reader) {
    const char *module, *name;
    size_t module_length = 0, name_length = 0;
    return pickle_take_line(reader, &module, &module_length) &&
           pickle_take_line(reader, &name, &name_length) &&
           push_global(reader, module, module_length, name, name_length);
}

static bool global_from_stack(PickleReader *reader) {
    if (!has_values(reader, 2)) return false;
    const PickleValue *module = reader->stack[reader->depth - 2],
                      *name = reader->stack[reader->depth - 1];
    if (module->kind != PICKLE_TEXT || name->kind != PICKLE_TEXT)
        return error_set(reader->error, "damaged: the name of a class is not text");
    reader->depth -= 2;
    return push_global(reader, module->text, module->count, name->text, name->count);
}

static bool call(PickleReader *reader) {
    if (!has_values(reader, 2)) return false;
    PickleValue **operands = reader->stack + reader->depth - 2;
    if (operands[0]->kind != PICKLE_GLOBAL || operands[1]->kind != PICKLE_TUPLE)
        return error_set(reader->error, "damaged: %s is called with %s",
                         pickle_kind_name(operands[0]->kind), pickle_kind_name(operands[1]->kind));
    PickleValue *result = pickle_call(reader->pickle, operands, reader->error);
    reader->depth -= 2;
    return result && pickle_push(reader, result);
}

/// The attributes of an OrderedDict (`_metadata` of a state dict) are dropped, what fills an array
/// is kept; nothing else may have any.
static bool build(PickleReader *reader) {
    if (!has_values(reader, 2)) return false;
    PickleValue *instance = reader->stack[reader->depth - 2];
    if (instance->kind == PICKLE_CALL && instance->count == 2 &&
        pickle_takes_state(instance->items[0]->text)) {
        pickle_append(instance, &reader->stack[--reader->depth], 1);
        return true;
    }
    if (instance->kind != PICKLE_DICT)
        return error_set(reader->error, "sets attributes of %s, which is refused",
                         instance->kind == PICKLE_CALL ? instance->items[0]->text
                                                       : pickle_kind_name(instance->kind));
    reader->depth--;
    return true;
}

static bool persistent(PickleReader *reader) {
    if (!has_values(reader, 1)) return false;
    reader->depth--;
    return new_container(reader, PICKLE_PERSISTENT, reader->stack + reader->depth, 1);
}

// ---- instructions

static bool take_protocol(PickleReader *reader) {
    uint64_t protocol;
    if (!pickle_take_number(reader, 1, &protocol)) return false;
    return protocol <= 5 || error_set(reader->error, "pickle protocol %llu; known are 0 to 5",
                                      (unsigned long long)protocol);
}

static bool pop(PickleReader *reader) {
    // A mark without values after it is popped like a value.
    if (reader->mark_count && floor_of(reader) == reader->depth) {
        reader->mark_count--;
        return true;
    }
    if (!has_values(reader, 1)) return false;
    reader->depth--;
    return true;
}

static bool by_line(PickleReader *reader, bool (*use)(PickleReader *, uint64_t)) {
    uint64_t index;
    return take_index(reader, &index) && use(reader, index);
}

static bool duplicate(PickleReader *reader) {
    return has_values(reader, 1) && pickle_push(reader, reader->stack[reader->depth - 1]);
}

static bool pop_all(PickleReader *reader) {
    PickleValue **values;
    size_t count;
    return pop_to_mark(reader, &values, &count);
}

static bool execute_container(PickleReader *reader, char instruction) {
    switch (instruction) {
    case ']':
        return new_container(reader, PICKLE_LIST, NULL, 0);
    case 'l':
        return container_since_mark(reader, PICKLE_LIST);
    case 'a':
        return extend_by_top(reader, PICKLE_LIST, 1);
    case 'e':
        return extend_since_mark(reader, PICKLE_LIST);
    case ')':
        return new_container(reader, PICKLE_TUPLE, NULL, 0);
    case 't':
        return container_since_mark(reader, PICKLE_TUPLE);
    case '\x85':
        return short_tuple(reader, 1);
    case '\x86':
        return short_tuple(reader, 2);
    case '\x87':
        return short_tuple(reader, 3);
    case '}':
        return new_container(reader, PICKLE_DICT, NULL, 0);
    case 'd':
        return container_since_mark(reader, PICKLE_DICT);
    case 's':
        return extend_by_top(reader, PICKLE_DICT, 2);
    case 'u':
        return extend_since_mark(reader, PICKLE_DICT);
    case '\x8f':
        return new_container(reader, PICKLE_SET, NULL, 0);
    case '\x90':
        return extend_since_mark(reader, PICKLE_SET);
    case '\x91':
        return container_since_mark(reader, PICKLE_SET);
    default:
        return pickle_push_scalar(reader, instruction);
    }
}

/// Everything but STOP.
static bool execute(PickleReader *reader, char instruction) {
    switch (instruction) {
    case '\x80':
        return take_protocol(reader);
    case '\x95':
        return pickle_take(reader, 8) != NULL; // FRAME: its length is of no use here
    case '(':
        return push_mark(reader);
    case '0':
        return pop(reader);
    case '1':
        return pop_all(reader);
    case '2':
        return duplicate(reader);
    case 'g':
        return by_line(reader, memo_get);
    case 'h':
        return pickle_by_number(reader, 1, memo_get);
    case 'j':
        return pickle_by_number(reader, 4, memo_get);
    case 'p':
        return by_line(reader, memo_put);
    case 'q':
        return pickle_by_number(reader, 1, memo_put);
    case 'r':
        return pickle_by_number(reader, 4, memo_put);
    case '\x94':
        return memo_put(reader, reader->memo_count);
    case 'c':
        return global_lines(reader);
    case '\x93':
        return global_from_stack(reader);
    case 'R':    // REDUCE
    case '\x81': // NEWOBJ
        return call(reader);
    case 'b':
        return build(reader);
    case 'Q':
        return persistent(reader);
    default:
        return execute_container(reader, instruction);
    }
}

/// Up to STOP, where one value must be left.
static bool run(PickleReader *reader) {
    for (;;) {
        size_t start = reader->at;
        const char *instruction = pickle_take(reader, 1);
        if (!instruction) return false;
        if (*instruction == '.') break;
        if (!execute(reader, *instruction))
            return error_context(reader->error, "pickle, byte %zu", start);
    }
    if (reader->depth != 1 || reader->mark_count)
        return error_set(reader->error, "damaged: %zu values are left at the pickle's end",
                         reader->depth);
    return true;
}

Pickle *pickle_read(const void *bytes, size_t size, const char *const *globals, size_t *used,
                    Error *error) {
    PickleReader reader = {.pickle = checked_calloc(1, sizeof(Pickle)),
                           .bytes = bytes,
                           .size = size < PICKLE_MAX_BYTES ? size : PICKLE_MAX_BYTES,
                           .globals = globals,
                           .error = error};
    reader.pickle->copies_left = reader.size;
    bool valid = run(&reader) && pickle_check(reader.stack[0], reader.at, error);
    if (valid) reader.pickle->root = reader.stack[0];
    *used = reader.at;
    free(reader.stack);
    free(reader.marks);
    free(reader.memo);
    if (valid) return reader.pickle;
    pickle_close(reader.pickle);
    return NULL;
}

Pickle *pickle_open(const char *path, Error *error) { return pickle_open_with(path, NULL, error); }

Pickle *pickle_open_with(const char *path, const char *const *globals, Error *error) {
    MappedFile file;
    if (!mapped_file_open(&file, path, error)) return NULL;
    size_t used;
    Pickle *pickle = NULL;
    if (file.size > PICKLE_MAX_BYTES) {
        error_set(error, "%s: %zu bytes; a pickle may have at most %d", path, file.size,
                  PICKLE_MAX_BYTES);
    } else {
        pickle = pickle_read(file.bytes, file.size, globals, &used, error);
        if (!pickle) error_context(error, "%s", path);
    }
    if (pickle && used != file.size) {
        error_set(error, "%s: %zu bytes follow the pickle's end", path, file.size - used);
        pickle_close(pickle);
        pickle = NULL;
    }
    mapped_file_close(&file);
    return pickle;
}
