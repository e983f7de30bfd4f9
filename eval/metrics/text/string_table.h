/// Numbers for strings: from 0, in the order in which they are added.
#pragma once
#include <stddef.h>
#include <stdint.h>

typedef struct StringTable StringTable;

StringTable *string_table_new(void);
void string_table_free(StringTable *table);
int string_table_size(const StringTable *table);

/// The number of text[0, length), which is copied if it is new.
int32_t string_table_add(StringTable *table, const char *text, size_t length);
/// Its number, or -1.
int32_t string_table_find(const StringTable *table, const char *text, size_t length);
