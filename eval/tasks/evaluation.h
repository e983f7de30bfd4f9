/// An evaluation: what all tasks share. A task is a list of items; each is asked about once, the
/// answer is judged by itself, and figures are made of the judgements (verdicts) of all items.
///
///   asking.h    items -> answers, in a store (eval/attention/answer_store.h): needs the model
///   judging.h   answers -> verdicts -> figures, predictions, results.json: needs none
///
/// A verdict is a JSON object of one item: "id", "image_id", "answer", "phrases": [{"phrase",
/// "point": [x, y], "mask": {"size", "counts"}, ...}], and what else the task wants to measure. A
/// result is a function of the verdicts alone.
#pragma once
#include "data/coco_annotations.h"
#include "data/images/image.h"
#include "eval/attention/grounding.h"
#include "eval/metrics/figures.h"
#include "eval/metrics/grounded_masks.h"
#include "eval/metrics/text/caption_tokens.h"
#include "eval/phrases/phrase_finder.h"
#include "eval/segmenters/segmenter.h"
#include "eval/tasks/choices.h"
#include "models/language/attention_capture.h"

typedef struct EvaluationOptions {
    /// the task's annotation files, as it explains them; NULL: not given
    const char *annotations, *masks, *segments, *image_folder;
    const char *split;
    SentenceChoice sentences;
    /// items from the first on, in whole images; -1: all
    int64_t samples;
    /// what is asked; NULL: the task's own. "{}" stands for an expression
    const char *prompt;
    GroundingOptions grounding;
    ReferringTokens referring_tokens;
    /// where a published script departs from its description, do as it does
    bool as_published;
    /// what a plural utterance is: one flagged so in the file, rather than one with several
    /// segments
    bool plural_by_flag;
    /// lowest similarity of a phrase's word and a category's name
    double category_threshold;
    /// every mask that the segmenter gives is a detection
    bool more_masks;
    /// where WordNet's files are; NULL: nowhere
    const char *wordnet;
    /// where METEOR's data are; NULL: it is not computed
    const char *meteor;
    /// how alike phrases are, for gcg: by BERT as published, or by words
    PhraseSimilarity *similarity;
    const void *similarity_context;
    bool similarity_is_bert;
    /// of the intervals
    uint64_t seed;
} EvaluationOptions;

/// What is asked about one image. Strings belong to the task.
typedef struct TaskItem {
    /// unique in the task
    char id[64];
    /// under which groundLMM's scripts keep the answer; empty: the picture's file name up to its
    /// first dot
    char published_name[32];
    /// the unit of sharing out and of intervals: items of an image follow each other
    int64_t image;
    const char *image_id, *file_name;
    /// by the annotations; 0: not said
    int height, width;
    /// what the prompt's "{}" stands for; NULL: nothing
    const char *expression;
    /// a text to be read instead of an answer
    const char *const *utterances;
    int num_utterances;
} TaskItem;

/// One item's judging: the tools, and what is at hand.
typedef struct Judge {
    const EvaluationOptions *options;
    /// NULL: no masks
    Segmenter *segmenter;
    /// NULL in tasks that look for no chunks
    PhraseFinder *phrases;
    /// the item's picture; the segmenter has seen it
    const Image *picture;
} Judge;

struct ShownVerdict;

typedef struct Task {
    const char *name;
    /// what it measures, in a line; for help texts
    const char *summary;
    /// which files of EvaluationOptions it reads, and as what; for help texts and errors
    const char *files;
    /// eval.masks and eval.segments are among them
    bool reads_masks, reads_segments;
    /// eval.annotations has COCO's "images"
    bool lists_images;
    const char *prompt;
    int max_new_tokens;
    AttentionRow row;
    GroupReduction reduction;
    /// attention is captured, and masks are made
    bool looks;
    /// chunks are looked for in answers
    bool finds_phrases;
    /// Reads annotations. NULL on failure. Of the options only annotations, masks, segments, split,
    /// sentences and wordnet may matter: evaluations that have them in common share what is read.
    void *(*open)(const EvaluationOptions *options, Error *error);
    void (*close)(void *data);
    int64_t (*count)(const void *data);
    void (*item)(const void *data, int64_t index, TaskItem *item);
    /// The verdict about an answer; "id", "image_id", "file_name" and "answer" are filled in by the
    /// caller. NULL on failure.
    json_t *(*judge)(const void *data, int64_t index, const Judge *judge, const Answer *answer,
                     Error *error);
    /// What a verdict does not say of its phrases, for verdict_show() (eval/tasks/showing.h), and
    /// the answer's figure. answer NULL: figures alone. NULL: the task points at nothing.
    bool (*show)(const void *data, int64_t index, const EvaluationOptions *options,
                 const Answer *answer, const json_t *verdict, struct ShownVerdict *shown,
                 Error *error);
    /// how the figure of a single answer and its truth come about, in a line or two
    const char *shown_as;
    /// Figures of the verdicts of items 0 .. count - 1. `figures` is to be begun.
    bool (*measure)(const void *data, const EvaluationOptions *options, json_t *const *verdicts,
                    int64_t count, Figures *figures, Error *error);
    /// Writes predictions in the published form below `folder`; NULL: there is none.
    bool (*publish)(const void *data, json_t *const *verdicts, int64_t count, const char *folder,
                    Error *error);
} Task;

/// All tasks; the last is NULL.
extern const Task *const TASKS[];

/// The question of an item: `prompt`, with `expression` (NULL: none) in the place of "{}". The
/// caller frees it.
char *task_prompt(const char *prompt, const char *expression);

/// 0 .. count - 1 in the order of their images, and within an image as they are: items of an image
/// are to follow each other. image_of(data, i) is in 0 .. num_images - 1. The caller frees it.
int *task_order_by_image(int count, int num_images, int (*image_of)(const void *data, int index),
                         const void *data);

// ---- judging

/// A group of tokens: where it looks, and what is there.
typedef struct JudgedGroup {
    Pointing pointing;
    Segments segments;
} JudgedGroup;

/// truth [num_truth]: the image's true masks, for the segmenter that takes the true one.
bool judge_tokens(const Judge *judge, const ReadAnswer *read, const int *tokens, int num_tokens,
                  const CocoMask *truth, int num_truth, JudgedGroup *group, Error *error);
void judged_group_free(JudgedGroup *group);
/// {"phrase", "begin", "end", "point", "mask"} of bytes [begin, end) of the answer; the mask is the
/// first segment's, null without one.
json_t *verdict_phrase(const Answer *answer, int begin, int end, const JudgedGroup *group);
/// What a task does with the noun chunks of an answer.
typedef struct ChunkRules {
    /// whether a chunk is judged; NULL: all are
    bool (*takes)(void *context, const NounChunk *chunk, const Answer *answer);
    /// says more about one that was taken just now, in its verdict `phrase`; NULL: nothing
    void (*describe)(void *context, const JudgedGroup *group, json_t *phrase);
    void *context;
} ChunkRules;

/// The verdicts of an answer's noun chunks, in order: of each the tokens of its root word point.
/// NULL on failure.
json_t *judge_chunks(const Judge *judge, const Answer *answer, const CocoMask *truth, int num_truth,
                     const ChunkRules *rules, Error *error);
/// A number of a verdict, 0 if it is not there.
double verdict_number(const json_t *object, const char *key);
/// The mask of a verdict's phrase; false if it has none.
bool verdict_mask(const json_t *phrase, CocoMask *mask);

// ---- points against the truth (point_figures.c)

/// Adds "hit", "centre_hit" and "random_hit" to a verdict: whether its point (NULL: it has none)
/// and the image's centre lie in `truth`, and the share of the image that `truth` is.
void verdict_add_point(json_t *verdict, const CocoMask *truth, const Point *point);
/// What is true of a category in an image, to be freed; false, and an empty mask, if nothing is.
bool coco_category_truth(const CocoAnnotations *annotations, int image, int category,
                         CocoMask *truth);

/// The share of points in what is meant, beside random ones and the centre.
typedef struct PointFigures {
    double (*hits)[2], (*random)[2], (*centre)[2];
} PointFigures;

/// Adds the figures `name`, "random_point" and "centre".
PointFigures point_figures_begin(Figures *figures, const char *name);
/// Counts a verdict that has what verdict_add_point() adds.
void point_figures_count(const PointFigures *figures, int unit, const json_t *verdict);

// ---- publishing

/// Writes `<folder>/<name>`, whole or not at all, and takes the reference to `predictions`.
bool publish_json(const char *folder, const char *name, json_t *predictions, Error *error);

// ---- measuring

/// Begins figures whose units are the images of items 0 .. count - 1, named. Returns the unit of
/// every item; the caller frees it.
int *figures_begin_by_image(Figures *figures, const Task *task, const void *data, int64_t count);

/// Adds CIDEr, BLEU-4 and, with its data, METEOR of captions[count], one per unit.
bool measure_text(const ImageCaptions *captions, int count, const EvaluationOptions *options,
                  Figures *figures, Error *error);
