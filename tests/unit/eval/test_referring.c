// rooms: eval models ops checkpoints data autograd
// REFER's files: real ones against their JSON twins, and files that nobody should have.
#include "eval/annotations/referring.h"

#include "tests/unit/file_bytes.h"
#include "tests/unit/shared_data.h"
#include "tests/unit/temporary_folder.h"

#include "data/coco_annotations.h"
#include <jansson.h>

static void assert_equal_to_twin(const ReferringExpressions *all, json_t *twin, const char *split) {
    size_t r;
    json_t *reference;
    int next = 0, references = 0;
    json_array_foreach(twin, r, reference) {
        if (strcmp(json_string_value(json_object_get(reference, "split")), split) != 0) continue;
        json_t *sentences = json_object_get(reference, "sentences");
        references++;
        for (size_t s = 0; s < json_array_size(sentences); s++, next++) {
            assert_true(next < all->num_expressions);
            const ReferringExpression *e = &all->expressions[next];
            const ReferringObject *object = &all->objects[e->object];
            json_t *sentence = json_array_get(sentences, s);
            assert_string_equal(e->text, json_string_value(json_object_get(sentence, "sent")));
            assert_int_equal(e->sentence, s);
            assert_int_equal(e->sentence_id,
                             json_integer_value(json_object_get(sentence, "sent_id")));
            assert_int_equal(e->reference_id,
                             json_integer_value(json_object_get(reference, "ref_id")));
            assert_int_equal(object->id, json_integer_value(json_object_get(reference, "ann_id")));
            assert_int_equal(atoll(all->images[object->image].id),
                             json_integer_value(json_object_get(reference, "image_id")));
        }
    }
    assert_int_equal(next, all->num_expressions);
    assert_int_equal(references, all->num_references);
}

/// Names of images and areas of masks as the general reader of annotations has them.
static void assert_objects_of_instances(const ReferringExpressions *all, const char *path) {
    CocoAnnotations instances;
    Error error = {0};
    if (!coco_annotations_read(path, &instances, &error)) fail_msg("%s", error.message);
    for (int i = 0; i < all->num_objects; i++) {
        const ReferringObject *object = &all->objects[i];
        const CocoImage *image = instances.images;
        while (strcmp(image->id, all->images[object->image].id) != 0) image++;
        assert_string_equal(all->images[object->image].file_name, image->file_name);
        bool found = false;
        for (int a = 0; a < image->num_annotations; a++) {
            const CocoMask *mask = &instances.annotations[image->first_annotation + a].mask;
            found |= mask->num_counts == object->mask.num_counts &&
                     !memcmp(mask->counts, object->mask.counts,
                             (size_t)mask->num_counts * sizeof *mask->counts);
        }
        assert_true(found);
    }
    coco_annotations_free(&instances);
}

static void real_files_equal_their_json(void **state) {
    (void)state;
    static const struct {
        const char *name, *splits[4];
    } sets[] = {{"refcoco/refs(unc)", {"val", "testA", "testB"}},
                {"refcoco+/refs(unc)", {"val", "testA", "testB"}},
                {"refcocog/refs(umd)", {"val", "test"}}};
    for (size_t i = 0; i < sizeof sets / sizeof *sets; i++) {
        char name[64], path[512], twin[512], instances[512];
        snprintf(name, sizeof name, "refcoco_subset/%s.p", sets[i].name);
        snprintf(path, sizeof path, "%s", shared_data(name));
        snprintf(twin, sizeof twin, "%.*s.json", (int)strlen(path) - 2, path);
        snprintf(instances, sizeof instances, "%.*s/instances.json",
                 (int)(strrchr(path, '/') - path), path);
        json_t *references = json_load_file(twin, 0, NULL);
        assert_non_null(references);
        for (int s = 0; sets[i].splits[s]; s++) {
            ReferringExpressions all;
            Error error = {0};
            if (!referring_read(path, NULL, sets[i].splits[s], &all, &error))
                fail_msg("%s", error.message);
            assert_equal_to_twin(&all, references, sets[i].splits[s]);
            assert_objects_of_instances(&all, instances);
            referring_free(&all);
        }
        json_decref(references);
    }
}

// ---- made up files

#define SENTENCE "(dS'sent'\nS'red ring'\nsS'sent_id'\nI1\nsa"
#define REFERENCE                                                                             \
    "(dS'ref_id'\nI5\nsS'ann_id'\nI25\nsS'image_id'\nI7\nsS'split'\nS'val'\nsS'sentences'\n(" \
    "l" SENTENCE "sa"
#define INSTANCES(annotation)                                                \
    "{\"annotations\": [{\"id\": 1, \"image_id\": 99}, {" annotation "}],\n" \
    "\"images\": [{\"id\": 7, \"file_name\": \"7.jpg\", \"width\": 8, \"height\": 6}]}"
#define SQUARE "\"segmentation\": [[1, 1, 5, 1, 5, 5, 1, 5], [4, 1, 7, 1, 7, 5, 4, 5]]"

static bool read_texts(const char *references, const char *instances, const char *split,
                       ReferringExpressions *out, Error *error) {
    write_text("refs(unc).p", references);
    write_text("instances.json", instances);
    return referring_read(in_folder("refs(unc).p"), NULL, split, out, error);
}

static void polygons_of_an_annotation_are_united(void **state) {
    (void)state;
    ReferringExpressions all;
    Error error = {0};
    if (!read_texts("(l" REFERENCE ".", INSTANCES("\"id\": 25, \"image_id\": 7, " SQUARE), "val",
                    &all, &error))
        fail_msg("%s", error.message);
    assert_int_equal(all.num_expressions, 1);
    assert_string_equal(all.expressions[0].text, "red ring");
    assert_string_equal(all.images[0].file_name, "7.jpg");
    assert_int_equal(coco_mask_area(&all.objects[0].mask), 24); // 6 x 4, the middle counted once
    referring_free(&all);
}

static void an_annotation_without_polygons_is_empty(void **state) {
    (void)state;
    ReferringExpressions all;
    Error error = {0};
    if (!read_texts("(l" REFERENCE ".",
                    INSTANCES("\"id\": 25, \"image_id\": 7, \"segmentation\": []"), "val", &all,
                    &error))
        fail_msg("%s", error.message);
    assert_int_equal(coco_mask_area(&all.objects[0].mask), 0);
    referring_free(&all);
}

static const struct {
    const char *references, *instances, *split, *message;
} bad[] = {
#define GOOD INSTANCES("\"id\": 25, \"image_id\": 7, " SQUARE)
    {"(l" REFERENCE ".", GOOD, "testA",
     "refs(unc).p: no reference is of the split 'testA'; there are val"},
    {"(l.", GOOD, "val", "no reference is of the split 'val'; there are none at all"},
    {"(lI1\na.", GOOD, "val", "reference 0: it is an int; expected a dict"},
    {"I1\n.", GOOD, "val", "refs(unc).p: an int; expected a list of references"},
    {"(l(dS'ref_id'\nI5\nsa.", GOOD, "val", "reference 0: it has no 'split'"},
    {"(l(dS'split'\nS'val'\nsa.", GOOD, "val", "reference 0: it has no 'ref_id'"},
    {"(l(dS'split'\nS'val'\nsS'ref_id'\nF5\nsa.", GOOD, "val",
     "'ref_id' is a float; expected an int"},
    {"(l(dS'split'\nS'val'\nsS'ref_id'\nI5\nsS'ann_id'\nI1\nsS'image_id'\nI1\nsa.", GOOD, "val",
     "ref_id 5: its 'sentences' are missing"},
    {"(l" REFERENCE REFERENCE ".", GOOD, "val", "reference 1: reference 5 occurs twice"},
    {"(lcos\nsystem\n(S'true'\ntRa.", GOOD, "val", "calls for 'os.system', which is refused"},
    {"(l" REFERENCE ".", INSTANCES("\"id\": 26, \"image_id\": 7, " SQUARE), "val",
     "instances.json: there is no annotation 25, which an expression refers to"},
    {"(l" REFERENCE ".", INSTANCES("\"id\": 25, \"image_id\": 8, " SQUARE), "val",
     "annotation 25 is of image 8, but referred to as in image 7"},
    {"(l" REFERENCE ".", INSTANCES("\"id\": 25, \"image_id\": 7"), "val",
     "annotation 25 of image 7: \"segmentation\" is null"},
    {"(l" REFERENCE ".",
     INSTANCES("\"id\": 25, \"image_id\": 7, \"segmentation\": {\"size\": [8, 6], \"counts\": "
               "[48]}"),
     "val", "\"size\" is [8,6]; expected its image's, [6,8]"},
    {"(l" REFERENCE ".", "{\"images\": [], \"annotations\": []}", "val", "there is no image 7"},
    {"(l" REFERENCE ".", "{\"images\": 3}", "val",
     "instances.json: \"images\" is 3; expected a list"},
    {"(l" REFERENCE ".", "[]", "val", "expected an object at the top level"},
    {"(l" REFERENCE ".", "{\"images\": [\n{\"id\": 7,}]}", "val",
     "instances.json:2: not valid JSON"},
    {"(l" REFERENCE ".", "{\"images\": [{}", "val", "not valid JSON: ',' or ']' expected"},
    {"(l" REFERENCE ".", "{\"licences\": [{\"a\": \"", "val", "a string does not end"},
    {"(l" REFERENCE ".", "{} {}", "val", "end of file expected"},
    {"(l" REFERENCE ".", "", "val", "instances.json"},
};

static void what_is_wrong_is_told_with_its_place(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        ReferringExpressions all;
        Error error = {0};
        assert_false(read_texts(bad[i].references, bad[i].instances, bad[i].split, &all, &error));
        if (!strstr(error.message, bad[i].message))
            fail_msg("%zu: '%s' does not have '%s'", i, error.message, bad[i].message);
        assert_null(all.expressions);
    }
}

static void damaged_files_are_errors(void **state) {
    (void)state;
    uint32_t random = 1;
    for (int trial = 0; trial < 400; trial++) {
        FileBytes references = {0}, instances = {0};
        file_bytes_put(&references, "(l" REFERENCE ".", strlen("(l" REFERENCE "."));
        file_bytes_put(&instances, GOOD, strlen(GOOD));
        file_bytes_mutate(trial % 2 ? &references : &instances, &random);
        file_bytes_write(&references, in_folder("refs(unc).p"));
        file_bytes_write(&instances, in_folder("instances.json"));
        ReferringExpressions all;
        Error error = {0};
        if (referring_read(in_folder("refs(unc).p"), NULL, "val", &all, &error))
            referring_free(&all);
        else
            assert_true(*error.message);
        file_bytes_free(&references);
        file_bytes_free(&instances);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(real_files_equal_their_json),
        IN_FOLDER(polygons_of_an_annotation_are_united),
        IN_FOLDER(an_annotation_without_polygons_is_empty),
        IN_FOLDER(what_is_wrong_is_told_with_its_place),
        IN_FOLDER(damaged_files_are_errors),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
