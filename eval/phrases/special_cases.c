#include "eval/phrases/special_cases.h"
#include "autograd/error.h"
#include "eval/phrases/token_hash.h"

#include <stdlib.h>
#include <string.h>

static SpecialCase *slot_of(const SpecialCases *cases, const char *word, size_t length) {
    size_t slot = (size_t)token_hash(word, length, 0);
    for (;; slot++) {
        SpecialCase *found = &cases->slots[slot & (cases->num_slots - 1)];
        if (!found->word || (found->size == length && !memcmp(found->word, word, length)))
            return found;
    }
}

static SpecialCase read_line(const char *line, size_t size) {
    const char *tab = memchr(line, '\t', size);
    CHECK(tab && tab > line && tab - line < UINT8_MAX, "a special case without a word");
    SpecialCase one = {.word = line, .size = (uint8_t)(tab - line)};
    int covered = 0;
    for (const char *digit = tab + 1; digit < line + size; digit++) {
        CHECK(*digit >= '1' && *digit <= '9' && one.num_tokens < MOST_SPECIAL_TOKENS,
              "the tokens of special case '%.*s'", one.size, one.word);
        int bytes = 0;
        for (; digit < line + size && *digit != ' '; digit++) bytes = 10 * bytes + *digit - '0';
        one.token_size[one.num_tokens++] = (uint8_t)bytes;
        covered += bytes;
    }
    CHECK(covered == one.size, "the tokens of special case '%.*s' have %d bytes", one.size,
          one.word, covered);
    return one;
}

void special_cases_read(SpecialCases *cases, const char *text, size_t size) {
    size_t lines = 0;
    for (size_t i = 0; i < size; i++) lines += text[i] == '\n';
    cases->num_slots = 16;
    while (cases->num_slots < 2 * lines) cases->num_slots *= 2;
    cases->slots = checked_calloc(cases->num_slots, sizeof *cases->slots);
    for (const char *line = text; line < text + size;) {
        const char *end = memchr(line, '\n', (size_t)(text + size - line));
        CHECK(end, "the special cases do not end with a line");
        const SpecialCase one = read_line(line, (size_t)(end - line));
        *slot_of(cases, one.word, one.size) = one;
        line = end + 1;
    }
}

void special_cases_free(SpecialCases *cases) {
    free(cases->slots);
    *cases = (SpecialCases){0};
}

const SpecialCase *special_cases_find(const SpecialCases *cases, const char *word, size_t length) {
    const SpecialCase *found = slot_of(cases, word, length);
    return found->word ? found : NULL;
}
