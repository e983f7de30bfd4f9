/// The word lists of METEOR 1.5 for English: function words, abbreviations that keep their period,
/// WordNet's synonyms.
#pragma once
#include "eval/metrics/text/string_table.h"

#include "autograd/error.h"

typedef struct SynsetRange {
    int32_t begin, count;
} SynsetRange;

/// A base form of an irregular one.
typedef struct IrregularBase {
    /// number in `words`, or -1 if it has no synonyms
    int32_t word;
    /// the form's next base, or -1
    int32_t next;
} IrregularBase;

typedef struct MeteorResources {
    StringTable *function_words;
    StringTable *prefixes;
    /// per prefix: only before a number
    bool *is_numeric_prefix;

    StringTable *words;
    /// per word: its sets in `synsets`
    SynsetRange *ranges;
    int32_t *synsets;
    StringTable *irregular;
    /// per irregular form: its first base in `bases`, and its last
    int32_t *first_base, *last_base;
    IrregularBase *bases;
} MeteorResources;

/// Reads function/english.words, nonbreaking/english.prefixes, synonym/english.synsets and
/// synonym/english.exceptions below `folder`. NULL, with file and line in the message, if one is
/// missing or is something else.
MeteorResources *meteor_resources_open(const char *folder, Error *error);
void meteor_resources_close(MeteorResources *resources);

/// The synonym sets of a word and of its base forms, sorted, each once: newly allocated in *sets,
/// NULL if there are none. Returns their number.
int meteor_synsets(const MeteorResources *resources, const char *word, size_t length,
                   int32_t **sets);
