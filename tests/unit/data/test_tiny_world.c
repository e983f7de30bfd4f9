// rooms: tiny_world data autograd
/// The tiny world: the same seed gives the same files, training and test scenes differ, held-out
/// pairs stay out of training, masks lie where the picture shows the object, and every annotation
/// file reads as its format says.
#include "data/tiny/annotations.h"
#include "data/tiny/world.h"
#include "tests/unit/temporary_folder.h"
#include <jpeglib.h>
#include <png.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

enum { NUM_TRAIN = 60, NUM_TEST = 40, MOST_OBJECTS = 5 };

static int make_world(void **state) {
    if (make_temporary_folder(state) != 0) return -1;
    char *world = format_string("%s/world", temporary_folder);
    Error error;
    WorldOptions options = {
        .seed = 5, .num_train = NUM_TRAIN, .num_test = NUM_TEST, .num_documents = 50};
    bool written = world_write(world, &options, &error);
    if (!written) fprintf(stderr, "%s\n", error.message);
    free(world);
    return written ? 0 : -1;
}

static json_t *load(const char *name) {
    char *path = format_string("%s/world/%s", temporary_folder, name);
    json_error_t problem;
    json_t *value = json_load_file(path, 0, &problem);
    if (!value) fail_msg("%s: %s", path, problem.text);
    free(path);
    return value;
}

static char *read_file(const char *world, const char *name, size_t *count) {
    char *path = format_string("%s/%s/%s", temporary_folder, world, name);
    FILE *file = fopen(path, "rb");
    if (!file) fail_msg("%s is missing", path);
    free(path);
    fseek(file, 0, SEEK_END);
    *count = (size_t)ftell(file);
    rewind(file);
    char *bytes = checked_malloc(*count + 1);
    assert_int_equal(fread(bytes, 1, *count, file), *count);
    bytes[*count] = 0;
    fclose(file);
    return bytes;
}

static const char *text_of(const json_t *object, const char *key) {
    const char *text = json_string_value(json_object_get(object, key));
    if (!text) fail_msg("no string under %s", key);
    return text;
}

static int number_of(const json_t *object, const char *key) {
    const json_t *value = json_object_get(object, key);
    if (!json_is_integer(value)) fail_msg("no integer under %s", key);
    return (int)json_integer_value(value);
}

/// Decodes COCO's compressed or uncompressed runs, written from the format's description.
static void decode_rle(const json_t *rle, uint8_t mask[NUM_PIXELS]) {
    const json_t *counts = json_object_get(rle, "counts"), *size = json_object_get(rle, "size");
    assert_int_equal(json_integer_value(json_array_get(size, 0)), IMAGE_SIZE);
    assert_int_equal(json_integer_value(json_array_get(size, 1)), IMAGE_SIZE);
    const char *text = json_string_value(counts);
    int64_t previous[2] = {0, 0};
    int at = 0, run = 0;
    while (text ? *text != 0 : (size_t)run < json_array_size(counts)) {
        int64_t length = 0;
        if (text) {
            int shift = 0, bits;
            do {
                bits = *text++ - 48;
                length |= (int64_t)(bits & 31) << shift;
                shift += 5;
            } while (bits & 32);
            if (bits & 16) length |= -((int64_t)1 << shift);
            if (run > 2) length += previous[run % 2];
            previous[run % 2] = length;
        } else {
            length = json_integer_value(json_array_get(counts, (size_t)run));
        }
        for (int64_t i = 0; i < length; i++, at++) {
            assert_true(at < NUM_PIXELS);
            mask[at % IMAGE_SIZE * IMAGE_SIZE + at / IMAGE_SIZE] = (uint8_t)(run % 2);
        }
        run++;
    }
    assert_int_equal(at, NUM_PIXELS);
}

static void the_same_seed_gives_the_same_files(void **state) {
    (void)state;
    static const char *const FILES[] = {"train/llava_v1_5_mix665k.json",
                                        "train/images/000000000007.jpg",
                                        "train/documents.json",
                                        "test/refcoco/refs(unc).p",
                                        "test/gcg/test_gcg_coco_mask_gt.json",
                                        "test/pope/coco_pope_random.json",
                                        "test/gqa/testdev_balanced_questions.json"};
    char *again = format_string("%s/again", temporary_folder);
    WorldOptions options = {
        .seed = 5, .num_train = NUM_TRAIN, .num_test = NUM_TEST, .num_documents = 50};
    Error error;
    assert_true(world_write(again, &options, &error));
    for (size_t i = 0; i < sizeof FILES / sizeof *FILES; i++) {
        size_t count_a, count_b;
        char *a = read_file("world", FILES[i], &count_a),
             *b = read_file("again", FILES[i], &count_b);
        assert_int_equal(count_a, count_b);
        assert_memory_equal(a, b, count_a);
        free(a);
        free(b);
    }
    free(again);
}

static void another_seed_gives_other_scenes(void **state) {
    (void)state;
    Scene *a = checked_malloc(sizeof *a), *b = checked_malloc(sizeof *b);
    for (uint64_t i = 0; i < 50; i++) {
        scene_sample(a, WORLD_SPACED, 1, SPLIT_TRAIN, i);
        scene_sample(b, WORLD_SPACED, 2, SPLIT_TRAIN, i);
        assert_true(a->objects[0].x != b->objects[0].x);
    }
    free(a);
    free(b);
}

static void no_test_scene_is_a_training_scene(void **state) {
    (void)state;
    enum { COUNT = 300 };
    static float centres[COUNT][2];
    Scene *scene = checked_malloc(sizeof *scene);
    for (uint64_t i = 0; i < COUNT; i++) {
        scene_sample(scene, WORLD_SPACED, 3, SPLIT_TRAIN, i);
        centres[i][0] = scene->objects[0].x, centres[i][1] = scene->objects[0].y;
    }
    for (uint64_t i = 0; i < COUNT; i++) {
        scene_sample(scene, WORLD_SPACED, 3, SPLIT_TEST, i);
        for (int k = 0; k < COUNT; k++)
            assert_false(scene->objects[0].x == centres[k][0] &&
                         scene->objects[0].y == centres[k][1]);
    }
    free(scene);
}

static int count_held_out(Split split, int scenes) {
    Scene *scene = checked_malloc(sizeof *scene);
    int found = 0;
    for (int i = 0; i < scenes; i++) {
        scene_sample(scene, WORLD_SPACED, 9, split, (uint64_t)i);
        for (int k = 0; k < scene->num_objects; k++)
            found += scene_is_held_out(scene->objects[k].color, scene->objects[k].shape);
    }
    free(scene);
    return found;
}

static void held_out_pairs_occur_in_test_scenes_only(void **state) {
    (void)state;
    assert_int_equal(count_held_out(SPLIT_TRAIN, 1000), 0);
    // 4 of 56 pairs, about 2.7 objects a scene: some 190 of them in 1000 scenes.
    assert_true(count_held_out(SPLIT_TEST, 1000) > 100);
}

static void scenes_have_one_to_five_objects_some_repeated_some_hidden_in_part(void **state) {
    (void)state;
    int counts[MOST_OBJECTS + 1] = {0}, repeated = 0, hidden = 0;
    Scene *scene = checked_malloc(sizeof *scene);
    for (uint64_t i = 0; i < 400; i++) {
        scene_sample(scene, WORLD_SPACED, 11, SPLIT_TRAIN, i);
        assert_in_range(scene->num_objects, 1, MOST_OBJECTS);
        counts[scene->num_objects]++;
        for (int a = 0; a < scene->num_objects; a++) {
            const Object *first = &scene->objects[a];
            float whole = 3.14159f * first->radius * first->radius; // of a disc
            int seen = 0;
            for (int p = 0; p < NUM_PIXELS; p++) seen += first->mask[p];
            assert_int_equal(seen, first->area);
            hidden += !strcmp(SHAPE_NAMES[first->shape], "disc") && (float)seen < 0.9f * whole;
            for (int b = a + 1; b < scene->num_objects; b++) {
                const Object *second = &scene->objects[b];
                repeated += first->shape == second->shape;
                for (int p = 0; p < NUM_PIXELS; p++)
                    assert_false(first->mask[p] && second->mask[p]);
            }
        }
    }
    for (int n = 1; n <= MOST_OBJECTS; n++) assert_true(counts[n] > 10);
    assert_true(repeated > 50);
    assert_true(hidden > 2);
    free(scene);
}

/// Decodes a JPEG of the world into rgb.
static void read_jpeg(const char *name, uint8_t rgb[NUM_PIXELS * 3]) {
    size_t count;
    char *bytes = read_file("world", name, &count);
    struct jpeg_decompress_struct jpeg;
    struct jpeg_error_mgr manager;
    jpeg.err = jpeg_std_error(&manager);
    jpeg_create_decompress(&jpeg);
    jpeg_mem_src(&jpeg, (unsigned char *)bytes, count);
    jpeg_read_header(&jpeg, TRUE);
    jpeg_start_decompress(&jpeg);
    assert_int_equal(jpeg.output_width, IMAGE_SIZE);
    assert_int_equal(jpeg.output_height, IMAGE_SIZE);
    assert_int_equal(jpeg.output_components, 3);
    while (jpeg.output_scanline < IMAGE_SIZE) {
        JSAMPROW row = rgb + jpeg.output_scanline * IMAGE_SIZE * 3;
        jpeg_read_scanlines(&jpeg, &row, 1);
    }
    jpeg_finish_decompress(&jpeg);
    jpeg_destroy_decompress(&jpeg);
    free(bytes);
}

static void masks_lie_where_the_picture_shows_the_object(void **state) {
    (void)state;
    static uint8_t rgb[NUM_PIXELS * 3], mask[NUM_PIXELS];
    json_t *instances = load("test/instances.json"), *scenes = load("test/scenes.json"),
           *annotation;
    size_t index;
    int checked = 0;
    json_array_foreach(json_object_get(instances, "annotations"), index, annotation) {
        int id = number_of(annotation, "image_id") - FIRST_TEST_ID,
            owner = number_of(annotation, "id");
        const json_t *objects = json_object_get(json_array_get(scenes, (size_t)id), "objects");
        const json_t *object = json_array_get(objects, (size_t)((owner - 1) % MOST_OBJECTS));
        decode_rle(json_object_get(annotation, "segmentation"), mask);
        int area = 0;
        for (int i = 0; i < NUM_PIXELS; i++) area += mask[i];
        assert_int_equal(area, number_of(annotation, "area"));
        if (strcmp(text_of(object, "color"), "red") != 0 || *text_of(object, "material")) continue;
        char name[64];
        snprintf(name, sizeof name, "test/images/%012d.jpg", id + FIRST_TEST_ID);
        read_jpeg(name, rgb);
        int red = 0;
        for (int i = 0; i < NUM_PIXELS; i++)
            red += mask[i] && rgb[3 * i] > 130 && rgb[3 * i + 1] < 100 && rgb[3 * i + 2] < 100;
        assert_true(red > 0.85 * area);
        checked++;
    }
    assert_true(checked > 0);
    json_decref(instances);
    json_decref(scenes);
}

static void check_conversations(const char *name, bool text_only_allowed) {
    json_t *samples = load(name), *sample;
    size_t index, t;
    int text_only = 0, several_turns = 0;
    json_array_foreach(samples, index, sample) {
        const json_t *turns = json_object_get(sample, "conversations");
        json_t *turn;
        bool has_image = json_object_get(sample, "image") != NULL, marked = false;
        assert_true(*text_of(sample, "id"));
        assert_true(json_array_size(turns) >= 2 && json_array_size(turns) % 2 == 0);
        json_array_foreach(turns, t, turn) {
            assert_string_equal(text_of(turn, "from"), t % 2 ? "gpt" : "human");
            assert_true(*text_of(turn, "value"));
            bool here = strstr(text_of(turn, "value"), "<image>") != NULL;
            assert_true(!here || t == 0);
            marked |= here;
        }
        assert_int_equal(marked, has_image);
        text_only += !has_image;
        several_turns += json_array_size(turns) > 2;
    }
    assert_true(text_only_allowed ? text_only > 0 && several_turns > 5 : text_only == 0);
    json_decref(samples);
}

static void llava_files_alternate_human_and_gpt_with_one_image_mark(void **state) {
    (void)state;
    check_conversations("train/blip_laion_cc_sbu_558k.json", false);
    check_conversations("train/llava_v1_5_mix665k.json", true);
    check_conversations("test/blip_laion_cc_sbu_558k.json", false);
}

static void gcg_has_as_many_masks_as_labels_and_labels_stand_in_the_caption(void **state) {
    (void)state;
    json_t *captions = load("test/gcg/test_gcg_coco_caption_gt.json"),
           *masks = load("test/gcg/test_gcg_coco_mask_gt.json");
    const json_t *all = json_object_get(masks, "annotations");
    json_t *caption, *label;
    size_t index, k, next = 0;
    assert_int_equal(json_array_size(json_object_get(captions, "images")), NUM_TEST);
    json_array_foreach(json_object_get(captions, "annotations"), index, caption) {
        json_array_foreach(json_object_get(caption, "labels"), k, label) {
            const json_t *mask = json_array_get(all, next++);
            assert_non_null(strstr(text_of(caption, "caption"), json_string_value(label)));
            assert_string_equal(text_of(mask, "image_id"), text_of(caption, "image_id"));
            assert_int_equal(number_of(mask, "category_id"), 1);
        }
    }
    assert_int_equal(next, json_array_size(all));
    json_decref(captions);
    json_decref(masks);
}

static void panoptic_pictures_hold_the_areas_that_the_file_names(void **state) {
    (void)state;
    static uint8_t rgb[NUM_PIXELS * 3];
    json_t *panoptic = load("test/png/panoptic_val2017.json"), *annotation, *segment;
    size_t index, k;
    json_array_foreach(json_object_get(panoptic, "annotations"), index, annotation) {
        char *path = format_string("%s/world/test/png/panoptic_val2017/%s", temporary_folder,
                                   text_of(annotation, "file_name"));
        png_image image = {.version = PNG_IMAGE_VERSION};
        assert_true(png_image_begin_read_from_file(&image, path));
        image.format = PNG_FORMAT_RGB;
        assert_true(png_image_finish_read(&image, NULL, rgb, 0, NULL));
        free(path);
        int total = 0;
        json_array_foreach(json_object_get(annotation, "segments_info"), k, segment) {
            int id = number_of(segment, "id"), area = 0;
            for (int i = 0; i < NUM_PIXELS; i++)
                area += rgb[3 * i] + 256 * rgb[3 * i + 1] + 65536 * rgb[3 * i + 2] == id;
            assert_int_equal(area, number_of(segment, "area"));
            total += area;
        }
        assert_int_equal(total, NUM_PIXELS);
    }
    json_decref(panoptic);
}

static void narratives_are_their_utterances_and_name_segments_of_their_image(void **state) {
    (void)state;
    json_t *narratives = load("test/png/png_coco_val2017.json"),
           *panoptic = load("test/png/panoptic_val2017.json");
    json_t *narrative, *segment, *id, *known;
    size_t index, k, j, m;
    assert_int_equal(json_array_size(narratives), NUM_TEST);
    json_array_foreach(narratives, index, narrative) {
        const char *rest = text_of(narrative, "caption");
        const json_t *of_image = json_array_get(json_object_get(panoptic, "annotations"), index);
        assert_int_equal(atoi(text_of(narrative, "image_id")), number_of(of_image, "image_id"));
        json_array_foreach(json_object_get(narrative, "segments"), k, segment) {
            const char *utterance = text_of(segment, "utterance");
            const json_t *ids = json_object_get(segment, "segment_ids");
            rest += strspn(rest, " ");
            assert_int_equal(strncmp(rest, utterance, strlen(utterance)), 0);
            rest += strlen(utterance);
            assert_int_equal(json_is_true(json_object_get(segment, "plural")),
                             json_array_size(ids) > 1);
            json_array_foreach(ids, j, id) {
                bool found = false;
                json_array_foreach(json_object_get(of_image, "segments_info"), m, known)
                    found |= number_of(known, "id") == atoi(json_string_value(id));
                assert_true(found);
            }
        }
        assert_string_equal(rest, "");
    }
    json_decref(narratives);
    json_decref(panoptic);
}

static void expressions_name_exactly_one_object(void **state) {
    (void)state;
    Scene *scene = checked_malloc(sizeof *scene);
    for (uint64_t s = 0; s < 100; s++) {
        scene_sample(scene, WORLD_SPACED, 21, SPLIT_TEST, s);
        for (int i = 0; i < scene->num_objects; i++) {
            char mine[16][UTTERANCE_SIZE], theirs[16][UTTERANCE_SIZE];
            int count = object_expressions(scene, i, mine, 16);
            for (int k = 0; k < scene->num_objects; k++) {
                int others = k == i ? 0 : object_expressions(scene, k, theirs, 16);
                for (int a = 0; a < count; a++)
                    for (int b = 0; b < others; b++) assert_string_not_equal(mine[a], theirs[b]);
            }
        }
    }
    free(scene);
}

static void refcoco_is_a_pickle_of_protocol_2_and_its_masks_are_uncompressed(void **state) {
    (void)state;
    static uint8_t mask[NUM_PIXELS];
    size_t count, index;
    char *bytes = read_file("world", "test/refcoco/refs(unc).p", &count);
    assert_memory_equal(bytes, "\x80\x02](}(X", 7);
    assert_int_equal(bytes[count - 1], '.');
    free(bytes);
    json_t *instances = load("test/refcoco/instances.json"), *annotation;
    json_array_foreach(json_object_get(instances, "annotations"), index, annotation) {
        const json_t *rle = json_object_get(annotation, "segmentation");
        assert_true(json_is_array(json_object_get(rle, "counts")));
        decode_rle(rle, mask);
        int area = 0;
        for (int i = 0; i < NUM_PIXELS; i++) area += mask[i];
        assert_int_equal(area, number_of(annotation, "area"));
    }
    json_decref(instances);
}

static void a_pickle_spells_values_as_pickletools_reads_them(void **state) {
    (void)state;
    uint8_t *bytes;
    uint64_t count;
    json_t *value = json_pack("[{s:i, s:b}, s]", "a", -2, "b", 1, "hi");
    pickle_json(value, &bytes, &count);
    static const char EXPECTED[] =
        "\x80\x02](}(X\x01\0\0\0aJ\xfe\xff\xff\xffX\x01\0\0\0b\x88uX\x02\0\0\0hie.";
    assert_int_equal(count, sizeof EXPECTED - 1);
    assert_memory_equal(bytes, EXPECTED, count);
    free(bytes);
    json_decref(value);
}

static void a_folder_that_is_not_empty_is_refused_and_left_alone(void **state) {
    (void)state;
    char *world = format_string("%s/world", temporary_folder);
    WorldOptions options = {.num_train = 1, .num_test = 1};
    Error error;
    size_t count;
    assert_false(world_write(world, &options, &error));
    assert_non_null(strstr(error.message, "not an empty folder"));
    free(read_file("world", "train/scenes.json", &count));
    free(world);
}

static void a_folder_that_cannot_be_written_is_reported_and_leaves_nothing(void **state) {
    (void)state;
    char *world = format_string("%s/world/train/scenes.json/world", temporary_folder);
    WorldOptions options = {.num_train = 1, .num_test = 1};
    Error error;
    assert_false(world_write(world, &options, &error));
    assert_non_null(strstr(error.message, "scenes.json is a file, not a folder"));
    assert_int_not_equal(access(world, F_OK), 0);
    free(world);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_same_seed_gives_the_same_files),
        cmocka_unit_test(another_seed_gives_other_scenes),
        cmocka_unit_test(no_test_scene_is_a_training_scene),
        cmocka_unit_test(held_out_pairs_occur_in_test_scenes_only),
        cmocka_unit_test(scenes_have_one_to_five_objects_some_repeated_some_hidden_in_part),
        cmocka_unit_test(masks_lie_where_the_picture_shows_the_object),
        cmocka_unit_test(llava_files_alternate_human_and_gpt_with_one_image_mark),
        cmocka_unit_test(gcg_has_as_many_masks_as_labels_and_labels_stand_in_the_caption),
        cmocka_unit_test(panoptic_pictures_hold_the_areas_that_the_file_names),
        cmocka_unit_test(narratives_are_their_utterances_and_name_segments_of_their_image),
        cmocka_unit_test(expressions_name_exactly_one_object),
        cmocka_unit_test(refcoco_is_a_pickle_of_protocol_2_and_its_masks_are_uncompressed),
        cmocka_unit_test(a_pickle_spells_values_as_pickletools_reads_them),
        cmocka_unit_test(a_folder_that_is_not_empty_is_refused_and_left_alone),
        cmocka_unit_test(a_folder_that_cannot_be_written_is_reported_and_leaves_nothing),
    };
    return cmocka_run_group_tests(tests, make_world, remove_temporary_folder);
}
