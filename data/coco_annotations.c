#include "data/coco_annotations.h"

#include "data/coco_segmentation.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

// ---- lists of the file, an element at a time

typedef struct AnnotationReader {
    CocoAnnotations *out;
    /// id -> index
    json_t *image_ids, *category_ids;
    bool with_crowds;
} AnnotationReader;

/// Makes room for one more in a list that grows by doubling.
static void *grown(void *list, int count, size_t size) {
    if (count & (count - 1)) return list;
    return checked_realloc(list, (2 * (size_t)count + 1) * size);
}

static bool add_image(void *context, const json_t *item, size_t number, Error *error) {
    AnnotationReader *reader = context;
    CocoAnnotations *out = reader->out;
    out->images = grown(out->images, out->num_images, sizeof *out->images);
    CocoImage *image = &out->images[out->num_images++];
    const char *file_name = json_string_value(json_object_get(item, "file_name"));
    char what[sizeof(Quoted) + 8];
    *image = (CocoImage){.id = json_id(json_object_get(item, "id"))};
    if (!image->id || !file_name)
        return error_set(error, "number %zu of \"images\" is %s; expected \"id\" and \"file_name\"",
                         number + 1, json_shown(item).text);
    image->file_name = checked_strdup(file_name);
    snprintf(what, sizeof what, "image %s", quote(image->id).text);
    return coco_side_read(item, "height", what, &image->height, error) &&
           coco_side_read(item, "width", what, &image->width, error) &&
           (json_remember_id(reader->image_ids, image->id, out->num_images - 1) ||
            error_set(error, "image id %s occurs twice", quote(image->id).text));
}

static bool add_category(void *context, const json_t *item, size_t number, Error *error) {
    AnnotationReader *reader = context;
    CocoAnnotations *out = reader->out;
    const char *name = json_string_value(json_object_get(item, "name"));
    char *id = json_id(json_object_get(item, "id"));
    if (!id || !name || !json_remember_id(reader->category_ids, id, out->num_categories)) {
        free(id);
        return error_set(error,
                         "number %zu of \"categories\" is %s; expected \"name\" and an \"id\" "
                         "that no other has",
                         number + 1, json_shown(item).text);
    }
    const int n = out->num_categories++;
    out->category_names = grown(out->category_names, n, sizeof *out->category_names);
    out->category_ids = grown(out->category_ids, n, sizeof *out->category_ids);
    out->category_names[n] = checked_strdup(name);
    out->category_ids[n] = id;
    return true;
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

/// Area and box, of the mask where the file does not tell them.
static bool read_extent(const json_t *item, CocoAnnotation *annotation, Error *error) {
    const json_t *area = json_object_get(item, "area"), *box = json_object_get(item, "bbox");
    annotation->area = area ? json_number_value(area) : (double)coco_mask_area(&annotation->mask);
    if (area && (!json_is_number(area) || annotation->area < 0))
        return error_set(error, "\"area\" is %s; expected a number of pixels",
                         json_shown(area).text);
    coco_mask_box(&annotation->mask, annotation->box);
    for (size_t i = 0; box && i < 4; i++) {
        const json_t *value = json_array_get(box, i);
        if (!json_is_number(value) || json_array_size(box) != 4)
            return error_set(error, "\"bbox\" is %s; expected x, y, width and height",
                             json_shown(box).text);
        annotation->box[i] = json_number_value(value);
    }
    return true;
}

static bool read_annotation(AnnotationReader *reader, const json_t *item,
                            CocoAnnotation *annotation, Error *error) {
    const json_t *image_id = json_object_get(item, "image_id"),
                 *category_id = json_object_get(item, "category_id");
    annotation->image = json_find_id(reader->image_ids, image_id);
    annotation->category = json_find_id(reader->category_ids, category_id);
    if (annotation->image < 0)
        return error_set(error, "\"image_id\" is %s, which \"images\" does not list",
                         json_shown(image_id).text);
    if (annotation->category < 0)
        return error_set(error, "\"category_id\" is %s, which \"categories\" does not list",
                         json_shown(category_id).text);
    const CocoImage *image = &reader->out->images[annotation->image];
    if (!coco_segmentation_read(json_object_get(item, "segmentation"), image->height, image->width,
                                &annotation->mask, error))
        return false;
    if (read_extent(item, annotation, error)) return true;
    coco_mask_free(&annotation->mask);
    return false;
}

/// Keeps the annotation unless it is of a crowd and those are left out.
static bool add_annotation(void *context, const json_t *item, size_t number, Error *error) {
    AnnotationReader *reader = context;
    CocoAnnotations *out = reader->out;
    CocoAnnotation annotation = {0};
    bool ok = json_is_object(item) || error_set(error, "it is %s", json_shown(item).text);
    ok = ok && read_is_crowd(item, &annotation.is_crowd, error);
    if (ok && annotation.is_crowd && !reader->with_crowds) return true;
    if (ok && read_annotation(reader, item, &annotation, error)) {
        out->annotations = grown(out->annotations, out->num_annotations, sizeof annotation);
        out->annotations[out->num_annotations++] = annotation;
        return true;
    }
    char *id = json_id(json_object_get(item, "id"));
    if (id)
        error_context(error, "annotation %zu (id %s)", number, quote(id).text);
    else
        error_context(error, "annotation %zu", number);
    free(id);
    return false;
}

// ---- the file

/// Gathers the annotations of each image, in the file's order.
static void sort_by_image(CocoAnnotations *all) {
    CocoAnnotation *sorted =
        checked_malloc(((size_t)all->num_annotations + 1) * sizeof *all->annotations);
    int next = 0;
    for (int i = 0; i < all->num_annotations; i++)
        all->images[all->annotations[i].image].num_annotations++;
    for (int i = 0; i < all->num_images; i++) {
        all->images[i].first_annotation = next;
        next += all->images[i].num_annotations;
        all->images[i].num_annotations = 0;
    }
    for (int i = 0; i < all->num_annotations; i++) {
        CocoImage *image = &all->images[all->annotations[i].image];
        sorted[image->first_annotation + image->num_annotations++] = all->annotations[i];
    }
    free(all->annotations);
    all->annotations = sorted;
}

static bool read_lists(AnnotationReader *reader, const char *path, Error *error) {
    const JsonList lists[] = {{"images", add_image}, {"categories", add_category}},
                   annotations = {"annotations", add_annotation};
    if (!json_file_read_lists(path, lists, 2, reader, error)) return false;
    if (!reader->out->num_images)
        return error_set(error, "%s: there is no image in \"images\"", path);
    if (!reader->out->num_categories)
        return error_set(error, "%s: there is no category in \"categories\"", path);
    // They refer to the others, which may stand behind them.
    if (!json_file_read_lists(path, &annotations, 1, reader, error)) return false;
    sort_by_image(reader->out);
    return true;
}

static bool read_file(const char *path, bool with_crowds, CocoAnnotations *out, Error *error) {
    *out = (CocoAnnotations){0};
    AnnotationReader reader = {out, json_object(), json_object(), with_crowds};
    bool ok = read_lists(&reader, path, error);
    json_decref(reader.image_ids);
    json_decref(reader.category_ids);
    if (!ok) coco_annotations_free(out);
    return ok;
}

bool coco_annotations_read(const char *path, CocoAnnotations *out, Error *error) {
    return read_file(path, false, out, error);
}

bool coco_annotations_read_all(const char *path, CocoAnnotations *out, Error *error) {
    return read_file(path, true, out, error);
}

void coco_annotations_free(CocoAnnotations *annotations) {
    for (int i = 0; i < annotations->num_images; i++) {
        free(annotations->images[i].id);
        free(annotations->images[i].file_name);
    }
    for (int i = 0; i < annotations->num_categories; i++) {
        free(annotations->category_names[i]);
        free(annotations->category_ids[i]);
    }
    for (int i = 0; i < annotations->num_annotations; i++)
        coco_mask_free(&annotations->annotations[i].mask);
    free(annotations->images);
    free(annotations->category_names);
    free(annotations->category_ids);
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

// ---- order of images

typedef struct ImageOrder {
    const char *id;
    int image;
    /// all ids are whole numbers
    bool by_number;
} ImageOrder;

static bool is_number(const char *id) {
    const char *digits = id + (*id == '-');
    return *digits && digits[strspn(digits, "0123456789")] == '\0';
}

/// Of numbers of any length, without zeros in front.
static int compare_numbers(const char *a, const char *b) {
    if ((*a == '-') != (*b == '-')) return *a == '-' ? -1 : 1;
    const int sign = *a == '-' ? -1 : 1;
    const size_t x = strlen(a), y = strlen(b);
    return sign * (x != y ? (x < y ? -1 : 1) : strcmp(a, b));
}

static int by_id(const void *a, const void *b) {
    const ImageOrder *x = a, *y = b;
    return x->by_number ? compare_numbers(x->id, y->id) : strcmp(x->id, y->id);
}

void coco_order_images(const CocoAnnotations *annotations, int *places) {
    const int count = annotations->num_images;
    ImageOrder *order = checked_malloc(((size_t)count + 1) * sizeof *order);
    bool by_number = true;
    for (int i = 0; i < count; i++) by_number &= is_number(annotations->images[i].id);
    for (int i = 0; i < count; i++)
        order[i] = (ImageOrder){annotations->images[i].id, i, by_number};
    qsort(order, (size_t)count, sizeof *order, by_id);
    for (int i = 0; i < count; i++) places[order[i].image] = i;
    free(order);
}
