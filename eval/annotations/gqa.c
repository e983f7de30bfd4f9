#include "eval/annotations/gqa.h"

#include "data/json_values.h"

#include <stdlib.h>
#include <string.h>

static const char ENDING[] = ".json";

/// What the reading goes by: dictionaries from names to indices.
typedef struct GqaReading {
    GqaQuestions *out;
    json_t *ids, *images, *types;
    int capacity;
} GqaReading;

/// The index of a name, which joins the list if it is new; takes the name.
static int index_of(json_t *known, char ***names, int *count, char *name) {
    const json_t *index = json_object_get(known, name);
    if (index) {
        free(name);
        return (int)json_integer_value(index);
    }
    json_remember_id(known, name, *count);
    *names = checked_realloc(*names, ((size_t)*count + 1) * sizeof **names);
    (*names)[*count] = name;
    return (*count)++;
}

static bool read_types(GqaReading *reading, const json_t *value, GqaQuestion *question,
                       Error *error) {
    GqaQuestions *out = reading->out;
    const json_t *types = json_object_get(value, "types");
    const char *structural, *semantic;
    if (!json_is_object(types))
        return error_set(error, "\"types\" is %s; expected an object", json_shown(types).text);
    if (!(structural = json_find_text(types, "structural", error)) ||
        !(semantic = json_find_text(types, "semantic", error)))
        return error_context(error, "types");
    question->structural =
        index_of(reading->types, &out->types, &out->num_types, checked_strdup(structural));
    question->semantic =
        index_of(reading->types, &out->types, &out->num_types, checked_strdup(semantic));
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
        !(image = json_find_text(value, "imageId", error)) ||
        !read_types(reading, value, &question, error))
        return false;
    if (!json_remember_id(reading->ids, id, out->count)) return error_set(error, "occurs twice");
    if (out->count == reading->capacity) {
        reading->capacity = 2 * reading->capacity + 64;
        out->items = checked_realloc(out->items, (size_t)reading->capacity * sizeof *out->items);
    }
    question.id = checked_strdup(id);
    question.text = checked_strdup(text);
    question.answer = checked_strdup(answer);
    question.image =
        index_of(reading->images, &out->images, &out->num_images, format_string("%s.jpg", image));
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
    GqaReading reading = {
        .out = out, .ids = json_object(), .images = json_object(), .types = json_object()};
    bool ok = json_file_read_members(path, read_member, &reading, error) &&
              (out->count || error_set(error, "%s: has no question", path));
    json_decref(reading.ids);
    json_decref(reading.images);
    json_decref(reading.types);
    return ok;
}

void gqa_free(GqaQuestions *questions) {
    for (int i = 0; i < questions->count; i++) {
        free(questions->items[i].id);
        free(questions->items[i].text);
        free(questions->items[i].answer);
    }
    for (int i = 0; i < questions->num_images; i++) free(questions->images[i]);
    for (int i = 0; i < questions->num_types; i++) free(questions->types[i]);
    free(questions->items);
    free(questions->images);
    free(questions->types);
    free(questions->name);
    *questions = (GqaQuestions){0};
}
