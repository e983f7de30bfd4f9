// For check_ptb_rules.py: of every text on standard input, a line of UTF-16 units in four
// hexadecimal digits each, the length of the longest match of the tokenizer's rules and the rule's
// number.
#include "eval/metrics/text/ptb_rules.h"

#include <stdio.h>
#include <stdlib.h>

int main(void) {
    PatternAutomaton *automaton = pattern_automaton_new(PTB_NAMED, PTB_NAMED_COUNT);
    const int rules = pattern_automaton_add_machine(automaton);
    for (int i = 0; i < PTB_RULE_COUNT; i++) {
        const PtbRule *rule = &PTB_RULES[i];
        char *whole = format_string("(%s)(%s)", rule->pattern, rule->ahead ? rule->ahead : "");
        pattern_automaton_add(automaton, rules, whole, i);
        free(whole);
    }
    static uint16_t units[4096];
    unsigned unit;
    for (size_t count = 0; count < sizeof units / sizeof *units;) {
        if (scanf("%4x", &unit) != 1) break;
        units[count++] = (uint16_t)unit;
        const int next = getchar();
        if (next != '\n') {
            ungetc(next, stdin);
            continue;
        }
        int rule;
        pattern_automaton_begin_text(automaton);
        const size_t length = pattern_automaton_longest(automaton, rules, units, count, 0, &rule);
        printf("%zu %d\n", length, rule);
        count = 0;
    }
    pattern_automaton_free(automaton);
    return 0;
}
