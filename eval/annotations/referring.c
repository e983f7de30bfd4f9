// First the pickle: references become objects (by annotation id) and expressions. Then
// instances.json is walked once, and only what is referred to is kept of it: of 200,000 annotations
// some thousand. Masks are made at the end, since images may stand behind annotations.
#include "eval/annotations/referring.h"

#include "checkpoints/torch/pickle.h"
#include "data/coco_segmentation.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void referring_free(ReferringExpressions *all) {
    for (int i = 0; i < all->num_images; i++) {
        free(all->images[i].id);
        free(all->images[i].file_name);
    }
    for (int i = 0; i < all->num_objects; i++) coco_mask_free(&all->objects[i].mask);
    for (int i = 0; i < all->num_expressions; i++) free(all->expressions[i].text);
    free(all->images);
    free(all->objects);
    free(all->expressions);
    *all = (ReferringExpressions){0};
}

// ---- references

typedef struct ReferringReader {
    ReferringExpressions *out;
    /// id -> index into images, objects; what of the references and sentences was there
    json_t *image_ids, *object_ids, *reference_ids, *sentence_ids;
    /// [num_objects] what stands under "segmentation"; NULL until the annotation is met
    json_t **segmentations;
} ReferringReader;

/// A whole number under that key.
static bool take_integer(const PickleValue *dict, const char *key, int64_t *number, Error *error) {
    const PickleValue *value = pickle_get(dict, key);
    if (!value) return error_set(error, "it has no '%s'", key);
    if (value->kind != PICKLE_INT)
        return error_set(error, "its '%s' is %s; expected an int", key,
                         pickle_kind_name(value->kind));
    *number = value->integer;
    return true;
}

static const char *take_text(const PickleValue *dict, const char *key, Error *error) {
    const PickleValue *value = pickle_get(dict, key);
    const char *text = value ? pickle_text(value) : NULL;
    if (!value)
        error_set(error, "it has no '%s'", key);
    else if (!text)
        error_set(error, "its '%s' is %s; expected a string in UTF-8", key,
                  pickle_kind_name(value->kind));
    return text;
}

/// The index that an id has in the dictionary; a new one, `next`, for a new id.
static int index_of(json_t *dictionary, int64_t id, int next) {
    char text[24];
    snprintf(text, sizeof text, "%lld", (long long)id);
    const json_t *index = json_object_get(dictionary, text);
    if (index) return (int)json_integer_value(index);
    json_object_set_new(dictionary, text, json_integer(next));
    return next;
}

static bool is_new(json_t *dictionary, int64_t id) {
    const size_t before = json_object_size(dictionary);
    index_of(dictionary, id, 0);
    return json_object_size(dictionary) > before;
}

static bool find_object(ReferringReader *reader, int64_t annotation_id, int64_t image_id,
                        int *object, Error *error) {
    ReferringExpressions *out = reader->out;
    int image = index_of(reader->image_ids, image_id, out->num_images);
    if (image == out->num_images)
        out->images[out->num_images++].id = format_string("%lld", (long long)image_id);
    *object = index_of(reader->object_ids, annotation_id, out->num_objects);
    if (*object == out->num_objects)
        out->objects[out->num_objects++] = (ReferringObject){annotation_id, image, {0}};
    return out->objects[*object].image == image ||
           error_set(error,
                     "its 'image_id' is %lld, but another reference has annotation %lld in "
                     "image %s",
                     (long long)image_id, (long long)annotation_id,
                     out->images[out->objects[*object].image].id);
}

static bool read_sentences(ReferringReader *reader, const PickleValue *reference, int64_t id,
                           int object, Error *error) {
    ReferringExpressions *out = reader->out;
    const PickleValue *list = pickle_get(reference, "sentences");
    if (!list || list->kind != PICKLE_LIST || list->count == 0)
        return error_set(error, "its 'sentences' are %s; expected a list of at least one",
                         list ? list->count ? pickle_kind_name(list->kind) : "empty" : "missing");
    size_t count = (size_t)out->num_expressions + list->count;
    out->expressions = checked_realloc(out->expressions, count * sizeof *out->expressions);
    for (uint32_t i = 0; i < list->count; i++) {
        int64_t sentence_id = 0;
        const char *text = take_text(list->items[i], "sent", error);
        if (!text || !take_integer(list->items[i], "sent_id", &sentence_id, error))
            return error_context(error, "sentence %u", i);
        if (!is_new(reader->sentence_ids, sentence_id))
            return error_set(error, "sentence %lld occurs twice", (long long)sentence_id);
        out->expressions[out->num_expressions++] =
            (ReferringExpression){id, sentence_id, (int)i, checked_strdup(text), object};
    }
    return true;
}

static bool read_reference(ReferringReader *reader, const PickleValue *reference, const char *split,
                           json_t *splits, Error *error) {
    int64_t id = 0, annotation_id = 0, image_id = 0;
    int object;
    if (reference->kind != PICKLE_DICT)
        return error_set(error, "it is %s; expected a dict", pickle_kind_name(reference->kind));
    const char *its_split = take_text(reference, "split", error);
    if (!its_split) return false;
    json_object_set_new(splits, its_split, json_true());
    if (strcmp(its_split, split) != 0) return true;
    if (!take_integer(reference, "ref_id", &id, error)) return false;
    if (!is_new(reader->reference_ids, id))
        return error_set(error, "reference %lld occurs twice", (long long)id);
    bool ok = take_integer(reference, "ann_id", &annotation_id, error) &&
              take_integer(reference, "image_id", &image_id, error) &&
              find_object(reader, annotation_id, image_id, &object, error) &&
              read_sentences(reader, reference, id, object, error);
    reader->out->num_references++;
    return ok || error_context(error, "ref_id %lld", (long long)id);
}

static bool unknown_split(const char *split, json_t *splits, Error *error) {
    char names[512] = "";
    const char *name;
    json_t *value;
    size_t used = 0;
    json_object_foreach(splits, name, value)
        if (used < sizeof names)
            used += (size_t)snprintf(names + used, sizeof names - used, "%s%s", used ? ", " : "",
                                     quote(name).text);
    return error_set(error, "no reference is of the split '%s'; there are %s", quote(split).text,
                     used ? names : "none at all");
}

static bool read_references(ReferringReader *reader, const char *path, const char *split,
                            Error *error) {
    Pickle *pickle = pickle_open(path, error);
    if (!pickle) return false;
    const PickleValue *root = pickle_root(pickle);
    ReferringExpressions *out = reader->out;
    json_t *splits = json_object();
    bool ok = root->kind == PICKLE_LIST ||
              error_set(error, "%s; expected a list of references", pickle_kind_name(root->kind));
    if (ok) {
        out->images = checked_calloc(root->count + 1, sizeof *out->images);
        out->objects = checked_calloc(root->count + 1, sizeof *out->objects);
    }
    for (uint32_t i = 0; ok && i < root->count; i++)
        ok = read_reference(reader, root->items[i], split, splits, error) ||
             error_context(error, "reference %u", i);
    ok = ok && (out->num_references || unknown_split(split, splits, error));
    json_decref(splits);
    pickle_close(pickle);
    return ok || error_context(error, "%s", path);
}

// ---- instances.json

static bool use_image(void *context, const json_t *item, size_t number, Error *error) {
    const ReferringReader *reader = context;
    int index = json_find_id(reader->image_ids, json_object_get(item, "id"));
    if (index < 0) return true;
    ReferringImage *image = &reader->out->images[index];
    const char *name = json_string_value(json_object_get(item, "file_name"));
    char what[64];
    snprintf(what, sizeof what, "image %s", image->id);
    if (image->file_name) return error_set(error, "image id %s occurs twice", image->id);
    if (!name)
        return error_set(error, "the \"file_name\" of %s (number %zu of \"images\") is %s", what,
                         number + 1, json_shown(json_object_get(item, "file_name")).text);
    image->file_name = checked_strdup(name);
    return coco_side_read(item, "height", what, &image->height, error) &&
           coco_side_read(item, "width", what, &image->width, error);
}

static bool use_annotation(void *context, const json_t *item, size_t number, Error *error) {
    const ReferringReader *reader = context;
    (void)number;
    int index = json_find_id(reader->object_ids, json_object_get(item, "id"));
    if (index < 0) return true;
    const ReferringObject *object = &reader->out->objects[index];
    const char *image = reader->out->images[object->image].id;
    char *image_id = json_id(json_object_get(item, "image_id"));
    bool ok = true;
    if (reader->segmentations[index])
        ok = error_set(error, "annotation id %lld occurs twice", (long long)object->id);
    else if (!image_id || strcmp(image_id, image) != 0)
        ok = error_set(error, "annotation %lld is of image %s, but referred to as in image %s",
                       (long long)object->id, image_id ? quote(image_id).text : "missing", image);
    free(image_id);
    if (!ok) return false;
    const json_t *segmentation = json_object_get(item, "segmentation");
    reader->segmentations[index] = segmentation ? json_incref((json_t *)segmentation) : json_null();
    return true;
}

static bool make_mask(const ReferringReader *reader, int index, Error *error) {
    ReferringObject *object = &reader->out->objects[index];
    const ReferringImage *image = &reader->out->images[object->image];
    const json_t *segmentation = reader->segmentations[index];
    if (!image->file_name)
        return error_set(error, "there is no image %s, which an expression refers to", image->id);
    if (!segmentation)
        return error_set(error, "there is no annotation %lld, which an expression refers to",
                         (long long)object->id);
    if (json_is_array(segmentation) && !json_array_size(segmentation)) {
        object->mask = coco_mask_empty(image->height, image->width);
        return true;
    }
    return coco_segmentation_read(segmentation, image->height, image->width, &object->mask,
                                  error) ||
           error_context(error, "annotation %lld of image %s", (long long)object->id, image->id);
}

static bool read_instances(ReferringReader *reader, const char *path, Error *error) {
    const JsonList lists[] = {{"images", use_image}, {"annotations", use_annotation}};
    reader->segmentations =
        checked_calloc((size_t)reader->out->num_objects + 1, sizeof *reader->segmentations);
    if (!json_file_read_lists(path, lists, 2, reader, error)) return false;
    for (int i = 0; i < reader->out->num_objects; i++)
        if (!make_mask(reader, i, error)) return error_context(error, "%s", path);
    return true;
}

bool referring_read(const char *refs_path, const char *instances_path, const char *split,
                    ReferringExpressions *out, Error *error) {
    *out = (ReferringExpressions){0};
    ReferringReader reader = {out,           json_object(), json_object(),
                              json_object(), json_object(), NULL};
    const char *slash = strrchr(refs_path, '/');
    char *beside =
        format_string("%.*sinstances.json", slash ? (int)(slash - refs_path + 1) : 0, refs_path);
    bool ok = read_references(&reader, refs_path, split, error) &&
              read_instances(&reader, instances_path ? instances_path : beside, error);
    for (int i = 0; reader.segmentations && i < out->num_objects; i++)
        json_decref(reader.segmentations[i]);
    free(reader.segmentations);
    free(beside);
    json_decref(reader.image_ids);
    json_decref(reader.object_ids);
    json_decref(reader.reference_ids);
    json_decref(reader.sentence_ids);
    if (!ok) referring_free(out);
    return ok;
}
