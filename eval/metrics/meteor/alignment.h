/// METEOR's alignment: of the matches between two sentences those, without overlap, that cover most
/// words, in the fewest chunks, over the shortest distances. A beam search over the reference's
/// words, with METEOR 1.5's own slips, so that scores are equal to its.
#pragma once
#include "eval/metrics/meteor/matches.h"

/// The alignment of `matches` between a candidate of `candidate_words` words and a reference of
/// `reference_words`. chosen[i], of [reference_words], is the index of the match that starts at
/// word i of the reference, or -1.
void meteor_align(const MeteorMatches *matches, int candidate_words, int reference_words,
                  int32_t *chosen);
