#include "eval/metrics/text/ptb_tokenizer.h"
#include "autograd/text/utf8.h"
#include "eval/metrics/text/lower_case.h"
#include "eval/metrics/text/ptb_treatment.h"

#include <stdlib.h>
#include <string.h>
#include <utf8proc.h>

struct PtbTokenizer {
    PatternAutomaton *automaton;
    /// Of all rules, each with what must follow.
    int rules;
    /// Per rule that says what must follow: of its pattern and of what follows.
    int *taken, *ahead;
    /// The text, and what follows, in UTF-16.
    uint16_t *units;
    size_t count, capacity;
    /// Where a rule's pattern ends within a match.
    bool *ends;
    size_t ends_capacity;
    /// A token on its way.
    ByteBuffer text, treated, token;
};

PtbTokenizer *ptb_tokenizer_new(void) {
    PtbTokenizer *tokenizer = checked_calloc(1, sizeof *tokenizer);
    PatternAutomaton *automaton = tokenizer->automaton =
        pattern_automaton_new(PTB_NAMED, PTB_NAMED_COUNT);
    tokenizer->taken = checked_calloc((size_t)PTB_RULE_COUNT, sizeof *tokenizer->taken);
    tokenizer->ahead = checked_calloc((size_t)PTB_RULE_COUNT, sizeof *tokenizer->ahead);
    tokenizer->rules = pattern_automaton_add_machine(automaton);
    for (int i = 0; i < PTB_RULE_COUNT; i++) {
        const PtbRule *rule = &PTB_RULES[i];
        if (!rule->ahead) {
            pattern_automaton_add(automaton, tokenizer->rules, rule->pattern, i);
            continue;
        }
        char *whole = format_string("(%s)(%s)", rule->pattern, rule->ahead);
        pattern_automaton_add(automaton, tokenizer->rules, whole, i);
        free(whole);
        tokenizer->taken[i] = pattern_automaton_add_machine(automaton);
        pattern_automaton_add(automaton, tokenizer->taken[i], rule->pattern, i);
        tokenizer->ahead[i] = pattern_automaton_add_machine(automaton);
        pattern_automaton_add(automaton, tokenizer->ahead[i], rule->ahead, i);
    }
    return tokenizer;
}

void ptb_tokenizer_free(PtbTokenizer *tokenizer) {
    if (!tokenizer) return;
    pattern_automaton_free(tokenizer->automaton);
    free(tokenizer->taken);
    free(tokenizer->ahead);
    free(tokenizer->units);
    free(tokenizer->ends);
    byte_buffer_free(&tokenizer->text);
    byte_buffer_free(&tokenizer->treated);
    byte_buffer_free(&tokenizer->token);
    free(tokenizer);
}

static void put_utf16(PtbTokenizer *tokenizer, const char *text, size_t length) {
    if (tokenizer->count + length + 1 > tokenizer->capacity) { // a unit has a byte or more
        tokenizer->capacity = 2 * (tokenizer->count + length) + 64;
        tokenizer->units =
            checked_realloc(tokenizer->units, tokenizer->capacity * sizeof *tokenizer->units);
    }
    for (size_t i = 0; i < length;) {
        const size_t size = utf8_character_length(text + i, length - i);
        int32_t code = 0xfffd;
        if (size > 0)
            utf8proc_iterate((const utf8proc_uint8_t *)text + i, (utf8proc_ssize_t)size, &code);
        i += size > 0 ? size : utf8_broken_length(text + i, length - i);
        if (code == '\n') code = ' ';
        if (code >= 0x10000)
            tokenizer->units[tokenizer->count++] = (uint16_t)(0xd7c0 + (code >> 10));
        tokenizer->units[tokenizer->count++] =
            (uint16_t)(code >= 0x10000 ? 0xdc00 + (code & 0x3ff) : code);
    }
}

/// Behind put_utf16(), which leaves room for it.
static void put_line_break(PtbTokenizer *tokenizer) { tokenizer->units[tokenizer->count++] = '\n'; }

/// Half a character is a question mark.
static void put_utf8(ByteBuffer *to, const uint16_t *units, size_t count) {
    for (size_t i = 0; i < count; i++) {
        int32_t code = units[i];
        if (code < 0x80) {
            byte_buffer_put_byte(to, code);
            continue;
        }
        if (code >= 0xd800 && code < 0xdc00 && i + 1 < count && units[i + 1] >= 0xdc00 &&
            units[i + 1] < 0xe000)
            code = 0x10000 + ((code - 0xd800) << 10) + (units[++i] - 0xdc00);
        else if (code >= 0xd800 && code < 0xe000)
            code = '?';
        char bytes[4];
        byte_buffer_put(to, bytes, (size_t)utf8proc_encode_char(code, (utf8proc_uint8_t *)bytes));
    }
}

/// How much of a match is taken: the longest start that is the rule's pattern and leaves what must
/// follow.
static size_t taken_length(PtbTokenizer *tokenizer, int rule, const uint16_t *units,
                           size_t length) {
    if (!PTB_RULES[rule].ahead) return length;
    if (length >= tokenizer->ends_capacity) {
        tokenizer->ends_capacity = 2 * length + 64;
        free(tokenizer->ends);
        tokenizer->ends = checked_malloc(tokenizer->ends_capacity * sizeof *tokenizer->ends);
    }
    bool *ends = tokenizer->ends;
    size_t taken =
        pattern_automaton_ends(tokenizer->automaton, tokenizer->taken[rule], units, length, ends);
    for (; taken > 0; taken--)
        if (ends[taken] && pattern_automaton_covers(tokenizer->automaton, tokenizer->ahead[rule],
                                                    units + taken, length - taken))
            return taken;
    CHECK(false, "the tokenizer's rule %d matches as a whole and not in parts", rule);
    return length;
}

/// How much of what is taken comes again, and how much of it is the token.
static size_t returned_length(PtbTreatment treatment) {
    switch (treatment) {
    case PTB_SPLIT_THREE:
        return 3;
    case PTB_SPLIT_TWO:
        return 2;
    case PTB_FINAL_PERIOD:
    case PTB_FINAL_ACRONYM:
        return 1;
    default:
        return 0;
    }
}
static size_t kept_length(PtbTreatment treatment, size_t taken) {
    const bool keeps_period =
        treatment == PTB_FINAL_PERIOD || (treatment == PTB_FINAL_ACRONYM && taken > 2);
    return keeps_period ? taken : taken - returned_length(treatment);
}

static bool is_punctuation(const ByteBuffer *token) {
    static const char *const list[] = {"''", "'", "``", "`",  ".",   "?", "!",
                                       ",",  ":", "-",  "--", "...", ";"};
    for (size_t i = 0; token->size <= 3 && i < sizeof list / sizeof *list; i++) {
        if (strcmp(token->data, list[i]) == 0) return true;
    }
    return false;
}

static void put_token(PtbTokenizer *tokenizer, const PtbRule *rule, const uint16_t *units,
                      size_t count) {
    byte_buffer_clear(&tokenizer->text);
    byte_buffer_clear(&tokenizer->treated);
    byte_buffer_clear(&tokenizer->token);
    put_utf8(&tokenizer->text, units, count);
    ptb_treatment_put(&tokenizer->treated, rule, tokenizer->text.data, tokenizer->text.size);
    lower_case_put(&tokenizer->token, tokenizer->treated.data, tokenizer->treated.size);
}

void ptb_tokenize(PtbTokenizer *tokenizer, const char *text, size_t length, const char *following,
                  PtbPunctuation punctuation, ByteBuffer *tokens) {
    tokenizer->count = 0;
    put_utf16(tokenizer, text, length);
    const size_t end = tokenizer->count;
    if (following) {
        put_line_break(tokenizer);
        put_utf16(tokenizer, following, strlen(following));
        put_line_break(tokenizer);
    }
    const uint16_t *units = tokenizer->units;
    bool is_first = true;
    pattern_automaton_begin_text(tokenizer->automaton);
    for (size_t i = 0; i < end;) {
        int index;
        const size_t match = pattern_automaton_longest(tokenizer->automaton, tokenizer->rules,
                                                       units, tokenizer->count, i, &index);
        CHECK(match > 0, "no rule of the tokenizer matches U+%04X", units[i]);
        const PtbRule *rule = &PTB_RULES[index];
        size_t taken = taken_length(tokenizer, index, units + i, match);
        if (taken > end - i) taken = end - i; // a tag in what follows too: it ends with the text
        if (rule->treatment != PTB_SKIP) {
            put_token(tokenizer, rule, units + i, kept_length(rule->treatment, taken));
            if (punctuation == PTB_KEEP_PUNCTUATION || !is_punctuation(&tokenizer->token)) {
                if (!is_first) byte_buffer_put_byte(tokens, ' ');
                byte_buffer_put(tokens, tokenizer->token.data, tokenizer->token.size);
                is_first = false;
            }
        }
        i += taken - returned_length(rule->treatment);
    }
}
