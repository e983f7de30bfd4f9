/// What METEOR's four matchers find between two sentences.
#pragma once
#include "eval/metrics/meteor/sentence.h"

enum { METEOR_EXACT, METEOR_STEM, METEOR_SYNONYM, METEOR_PARAPHRASE, METEOR_MODULES };

/// Words of the reference, from `start` on, that match words of the candidate.
typedef struct MeteorMatch {
    int32_t start, length;
    int32_t candidate_start, candidate_length;
    int32_t module;
} MeteorMatch;

typedef struct MeteorMatches {
    /// by start, and of one start in the order in which they were found
    MeteorMatch *items;
    int count, capacity;
    /// [reference words + 1]: where those that start at a word begin
    int *first;
    /// per word of each sentence: how many matches cover it
    int *reference_coverage, *candidate_coverage;
    int reference_capacity, candidate_capacity;
} MeteorMatches;

/// Finds all matches. Sentences with the same words match word by word and in no other way. What
/// was in `matches` is replaced; zeros at first, meteor_matches_free() at the end. `paraphrases`
/// may be NULL.
void meteor_matches_find(const MeteorSentence *candidate, const MeteorSentence *reference,
                         const Paraphrases *paraphrases, MeteorMatches *matches);
void meteor_matches_free(MeteorMatches *matches);
