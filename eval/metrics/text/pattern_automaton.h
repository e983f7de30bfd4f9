/// Regular expressions over UTF-16 code units, many matched at once: what a generated scanner does,
/// without a generator.
///
/// Patterns are gathered in machines. A machine is a deterministic automaton whose states are made
/// when a text first reaches them, so matching costs one table look-up a unit and changes the
/// automaton: one of these per thread.
///
/// Notation: literals, which match either case; ( ) | * + ? {m,n}; [ ] and [^ ] with ranges, which
/// match the case that is written; {NAME}, a named pattern; \t \n \r \f, \uXXXX, and a backslash
/// for any other character taken literally. \L \U \D, also within [ ], are the letters, upper-case
/// letters and digits of ptb_characters.h. Patterns are part of the program: a mistake in one stops
/// it.
#pragma once
#include "autograd/error.h"

#include <stddef.h>
#include <stdint.h>

typedef struct NamedPattern {
    const char *name, *pattern;
} NamedPattern;

typedef struct PatternAutomaton PatternAutomaton;

/// An automaton without machines. `named` [count], which it keeps, may name each other, but not in
/// circles.
PatternAutomaton *pattern_automaton_new(const NamedPattern *named, int count);
void pattern_automaton_free(PatternAutomaton *automaton);

/// A new machine that matches nothing yet, as a number from 0.
int pattern_automaton_add_machine(PatternAutomaton *automaton);
/// Adds an alternative to a machine. `rule` >= 0 is what a match of it is called. No patterns may
/// be added once something has been matched.
void pattern_automaton_add(PatternAutomaton *automaton, int machine, const char *pattern, int rule);

/// Another text begins: what is known of the last one is forgotten.
void pattern_automaton_begin_text(PatternAutomaton *automaton);
/// Units of the longest match of text[0, length) that begins at `begin`, and the smallest rule that
/// makes it. 0, with *rule -1, if there is none of at least one unit. How far a match was looked
/// for in vain is remembered until the next text begins, so that a text is taken apart in a time
/// that grows with its length, not with its square [Reps 1998, "Maximal munch" tokenization in
/// linear time].
size_t pattern_automaton_longest(PatternAutomaton *automaton, int machine, const uint16_t *text,
                                 size_t length, size_t begin, int *rule);
/// Whether a match covers the whole of text[0, length).
bool pattern_automaton_covers(PatternAutomaton *automaton, int machine, const uint16_t *text,
                              size_t length);
/// Sets ends[n], n in 1..length, where text[0, n) is a match, up to the returned n behind which
/// there is none.
size_t pattern_automaton_ends(PatternAutomaton *automaton, int machine, const uint16_t *text,
                              size_t length, bool *ends);
