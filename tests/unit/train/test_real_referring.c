// rooms: train eval models ops checkpoints data autograd
// Referring expressions of COCO's real pictures, asked about with the tiny untrained networks:
// whatever they say and look at, figures must be what the annotations say of the points. Where the
// files are not at hand, this is skipped.
#include "tests/unit/real_evaluations.h"

/// The element of a list whose `key` is that number.
static const json_t *find(const json_t *list, const char *key, int64_t number) {
    size_t i;
    json_t *item;
    json_array_foreach((json_t *)list, i, item)
        if (integer(item, key) == number) return item;
    fail_msg("nothing has %s %lld", key, (long long)number);
    return NULL;
}

/// Pixels that a polygon's outline passes through, at most, which may be inside or not: those along
/// it and one per corner.
static double outline(const json_t *annotation) {
    double length = 0;
    size_t p;
    json_t *polygon;
    json_array_foreach(json_object_get(annotation, "segmentation"), p, polygon) {
        size_t n = json_array_size(polygon) / 2;
        for (size_t i = 0; i < n; i++) {
            double x = json_number_value(json_array_get(polygon, 2 * i)),
                   y = json_number_value(json_array_get(polygon, 2 * i + 1)),
                   next_x = json_number_value(json_array_get(polygon, 2 * ((i + 1) % n))),
                   next_y = json_number_value(json_array_get(polygon, 2 * ((i + 1) % n) + 1));
            length += fabs(next_x - x) + fabs(next_y - y) + 1;
        }
    }
    return length;
}

/// The verdict's truth has about the annotation's area. With the true mask where the point is
/// inside and none elsewhere, the union is the truth.
static void expect_area(const json_t *verdict, const json_t *references, const json_t *instances) {
    const json_t *reference = find(references, "ref_id", integer(verdict, "ref_id"));
    const json_t *annotation = find(instances, "id", integer(reference, "ann_id"));
    double area = json_number_value(json_object_get(annotation, "area")),
           found = (double)integer(verdict, "union");
    if (!(fabs(found - area) <= outline(annotation)))
        fail_msg("reference %lld: %.0f pixels, annotated %.1f",
                 (long long)integer(verdict, "ref_id"), found, area);
}

/// truth, grown: the same item with the true mask and with a mask grown from the point.
static double expect_overlap(const json_t *truth, const json_t *grown) {
    const json_t *phrase = phrase_at(grown, 0), *mask = json_object_get(phrase, "mask");
    assert_true(json_equal(json_object_get(phrase_at(truth, 0), "point"),
                           json_object_get(phrase, "point")));
    int64_t inner = integer(grown, "intersection"), all = integer(grown, "union");
    assert_int_equal(all, integer(truth, "union") + area_of_mask(mask) - inner);
    return (double)inner / (double)all;
}

static int64_t count_sentences(const json_t *references, const char *split) {
    int64_t count = 0;
    size_t i;
    json_t *reference;
    json_array_foreach((json_t *)references, i, reference)
        if (!strcmp(json_string_value(json_object_get(reference, "split")), split))
            count += (int64_t)json_array_size(json_object_get(reference, "sentences"));
    return count;
}

static void refer(const char *set, const char *name, const char *split) {
    char *folder = format_string("public/refcoco_subset/%s", set),
         *pickled = format_string("%s/%s.p", shared(folder), name),
         *listed = format_string("%s/%s.json", shared(folder), name),
         *annotations = format_string("%s/instances.json", shared(folder));
    json_t *references = read_json(listed), *instances = read_json(annotations);
    Setting settings[] = {{"eval.task", "res"},
                          {"eval.annotations", pickled},
                          {"eval.image_folder", shared("public/refcoco_subset/images/train2014")},
                          {"eval.split", split},
                          {"eval.referring_tokens", "first_eight"},
                          {"eval.segmenter", "truth"},
                          {NULL, NULL},
                          {NULL, NULL}};
    Evaluated truth = evaluate("truth", settings);
    settings[5].value = "region_growing";
    settings[6] = (Setting){"eval.answers", in_folder("truth/answers")};
    Evaluated grown = evaluate("grown", settings);
    assert_int_equal(truth.count, count_sentences(references, split));
    assert_int_equal(grown.count, truth.count);
    double sum = 0;
    for (int64_t i = 0; i < truth.count; i++) {
        expect_area(truth.verdicts[i], references, json_object_get(instances, "annotations"));
        sum += expect_overlap(truth.verdicts[i], grown.verdicts[i]);
    }
    expect_figure(&grown, "giou", sum / (double)truth.count);
    // the true mask where the point is inside, and none elsewhere
    expect_figure(&truth, "giou", figure(&truth, "point_accuracy"));
    expect_figure(&truth, "precision_at_0.9", figure(&truth, "point_accuracy"));
    expect_figure(&grown, "point_accuracy", figure(&truth, "point_accuracy"));
    print_message("%s %s: %lld expressions, point accuracy %.3f\n", set, split,
                  (long long)truth.count, figure(&truth, "point_accuracy"));
    free_evaluated(&truth);
    free_evaluated(&grown);
    assert_int_equal(nftw(in_folder("truth"), remove_temporary_entry, 16, FTW_DEPTH | FTW_PHYS), 0);
    assert_int_equal(nftw(in_folder("grown"), remove_temporary_entry, 16, FTW_DEPTH | FTW_PHYS), 0);
    json_decref(references);
    json_decref(instances);
    free(folder);
    free(pickled);
    free(listed);
    free(annotations);
}

static void every_split_of_refcoco_is_counted_as_annotated(void **state) {
    (void)state;
    static const char *const sets[][3] = {
        {"refcoco", "refs(unc)", "val"},    {"refcoco", "refs(unc)", "testA"},
        {"refcoco", "refs(unc)", "testB"},  {"refcoco+", "refs(unc)", "val"},
        {"refcoco+", "refs(unc)", "testA"}, {"refcoco+", "refs(unc)", "testB"},
        {"refcocog", "refs(umd)", "val"},   {"refcocog", "refs(umd)", "test"}};
    skip_without(shared("public/refcoco_subset"));
    for (size_t i = 0; i < sizeof sets / sizeof *sets; i++)
        refer(sets[i][0], sets[i][1], sets[i][2]);
}

int main(void) {
    const struct CMUnitTest tests[] = {IN_FOLDER(every_split_of_refcoco_is_counted_as_annotated)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
