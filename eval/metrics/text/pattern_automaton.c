#include "eval/metrics/text/pattern_automaton.h"
#include "eval/metrics/text/pattern_dead_ends.h"
#include "eval/metrics/text/pattern_states.h"

#include <stdlib.h>
#include <string.h>

enum { UNITS = 1 << 16, UNKNOWN = -2, DEAD = -1, NO_RULE = INT32_MAX };

/// A state of the deterministic automaton: a set of states of the other.
typedef struct Subset {
    /// where it begins in `members`
    int begin, count;
    /// smallest rule whose match ends here, or NO_RULE
    int32_t rule;
} Subset;

struct PatternAutomaton {
    PatternStates states;
    /// Per machine: the state in front of all its patterns, or -1; and the subset, or UNKNOWN.
    int32_t *machine_state, *machine_subset;
    int machine_count;

    /// Units that no set tells apart are one class.
    uint16_t *class_of;
    int class_count;
    /// Per set and class: whether it is in.
    uint8_t *set_has_class;

    Subset *subsets;
    int subset_count, subset_capacity;
    int32_t *members;
    int member_count, member_capacity;
    /// [subset_capacity][class_count]: the next subset, DEAD or UNKNOWN
    int32_t *next;
    /// Open addressing over the subsets by what is in them; -1: free. A power of two.
    int32_t *table;
    int table_size;

    /// Of the search of what can be reached without a unit.
    int32_t *stack, *found;
    int found_count;
    /// Per state: the search that came by last
    int32_t *seen, search;
    /// of the present text
    DeadEnds dead_ends;
};

PatternAutomaton *pattern_automaton_new(const NamedPattern *named, int count) {
    PatternAutomaton *automaton = checked_calloc(1, sizeof *automaton);
    automaton->states.named = named;
    automaton->states.named_count = count;
    return automaton;
}

void pattern_automaton_free(PatternAutomaton *automaton) {
    if (!automaton) return;
    pattern_states_free(&automaton->states);
    free(automaton->machine_state);
    free(automaton->machine_subset);
    free(automaton->class_of);
    free(automaton->set_has_class);
    free(automaton->subsets);
    free(automaton->members);
    free(automaton->next);
    free(automaton->table);
    free(automaton->stack);
    free(automaton->found);
    free(automaton->seen);
    pattern_dead_ends_free(&automaton->dead_ends);
    free(automaton);
}

int pattern_automaton_add_machine(PatternAutomaton *automaton) {
    const size_t bytes = (size_t)(automaton->machine_count + 1) * sizeof(int32_t);
    automaton->machine_state = checked_realloc(automaton->machine_state, bytes);
    automaton->machine_subset = checked_realloc(automaton->machine_subset, bytes);
    automaton->machine_state[automaton->machine_count] = -1;
    automaton->machine_subset[automaton->machine_count] = UNKNOWN;
    return automaton->machine_count++;
}

void pattern_automaton_add(PatternAutomaton *automaton, int machine, const char *pattern,
                           int rule) {
    CHECK(!automaton->class_of, "a pattern is added when matching has begun");
    PatternStates *states = &automaton->states;
    const int begin =
        pattern_states_parse(states, pattern, pattern_states_add(states, STATE_ACCEPT, rule, -1));
    int32_t *first = &automaton->machine_state[machine];
    *first = *first < 0 ? begin : pattern_states_add(states, STATE_BRANCH, *first, begin);
}

// ---- classes of units

static int by_value(const void *a, const void *b) {
    const int32_t x = *(const int32_t *)a, y = *(const int32_t *)b;
    return (x > y) - (x < y);
}

/// Where sets begin and end, sorted, each once; the caller frees it.
static int32_t *find_borders(const PatternStates *states, int *count) {
    int most = 1;
    for (int i = 0; i < states->set_count; i++) most += 2 * states->sets[i].count;
    int32_t *borders = checked_malloc((size_t)most * sizeof *borders);
    int found = 0;
    borders[found++] = 0;
    for (int i = 0; i < states->set_count; i++) {
        for (int r = 0; r < states->sets[i].count; r++) {
            borders[found++] = states->sets[i].ranges[r].first;
            borders[found++] = states->sets[i].ranges[r].last + 1;
        }
    }
    qsort(borders, (size_t)found, sizeof *borders, by_value);
    *count = 0;
    for (int i = 0; i < found; i++) {
        if (borders[i] < UNITS && (i == 0 || borders[i] != borders[i - 1]))
            borders[(*count)++] = borders[i];
    }
    return borders;
}

/// Between two borders all units are in the same sets. Classes are told apart by a row with one
/// byte per set.
static void find_classes(PatternAutomaton *automaton) {
    const PatternStates *states = &automaton->states;
    const size_t sets = (size_t)states->set_count;
    int border_count;
    int32_t *borders = find_borders(states, &border_count);
    uint8_t *rows = checked_calloc((size_t)border_count + 1, sets + 1);
    automaton->class_of = checked_malloc(UNITS * sizeof *automaton->class_of);
    for (int b = 0; b < border_count; b++) {
        uint8_t *row = rows + (size_t)automaton->class_count * sets;
        for (size_t i = 0; i < sets; i++) row[i] = character_set_has(&states->sets[i], borders[b]);
        int class = 0;
        while (memcmp(rows + (size_t) class * sets, row, sets) != 0) class ++;
        if (class == automaton->class_count) automaton->class_count++;
        const int end = b + 1 < border_count ? borders[b + 1] : UNITS;
        for (int unit = borders[b]; unit < end; unit++)
            automaton->class_of[unit] = (uint16_t) class;
    }
    automaton->set_has_class = checked_malloc(sets * (size_t)automaton->class_count + 1);
    for (size_t set = 0; set < sets; set++) {
        for (int class = 0; class < automaton->class_count; class ++)
            automaton->set_has_class[set * (size_t)automaton->class_count + (size_t) class] =
                rows[(size_t) class * sets + set];
    }
    free(rows);
    free(borders);
}

static void begin_matching(PatternAutomaton *automaton) {
    find_classes(automaton);
    const size_t count = (size_t)automaton->states.count;
    automaton->stack = checked_malloc(count * sizeof(int32_t));
    automaton->found = checked_malloc(count * sizeof(int32_t));
    automaton->seen = checked_calloc(count, sizeof(int32_t));
    automaton->table_size = 4096;
    automaton->table = checked_malloc((size_t)automaton->table_size * sizeof(int32_t));
    memset(automaton->table, 0xff, (size_t)automaton->table_size * sizeof(int32_t));
}

// ---- subsets

/// Adds to `found` the states that can be reached from this one without a unit and are left with
/// one, or accept.
static void reach(PatternAutomaton *automaton, int32_t from) {
    int depth = 0;
    if (automaton->seen[from] == automaton->search) return;
    automaton->seen[from] = automaton->search;
    automaton->stack[depth++] = from;
    while (depth > 0) {
        const int32_t index = automaton->stack[--depth];
        const PatternState *state = &automaton->states.states[index];
        if (state->set != STATE_BRANCH) {
            automaton->found[automaton->found_count++] = index;
            continue;
        }
        for (int i = 0; i < 2; i++) {
            const int32_t next = state->next[i];
            if (next < 0 || automaton->seen[next] == automaton->search) continue;
            automaton->seen[next] = automaton->search;
            automaton->stack[depth++] = next;
        }
    }
}

static void begin_search(PatternAutomaton *automaton) {
    automaton->search++;
    automaton->found_count = 0;
}

static uint32_t hash_states(const int32_t *states, int count) {
    uint32_t hash = 2166136261u;
    for (int i = 0; i < count; i++) hash = (hash ^ (uint32_t)states[i]) * 16777619u;
    return hash ^ hash >> 15;
}

/// The place in the table of a subset of these members, or the free one where it belongs.
static int32_t *table_place(PatternAutomaton *automaton, const int32_t *members, int count) {
    const uint32_t mask = (uint32_t)automaton->table_size - 1;
    for (uint32_t i = hash_states(members, count) & mask;; i = (i + 1) & mask) {
        int32_t *place = &automaton->table[i];
        if (*place < 0) return place;
        const Subset *subset = &automaton->subsets[*place];
        if (subset->count == count && memcmp(automaton->members + subset->begin, members,
                                             (size_t)count * sizeof *members) == 0)
            return place;
    }
}

static void grow_table(PatternAutomaton *automaton) {
    automaton->table_size *= 2;
    const size_t bytes = (size_t)automaton->table_size * sizeof(int32_t);
    automaton->table = checked_realloc(automaton->table, bytes);
    memset(automaton->table, 0xff, bytes);
    for (int i = 0; i < automaton->subset_count; i++) {
        const Subset *subset = &automaton->subsets[i];
        *table_place(automaton, automaton->members + subset->begin, subset->count) = i;
    }
}

static int32_t add_subset(PatternAutomaton *automaton) {
    const int count = automaton->found_count;
    if (automaton->subset_count == automaton->subset_capacity) {
        automaton->subset_capacity += automaton->subset_capacity / 2 + 256;
        const size_t capacity = (size_t)automaton->subset_capacity;
        automaton->subsets =
            checked_realloc(automaton->subsets, capacity * sizeof *automaton->subsets);
        automaton->next = checked_realloc(
            automaton->next, capacity * (size_t)automaton->class_count * sizeof *automaton->next);
    }
    if (automaton->member_count + count > automaton->member_capacity) {
        automaton->member_capacity += automaton->member_capacity / 2 + count + 4096;
        automaton->members = checked_realloc(
            automaton->members, (size_t)automaton->member_capacity * sizeof *automaton->members);
    }
    Subset *subset = &automaton->subsets[automaton->subset_count];
    *subset = (Subset){automaton->member_count, count, NO_RULE};
    for (int i = 0; i < count; i++) {
        const PatternState *state = &automaton->states.states[automaton->found[i]];
        if (state->set == STATE_ACCEPT && state->next[0] < subset->rule)
            subset->rule = state->next[0];
    }
    memcpy(automaton->members + automaton->member_count, automaton->found,
           (size_t)count * sizeof *automaton->found);
    automaton->member_count += count;
    int32_t *next = automaton->next + (size_t)automaton->subset_count * automaton->class_count;
    for (int i = 0; i < automaton->class_count; i++) next[i] = UNKNOWN;
    return automaton->subset_count++;
}

/// The subset of the states found.
static int32_t found_subset(PatternAutomaton *automaton) {
    if (automaton->found_count == 0) return DEAD;
    qsort(automaton->found, (size_t)automaton->found_count, sizeof *automaton->found, by_value);
    int32_t *place = table_place(automaton, automaton->found, automaton->found_count);
    if (*place >= 0) return *place;
    const int32_t subset = *place = add_subset(automaton);
    if (2 * automaton->subset_count > automaton->table_size) grow_table(automaton);
    return subset;
}

static int32_t first_subset(PatternAutomaton *automaton, int machine) {
    if (!automaton->class_of) begin_matching(automaton);
    int32_t *subset = &automaton->machine_subset[machine];
    if (*subset == UNKNOWN) {
        begin_search(automaton);
        if (automaton->machine_state[machine] >= 0)
            reach(automaton, automaton->machine_state[machine]);
        *subset = found_subset(automaton);
    }
    return *subset;
}

static int32_t make_next(PatternAutomaton *automaton, int32_t from, int class) {
    begin_search(automaton);
    for (int i = 0; i < automaton->subsets[from].count; i++) {
        const int32_t member = automaton->members[automaton->subsets[from].begin + i];
        const PatternState *state = &automaton->states.states[member];
        if (state->set >= 0 &&
            automaton->set_has_class[(size_t)state->set * automaton->class_count + class])
            reach(automaton, state->next[0]);
    }
    const int32_t to = found_subset(automaton);
    automaton->next[(size_t)from * automaton->class_count + class] = to;
    return to;
}

static int32_t next_subset(PatternAutomaton *automaton, int32_t from, uint16_t unit) {
    const int class = automaton->class_of[unit];
    const int32_t to = automaton->next[(size_t)from * automaton->class_count + class];
    return to == UNKNOWN ? make_next(automaton, from, class) : to;
}

// ---- matching

void pattern_automaton_begin_text(PatternAutomaton *automaton) {
    pattern_dead_ends_clear(&automaton->dead_ends);
}

/// Behind its longest match a search went on from subset `at` in vain, over text[begin, end).
static void note_dead_ends(PatternAutomaton *automaton, int32_t at, const uint16_t *text,
                           size_t begin, size_t end) {
    for (size_t i = begin; i < end; i++) {
        at = next_subset(automaton, at, text[i]);
        if (at == DEAD) return;
        pattern_dead_ends_add(&automaton->dead_ends, at, i + 1);
    }
}

size_t pattern_automaton_longest(PatternAutomaton *automaton, int machine, const uint16_t *text,
                                 size_t length, size_t begin, int *rule) {
    // Shorter ways in vain are gone again rather than remembered.
    enum { SHORT = 64 };
    size_t longest = begin, i = begin;
    int32_t at = first_subset(automaton, machine), at_longest = at;
    *rule = -1;
    while (i < length) {
        at = next_subset(automaton, at, text[i++]);
        if (at == DEAD ||
            (i - longest > SHORT && pattern_dead_ends_have(&automaton->dead_ends, at, i)))
            break;
        if (automaton->subsets[at].rule == NO_RULE) continue;
        longest = i;
        at_longest = at;
        *rule = automaton->subsets[at].rule;
    }
    if (i - longest > SHORT) note_dead_ends(automaton, at_longest, text, longest, i);
    return longest - begin;
}

bool pattern_automaton_covers(PatternAutomaton *automaton, int machine, const uint16_t *text,
                              size_t length) {
    int32_t at = first_subset(automaton, machine);
    for (size_t i = 0; i < length && at != DEAD; i++) at = next_subset(automaton, at, text[i]);
    return at != DEAD && automaton->subsets[at].rule != NO_RULE;
}

size_t pattern_automaton_ends(PatternAutomaton *automaton, int machine, const uint16_t *text,
                              size_t length, bool *ends) {
    int32_t at = first_subset(automaton, machine);
    size_t last = 0;
    for (size_t i = 0; i < length && at != DEAD; i++) {
        at = next_subset(automaton, at, text[i]);
        ends[i + 1] = at != DEAD && automaton->subsets[at].rule != NO_RULE;
        if (ends[i + 1]) last = i + 1;
    }
    return last;
}
