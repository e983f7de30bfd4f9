#include "eval/metrics/text/string_table.h"
#include "autograd/fnv.h"
#include "autograd/text/byte_buffer.h"

#include <stdlib.h>
#include <string.h>

enum { FIRST_PLACES = 1 << 10, MOST_PLACES = 1 << 29 };

typedef struct Entry {
    size_t begin, length;
} Entry;

struct StringTable {
    /// The strings, one behind the other.
    ByteBuffer bytes;
    Entry *entries;
    int count;
    /// Open addressing: numbers, -1 where free. A power of two, at most half full.
    int32_t *places;
    int place_count;
};

static void make_places(StringTable *table, int count) {
    const size_t bytes = (size_t)count * sizeof *table->places;
    free(table->places);
    table->places = checked_malloc(bytes);
    memset(table->places, 0xff, bytes);
    table->place_count = count;
    table->entries = checked_realloc(table->entries, (size_t)count / 2 * sizeof *table->entries);
}

StringTable *string_table_new(void) {
    StringTable *table = checked_calloc(1, sizeof *table);
    make_places(table, FIRST_PLACES);
    return table;
}

void string_table_free(StringTable *table) {
    if (!table) return;
    byte_buffer_free(&table->bytes);
    free(table->entries);
    free(table->places);
    free(table);
}

int string_table_size(const StringTable *table) { return table->count; }

static uint64_t hash_of(const char *text, size_t length) {
    const uint64_t hash = fnv1a(text, length);
    return hash ^ hash >> 32;
}

static int32_t *place_of(const StringTable *table, const char *text, size_t length) {
    const uint64_t mask = (uint64_t)table->place_count - 1;
    for (uint64_t i = hash_of(text, length) & mask;; i = (i + 1) & mask) {
        int32_t *place = &table->places[i];
        if (*place < 0) return place;
        const Entry *entry = &table->entries[*place];
        if (entry->length == length &&
            (length == 0 || memcmp(table->bytes.data + entry->begin, text, length) == 0))
            return place;
    }
}

int32_t string_table_add(StringTable *table, const char *text, size_t length) {
    int32_t *place = place_of(table, text, length);
    if (*place >= 0) return *place;
    const int32_t number = *place = table->count++;
    table->entries[number] = (Entry){table->bytes.size, length};
    byte_buffer_put(&table->bytes, text, length);
    if (2 * table->count < table->place_count) return number;
    CHECK(table->place_count < MOST_PLACES, "more than %d strings", table->count);
    make_places(table, 2 * table->place_count);
    for (int i = 0; i < table->count; i++) {
        const Entry *entry = &table->entries[i];
        *place_of(table, table->bytes.data + entry->begin, entry->length) = i;
    }
    return number;
}

int32_t string_table_find(const StringTable *table, const char *text, size_t length) {
    return *place_of(table, text, length);
}
