// The two kinds of file: COCO's results, and the pickle of a detector.
#include "data/coco_segmentation.h"
#include "eval/annotations/pickled_numbers.h"
#include "eval/annotations/regions_internal.h"

#include <stdlib.h>

// ---- results

static bool read_result(RegionReader *reader, const json_t *item, Error *error) {
    const json_t *score = json_object_get(item, "score"),
                 *segmentation = json_object_get(item, "segmentation"),
                 *image_id = json_object_get(item, "image_id");
    CocoMask mask;
    char *id = json_id(image_id);
    if (!id) return error_set(error, "\"image_id\" is %s", json_shown(image_id).text);
    int index = json_find_id(reader->out->image_ids, image_id);
    if (index < 0 && !reader->has_sizes) index = regions_add_image(reader, id);
    free(id);
    if (index < 0)
        return error_set(error, "\"image_id\" is %s, which the file of images does not list",
                         json_shown(image_id).text);
    const int *size = reader->sizes[index];
    if (!json_is_number(score))
        return error_set(error, "\"score\" is %s; expected a number", json_shown(score).text);
    if (json_is_array(segmentation) && !reader->has_sizes)
        return error_set(error, "polygons need their image's size: a file of images must be given");
    bool ok = reader->has_sizes
                  ? coco_segmentation_read(segmentation, size[0], size[1], &mask, error)
                  : coco_runs_read(segmentation, &mask, error);
    return ok && regions_add(reader, index, &mask, json_number_value(score), error);
}

bool regions_read_results(RegionReader *reader, const char *path, Error *error) {
    json_t *root = json_file_read(path, 0, error), *item;
    size_t i;
    if (!root) return false;
    bool ok = json_is_array(root) || error_set(error, "%s: expected a list of results", path);
    json_array_foreach(root, i, item) {
        ok = read_result(reader, item, error) ||
             error_context(error, "%s: result %zu (image %s)", path, i,
                           json_shown(json_object_get(item, "image_id")).text);
        if (!ok) break;
    }
    json_decref(root);
    return ok;
}

// ---- a pickle

static bool pickled_size(const PickleValue *size, int *height, int *width, Error *error) {
    double sides[2], *numbers;
    int64_t count;
    if (!size) return error_set(error, "a mask without 'size' and 'counts'");
    if (!pickled_numbers(size, &numbers, &count, error)) return error_context(error, "'size'");
    for (int i = 0; i < 2; i++) sides[i] = count == 2 ? numbers[i] : 0;
    free(numbers);
    *height = sides[0] >= 1 && sides[0] <= COCO_LARGEST_SIDE ? (int)sides[0] : 0;
    *width = sides[1] >= 1 && sides[1] <= COCO_LARGEST_SIDE ? (int)sides[1] : 0;
    return (*height && *width) || error_set(error, "'size' is not a height and a width");
}

static bool pickled_counts(const PickleValue *counts, int height, int width, CocoMask *mask,
                           Error *error) {
    double *numbers;
    int64_t count;
    if (!counts) return error_set(error, "a mask without 'counts'");
    if (counts->kind == PICKLE_TEXT || counts->kind == PICKLE_BYTES)
        return coco_mask_from_string(counts->text, height, width, mask, error);
    if (!pickled_numbers(counts, &numbers, &count, error)) return error_context(error, "'counts'");
    bool ok = count <= (int64_t)height * width + 1 ||
              error_set(error, "%lld runs, more than there are pixels", (long long)count);
    uint32_t *runs = checked_malloc(((size_t)count + 1) * sizeof *runs);
    for (int64_t i = 0; ok && i < count; i++) {
        if (numbers[i] >= 0 && numbers[i] <= (double)height * width)
            runs[i] = (uint32_t)numbers[i];
        else
            ok = error_set(error, "run %lld of a mask is %g", (long long)i, numbers[i]);
    }
    ok = ok && coco_mask_from_counts(runs, (int)count, height, width, mask, error);
    free(runs);
    free(numbers);
    return ok;
}

static bool read_entry(RegionReader *reader, const PickleValue *entry, int image, Error *error) {
    const char *form = "expected a list or tuple of at least three: [1] masks, [2] scores";
    if ((entry->kind != PICKLE_LIST && entry->kind != PICKLE_TUPLE) || entry->count < 3)
        return error_set(error, "%s of %u; %s", pickle_kind_name(entry->kind), entry->count, form);
    const PickleValue *masks = entry->items[1];
    double *scores;
    int64_t num_scores;
    if (masks->kind != PICKLE_LIST && masks->kind != PICKLE_TUPLE)
        return error_set(error, "[1] is %s; %s", pickle_kind_name(masks->kind), form);
    if (!pickled_numbers(entry->items[2], &scores, &num_scores, error))
        return error_context(error, "[2], the scores");
    bool ok = num_scores == masks->count ||
              error_set(error, "%u masks and %lld scores", masks->count, (long long)num_scores);
    for (uint32_t i = 0; ok && i < masks->count; i++) {
        int height = 0, width = 0;
        CocoMask mask;
        ok = (pickled_size(pickle_get(masks->items[i], "size"), &height, &width, error) &&
              pickled_counts(pickle_get(masks->items[i], "counts"), height, width, &mask, error) &&
              regions_add(reader, image, &mask, scores[i], error)) ||
             error_context(error, "mask %u", i);
    }
    free(scores);
    return ok;
}

bool regions_read_pickle(RegionReader *reader, const char *path, Error *error) {
    const Regions *out = reader->out;
    Pickle *pickle = pickle_open_with(path, PICKLED_NUMBER_GLOBALS, error);
    if (!pickle) return false;
    const PickleValue *root = pickle_root(pickle);
    bool ok = ((root->kind == PICKLE_LIST || root->kind == PICKLE_TUPLE) &&
               root->count == (uint32_t)out->num_images) ||
              error_set(error, "%s of %u; expected a list with an entry for each of the %d images",
                        pickle_kind_name(root->kind), root->count, out->num_images);
    for (int i = 0; ok && i < out->num_images; i++)
        ok = read_entry(reader, root->items[i], i, error) ||
             error_context(error, "entry %d (image %s)", i, quote(out->images[i].image_id).text);
    pickle_close(pickle);
    return ok || error_context(error, "%s", path);
}
