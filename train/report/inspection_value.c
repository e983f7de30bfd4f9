#include "train/report/inspection.h"

#include "checkpoints/torch/torch_archive.h"
#include "train/log/json_text.h"

#include <inttypes.h>
#include <math.h>
#include <string.h>

enum { LEVELS = 3, FIRST_ITEMS = 8, LONGEST_TEXT = 200 };

/// Text as far as it is shown, whole characters only.
static json_t *shown_text(const PickleValue *value) {
    const char *text = pickle_text(value);
    if (!text) return json_sprintf("(%u bytes)", value->count);
    size_t length = strlen(text);
    if (length <= LONGEST_TEXT) return json_string(text);
    for (length = LONGEST_TEXT; ((unsigned char)text[length] & 0xc0) == 0x80;) length--;
    return json_sprintf("%.*s...", (int)length, text);
}

static json_t *describe(const PickleValue *value, int levels);

static json_t *describe_container(const PickleValue *value, int levels) {
    bool is_dict = value->kind == PICKLE_DICT;
    json_t *description = json_pack("{s:s, s:I}", "kind", pickle_kind_name(value->kind), "count",
                                    (json_int_t)value->count);
    if (levels == 0 || value->count == 0) return description;
    json_t *first = is_dict ? json_object() : json_array();
    for (uint32_t i = 0; i < value->count && i < FIRST_ITEMS; i++) {
        if (!is_dict) {
            json_array_append_new(first, describe(value->items[i], levels - 1));
            continue;
        }
        const PickleValue *key = value->items[2 * i];
        char number[32];
        snprintf(number, sizeof number, "%" PRId64, key->kind == PICKLE_INT ? key->integer : 0);
        const char *name = pickle_text(key);
        if (!name) name = key->kind == PICKLE_INT ? number : pickle_kind_name(key->kind);
        json_object_set_new(first, name, describe(value->items[2 * i + 1], levels - 1));
    }
    json_object_set_new(description, "first", first);
    return description;
}

static json_t *describe(const PickleValue *value, int levels) {
    switch (value->kind) {
    case PICKLE_NONE:
        return json_null();
    case PICKLE_BOOL:
        return json_boolean(value->truth);
    case PICKLE_INT:
        return json_integer(value->integer);
    case PICKLE_FLOAT: // JSON has no infinity
        return isfinite(value->number) ? json_real(value->number)
                                       : json_sprintf("%g", value->number);
    case PICKLE_TEXT:
    case PICKLE_BYTES:
        return shown_text(value);
    case PICKLE_LIST:
    case PICKLE_TUPLE:
    case PICKLE_SET:
    case PICKLE_DICT:
        return describe_container(value, levels);
    case PICKLE_GLOBAL:
        return json_text(value->text);
    default:
        return json_string(torch_value_is_tensor(value) ? "a tensor"
                                                        : pickle_kind_name(value->kind));
    }
}

json_t *inspect_value(const PickleValue *value) { return describe(value, LEVELS); }
