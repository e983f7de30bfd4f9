#include "data/coco_annotations.h"

#include "autograd/json_file.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/// A value as it stands in the file, for messages: cut where it is long.
static Quoted shown(const json_t *value) {
    enum { SHOWN = JSON_ENCODE_ANY | JSON_COMPACT | JSON_REAL_PRECISION(15) };
    char *text = value ? json_dumps(value, SHOWN) : NULL;
    Quoted quoted = quote(text ? text : "missing");
    free(text);
    return quoted;
}

/// A whole number; 128.0 is one, as what pandas has touched writes it. False for anything else.
static bool whole_number(const json_t *value, int64_t *number) {
    const double real = json_is_real(value) ? json_real_value(value) : 0.5;
    if (json_is_integer(value))
        *number = json_integer_value(value);
    else if (fabs(real) < 0x1p53 && real == floor(real))
        *number = (int64_t)real;
    else
        return false;
    return true;
}

// ---- ids: numbers or strings, looked up as text

static char *id_text(const json_t *value) {
    int64_t number;
    if (json_is_string(value)) return checked_strdup(json_string_value(value));
    return whole_number(value, &number) ? format_string("%lld", (long long)number) : NULL;
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

/// The corners of one polygon: a list of x, y, x, y, ... The caller frees them.
static double *read_points(const json_t *polygon, size_t number, int *num_points, Error *error) {
    const size_t count = json_array_size(polygon);
    if (!json_is_array(polygon) || count % 2 || count < 6 || count > INT32_MAX / 4) {
        error_set(error,
                  "polygon %zu is %s; expected a list of an even number of coordinates, 6 or more: "
                  "x, y, x, y, ...",
                  number, shown(polygon).text);
        return NULL;
    }
    double *points = checked_malloc(count * sizeof *points);
    for (size_t k = 0; k < count; k++) {
        const json_t *value = json_array_get(polygon, k);
        if (!json_is_number(value)) {
            error_set(error, "coordinate %zu of polygon %zu is %s; expected a number", k + 1,
                      number, shown(value).text);
            free(points);
            return NULL;
        }
        points[k] = json_number_value(value);
    }
    *num_points = (int)(count / 2);
    return points;
}

static bool read_polygons(const json_t *polygons, int height, int width, CocoMask *mask,
                          Error *error) {
    uint8_t *bitmap = checked_calloc((size_t)height * (size_t)width, 1);
    bool ok = json_array_size(polygons) > 0 || error_set(error, "no polygon in the segmentation");
    for (size_t i = 0; ok && i < json_array_size(polygons); i++) {
        int num_points = 0;
        CocoMask part;
        double *points = read_points(json_array_get(polygons, i), i + 1, &num_points, error);
        ok = points && coco_mask_from_polygon(points, num_points, height, width, &part, error);
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

static bool check_size(const json_t *runs, int height, int width, Error *error) {
    const json_t *size = json_object_get(runs, "size");
    int64_t rows = 0, columns = 0;
    return (json_array_size(size) == 2 && whole_number(json_array_get(size, 0), &rows) &&
            whole_number(json_array_get(size, 1), &columns) && rows == height &&
            columns == width) ||
           error_set(error, "the mask's \"size\" is %s; expected its image's, [%d,%d]",
                     shown(size).text, height, width);
}

static bool read_runs(const json_t *runs, int height, int width, CocoMask *mask, Error *error) {
    const json_t *counts = json_object_get(runs, "counts");
    if (!check_size(runs, height, width, error)) return false;
    if (json_is_string(counts))
        return coco_mask_from_string(json_string_value(counts), height, width, mask, error);
    if (!json_is_array(counts))
        return error_set(error, "\"counts\" is %s; expected a string or a list",
                         shown(counts).text);
    size_t count = json_array_size(counts);
    if (count > (size_t)height * (size_t)width + 1)
        return error_set(error, "%zu runs, more than there are pixels", count);
    uint32_t *values = checked_malloc((count + 1) * sizeof *values);
    bool ok = true;
    for (size_t i = 0; ok && i < count; i++) {
        const json_t *item = json_array_get(counts, i);
        int64_t value = -1;
        if (!whole_number(item, &value) || value < 0 || value > (int64_t)height * width)
            ok = error_set(error, "run %zu is %s; expected a number of pixels", i + 1,
                           shown(item).text);
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
    return error_set(error, "\"segmentation\" is %s; expected polygons or runs",
                     shown(segmentation).text);
}

// ---- sections of the file

enum { LARGEST_SIDE = 32768 };

/// The list under that key. An absent one is an empty one.
static bool find_list(const json_t *root, const char *key, const json_t **list, Error *error) {
    *list = json_object_get(root, key);
    return !*list || json_is_array(*list) ||
           error_set(error, "\"%s\" is %s; expected a list", key, shown(*list).text);
}

static bool read_side(const json_t *item, const char *key, const char *id, int *side,
                      Error *error) {
    const json_t *value = json_object_get(item, key);
    int64_t number = 0;
    if (!whole_number(value, &number) || number < 1 || number > LARGEST_SIDE)
        return error_set(error, "the \"%s\" of image %s is %s; expected 1 to %d pixels", key,
                         quote(id).text, shown(value).text, LARGEST_SIDE);
    *side = (int)number;
    return true;
}

static bool read_images(const json_t *root, json_t *ids, CocoAnnotations *out, Error *error) {
    const json_t *list, *item;
    size_t i;
    if (!find_list(root, "images", &list, error)) return false;
    out->images = checked_calloc(json_array_size(list) + 1, sizeof *out->images);
    json_array_foreach((json_t *)list, i, item) {
        CocoImage *image = &out->images[out->num_images];
        const char *file_name = json_string_value(json_object_get(item, "file_name"));
        image->id = id_text(json_object_get(item, "id"));
        out->num_images++;
        if (!image->id || !file_name)
            return error_set(error,
                             "number %zu of \"images\" is %s; expected \"id\" and \"file_name\"",
                             i + 1, shown(item).text);
        image->file_name = checked_strdup(file_name);
        if (!read_side(item, "height", image->id, &image->height, error) ||
            !read_side(item, "width", image->id, &image->width, error))
            return false;
        if (!remember_id(ids, image->id, (int)i))
            return error_set(error, "image id %s occurs twice", quote(image->id).text);
    }
    return out->num_images > 0 || error_set(error, "there is no image in \"images\"");
}

static bool read_categories(const json_t *root, json_t *ids, CocoAnnotations *out, Error *error) {
    const json_t *list, *item;
    size_t i;
    if (!find_list(root, "categories", &list, error)) return false;
    out->category_names = checked_calloc(json_array_size(list) + 1, sizeof *out->category_names);
    json_array_foreach((json_t *)list, i, item) {
        const char *name = json_string_value(json_object_get(item, "name"));
        char *id = id_text(json_object_get(item, "id"));
        bool fresh = id && name && remember_id(ids, id, (int)i);
        free(id);
        if (!fresh)
            return error_set(error,
                             "number %zu of \"categories\" is %s; expected \"name\" and an "
                             "\"id\" that no other has",
                             i + 1, shown(item).text);
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
    else if (value && (!whole_number(value, &number) || number < 0 || number > 1))
        return error_set(error, "\"iscrowd\" is %s; expected 0 or 1", shown(value).text);
    *is_crowd = number == 1;
    return true;
}

/// Reads one annotation and keeps it unless it is of a crowd.
static bool read_annotation(const json_t *item, const json_t *image_ids, const json_t *category_ids,
                            CocoAnnotations *out, Error *error) {
    const json_t *image_id = json_object_get(item, "image_id"),
                 *category_id = json_object_get(item, "category_id");
    CocoAnnotation annotation = {
        find_id(image_ids, image_id), find_id(category_ids, category_id), {0}};
    bool is_crowd = false;
    if (!json_is_object(item)) return error_set(error, "it is %s", shown(item).text);
    if (!read_is_crowd(item, &is_crowd, error)) return false;
    if (is_crowd) return true;
    if (annotation.image < 0)
        return error_set(error, "\"image_id\" is %s, which \"images\" does not list",
                         shown(image_id).text);
    if (annotation.category < 0)
        return error_set(error, "\"category_id\" is %s, which \"categories\" does not list",
                         shown(category_id).text);
    const CocoImage *image = &out->images[annotation.image];
    if (!read_segmentation(json_object_get(item, "segmentation"), image->height, image->width,
                           &annotation.mask, error))
        return false;
    out->annotations[out->num_annotations++] = annotation;
    return true;
}

static bool read_annotations(const json_t *root, const json_t *image_ids,
                             const json_t *category_ids, CocoAnnotations *out, Error *error) {
    const json_t *list, *item;
    size_t i;
    if (!find_list(root, "annotations", &list, error)) return false;
    out->annotations = checked_calloc(json_array_size(list) + 1, sizeof *out->annotations);
    json_array_foreach((json_t *)list, i, item) {
        if (read_annotation(item, image_ids, category_ids, out, error)) continue;
        char *id = id_text(json_object_get(item, "id"));
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
