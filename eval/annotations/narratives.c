#include "eval/annotations/narratives.h"

#include "data/json_values.h"

#include <stdlib.h>
#include <string.h>

void narratives_free(Narratives *all) {
    for (int i = 0; i < all->count; i++) {
        Narrative *narrative = &all->items[i];
        for (int k = 0; k < narrative->num_utterances; k++) {
            free(narrative->utterances[k].text);
            free(narrative->utterances[k].segment_ids);
        }
        free(narrative->utterances);
        free(narrative->caption);
    }
    free(all->items);
    *all = (Narratives){0};
}

/// An id without zeros in front: "000000000139" is 139. The caller frees it.
static char *plain_id(const json_t *value) {
    char *id = json_id(value);
    if (!id) return NULL;
    size_t zeros = strspn(id, "0");
    if (id[zeros] == '\0' && zeros) zeros--;
    memmove(id, id + zeros, strlen(id) - zeros + 1);
    return id;
}

/// A flag that may be absent.
static bool read_flag(const json_t *item, const char *key, bool *flag, Error *error) {
    const json_t *value = json_object_get(item, key);
    int64_t number = json_is_true(value);
    if (value && !json_is_boolean(value) &&
        (!json_whole_number(value, &number) || number < 0 || number > 1))
        return error_set(error, "\"%s\" is %s; expected true or false", key,
                         json_shown(value).text);
    *flag = number == 1;
    return true;
}

static bool read_segment_ids(const json_t *item, const PanopticImage *image, Utterance *utterance,
                             Error *error) {
    const json_t *list, *value;
    size_t i;
    if (!json_find_list(item, "segment_ids", &list, error)) return false;
    utterance->segment_ids =
        checked_calloc(json_array_size(list) + 1, sizeof *utterance->segment_ids);
    json_array_foreach((json_t *)list, i, value) {
        char *text = plain_id(value), *end = text;
        unsigned long long id = text && *text != '-' ? strtoull(text, &end, 10) : 0;
        bool known = text && end > text && !*end && id <= UINT32_MAX &&
                     panoptic_find_segment(image, (uint32_t)id);
        free(text);
        if (!known)
            return error_set(error,
                             "\"segment_ids\" has %s, which is no segment of image %s in the "
                             "panoptic annotations",
                             json_shown(value).text, quote(image->id).text);
        utterance->segment_ids[utterance->num_segments++] = (uint32_t)id;
    }
    return true;
}

static bool read_utterance(const json_t *item, const PanopticImage *image, Utterance *utterance,
                           Error *error) {
    const json_t *text = json_object_get(item, "utterance");
    if (!json_is_string(text))
        return error_set(error, "\"utterance\" is %s; expected a string", json_shown(text).text);
    utterance->text = checked_strdup(json_string_value(text));
    return read_flag(item, "plural", &utterance->is_plural, error) &&
           read_flag(item, "noun", &utterance->is_noun, error) &&
           read_segment_ids(item, image, utterance, error);
}

static bool read_narrative(const json_t *item, const PanopticAnnotations *panoptic,
                           Narrative *narrative, Error *error) {
    const json_t *image_id = json_object_get(item, "image_id"),
                 *caption = json_object_get(item, "caption"), *list, *utterance;
    size_t i;
    char *id = plain_id(image_id);
    narrative->image = id ? panoptic_find_image(panoptic, id) : -1;
    free(id);
    if (narrative->image < 0)
        return error_set(error, "\"image_id\" is %s, which the panoptic annotations do not have",
                         json_shown(image_id).text);
    if (!json_is_string(caption))
        return error_set(error, "\"caption\" is %s; expected a string", json_shown(caption).text);
    narrative->caption = checked_strdup(json_string_value(caption));
    if (!json_find_list(item, "segments", &list, error)) return false;
    narrative->utterances =
        checked_calloc(json_array_size(list) + 1, sizeof *narrative->utterances);
    json_array_foreach((json_t *)list, i, utterance) {
        narrative->num_utterances++;
        if (!read_utterance(utterance, &panoptic->images[narrative->image],
                            &narrative->utterances[i], error))
            return error_context(error, "segment %zu", i);
    }
    return true;
}

bool narratives_read(const char *path, const PanopticAnnotations *panoptic, Narratives *out,
                     Error *error) {
    *out = (Narratives){0};
    json_t *root = json_file_read(path, 0, error);
    if (!root) return false;
    json_t *item;
    size_t i;
    bool ok = json_array_size(root) > 0 ||
              error_set(error, "expected a list of narratives, one at least");
    out->items = checked_calloc(json_array_size(root) + 1, sizeof *out->items);
    json_array_foreach(root, i, item) {
        out->count++;
        ok = read_narrative(item, panoptic, &out->items[i], error) ||
             error_context(error, "narrative %zu", i);
        if (!ok) break;
    }
    json_decref(root);
    if (ok) return true;
    narratives_free(out);
    return error_context(error, "%s", path);
}

UtteranceKind utterance_kind(const Utterance *utterance, const PanopticAnnotations *panoptic,
                             int image, PluralRule rule) {
    const bool is_several = utterance->num_segments > 1;
    const PanopticSegment *segment =
        panoptic_find_segment(&panoptic->images[image], utterance->segment_ids[0]);
    return (UtteranceKind){is_several || panoptic->categories[segment->category].is_thing,
                           rule == PLURAL_BY_FLAG ? utterance->is_plural : is_several};
}
