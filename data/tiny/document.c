/// Documents for the language model. A model that has seen independent captions only never learns
/// to read what stands before: here it is always worth reading. The scene comes first as a caption
/// or as notes (its properties in no fixed order, as an image has no order of words), in the places
/// where an image will stand later.
#include "data/tiny/language.h"

static const char SYSTEM[] =
    "A chat between a curious user and an artificial intelligence assistant. The assistant "
    "gives helpful, detailed, and polite answers to the user's questions. ";

/// "ring small red at the top left, square blue large in the middle; sand"
static void append_notes(const Scene *scene, Draws *draws, bool positions, ByteBuffer *text) {
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
        if (i) byte_buffer_print(text, ",");
        for (int j = 0; j < 5; j++)
            if (*words[j]) byte_buffer_print(text, "%s%s", text->size ? " " : "", words[j]);
    }
    byte_buffer_print(text, "; %s", GROUND_NAMES[scene->ground]);
}

static void append_caption(const Scene *scene, Draws *draws, ByteBuffer *text) {
    Caption caption;
    caption_make(&caption, scene, draws, false);
    caption_append(&caption, text);
}

static void append_turn(const Scene *scene, Draws *draws, bool positions, ByteBuffer *text) {
    ByteBuffer question = {0}, answer = {0};
    float kind = draw_between(draws, 0, 1);
    if (kind < 0.45f) {
        byte_buffer_print(&question, "%s", DESCRIBE_PROMPT);
        append_caption(scene, draws, &answer);
    } else if (kind > 0.8f && positions && referring_make(scene, draws, &question, &answer)) {
        // made
    } else {
        question_make(scene, draws, !positions, &question, &answer);
    }
    byte_buffer_print(text, "%s ASSISTANT: %s</s>", question.data, answer.data);
    byte_buffer_free(&question);
    byte_buffer_free(&answer);
}

void document_make(WorldKind kind, uint64_t seed, uint64_t index, ByteBuffer *document) {
    Draws draws = draws_begin(seed, WORLD_DOCUMENT, SPLIT_TRAIN, index);
    Scene scene;
    scene_sample_from(&scene, kind, &draws, SPLIT_TRAIN);
    bool notes = draw_chance(&draws, 0.6f), positions = notes && draw_chance(&draws, 0.6f);
    bool conversation = draw_chance(&draws, 0.6f);
    byte_buffer_clear(document);
    if (conversation)
        byte_buffer_print(document, "%sUSER: ", draw_chance(&draws, 0.4f) ? SYSTEM : "");
    ByteBuffer context = {0};
    if (notes)
        append_notes(&scene, &draws, positions, &context);
    else
        append_caption(&scene, &draws, &context);
    byte_buffer_print(document, "%s", context.data);
    byte_buffer_free(&context);
    if (conversation) {
        byte_buffer_print(document, "\n");
        append_turn(&scene, &draws, positions, document);
        for (int more = draw_below(&draws, 3); more > 0; more--) {
            byte_buffer_print(document, "USER: ");
            append_turn(&scene, &draws, positions, document);
        }
    } else {
        int first = 1 + draw_below(&draws, 2);
        for (int i = first; i > 0; i--) {
            byte_buffer_print(document, i == first ? " " : "");
            append_caption(&scene, &draws, document);
            byte_buffer_print(document, "\n");
        }
    }
}
