/// The rules by which Stanford's PTBTokenizer 3.4.1 takes English text apart, as patterns.
#pragma once
#include "eval/metrics/text/pattern_automaton.h"

/// What becomes of the text that a rule matches.
typedef enum PtbTreatment {
    PTB_KEEP,
    /// no token: white space, and what the tokenizer does not know
    PTB_SKIP,
    /// without soft hyphens
    PTB_SOFT_HYPHENS,
    /// quotation marks as in LaTeX, closing where the mark does not tell
    PTB_QUOTES,
    /// the same, opening
    PTB_OPENING_QUOTES,
    /// three or four hyphens become two
    PTB_HYPHENS,
    /// "&amp;" becomes "&"
    PTB_AMPERSAND,
    /// one character that is a fraction
    PTB_FRACTION_CHARACTER,
    PTB_CURRENCY,
    /// a space becomes U+00A0
    PTB_SPACES,
    /// ( ) become -LRB- -RRB-
    PTB_PARENTHESES,
    /// the last two
    PTB_PHONE,
    /// kept, and its last character, a period, comes again as a token of its own
    PTB_FINAL_PERIOD,
    /// the same, but a single letter loses its period
    PTB_FINAL_ACRONYM,
    /// two words in one: all but the last two or three characters, which follow
    PTB_SPLIT_TWO,
    PTB_SPLIT_THREE,
    /// the rule's text stands in its place
    PTB_REPLACE,
} PtbTreatment;

typedef struct PtbRule {
    const char *pattern;
    /// what must follow, NULL: anything. It counts for which match is the longest, and is not
    /// taken.
    const char *ahead;
    PtbTreatment treatment;
    /// of PTB_REPLACE
    const char *text;
} PtbRule;

/// Of the longest matches the rule that stands first here wins.
extern const PtbRule PTB_RULES[];
extern const int PTB_RULE_COUNT;
/// What the patterns name.
extern const NamedPattern PTB_NAMED[];
extern const int PTB_NAMED_COUNT;
