#include "eval/tasks/items.h"
#include "data/images/image_check.h"

#include <stdlib.h>
#include <string.h>

int64_t evaluation_items(const Task *task, const void *data, const EvaluationOptions *evaluation) {
    int64_t count = task->count(data), images = 0, last = -1;
    if (evaluation->samples < 0) return count;
    for (int64_t i = 0; i < count; i++) {
        TaskItem item = {0};
        task->item(data, i, &item);
        images += item.image != last;
        last = item.image;
        if (images > evaluation->samples) return i;
    }
    return count;
}

static int by_text(const void *a, const void *b) { return strcmp(a, b); }

bool evaluation_check_ids(const Task *task, const void *data, const EvaluationOptions *evaluation,
                          Error *error) {
    enum { ID_BYTES = sizeof((TaskItem *)0)->id };
    int64_t count = evaluation_items(task, data, evaluation);
    char(*ids)[ID_BYTES] = checked_calloc((size_t)count + 1, ID_BYTES);
    for (int64_t i = 0; i < count; i++) {
        TaskItem item = {0};
        task->item(data, i, &item);
        memcpy(ids[i], item.id, ID_BYTES);
    }
    qsort(ids, (size_t)count, ID_BYTES, by_text);
    bool ok = true;
    for (int64_t i = 1; ok && i < count; i++)
        ok = strcmp(ids[i - 1], ids[i]) != 0 ||
             error_set(error, "%s: two items have the id %s; every item needs its own",
                       evaluation->annotations, ids[i]);
    free(ids);
    return ok;
}

static char *image_path(const EvaluationOptions *evaluation, const TaskItem *item) {
    return format_string("%s/%s", evaluation->image_folder, item->file_name);
}

static bool is_there(const EvaluationOptions *evaluation, const TaskItem *item, Error *error) {
    char *path = image_path(evaluation, item);
    bool ok = image_look(path, error) >= 0 ||
              error_context(error, "the picture of image %s", item->image_id);
    free(path);
    return ok;
}

bool evaluation_check_pictures(const Task *task, const void *data,
                               const EvaluationOptions *evaluation, Error *error) {
    int64_t count = evaluation_items(task, data, evaluation), last = -1;
    for (int64_t i = 0; i < count; i++) {
        TaskItem item = {0};
        task->item(data, i, &item);
        if (item.image != last && !is_there(evaluation, &item, error)) return false;
        last = item.image;
    }
    return true;
}

bool evaluation_read_image(const EvaluationOptions *evaluation, const TaskItem *item, Image *image,
                           Error *error) {
    char *path = image_path(evaluation, item);
    bool ok = image_read(path, image, error) ||
              error_context(error, "the picture of image %s", item->image_id);
    if (ok && item->height && (image->width != item->width || image->height != item->height)) {
        ok =
            error_set(error, "%s is %d x %d pixels, but the annotations of image %s say %d x %d",
                      path, image->width, image->height, item->image_id, item->width, item->height);
        image_free(image);
        *image = (Image){0};
    }
    free(path);
    return ok;
}
