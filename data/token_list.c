#include "data/token_list.h"

#include <stdlib.h>

void token_list_append(TokenList *list, int32_t id, int32_t begin, int32_t end) {
    if (list->count == list->capacity) {
        list->capacity = list->capacity ? 2 * list->capacity : 64;
        size_t bytes = (size_t)list->capacity * sizeof(int32_t);
        list->ids = checked_realloc(list->ids, bytes);
        list->begin = checked_realloc(list->begin, bytes);
        list->end = checked_realloc(list->end, bytes);
    }
    list->ids[list->count] = id;
    list->begin[list->count] = begin;
    list->end[list->count++] = end;
}

void token_list_free(TokenList *list) {
    free(list->ids);
    free(list->begin);
    free(list->end);
    *list = (TokenList){0};
}

void decoded_text_free(DecodedText *decoded) {
    free(decoded->text);
    free(decoded->begin);
    free(decoded->end);
    *decoded = (DecodedText){0};
}
