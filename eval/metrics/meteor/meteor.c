#include "eval/metrics/meteor/meteor.h"
#include "eval/metrics/meteor/alignment.h"

#include <math.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

// For English, tuned to how people rank translations (METEOR's task "rank").
static const double ALPHA = 0.85, BETA = 0.2, GAMMA = 0.6, DELTA = 0.75;
static const double MODULE_WEIGHTS[METEOR_MODULES] = {1.0, 0.6, 0.8, 0.6};

// ---- data

/// Where the table of paraphrases is: `paraphrases` or in that folder, or in `folder`. The caller
/// frees it.
static char *table_path(const char *folder, const char *paraphrases) {
    struct stat status;
    if (paraphrases && (stat(paraphrases, &status) != 0 || !S_ISDIR(status.st_mode)))
        return checked_strdup(paraphrases);
    return format_string("%s/paraphrase-en.gz", paraphrases ? paraphrases : folder);
}

MeteorData *meteor_data_open(const char *folder, const char *paraphrases, Error *error) {
    MeteorData *data = checked_calloc(1, sizeof *data);
    data->resources = meteor_resources_open(folder, error);
    bool is_read = data->resources != NULL;
    char *path = table_path(folder, paraphrases);
    if (is_read && (paraphrases || access(path, F_OK) == 0)) {
        data->paraphrases = paraphrases_open(path, error);
        is_read = data->paraphrases != NULL;
    }
    free(path);
    if (is_read) return data;
    meteor_data_close(data);
    return NULL;
}

void meteor_data_close(MeteorData *data) {
    if (!data) return;
    meteor_resources_close(data->resources);
    paraphrases_close(data->paraphrases);
    free(data);
}

const char *meteor_name(const MeteorData *data) {
    return data->paraphrases ? "meteor" : "meteor_without_paraphrases";
}

// ---- scores

static int64_t sum_of(const int64_t matches[METEOR_MODULES][2]) {
    int64_t sum = 0;
    for (int i = 0; i < METEOR_MODULES; i++) sum += matches[i][0] + matches[i][1];
    return sum;
}

static double weighted_words(int64_t words, int64_t function_words) {
    return DELTA * (double)(words - function_words) + (1.0 - DELTA) * (double)function_words;
}

static double weighted_matches(const int64_t matches[METEOR_MODULES][2]) {
    double sum = 0.0;
    for (int i = 0; i < METEOR_MODULES; i++)
        sum += (double)matches[i][0] * MODULE_WEIGHTS[i] * DELTA;
    for (int i = 0; i < METEOR_MODULES; i++)
        sum += (double)matches[i][1] * MODULE_WEIGHTS[i] * (1.0 - DELTA);
    return sum;
}

/// Every word of both is in one run of matches.
static bool is_perfect(const MeteorStatistics *statistics) {
    return statistics->chunks == 1 &&
           sum_of(statistics->candidate_matches) == statistics->candidate_words &&
           sum_of(statistics->reference_matches) == statistics->reference_words;
}

double meteor_score(const MeteorStatistics *statistics) {
    const double precision = weighted_matches(statistics->candidate_matches) /
                             weighted_words(statistics->candidate_words,
                                            statistics->candidate_function_words),
                 recall = weighted_matches(statistics->reference_matches) /
                          weighted_words(statistics->reference_words,
                                         statistics->reference_function_words),
                 mean = 1.0 / ((1.0 - ALPHA) / precision + ALPHA / recall);
    const int64_t matches =
        sum_of(statistics->candidate_matches) + sum_of(statistics->reference_matches);
    const double fragmentation =
        is_perfect(statistics) ? 0.0 : (double)statistics->chunks / ((double)matches / 2.0);
    const double score = mean * (1.0 - GAMMA * pow(fragmentation, BETA));
    return isnan(score) ? 0.0 : fmax(score, 0.0);
}

double meteor_corpus(const MeteorStatistics *statistics, int count, const uint32_t *times) {
    MeteorStatistics sum = {0};
    for (int i = 0; i < count; i++) {
        const MeteorStatistics *image = &statistics[i];
        const int64_t weight = times ? times[i] : 1;
        sum.candidate_words += weight * image->candidate_words;
        sum.reference_words += weight * image->reference_words;
        sum.candidate_function_words += weight * image->candidate_function_words;
        sum.reference_function_words += weight * image->reference_function_words;
        for (int j = 0; j < 2 * METEOR_MODULES; j++) {
            sum.candidate_matches[j / 2][j % 2] += weight * image->candidate_matches[j / 2][j % 2];
            sum.reference_matches[j / 2][j % 2] += weight * image->reference_matches[j / 2][j % 2];
        }
        if (!is_perfect(image)) sum.chunks += weight * image->chunks;
    }
    return meteor_score(&sum);
}

// ---- statistics

/// What one thread works with.
typedef struct Scorer {
    const Paraphrases *paraphrases;
    MeteorDictionary *dictionary;
    MeteorSentence candidate, reference;
    MeteorMatches matches;
    int32_t *chosen;
    int capacity;
} Scorer;

static int64_t function_words(const MeteorSentence *sentence) {
    int64_t count = 0;
    for (int i = 0; i < sentence->count; i++) count += sentence->words[i].is_function;
    return count;
}

static void count_match(const Scorer *scorer, const MeteorMatch *match,
                        MeteorStatistics *statistics) {
    for (int i = 0; i < match->candidate_length; i++) {
        const MeteorWord *word = &scorer->candidate.words[match->candidate_start + i];
        statistics->candidate_matches[match->module][word->is_function]++;
    }
    for (int i = 0; i < match->length; i++) {
        const MeteorWord *word = &scorer->reference.words[match->start + i];
        statistics->reference_matches[match->module][word->is_function]++;
    }
}

/// Matches and chunks of the alignment in `chosen`.
static void count_alignment(const Scorer *scorer, MeteorStatistics *statistics) {
    int last_end = -1;
    for (int i = 0; i < scorer->reference.count;) {
        const int32_t chosen = scorer->chosen[i];
        if (chosen < 0) {
            last_end = -1;
            i++;
            continue;
        }
        const MeteorMatch *match = &scorer->matches.items[chosen];
        count_match(scorer, match, statistics);
        statistics->chunks += match->candidate_start != last_end;
        last_end = match->candidate_start + match->candidate_length;
        i += match->length;
    }
}

/// Of the candidate that is read with one reference.
static MeteorStatistics align_with(Scorer *scorer, const char *reference) {
    meteor_sentence_read(scorer->dictionary, reference, &scorer->reference);
    if (scorer->reference.count > scorer->capacity) {
        scorer->capacity = 2 * scorer->reference.count;
        scorer->chosen =
            checked_realloc(scorer->chosen, (size_t)scorer->capacity * sizeof *scorer->chosen);
    }
    meteor_matches_find(&scorer->candidate, &scorer->reference, scorer->paraphrases,
                        &scorer->matches);
    meteor_align(&scorer->matches, scorer->candidate.count, scorer->reference.count,
                 scorer->chosen);
    MeteorStatistics statistics = {
        .candidate_words = scorer->candidate.count,
        .reference_words = scorer->reference.count,
        .candidate_function_words = function_words(&scorer->candidate),
        .reference_function_words = function_words(&scorer->reference),
    };
    count_alignment(scorer, &statistics);
    return statistics;
}

static MeteorStatistics statistics_of(Scorer *scorer, const CaptionTokens *tokens, int image) {
    meteor_sentence_read(scorer->dictionary, tokens->candidates[image], &scorer->candidate);
    MeteorStatistics best = {0};
    double best_score = -1.0;
    for (int r = tokens->first_reference[image]; r < tokens->first_reference[image + 1]; r++) {
        const MeteorStatistics statistics = align_with(scorer, tokens->references[r]);
        const double score = meteor_score(&statistics);
        if (score <= best_score) continue;
        best = statistics;
        best_score = score;
    }
    return best;
}

MeteorStatistics *meteor_statistics(const MeteorData *data, const CaptionTokens *tokens) {
    MeteorStatistics *statistics = checked_calloc((size_t)tokens->count + 1, sizeof *statistics);
#pragma omp parallel
    {
        Scorer scorer = {.paraphrases = data->paraphrases,
                         .dictionary = meteor_dictionary_new(data->resources, data->paraphrases)};
#pragma omp for schedule(dynamic, 64)
        for (int image = 0; image < tokens->count; image++)
            statistics[image] = statistics_of(&scorer, tokens, image);
        meteor_dictionary_free(scorer.dictionary);
        meteor_sentence_free(&scorer.candidate);
        meteor_sentence_free(&scorer.reference);
        meteor_matches_free(&scorer.matches);
        free(scorer.chosen);
    }
    return statistics;
}
