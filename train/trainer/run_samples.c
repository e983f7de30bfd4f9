#include "train/trainer/run_samples.h"

#include "autograd/stop_request.h"
#include "data/coco_annotations.h"
#include "data/sample_image.h"
#include "eval/pages/overlay.h"
#include "train/evaluation/evaluation_setup.h"
#include "train/trainer/answer_setup.h"

#include <stdio.h>
#include <stdlib.h>

enum { PICTURE_SIDE = 384, LONGEST_ANSWER = 96 };

typedef struct Samples {
    const Config *config;
    const ModelSetup *setup;
    AnswerSetup answers;
    /// for the names of its categories; empty without eval.annotations
    CocoAnnotations annotations;
    RunLog *log;
    ProcessGroup *group;
    int64_t step;
    int logged;
} Samples;

static void log_picture(const Samples *samples, const char *tag, const Image *picture,
                        const Answer *reply) {
    PhraseList phrases =
        phrases_find(reply->text, (const char *const *)samples->annotations.category_names,
                     samples->annotations.num_categories);
    GroundingOptions how = {.reduction = evaluation_reduction(samples->config), .normalise = true};
    Grounding grounding = ground_phrases(reply, &phrases, &how);
    ground_masks_by_region_growing(&grounding, picture->pixels, picture->height, picture->width);
    Image overlay = overlay_draw(picture, &grounding, overlay_scale(picture, PICTURE_SIDE));
    void *png = NULL;
    size_t size;
    Error error;
    if (image_encode_png(&overlay, &png, &size, &error))
        run_log_picture(samples->log, tag, samples->step, png, size);
    free(png);
    image_free(&overlay);
    grounding_free(&grounding);
    phrases_free(&phrases);
}

static bool log_sample(Samples *samples, const Sample *sample, Error *error) {
    Image picture;
    Answer reply = {0};
    if (!sample_image_read(sample, &picture, error)) return false;
    Question question = {.image = &picture,
                         .text = evaluation_prompt(samples->config),
                         .index = (uint64_t)samples->logged,
                         .number = (uint64_t)samples->logged};
    bool ok = answer_questions(&samples->answers.options, &question, 1, &reply, error);
    if (ok) {
        char *tag = format_string("samples/%d", samples->logged++);
        char *text = format_string("**%s**\n\n%s", question.text, reply.text);
        run_log_text(samples->log, tag, samples->step, text);
        log_picture(samples, tag, &picture, &reply);
        free(tag);
        free(text);
    }
    answer_free(&reply);
    image_free(&picture);
    return ok;
}

static bool log_samples(Samples *samples, const Dataset *held_out, Error *error) {
    const Config *config = samples->config;
    if (config->eval.annotations &&
        !coco_annotations_read(config->eval.annotations, &samples->annotations, error))
        return false;
    if (!answer_setup(config, samples->setup, &samples->answers, error)) return false;
    GenerationOptions *generation = &samples->answers.options.generation;
    if (generation->max_new_tokens > LONGEST_ANSWER) generation->max_new_tokens = LONGEST_ANSWER;
    bool ok = true;
    for (int64_t i = 0;
         ok && i < dataset_count(held_out) && samples->logged < config->training.log_samples; i++) {
        Sample sample;
        if (!dataset_has_image(held_out, i)) continue;
        ok = stop_requested() ? stop_request_error(error)
                              : dataset_sample(held_out, i, &sample, error);
        if (!ok) break;
        ok = log_sample(samples, &sample, error);
        sample_free(&sample);
        process_group_progress(samples->group);
    }
    return ok;
}

void run_samples_log(const Config *config, const ModelSetup *setup, const Dataset *held_out,
                     int64_t step, RunLog *log, ProcessGroup *group) {
    Samples samples = {.config = config, .setup = setup, .log = log, .step = step, .group = group};
    Error error = {0};
    if (!log_samples(&samples, held_out, &error))
        fprintf(stderr, "warning: %s samples of what the model says are logged: %s\n",
                samples.logged ? "no more" : "no", error.message);
    coco_annotations_free(&samples.annotations);
}
