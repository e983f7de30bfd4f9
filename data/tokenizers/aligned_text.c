#include "data/tokenizers/aligned_text.h"
#include "autograd/error.h"
#include "autograd/text/utf8.h"

#include <stdlib.h>
#include <string.h>
#include <utf8proc.h>

void aligned_text_free(AlignedText *text) {
    free(text->bytes);
    free(text->begin);
    free(text->end);
    *text = (AlignedText){0};
}

static void reserve(AlignedText *text, size_t count) {
    if (text->length + count <= text->capacity) return;
    text->capacity = 2 * (text->length + count) + 32;
    text->bytes = checked_realloc(text->bytes, text->capacity);
    text->begin = checked_realloc(text->begin, text->capacity * sizeof *text->begin);
    text->end = checked_realloc(text->end, text->capacity * sizeof *text->end);
}

void aligned_text_append(AlignedText *text, const char *bytes, size_t count, int32_t begin,
                         int32_t end) {
    reserve(text, count);
    for (size_t i = 0; i < count; i++) {
        text->bytes[text->length] = bytes[i];
        text->begin[text->length] = begin;
        text->end[text->length++] = end;
    }
}

void aligned_text_append_slice(AlignedText *text, const AlignedText *from, size_t begin,
                               size_t end) {
    const size_t count = end - begin;
    if (count == 0) return;
    reserve(text, count);
    memcpy(text->bytes + text->length, from->bytes + begin, count);
    memcpy(text->begin + text->length, from->begin + begin, count * sizeof *text->begin);
    memcpy(text->end + text->length, from->end + begin, count * sizeof *text->end);
    text->length += count;
}

AlignedText aligned_text_of(const char *text, size_t length) {
    AlignedText result = {0};
    for (size_t i = 0; i < length;) {
        const size_t count = utf8_character_length(text + i, length - i);
        for (size_t k = 0; k < count; k++, i++)
            aligned_text_append(&result, text + i, 1, (int32_t)i, (int32_t)(i + 1));
        if (count > 0) continue;
        const size_t broken = utf8_broken_length(text + i, length - i);
        aligned_text_append(&result, UTF8_REPLACEMENT, strlen(UTF8_REPLACEMENT), (int32_t)i,
                            (int32_t)(i + broken));
        i += broken;
    }
    return result;
}

AlignedText aligned_text_replaced(const AlignedText *from, size_t begin, size_t end,
                                  const char *pattern, const char *content) {
    AlignedText result = {0};
    const size_t count = strlen(pattern);
    size_t kept = begin;
    for (size_t i = begin; i + count <= end;) {
        if (memcmp(from->bytes + i, pattern, count) != 0) {
            i++;
            continue;
        }
        aligned_text_append_slice(&result, from, kept, i);
        aligned_text_append(&result, content, strlen(content), from->begin[i],
                            from->end[i + count - 1]);
        kept = i += count;
    }
    aligned_text_append_slice(&result, from, kept, end);
    return result;
}

/// Appends the normalization of from[begin, end).
static void append_normalized(AlignedText *result, const AlignedText *from, size_t begin,
                              size_t end) {
    utf8proc_uint8_t *normal = NULL;
    const utf8proc_ssize_t length =
        utf8proc_map((const utf8proc_uint8_t *)from->bytes + begin, (utf8proc_ssize_t)(end - begin),
                     &normal, UTF8PROC_STABLE | UTF8PROC_COMPOSE);
    CHECK(length >= 0, "utf8proc: %s", utf8proc_errmsg(length)); // the text is valid: memory alone
    if ((size_t)length == end - begin && memcmp(normal, from->bytes + begin, end - begin) == 0)
        aligned_text_append_slice(result, from, begin, end);
    else
        aligned_text_append(result, (const char *)normal, (size_t)length, from->begin[begin],
                            from->end[end - 1]);
    free(normal);
}

static bool is_ascii(const AlignedText *text, size_t at) {
    return (unsigned char)text->bytes[at] < 0x80;
}

AlignedText aligned_text_nfc(const AlignedText *from, size_t begin, size_t end) {
    AlignedText result = {0};
    for (size_t i = begin; i < end;) {
        // ASCII never changes, but its last character may join marks that follow it.
        size_t run = i;
        while (run < end && is_ascii(from, run)) run++;
        const size_t last = run > i && run < end ? run - 1 : run;
        aligned_text_append_slice(&result, from, i, last);
        i = last;
        while (run < end && !is_ascii(from, run)) run++;
        if (run > i) append_normalized(&result, from, i, run);
        i = run;
    }
    return result;
}
