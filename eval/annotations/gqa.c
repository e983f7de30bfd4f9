#include "eval/annotations/gqa.h"

#include "autograd/text/byte_buffer.h"
#include "data/json_values.h"

#include <stdlib.h>
#include <string.h>

static const char ENDING[] = ".json";

const char *const GQA_STRUCTURAL[] = {"query", "verify", "choose", "logical", "compare"};
const char *const GQA_SEMANTIC[] = {"attr", "obj", "rel", "cat", "global"};

/// What the reading goes by: dictionaries from names to indices.
typedef struct GqaReading {
    GqaQuestions *out;
    json_t *ids, *images;
    int capacity;
} GqaReading;

static int image_of(GqaReading *reading, const char *image_id) {
    GqaQuestions *out = reading->out;
    const json_t *known = json_object_get(reading->images, image_id);
    if (known) return (int)json_integer_value(known);
    json_remember_id(reading->images, image_id, out->num_images);
    out->images = checked_realloc(out->images, ((size_t)out->num_images + 1) * sizeof *out->images);
    out->images[out->num_images] = format_string("%s.jpg", image_id);
    return out->num_images++;
}

static bool read_type(const json_t *types, const char *key, const char *const *names, int count,
                      int *type, Error *error) {
    const json_t *value = json_object_get(types, key);
    const char *name = json_string_value(value);
    ByteBuffer expected = {0};
    for (*type = 0; *type < count; ++*type) {
        if (name && !strcmp(name, names[*type])) break;
        byte_buffer_print(&expected, "%s%s", *type ? ", " : "", names[*type]);
    }
    const bool ok = *type < count || error_set(error, "types: \"%s\" is %s; expected one of %s",
                                               key, json_shown(value).text, expected.data);
    byte_buffer_free(&expected);
    return ok;
}

static bool read_types(const json_t *value, GqaQuestion *question, Error *error) {
    const json_t *types = json_object_get(value, "types");
    if (!json_is_object(types))
        return error_set(error, "\"types\" is %s; expected an object", json_shown(types).text);
    if (!read_type(types, "structural", GQA_STRUCTURAL, NUM_GQA_STRUCTURAL, &question->structural,
                   error) ||
        !read_type(types, "semantic", GQA_SEMANTIC, NUM_GQA_SEMANTIC, &question->semantic, error))
        return false;
    question->is_open = !strcmp(GQA_STRUCTURAL[question->structural], "query");
    return true;
}

static bool read_question(GqaReading *reading, const char *id, const json_t *value, Error *error) {
    GqaQuestions *out = reading->out;
    const json_t *balanced = json_object_get(value, "isBalanced");
    const char *text, *answer, *image;
    GqaQuestion question = {.is_balanced = !balanced || json_is_true(balanced)};
    if (!json_is_object(value))
        return error_set(error, "is %s; expected an object", json_shown(value).text);
    if (balanced && !json_is_boolean(balanced))
        return error_set(error, "\"isBalanced\" is %s; expected true or false",
                         json_shown(balanced).text);
    if (!(text = json_find_text(value, "question", error)) ||
        !(answer = json_find_text(value, "answer", error)) ||
        !(image = json_find_text(value, "imageId", error)) || !read_types(value, &question, error))
        return false;
    if (!json_remember_id(reading->ids, id, out->count)) return error_set(error, "occurs twice");
    if (out->count == reading->capacity) {
        reading->capacity = 2 * reading->capacity + 64;
        out->items = checked_realloc(out->items, (size_t)reading->capacity * sizeof *out->items);
    }
    question.id = checked_strdup(id);
    question.text = checked_strdup(text);
    question.answer = checked_strdup(answer);
    question.image = image_of(reading, image);
    out->items[out->count++] = question;
    return true;
}

static bool read_member(void *context, const char *id, const json_t *value, Error *error) {
    return read_question(context, id, value, error) ||
           error_context(error, "question %s", quote(id).text);
}

static char *bare_name(const char *path) {
    const char *slash = strrchr(path, '/'), *name = slash ? slash + 1 : path;
    size_t length = strlen(name), ending = strlen(ENDING);
    if (length > ending && !strcmp(name + length - ending, ENDING)) length -= ending;
    return format_string("%.*s", (int)length, name);
}

bool gqa_read(const char *path, GqaQuestions *out, Error *error) {
    *out = (GqaQuestions){.name = bare_name(path)};
    GqaReading reading = {.out = out, .ids = json_object(), .images = json_object()};
    bool ok = json_file_read_members(path, read_member, &reading, error) &&
              (out->count || error_set(error, "%s: has no question", path));
    json_decref(reading.ids);
    json_decref(reading.images);
    return ok;
}

void gqa_free(GqaQuestions *questions) {
    for (int i = 0; i < questions->count; i++) {
        free(questions->items[i].id);
        free(questions->items[i].text);
        free(questions->items[i].answer);
    }
    for (int i = 0; i < questions->num_images; i++) free(questions->images[i]);
    free(questions->items);
    free(questions->images);
    free(questions->name);
    *questions = (GqaQuestions){0};
}
