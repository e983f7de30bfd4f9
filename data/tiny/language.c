#include "data/tiny/language.h"
#include "autograd/error.h"
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const char DESCRIBE_PROMPT[] = "Describe the image in detail.";

static const char *const NUMBERS[] = {"no", "one", "two", "three", "four", "five"};
static const char *const POSITIONS[3][3] = {
    {"at the top left", "at the top", "at the top right"},
    {"at the left", "in the middle", "at the right"},
    {"at the bottom left", "at the bottom", "at the bottom right"}};

static void shuffle(int *values, int count, Draws *draws) {
    for (int i = count - 1; i > 0; i--) {
        int j = draw_below(draws, i + 1), kept = values[i];
        values[i] = values[j];
        values[j] = kept;
    }
}

static int shuffled_objects(const Scene *scene, Draws *draws, int order[MAX_OBJECTS]) {
    for (int i = 0; i < scene->num_objects; i++) order[i] = i;
    shuffle(order, scene->num_objects, draws);
    return scene->num_objects;
}

/// The objects that people would name, in random order: the MAX_COUNTED with most visible pixels.
static int salient_objects(const Scene *scene, Draws *draws, int order[MAX_OBJECTS]) {
    int count = 0;
    for (int i = 0; i < scene->num_objects; i++) {
        int larger = 0, area = scene->objects[i].area;
        for (int k = 0; k < scene->num_objects; k++)
            larger += scene->objects[k].area > area || (scene->objects[k].area == area && k < i);
        if (larger < MAX_COUNTED) order[count++] = i;
    }
    shuffle(order, count, draws);
    return count;
}

const char *plural_ending(int shape) { return !strcmp(SHAPE_NAMES[shape], "cross") ? "es" : "s"; }

int count_shape(const Scene *scene, int shape) {
    int count = 0;
    for (int i = 0; i < scene->num_objects; i++) count += scene->objects[i].shape == shape;
    return count;
}

const char *number_word(int count) {
    CHECK(count >= 0 && count <= MAX_COUNTED, "there is no word for %d", count);
    return NUMBERS[count];
}

const char *object_position(const Object *object) {
    return POSITIONS[scene_third(object->y)][scene_third(object->x)];
}

void object_phrase(const Object *object, char words[UTTERANCE_SIZE]) {
    snprintf(words, UTTERANCE_SIZE, "%s %s%s%s %s", SIZE_NAMES[object->size],
             COLOR_NAMES[object->color], object->material ? " " : "",
             MATERIAL_NAMES[object->material], SHAPE_NAMES[object->shape]);
}

static Segment *add_segment(Caption *caption, const char *words) {
    CHECK(caption->num_segments < MAX_SEGMENTS, "caption of more than %d segments", MAX_SEGMENTS);
    Segment *segment = &caption->segments[caption->num_segments++];
    *segment = (Segment){0};
    snprintf(segment->words, sizeof segment->words, "%s", words);
    return segment;
}

/// One phrase of the caption: one object, or all objects of its shape.
static void add_phrase(Caption *caption, const Scene *scene, int object, bool together,
                       bool first) {
    char phrase[UTTERANCE_SIZE], words[UTTERANCE_SIZE + 8];
    const Object *named = &scene->objects[object];
    int count = count_shape(scene, named->shape);
    object_phrase(named, phrase);
    if (together)
        snprintf(words, sizeof words, "%s %s%s", NUMBERS[count], SHAPE_NAMES[named->shape],
                 plural_ending(named->shape));
    else
        snprintf(words, sizeof words, "a %s", phrase);
    if (first) words[0] = (char)(words[0] - 'a' + 'A');
    Segment *segment = add_segment(caption, words);
    for (int i = 0; i < scene->num_objects; i++)
        if (together ? scene->objects[i].shape == named->shape : i == object)
            segment->objects[segment->num_objects++] = i;
}

void caption_make(Caption *caption, const Scene *scene, Draws *draws, bool grouped) {
    int order[MAX_OBJECTS], phrases[MAX_OBJECTS], num_phrases = 0;
    bool together[NUM_SHAPES] = {false}, named[NUM_SHAPES] = {false};
    int count = salient_objects(scene, draws, order);
    for (int shape = 0; grouped && shape < NUM_SHAPES; shape++)
        together[shape] = count_shape(scene, shape) > 1 && draw_chance(draws, 0.5f);
    for (int i = 0; i < count; i++) {
        int shape = scene->objects[order[i]].shape;
        if (together[shape] && named[shape]) continue;
        named[shape] = true;
        phrases[num_phrases++] = order[i];
    }
    caption->num_segments = 0;
    for (int i = 0; i < num_phrases; i++) {
        if (i) add_segment(caption, i == num_phrases - 1 ? "and" : ",");
        add_phrase(caption, scene, phrases[i], together[scene->objects[phrases[i]].shape], i == 0);
    }
    char words[UTTERANCE_SIZE];
    snprintf(words, sizeof words, "the %s", GROUND_NAMES[scene->ground]);
    add_segment(caption, "on");
    add_segment(caption, words)->is_ground = true;
    add_segment(caption, ".");
}

void caption_append(const Caption *caption, ByteBuffer *text) {
    for (int i = 0; i < caption->num_segments; i++) {
        const char *words = caption->segments[i].words;
        bool glued = i == 0 || words[0] == ',' || words[0] == '.';
        byte_buffer_print(text, "%s%s", glued ? "" : " ", words);
    }
}

static void ask_count(const Scene *scene, Draws *draws, ByteBuffer *question, ByteBuffer *answer) {
    if (scene->num_objects <= MAX_COUNTED && draw_chance(draws, 0.4f)) {
        bool single = scene->num_objects == 1;
        byte_buffer_print(question, "How many objects are there?");
        byte_buffer_print(answer, "There %s %s object%s.", single ? "is" : "are",
                          NUMBERS[scene->num_objects], single ? "" : "s");
        return;
    }
    int shape = draw_chance(draws, 0.85f)
                    ? scene->objects[draw_below(draws, scene->num_objects)].shape
                    : draw_below(draws, NUM_SHAPES);
    int count = count_shape(scene, shape);
    byte_buffer_print(question, "How many %s%s are there?", SHAPE_NAMES[shape],
                      plural_ending(shape));
    byte_buffer_print(answer, "There %s %s %s%s.", count == 1 ? "is" : "are", NUMBERS[count],
                      SHAPE_NAMES[shape], count == 1 ? "" : plural_ending(shape));
}

/// That of the object, or another. Crowded scenes have half of all shapes, so that any other would
/// make three answers in four a yes: there it is one that is not in the scene, if there is one.
static int shape_to_ask_about(const Scene *scene, Draws *draws, int object) {
    if (draw_chance(draws, 0.5f)) return scene->objects[object].shape;
    int shape = draw_below(draws, NUM_SHAPES);
    for (int i = 1; scene->kind == WORLD_CROWDED && count_shape(scene, shape) && i < NUM_SHAPES;
         i++)
        shape = (shape + 1) % NUM_SHAPES;
    return shape;
}

static void ask_presence(const Scene *scene, Draws *draws, ByteBuffer *question,
                         ByteBuffer *answer) {
    int object = draw_below(draws, scene->num_objects);
    int shape = shape_to_ask_about(scene, draws, object);
    byte_buffer_print(question, "Is there a %s in the image?", SHAPE_NAMES[shape]);
    if (!count_shape(scene, shape)) {
        byte_buffer_print(answer, "No, there is no %s.", SHAPE_NAMES[shape]);
        return;
    }
    char phrase[UTTERANCE_SIZE];
    while (scene->objects[object].shape != shape) object = (object + 1) % scene->num_objects;
    object_phrase(&scene->objects[object], phrase);
    byte_buffer_print(answer, "Yes, there is a %s.", phrase);
}

/// Position or relation of objects that an expression can name; false if there are none.
static bool ask_place(const Scene *scene, Draws *draws, ByteBuffer *question, ByteBuffer *answer) {
    int order[MAX_OBJECTS] = {0};
    char first[UTTERANCE_SIZE], second[UTTERANCE_SIZE];
    int count = shuffled_objects(scene, draws, order);
    const Object *a = &scene->objects[order[0]];
    if (!placeless_expression(scene, order[0], draws, first)) return false;
    if (count > 1 && draw_chance(draws, 0.5f) &&
        placeless_expression(scene, order[1], draws, second)) {
        byte_buffer_print(question, "Is the %s left of, right of, above or below the %s?", first,
                          second);
        byte_buffer_print(answer, "The %s is %s the %s.", first,
                          object_relation(a, &scene->objects[order[1]]), second);
    } else {
        byte_buffer_print(question, "Where is the %s?", first);
        byte_buffer_print(answer, "The %s is %s of the image.", first, object_position(a));
    }
    return true;
}

static void ask_color(const Scene *scene, int object, ByteBuffer *question, ByteBuffer *answer) {
    const char *shape = SHAPE_NAMES[scene->objects[object].shape];
    byte_buffer_print(question, "What color is the %s?", shape);
    byte_buffer_print(answer, "The %s is %s.", shape, COLOR_NAMES[scene->objects[object].color]);
}

void question_make(const Scene *scene, Draws *draws, bool from_words, ByteBuffer *question,
                   ByteBuffer *answer) {
    int kind = draw_below(draws, 8), object = draw_below(draws, scene->num_objects);
    if (kind >= 6 && !from_words && ask_place(scene, draws, question, answer)) return;
    if (kind >= 3 && count_shape(scene, scene->objects[object].shape) == 1) {
        ask_color(scene, object, question, answer);
    } else if (kind == 0) {
        byte_buffer_print(question, "What is the ground?");
        byte_buffer_print(answer, "The ground is %s.", GROUND_NAMES[scene->ground]);
    } else if (kind <= 2 || kind == 4) {
        ask_presence(scene, draws, question, answer);
    } else {
        ask_count(scene, draws, question, answer);
    }
}

bool referring_make(const Scene *scene, Draws *draws, ByteBuffer *question, ByteBuffer *answer) {
    char expressions[16][UTTERANCE_SIZE];
    int object = draw_below(draws, scene->num_objects);
    int count = object_expressions(scene, object, expressions, 16);
    if (!count) return false;
    const Object *named = &scene->objects[object];
    const char *words = expressions[draw_below(draws, count)];
    char phrase[UTTERANCE_SIZE];
    object_phrase(named, phrase);
    byte_buffer_print(question, "Describe the \"%s\".", words);
    byte_buffer_print(answer, "The %s is a %s %s of the image.", words, phrase,
                      object_position(named));
    return true;
}
