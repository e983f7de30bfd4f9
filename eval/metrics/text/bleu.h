/// BLEU of captions [Papineni et al. 2002], as pycocoevalcap computes it: 1 to 4 words, the
/// reference of the closest length (the shorter of two as close), and its small constants in place
/// of zeros.
#pragma once
#include "eval/metrics/text/caption_tokens.h"
#include "eval/metrics/text/ngrams.h"

/// Of one image.
typedef struct BleuStatistics {
    /// words of the candidate, and of the reference of the closest length
    int64_t words, reference_words;
    /// per n: n-grams of the candidate, and those that a reference has, counted at most as often as
    /// in the reference that has it most often
    int64_t ngrams[NGRAM_LONGEST], matches[NGRAM_LONGEST];
} BleuStatistics;

/// Of every image; the caller frees them.
BleuStatistics *bleu_statistics(const CaptionTokens *tokens);

/// BLEU-1 to BLEU-4 of all images together, counted `times` [count] times each (NULL: once).
void bleu_corpus(const BleuStatistics *statistics, int count, const uint32_t *times,
                 double bleu[NGRAM_LONGEST]);
/// The same of one image alone.
void bleu_sentence(const BleuStatistics *statistics, double bleu[NGRAM_LONGEST]);
