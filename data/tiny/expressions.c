// Expressions that name one object of a scene.
#include "data/tiny/language.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

const char *object_relation(const Object *a, const Object *b) {
    float dx = a->x - b->x, dy = a->y - b->y;
    if (fabsf(dx) > fabsf(dy)) return dx < 0 ? "left of" : "right of";
    return dy < 0 ? "above" : "below";
}

/// Which properties an expression names, from the shortest on; position words come last.
typedef struct ExpressionForm {
    bool size, color, material, position;
} ExpressionForm;

static const ExpressionForm FORMS[] = {{0, 0, 0, 0}, {0, 1, 0, 0}, {0, 0, 1, 0},
                                       {1, 0, 0, 0}, {1, 1, 0, 0}, {0, 0, 0, 1},
                                       {0, 1, 1, 0}, {0, 1, 0, 1}, {1, 1, 1, 0}};

static bool form_matches(ExpressionForm form, const Object *a, const Object *b) {
    return a->shape == b->shape && (!form.size || a->size == b->size) &&
           (!form.color || a->color == b->color) &&
           (!form.material || a->material == b->material) &&
           (!form.position || object_position(a) == object_position(b));
}

enum { MAX_FORMS = sizeof FORMS / sizeof *FORMS };

static bool names_place(const char *expression) {
    return strstr(expression, "at the") || strstr(expression, "in the");
}

static int property_expressions(const Scene *scene, int object, char (*expressions)[UTTERANCE_SIZE],
                                int limit) {
    int written = 0;
    const Object *named = &scene->objects[object];
    for (int f = 0; f < MAX_FORMS && written < limit; f++) {
        ExpressionForm form = FORMS[f];
        int matches = 0;
        for (int i = 0; i < scene->num_objects; i++)
            matches += form_matches(form, named, &scene->objects[i]);
        if (matches != 1 || (form.material && !named->material)) continue;
        snprintf(expressions[written++], UTTERANCE_SIZE, "%s%s%s%s%s%s%s%s%s",
                 form.size ? SIZE_NAMES[named->size] : "", form.size ? " " : "",
                 form.color ? COLOR_NAMES[named->color] : "", form.color ? " " : "",
                 form.material ? MATERIAL_NAMES[named->material] : "", form.material ? " " : "",
                 SHAPE_NAMES[named->shape], form.position ? " " : "",
                 form.position ? object_position(named) : "");
    }
    return written;
}

/// The shortest expression without words of place; false if there is none.
static bool shortest_expression(const Scene *scene, int object, char words[UTTERANCE_SIZE]) {
    char all[MAX_FORMS][UTTERANCE_SIZE];
    int count = property_expressions(scene, object, all, MAX_FORMS);
    for (int i = 0; i < count; i++) {
        if (names_place(all[i])) continue;
        memcpy(words, all[i], UTTERANCE_SIZE);
        return true;
    }
    return false;
}

/// "ring left of the blue star", where no other ring is left of it.
static bool neighbour_expression(const Scene *scene, int object, int neighbour,
                                 char words[UTTERANCE_SIZE]) {
    const Object *named = &scene->objects[object], *other = &scene->objects[neighbour];
    char known[UTTERANCE_SIZE];
    if (neighbour == object || !shortest_expression(scene, neighbour, known)) return false;
    const char *relation = object_relation(named, other);
    for (int i = 0; i < scene->num_objects; i++)
        if (i != object && i != neighbour && scene->objects[i].shape == named->shape &&
            !strcmp(object_relation(&scene->objects[i], other), relation))
            return false;
    int length =
        snprintf(words, UTTERANCE_SIZE, "%s %s the %s", SHAPE_NAMES[named->shape], relation, known);
    return length < UTTERANCE_SIZE;
}

int object_expressions(const Scene *scene, int object, char (*expressions)[UTTERANCE_SIZE],
                       int limit) {
    int written = property_expressions(scene, object, expressions, limit);
    for (int i = 0; scene->kind != WORLD_SPACED && i < scene->num_objects && written < limit; i++)
        written += neighbour_expression(scene, object, i, expressions[written]);
    return written;
}

bool placeless_expression(const Scene *scene, int object, Draws *draws,
                          char words[UTTERANCE_SIZE]) {
    char all[MAX_FORMS][UTTERANCE_SIZE];
    int count = property_expressions(scene, object, all, MAX_FORMS), kept = 0;
    for (int i = 0; i < count; i++)
        if (!names_place(all[i])) memmove(all[kept++], all[i], UTTERANCE_SIZE);
    if (!kept) return false;
    memcpy(words, all[draw_below(draws, kept < 3 ? kept : 3)], UTTERANCE_SIZE);
    return true;
}
