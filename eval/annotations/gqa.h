/// Questions about images with an answer of a word or two, in the form of GQA
/// [Hudson and Manning 2019, arXiv 1902.09506]: testdev_balanced_questions.json and the like.
#pragma once
#include "autograd/error.h"

/// What a question asks for, and what about, by GQA's names.
enum { NUM_GQA_STRUCTURAL = 5, NUM_GQA_SEMANTIC = 5 };
extern const char *const GQA_STRUCTURAL[NUM_GQA_STRUCTURAL];
extern const char *const GQA_SEMANTIC[NUM_GQA_SEMANTIC];

typedef struct GqaQuestion {
    char *id;
    /// "What color is the ring?", and "red"
    char *text, *answer;
    /// indices into GQA_STRUCTURAL and GQA_SEMANTIC; what is no "query" is a binary question
    int structural, semantic;
    bool is_open;
    /// index into images
    int image;
    /// figures are of these
    bool is_balanced;
} GqaQuestion;

typedef struct GqaQuestions {
    /// "testdev_balanced_questions": the file's name without its ending
    char *name;
    /// file names, in the order in which they are met first
    char **images;
    int num_images;
    /// in the file's order; at least one
    GqaQuestion *items;
    int count;
} GqaQuestions;

/// Reads an object of questions by their ids, each with "question", "answer", "imageId" (the
/// picture is imageId.jpg), "types" with "structural" and "semantic", and "isBalanced" (true, where
/// it is missing); other keys are passed over. Memory is the file's size and what is kept. Errors
/// name the file and the question: what is missing or of another kind, types that are not GQA's,
/// ids that occur twice, no UTF-8. All is to be freed with gqa_free(), also on failure.
bool gqa_read(const char *path, GqaQuestions *out, Error *error);
void gqa_free(GqaQuestions *questions);
