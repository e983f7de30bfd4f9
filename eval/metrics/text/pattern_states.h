/// The nondeterministic automaton that patterns are parsed into: states, and sets of code units on
/// which they are left. Internal to the pattern automaton.
#pragma once
#include "eval/metrics/text/pattern_automaton.h"
#include "eval/metrics/text/ptb_characters.h"

typedef struct CharacterSet {
    /// sorted, without overlaps
    CharacterRange *ranges;
    int count;
} CharacterSet;

enum {
    /// `set` of a state that is left at once, by either arrow; -1 is no arrow
    STATE_BRANCH = -1,
    /// `set` of a state where a match ends: of the rule next[0]
    STATE_ACCEPT = -2,
};

typedef struct PatternState {
    /// index into the sets, or one of the above
    int32_t set;
    int32_t next[2];
} PatternState;

typedef struct PatternStates {
    const NamedPattern *named;
    int named_count;
    PatternState *states;
    int count, capacity;
    CharacterSet *sets;
    int set_count, set_capacity;
} PatternStates;

/// A new state; returns its index.
int pattern_states_add(PatternStates *to, int set, int first, int second);
/// Parses a pattern whose matches end at the state `end`; returns the state where they begin.
int pattern_states_parse(PatternStates *to, const char *pattern, int end);
bool character_set_has(const CharacterSet *set, int unit);
void pattern_states_free(PatternStates *states);
