/// A configured model that answers about pictures, and what finds in its answers the things that
/// they name, and makes their masks. Loaded once for any number of questions.
#pragma once
#include "data/coco_annotations.h"
#include "eval/attention/grounding.h"
#include "eval/phrases/phrase_finder.h"
#include "train/trainer/answer_setup.h"

typedef struct Grounder {
    const Config *config;
    ModelSetup setup;
    bool is_loaded;
    AnswerSetup answers;
    GroundingOptions how;
    /// NULL: phrases have points alone
    Segmenter *segmenter;
    PhraseFinder *finder;
    /// words to look for, [num_words]; none: the names of the annotations' categories; none of
    /// these either: noun chunks
    char **words;
    int num_words;
    CocoAnnotations annotations;
} Grounder;

/// Takes the configuration, which must outlive the grounder, and the words to look for (NULL:
/// none), and reads the annotations, but no networks: an error of the configuration is said before
/// these take their time. To be closed also on failure. The grounder must not be moved.
bool grounder_prepare(Grounder *grounder, const Config *config, const char *words, Error *error);
/// Reads the networks.
bool grounder_load(Grounder *grounder, Error *error);
void grounder_close(Grounder *grounder);

/// Looks from now on for these words, "ring,star", in answers; NULL: for what the annotations or
/// noun chunks say. Fails, and changes nothing, if there is no word in them.
bool grounder_look_for(Grounder *grounder, const char *words, Error *error);

/// An answer, and where the things are that it names.
typedef struct GroundedAnswer {
    /// the caller's
    const Image *picture;
    const char *question;
    Answer answer;
    Grounding grounding;
} GroundedAnswer;

/// Answers a question. listener: hears the answer; NULL: nobody. On failure nothing is to be freed;
/// else the caller frees the answer.
bool grounder_ask(Grounder *grounder, const Question *question, const AnswerListener *listener,
                  GroundedAnswer *answer, Error *error);
/// Finds the things that an answer names, anew if they were found before. On failure it stays as it
/// is.
bool grounder_ground(Grounder *grounder, GroundedAnswer *answer, Error *error);
void grounded_answer_free(GroundedAnswer *answer);
