// The steps of the `tokenizers` package in its order: tokens found verbatim are cut out; what lies
// between is normalized, and the tokens that are looked for after that are cut out; the rest is cut
// into words by one pre-tokenizer after another, and each word is encoded. A slice is handed from
// step to step, so that nothing is copied where a step changes nothing.
#include "data/text.h"
#include "data/tokenizers/aligned_text.h"
#include "data/tokenizers/tokenizer_json_internal.h"

#include <stdlib.h>
#include <string.h>
#include <utf8proc.h>

typedef struct Run {
    const TokenizerJson *tokenizer;
    SplitMatcher *matcher;
    BytePairWorkspace workspace;
    TokenList *list;
    Error *error;
} Run;

typedef struct Slice {
    const AlignedText *text;
    size_t begin;
    size_t end;
} Slice;

static int32_t origin_begin(Slice slice) { return slice.text->begin[slice.begin]; }
static int32_t origin_end(Slice slice) { return slice.text->end[slice.end - 1]; }

typedef struct Encoded {
    Run *run;
    Slice word;
} Encoded;

static void append_token(int32_t id, size_t begin, size_t end, void *context) {
    const Encoded *encoded = context;
    const Slice part = {encoded->word.text, encoded->word.begin + begin, encoded->word.begin + end};
    token_list_append(encoded->run->list, id, origin_begin(part), origin_end(part));
}

static bool pre_tokenize(Run *run, int step, Slice slice);

static bool split(Run *run, int step, Slice slice) {
    const PreTokenizer *splitter = &run->tokenizer->pre_tokenizers[step];
    const char *text = slice.text->bytes + slice.begin;
    const size_t length = slice.end - slice.begin;
    for (size_t at = 0, begin = 0, end = 0; at < length; at = end) {
        const SplitResult found =
            split_pattern_next(splitter->pattern, run->matcher, text, length, at, &begin, &end);
        if (found == SPLIT_GAVE_UP)
            return error_set(run->error,
                             "the tokenizer's pattern takes too many steps on a text of %zu bytes",
                             length);
        if (found == SPLIT_NONE) begin = end = length;
        const Slice gap = {slice.text, slice.begin + at, slice.begin + begin};
        const Slice match = {slice.text, slice.begin + begin, slice.begin + end};
        if (!splitter->drops_gaps && !pre_tokenize(run, step + 1, gap)) return false;
        if (!splitter->drops_matches && !pre_tokenize(run, step + 1, match)) return false;
    }
    return true;
}

/// Hands on the slice with `text` in front of it, which stands for nothing.
static bool with_prefix(Run *run, int step, Slice slice, const char *text) {
    AlignedText prefixed = {0};
    const int32_t at = origin_begin(slice);
    aligned_text_append(&prefixed, text, strlen(text), at, at);
    aligned_text_append_slice(&prefixed, slice.text, slice.begin, slice.end);
    const bool done = pre_tokenize(run, step, (Slice){&prefixed, 0, prefixed.length});
    aligned_text_free(&prefixed);
    return done;
}

static bool begins_with(Slice slice, const char *text) {
    const size_t count = strlen(text);
    return slice.end - slice.begin >= count &&
           memcmp(slice.text->bytes + slice.begin, text, count) == 0;
}

/// Hands on the words, each of which begins with a visible space (but perhaps the first).
static bool split_before_spaces(Run *run, int step, Slice slice, const char *space) {
    size_t begin = slice.begin;
    for (size_t i = slice.begin + 1; i < slice.end; i++) {
        if (!begins_with((Slice){slice.text, i, slice.end}, space)) continue;
        if (!pre_tokenize(run, step, (Slice){slice.text, begin, i})) return false;
        begin = i;
    }
    return pre_tokenize(run, step, (Slice){slice.text, begin, slice.end});
}

static bool show_spaces(Run *run, int step, Slice slice) {
    const PreTokenizer *metaspace = &run->tokenizer->pre_tokenizers[step];
    const char *space = metaspace->replacement;
    AlignedText visible = aligned_text_replaced(slice.text, slice.begin, slice.end, " ", space);
    Slice whole = {&visible, 0, visible.length};
    AlignedText prefixed = {0};
    const bool at_start = metaspace->prepend == PREPEND_ALWAYS ||
                          (metaspace->prepend == PREPEND_FIRST && origin_begin(whole) == 0);
    if (at_start && !begins_with(whole, space)) {
        aligned_text_append(&prefixed, space, strlen(space), origin_begin(whole),
                            origin_begin(whole));
        aligned_text_append_slice(&prefixed, &visible, 0, visible.length);
        whole = (Slice){&prefixed, 0, prefixed.length};
    }
    const bool done = metaspace->splits ? split_before_spaces(run, step + 1, whole, space)
                                        : pre_tokenize(run, step + 1, whole);
    aligned_text_free(&visible);
    aligned_text_free(&prefixed);
    return done;
}

static bool pre_tokenize(Run *run, int step, Slice slice) {
    if (slice.begin == slice.end) return true;
    if (step == run->tokenizer->pre_tokenizer_count) {
        Encoded encoded = {run, slice};
        byte_pair_encoding_encode(run->tokenizer->encoding, slice.text->bytes + slice.begin,
                                  slice.end - slice.begin, &run->workspace, append_token, &encoded);
        return true;
    }
    const PreTokenizer *next = &run->tokenizer->pre_tokenizers[step];
    if (next->kind == PRE_TOKENIZER_SPLIT) return split(run, step, slice);
    if (next->kind == PRE_TOKENIZER_METASPACE) return show_spaces(run, step, slice);
    return next->adds_space && !begins_with(slice, " ") ? with_prefix(run, step + 1, slice, " ")
                                                        : pre_tokenize(run, step + 1, slice);
}

// ---- added tokens

/// The longest token of the set that is at slice.begin, or NULL.
static const AddedToken *token_at(const AddedTokenSet *set, Slice slice) {
    const unsigned char first = (unsigned char)slice.text->bytes[slice.begin];
    for (int i = set->first[first]; i < set->first[first + 1]; i++) {
        if (begins_with(slice, set->tokens[i]->content)) return set->tokens[i];
    }
    return NULL;
}

/// A letter, mark, digit, joiner or connector: what the \w of regular expressions is.
static bool is_word_character(int32_t code) {
    switch (utf8proc_category(code)) {
    case UTF8PROC_CATEGORY_LU:
    case UTF8PROC_CATEGORY_LL:
    case UTF8PROC_CATEGORY_LT:
    case UTF8PROC_CATEGORY_LM:
    case UTF8PROC_CATEGORY_LO:
    case UTF8PROC_CATEGORY_MN:
    case UTF8PROC_CATEGORY_MC:
    case UTF8PROC_CATEGORY_ME:
    case UTF8PROC_CATEGORY_ND:
    case UTF8PROC_CATEGORY_NL:
    case UTF8PROC_CATEGORY_PC:
        return true;
    default:
        return code == 0x200c || code == 0x200d;
    }
}

static bool word_begins_at(Slice slice, size_t at) {
    utf8proc_int32_t code = 0;
    return at < slice.end &&
           utf8proc_iterate((const utf8proc_uint8_t *)slice.text->bytes + at,
                            (utf8proc_ssize_t)(slice.end - at), &code) > 0 &&
           is_word_character(code);
}

static size_t previous_character(Slice slice, size_t at) {
    do at--;
    while (at > slice.begin && ((unsigned char)slice.text->bytes[at] & 0xc0) == 0x80);
    return at;
}

/// Bytes of the white-space character at `at`, or 0.
static size_t white_space_at(Slice slice, size_t at) {
    char character[8] = {0};
    const size_t left = slice.end - at;
    memcpy(character, slice.text->bytes + at, left < 4 ? left : 4);
    // Unicode's White_Space is str.isspace() without four control characters.
    return at < slice.end && !(*character >= 0x1c && *character <= 0x1f) ? space_length(character)
                                                                         : 0;
}

/// The match with the white space that belongs to it, or an empty slice if it must be a word by
/// itself and is not.
static Slice token_extent(const AddedToken *token, Slice slice, Slice match, size_t taken) {
    if (token->single_word && (word_begins_at(slice, match.end) ||
                               (match.begin > slice.begin &&
                                word_begins_at(slice, previous_character(slice, match.begin)))))
        return (Slice){slice.text, match.end, match.end};
    while (token->strips_left && match.begin > taken) {
        const size_t previous = previous_character(slice, match.begin);
        if (!white_space_at(slice, previous)) break;
        match.begin = previous;
    }
    for (size_t space; token->strips_right && (space = white_space_at(slice, match.end)) > 0;)
        match.end += space;
    return match;
}

typedef bool Between(Run *run, Slice slice);

/// Appends the tokens of the set, and hands what lies between them to `between`, in order.
static bool cut_out(Run *run, const AddedTokenSet *set, Slice slice, Between *between) {
    size_t taken = slice.begin;
    for (size_t i = slice.begin; i < slice.end;) {
        const AddedToken *token = token_at(set, (Slice){slice.text, i, slice.end});
        if (!token) {
            i++;
            continue;
        }
        const Slice match = {slice.text, i, i + token->length};
        const Slice extent = token_extent(token, slice, match, taken);
        i = match.end > extent.end ? match.end : extent.end;
        if (extent.begin == extent.end) continue;
        if (extent.begin > taken && !between(run, (Slice){slice.text, taken, extent.begin}))
            return false;
        token_list_append(run->list, token->id, origin_begin(extent), origin_end(extent));
        taken = extent.end;
    }
    return taken == slice.end || between(run, (Slice){slice.text, taken, slice.end});
}

// ---- normalizers

static AlignedText apply_normalizer(const Normalizer *normalizer, Slice slice) {
    if (normalizer->kind == NORMALIZER_NFC)
        return aligned_text_nfc(slice.text, slice.begin, slice.end);
    if (normalizer->kind == NORMALIZER_REPLACE)
        return aligned_text_replaced(slice.text, slice.begin, slice.end, normalizer->pattern,
                                     normalizer->content);
    AlignedText prefixed = {0};
    if (slice.begin == slice.end) return prefixed;
    const int32_t at = origin_begin(slice);
    aligned_text_append(&prefixed, normalizer->content, strlen(normalizer->content), at, at);
    aligned_text_append_slice(&prefixed, slice.text, slice.begin, slice.end);
    return prefixed;
}

AlignedText tokenizer_json_normalize(const TokenizerJson *tokenizer, const AlignedText *text,
                                     size_t begin, size_t end) {
    AlignedText normal = {0};
    aligned_text_append_slice(&normal, text, begin, end);
    for (int i = 0; i < tokenizer->normalizer_count; i++) {
        AlignedText next =
            apply_normalizer(&tokenizer->normalizers[i], (Slice){&normal, 0, normal.length});
        aligned_text_free(&normal);
        normal = next;
    }
    return normal;
}

static bool encode_words(Run *run, Slice slice) { return pre_tokenize(run, 0, slice); }

static bool encode_normalized(Run *run, Slice slice) {
    const TokenizerJson *tokenizer = run->tokenizer;
    if (tokenizer->normalizer_count == 0)
        return cut_out(run, &tokenizer->normalized, slice, encode_words);
    AlignedText normal = tokenizer_json_normalize(tokenizer, slice.text, slice.begin, slice.end);
    const bool done =
        cut_out(run, &tokenizer->normalized, (Slice){&normal, 0, normal.length}, encode_words);
    aligned_text_free(&normal);
    return done;
}

bool tokenizer_json_encode(const TokenizerJson *tokenizer, const char *text, size_t length,
                           TokenList *list, Error *error) {
    AlignedText whole = aligned_text_of(text, length);
    Run run = {
        .tokenizer = tokenizer, .matcher = split_matcher_new(), .list = list, .error = error};
    const bool done =
        cut_out(&run, &tokenizer->verbatim, (Slice){&whole, 0, whole.length}, encode_normalized);
    split_matcher_free(run.matcher);
    byte_pair_workspace_free(&run.workspace);
    aligned_text_free(&whole);
    return done;
}
