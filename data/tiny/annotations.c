#include "data/tiny/annotations.h"
#include "autograd/output/output_file.h"
#include "data/tiny/polling.h"
#include "data/tiny/short_questions.h"
#include "data/tiny/world.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/// Panoptic segment ids: the ground, then the objects. Spread over the three colour channels so
/// that a reader that drops one is found out.
enum { GROUND_SEGMENT = 1, OBJECT_SEGMENT = 70000, OBJECT_SEGMENT_STEP = 300, MAX_EXPRESSIONS = 3 };
enum { FIRST_GROUND_CATEGORY = 100 };

int image_id_of(Split split, int index) {
    return split == SPLIT_TEST ? FIRST_TEST_ID + index : index;
}

static int annotation_id(const Scene *scene, int image_id, int object) {
    return image_id * world_max_objects(scene->kind) + object + 1;
}
static int segment_id(int object) { return OBJECT_SEGMENT + object * OBJECT_SEGMENT_STEP; }

void annotations_begin(Annotations *annotations, WorldKind kind, uint64_t seed, Split split) {
    *annotations = (Annotations){.kind = kind, .seed = seed, .split = split};
    json_t **arrays[] = {
        &annotations->pretrain,      &annotations->instruct,   &annotations->scenes,
        &annotations->images,        &annotations->instances,  &annotations->gcg_images,
        &annotations->gcg_captions,  &annotations->gcg_masks,  &annotations->refs,
        &annotations->ref_instances, &annotations->narratives, &annotations->panoptic};
    for (size_t i = 0; i < sizeof arrays / sizeof *arrays; i++) *arrays[i] = json_array();
    annotations->questions = json_object();
}

static json_t *turn(const char *from, const char *value) {
    return json_pack("{s:s, s:s}", "from", from, "value", value);
}

static json_t *sample(const char *id, const char *image, json_t *conversations) {
    json_t *object = json_pack("{s:s}", "id", id);
    if (image) json_object_set_new(object, "image", json_string(image));
    json_object_set_new(object, "conversations", conversations);
    return object;
}

static void add_pretrain(Annotations *annotations, const Scene *scene, const char *id,
                         const char *image, Draws *draws) {
    static const char *const REQUESTS[] = {
        "<image>\nProvide a brief description of the given image.",
        "Describe the image concisely.\n<image>", "<image>\nWhat is in the photo?"};
    Caption caption;
    ByteBuffer text = {0};
    caption_make(&caption, scene, draws, false);
    caption_append(&caption, &text);
    json_t *turns = json_array();
    json_array_append_new(turns, turn("human", REQUESTS[draw_below(draws, 3)]));
    json_array_append_new(turns, turn("gpt", text.data));
    json_array_append_new(annotations->pretrain, sample(id, image, turns));
    byte_buffer_free(&text);
}

static void add_turn(json_t *turns, const char *prefix, ByteBuffer *question, ByteBuffer *answer) {
    char *human = format_string("%s%s", prefix, question->data);
    json_array_append_new(turns, turn("human", human));
    json_array_append_new(turns, turn("gpt", answer->data));
    free(human);
    byte_buffer_clear(question);
    byte_buffer_clear(answer);
}

/// One to three questions that a word answers, of which the first says so, as in LLaVA's mix; the
/// words are those of the sentences, without a capital.
static json_t *short_turns(const Scene *scene, Draws *draws) {
    json_t *turns = json_array();
    for (int more = 1 + draw_below(draws, 3); more > 0; more--) {
        ShortQuestion question;
        while (!short_question_make(scene, draws, (ShortKind)draw_below(draws, NUM_SHORT_KINDS),
                                    &question)) {}
        const bool is_first = json_array_size(turns) == 0;
        char *text = format_string("%s%s%s%s", is_first ? "<image>\n" : "", question.question,
                                   is_first ? "\n" : "", is_first ? SHORT_ANSWER_PROMPT : "");
        json_array_append_new(turns, turn("human", text));
        json_array_append_new(turns, turn("gpt", question.answer));
        free(text);
    }
    return turns;
}

/// Half of the conversations describe the image, the others ask about it or about one object, in up
/// to three turns: in the crowded world half of these for a word.
static void add_instruct(Annotations *annotations, const Scene *scene, const char *id,
                         const char *image, Draws *draws, Draws *short_draws) {
    ByteBuffer question = {0}, answer = {0};
    json_t *turns = json_array();
    float kind = draw_between(draws, 0, 1);
    if (kind < 0.5f) {
        Caption caption;
        caption_make(&caption, scene, draws, false);
        byte_buffer_print(&question, "%s", DESCRIBE_PROMPT);
        caption_append(&caption, &answer);
        add_turn(turns, "<image>\n", &question, &answer);
    }
    bool asks = kind >= 0.5f || draw_chance(draws, 0.3f);
    for (int more = asks ? 1 + draw_below(draws, 3) : 0; more > 0; more--) {
        if (!draw_chance(draws, 0.4f) || !referring_make(scene, draws, &question, &answer))
            question_make(scene, draws, false, &question, &answer);
        add_turn(turns, json_array_size(turns) ? "" : "<image>\n", &question, &answer);
    }
    if (scene->kind == WORLD_CROWDED && kind >= 0.5f && draw_chance(short_draws, 0.5f)) {
        json_decref(turns);
        turns = short_turns(scene, short_draws);
    }
    json_array_append_new(annotations->instruct, sample(id, image, turns));
    byte_buffer_free(&question);
    byte_buffer_free(&answer);
}

/// A conversation about a scene that is told in words.
static void add_text_only(Annotations *annotations, const Scene *scene, const char *id,
                          Draws *draws) {
    ByteBuffer question = {0}, answer = {0};
    Caption caption;
    char *text_id = format_string("%s-text", id);
    json_t *turns = json_array();
    caption_make(&caption, scene, draws, false);
    caption_append(&caption, &question);
    byte_buffer_print(&question, "\n");
    question_make(scene, draws, true, &question, &answer);
    add_turn(turns, "", &question, &answer);
    question_make(scene, draws, true, &question, &answer);
    add_turn(turns, "", &question, &answer);
    json_array_append_new(annotations->instruct, sample(text_id, NULL, turns));
    byte_buffer_free(&question);
    byte_buffer_free(&answer);
    free(text_id);
}

static json_t *instance(const Scene *scene, int image_id, int index, int category,
                        json_t *segmentation) {
    const Object *object = &scene->objects[index];
    return json_pack("{s:i, s:i, s:i, s:o, s:i, s:o, s:i}", "id",
                     annotation_id(scene, image_id, index), "image_id", image_id, "category_id",
                     category, "segmentation", segmentation, "area", object->area, "bbox",
                     mask_to_bbox(object->mask, IMAGE_SIZE, IMAGE_SIZE), "iscrowd", 0);
}

/// How much of the object is visible, and how much of the ground shows in it.
static void add_difficulty(json_t *properties, const Object *object) {
    double visible = (double)object->area / object->full_area;
    json_object_set_new(properties, "visible", json_real(visible));
    json_object_set_new(properties, "blend", json_real((double)object->appearance.blend));
}

static void add_instances(Annotations *annotations, const Scene *scene, int image_id,
                          const char *file_name) {
    json_array_append_new(annotations->images,
                          json_pack("{s:i, s:s, s:i, s:i}", "id", image_id, "file_name", file_name,
                                    "height", IMAGE_SIZE, "width", IMAGE_SIZE));
    json_t *objects = json_array();
    for (int i = 0; i < scene->num_objects; i++) {
        const Object *object = &scene->objects[i];
        json_array_append_new(
            annotations->instances,
            instance(scene, image_id, i, object->shape + 1,
                     mask_to_compressed_rle(object->mask, IMAGE_SIZE, IMAGE_SIZE)));
        json_t *properties =
            json_pack("{s:s, s:s, s:s, s:s, s:f, s:f, s:f, s:i, s:i}", "shape",
                      SHAPE_NAMES[object->shape], "color", COLOR_NAMES[object->color], "size",
                      SIZE_NAMES[object->size], "material", MATERIAL_NAMES[object->material], "x",
                      (double)object->x, "y", (double)object->y, "radius", (double)object->radius,
                      "area", object->area, "id", annotation_id(scene, image_id, i));
        if (scene->kind != WORLD_SPACED) add_difficulty(properties, object);
        json_array_append_new(objects, properties);
    }
    json_array_append_new(annotations->scenes,
                          json_pack("{s:i, s:s, s:s, s:o}", "image_id", image_id, "file_name",
                                    file_name, "ground", GROUND_NAMES[scene->ground], "objects",
                                    objects));
}

/// GranD-f: the caption's phrases are labels, in the order of the masks. Image ids are strings.
static void add_gcg(Annotations *annotations, const Scene *scene, int image_id,
                    const char *file_name, Draws *draws) {
    Caption caption;
    ByteBuffer text = {0};
    char id[16];
    json_t *labels = json_array();
    snprintf(id, sizeof id, "%012d", image_id);
    caption_make(&caption, scene, draws, false);
    caption_append(&caption, &text);
    for (int i = 0; i < caption.num_segments; i++) {
        const Segment *segment = &caption.segments[i];
        if (segment->num_objects != 1) continue;
        const Object *object = &scene->objects[segment->objects[0]];
        json_array_append_new(labels, json_string(segment->words));
        json_t *mask = instance(scene, image_id, segment->objects[0], 1,
                                mask_to_compressed_rle(object->mask, IMAGE_SIZE, IMAGE_SIZE));
        json_object_set_new(mask, "image_id", json_string(id));
        json_array_append_new(annotations->gcg_masks, mask);
    }
    json_array_append_new(annotations->gcg_images,
                          json_pack("{s:s, s:s, s:i, s:i}", "id", id, "file_name", file_name,
                                    "height", IMAGE_SIZE, "width", IMAGE_SIZE));
    json_array_append_new(annotations->gcg_captions,
                          json_pack("{s:i, s:s, s:s, s:o}", "id", image_id, "image_id", id,
                                    "caption", text.data, "labels", labels));
    byte_buffer_free(&text);
}

static json_t *words_of(const char *sentence) {
    json_t *words = json_array();
    for (const char *at = sentence; *at;) {
        size_t length = strcspn(at, " ");
        json_array_append_new(words, json_stringn(at, length));
        at += length + (at[length] == ' ');
    }
    return words;
}

static void add_refcoco(Annotations *annotations, const Scene *scene, int image_id,
                        const char *file_name) {
    static const char *const SPLITS[] = {"val", "testA", "testB"};
    for (int i = 0; i < scene->num_objects; i++) {
        const Object *object = &scene->objects[i];
        json_array_append_new(annotations->ref_instances,
                              instance(scene, image_id, i, object->shape + 1,
                                       mask_to_rle(object->mask, IMAGE_SIZE, IMAGE_SIZE)));
        char expressions[MAX_EXPRESSIONS][UTTERANCE_SIZE];
        int count = object_expressions(scene, i, expressions, MAX_EXPRESSIONS);
        if (!count) continue;
        json_t *sentences = json_array(), *ids = json_array();
        for (int k = 0; k < count; k++, annotations->num_sentences++) {
            json_array_append_new(ids, json_integer(annotations->num_sentences));
            json_array_append_new(
                sentences, json_pack("{s:o, s:s, s:i, s:s}", "tokens", words_of(expressions[k]),
                                     "raw", expressions[k], "sent_id", annotations->num_sentences,
                                     "sent", expressions[k]));
        }
        json_array_append_new(annotations->refs,
                              json_pack("{s:o, s:s, s:i, s:i, s:i, s:s, s:o, s:i}", "sent_ids", ids,
                                        "file_name", file_name, "ann_id",
                                        annotation_id(scene, image_id, i), "ref_id",
                                        (int)json_array_size(annotations->refs), "image_id",
                                        image_id, "split", SPLITS[image_id % 3], "sentences",
                                        sentences, "category_id", object->shape + 1));
    }
}

/// PNG: the narrative in utterances, each with the panoptic segments it names; several segments
/// make it plural.
static void add_narrative(Annotations *annotations, const Scene *scene, int image_id,
                          Draws *draws) {
    Caption caption;
    ByteBuffer text = {0};
    char id[16];
    json_t *segments = json_array();
    caption_make(&caption, scene, draws, true);
    caption_append(&caption, &text);
    for (int i = 0; i < caption.num_segments; i++) {
        const Segment *segment = &caption.segments[i];
        json_t *ids = json_array();
        for (int k = 0; k < segment->num_objects; k++) {
            snprintf(id, sizeof id, "%d", segment_id(segment->objects[k]));
            json_array_append_new(ids, json_string(id));
        }
        snprintf(id, sizeof id, "%d", GROUND_SEGMENT);
        if (segment->is_ground) json_array_append_new(ids, json_string(id));
        json_array_append_new(segments,
                              json_pack("{s:s, s:o, s:b, s:b}", "utterance", segment->words,
                                        "segment_ids", ids, "plural", segment->num_objects > 1,
                                        "noun", segment->num_objects > 0 || segment->is_ground));
    }
    snprintf(id, sizeof id, "%d", image_id);
    json_array_append_new(annotations->narratives,
                          json_pack("{s:s, s:i, s:s, s:o}", "image_id", id, "annotator_id", 0,
                                    "caption", text.data, "segments", segments));
    byte_buffer_free(&text);
}

static void add_panoptic(Annotations *annotations, const Scene *scene, int image_id) {
    uint8_t ground[NUM_PIXELS];
    char file_name[24];
    int area = NUM_PIXELS;
    json_t *segments = json_array();
    memset(ground, 1, sizeof ground);
    for (int i = 0; i < scene->num_objects; i++) {
        const Object *object = &scene->objects[i];
        area -= object->area;
        for (int p = 0; p < NUM_PIXELS; p++) ground[p] &= (uint8_t)!object->mask[p];
        json_array_append_new(
            segments, json_pack("{s:i, s:i, s:i, s:i, s:o}", "id", segment_id(i), "category_id",
                                object->shape + 1, "iscrowd", 0, "area", object->area, "bbox",
                                mask_to_bbox(object->mask, IMAGE_SIZE, IMAGE_SIZE)));
    }
    json_array_append_new(segments, json_pack("{s:i, s:i, s:i, s:i, s:o}", "id", GROUND_SEGMENT,
                                              "category_id", FIRST_GROUND_CATEGORY + scene->ground,
                                              "iscrowd", 0, "area", area, "bbox",
                                              mask_to_bbox(ground, IMAGE_SIZE, IMAGE_SIZE)));
    snprintf(file_name, sizeof file_name, "%012d.png", image_id);
    json_array_append_new(annotations->panoptic,
                          json_pack("{s:i, s:s, s:o}", "image_id", image_id, "file_name", file_name,
                                    "segments_info", segments));
}

void annotations_paint_panoptic(const Scene *scene, uint8_t *rgb) {
    for (int p = 0; p < NUM_PIXELS; p++) {
        int id = GROUND_SEGMENT;
        for (int i = 0; i < scene->num_objects; i++)
            if (scene->objects[i].mask[p]) id = segment_id(i);
        for (int c = 0; c < 3; c++) rgb[3 * p + c] = (uint8_t)(id >> 8 * c);
    }
}

void annotations_add(Annotations *annotations, const Scene *scene, int index) {
    Draws draws =
        draws_begin(annotations->seed, WORLD_LANGUAGE, annotations->split, (uint64_t)index);
    Draws short_draws =
        draws_begin(annotations->seed, WORLD_QUESTIONS, annotations->split, (uint64_t)index);
    int image_id = image_id_of(annotations->split, index);
    char id[16], file_name[24], image[32];
    snprintf(id, sizeof id, "%012d", image_id);
    snprintf(file_name, sizeof file_name, "%s.jpg", id);
    snprintf(image, sizeof image, "images/%s", file_name);
    add_pretrain(annotations, scene, id, image, &draws);
    add_instruct(annotations, scene, id, image, &draws, &short_draws);
    if (draw_chance(&draws, 0.1f)) add_text_only(annotations, scene, id, &draws);
    add_instances(annotations, scene, image_id, file_name);
    if (annotations->split != SPLIT_TEST) return;
    add_gcg(annotations, scene, image_id, file_name, &draws);
    add_refcoco(annotations, scene, image_id, file_name);
    add_narrative(annotations, scene, image_id, &draws);
    add_panoptic(annotations, scene, image_id);
    short_questions_add(annotations->questions, scene, image_id, &short_draws);
}

static json_t *categories(bool with_grounds) {
    json_t *list = json_array();
    for (int i = 0; i < NUM_SHAPES; i++)
        json_array_append_new(list,
                              json_pack("{s:i, s:s, s:s, s:i}", "id", i + 1, "name", SHAPE_NAMES[i],
                                        "supercategory", "shape", "isthing", 1));
    for (int i = 0; with_grounds && i < NUM_GROUNDS; i++)
        json_array_append_new(list, json_pack("{s:i, s:s, s:s, s:i}", "id",
                                              FIRST_GROUND_CATEGORY + i, "name", GROUND_NAMES[i],
                                              "supercategory", "ground", "isthing", 0));
    return list;
}

static json_t *information(void) { return json_pack("{s:s}", "description", "tiny world"); }

static bool write_polling(const Annotations *annotations, const char *folder, Error *error) {
    char *path = format_string("%s/pope", folder);
    bool written = polling_write(annotations->scenes, annotations->seed, path, error);
    free(path);
    return written;
}

/// Writes folder/name; takes the reference to `value`.
static bool write_into(const char *folder, const char *name, json_t *value, Error *error) {
    char *path = format_string("%s/%s", folder, name);
    bool written = write_json(path, value, error);
    free(path);
    return written;
}

static bool write_refs(const Annotations *annotations, const char *folder, Error *error) {
    char *path = format_string("%s/refcoco/refs(unc).p", folder);
    uint8_t *bytes;
    uint64_t count;
    pickle_json(annotations->refs, &bytes, &count);
    bool written = output_whole_file(path, bytes, count, error);
    free(bytes);
    free(path);
    return written;
}

static bool write_test_files(Annotations *annotations, const char *folder, Error *error) {
    json_t *gcg_category =
        json_pack("[{s:i, s:s, s:s}]", "id", 1, "name", "object", "supercategory", "object");
    json_t *gcg_captions =
        json_pack("{s:o, s:O, s:O}", "info", information(), "images", annotations->gcg_images,
                  "annotations", annotations->gcg_captions);
    json_t *gcg_masks =
        json_pack("{s:o, s:O, s:O, s:o}", "info", information(), "images", annotations->gcg_images,
                  "annotations", annotations->gcg_masks, "categories", gcg_category);
    json_t *ref_instances =
        json_pack("{s:o, s:O, s:O, s:o}", "info", information(), "images", annotations->images,
                  "annotations", annotations->ref_instances, "categories", categories(false));
    json_t *panoptic =
        json_pack("{s:o, s:O, s:O, s:o}", "info", information(), "images", annotations->images,
                  "annotations", annotations->panoptic, "categories", categories(true));
    bool written = write_into(folder, "gcg/test_gcg_coco_caption_gt.json", gcg_captions, error);
    written =
        write_into(folder, "gcg/test_gcg_coco_mask_gt.json", gcg_masks, written ? error : NULL) &&
        written;
    written = write_into(folder, "refcoco/instances.json", ref_instances, written ? error : NULL) &&
              written;
    written = write_into(folder, "png/panoptic_val2017.json", panoptic, written ? error : NULL) &&
              written;
    return written && write_refs(annotations, folder, error) &&
           write_polling(annotations, folder, error) &&
           write_into(folder, "gqa/testdev_balanced_questions.json",
                      json_incref(annotations->questions), error) &&
           write_into(folder, "png/png_coco_val2017.json", json_incref(annotations->narratives),
                      error);
}

bool annotations_write(Annotations *annotations, const char *folder, Error *error) {
    json_t *instances =
        json_pack("{s:o, s:O, s:O, s:o}", "info", information(), "images", annotations->images,
                  "annotations", annotations->instances, "categories", categories(false));
    bool written =
        write_into(folder, "instances.json", instances, error) &&
        write_into(folder, "blip_laion_cc_sbu_558k.json", json_incref(annotations->pretrain),
                   error) &&
        write_into(folder, "llava_v1_5_mix665k.json", json_incref(annotations->instruct), error) &&
        write_into(folder, "scenes.json", json_incref(annotations->scenes), error) &&
        (annotations->split == SPLIT_TRAIN || write_test_files(annotations, folder, error));
    json_t *arrays[] = {
        annotations->pretrain,      annotations->instruct,   annotations->scenes,
        annotations->images,        annotations->instances,  annotations->gcg_images,
        annotations->gcg_captions,  annotations->gcg_masks,  annotations->refs,
        annotations->ref_instances, annotations->narratives, annotations->panoptic,
        annotations->questions};
    for (size_t i = 0; i < sizeof arrays / sizeof *arrays; i++) json_decref(arrays[i]);
    return written;
}
