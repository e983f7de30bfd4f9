#include "data/coco_annotations.h"

#include "autograd/json_file.h"

#include <stdlib.h>
#include <string.h>

// ---- ids: numbers or strings, looked up as text

static char *id_text(const json_t *value) {
    if (json_is_integer(value)) return format_string("%lld", (long long)json_integer_value(value));
    if (json_is_string(value)) return checked_strdup(json_string_value(value));
    return NULL;
}

/// Puts id -> index into an object used as a dictionary; false if the id was there.
static bool remember_id(json_t *dictionary, const char *id, int index) {
    if (json_object_get(dictionary, id)) return false;
    json_object_set_new(dictionary, id, json_integer(index));
    return true;
}

static int find_id(const json_t *dictionary, const json_t *value) {
    char *id = id_text(value);
    const json_t *index = id ? json_object_get(dictionary, id) : NULL;
    free(id);
    return index ? (int)json_integer_value(index) : -1;
}

// ---- segmentations

static bool read_polygons(const json_t *polygons, int height, int width, CocoMask *mask,
                          Error *error) {
    uint8_t *bitmap = checked_calloc((size_t)height * (size_t)width, 1);
    bool ok = json_array_size(polygons) > 0 || error_set(error, "no polygon in the segmentation");
    for (size_t i = 0; ok && i < json_array_size(polygons); i++) {
        const json_t *polygon = json_array_get(polygons, i);
        size_t count = json_array_size(polygon);
        double *points = checked_malloc((count + 1) * sizeof *points);
        for (size_t k = 0; k < count; k++)
            points[k] = json_number_value(json_array_get(polygon, k));
        CocoMask part;
        ok = count % 2 == 0 &&
             coco_mask_from_polygon(points, (int)(count / 2), height, width, &part, error);
        if (count % 2) error_set(error, "polygon %zu has an odd number of coordinates", i);
        if (ok) {
            coco_mask_paint(&part, bitmap);
            coco_mask_free(&part);
        }
        free(points);
    }
    if (ok) *mask = coco_mask_from_bitmap(bitmap, height, width);
    free(bitmap);
    return ok;
}

static bool read_runs(const json_t *runs, int height, int width, CocoMask *mask, Error *error) {
    const json_t *size = json_object_get(runs, "size"), *counts = json_object_get(runs, "counts");
    if (json_integer_value(json_array_get(size, 0)) != height ||
        json_integer_value(json_array_get(size, 1)) != width)
        return error_set(error, "the mask's size is not its image's, %d x %d", height, width);
    if (json_is_string(counts))
        return coco_mask_from_string(json_string_value(counts), height, width, mask, error);
    if (!json_is_array(counts)) return error_set(error, "'counts' is neither a string nor a list");
    size_t count = json_array_size(counts);
    uint32_t *values = checked_malloc((count + 1) * sizeof *values);
    bool ok = true;
    for (size_t i = 0; i < count; i++) {
        json_int_t value = json_integer_value(json_array_get(counts, i));
        if (value < 0 || value > (json_int_t)height * width)
            ok = error_set(error, "run %zu is %lld", i, (long long)value);
        values[i] = (uint32_t)value;
    }
    ok = ok && coco_mask_from_counts(values, (int)count, height, width, mask, error);
    free(values);
    return ok;
}

static bool read_segmentation(const json_t *segmentation, int height, int width, CocoMask *mask,
                              Error *error) {
    if (json_is_array(segmentation)) return read_polygons(segmentation, height, width, mask, error);
    if (json_is_object(segmentation)) return read_runs(segmentation, height, width, mask, error);
    return error_set(error, "'segmentation' is neither polygons nor runs");
}

// ---- sections of the file

static bool read_images(const json_t *root, json_t *ids, CocoAnnotations *out, Error *error) {
    const json_t *list = json_object_get(root, "images"), *item;
    size_t i;
    out->images = checked_calloc(json_array_size(list) + 1, sizeof *out->images);
    json_array_foreach((json_t *)list, i, item) {
        CocoImage *image = &out->images[out->num_images];
        const char *file_name = json_string_value(json_object_get(item, "file_name"));
        image->id = id_text(json_object_get(item, "id"));
        image->height = (int)json_integer_value(json_object_get(item, "height"));
        image->width = (int)json_integer_value(json_object_get(item, "width"));
        out->num_images++;
        if (!image->id || !file_name)
            return error_set(error, "image %zu has no 'id' or no 'file_name'", i);
        image->file_name = checked_strdup(file_name);
        if (image->height <= 0 || image->width <= 0 || image->height > 32768 ||
            image->width > 32768)
            return error_set(error, "image %s is %d x %d pixels", image->id, image->width,
                             image->height);
        if (!remember_id(ids, image->id, (int)i))
            return error_set(error, "image id %s occurs twice", image->id);
    }
    return out->num_images > 0 || error_set(error, "there is no image in 'images'");
}

static bool read_categories(const json_t *root, json_t *ids, CocoAnnotations *out, Error *error) {
    const json_t *list = json_object_get(root, "categories"), *item;
    size_t i;
    out->category_names = checked_calloc(json_array_size(list) + 1, sizeof *out->category_names);
    json_array_foreach((json_t *)list, i, item) {
        const char *name = json_string_value(json_object_get(item, "name"));
        char *id = id_text(json_object_get(item, "id"));
        bool fresh = id && name && remember_id(ids, id, (int)i);
        free(id);
        if (!fresh)
            return error_set(error, "category %zu has no 'id', no 'name', or another's id", i);
        out->category_names[out->num_categories++] = checked_strdup(name);
    }
    return out->num_categories > 0 || error_set(error, "there is no category in 'categories'");
}

static int by_image(const void *a, const void *b) {
    const CocoAnnotation *x = a, *y = b;
    return x->image - y->image;
}

static bool read_annotations(const json_t *root, const json_t *image_ids,
                             const json_t *category_ids, CocoAnnotations *out, Error *error) {
    const json_t *list = json_object_get(root, "annotations"), *item;
    size_t i;
    out->annotations = checked_calloc(json_array_size(list) + 1, sizeof *out->annotations);
    json_array_foreach((json_t *)list, i, item) {
        if (json_integer_value(json_object_get(item, "iscrowd"))) continue;
        CocoAnnotation annotation = {find_id(image_ids, json_object_get(item, "image_id")),
                                     find_id(category_ids, json_object_get(item, "category_id")),
                                     {0}};
        if (annotation.image < 0)
            return error_set(error,
                             "annotation %zu belongs to an image that 'images' does not list", i);
        if (annotation.category < 0)
            return error_set(error, "annotation %zu has a category that 'categories' does not list",
                             i);
        const CocoImage *image = &out->images[annotation.image];
        if (!read_segmentation(json_object_get(item, "segmentation"), image->height, image->width,
                               &annotation.mask, error))
            return error_context(error, "annotation %zu", i);
        out->annotations[out->num_annotations++] = annotation;
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
    bool ok = json_is_object(root) ||
              error_set(error, "expected an object with 'images', 'categories' and 'annotations'");
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
