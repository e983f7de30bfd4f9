#include "eval/annotations/captions.h"

#include "data/json_values.h"

#include <stdlib.h>

static bool read_images(const json_t *root, json_t *ids, Captions *out, Error *error) {
    const json_t *list, *item;
    size_t i;
    if (!json_find_list(root, "images", &list, error)) return false;
    out->images = checked_calloc(json_array_size(list) + 1, sizeof *out->images);
    json_array_foreach((json_t *)list, i, item) {
        CaptionedImage *image = &out->images[out->count++];
        const char *file_name = json_string_value(json_object_get(item, "file_name"));
        image->id = json_id(json_object_get(item, "id"));
        if (!image->id || !file_name)
            return error_set(error,
                             "number %zu of \"images\" is %s; expected \"id\" and \"file_name\"",
                             i + 1, json_shown(item).text);
        image->file_name = format_string("%s", file_name);
        if (!json_remember_id(ids, image->id, (int)i))
            return error_set(error, "image id %s occurs twice", quote(image->id).text);
    }
    return true;
}

static bool read_captions(const json_t *root, const json_t *ids, Captions *out, Error *error) {
    const json_t *list, *item;
    size_t i;
    if (!json_find_list(root, "annotations", &list, error)) return false;
    json_array_foreach((json_t *)list, i, item) {
        const char *text = json_string_value(json_object_get(item, "caption"));
        int of = json_find_id(ids, json_object_get(item, "image_id"));
        if (!text || of < 0)
            return error_set(error,
                             "annotation %zu is %s; expected a \"caption\" and the \"image_id\" of "
                             "one of \"images\"",
                             i, json_shown(item).text);
        CaptionedImage *image = &out->images[of];
        image->captions = checked_realloc(image->captions, (size_t)(image->num_captions + 1) *
                                                               sizeof *image->captions);
        image->captions[image->num_captions++] = format_string("%s", text);
    }
    return true;
}

static void free_image(CaptionedImage *image) {
    for (int i = 0; i < image->num_captions; i++) free(image->captions[i]);
    free(image->captions);
    free(image->id);
    free(image->file_name);
}

static bool keep_captioned(Captions *out, Error *error) {
    int kept = 0;
    for (int i = 0; i < out->count; i++) {
        if (out->images[i].num_captions)
            out->images[kept++] = out->images[i];
        else
            free_image(&out->images[i]);
    }
    out->count = kept;
    return kept > 0 || error_set(error, "no image has a caption");
}

bool captions_read(const char *path, Captions *out, Error *error) {
    *out = (Captions){0};
    json_t *root = json_file_read_object(path, 0, error);
    if (!root) return false;
    json_t *ids = json_object();
    bool ok = read_images(root, ids, out, error) && read_captions(root, ids, out, error) &&
              keep_captioned(out, error);
    json_decref(ids);
    json_decref(root);
    if (ok) return true;
    captions_free(out);
    return error_context(error, "%s", path);
}

void captions_free(Captions *captions) {
    for (int i = 0; i < captions->count; i++) free_image(&captions->images[i]);
    free(captions->images);
    *captions = (Captions){0};
}
