// rooms: train eval models ops checkpoints data autograd
// COCO's real panoptic annotations as narratives, which the tiny untrained networks read, and as
// instances, of which answers made up here speak. Masks are the true ones, so that every figure
// follows from which segment lies under each point. Where the files are not at hand, this is
// skipped.
#include "eval/annotations/panoptic.h"
#include "eval/attention/answer_store.h"
#include "tests/unit/real_evaluations.h"

#include <sys/stat.h>

#define PANOPTIC "public/coco_panoptic/panoptic_train2017"

enum { GRID = 24, CELLS = GRID * GRID };

static PanopticAnnotations panoptic;

static void read_panoptic(void) {
    Error error = {0};
    skip_without(shared(PANOPTIC ".json"));
    if (!panoptic_annotations_read(shared(PANOPTIC ".json"), &panoptic, &error))
        fail_msg("%s", error.message);
}

static const PanopticImage *image_of(const json_t *verdict) {
    int image =
        panoptic_find_image(&panoptic, json_string_value(json_object_get(verdict, "image_id")));
    assert_true(image >= 0);
    return &panoptic.images[image];
}

static PanopticMap map_of(const PanopticImage *image) {
    PanopticMap map;
    Error error = {0};
    if (!panoptic_map_read_annotated(shared(PANOPTIC), image, &map, &error))
        fail_msg("%s", error.message);
    return map;
}

/// The segment under a phrase's point; NULL: void.
static const PanopticSegment *segment_at(const PanopticImage *image, const PanopticMap *map,
                                         const json_t *phrase) {
    const json_t *point = json_object_get(phrase, "point");
    return panoptic_find_segment(
        image, panoptic_map_at(map, (int)json_integer_value(json_array_get(point, 1)),
                               (int)json_integer_value(json_array_get(point, 0))));
}

// ---- narratives

/// An utterance of the segments whose category it is, or with `only` of that one.
static json_t *utterance_of(const PanopticImage *image, int category, const PanopticSegment *only) {
    json_t *ids = json_array();
    for (int s = 0; s < image->num_segments; s++) {
        const PanopticSegment *segment = &image->segments[s];
        char id[16];
        if (segment->category != category || (only && segment != only)) continue;
        snprintf(id, sizeof id, "%u", segment->id);
        json_array_append_new(ids, json_string(id));
    }
    if (!only && json_array_size(ids) < 2) {
        json_decref(ids);
        return NULL;
    }
    char *text = format_string(only ? "a %s" : "every %s", panoptic.categories[category].name);
    json_t *utterance = json_pack("{s:s, s:o, s:b, s:b}", "utterance", text, "segment_ids", ids,
                                  "plural", json_array_size(ids) > 1, "noun", 1);
    free(text);
    return utterance;
}

/// Of every image: its segments, each followed by words that name nothing, then the categories that
/// have several.
static void write_narratives(const char *path) {
    json_t *narratives = json_array();
    for (int i = 0; i < panoptic.num_images; i++) {
        const PanopticImage *image = &panoptic.images[i];
        json_t *utterances = json_array();
        for (int s = 0; s < image->num_segments; s++) {
            json_array_append_new(
                utterances, utterance_of(image, image->segments[s].category, &image->segments[s]));
            json_array_append_new(utterances,
                                  json_pack("{s:s, s:[], s:b, s:b}", "utterance", " and",
                                            "segment_ids", "plural", 0, "noun", 0));
        }
        for (int c = 0; c < panoptic.num_categories; c++) {
            json_t *plural = utterance_of(image, c, NULL);
            if (plural) json_array_append_new(utterances, plural);
        }
        json_array_append_new(narratives, json_pack("{s:s, s:s, s:o}", "image_id", image->id,
                                                    "caption", "", "segments", utterances));
    }
    write_json(path, narratives);
}

/// Of phrases: IoU with what they name, and points inside.
typedef struct Sums {
    double singular, plural, hits;
    int num_singular, num_plural;
} Sums;

static void expect_phrase(const json_t *phrase, const PanopticSegment *under, const json_t *ids,
                          const PanopticImage *image, Sums *sums) {
    int64_t area = 0;
    bool hit = false;
    size_t i;
    json_t *id;
    json_array_foreach((json_t *)ids, i, id) {
        const PanopticSegment *named =
            panoptic_find_segment(image, (uint32_t)strtoul(json_string_value(id), NULL, 10));
        area += named->area;
        hit |= named == under;
    }
    double iou = hit ? (double)under->area / (double)area : 0;
    assert_true(json_is_true(json_object_get(phrase, "hit")) == hit);
    assert_true(fabs(json_number_value(json_object_get(phrase, "iou")) - iou) <= ROUNDED);
    sums->hits += hit;
    if (json_array_size(ids) > 1) {
        sums->plural += iou;
        sums->num_plural++;
    } else {
        sums->singular += iou; // 1 or 0
        sums->num_singular++;
    }
}

static void expect_narrative(const json_t *verdict, const json_t *narrative, Sums *sums) {
    const PanopticImage *image = image_of(verdict);
    PanopticMap map = map_of(image);
    size_t i, at = 0;
    json_t *utterance;
    assert_string_equal(json_string_value(json_object_get(narrative, "image_id")), image->id);
    json_array_foreach(json_object_get(narrative, "segments"), i, utterance) {
        const json_t *ids = json_object_get(utterance, "segment_ids");
        if (!json_array_size(ids)) continue;
        const json_t *phrase = phrase_at(verdict, at++);
        expect_phrase(phrase, segment_at(image, &map, phrase), ids, image, sums);
    }
    assert_int_equal(at, json_array_size(json_object_get(verdict, "phrases")));
    panoptic_map_free(&map);
}

static void narratives_recall_the_segments_their_points_are_in(void **state) {
    (void)state;
    read_panoptic();
    write_narratives(in_folder("narratives.json"));
    const Setting settings[] = {{"eval.task", "png"},
                                {"eval.annotations", in_folder("narratives.json")},
                                {"eval.segments", shared(PANOPTIC ".json")},
                                {"eval.masks", shared(PANOPTIC)},
                                {"eval.image_folder", shared("public/coco_panoptic/train2017")},
                                {"eval.segmenter", "regions"},
                                {"eval.regions", shared(PANOPTIC)},
                                {"data.model_max_length", "2048"},
                                {NULL, NULL}};
    Evaluated png = evaluate("png", settings);
    json_t *narratives = read_json(in_folder("narratives.json"));
    Sums sums = {0};
    assert_int_equal(png.count, panoptic.num_images);
    for (int i = 0; i < png.count; i++)
        expect_narrative(png.verdicts[i], json_array_get(narratives, (size_t)i), &sums);
    int all = sums.num_singular + sums.num_plural;
    expect_figure(&png, "average_recall_singular", sums.singular / sums.num_singular);
    expect_figure(&png, "average_recall_plural", sums.plural / sums.num_plural);
    expect_figure(&png, "average_recall_all", (sums.singular + sums.plural) / all);
    expect_figure(&png, "point_accuracy", sums.hits / all);
    print_message("%d segments, %d plurals: point accuracy %.3f\n", sums.num_singular,
                  sums.num_plural, sums.hits / all);
    json_decref(narratives);
    free_evaluated(&png);
    panoptic_annotations_free(&panoptic);
}

// ---- instances

/// Things of the panoptic annotations as COCO's instances.
static void write_instances(const char *path) {
    json_t *images = json_array(), *annotations = json_array(), *categories = json_array();
    for (int c = 0; c < panoptic.num_categories; c++)
        if (panoptic.categories[c].is_thing)
            json_array_append_new(categories, json_pack("{s:i, s:s}", "id", c + 1, "name",
                                                        panoptic.categories[c].name));
    for (int i = 0; i < panoptic.num_images; i++) {
        const PanopticImage *image = &panoptic.images[i];
        PanopticMap map = map_of(image);
        json_array_append_new(images,
                              json_pack("{s:I, s:s, s:i, s:i}", "id", (json_int_t)atoll(image->id),
                                        "file_name", image->file_name, "height", image->height,
                                        "width", image->width));
        for (int s = 0; s < image->num_segments; s++) {
            const PanopticSegment *segment = &image->segments[s];
            if (!panoptic.categories[segment->category].is_thing) continue;
            CocoMask mask = panoptic_map_mask(&map, &segment->id, 1);
            assert_int_equal(coco_mask_area(&mask), segment->area);
            json_array_append_new(annotations, json_pack("{s:i, s:I, s:i, s:o, s:I, s:i}", "id",
                                                         (int)json_array_size(annotations) + 1,
                                                         "image_id", (json_int_t)atoll(image->id),
                                                         "category_id", segment->category + 1,
                                                         "segmentation", coco_runs_write(&mask),
                                                         "area", (json_int_t)segment->area,
                                                         "iscrowd", segment->is_crowd));
            coco_mask_free(&mask);
        }
        panoptic_map_free(&map);
    }
    write_json(path, json_pack("{s:o, s:o, s:o}", "images", images, "annotations", annotations,
                               "categories", categories));
}

/// The cell in which most pixels are the segment's.
static int cell_of(const PanopticMap *map, uint32_t id) {
    int counts[CELLS] = {0}, best = 0;
    for (int64_t p = 0; p < (int64_t)map->height * map->width; p++)
        if (map->ids[p] == id)
            counts[p / map->width * GRID / map->height * GRID +
                   p % map->width * GRID / map->width]++;
    for (int c = 1; c < CELLS; c++)
        if (counts[c] > counts[best]) best = c;
    return best;
}

/// "There is a <category>." of the image's first thing of every category, in which every word looks
/// at that thing.
static Answer speak_of(const PanopticImage *image) {
    PanopticMap map = map_of(image);
    Answer answer = {.grid = {GRID, GRID},
                     .layers = 1,
                     .heads = 1,
                     .frame = {image->height, image->width, 0, 0},
                     .image_height = image->height,
                     .image_width = image->width,
                     .ended = true};
    const int most = 8 * image->num_segments + 1;
    answer.text = format_string("%s", "");
    answer.ids = checked_calloc((size_t)most, sizeof(int32_t));
    answer.token_begin = checked_calloc((size_t)most, sizeof(int32_t));
    answer.token_end = checked_calloc((size_t)most, sizeof(int32_t));
    answer.maps = checked_calloc((size_t)most * CELLS, sizeof(float));
    bool *spoken = checked_calloc((size_t)panoptic.num_categories, sizeof(bool));
    for (int s = 0; s < image->num_segments; s++) {
        const PanopticSegment *segment = &image->segments[s];
        const PanopticCategory *category = &panoptic.categories[segment->category];
        if (!category->is_thing || spoken[segment->category]) continue;
        spoken[segment->category] = true;
        int at = (int)strlen(answer.text), cell = cell_of(&map, segment->id);
        char *text = format_string("%sThere is a %s. ", answer.text, category->name);
        free(answer.text);
        answer.text = text;
        while (text[at]) {
            int length = (int)strcspn(text + at, " ") + 1, token = answer.num_tokens++;
            assert_true(token < most);
            answer.token_begin[token] = at;
            answer.token_end[token] = at += length;
            answer.maps[token * CELLS + cell] = 1;
        }
    }
    free(spoken);
    panoptic_map_free(&map);
    return answer;
}

static void write_answers(const char *folder) {
    Error error = {0};
    json_t *asked_with = json_pack("{s:s}", "by", "this test");
    assert_int_equal(mkdir(folder, 0777), 0);
    AnswerWriter *writer = answer_writer_open(folder, 0, 0, asked_with, &error);
    if (!writer) fail_msg("%s", error.message);
    for (int i = 0; i < panoptic.num_images; i++) {
        char id[32];
        snprintf(id, sizeof id, "%lld", atoll(panoptic.images[i].id));
        Answer answer = speak_of(&panoptic.images[i]);
        if (!answer_writer_put(writer, id, &answer, &error)) fail_msg("%s", error.message);
        answer_free(&answer);
    }
    answer_writer_close(writer);
    if (!answer_store_pack(folder, 0, 1, &error)) fail_msg("%s", error.message);
    json_decref(asked_with);
}

/// By category: things of the truth, and those whose very mask was detected under their category.
typedef struct Found {
    int *truths, *found;
    int phrases, hits, detections, detections_that_hit;
} Found;

static bool is_present(const PanopticImage *image, int category) {
    for (int s = 0; s < image->num_segments; s++)
        if (image->segments[s].category == category) return true;
    return false;
}

static void expect_detections(const json_t *verdict, Found *found) {
    const PanopticImage *image = image_of(verdict);
    PanopticMap map = map_of(image);
    const PanopticSegment *seen[256];
    size_t i, num_seen = 0;
    json_t *phrase;
    for (int s = 0; s < image->num_segments; s++) found->truths[image->segments[s].category]++;
    json_array_foreach(json_object_get(verdict, "phrases"), i, phrase) {
        const char *name = json_string_value(json_object_get(phrase, "category"));
        int category = 0;
        while (strcmp(panoptic.categories[category].name, name) != 0) category++;
        assert_true(is_present(image, category));
        const PanopticSegment *under = segment_at(image, &map, phrase);
        const json_t *segments = json_object_get(phrase, "segments");
        bool is_thing = under && panoptic.categories[under->category].is_thing,
             hit = is_thing && under->category == category, again = false;
        assert_int_equal(json_array_size(segments), is_thing);
        if (is_thing)
            assert_int_equal(area_of_mask(json_object_get(json_array_get(segments, 0), "mask")),
                             under->area);
        assert_true(json_is_true(json_object_get(phrase, "hit")) == hit);
        found->phrases++;
        found->hits += hit;
        found->detections += is_thing;
        found->detections_that_hit += hit;
        for (size_t k = 0; k < num_seen; k++) again |= seen[k] == under;
        if (!hit || again) continue;
        assert_true(num_seen < 256);
        seen[num_seen++] = under;
        found->found[category]++;
    }
    panoptic_map_free(&map);
}

/// COCO's average recall where masks are right or have nothing in common: the mean over categories
/// of the share that was found.
static double mean_recall(const Found *found) {
    double sum = 0;
    int categories = 0;
    for (int c = 0; c < panoptic.num_categories; c++) {
        if (!panoptic.categories[c].is_thing || !found->truths[c]) continue;
        sum += (double)found->found[c] / found->truths[c];
        categories++;
    }
    return sum / categories;
}

static void instances_are_found_where_their_points_are_inside(void **state) {
    (void)state;
    read_panoptic();
    write_instances(in_folder("instances.json"));
    write_answers(in_folder("made-up"));
    const Setting settings[] = {{"eval.task", "instances"},
                                {"eval.annotations", in_folder("instances.json")},
                                {"eval.image_folder", shared("public/coco_panoptic/train2017")},
                                {"eval.answers", in_folder("made-up")},
                                {"eval.segmenter", "truth"},
                                {NULL, NULL}};
    Evaluated instances = evaluate("instances", settings);
    size_t categories = (size_t)panoptic.num_categories;
    Found found = {.truths = checked_calloc(categories, sizeof(int)),
                   .found = checked_calloc(categories, sizeof(int))};
    for (int64_t i = 0; i < instances.count; i++) expect_detections(instances.verdicts[i], &found);
    assert_true(found.hits > 0);
    expect_figure(&instances, "point_accuracy_by_phrase", (double)found.hits / found.phrases);
    expect_figure(&instances, "point_accuracy",
                  (double)found.detections_that_hit / found.detections);
    expect_figure(&instances, "ar", mean_recall(&found));
    expect_figure(&instances, "ap", figure(&instances, "ap50")); // no IoU between 0 and 1
    print_message("%lld images, %d phrases, %d detections: AP %.3f, AR %.3f\n",
                  (long long)instances.count, found.phrases, found.detections,
                  figure(&instances, "ap"), figure(&instances, "ar"));
    free(found.truths);
    free(found.found);
    free_evaluated(&instances);
    panoptic_annotations_free(&panoptic);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        IN_FOLDER(narratives_recall_the_segments_their_points_are_in),
        IN_FOLDER(instances_are_found_where_their_points_are_inside),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
