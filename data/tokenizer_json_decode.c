#include "data/aligned_text.h"
#include "data/text.h"
#include "data/tokenizer_json_internal.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

static const char REPLACEMENT_CHARACTER[] = "\xef\xbf\xbd"; // U+FFFD

typedef struct Bytes {
    char *bytes;
    size_t length;
    size_t capacity;
} Bytes;

static void append(Bytes *to, const char *bytes, size_t count) {
    if (to->length + count + 1 > to->capacity) {
        to->capacity = 2 * (to->length + count) + 64;
        to->bytes = checked_realloc(to->bytes, to->capacity);
    }
    memcpy(to->bytes + to->length, bytes, count);
    to->length += count;
    to->bytes[to->length] = '\0';
}

/// The token's text if it is one that stands for text, or NULL.
static const char *text_of(const TokenizerJson *tokenizer, int32_t id) {
    if (id < 0 || id >= tokenizer->count || tokenizer->kinds[id] & TOKEN_SPECIAL) return NULL;
    // The library decodes an added token as what it looks for.
    for (int i = 0; tokenizer->kinds[id] & TOKEN_REWRITTEN && i < tokenizer->added_count; i++) {
        if (tokenizer->added[i].id == id) return tokenizer->added[i].content;
    }
    return tokenizer_json_text(tokenizer, id);
}

/// The bytes that GPT-2's letters stand for; a token with another character in it is its own text.
static void append_letters(Bytes *to, const char *text) {
    const size_t length = strlen(text), before = to->length;
    for (size_t i = 0, count = 0; i < length; i += count) {
        const int byte = byte_of_letter(text + i, length - i, &count);
        if (byte < 0) {
            to->length = before;
            append(to, text, length);
            return;
        }
        append(to, &(char){(char)byte}, 1);
    }
}

/// The byte of "<0x0A>", or -1 for another text.
static int fallback_byte(const char *text) {
    return text && strlen(text) == 6 && strncmp(text, "<0x", 3) == 0 && text[5] == '>' &&
                   isxdigit((unsigned char)text[3]) && isxdigit((unsigned char)text[4])
               ? (int)strtol(text + 3, NULL, 16)
               : -1;
}

static bool is_utf8(const char *text, size_t length) {
    for (size_t i = 0, count = 0; i < length; i += count) {
        count = utf8_character_length(text + i, length - i);
        if (count == 0) return false;
    }
    return true;
}

/// Appends the run of byte tokens that begins at `first`, and returns the token after it. A run that is not UTF-8 as a whole
/// is one U+FFFD for each byte. Special tokens do not end a run.
static int append_fallback_bytes(const TokenizerJson *tokenizer, const int32_t *ids, int first,
                                 int count, Bytes *to, int32_t *ends) {
    int end = first;
    Bytes run = {0};
    append(&run, "", 0);
    for (; end < count; end++) {
        const char *text = text_of(tokenizer, ids[end]);
        const int byte = fallback_byte(text);
        if (text && byte < 0) break;
        if (text) append(&run, &(char){(char)byte}, 1);
    }
    const bool valid = is_utf8(run.bytes, run.length);
    for (int i = first, k = 0; i < end; i++) {
        if (text_of(tokenizer, ids[i])) {
            append(to, valid ? run.bytes + k : REPLACEMENT_CHARACTER,
                   valid ? 1 : strlen(REPLACEMENT_CHARACTER));
            k++;
        }
        ends[i] = (int32_t)to->length;
    }
    free(run.bytes);
    return end;
}

static void append_visible(const char *text, const char *space, Bytes *to) {
    const size_t count = strlen(space);
    for (const char *mark; (mark = strstr(text, space)); text = mark + count) {
        append(to, text, (size_t)(mark - text));
        append(to, " ", 1);
    }
    append(to, text, strlen(text));
}

/// The tokens' bytes one after another, and where in them each ends.
static Bytes join_tokens(const TokenizerJson *tokenizer, const int32_t *ids, int count,
                         int32_t *ends) {
    Bytes bytes = {0};
    append(&bytes, "", 0);
    for (int i = 0; i < count;) {
        const char *text = text_of(tokenizer, ids[i]);
        if (tokenizer->decodes_fallback && fallback_byte(text) >= 0) {
            i = append_fallback_bytes(tokenizer, ids, i, count, &bytes, ends);
            continue;
        }
        if (text && !tokenizer->visible_space)
            append_letters(&bytes, text);
        else if (text)
            append_visible(text, tokenizer->visible_space, &bytes);
        ends[i++] = (int32_t)bytes.length;
    }
    return bytes;
}

/// What the bytes are as text; at[i]: where in it byte i begins, [length + 1].
static Bytes readable(const Bytes *bytes, bool strips_first_space, int32_t *at) {
    Bytes text = {0};
    append(&text, "", 0);
    size_t i = 0;
    if (strips_first_space && bytes->bytes[0] == ' ') at[i++] = 0;
    while (i < bytes->length) {
        size_t count = utf8_character_length(bytes->bytes + i, bytes->length - i);
        const size_t begin = text.length, valid = count;
        if (valid) {
            append(&text, bytes->bytes + i, count);
        } else {
            append(&text, REPLACEMENT_CHARACTER, strlen(REPLACEMENT_CHARACTER));
            count = broken_character_length(bytes->bytes + i, bytes->length - i);
        }
        for (size_t k = 0; k < count; k++)
            at[i++] = (int32_t)(valid || k == 0 ? begin + k : text.length);
    }
    at[i] = (int32_t)text.length;
    return text;
}

DecodedText tokenizer_json_decode(const TokenizerJson *tokenizer, const int32_t *ids, int count) {
    DecodedText decoded = {.count = count};
    decoded.begin = checked_calloc((size_t)count + 1, sizeof *decoded.begin);
    decoded.end = checked_calloc((size_t)count + 1, sizeof *decoded.end);
    Bytes bytes = join_tokens(tokenizer, ids, count, decoded.end);
    int32_t *at = checked_malloc((bytes.length + 1) * sizeof *at);
    decoded.text = readable(&bytes, tokenizer->strips_first_space, at).bytes;
    for (int i = 0; i < count; i++) {
        decoded.begin[i] = i > 0 ? decoded.end[i - 1] : 0;
        decoded.end[i] = at[decoded.end[i]];
    }
    free(at);
    free(bytes.bytes);
    return decoded;
}
