// rooms: tiny_world data autograd
/// The crowded world: three to nine objects a scene, small ones, hidden ones, equal ones and ones
/// that are hard to see, told of in the tiny world's words; and the spaced world as it always was.
#include "data/tiny/language.h"
#include "data/tiny/world.h"
#include "tests/unit/file_bytes.h"
#include "tests/unit/temporary_folder.h"
#include <jansson.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { SCENES = 400 };

static Scene *scene_of(WorldKind kind, Split split, uint64_t index) {
    Scene *scene = checked_malloc(sizeof *scene);
    scene_sample(scene, kind, 17, split, index);
    return scene;
}

static uint64_t hash(uint64_t sum, const void *bytes, size_t count) {
    const uint8_t *byte = bytes;
    for (size_t i = 0; i < count; i++) sum = (sum ^ byte[i]) * 0x100000001b3ull; // FNV-1a
    return sum;
}

static void write_world(const char *name, WorldKind kind) {
    char *path = format_string("%s/%s", temporary_folder, name);
    WorldOptions options = {
        .kind = kind, .seed = 5, .num_train = 60, .num_test = 40, .num_documents = 50};
    Error error;
    if (!world_write(path, &options, &error)) fail_msg("%s", error.message);
    free(path);
}

static uint64_t hash_of_file(const char *world, const char *name) {
    char *path = format_string("%s/%s/%s", temporary_folder, world, name);
    FileBytes bytes = file_bytes_read(path);
    uint64_t sum = hash(0xcbf29ce484222325ull, bytes.data, bytes.size);
    file_bytes_free(&bytes);
    free(path);
    return sum;
}

static void the_spaced_world_keeps_its_files(void **state) {
    (void)state;
    static const struct {
        const char *name;
        uint64_t hash;
    } FILES[] = {
        {"train/scenes.json", 0x7f0feb8af01c8f02ull},
        {"train/blip_laion_cc_sbu_558k.json", 0x751030989c0336dfull},
        {"train/llava_v1_5_mix665k.json", 0x16c4515c96005242ull},
        {"train/documents.json", 0x51ac0910083ca4c9ull},
        {"test/instances.json", 0x7cbb01359c233c3cull},
        {"test/refcoco/refs(unc).p", 0xdb4444e9a13a6bdeull},
        {"test/png/png_coco_val2017.json", 0xce1cfae492bbc35full},
        {"test/gcg/test_gcg_coco_mask_gt.json", 0xc7e0c19da24cbcb5ull},
    };
    write_world("spaced", WORLD_SPACED);
    for (size_t i = 0; i < sizeof FILES / sizeof *FILES; i++)
        if (hash_of_file("spaced", FILES[i].name) != FILES[i].hash)
            fail_msg("%s has another content: 0x%llxull", FILES[i].name,
                     (unsigned long long)hash_of_file("spaced", FILES[i].name));
}

static void the_spaced_world_keeps_its_pictures(void **state) {
    (void)state;
    static uint8_t rgb[NUM_PIXELS * 3];
    uint64_t sum = 0xcbf29ce484222325ull;
    for (uint64_t i = 0; i < 20; i++) {
        Scene *scene = scene_of(WORLD_SPACED, SPLIT_TEST, i);
        scene_render(scene, 17, SPLIT_TEST, i, rgb);
        sum = hash(sum, rgb, sizeof rgb);
        free(scene);
    }
    if (sum != 0x93a5ef9a3e7270cull)
        fail_msg("the pictures have another content: 0x%llxull", (unsigned long long)sum);
}

static void a_scene_has_three_to_nine_objects_and_at_most_five_of_a_shape(void **state) {
    (void)state;
    int counts[MAX_OBJECTS + 1] = {0};
    for (uint64_t i = 0; i < SCENES; i++) {
        Scene *scene = scene_of(WORLD_CROWDED, SPLIT_TRAIN, i);
        int of_shape[NUM_SHAPES] = {0};
        assert_in_range(scene->num_objects, 3, MAX_OBJECTS);
        counts[scene->num_objects]++;
        for (int k = 0; k < scene->num_objects; k++)
            assert_true(++of_shape[scene->objects[k].shape] <= MAX_COUNTED);
        free(scene);
    }
    for (int n = 3; n <= MAX_OBJECTS; n++) assert_true(counts[n] > SCENES / 20);
}

static bool are_equal(const Object *a, const Object *b) {
    return a->shape == b->shape && a->color == b->color && a->size == b->size &&
           a->material == b->material;
}

static void objects_are_small_hidden_equal_and_like_the_ground_as_often_as_in_photographs(
    void **state) {
    (void)state;
    int objects = 0, small = 0, hidden = 0, equal = 0, blended = 0;
    for (uint64_t i = 0; i < SCENES; i++) {
        Scene *scene = scene_of(WORLD_CROWDED, SPLIT_TRAIN, i);
        for (int k = 0; k < scene->num_objects; k++, objects++) {
            const Object *object = &scene->objects[k];
            int seen = 0;
            for (int p = 0; p < NUM_PIXELS; p++) seen += object->mask[p];
            assert_int_equal(seen, object->area);
            assert_true((float)seen >= 0.4f * (float)object->full_area);
            small += object->radius < 10;
            hidden += (float)seen < 0.8f * (float)object->full_area;
            blended += object->appearance.blend > 0;
            for (int m = 0; m < k; m++)
                if (are_equal(object, &scene->objects[m])) {
                    equal++;
                    break;
                }
        }
        free(scene);
    }
    assert_true(small > objects / 2 && small < objects * 3 / 4);
    assert_true(hidden > objects / 10);
    assert_true(equal > objects / 10);
    assert_true(blended > objects / 4 && blended < objects / 2);
}

static void iconic_scenes_have_one_or_two_objects_mostly_large(void **state) {
    (void)state;
    int counts[3] = {0}, large = 0;
    for (uint64_t i = 0; i < SCENES; i++) {
        Scene *scene = scene_of(WORLD_ICONIC, SPLIT_TRAIN, i);
        assert_in_range(scene->num_objects, 1, 2);
        counts[scene->num_objects]++;
        for (int k = 0; k < scene->num_objects; k++) large += scene->objects[k].size;
        free(scene);
    }
    assert_true(counts[1] > SCENES / 3 && counts[2] > SCENES / 3);
    assert_true(large > SCENES);
}

static void held_out_pairs_occur_in_test_scenes_only(void **state) {
    (void)state;
    int found[2] = {0};
    for (uint64_t i = 0; i < 2 * SCENES; i++) {
        Split split = i % 2 ? SPLIT_TEST : SPLIT_TRAIN;
        Scene *scene = scene_of(WORLD_CROWDED, split, i);
        for (int k = 0; k < scene->num_objects; k++)
            found[split] += scene_is_held_out(scene->objects[k].color, scene->objects[k].shape);
        free(scene);
    }
    assert_int_equal(found[SPLIT_TRAIN], 0);
    assert_true(found[SPLIT_TEST] > SCENES / 10);
}

static void a_caption_names_the_five_largest_objects(void **state) {
    (void)state;
    for (uint64_t i = 0; i < SCENES; i++) {
        Scene *scene = scene_of(WORLD_CROWDED, SPLIT_TRAIN, i);
        Draws draws = draws_begin(1, WORLD_LANGUAGE, SPLIT_TRAIN, i);
        Caption caption;
        bool named[MAX_OBJECTS] = {false};
        int count = 0, smallest = NUM_PIXELS, largest_unnamed = 0;
        caption_make(&caption, scene, &draws, false);
        for (int s = 0; s < caption.num_segments; s++)
            for (int k = 0; k < caption.segments[s].num_objects; k++, count++)
                named[caption.segments[s].objects[k]] = true;
        assert_int_equal(count,
                         scene->num_objects < MAX_COUNTED ? scene->num_objects : MAX_COUNTED);
        for (int k = 0; k < scene->num_objects; k++) {
            int area = scene->objects[k].area;
            if (named[k] && area < smallest) smallest = area;
            if (!named[k] && area > largest_unnamed) largest_unnamed = area;
        }
        assert_true(largest_unnamed <= smallest);
        free(scene);
    }
}

/// The other object's place, as the expression tells it.
static bool stands_so(const Object *object, const Object *other, const char *relation) {
    float dx = object->x - other->x, dy = object->y - other->y;
    if (!strcmp(relation, "left of")) return dx < 0 && fabsf(dx) > fabsf(dy);
    if (!strcmp(relation, "right of")) return dx >= 0 && fabsf(dx) > fabsf(dy);
    if (!strcmp(relation, "above")) return dy < 0 && fabsf(dx) <= fabsf(dy);
    return dy >= 0 && fabsf(dx) <= fabsf(dy);
}

static void an_expression_by_neighbour_is_true_of_one_object_only(void **state) {
    (void)state;
    static const char *const RELATIONS[] = {"left of", "right of", "above", "below"};
    int found = 0;
    for (uint64_t i = 0; i < SCENES; i++) {
        Scene *scene = scene_of(WORLD_CROWDED, SPLIT_TEST, i);
        for (int k = 0; k < scene->num_objects; k++) {
            char words[32][UTTERANCE_SIZE], others[32][UTTERANCE_SIZE];
            int count = object_expressions(scene, k, words, 32);
            for (int e = 0; e < count; e++)
                for (int r = 0; r < 4; r++) {
                    char between[32];
                    snprintf(between, sizeof between, " %s the ", RELATIONS[r]);
                    const char *at = strstr(words[e], between);
                    if (!at) continue;
                    int neighbour = -1, true_of = 0;
                    for (int m = 0; m < scene->num_objects; m++) {
                        int known = object_expressions(scene, m, others, 32);
                        for (int o = 0; o < known; o++)
                            if (!strcmp(others[o], at + strlen(between))) neighbour = m;
                    }
                    assert_true(neighbour >= 0);
                    for (int m = 0; m < scene->num_objects; m++)
                        true_of +=
                            m != neighbour && scene->objects[m].shape == scene->objects[k].shape &&
                            stands_so(&scene->objects[m], &scene->objects[neighbour], RELATIONS[r]);
                    assert_int_equal(true_of, 1);
                    found++;
                }
        }
        free(scene);
    }
    assert_true(found > SCENES);
}

static void whether_a_shape_is_there_is_a_yes_as_often_as_a_no(void **state) {
    (void)state;
    ByteBuffer question = {0}, answer = {0};
    int asked = 0, yes = 0;
    for (uint64_t i = 0; i < 8 * SCENES; i++) {
        Scene *scene = scene_of(WORLD_CROWDED, SPLIT_TRAIN, i);
        Draws draws = draws_begin(1, WORLD_LANGUAGE, SPLIT_TRAIN, i);
        char shape[32];
        bool is_there = false;
        question.size = answer.size = 0;
        question_make(scene, &draws, false, &question, &answer);
        byte_buffer_put_byte(&question, 0);
        byte_buffer_put_byte(&answer, 0);
        if (sscanf((char *)question.data, "Is there a %31s in the image?", shape) == 1) {
            for (int k = 0; k < scene->num_objects; k++)
                is_there = is_there || !strcmp(SHAPE_NAMES[scene->objects[k].shape], shape);
            assert_int_equal(!strncmp((char *)answer.data, "Yes", 3), is_there);
            asked++;
            yes += is_there;
        }
        free(scene);
    }
    byte_buffer_free(&question);
    byte_buffer_free(&answer);
    // a little more of yes: in some scenes every shape is there
    assert_true(asked > SCENES && yes > 0.45 * asked && yes < 0.6 * asked);
}

static bool is_known(const json_t *known, const char *word, size_t length) {
    char text[64];
    snprintf(text, sizeof text, "%.*s", (int)length, word);
    return json_object_get(known, text) != NULL;
}

/// Calls each word of the text; true if all are known, or after adding them.
static bool words_known(json_t *known, const char *text, bool add) {
    for (size_t length; *text; text += length + strspn(text + length, " \n.,;?:\"")) {
        length = strcspn(text, " \n.,;?:\"");
        char word[64];
        snprintf(word, sizeof word, "%.*s", (int)length, text);
        if (add)
            json_object_set_new(known, word, json_true());
        else if (length && !is_known(known, text, length))
            return false;
    }
    return true;
}

static void the_crowded_world_is_told_in_the_spaced_world_s_words(void **state) {
    (void)state;
    ByteBuffer text = {0};
    json_t *known = json_object();
    for (uint64_t i = 0; i < 3000; i++) {
        document_make(WORLD_SPACED, 3, i, &text);
        words_known(known, text.data, true);
    }
    for (uint64_t i = 0; i < 1000; i++) {
        document_make(WORLD_CROWDED, 3, i, &text);
        if (!words_known(known, text.data, false)) fail_msg("new words in: %s", text.data);
    }
    byte_buffer_free(&text);
    json_decref(known);
}

static void ids_of_annotations_are_unique(void **state) {
    (void)state;
    write_world("crowded", WORLD_CROWDED);
    char *path = format_string("%s/crowded/test/instances.json", temporary_folder);
    json_error_t problem;
    json_t *file = json_load_file(path, 0, &problem), *seen = json_object(), *annotation;
    free(path);
    assert_non_null(file);
    size_t index;
    json_array_foreach(json_object_get(file, "annotations"), index, annotation) {
        char id[24];
        snprintf(id, sizeof id, "%lld",
                 (long long)json_integer_value(json_object_get(annotation, "id")));
        assert_null(json_object_get(seen, id));
        json_object_set_new(seen, id, json_true());
    }
    assert_true(json_object_size(seen) > 3 * 40);
    json_decref(seen);
    json_decref(file);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_spaced_world_keeps_its_files),
        cmocka_unit_test(the_spaced_world_keeps_its_pictures),
        cmocka_unit_test(a_scene_has_three_to_nine_objects_and_at_most_five_of_a_shape),
        cmocka_unit_test(
            objects_are_small_hidden_equal_and_like_the_ground_as_often_as_in_photographs),
        cmocka_unit_test(iconic_scenes_have_one_or_two_objects_mostly_large),
        cmocka_unit_test(held_out_pairs_occur_in_test_scenes_only),
        cmocka_unit_test(a_caption_names_the_five_largest_objects),
        cmocka_unit_test(an_expression_by_neighbour_is_true_of_one_object_only),
        cmocka_unit_test(whether_a_shape_is_there_is_a_yes_as_often_as_a_no),
        cmocka_unit_test(the_crowded_world_is_told_in_the_spaced_world_s_words),
        cmocka_unit_test(ids_of_annotations_are_unique),
    };
    return cmocka_run_group_tests(tests, make_temporary_folder, remove_temporary_folder);
}
