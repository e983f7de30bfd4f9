/// The regular expressions by which a tokenizer.json cuts text into words, before pairs are merged
/// within each word.
///
/// The files are written for Oniguruma with Unicode; here PCRE2 matches them. Both agree on what
/// the published patterns use: classes, \p{..}, quantifiers, groups, (?i:..), look-ahead and
/// look-behind. \s means White_Space, as in Oniguruma. What the two libraries read differently (\h,
/// nested classes, && and the like) is refused.
#pragma once
#include "autograd/error.h"

#include <stddef.h>

typedef struct SplitPattern SplitPattern;

/// Compiles a pattern, or a literal text. NULL with the reason on failure. May be used by several
/// threads at once.
SplitPattern *split_pattern_new(const char *pattern, bool is_literal, Error *error);
void split_pattern_free(SplitPattern *pattern);

/// What one thread needs to match with any pattern.
typedef struct SplitMatcher SplitMatcher;
SplitMatcher *split_matcher_new(void);
void split_matcher_free(SplitMatcher *matcher);

typedef enum SplitResult { SPLIT_FOUND, SPLIT_NONE, SPLIT_GAVE_UP } SplitResult;

/// The first match in text[0, length) that begins at `from` or later and is not empty. `text` is
/// valid UTF-8. Gives up where a pattern needs too many steps.
SplitResult split_pattern_next(const SplitPattern *pattern, SplitMatcher *matcher, const char *text,
                               size_t length, size_t from, size_t *begin, size_t *end);
