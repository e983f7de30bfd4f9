/// What the lexer of Stanford's tokenizer takes for letters and digits.
///
/// Its tables are those of Unicode 6.2 and of the Basic Multilingual Plane alone: a letter that
/// came later, or one from beyond U+FFFF, is none to it. The sets are therefore part of the program
/// and not asked of a library, whose Unicode is newer.
#pragma once
#include <stdint.h>

typedef struct CharacterRange {
    /// both within the range
    int32_t first, last;
} CharacterRange;

/// The ranges of the set 'L' (letters), 'U' (upper-case letters) or 'D' (decimal digits), sorted;
/// their number in *count. NULL for any other name.
const CharacterRange *ptb_character_set(char name, int *count);
