#include "train/ground/grounder.h"

#include "train/evaluation/evaluation_setup.h"

#include <stdlib.h>
#include <string.h>

// ---- what is looked for

static void free_words(Grounder *grounder) {
    for (int i = 0; i < grounder->num_words; i++) free(grounder->words[i]);
    free(grounder->words);
    grounder->words = NULL;
    grounder->num_words = 0;
}

bool grounder_look_for(Grounder *grounder, const char *words, Error *error) {
    if (words && strspn(words, ", ") == strlen(words))
        return error_set(error, "there is no word in '%s'; expected WORD,WORD,...",
                         quote(words).text);
    free_words(grounder);
    grounder->words = checked_calloc(words ? strlen(words) / 2 + 1 : 1, sizeof *grounder->words);
    for (const char *c = words; c && *c;) {
        c += strspn(c, ", ");
        size_t length = strcspn(c, ",");
        const char *next = c + length;
        while (length > 0 && c[length - 1] == ' ') length--;
        if (length) grounder->words[grounder->num_words++] = format_string("%.*s", (int)length, c);
        c = next;
    }
    return true;
}

static bool find_phrases(Grounder *grounder, const char *text, PhraseList *phrases, Error *error) {
    const CocoAnnotations *annotations = &grounder->annotations;
    if (grounder->num_words)
        *phrases = phrases_find(text, (const char *const *)grounder->words, grounder->num_words);
    else if (annotations->num_categories)
        *phrases = phrases_find(text, (const char *const *)annotations->category_names,
                                annotations->num_categories);
    else
        return phrase_finder_phrases(grounder->finder, text, phrases, error);
    return true;
}

// ---- opening

static bool check_segmenter(const Config *config, Error *error) {
    SegmenterChoice segmenter = config->eval.segmenter;
    if (segmenter == SEGMENTER_TRUTH || segmenter == SEGMENTER_REGIONS)
        return config_refuse(config, "eval.segmenter", error,
                             "takes its masks from annotations, and any picture has none; "
                             "expected region_growing, sam or none");
    if (segmenter != SEGMENTER_SAM || config_require(config, error, "eval.sam", NULL)) return true;
    error->is_configuration = true;
    return false;
}

bool grounder_prepare(Grounder *grounder, const Config *config, const char *words, Error *error) {
    *grounder = (Grounder){.config = config};
    const EvalSection *eval = &config->eval;
    grounder->how = (GroundingOptions){.reduction = evaluation_reduction(config),
                                       .normalise = eval->normalise,
                                       .remove_corner = eval->remove_corner};
    if (eval->keep != KEEP_MEAN) {
        grounder->how.layers = eval->layers.count ? eval->layers.values : NULL;
        grounder->how.num_layers = eval->layers.count;
    }
    if (eval->keep == KEEP_HEADS) {
        grounder->how.heads = eval->heads.count ? eval->heads.values : NULL;
        grounder->how.num_heads = eval->heads.count;
    }
    if (!config_require_model(config, error) || !check_segmenter(config, error)) return false;
    if (words && !grounder_look_for(grounder, words, error)) {
        error->is_configuration = true;
        return error_context(error, "--words");
    }
    return words || !eval->annotations ||
           coco_annotations_read(eval->annotations, &grounder->annotations, error);
}

bool grounder_load(Grounder *grounder, Error *error) {
    const Config *config = grounder->config;
    grounder->is_loaded =
        model_setup_open(config, (uint64_t)config->eval.seed, NULL, &grounder->setup, error);
    if (!grounder->is_loaded || !model_setup_load_checkpoint(config, &grounder->setup, error) ||
        !answer_setup(config, &grounder->setup, &grounder->answers, error))
        return false;
    grounder->finder = phrase_finder_open(config->eval.phrases, error);
    return grounder->finder &&
           evaluation_segmenter(config, grounder->setup.device, &grounder->segmenter, error);
}

void grounder_close(Grounder *grounder) {
    if (grounder->segmenter) grounder->segmenter->close(grounder->segmenter);
    phrase_finder_close(grounder->finder);
    if (grounder->is_loaded) model_setup_close(&grounder->setup);
    coco_annotations_free(&grounder->annotations);
    free_words(grounder);
    *grounder = (Grounder){0};
}

// ---- asking

bool grounder_ground(Grounder *grounder, GroundedAnswer *answer, Error *error) {
    PhraseList phrases;
    Segmenter *segmenter = grounder->segmenter;
    if (!find_phrases(grounder, answer->answer.text, &phrases, error)) return false;
    Grounding grounding = ground_phrases(&answer->answer, &phrases, &grounder->how);
    phrases_free(&phrases);
    bool ok = !segmenter || !grounding.count ||
              (segmenter->see(segmenter, answer->picture, "", error) &&
               ground_masks(&grounding, &answer->answer, segmenter, error));
    if (ok) {
        grounding_free(&answer->grounding);
        answer->grounding = grounding;
    } else {
        grounding_free(&grounding);
    }
    return ok;
}

bool grounder_ask(Grounder *grounder, const Question *question, const AnswerListener *listener,
                  GroundedAnswer *answer, Error *error) {
    AnswerOptions options = grounder->answers.options;
    options.listener = listener;
    *answer = (GroundedAnswer){.picture = question->image, .question = question->text};
    if (!answer_questions(&options, question, 1, &answer->answer, error)) return false;
    if (grounder_ground(grounder, answer, error)) return true;
    grounded_answer_free(answer);
    return false;
}

void grounded_answer_free(GroundedAnswer *answer) {
    answer_free(&answer->answer);
    grounding_free(&answer->grounding);
    *answer = (GroundedAnswer){0};
}
