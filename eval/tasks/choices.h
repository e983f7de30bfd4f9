/// What a user chooses of a task, beside files.
#pragma once

/// The one list of tasks: its name in eval.task, and of its constant in eval/tasks/tasks.h. Each is
/// a file of its own in eval/tasks/.
///
///   points     nouns that name a category point at it: attention alone, without a segmenter
///   gcg        grounded conversation generation [Rasheed et al. 2024, arXiv 2311.03356]
///   res        referring expressions [Kazemzadeh et al. 2014; Yu et al. 2016]
///   png        panoptic narrative grounding [Gonzalez et al. 2021, arXiv 2109.04988]
///   instances  instance segmentation of what answers name, with point accuracy
///   caption    captions without grounding
///   pope       whether things are in the image [Li et al. 2023, arXiv 2305.10355]
///   gqa        questions that a word answers [Hudson and Manning 2019, arXiv 1902.09506]
#define EVALUATION_TASKS(TASK) \
    TASK(points, POINTS)       \
    TASK(gcg, GCG)             \
    TASK(res, RES)             \
    TASK(png, PNG)             \
    TASK(instances, INSTANCES) \
    TASK(caption, CAPTION)     \
    TASK(pope, POPE)           \
    TASK(gqa, GQA)

typedef enum EvaluationTask {
#define ENUMERATE_TASK(name, NAME) EVALUATE_##NAME,
    EVALUATION_TASKS(ENUMERATE_TASK)
#undef ENUMERATE_TASK
    /// what points was called once
    EVALUATE_POINT_ACCURACY
} EvaluationTask;

/// Of a referring reference's sentences.
typedef enum SentenceChoice { SENTENCES_ALL, SENTENCES_FIRST } SentenceChoice;

/// Which tokens' attention answers a referring expression (spec: v2, v2 as published, v1).
typedef enum ReferringTokens {
    /// of the token behind the first of the words is, are, be
    BEHIND_VERB,
    /// the same, by pieces of tokens: the "is" of "skis" counts
    BEHIND_VERB_PIECE,
    /// the maximum over the first eight tokens
    FIRST_EIGHT
} ReferringTokens;
