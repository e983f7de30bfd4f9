/// Questions that a word or two answer, as visual question answering has them: in conversations,
/// and as a test in the form of GQA [Hudson and Manning 2019, arXiv 1902.09506].
#pragma once
#include "data/tiny/files.h"
#include "data/tiny/language.h"

/// What LLaVA-1.5 adds to such questions, the first of a conversation.
extern const char SHORT_ANSWER_PROMPT[];

typedef enum ShortKind {
    SHORT_GROUND,
    SHORT_COLOR,
    SHORT_PRESENCE,
    SHORT_PLACE,
    SHORT_RELATION,
    SHORT_COUNT,
    NUM_SHORT_KINDS
} ShortKind;

typedef struct ShortQuestion {
    char question[3 * UTTERANCE_SIZE];
    /// "red", and as a sentence
    char answer[UTTERANCE_SIZE], full_answer[3 * UTTERANCE_SIZE];
} ShortQuestion;

/// A question of that kind about the scene; false if it allows none (of what occurs twice nobody
/// asks for the colour). Of presence every second answer is a no, where a shape is missing.
bool short_question_make(const Scene *scene, Draws *draws, ShortKind kind, ShortQuestion *question);

/// Adds the test's questions about the picture to an object of GQA's form: one of each kind that
/// the scene allows, of presence both a yes and a no.
void short_questions_add(json_t *questions, const Scene *scene, int image_id, Draws *draws);
