#include "eval/annotations/panoptic.h"

#include "data/coco_segmentation.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { LARGEST_ID = 0xffffff };

void panoptic_annotations_free(PanopticAnnotations *all) {
    for (int i = 0; i < all->num_categories; i++) {
        free(all->categories[i].id);
        free(all->categories[i].name);
    }
    for (int i = 0; i < all->num_images; i++) {
        free(all->images[i].id);
        free(all->images[i].file_name);
        free(all->images[i].map_name);
        free(all->images[i].segments);
    }
    free(all->categories);
    free(all->images);
    json_decref(all->image_ids);
    *all = (PanopticAnnotations){0};
}

int panoptic_find_image(const PanopticAnnotations *all, const char *id) {
    const json_t *index = json_object_get(all->image_ids, id);
    return index ? (int)json_integer_value(index) : -1;
}

const PanopticSegment *panoptic_find_segment(const PanopticImage *image, uint32_t id) {
    for (int i = 0; i < image->num_segments; i++)
        if (image->segments[i].id == id) return &image->segments[i];
    return NULL;
}

/// 0, 1, false or true under that key.
static bool read_flag(const json_t *item, const char *key, bool *flag, Error *error) {
    const json_t *value = json_object_get(item, key);
    int64_t number = json_is_true(value);
    if (!json_is_boolean(value) && (!json_whole_number(value, &number) || number < 0 || number > 1))
        return error_set(error, "\"%s\" is %s; expected 0 or 1", key, json_shown(value).text);
    *flag = number == 1;
    return true;
}

static bool read_categories(const json_t *root, json_t *ids, PanopticAnnotations *out,
                            Error *error) {
    const json_t *list, *item;
    size_t i;
    if (!json_find_list(root, "categories", &list, error)) return false;
    out->categories = checked_calloc(json_array_size(list) + 1, sizeof *out->categories);
    json_array_foreach((json_t *)list, i, item) {
        PanopticCategory *category = &out->categories[out->num_categories];
        const char *name = json_string_value(json_object_get(item, "name"));
        category->id = json_id(json_object_get(item, "id"));
        out->num_categories++;
        if (!name || !category->id || !json_remember_id(ids, category->id, (int)i))
            return error_set(error,
                             "number %zu of \"categories\" is %s; expected \"name\", \"isthing\" "
                             "and an \"id\" that no other has",
                             i + 1, json_shown(item).text);
        category->name = checked_strdup(name);
        if (!read_flag(item, "isthing", &category->is_thing, error))
            return error_context(error, "category %s", quote(category->id).text);
    }
    return out->num_categories > 0 || error_set(error, "there is no category in \"categories\"");
}

static bool read_images(const json_t *root, PanopticAnnotations *out, Error *error) {
    const json_t *list, *item;
    size_t i;
    if (!json_find_list(root, "images", &list, error)) return false;
    out->images = checked_calloc(json_array_size(list) + 1, sizeof *out->images);
    json_array_foreach((json_t *)list, i, item) {
        PanopticImage *image = &out->images[out->num_images];
        const char *name = json_string_value(json_object_get(item, "file_name"));
        char what[sizeof(Quoted) + 8];
        image->id = json_id(json_object_get(item, "id"));
        out->num_images++;
        if (!image->id || !name)
            return error_set(error,
                             "number %zu of \"images\" is %s; expected \"id\" and \"file_name\"",
                             i + 1, json_shown(item).text);
        image->file_name = checked_strdup(name);
        snprintf(what, sizeof what, "image %s", quote(image->id).text);
        if (!coco_side_read(item, "height", what, &image->height, error) ||
            !coco_side_read(item, "width", what, &image->width, error))
            return false;
        if (!json_remember_id(out->image_ids, image->id, (int)i))
            return error_set(error, "image id %s occurs twice", quote(image->id).text);
    }
    return out->num_images > 0 || error_set(error, "there is no image in \"images\"");
}

static bool read_segment(const json_t *item, const json_t *category_ids, PanopticImage *image,
                         Error *error) {
    PanopticSegment segment = {0, json_find_id(category_ids, json_object_get(item, "category_id")),
                               false, -1};
    const json_t *area = json_object_get(item, "area");
    int64_t id = 0;
    if (!json_whole_number(json_object_get(item, "id"), &id) || id < 1 || id > LARGEST_ID)
        return error_set(error, "\"id\" is %s; expected 1 to %d",
                         json_shown(json_object_get(item, "id")).text, LARGEST_ID);
    segment.id = (uint32_t)id;
    if (panoptic_find_segment(image, segment.id))
        return error_set(error, "segment id %u occurs twice", segment.id);
    if (segment.category < 0)
        return error_set(error, "\"category_id\" is %s, which \"categories\" does not list",
                         json_shown(json_object_get(item, "category_id")).text);
    if (json_object_get(item, "iscrowd") && !read_flag(item, "iscrowd", &segment.is_crowd, error))
        return false;
    if (area && (!json_whole_number(area, &segment.area) || segment.area < 0))
        return error_set(error, "\"area\" is %s; expected a number of pixels",
                         json_shown(area).text);
    image->segments[image->num_segments++] = segment;
    return true;
}

static bool read_annotation(const json_t *item, const json_t *category_ids,
                            PanopticAnnotations *out, Error *error) {
    int index = json_find_id(out->image_ids, json_object_get(item, "image_id"));
    const char *name = json_string_value(json_object_get(item, "file_name"));
    const json_t *list, *segment;
    size_t i;
    if (index < 0)
        return error_set(error, "\"image_id\" is %s, which \"images\" does not list",
                         json_shown(json_object_get(item, "image_id")).text);
    PanopticImage *image = &out->images[index];
    if (image->map_name)
        return error_set(error, "image %s is annotated twice", quote(image->id).text);
    if (!name)
        return error_set(error, "image %s: \"file_name\" is %s; expected its PNG's",
                         quote(image->id).text,
                         json_shown(json_object_get(item, "file_name")).text);
    image->map_name = checked_strdup(name);
    if (!json_find_list(item, "segments_info", &list, error)) return false;
    image->segments = checked_calloc(json_array_size(list) + 1, sizeof *image->segments);
    json_array_foreach((json_t *)list, i, segment) {
        if (!read_segment(segment, category_ids, image, error))
            return error_context(error, "image %s, segment %zu", quote(image->id).text, i);
    }
    return true;
}

static bool read_annotations(const json_t *root, const json_t *category_ids,
                             PanopticAnnotations *out, Error *error) {
    const json_t *list, *item;
    size_t i;
    if (!json_find_list(root, "annotations", &list, error)) return false;
    json_array_foreach((json_t *)list, i, item) {
        if (!read_annotation(item, category_ids, out, error))
            return error_context(error, "annotation %zu", i);
    }
    return true;
}

bool panoptic_annotations_read(const char *path, PanopticAnnotations *out, Error *error) {
    *out = (PanopticAnnotations){0};
    json_t *root = json_file_read_object(path, 0, error);
    if (!root) return false;
    json_t *category_ids = json_object();
    out->image_ids = json_object();
    bool ok = read_categories(root, category_ids, out, error) && read_images(root, out, error) &&
              read_annotations(root, category_ids, out, error);
    json_decref(category_ids);
    json_decref(root);
    if (ok) return true;
    panoptic_annotations_free(out);
    return error_context(error, "%s", path);
}
