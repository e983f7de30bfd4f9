#include "eval/phrases/clean_text.h"
#include "autograd/error.h"
#include "autograd/text/utf8.h"

#include <string.h>

char *clean_text(const char *text, size_t length) {
    char *copy = checked_malloc(length + 1);
    memcpy(copy, text, length);
    copy[length] = '\0';
    for (size_t i = 0; i < length;) {
        const size_t size = copy[i] ? utf8_character_length(copy + i, length - i) : 0;
        if (!size) copy[i] = '?';
        i += size ? size : 1;
    }
    return copy;
}
