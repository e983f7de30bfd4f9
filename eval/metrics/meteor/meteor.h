/// METEOR 1.5 of captions [Denkowski and Lavie 2014], as pycocoevalcap calls it (`-l en -norm`,
/// parameters of the task "rank").
///
/// Words of a candidate and of a reference match if they are equal, have one stem (Snowball's
/// English stemmer), are synonyms (WordNet), or if the phrases that they are in are paraphrases;
/// the score weighs matches by kind, content words against function words, recall against
/// precision, and takes off for matches out of order. Of several references the one with the best
/// score counts.
///
/// The figure needs METEOR's table of paraphrases. Without it scores are lower, and they go by
/// another name: meteor_name().
#pragma once
#include "eval/metrics/meteor/matches.h"
#include "eval/metrics/text/caption_tokens.h"

typedef struct MeteorData {
    MeteorResources *resources;
    /// NULL: none at hand
    Paraphrases *paraphrases;
} MeteorData;

/// Opens METEOR's word lists, in a folder with function/, nonbreaking/ and synonym/ in it as in
/// METEOR's sources (`resources`) or in its jar, and the table of paraphrases: the file
/// `paraphrases`, or paraphrase-en.gz in the folder of that name (METEOR's and pycocoevalcap's
/// `data`); if it is NULL, paraphrase-en.gz beside the word lists, where it may be missing. The
/// table takes some seconds and 64 MB of memory. NULL on failure.
MeteorData *meteor_data_open(const char *folder, const char *paraphrases, Error *error);
void meteor_data_close(MeteorData *data);

/// What to call figures that are computed with this data: "meteor", or
/// "meteor_without_paraphrases".
const char *meteor_name(const MeteorData *data);

/// Of one image: of its candidate with the reference that scores best.
typedef struct MeteorStatistics {
    int64_t candidate_words, reference_words;
    /// of these, function words
    int64_t candidate_function_words, reference_function_words;
    /// words covered, by module, of content [0] and of function [1]
    int64_t candidate_matches[METEOR_MODULES][2], reference_matches[METEOR_MODULES][2];
    /// runs of matches that are in order and without gap
    int64_t chunks;
} MeteorStatistics;

/// Of every image; the caller frees them. Images are shared out among OpenMP's threads.
MeteorStatistics *meteor_statistics(const MeteorData *data, const CaptionTokens *tokens);

/// The score of one image's statistics.
double meteor_score(const MeteorStatistics *statistics);
/// The score of all images' statistics together, counted `times` [count] times each (NULL: once):
/// not the mean of their scores.
double meteor_corpus(const MeteorStatistics *statistics, int count, const uint32_t *times);
