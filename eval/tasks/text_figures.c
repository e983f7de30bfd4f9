// Figures of captions as texts.
#include "eval/metrics/meteor/meteor.h"
#include "eval/metrics/text/bleu.h"
#include "eval/metrics/text/cider.h"
#include "eval/tasks/evaluation.h"

#include <stdlib.h>

typedef struct BleuContext {
    BleuStatistics *statistics;
    int count;
} BleuContext;

static double bleu_4(const void *context, const uint32_t *times) {
    const BleuContext *bleu = context;
    double of[NGRAM_LONGEST];
    bleu_corpus(bleu->statistics, bleu->count, times, of);
    return of[3];
}

static void free_bleu(void *context) {
    free(((BleuContext *)context)->statistics);
    free(context);
}

static double cider(const void *context, const uint32_t *times) {
    return cider_corpus(context, times);
}

static void free_cider(void *scores) { cider_scores_free(scores); }

typedef struct MeteorContext {
    MeteorStatistics *statistics;
    int count;
} MeteorContext;

static double meteor(const void *context, const uint32_t *times) {
    const MeteorContext *of = context;
    return meteor_corpus(of->statistics, of->count, times);
}

static void free_meteor(void *context) {
    free(((MeteorContext *)context)->statistics);
    free(context);
}

static bool measure_meteor(const CaptionTokens *tokens, const char *folder, Figures *figures,
                           Error *error) {
    if (!folder) return true;
    MeteorData *data = meteor_data_open(folder, NULL, error);
    if (!data) return false;
    MeteorContext *context = checked_malloc(sizeof *context);
    *context = (MeteorContext){meteor_statistics(data, tokens), tokens->count};
    figures_own(figures, context, free_meteor);
    figures_add(figures, meteor_name(data), meteor, context);
    meteor_data_close(data);
    return true;
}

bool measure_text(const ImageCaptions *captions, int count, const EvaluationOptions *options,
                  Figures *figures, Error *error) {
    CaptionTokens *tokens = caption_tokens_new(captions, count, error);
    if (!tokens) return false;
    CiderScores *scores = cider_scores(tokens);
    BleuContext *bleu = checked_malloc(sizeof *bleu);
    *bleu = (BleuContext){bleu_statistics(tokens), count};
    figures_own(figures, scores, free_cider);
    figures_own(figures, bleu, free_bleu);
    figures_add(figures, "cider", cider, scores);
    figures_add(figures, "bleu_4", bleu_4, bleu);
    bool ok = measure_meteor(tokens, options->meteor, figures, error);
    caption_tokens_free(tokens);
    return ok;
}
