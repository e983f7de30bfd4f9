#include "eval/tasks/point_task.h"

#include "autograd/clock.h"
#include "autograd/output/output_file.h"
#include "autograd/output/output_folder.h"
#include "eval/pages/overlay.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

enum { PICTURE_SIDE = 512 };

// ---- records

static json_t *bytes_of(const char *text, int begin, int end) {
    return json_stringn(text + begin, (size_t)(end - begin));
}

static json_t *describe_phrase(const CocoAnnotations *annotations, const Answer *answer,
                               const GroundedPhrase *item, PointVerdict verdict) {
    return json_pack("{s:o, s:s, s:[i, i], s:b, s:b}", "phrase",
                     bytes_of(answer->text, item->phrase.begin, item->phrase.end), "category",
                     annotations->category_names[item->phrase.category], "point",
                     item->point.column, item->point.row, "present", verdict.present, "hit",
                     verdict.hit);
}

static json_t *describe_answer(const CocoAnnotations *annotations, int image, const Answer *answer,
                               const Grounding *grounding, const PointVerdict *verdicts) {
    json_t *phrases = json_array();
    for (int i = 0; i < grounding->count; i++)
        json_array_append_new(
            phrases, describe_phrase(annotations, answer, &grounding->items[i], verdicts[i]));
    return json_pack("{s:s, s:s, s:s%, s:o}", "image_id", annotations->images[image].id,
                     "file_name", annotations->images[image].file_name, "answer", answer->text,
                     strlen(answer->text), "phrases", phrases);
}

static bool write_picture(const PointTaskOptions *options, int image, const Image *picture,
                          const Answer *answer, const Grounding *grounding, json_t *pictures,
                          Error *error) {
    char *file = format_string("pictures/%03d.png", image),
         *path = format_string("%s/%s", options->output_dir, file);
    char *caption = overlay_caption_html(answer->text, grounding);
    Image overlay = overlay_draw(picture, grounding, overlay_scale(picture, PICTURE_SIDE));
    bool ok = image_write_png(path, &overlay, error);
    json_array_append_new(pictures, json_pack("{s:s, s:s}", "file", file, "caption_html", caption));
    image_free(&overlay);
    free(caption);
    free(file);
    free(path);
    return ok;
}

// ---- a batch of images

static bool read_images(const PointTaskOptions *options, int first, int count, Image *images,
                        Error *error) {
    for (int i = 0; i < count; i++) {
        const CocoImage *of = &options->annotations->images[first + i];
        char *path = format_string("%s/%s", options->image_folder, of->file_name);
        bool ok = image_read(path, &images[i], error);
        if (ok && (images[i].width != of->width || images[i].height != of->height))
            ok = error_set(error, "%s is %d x %d pixels, but its annotation says %d x %d", path,
                           images[i].width, images[i].height, of->width, of->height);
        free(path);
        if (!ok) return false;
    }
    return true;
}

static bool judge(const PointTaskOptions *options, int image, const Image *picture,
                  const Answer *answer, PointAccuracy *sum, json_t *answers, json_t *pictures,
                  Error *error) {
    const CocoAnnotations *annotations = options->annotations;
    PhraseList phrases =
        phrases_find(answer->text, (const char *const *)annotations->category_names,
                     annotations->num_categories);
    GroundingOptions how = {.reduction = options->reduction, .normalise = true};
    Grounding grounding = ground_phrases(answer, &phrases, &how);
    if (options->region_growing)
        ground_masks_by_region_growing(&grounding, picture->pixels, picture->height,
                                       picture->width);
    PointVerdict *verdicts = checked_calloc((size_t)grounding.count + 1, sizeof *verdicts);
    point_accuracy_add(sum, annotations, image, &grounding, verdicts);
    json_array_append_new(answers,
                          describe_answer(annotations, image, answer, &grounding, verdicts));
    free(verdicts);
    bool ok = image >= options->pictures ||
              write_picture(options, image, picture, answer, &grounding, pictures, error);
    grounding_free(&grounding);
    phrases_free(&phrases);
    return ok;
}

static bool run_batch(const PointTaskOptions *options, int first, int count, PointAccuracy *sum,
                      json_t *answers, json_t *pictures, Error *error) {
    Image *images = checked_calloc((size_t)count, sizeof *images);
    Question *questions = checked_calloc((size_t)count, sizeof *questions);
    Answer *replies = checked_calloc((size_t)count, sizeof *replies);
    bool ok = read_images(options, first, count, images, error);
    for (int i = 0; i < count; i++)
        questions[i] = (Question){
            .image = &images[i], .text = options->prompt, .index = (uint64_t)(first + i)};
    ok = ok && answer_questions(&options->answers, questions, count, replies, error);
    for (int i = 0; ok && i < count; i++)
        ok = judge(options, first + i, &images[i], &replies[i], sum, answers, pictures, error);
    for (int i = 0; i < count; i++) {
        answer_free(&replies[i]);
        image_free(&images[i]);
    }
    free(images);
    free(questions);
    free(replies);
    return ok;
}

// ---- the task

static json_t *describe_figures(const PointTaskOptions *options, const PointAccuracy *sum,
                                double seconds) {
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    double said = sum->nouns ? (double)sum->nouns : 1.0;
    return json_pack("{s:s, s:s, s:s?, s:I, s:I, s:I, s:f, s:f, s:f, s:f, s:f, s:f, s:f, s:I}",
                     "task", "point_accuracy", "architecture", options->architecture, "checkpoint",
                     options->checkpoint, "images", (json_int_t)sum->images, "nouns",
                     (json_int_t)sum->nouns, "present", (json_int_t)sum->present, "point_accuracy",
                     point_accuracy_share((double)sum->hits, sum), "point_accuracy_of_all_nouns",
                     (double)sum->hits / said, "random_point",
                     point_accuracy_share(sum->random_hits, sum), "centre",
                     point_accuracy_share((double)sum->centre_hits, sum), "noun_precision",
                     (double)sum->present / said, "mean_iou", point_accuracy_share(sum->iou, sum),
                     "seconds", seconds, "peak_memory_bytes", (json_int_t)usage.ru_maxrss * 1024);
}

static bool make_picture_folder(const PointTaskOptions *options, OutputFolder *made, Error *error) {
    if (!options->pictures) return true;
    char *folder = format_string("%s/pictures", options->output_dir);
    bool ok = output_folder_make(made, folder, error);
    free(folder);
    return ok;
}

/// Pictures without results say nothing.
static void remove_pictures(const PointTaskOptions *options, const json_t *pictures) {
    for (size_t i = 0; i < json_array_size(pictures); i++) {
        const json_t *picture = json_array_get(pictures, i);
        const char *file = json_string_value(json_object_get(picture, "file"));
        char *path = format_string("%s/%s", options->output_dir, file ? file : "");
        unlink(path);
        free(path);
    }
}

static bool write_results(const PointTaskOptions *options, json_t *results, Error *error) {
    char *path = format_string("%s/results.json", options->output_dir);
    char *text = json_dumps(results, JSON_INDENT(1) | JSON_REAL_PRECISION(6));
    bool ok = output_whole_file(path, text, strlen(text), error);
    free(text);
    free(path);
    return ok;
}

bool point_task_run(const PointTaskOptions *options, PointAccuracy *sum, Error *error) {
    double started = clock_seconds();
    int total = options->annotations->num_images;
    if (options->samples >= 0 && options->samples < total) total = (int)options->samples;
    json_t *answers = json_array(), *pictures = json_array();
    *sum = (PointAccuracy){0};
    OutputFolder picture_folder = {0};
    bool ok = make_picture_folder(options, &picture_folder, error);
    for (int first = 0; ok && first < total; first += options->batch_size) {
        int count = total - first < options->batch_size ? total - first : options->batch_size;
        ok = run_batch(options, first, count, sum, answers, pictures, error);
        if (ok && options->progress)
            options->progress(options->progress_context, first + count, total, sum);
    }
    json_t *results = describe_figures(options, sum, clock_seconds() - started);
    json_object_set_new(results, "pictures", pictures);
    json_object_set_new(results, "answers", answers);
    ok = ok && write_results(options, results, error);
    if (!ok) remove_pictures(options, pictures);
    output_folder_close(&picture_folder, !ok);
    json_decref(results);
    return ok;
}
