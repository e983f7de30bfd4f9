#include "data/tiny/short_questions.h"
#include <stdio.h>
#include <string.h>

const char SHORT_ANSWER_PROMPT[] = "Answer the question using a single word or phrase.";

/// What GQA calls the kinds.
static const struct {
    const char *structural, *semantic, *detailed;
} TYPES[NUM_SHORT_KINDS] = {
    [SHORT_GROUND] = {"query", "global", "place"},
    [SHORT_COLOR] = {"query", "attr", "directOf"},
    [SHORT_PRESENCE] = {"verify", "obj", "exist"},
    [SHORT_PLACE] = {"query", "attr", "positionQuery"},
    [SHORT_RELATION] = {"choose", "rel", "relChooser"},
    [SHORT_COUNT] = {"query", "obj", "count"},
};

static void say(ShortQuestion *question, const char *answer, const char *full_answer) {
    snprintf(question->answer, sizeof question->answer, "%s", answer);
    snprintf(question->full_answer, sizeof question->full_answer, "%s", full_answer);
}

static void ask_ground(const Scene *scene, ShortQuestion *out) {
    char full[UTTERANCE_SIZE];
    snprintf(out->question, sizeof out->question, "What is the ground?");
    snprintf(full, sizeof full, "The ground is %s.", GROUND_NAMES[scene->ground]);
    say(out, GROUND_NAMES[scene->ground], full);
}

static bool ask_color(const Scene *scene, Draws *draws, ShortQuestion *out) {
    char full[UTTERANCE_SIZE];
    const int first = draw_below(draws, scene->num_objects);
    for (int i = 0; i < scene->num_objects; i++) {
        const Object *object = &scene->objects[(first + i) % scene->num_objects];
        const char *shape = SHAPE_NAMES[object->shape], *color = COLOR_NAMES[object->color];
        if (count_shape(scene, object->shape) != 1) continue;
        snprintf(out->question, sizeof out->question, "What color is the %s?", shape);
        snprintf(full, sizeof full, "The %s is %s.", shape, color);
        say(out, color, full);
        return true;
    }
    return false;
}

/// A shape that is there, or one that is not; -1 if there is none.
static int draw_shape(const Scene *scene, Draws *draws, bool is_there) {
    if (is_there) return scene->objects[draw_below(draws, scene->num_objects)].shape;
    const int first = draw_below(draws, NUM_SHAPES);
    for (int i = 0; i < NUM_SHAPES; i++)
        if (!count_shape(scene, (first + i) % NUM_SHAPES)) return (first + i) % NUM_SHAPES;
    return -1;
}

static bool ask_presence(const Scene *scene, Draws *draws, bool is_there, ShortQuestion *out) {
    char full[UTTERANCE_SIZE];
    const int shape = draw_shape(scene, draws, is_there);
    if (shape < 0) return false;
    snprintf(out->question, sizeof out->question, "Is there a %s in the image?",
             SHAPE_NAMES[shape]);
    snprintf(full, sizeof full, is_there ? "Yes, there is a %s." : "No, there is no %s.",
             SHAPE_NAMES[shape]);
    say(out, is_there ? "yes" : "no", full);
    return true;
}

/// An object that words without a place tell from all others, behind `after`; -1 if there is none.
static int find_nameable(const Scene *scene, Draws *draws, int first, int after,
                         char words[UTTERANCE_SIZE]) {
    for (int i = after + 1; i < scene->num_objects; i++)
        if (placeless_expression(scene, (first + i) % scene->num_objects, draws, words)) return i;
    return -1;
}

static bool ask_place(const Scene *scene, Draws *draws, ShortQuestion *out) {
    char words[UTTERANCE_SIZE], full[3 * UTTERANCE_SIZE];
    const int first = draw_below(draws, scene->num_objects),
              found = find_nameable(scene, draws, first, -1, words);
    if (found < 0) return false;
    const char *place = object_position(&scene->objects[(first + found) % scene->num_objects]),
               *the = strstr(place, "the ");
    snprintf(out->question, sizeof out->question, "Where is the %s?", words);
    snprintf(full, sizeof full, "The %s is %s of the image.", words, place);
    say(out, the + strlen("the "), full);
    return true;
}

static bool ask_relation(const Scene *scene, Draws *draws, ShortQuestion *out) {
    char words[UTTERANCE_SIZE], others[UTTERANCE_SIZE], full[3 * UTTERANCE_SIZE];
    const int first = draw_below(draws, scene->num_objects),
              a = find_nameable(scene, draws, first, -1, words),
              b = a < 0 ? -1 : find_nameable(scene, draws, first, a, others);
    if (b < 0) return false;
    const char *relation = object_relation(&scene->objects[(first + a) % scene->num_objects],
                                           &scene->objects[(first + b) % scene->num_objects]);
    snprintf(out->question, sizeof out->question,
             "Is the %s left of, right of, above or below the %s?", words, others);
    snprintf(full, sizeof full, "The %s is %s the %s.", words, relation, others);
    say(out, relation, full);
    return true;
}

static bool ask_count(const Scene *scene, Draws *draws, ShortQuestion *out) {
    char full[UTTERANCE_SIZE];
    const int shape = draw_shape(scene, draws, true), count = count_shape(scene, shape);
    if (count > MAX_COUNTED) return false;
    const char *ending = plural_ending(shape), *name = SHAPE_NAMES[shape];
    snprintf(out->question, sizeof out->question, "How many %s%s are there?", name, ending);
    snprintf(full, sizeof full, "There %s %s %s%s.", count == 1 ? "is" : "are", number_word(count),
             name, count == 1 ? "" : ending);
    say(out, number_word(count), full);
    return true;
}

bool short_question_make(const Scene *scene, Draws *draws, ShortKind kind, ShortQuestion *out) {
    switch (kind) {
    case SHORT_GROUND:
        ask_ground(scene, out);
        return true;
    case SHORT_COLOR:
        return ask_color(scene, draws, out);
    case SHORT_PRESENCE: {
        const bool is_there = draw_chance(draws, 0.5f);
        return ask_presence(scene, draws, is_there, out) || ask_presence(scene, draws, true, out);
    }
    case SHORT_PLACE:
        return ask_place(scene, draws, out);
    case SHORT_RELATION:
        return ask_relation(scene, draws, out);
    case SHORT_COUNT:
        return ask_count(scene, draws, out);
    case NUM_SHORT_KINDS:
        break;
    }
    return false;
}

// ---- GQA

static void add_question(json_t *questions, ShortKind kind, int image_id, int *number,
                         const ShortQuestion *question) {
    char id[24], image[24];
    snprintf(id, sizeof id, "%d%02d", image_id, (*number)++);
    snprintf(image, sizeof image, "%012d", image_id);
    json_object_set_new(questions, id,
                        json_pack("{s:s, s:s, s:s, s:s, s:b, s:{s:s, s:s, s:s}}", "question",
                                  question->question, "imageId", image, "answer", question->answer,
                                  "fullAnswer", question->full_answer, "isBalanced", 1, "types",
                                  "structural", TYPES[kind].structural, "semantic",
                                  TYPES[kind].semantic, "detailed", TYPES[kind].detailed));
}

void short_questions_add(json_t *questions, const Scene *scene, int image_id, Draws *draws) {
    ShortQuestion question;
    int number = 0;
    for (ShortKind kind = 0; kind < NUM_SHORT_KINDS; kind++) {
        const bool is_presence = kind == SHORT_PRESENCE;
        if (is_presence ? ask_presence(scene, draws, true, &question)
                        : short_question_make(scene, draws, kind, &question))
            add_question(questions, kind, image_id, &number, &question);
        if (is_presence && ask_presence(scene, draws, false, &question))
            add_question(questions, kind, image_id, &number, &question);
    }
}
