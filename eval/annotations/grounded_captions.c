#include "data/coco_segmentation.h"
#include "eval/annotations/grounded_captions_internal.h"

#include <stdlib.h>

typedef struct CaptionReader {
    GroundedCaptions *out;
    /// id -> index into out->items
    json_t *image_ids;
    /// [count] sides of the images, as the masks' file tells them; 0 where it does not
    int (*sides)[2];
} CaptionReader;

static bool add_image(void *context, const json_t *item, size_t number, Error *error) {
    CaptionReader *reader = context;
    GroundedCaptions *out = reader->out;
    char *id = json_id(json_object_get(item, "id"));
    if (!id)
        return error_set(error, "number %zu of \"images\" is %s; expected an \"id\"", number + 1,
                         json_shown(item).text);
    // Room is doubled: the number of images is known only at the end.
    if (!(out->count & (out->count - 1)))
        out->items = checked_realloc(out->items, (2 * (size_t)out->count + 1) * sizeof *out->items);
    out->items[out->count] = (GroundedCaption){.image_id = id};
    return json_remember_id(reader->image_ids, id, out->count++) ||
           error_set(error, "image id %s occurs twice", quote(id).text);
}

static bool add_caption(void *context, const json_t *item, size_t number, Error *error) {
    CaptionReader *reader = context;
    const json_t *caption = json_object_get(item, "caption");
    int index = json_find_id(reader->image_ids, json_object_get(item, "image_id"));
    if (index < 0)
        return error_set(error,
                         "annotation %zu: \"image_id\" is %s, which \"images\" does not list",
                         number, json_shown(json_object_get(item, "image_id")).text);
    GroundedCaption *out = &reader->out->items[index];
    bool is_first = out->num_captions == 0;
    if (!json_is_string(caption))
        return error_set(error, "image %s: \"caption\" is %s; expected a string",
                         quote(out->image_id).text, json_shown(caption).text);
    grounded_caption_add_text(out, json_string_value(caption));
    return !is_first || grounded_caption_read_phrases(item, "labels", out, error) ||
           error_context(error, "image %s", quote(out->image_id).text);
}

static bool read_captions(CaptionReader *reader, const char *path, Error *error) {
    const JsonList images = {"images", add_image}, annotations = {"annotations", add_caption};
    if (!json_file_read_lists(path, &images, 1, reader, error) ||
        !json_file_read_lists(path, &annotations, 1, reader, error))
        return false;
    if (!reader->out->count) return error_set(error, "%s: there is no image in \"images\"", path);
    for (int i = 0; i < reader->out->count; i++)
        if (!reader->out->items[i].num_captions)
            return error_set(error, "%s: image %s has no caption", path,
                             quote(reader->out->items[i].image_id).text);
    return true;
}

/// A side that may be a number, a string of one, or missing: 0.
static int optional_side(const json_t *value) {
    int64_t number = 0;
    char *end = NULL;
    if (json_is_string(value)) {
        number = strtol(json_string_value(value), &end, 10);
        if (*end) number = 0;
    } else if (!json_whole_number(value, &number)) {
        return 0;
    }
    return number > 0 && number <= COCO_LARGEST_SIDE ? (int)number : 0;
}

static bool note_sides(void *context, const json_t *item, size_t number, Error *error) {
    CaptionReader *reader = context;
    int index = json_find_id(reader->image_ids, json_object_get(item, "id"));
    if (index < 0)
        return error_set(error,
                         "number %zu of \"images\" has the id %s, of which there is no caption",
                         number + 1, json_shown(json_object_get(item, "id")).text);
    reader->sides[index][0] = optional_side(json_object_get(item, "height"));
    reader->sides[index][1] = optional_side(json_object_get(item, "width"));
    return true;
}

static bool read_mask(const CaptionReader *reader, int index, const json_t *segmentation,
                      CocoMask *mask, Error *error) {
    const int *sides = reader->sides[index];
    bool has_size = sides[0] && sides[1];
    if (json_is_object(segmentation) && !has_size) return coco_runs_read(segmentation, mask, error);
    if (!has_size && json_is_array(segmentation))
        return error_set(error, "polygons, but \"images\" does not tell its height and width");
    return coco_segmentation_read(segmentation, sides[0], sides[1], mask, error);
}

static bool add_annotated_mask(void *context, const json_t *item, size_t number, Error *error) {
    CaptionReader *reader = context;
    CocoMask mask;
    int index = json_find_id(reader->image_ids, json_object_get(item, "image_id"));
    if (index < 0)
        return error_set(error, "annotation %zu: \"image_id\" is %s, of which there is no caption",
                         number, json_shown(json_object_get(item, "image_id")).text);
    GroundedCaption *out = &reader->out->items[index];
    return (read_mask(reader, index, json_object_get(item, "segmentation"), &mask, error) &&
            grounded_caption_add_mask(out, &mask, error)) ||
           error_context(error, "annotation %zu (id %s), image %s", number,
                         json_shown(json_object_get(item, "id")).text, quote(out->image_id).text);
}

static bool read_masks(CaptionReader *reader, const char *path, Error *error) {
    const JsonList images = {"images", note_sides},
                   annotations = {"annotations", add_annotated_mask};
    reader->sides = checked_calloc((size_t)reader->out->count, sizeof *reader->sides);
    return json_file_read_lists(path, &images, 1, reader, error) &&
           json_file_read_lists(path, &annotations, 1, reader, error);
}

bool grounded_captions_read(const char *caption_path, const char *mask_path, GroundedCaptions *out,
                            Error *error) {
    *out = (GroundedCaptions){0};
    CaptionReader reader = {out, json_object(), NULL};
    bool ok = read_captions(&reader, caption_path, error) && read_masks(&reader, mask_path, error);
    json_decref(reader.image_ids);
    free(reader.sides);
    if (!ok) grounded_captions_free(out);
    return ok;
}
