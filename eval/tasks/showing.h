/// A verdict as it is shown beside the answer that it is about: which tokens pointed, and what was
/// true.
#pragma once
#include "eval/tasks/evaluation.h"

/// A phrase of a verdict. Zeros and NULL: not known, but for `hit` and `iou`.
typedef struct ShownPhrase {
    /// bytes [begin, end) of the answer; equal: it is not in the answer, `name` says what it is
    int begin, end;
    char *name;
    /// [num_tokens] those whose attention gave the point; none: it points nowhere
    int *tokens;
    int num_tokens;
    Point point;
    bool has_mask, has_truth;
    CocoMask mask, truth;
    /// what the truth is called
    char *truth_name;
    char *category;
    /// the point lies in the truth: 1, or not: 0; -1: not known
    int hit;
    /// of mask and truth; NAN: not known
    double iou;
} ShownPhrase;

typedef struct ShownVerdict {
    ShownPhrase *phrases;
    int count;
    /// how the tokens' maps were reduced to one
    GroupReduction reduction;
    /// of the whole answer, in the task's terms; the worse, the lower; NAN: there is none
    double figure;
} ShownVerdict;

/// What there is to show of the verdict about item `index`, to be freed by shown_verdict_free().
/// answer: the one that was judged; NULL: only figures are wanted, and what takes time to read
/// besides is left out. False if the annotations cannot be read or the verdict is none of them.
bool verdict_show(const Task *task, const void *data, int64_t index,
                  const EvaluationOptions *options, const Answer *answer, const json_t *verdict,
                  ShownVerdict *shown, Error *error);
void shown_verdict_free(ShownVerdict *shown);

// ---- for tasks

/// Writes the tokens that overlap bytes [begin, end) of the answer.
void shown_tokens_of(ShownPhrase *phrase, const Answer *answer, int begin, int end);
/// The same of the phrase's root, as verdicts of chunks say it; false if the verdict does not.
bool shown_tokens_of_root(ShownPhrase *phrase, const Answer *answer, const json_t *verdict_phrase,
                          Error *error);
/// Takes `truth` and looks whether the point lies in it; the IoU, with `with_iou`.
void shown_truth(ShownPhrase *phrase, CocoMask truth, const char *name, bool with_iou);
/// Means over the phrases for which they are known; NAN without any.
double shown_mean_iou(const ShownVerdict *shown);
double shown_hit_rate(const ShownVerdict *shown);
