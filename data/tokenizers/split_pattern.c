#include "data/tokenizers/split_pattern.h"
#include "autograd/text/utf8.h"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <ctype.h>
#include <pcre2.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

// PCRE2's own \s has U+180E as well, which Unicode no longer counts as white space.
#define WHITE_SPACE "\\t-\\r \\x{85}\\p{Z}"

enum {
    LONGEST_PATTERN = 16384,
    // Published patterns need some steps a character; nested quantifiers over long runs of white
    // space need billions.
    MATCH_LIMIT = 20000000,
    HEAP_LIMIT_KIB = 262144,
    JIT_STACK_BYTES = 1 << 20,
};

struct SplitPattern {
    pcre2_code *code;
};

struct SplitMatcher {
    pcre2_match_data *data;
    pcre2_match_context *context;
    /// NULL where PCRE2 has no just-in-time compiler
    pcre2_jit_stack *jit_stack;
};

typedef struct Translation {
    char *text;
    size_t length;
    bool in_class;
} Translation;

static void emit(Translation *to, const char *text, size_t count) {
    memcpy(to->text + to->length, text, count);
    to->length += count;
    to->text[to->length] = '\0';
}

/// The escape at `from`; returns its length, or 0 if the libraries may read it differently.
static size_t translate_escape(Translation *to, const char *from, Error *error) {
    const char kind = from[1];
    if (kind == 's') {
        const char *set = to->in_class ? WHITE_SPACE : "[" WHITE_SPACE "]";
        emit(to, set, strlen(set));
        return 2;
    }
    if (kind == 'S' && !to->in_class) {
        emit(to, "[^" WHITE_SPACE "]", strlen("[^" WHITE_SPACE "]"));
        return 2;
    }
    if (kind == 'p' || kind == 'P') {
        const size_t count = strcspn(from, "}");
        if (from[2] == '{' && from[count] == '}' && count > 3) {
            emit(to, from, count + 1);
            return count + 1;
        }
    } else if (kind && (strchr("rntdDfv", kind) || ispunct((unsigned char)kind))) {
        // In PCRE2 \v is any vertical space.
        emit(to, kind == 'v' ? "\\x0b" : from, kind == 'v' ? 4 : 2);
        return 2;
    }
    error_set(error, "its '\\%c'%s is not supported", kind ? kind : '\\',
              to->in_class ? " within [ ]" : "");
    return 0;
}

/// The group that begins with "(?" at `from` is one that both libraries read alike.
static bool is_common_group(const char *from) {
    static const char *const groups[] = {
        "(?:", "(?=", "(?!", "(?>", "(?<=", "(?<!", "(?i:", "(?i)", "(?-i:", "(?-i)"};
    for (size_t i = 0; i < sizeof groups / sizeof *groups; i++) {
        if (strncmp(from, groups[i], strlen(groups[i])) == 0) return true;
    }
    return false;
}

/// "{2,3}+" repeats the repetition in Oniguruma, and keeps PCRE2 from giving anything back.
static bool is_repeated_range(const char *from) {
    const size_t count = strspn(from + 1, "0123456789,");
    return *from == '{' && count > 0 && from[count + 1] == '}' && from[count + 2] == '+';
}

static bool check_outside_class(const char *c, Error *error) {
    if (strncmp(c, "(*", 2) == 0 || (strncmp(c, "(?", 2) == 0 && !is_common_group(c)))
        return error_set(error, "its group '%.4s' is not supported", c);
    return !is_repeated_range(c) || error_set(error, "its '%.6s' is not supported", c);
}

static bool translate(const char *pattern, Translation *to, Error *error) {
    bool class_begins = false; // ']' and '^' mean themselves there
    for (const char *c = pattern; *c;) {
        if (*c == '\\') {
            const size_t count = translate_escape(to, c, error);
            if (count == 0) return false;
            c += count;
            class_begins = false;
            continue;
        }
        if (to->in_class && (*c == '[' || strncmp(c, "&&", 2) == 0))
            return error_set(error, "its '%.2s' within [ ] is not supported", c);
        if (!to->in_class && !check_outside_class(c, error)) return false;
        emit(to, c, 1);
        if (!to->in_class && *c == '[') {
            to->in_class = class_begins = true;
            if (c[1] == '^') emit(to, ++c, 1);
            c++;
            continue;
        }
        if (to->in_class && *c == ']' && !class_begins) to->in_class = false;
        class_begins = false;
        c++;
    }
    return true;
}

static pcre2_code *compile(const char *pattern, uint32_t options, Error *error) {
    int code = 0;
    PCRE2_SIZE offset = 0;
    pcre2_code *compiled =
        pcre2_compile((PCRE2_SPTR)pattern, PCRE2_ZERO_TERMINATED, options, &code, &offset, NULL);
    if (!compiled) {
        char reason[256];
        pcre2_get_error_message(code, (PCRE2_UCHAR *)reason, sizeof reason);
        error_set(error, "it is not a regular expression: %s", reason);
        return NULL;
    }
    pcre2_jit_compile(compiled, PCRE2_JIT_COMPLETE); // without it, matching is only slower
    return compiled;
}

SplitPattern *split_pattern_new(const char *pattern, bool is_literal, Error *error) {
    const size_t length = strlen(pattern);
    if (length == 0 || length > LONGEST_PATTERN) {
        error_set(error, "it has %zu bytes; expected 1 to %d", length, LONGEST_PATTERN);
        return NULL;
    }
    pcre2_code *code = NULL;
    if (is_literal) {
        code = compile(pattern, PCRE2_UTF | PCRE2_LITERAL, error);
    } else {
        Translation to = {.text = checked_malloc(length * sizeof "[^" WHITE_SPACE "]" + 1)};
        if (translate(pattern, &to, error))
            // Oniguruma's ^ and $ are those of every line.
            code = compile(
                to.text, PCRE2_UTF | PCRE2_UCP | PCRE2_MULTILINE | PCRE2_NEVER_BACKSLASH_C, error);
        free(to.text);
    }
    if (!code) return NULL;
    SplitPattern *result = checked_calloc(1, sizeof *result);
    result->code = code;
    return result;
}

void split_pattern_free(SplitPattern *pattern) {
    if (!pattern) return;
    pcre2_code_free(pattern->code);
    free(pattern);
}

SplitMatcher *split_matcher_new(void) {
    SplitMatcher *matcher = checked_calloc(1, sizeof *matcher);
    matcher->data = pcre2_match_data_create(1, NULL); // where the whole match begins and ends
    matcher->context = pcre2_match_context_create(NULL);
    CHECK(matcher->data && matcher->context, "out of memory");
    pcre2_set_match_limit(matcher->context, MATCH_LIMIT);
    pcre2_set_heap_limit(matcher->context, HEAP_LIMIT_KIB);
    matcher->jit_stack = pcre2_jit_stack_create(32768, JIT_STACK_BYTES, NULL);
    pcre2_jit_stack_assign(matcher->context, NULL, matcher->jit_stack);
    return matcher;
}

void split_matcher_free(SplitMatcher *matcher) {
    if (!matcher) return;
    pcre2_match_data_free(matcher->data);
    pcre2_match_context_free(matcher->context);
    pcre2_jit_stack_free(matcher->jit_stack);
    free(matcher);
}

SplitResult split_pattern_next(const SplitPattern *pattern, SplitMatcher *matcher, const char *text,
                               size_t length, size_t from, size_t *begin, size_t *end) {
    while (from < length) {
        // An empty match at `from` says that there is none later that is not; ask from the next
        // character on.
        const uint32_t options = PCRE2_NO_UTF_CHECK;
        int found = pcre2_match(pattern->code, (PCRE2_SPTR)text, length, from, options,
                                matcher->data, matcher->context);
        if (found == PCRE2_ERROR_JIT_STACKLIMIT) // the interpreter keeps its state on the heap
            found = pcre2_match(pattern->code, (PCRE2_SPTR)text, length, from,
                                options | PCRE2_NO_JIT, matcher->data, matcher->context);
        if (found == PCRE2_ERROR_NOMATCH) return SPLIT_NONE;
        if (found < 0) return SPLIT_GAVE_UP;
        const PCRE2_SIZE *span = pcre2_get_ovector_pointer(matcher->data);
        if (span[1] > span[0]) {
            *begin = span[0];
            *end = span[1];
            return SPLIT_FOUND;
        }
        from = span[0];
        if (from < length) from += utf8_character_length(text + from, length - from);
    }
    return SPLIT_NONE;
}
