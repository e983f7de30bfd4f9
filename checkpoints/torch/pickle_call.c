// The containers that Python pickles as the call of a class.
#include "checkpoints/torch/pickle_internal.h"

#include <stdlib.h>
#include <string.h>

static const char *const own_globals[] = {
    "collections.OrderedDict",
    "builtins.set",
    "builtins.frozenset",
    "builtins.bytes",
    "builtins.bytearray",
    "_codecs.encode",
    NULL,
};

bool pickle_is_own_global(const char *name) {
    for (const char *const *own = own_globals; *own; own++)
        if (strcmp(*own, name) == 0) return true;
    return false;
}

bool pickle_takes_state(const char *name) {
    return !strcmp(name, "numpy.dtype") || !strcmp(name, "numpy.core.multiarray._reconstruct") ||
           !strcmp(name, "numpy._core.multiarray._reconstruct");
}

static PickleValue *refuse(Error *error, const char *what) {
    error_set(error, "damaged: %s", what);
    return NULL;
}

/// set([1, 2]): the items of the one argument, if there is one.
static PickleValue *call_set(Pickle *pickle, const PickleValue *arguments, Error *error) {
    if (arguments->count == 0) return pickle_new(pickle, PICKLE_SET);
    const PickleValue *items = arguments->items[0];
    if (arguments->count != 1 || (items->kind != PICKLE_LIST && items->kind != PICKLE_TUPLE))
        return refuse(error, "a set that is not made of a list");
    return pickle_new_container(pickle, PICKLE_SET, items->items, items->count);
}

/// OrderedDict([[key, value], ...])
static PickleValue *call_dict(Pickle *pickle, const PickleValue *arguments, Error *error) {
    PickleValue *dict = pickle_new(pickle, PICKLE_DICT);
    const PickleValue *pairs = arguments->count ? arguments->items[0] : NULL;
    bool valid = arguments->count <= 1 && (!pairs || pairs->kind == PICKLE_LIST);
    for (uint32_t i = 0; valid && pairs && i < pairs->count; i++) {
        const PickleValue *pair = pairs->items[i];
        valid = (pair->kind == PICKLE_LIST || pair->kind == PICKLE_TUPLE) && pair->count == 2 &&
                pickle_append(dict, pair->items, 1);
    }
    return valid ? dict : refuse(error, "an OrderedDict that is not made of pairs");
}

/// Protocol 2 writes bytes as encode('text', 'latin1'), bytearray in the same way; nothing at all
/// for empty ones.
static PickleValue *call_bytes(Pickle *pickle, const PickleValue *arguments, Error *error) {
    const PickleValue *text = arguments->count ? arguments->items[0] : NULL;
    if (!text) return pickle_new_string(pickle, PICKLE_BYTES, "", 0);
    if (text->kind == PICKLE_BYTES && arguments->count == 1)
        return pickle_new_string(pickle, PICKLE_BYTES, text->text, text->count);
    const char *encoding = arguments->count == 2 ? pickle_text(arguments->items[1]) : NULL;
    if (text->kind != PICKLE_TEXT || !encoding ||
        (strcmp(encoding, "latin1") && strcmp(encoding, "latin-1")))
        return refuse(error, "bytes that are not made of Latin-1 text");
    char *bytes = checked_malloc(text->count + 1);
    uint32_t used = 0;
    bool valid = true;
    for (uint32_t i = 0; valid && i < text->count; i++) {
        unsigned char lead = (unsigned char)text->text[i];
        valid = lead < 0xc4;
        if (lead >= 0x80 && valid) lead = (unsigned char)(lead << 6 | (text->text[++i] & 0x3f));
        bytes[used++] = (char)lead;
    }
    PickleValue *value = valid ? pickle_new_string(pickle, PICKLE_BYTES, bytes, used)
                               : refuse(error, "bytes above 255");
    free(bytes);
    return value;
}

PickleValue *pickle_call(Pickle *pickle, PickleValue *const operands[2], Error *error) {
    const char *name = operands[0]->text;
    const PickleValue *arguments = operands[1];
    if (!pickle_is_own_global(name)) return pickle_new_container(pickle, PICKLE_CALL, operands, 2);
    // A list in the memo can be named again and again; Python's own pickles copy each once.
    size_t copies = arguments->count ? arguments->items[0]->count : 0;
    if (copies > pickle->copies_left) return refuse(error, "one list makes many containers");
    pickle->copies_left -= copies;
    if (!strcmp(name, "collections.OrderedDict")) return call_dict(pickle, arguments, error);
    if (!strcmp(name, "builtins.set") || !strcmp(name, "builtins.frozenset"))
        return call_set(pickle, arguments, error);
    return call_bytes(pickle, arguments, error);
}
