#include "tests/fuzz/mutate.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/// Where a value stands: in an object under a key, or in an array at an index.
typedef struct Slot {
    json_t *container;
    const char *key;
    size_t index;
} Slot;

enum { MOST_SLOTS = 4096 };

typedef struct Slots {
    Slot items[MOST_SLOTS];
    size_t count;
} Slots;

static void collect(Slots *slots, json_t *value) {
    const char *key;
    json_t *item;
    size_t i;
    json_object_foreach(value, key, item) {
        if (slots->count < MOST_SLOTS) slots->items[slots->count++] = (Slot){value, key, 0};
        collect(slots, item);
    }
    json_array_foreach(value, i, item) {
        if (slots->count < MOST_SLOTS) slots->items[slots->count++] = (Slot){value, NULL, i};
        collect(slots, item);
    }
}

static json_t *slot_value(const Slot *slot) {
    return slot->key ? json_object_get(slot->container, slot->key)
                     : json_array_get(slot->container, slot->index);
}

static void slot_set(const Slot *slot, json_t *value) {
    if (slot->key)
        json_object_set_new(slot->container, slot->key, value);
    else
        json_array_set_new(slot->container, slot->index, value);
}

static json_t *random_text(Random *random) {
    ByteBuffer text = {0};
    append_text(&text, random);
    json_t *value = json_stringn(text.data, text.size);
    byte_buffer_free(&text);
    return value ? value : json_string("not text");
}

static json_t *random_value(const json_t *old, Random *random) {
    static const json_int_t integers[] = {0,         1,         -1,    2,         3,
                                          63,        64,        65536, INT32_MAX, 2147483648,
                                          INT64_MAX, INT64_MIN, -64,   1000,      4294967296};
    static const double reals[] = {0.0, -0.0, 0.5, -1.5, 1e30, 1e-30, 1e308, 128.0, 128.5, 1e19};
    json_t *value;
    switch (random_below(random, 12)) {
    case 0:
        return json_null();
    case 1:
        return json_true();
    case 2:
        return json_false();
    case 3:
    case 4:
        return json_integer(RANDOM_PICK(random, integers));
    case 5:
        return json_real(RANDOM_PICK(random, reals));
    case 6:
        return json_array();
    case 7:
        return json_object();
    case 8:
        return json_pack("[O]", old);
    case 9:
        return json_pack("{s:O}", "type", old);
    case 10:
        value = json_pack("[O, O]", old, old);
        for (size_t depth = random_size(random, 1500); depth; depth--)
            value = json_pack("[o]", value);
        return value;
    default:
        return random_text(random);
    }
}

static void rename_key(const Slot *slot, const Slot *other, Random *random) {
    json_t *value = json_incref(slot_value(slot));
    ByteBuffer name = bytes_copy("", 0);
    if (other->key && random_chance(random, 50))
        byte_buffer_put(&name, other->key, strlen(other->key));
    else
        append_text(&name, random);
    json_object_del(slot->container, slot->key);
    if (json_object_set_new(slot->container, name.data, value) != 0)
        json_object_set_new(slot->container, "?", json_null());
    byte_buffer_free(&name);
}

static void change_once(json_t *root, Slots *slots, Random *random) {
    slots->count = 0;
    collect(slots, root);
    if (!slots->count) return;
    const Slot *slot = &slots->items[random_below(random, slots->count)],
               *other = &slots->items[random_below(random, slots->count)];
    switch (random_below(random, 8)) {
    case 0:
        if (slot->key)
            json_object_del(slot->container, slot->key);
        else
            json_array_remove(slot->container, slot->index);
        break;
    case 1:
        if (slot->key)
            rename_key(slot, other, random);
        else
            json_array_append(slot->container, slot_value(slot));
        break;
    case 2:
        slot_set(slot, json_deep_copy(slot_value(other)));
        break;
    case 3: {
        json_t *mine = json_deep_copy(slot_value(slot)), *its = json_deep_copy(slot_value(other));
        slot_set(other, mine);
        // Setting the one may have removed the other's container.
        slots->count = 0;
        collect(slots, root);
        slot_set(&slots->items[random_below(random, slots->count)], its);
        break;
    }
    default:
        slot_set(slot, random_value(slot_value(slot), random));
    }
}

/// What no library for JSON writes: keys twice, numbers and escapes out of range, bytes that are no
/// text.
static void change_text(ByteBuffer *bytes, Random *random) {
    static const char *const pieces[] = {"\"id\": 1, \"id\": 2,",
                                         "\\ud800",
                                         "\\u0000",
                                         "1e999",
                                         "-",
                                         "NaN",
                                         "Infinity",
                                         "01",
                                         "//\n",
                                         ",",
                                         "[[[[[",
                                         "}",
                                         "\"r\": \"LORA\",",
                                         "\"\": 0,",
                                         "\xff\xfe",
                                         "'",
                                         "\xef\xbb\xbf"};
    const char *piece = RANDOM_PICK(random, pieces);
    static const char *const places[] = {"{", ",", ":", "\"", "}", "["};
    const char *sign = RANDOM_PICK(random, places);
    if (!bytes->size) return;
    size_t at = random_below(random, bytes->size);
    while (at < bytes->size && bytes->data[at] != *sign) at++;
    bytes_replace(bytes, at + 1, random_below(random, 2), piece, strlen(piece));
}

void mutate_json(ByteBuffer *bytes, Random *random) {
    json_t *root = json_loadb(bytes->data, bytes->size,
                              JSON_DECODE_ANY | JSON_ALLOW_NUL | JSON_DISABLE_EOF_CHECK, NULL);
    if (!root) {
        mutate_bytes(bytes, NULL, random);
        return;
    }
    if (random_chance(random, 75)) {
        Slots *slots = malloc(sizeof *slots);
        for (size_t changes = 1 + random_size(random, 4); slots && changes; changes--)
            change_once(root, slots, random);
        free(slots);
        char *text = json_dumps(
            root, JSON_ENCODE_ANY | (random_chance(random, 50) ? JSON_COMPACT : JSON_INDENT(2)));
        if (text) bytes_replace(bytes, 0, bytes->size, text, strlen(text));
        free(text);
    }
    json_decref(root);
    while (random_chance(random, 25)) change_text(bytes, random);
    if (random_chance(random, 10)) mutate_bytes(bytes, NULL, random);
}
