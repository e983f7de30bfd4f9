/// Documents for the language model. A model that has seen independent captions only never learns to read what stands
/// before: here it is always worth reading. The scene comes first as a caption or as notes (its properties in no fixed
/// order, as an image has no order of words), in the places where an image will stand later.
#include "data/tiny/language.h"

static const char SYSTEM[] =
    "A chat between a curious user and an artificial intelligence assistant. The assistant "
    "gives helpful, detailed, and polite answers to the user's questions. ";

/// "ring small red at the top left, square blue large in the middle; sand"
static void append_notes(const Scene *scene, Draws *draws, bool positions, Text *text) {
    int start = draw_below(draws, scene->num_objects);
    for (int i = 0; i < scene->num_objects; i++) {
        const Object *object = &scene->objects[(start + i) % scene->num_objects];
        const char *words[5] = {
            SIZE_NAMES[object->size], COLOR_NAMES[object->color], SHAPE_NAMES[object->shape],
            positions ? object_position(object) : "", MATERIAL_NAMES[object->material]};
        for (int j = 4; j > 0; j--) {
            int k = draw_below(draws, j + 1);
            const char *kept = words[j];
            words[j] = words[k];
            words[k] = kept;
        }
        if (i) text_append(text, ",");
        for (int j = 0; j < 5; j++)
            if (*words[j]) text_append(text, "%s%s", text->length ? " " : "", words[j]);
    }
    text_append(text, "; %s", GROUND_NAMES[scene->ground]);
}

static void append_caption(const Scene *scene, Draws *draws, Text *text) {
    Caption caption;
    caption_make(&caption, scene, draws, false);
    caption_append(&caption, text);
}

static void append_turn(const Scene *scene, Draws *draws, bool positions, Text *text) {
    Text question = {0}, answer = {0};
    float kind = draw_between(draws, 0, 1);
    if (kind < 0.45f) {
        text_append(&question, "%s", DESCRIBE_PROMPT);
        append_caption(scene, draws, &answer);
    } else if (kind > 0.8f && positions && referring_make(scene, draws, &question, &answer)) {
        // made
    } else {
        question_make(scene, draws, !positions, &question, &answer);
    }
    text_append(text, "%s ASSISTANT: %s</s>", question.data, answer.data);
    text_free(&question);
    text_free(&answer);
}

void document_make(uint64_t seed, uint64_t index, Text *document) {
    Draws draws = draws_begin(seed, WORLD_DOCUMENT, SPLIT_TRAIN, index);
    Scene scene;
    scene_sample_from(&scene, &draws, SPLIT_TRAIN);
    bool notes = draw_chance(&draws, 0.6f), positions = notes && draw_chance(&draws, 0.6f);
    bool conversation = draw_chance(&draws, 0.6f);
    text_clear(document);
    if (conversation) text_append(document, "%sUSER: ", draw_chance(&draws, 0.4f) ? SYSTEM : "");
    Text context = {0};
    if (notes)
        append_notes(&scene, &draws, positions, &context);
    else
        append_caption(&scene, &draws, &context);
    text_append(document, "%s", context.data);
    text_free(&context);
    if (conversation) {
        text_append(document, "\n");
        append_turn(&scene, &draws, positions, document);
        for (int more = draw_below(&draws, 3); more > 0; more--) {
            text_append(document, "USER: ");
            append_turn(&scene, &draws, positions, document);
        }
    } else {
        int first = 1 + draw_below(&draws, 2);
        for (int i = first; i > 0; i--) {
            text_append(document, i == first ? " " : "");
            append_caption(&scene, &draws, document);
            text_append(document, "\n");
        }
    }
}
