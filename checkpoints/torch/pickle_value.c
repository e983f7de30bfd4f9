// The values of a pickle: where they live, and what is checked once the whole tree is there. A
// pickle can build any graph, for it may put a list into itself or the same list into many places:
// who walks the tree afterwards must neither recurse without end nor visit 2^n nodes.
#include "autograd/text/utf8.h"
#include "checkpoints/torch/pickle_internal.h"

#include <stdlib.h>
#include <string.h>

// ---- memory

struct PickleBlock {
    PickleBlock *next;
    size_t used, size;
    _Alignas(16) char bytes[];
};

static void *allocate(Pickle *pickle, size_t size) {
    static const size_t BLOCK = 1 << 14;
    size = (size + 15) & ~(size_t)15;
    PickleBlock *block = pickle->blocks;
    if (!block || block->size - block->used < size) {
        size_t capacity = size > BLOCK ? size : BLOCK;
        block = checked_malloc(sizeof *block + capacity);
        *block = (PickleBlock){pickle->blocks, 0, capacity};
        pickle->blocks = block;
    }
    void *memory = block->bytes + block->used;
    block->used += size;
    return memory;
}

void pickle_close(Pickle *pickle) {
    if (!pickle) return;
    for (PickleContainer *c = pickle->containers; c; c = c->next) free(c->value.items);
    for (PickleBlock *block = pickle->blocks, *next; block; block = next) {
        next = block->next;
        free(block);
    }
    free(pickle);
}

// ---- construction

PickleValue *pickle_new(Pickle *pickle, PickleKind kind) {
    if (!pickle_is_container(kind)) {
        PickleValue *value = allocate(pickle, sizeof *value);
        *value = (PickleValue){.kind = kind};
        return value;
    }
    PickleContainer *container = allocate(pickle, sizeof *container);
    *container = (PickleContainer){.value.kind = kind, .next = pickle->containers};
    container->value.items = NULL;
    pickle->containers = container;
    return &container->value;
}

PickleValue *pickle_new_int(Pickle *pickle, int64_t integer) {
    PickleValue *value = pickle_new(pickle, PICKLE_INT);
    value->integer = integer;
    return value;
}

PickleValue *pickle_new_string(Pickle *pickle, PickleKind kind, const char *text, size_t length) {
    PickleValue *value = pickle_new(pickle, kind);
    char *copy = allocate(pickle, length + 1);
    if (length) memcpy(copy, text, length);
    copy[length] = '\0';
    value->text = copy;
    value->count = (uint32_t)length;
    return value;
}

bool pickle_is_container(PickleKind kind) {
    return (kind >= PICKLE_LIST && kind <= PICKLE_DICT) || kind == PICKLE_CALL ||
           kind == PICKLE_PERSISTENT;
}

bool pickle_append(PickleValue *value, PickleValue *const *items, size_t count) {
    PickleContainer *container = (PickleContainer *)value;
    size_t width = value->kind == PICKLE_DICT ? 2 : 1, have = value->count * width;
    size_t need = have + count * width;
    if (need > PICKLE_MAX_BYTES) return false;
    if (need > container->capacity) {
        size_t capacity = need > 2 * have ? need : 2 * have;
        value->items = checked_realloc(value->items, capacity * sizeof *value->items);
        container->capacity = (uint32_t)capacity;
    }
    for (size_t i = have; i < need; i++) value->items[i] = items[i - have];
    value->count += (uint32_t)count;
    return true;
}

PickleValue *pickle_new_container(Pickle *pickle, PickleKind kind, PickleValue *const *items,
                                  uint32_t count) {
    PickleValue *value = pickle_new(pickle, kind);
    pickle_append(value, items, count);
    return value;
}

// ---- the whole tree

enum { UNSEEN, ON_THE_WAY, DONE };

static int compare_keys(const void *a, const void *b) {
    const PickleValue *x = *(PickleValue *const *)a, *y = *(PickleValue *const *)b;
    if (x->kind != y->kind) return x->kind < y->kind ? -1 : 1;
    if (x->kind == PICKLE_INT) return (x->integer > y->integer) - (x->integer < y->integer);
    uint32_t shorter = x->count < y->count ? x->count : y->count;
    int order = memcmp(x->text, y->text, shorter);
    return order ? order : (x->count > y->count) - (x->count < y->count);
}

static bool check_keys(const PickleValue *dict, Error *error) {
    PickleValue **keys = checked_malloc((dict->count + 1) * sizeof *keys);
    uint32_t count = 0;
    for (uint32_t i = 0; i < dict->count; i++) {
        PickleKind kind = dict->items[2 * i]->kind;
        if (kind == PICKLE_TEXT || kind == PICKLE_BYTES || kind == PICKLE_INT)
            keys[count++] = dict->items[2 * i];
    }
    qsort(keys, count, sizeof *keys, compare_keys);
    bool unique = true;
    for (uint32_t i = 1; unique && i < count; i++) {
        unique = compare_keys(&keys[i - 1], &keys[i]) != 0;
        if (unique) continue;
        if (keys[i]->kind == PICKLE_INT)
            error_set(error, "the key %lld comes twice in one dict", (long long)keys[i]->integer);
        else
            error_set(error, "the key '%.200s' comes twice in one dict", keys[i]->text);
    }
    free(keys);
    return unique;
}

static bool visit(PickleValue *value, int depth, Error *error) {
    PickleContainer *container = (PickleContainer *)value;
    if (!pickle_is_container(value->kind) || container->visit == DONE) return true;
    if (container->visit == ON_THE_WAY)
        return error_set(error, "%s contains itself", pickle_kind_name(value->kind));
    if (depth >= PICKLE_MAX_DEPTH)
        return error_set(error, "nested more than %d deep", PICKLE_MAX_DEPTH);
    container->visit = ON_THE_WAY;
    uint64_t extent = 1;
    uint32_t count = value->kind == PICKLE_DICT ? 2 * value->count : value->count;
    int height = 1;
    for (uint32_t i = 0; i < count; i++) {
        PickleValue *item = value->items[i];
        if (!visit(item, depth + 1, error)) return false;
        const PickleContainer *below = (PickleContainer *)item;
        bool leaf = !pickle_is_container(item->kind);
        extent += leaf ? 1 : below->extent;
        if (extent > UINT32_MAX) extent = UINT32_MAX; // more than any pickle may have
        if (!leaf && below->height + 1 > height) height = below->height + 1;
    }
    // A part that was visited before, at a smaller depth.
    if (depth + height > PICKLE_MAX_DEPTH)
        return error_set(error, "nested more than %d deep", PICKLE_MAX_DEPTH);
    container->visit = DONE;
    container->height = (uint8_t)height;
    container->extent = extent;
    return value->kind != PICKLE_DICT || check_keys(value, error);
}

bool pickle_check(PickleValue *root, size_t bytes, Error *error) {
    static const uint64_t NODES_PER_BYTE = 2, SMALL = 1 << 16;
    if (!visit(root, 0, error)) return false;
    if (pickle_is_container(root->kind) &&
        ((PickleContainer *)root)->extent > NODES_PER_BYTE * bytes + SMALL)
        return error_set(error, "shares its parts so often that it would be endless");
    return true;
}

// ---- access

const PickleValue *pickle_root(const Pickle *pickle) { return pickle->root; }

const PickleValue *pickle_get(const PickleValue *dict, const char *key) {
    size_t length = strlen(key);
    if (!dict || dict->kind != PICKLE_DICT) return NULL;
    for (uint32_t i = 0; i < dict->count; i++) {
        const PickleValue *candidate = dict->items[2 * i];
        if ((candidate->kind == PICKLE_TEXT || candidate->kind == PICKLE_BYTES) &&
            candidate->count == length && memcmp(candidate->text, key, length) == 0)
            return dict->items[2 * i + 1];
    }
    return NULL;
}

const char *pickle_text(const PickleValue *value) {
    if (value->kind != PICKLE_TEXT && value->kind != PICKLE_BYTES) return NULL;
    if (memchr(value->text, '\0', value->count)) return NULL;
    if (value->kind == PICKLE_BYTES && !is_utf8(value->text, value->count)) return NULL;
    return value->text;
}

const char *pickle_kind_name(PickleKind kind) {
    static const char *const names[] = {
        [PICKLE_NONE] = "None",          [PICKLE_BOOL] = "a bool",    [PICKLE_INT] = "an int",
        [PICKLE_FLOAT] = "a float",      [PICKLE_TEXT] = "a string",  [PICKLE_BYTES] = "bytes",
        [PICKLE_LIST] = "a list",        [PICKLE_TUPLE] = "a tuple",  [PICKLE_SET] = "a set",
        [PICKLE_DICT] = "a dict",        [PICKLE_GLOBAL] = "a class", [PICKLE_CALL] = "an object",
        [PICKLE_PERSISTENT] = "storage",
    };
    return names[kind];
}
