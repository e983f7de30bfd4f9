#include "eval/metrics/meteor/matches.h"

#include <stdlib.h>
#include <string.h>

static void add(MeteorMatches *matches, MeteorMatch match) {
    if (matches->count == matches->capacity) {
        matches->capacity = matches->capacity ? 2 * matches->capacity : 256;
        matches->items =
            checked_realloc(matches->items, (size_t)matches->capacity * sizeof *matches->items);
    }
    matches->items[matches->count++] = match;
    for (int i = 0; i < match.length; i++) matches->reference_coverage[match.start + i]++;
    for (int i = 0; i < match.candidate_length; i++)
        matches->candidate_coverage[match.candidate_start + i]++;
}

// ---- of single words

static bool is_exact(const MeteorWord *a, const MeteorWord *b) { return a->hash == b->hash; }

static bool has_same_stem(const MeteorWord *a, const MeteorWord *b) {
    return a->stem_hash == b->stem_hash && a->hash != b->hash;
}

static bool is_synonym(const MeteorWord *a, const MeteorWord *b) {
    if (a->hash == b->hash) return false;
    for (int i = 0, j = 0; i < a->synset_count && j < b->synset_count;) {
        if (a->synsets[i] == b->synsets[j]) return true;
        if (a->synsets[i] < b->synsets[j])
            i++;
        else
            j++;
    }
    return false;
}

static void match_words(const MeteorSentence *candidate, const MeteorSentence *reference,
                        int module, bool (*is_match)(const MeteorWord *, const MeteorWord *),
                        MeteorMatches *matches) {
    for (int j = 0; j < reference->count; j++) {
        for (int i = 0; i < candidate->count; i++) {
            if (is_match(&candidate->words[i], &reference->words[j]))
                add(matches, (MeteorMatch){j, 1, i, 1, module});
        }
    }
}

// ---- paraphrases

static bool stands_at(const MeteorSentence *sentence, int at, const uint16_t *words, int count) {
    if (at + count > sentence->count) return false;
    for (int i = 0; i < count; i++) {
        if (sentence->phrase_words[at + i] != words[i]) return false;
    }
    return true;
}

/// Looks in `others` for paraphrases of every phrase of `sentence`.
static void match_paraphrases(const MeteorSentence *sentence, const MeteorSentence *others,
                              bool of_reference, const Paraphrases *paraphrases,
                              MeteorMatches *matches) {
    // Most paraphrases begin with a word that is nowhere in the other sentence.
    uint8_t *is_there = checked_calloc((size_t)paraphrases_vocabulary_size(paraphrases) + 1, 1);
    for (int i = 0; i < others->count; i++) {
        if (others->phrase_words[i] >= 0) is_there[others->phrase_words[i]] = 1;
    }
    const int longest = paraphrases_longest(paraphrases);
    for (int at = 0; at < sentence->count; at++) {
        for (int length = 1; length <= longest && at + length <= sentence->count; length++) {
            if (sentence->phrase_words[at + length - 1] < 0) break;
            ParaphraseWalk walk = paraphrases_of(paraphrases, sentence->phrase_words + at, length);
            int count;
            for (const uint16_t *words; (words = paraphrases_next(&walk, &count));) {
                if (!is_there[words[0]]) continue;
                for (int other = 0; other < others->count; other++) {
                    if (!stands_at(others, other, words, count)) continue;
                    if (of_reference)
                        add(matches, (MeteorMatch){at, length, other, count, METEOR_PARAPHRASE});
                    else
                        add(matches, (MeteorMatch){other, count, at, length, METEOR_PARAPHRASE});
                }
            }
        }
    }
    free(is_there);
}

// ---- all

static bool are_same(const MeteorSentence *a, const MeteorSentence *b) {
    if (a->count != b->count) return false;
    for (int i = 0; i < a->count; i++) {
        if (a->words[i].hash != b->words[i].hash) return false;
    }
    return true;
}

static void clear(MeteorMatches *matches, int candidate, int reference) {
    matches->count = 0;
    if (candidate >= matches->candidate_capacity) {
        matches->candidate_capacity = 2 * candidate + 32;
        matches->candidate_coverage = checked_realloc(
            matches->candidate_coverage, (size_t)matches->candidate_capacity * sizeof(int));
    }
    if (reference >= matches->reference_capacity) {
        matches->reference_capacity = 2 * reference + 32;
        const size_t bytes = (size_t)matches->reference_capacity * sizeof(int);
        matches->reference_coverage = checked_realloc(matches->reference_coverage, bytes);
        matches->first = checked_realloc(matches->first, bytes);
    }
    memset(matches->candidate_coverage, 0, (size_t)(candidate + 1) * sizeof(int));
    memset(matches->reference_coverage, 0, (size_t)(reference + 1) * sizeof(int));
}

/// Sorts by start, keeping the order of one start.
static void sort(MeteorMatches *matches, int reference) {
    int *first = matches->first;
    memset(first, 0, (size_t)(reference + 1) * sizeof *first);
    for (int i = 0; i < matches->count; i++) first[matches->items[i].start + 1]++;
    for (int j = 0; j < reference; j++) first[j + 1] += first[j];
    int *next = checked_malloc((size_t)(reference + 1) * sizeof *next);
    memcpy(next, first, (size_t)(reference + 1) * sizeof *next);
    MeteorMatch *sorted = checked_malloc(((size_t)matches->capacity + 1) * sizeof *sorted);
    for (int i = 0; i < matches->count; i++)
        sorted[next[matches->items[i].start]++] = matches->items[i];
    free(next);
    free(matches->items);
    matches->items = sorted;
}

void meteor_matches_find(const MeteorSentence *candidate, const MeteorSentence *reference,
                         const Paraphrases *paraphrases, MeteorMatches *matches) {
    clear(matches, candidate->count, reference->count);
    match_words(candidate, reference, METEOR_EXACT, is_exact, matches);
    if (!are_same(candidate, reference)) {
        match_words(candidate, reference, METEOR_STEM, has_same_stem, matches);
        match_words(candidate, reference, METEOR_SYNONYM, is_synonym, matches);
        if (paraphrases) {
            match_paraphrases(reference, candidate, true, paraphrases, matches);
            match_paraphrases(candidate, reference, false, paraphrases, matches);
        }
    }
    sort(matches, reference->count);
}

void meteor_matches_free(MeteorMatches *matches) {
    free(matches->items);
    free(matches->first);
    free(matches->reference_coverage);
    free(matches->candidate_coverage);
    *matches = (MeteorMatches){0};
}
