// Captions alone: the model describes the image, and the text is compared with reference captions.
#include "data/json_values.h"
#include "eval/annotations/captions.h"
#include "eval/tasks/tasks.h"

#include <stdlib.h>

static void close_captions(void *data) {
    captions_free(data);
    free(data);
}

static void *open_captions(const EvaluationOptions *options, Error *error) {
    Captions *captions = checked_calloc(1, sizeof *captions);
    if (captions_read(options->annotations, captions, error)) return captions;
    free(captions);
    return NULL;
}

static int64_t count_images(const void *data) { return ((const Captions *)data)->count; }

static void item_of_image(const void *data, int64_t index, TaskItem *item) {
    const CaptionedImage *image = &((const Captions *)data)->images[index];
    snprintf(item->id, sizeof item->id, "%.60s", image->id);
    item->image = index;
    item->image_id = image->id;
    item->file_name = image->file_name;
}

static json_t *judge_answer(const void *data, int64_t index, const Judge *judge,
                            const Answer *answer, Error *error) {
    (void)data, (void)index, (void)judge, (void)answer, (void)error;
    return json_object(); // the answer is all there is
}

static bool measure(const void *data, const EvaluationOptions *options, json_t *const *verdicts,
                    int64_t count, Figures *figures, Error *error) {
    const Captions *truths = data;
    ImageCaptions *captions = checked_calloc((size_t)count + 1, sizeof *captions);
    free(figures_begin_by_image(figures, &TASK_CAPTION, data, count)); // an item is an image
    figures_remark(figures, "images", (double)count);
    for (int64_t i = 0; i < count; i++)
        captions[i] = (ImageCaptions){json_string_value(json_object_get(verdicts[i], "answer")),
                                      (const char *const *)truths->images[i].captions,
                                      truths->images[i].num_captions};
    bool ok = measure_text(captions, (int)count, options, figures, error);
    free(captions);
    if (!ok) figures_free(figures);
    return ok;
}

/// COCO's results: [{"image_id", "caption"}].
static bool publish(const void *data, json_t *const *verdicts, int64_t count, const char *folder,
                    Error *error) {
    const Captions *truths = data;
    json_t *results = json_array();
    for (int64_t i = 0; i < count; i++)
        json_array_append_new(results, json_pack("{s:o, s:O}", "image_id",
                                                 json_published_id(truths->images[i].id), "caption",
                                                 json_object_get(verdicts[i], "answer")));
    return publish_json(folder, "captions_results.json", results, error);
}

const Task TASK_CAPTION = {
    .name = "caption",
    .summary = "captions alone: CIDEr, BLEU-4 and METEOR",
    .files = "eval.annotations: COCO captions JSON",
    .lists_images = true,
    .prompt = "Describe the image in detail.",
    .max_new_tokens = 512,
    .open = open_captions,
    .close = close_captions,
    .count = count_images,
    .item = item_of_image,
    .judge = judge_answer,
    .measure = measure,
    .publish = publish,
};
