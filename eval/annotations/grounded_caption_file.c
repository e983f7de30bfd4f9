// One image's caption: memory, and the prediction's file.
#include "autograd/output/output_file.h"
#include "data/coco_segmentation.h"
#include "eval/annotations/grounded_captions_internal.h"

#include <stdlib.h>
#include <string.h>

static void free_texts(char **texts, int count) {
    for (int i = 0; i < count; i++) free(texts[i]);
    free(texts);
}

void grounded_caption_free(GroundedCaption *caption) {
    free(caption->image_id);
    free_texts(caption->captions, caption->num_captions);
    free_texts(caption->phrases, caption->num_phrases);
    for (int i = 0; i < caption->num_masks; i++) coco_mask_free(&caption->masks[i]);
    free(caption->masks);
    free(caption->points);
    *caption = (GroundedCaption){0};
}

void grounded_captions_free(GroundedCaptions *captions) {
    for (int i = 0; i < captions->count; i++) grounded_caption_free(&captions->items[i]);
    free(captions->items);
    *captions = (GroundedCaptions){0};
}

/// Appends a text to a growing list.
static void add_text(char ***texts, int *count, const char *text) {
    *texts = checked_realloc(*texts, ((size_t)*count + 1) * sizeof **texts);
    (*texts)[(*count)++] = checked_strdup(text);
}

void grounded_caption_add_text(GroundedCaption *out, const char *text) {
    add_text(&out->captions, &out->num_captions, text);
}

bool grounded_caption_read_phrases(const json_t *item, const char *key, GroundedCaption *out,
                                   Error *error) {
    const json_t *list, *phrase;
    size_t i;
    if (!json_find_list(item, key, &list, error)) return false;
    json_array_foreach((json_t *)list, i, phrase) {
        if (!json_is_string(phrase))
            return error_set(error, "number %zu of \"%s\" is %s; expected a string", i + 1, key,
                             json_shown(phrase).text);
        add_text(&out->phrases, &out->num_phrases, json_string_value(phrase));
    }
    return true;
}

bool grounded_caption_add_mask(GroundedCaption *out, CocoMask *mask, Error *error) {
    const CocoMask *first = out->masks;
    if (out->num_masks && (mask->height != first->height || mask->width != first->width)) {
        error_set(error, "a mask of %d x %d pixels; the image's first is %d x %d", mask->width,
                  mask->height, first->width, first->height);
        coco_mask_free(mask);
        return false;
    }
    out->masks = checked_realloc(out->masks, ((size_t)out->num_masks + 1) * sizeof *out->masks);
    out->masks[out->num_masks++] = *mask;
    return true;
}

// ---- predictions

static bool read_points(const json_t *item, GroundedCaption *out, Error *error) {
    const json_t *list, *point;
    size_t i;
    if (!json_find_list(item, "points", &list, error)) return false;
    out->points = checked_calloc(json_array_size(list) + 1, sizeof *out->points);
    json_array_foreach((json_t *)list, i, point) {
        int64_t x = -1, y = -1;
        bool ok = json_array_size(point) == 2 && json_whole_number(json_array_get(point, 0), &x) &&
                  json_whole_number(json_array_get(point, 1), &y) && x >= 0 && y >= 0 &&
                  x < COCO_LARGEST_SIDE && y < COCO_LARGEST_SIDE;
        if (!ok)
            return error_set(error, "number %zu of \"points\" is %s; expected a pixel's [x,y]",
                             i + 1, json_shown(point).text);
        out->points[out->num_points++] = (MaskPoint){(int)x, (int)y};
    }
    return out->num_points == 0 || out->num_points == out->num_masks ||
           error_set(error, "%d \"points\" and %d \"pred_masks\"; expected as many, or no points",
                     out->num_points, out->num_masks);
}

static bool read_prediction(const json_t *item, const char *name, GroundedCaption *out,
                            Error *error) {
    const json_t *id = json_object_get(item, "image_id"),
                 *caption = json_object_get(item, "caption"), *list, *runs;
    size_t i;
    out->image_id = id ? json_id(id) : checked_strdup(name);
    if (!out->image_id)
        return error_set(error, "\"image_id\" is %s; expected a string", json_shown(id).text);
    if (!json_is_string(caption))
        return error_set(error, "\"caption\" is %s; expected a string", json_shown(caption).text);
    grounded_caption_add_text(out, json_string_value(caption));
    if (!grounded_caption_read_phrases(item, "phrases", out, error) ||
        !json_find_list(item, "pred_masks", &list, error))
        return false;
    json_array_foreach((json_t *)list, i, runs) {
        CocoMask mask;
        if (!coco_runs_read(runs, &mask, error) || !grounded_caption_add_mask(out, &mask, error))
            return error_context(error, "number %zu of \"pred_masks\"", i + 1);
    }
    return read_points(item, out, error);
}

/// The one value of an object, if that is an object with a caption; otherwise the object.
static const json_t *unnest(const json_t *root) {
    json_t *object = (json_t *)root;
    const json_t *inner = json_object_iter_value(json_object_iter(object));
    return json_object_get(inner, "caption") ? inner : root;
}

bool grounded_caption_read(const char *path, GroundedCaption *out, Error *error) {
    *out = (GroundedCaption){0};
    json_t *root = json_file_read_object(path, 0, error);
    if (!root) return false;
    const char *slash = strrchr(path, '/'), *base = slash ? slash + 1 : path,
               *dot = strrchr(base, '.');
    char *name = format_string("%.*s", (int)(dot ? (size_t)(dot - base) : strlen(base)), base);
    bool ok = read_prediction(unnest(root), name, out, error) || error_context(error, "%s", path);
    free(name);
    json_decref(root);
    if (!ok) grounded_caption_free(out);
    return ok;
}

/// The prediction as a value; NULL if one of its texts is not UTF-8.
static json_t *prediction_value(const GroundedCaption *caption) {
    json_t *root = json_object(), *phrases = json_array(), *masks = json_array(),
           *points = json_array();
    const char *text = caption->num_captions ? caption->captions[0] : "";
    bool ok = !json_object_set_new(root, "image_id", json_string(caption->image_id)) &&
              !json_object_set_new(root, "caption", json_string(text));
    for (int i = 0; i < caption->num_phrases; i++)
        ok = !json_array_append_new(phrases, json_string(caption->phrases[i])) && ok;
    for (int i = 0; i < caption->num_masks; i++)
        json_array_append_new(masks, coco_runs_write(&caption->masks[i]));
    for (int i = 0; i < caption->num_points; i++)
        json_array_append_new(points,
                              json_pack("[i,i]", caption->points[i].x, caption->points[i].y));
    json_object_set_new(root, "phrases", phrases);
    json_object_set_new(root, "pred_masks", masks);
    if (caption->num_points) json_object_set(root, "points", points);
    json_decref(points);
    if (ok) return root;
    json_decref(root);
    return NULL;
}

bool grounded_caption_write(const char *path, const GroundedCaption *caption, Error *error) {
    json_t *root = prediction_value(caption);
    char *text = root ? json_dumps(root, JSON_COMPACT) : NULL;
    json_decref(root);
    bool ok = text ? output_whole_file(path, text, strlen(text), error)
                   : error_set(error, "%s: a text of image %s is not UTF-8", path,
                               quote(caption->image_id).text);
    free(text);
    return ok;
}
