#include "autograd/text/byte_buffer.h"
#include "autograd/text/utf8.h"
#include "data/tokenizers/tokenizer_json_internal.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

bool tokenizer_json_is_special(const TokenizerJson *tokenizer, int32_t id) {
    return id < 0 || id >= tokenizer->count || tokenizer->kinds[id] & TOKEN_SPECIAL;
}

/// The token's text if it is one that stands for text, or NULL.
static const char *text_of(const TokenizerJson *tokenizer, int32_t id) {
    if (tokenizer_json_is_special(tokenizer, id)) return NULL;
    // The library decodes an added token as what it looks for.
    for (int i = 0; tokenizer->kinds[id] & TOKEN_REWRITTEN && i < tokenizer->added_count; i++) {
        if (tokenizer->added[i].id == id) return tokenizer->added[i].content;
    }
    return tokenizer_json_text(tokenizer, id);
}

/// The bytes that GPT-2's letters stand for; a token with another character in it is its own text.
static void append_letters(ByteBuffer *to, const char *text) {
    const size_t length = strlen(text), before = to->size;
    for (size_t i = 0, count = 0; i < length; i += count) {
        const int byte = byte_of_letter(text + i, length - i, &count);
        if (byte < 0) {
            to->size = before;
            byte_buffer_put(to, text, length);
            return;
        }
        byte_buffer_put_byte(to, byte);
    }
}

/// The byte of "<0x0A>", or -1 for another text.
static int fallback_byte(const char *text) {
    return text && strlen(text) == 6 && strncmp(text, "<0x", 3) == 0 && text[5] == '>' &&
                   isxdigit((unsigned char)text[3]) && isxdigit((unsigned char)text[4])
               ? (int)strtol(text + 3, NULL, 16)
               : -1;
}

/// Appends the run of byte tokens that begins at `first`, and returns the token after it. A run
/// that is not UTF-8 as a whole is one U+FFFD for each byte. Special tokens do not end a run.
static int append_fallback_bytes(const TokenizerJson *tokenizer, const int32_t *ids, int first,
                                 int count, ByteBuffer *to, int32_t *ends) {
    int end = first;
    ByteBuffer run = {0};
    byte_buffer_put(&run, "", 0);
    for (; end < count; end++) {
        const char *text = text_of(tokenizer, ids[end]);
        const int byte = fallback_byte(text);
        if (text && byte < 0) break;
        if (text) byte_buffer_put_byte(&run, byte);
    }
    const bool valid = is_utf8(run.data, run.size);
    for (int i = first, k = 0; i < end; i++) {
        if (text_of(tokenizer, ids[i])) {
            byte_buffer_put(to, valid ? run.data + k : UTF8_REPLACEMENT,
                            valid ? 1 : strlen(UTF8_REPLACEMENT));
            k++;
        }
        ends[i] = (int32_t)to->size;
    }
    byte_buffer_free(&run);
    return end;
}

static void append_visible(const char *text, const char *space, ByteBuffer *to) {
    const size_t count = strlen(space);
    for (const char *mark; (mark = strstr(text, space)); text = mark + count) {
        byte_buffer_put(to, text, (size_t)(mark - text));
        byte_buffer_put_byte(to, ' ');
    }
    byte_buffer_put_text(to, text);
}

/// The tokens' bytes one after another, and where in them each ends.
static ByteBuffer join_tokens(const TokenizerJson *tokenizer, const int32_t *ids, int count,
                              int32_t *ends) {
    ByteBuffer bytes = {0};
    byte_buffer_put(&bytes, "", 0);
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
        ends[i++] = (int32_t)bytes.size;
    }
    return bytes;
}

/// What the bytes are as text; at[i]: where in it byte i begins, [length + 1].
static ByteBuffer readable(const ByteBuffer *bytes, bool strips_first_space, int32_t *at) {
    ByteBuffer text = {0};
    byte_buffer_put(&text, "", 0);
    size_t i = 0;
    if (strips_first_space && bytes->data[0] == ' ') at[i++] = 0;
    while (i < bytes->size) {
        size_t count = utf8_character_length(bytes->data + i, bytes->size - i);
        const size_t begin = text.size, valid = count;
        if (valid) {
            byte_buffer_put(&text, bytes->data + i, count);
        } else {
            byte_buffer_put_text(&text, UTF8_REPLACEMENT);
            count = utf8_broken_length(bytes->data + i, bytes->size - i);
        }
        for (size_t k = 0; k < count; k++)
            at[i++] = (int32_t)(valid || k == 0 ? begin + k : text.size);
    }
    at[i] = (int32_t)text.size;
    return text;
}

DecodedText tokenizer_json_decode(const TokenizerJson *tokenizer, const int32_t *ids, int count) {
    DecodedText decoded = {.count = count};
    decoded.begin = checked_calloc((size_t)count + 1, sizeof *decoded.begin);
    decoded.end = checked_calloc((size_t)count + 1, sizeof *decoded.end);
    ByteBuffer bytes = join_tokens(tokenizer, ids, count, decoded.end);
    int32_t *at = checked_malloc((bytes.size + 1) * sizeof *at);
    decoded.text = readable(&bytes, tokenizer->strips_first_space, at).data;
    for (int i = 0; i < count; i++) {
        decoded.begin[i] = i > 0 ? decoded.end[i - 1] : 0;
        decoded.end[i] = at[decoded.end[i]];
    }
    free(at);
    byte_buffer_free(&bytes);
    return decoded;
}

size_t tokenizer_json_settled(const TokenizerJson *tokenizer, const int32_t *ids, int count,
                              const DecodedText *decoded) {
    const size_t mark = strlen(UTF8_REPLACEMENT);
    size_t settled = strlen(decoded->text);
    if (!tokenizer->decodes_fallback) // what is begun of a character is one U+FFFD
        return settled < mark || memcmp(decoded->text + settled - mark, UTF8_REPLACEMENT, mark)
                   ? settled
                   : settled - mark;
    // A run of bytes may still turn out not to be UTF-8.
    for (int i = count - 1; i >= 0; i--) {
        const char *text = text_of(tokenizer, ids[i]);
        if (text && fallback_byte(text) < 0) break;
        if (text && (size_t)decoded->begin[i] < settled) settled = (size_t)decoded->begin[i];
    }
    return settled;
}
