#include "data/coco_annotations.h"

#include "data/coco_segmentation.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

// ---- sections of the file

static bool read_images(const json_t *root, json_t *ids, CocoAnnotations *out, Error *error) {
    const json_t *list, *item;
    size_t i;
    if (!json_find_list(root, "images", &list, error)) return false;
    out->images = checked_calloc(json_array_size(list) + 1, sizeof *out->images);
    json_array_foreach((json_t *)list, i, item) {
        CocoImage *image = &out->images[out->num_images];
        const char *file_name = json_string_value(json_object_get(item, "file_name"));
        image->id = json_id(json_object_get(item, "id"));
        out->num_images++;
        if (!image->id || !file_name)
            return error_set(error,
                             "number %zu of \"images\" is %s; expected \"id\" and \"file_name\"",
                             i + 1, json_shown(item).text);
        image->file_name = checked_strdup(file_name);
        char what[sizeof(Quoted) + 8];
        snprintf(what, sizeof what, "image %s", quote(image->id).text);
        if (!coco_side_read(item, "height", what, &image->height, error) ||
            !coco_side_read(item, "width", what, &image->width, error))
            return false;
        if (!json_remember_id(ids, image->id, (int)i))
            return error_set(error, "image id %s occurs twice", quote(image->id).text);
    }
    return out->num_images > 0 || error_set(error, "there is no image in \"images\"");
}

static bool read_categories(const json_t *root, json_t *ids, CocoAnnotations *out, Error *error) {
    const json_t *list, *item;
    size_t i;
    if (!json_find_list(root, "categories", &list, error)) return false;
    out->category_names = checked_calloc(json_array_size(list) + 1, sizeof *out->category_names);
    json_array_foreach((json_t *)list, i, item) {
        const char *name = json_string_value(json_object_get(item, "name"));
        char *id = json_id(json_object_get(item, "id"));
        bool fresh = id && name && json_remember_id(ids, id, (int)i);
        free(id);
        if (!fresh)
            return error_set(error,
                             "number %zu of \"categories\" is %s; expected \"name\" and an "
                             "\"id\" that no other has",
                             i + 1, json_shown(item).text);
        out->category_names[out->num_categories++] = checked_strdup(name);
    }
    return out->num_categories > 0 || error_set(error, "there is no category in \"categories\"");
}

static int by_image(const void *a, const void *b) {
    const CocoAnnotation *x = a, *y = b;
    return x->image - y->image;
}

/// False for what is neither; an absent one is none.
static bool read_is_crowd(const json_t *item, bool *is_crowd, Error *error) {
    const json_t *value = json_object_get(item, "iscrowd");
    int64_t number = 0;
    if (json_is_boolean(value))
        number = json_is_true(value);
    else if (value && (!json_whole_number(value, &number) || number < 0 || number > 1))
        return error_set(error, "\"iscrowd\" is %s; expected 0 or 1", json_shown(value).text);
    *is_crowd = number == 1;
    return true;
}

/// Reads one annotation and keeps it unless it is of a crowd.
static bool read_annotation(const json_t *item, const json_t *image_ids, const json_t *category_ids,
                            CocoAnnotations *out, Error *error) {
    const json_t *image_id = json_object_get(item, "image_id"),
                 *category_id = json_object_get(item, "category_id");
    CocoAnnotation annotation = {
        json_find_id(image_ids, image_id), json_find_id(category_ids, category_id), {0}};
    bool is_crowd = false;
    if (!json_is_object(item)) return error_set(error, "it is %s", json_shown(item).text);
    if (!read_is_crowd(item, &is_crowd, error)) return false;
    if (is_crowd) return true;
    if (annotation.image < 0)
        return error_set(error, "\"image_id\" is %s, which \"images\" does not list",
                         json_shown(image_id).text);
    if (annotation.category < 0)
        return error_set(error, "\"category_id\" is %s, which \"categories\" does not list",
                         json_shown(category_id).text);
    const CocoImage *image = &out->images[annotation.image];
    if (!coco_segmentation_read(json_object_get(item, "segmentation"), image->height, image->width,
                                &annotation.mask, error))
        return false;
    out->annotations[out->num_annotations++] = annotation;
    return true;
}

static bool read_annotations(const json_t *root, const json_t *image_ids,
                             const json_t *category_ids, CocoAnnotations *out, Error *error) {
    const json_t *list, *item;
    size_t i;
    if (!json_find_list(root, "annotations", &list, error)) return false;
    out->annotations = checked_calloc(json_array_size(list) + 1, sizeof *out->annotations);
    json_array_foreach((json_t *)list, i, item) {
        if (read_annotation(item, image_ids, category_ids, out, error)) continue;
        char *id = json_id(json_object_get(item, "id"));
        if (id)
            error_context(error, "annotation %zu (id %s)", i, quote(id).text);
        else
            error_context(error, "annotation %zu", i);
        free(id);
        return false;
    }
    qsort(out->annotations, (size_t)out->num_annotations, sizeof *out->annotations, by_image);
    for (int k = out->num_annotations - 1; k >= 0; k--) {
        CocoImage *image = &out->images[out->annotations[k].image];
        image->first_annotation = k;
        image->num_annotations++;
    }
    return true;
}

bool coco_annotations_read(const char *path, CocoAnnotations *out, Error *error) {
    *out = (CocoAnnotations){0};
    json_t *root = json_file_read(path, 0, error);
    if (!root) return false;
    json_t *image_ids = json_object(), *category_ids = json_object();
    bool ok =
        json_is_object(root) ||
        error_set(error, "expected an object with \"images\", \"categories\" and \"annotations\"");
    ok = ok && read_images(root, image_ids, out, error) &&
         read_categories(root, category_ids, out, error) &&
         read_annotations(root, image_ids, category_ids, out, error);
    json_decref(image_ids);
    json_decref(category_ids);
    json_decref(root);
    if (ok) return true;
    coco_annotations_free(out);
    return error_context(error, "%s", path);
}

void coco_annotations_free(CocoAnnotations *annotations) {
    for (int i = 0; i < annotations->num_images; i++) {
        free(annotations->images[i].id);
        free(annotations->images[i].file_name);
    }
    for (int i = 0; i < annotations->num_categories; i++) free(annotations->category_names[i]);
    for (int i = 0; i < annotations->num_annotations; i++)
        coco_mask_free(&annotations->annotations[i].mask);
    free(annotations->images);
    free(annotations->category_names);
    free(annotations->annotations);
    *annotations = (CocoAnnotations){0};
}

bool coco_category_mask(const CocoAnnotations *annotations, int image, int category,
                        uint8_t *bitmap) {
    const CocoImage *of = &annotations->images[image];
    bool any = false;
    memset(bitmap, 0, (size_t)of->height * (size_t)of->width);
    for (int i = 0; i < of->num_annotations; i++) {
        const CocoAnnotation *annotation = &annotations->annotations[of->first_annotation + i];
        if (annotation->category != category) continue;
        coco_mask_paint(&annotation->mask, bitmap);
        any = true;
    }
    return any;
}
