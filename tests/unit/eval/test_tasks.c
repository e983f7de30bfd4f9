// rooms: eval models ops checkpoints data autograd
// From answers to figures, task by task, with answers made up here: no model.
#include "eval/annotations/grounded_captions.h"
#include "eval/phrases/phrase_similarity.h"
#include "eval/tasks/judging.h"
#include "eval/tasks/showing.h"
#include "eval/tasks/tasks.h"
#include "tests/unit/temporary_folder.h"

#include <math.h>
#include <sys/stat.h>

enum { SIDE = 8, GRID = 4, CELLS = GRID * GRID };

// ---- made-up images and answers

/// An answer to a picture of SIDE x SIDE whose tokens are the words of `text`, with the blanks in
/// front of them, each an utterance; token t looks at cell cells[t] of GRID x GRID, -1: nowhere in
/// particular.
static Answer say(const char *text, const int *cells) {
    Answer answer = {.grid = {GRID, GRID},
                     .layers = 1,
                     .heads = 1,
                     .frame = {SIDE, SIDE, 0, 0},
                     .image_height = SIDE,
                     .image_width = SIDE,
                     .ended = true};
    int length = (int)strlen(text);
    answer.text = format_string("%s", text);
    answer.ids = checked_calloc((size_t)length + 1, sizeof(int32_t));
    answer.token_begin = checked_calloc((size_t)length + 1, sizeof(int32_t));
    answer.token_end = checked_calloc((size_t)length + 1, sizeof(int32_t));
    for (int at = 0; at < length;) {
        int end = at + 1;
        while (end < length && text[end] != ' ') end++;
        answer.token_begin[answer.num_tokens] = at;
        answer.token_end[answer.num_tokens++] = end;
        at = end;
    }
    answer.num_utterances = answer.num_tokens;
    answer.utterances = checked_calloc((size_t)answer.num_tokens + 1, sizeof(TokenRange));
    for (int t = 0; t < answer.num_tokens; t++) answer.utterances[t] = (TokenRange){t, t + 1};
    answer.maps = checked_calloc((size_t)answer.num_tokens * CELLS + 1, sizeof(float));
    for (int t = 0; t < answer.num_tokens; t++)
        if (cells[t] >= 0) answer.maps[t * CELLS + cells[t]] = 1;
    return answer;
}

/// For tasks that look for chunks.
static PhraseFinder *found_by;

static json_t *judge(const Task *task, const void *data, int64_t index, Segmenter *segmenter,
                     const EvaluationOptions *options, const char *text, const int *cells) {
    Error error = {0};
    Answer answer = say(text, cells);
    Image picture = image_new(SIDE, SIDE);
    memset(picture.pixels, 128, SIDE * SIDE * 3);
    TaskItem item = {0};
    task->item(data, index, &item);
    Judge how = {
        .options = options, .segmenter = segmenter, .phrases = found_by, .picture = &picture};
    if (segmenter) assert_true(segmenter->see(segmenter, &picture, item.image_id, &error));
    json_t *verdict = task->judge(data, index, &how, &answer, &error);
    if (!verdict) fail_msg("%s", error.message);
    json_object_set_new(verdict, "id", json_string(item.id));
    json_object_set_new(verdict, "image_id", json_string(item.image_id));
    image_free(&picture);
    answer_free(&answer);
    return verdict;
}

/// What is shown of the verdict about an answer, to be freed; without the answer only figures.
static ShownVerdict show(const Task *task, const void *data, int64_t index,
                         const EvaluationOptions *options, const char *text, const int *cells,
                         json_t *verdict) {
    Error error = {0};
    Answer answer = say(text, cells);
    ShownVerdict shown, figures;
    json_object_set_new(verdict, "answer", json_string(text));
    if (!verdict_show(task, data, index, options, &answer, verdict, &shown, &error))
        fail_msg("%s", error.message);
    assert_true(verdict_show(task, data, index, options, NULL, verdict, &figures, &error));
    assert_true(figures.figure == shown.figure || (isnan(figures.figure) && isnan(shown.figure)));
    shown_verdict_free(&figures);
    answer_free(&answer);
    return shown;
}

/// `tokens` of the answer point, ended by -1; the truth has so many pixels.
static void expect_shown(const ShownPhrase *phrase, const int *tokens, int64_t truth,
                         const char *truth_name, int hit, double iou) {
    for (int t = 0; t < phrase->num_tokens; t++) assert_int_equal(phrase->tokens[t], tokens[t]);
    assert_int_equal(tokens[phrase->num_tokens], -1);
    assert_int_equal(phrase->has_truth ? coco_mask_area(&phrase->truth) : 0, truth);
    assert_string_equal(phrase->truth_name ? phrase->truth_name : "", truth_name);
    assert_int_equal(phrase->hit, hit);
    assert_true(phrase->iou == iou || (isnan(phrase->iou) && isnan(iou)));
}

static double figure(const json_t *figures, const char *name) {
    const json_t *value = json_object_get(figures, name);
    if (!json_is_number(value)) fail_msg("there is no figure %s", name);
    return json_number_value(value);
}

/// The figures of verdicts, which are freed.
static json_t *measure(const Task *task, const void *data, const EvaluationOptions *options,
                       json_t **verdicts, int64_t count) {
    Error error = {0};
    Figures figures;
    if (!task->measure(data, options, verdicts, count, &figures, &error))
        fail_msg("%s", error.message);
    json_t *described = figures_describe(&figures, 1);
    figures_free(&figures);
    for (int64_t i = 0; i < count; i++) json_decref(verdicts[i]);
    return described;
}

// ---- points

static const char INSTANCES[] =
    "{\"images\": [{\"id\": 1, \"file_name\": \"1.png\", \"width\": 8, \"height\": 8},"
    "{\"id\": 2, \"file_name\": \"2.png\", \"width\": 8, \"height\": 8}],"
    "\"categories\": [{\"id\": 3, \"name\": \"ring\"}, {\"id\": 5, \"name\": \"star\"},"
    "{\"id\": 9, \"name\": \"box\"}],"
    "\"annotations\": [{\"id\": 7, \"image_id\": 1, \"category_id\": 3, \"iscrowd\": 0,"
    "\"segmentation\": [[0,0,4,0,4,4,0,4]]},"
    "{\"id\": 8, \"image_id\": 1, \"category_id\": 5, \"iscrowd\": 0,"
    "\"segmentation\": [[4,4,8,4,8,8,4,8]]},"
    "{\"id\": 9, \"image_id\": 2, \"category_id\": 3, \"iscrowd\": 0,"
    "\"segmentation\": [[0,0,8,0,8,4,0,4]]}]}";

static void points_count_against_the_masks_of_their_class_only(void **state) {
    (void)state;
    Error error = {0};
    write_text("instances.json", INSTANCES);
    char *path = format_string("%s", in_folder("instances.json"));
    EvaluationOptions options = {
        .annotations = path, .samples = -1, .grounding = {.normalise = true}};
    void *data = TASK_POINTS.open(&options, &error);
    assert_non_null(data);
    assert_int_equal(TASK_POINTS.count(data), 2);
    Segmenter *truth = segmenter_truth();
    // image 1: the ring at cell 0 is hit, the star at cell 1 (upper right) is not; no box is there
    json_t *verdicts[2];
    verdicts[0] = judge(&TASK_POINTS, data, 0, truth, &options, "a ring and a star in a box",
                        (int[]){-1, 0, -1, -1, 3, -1, -1, 5});
    json_t *phrases = json_object_get(verdicts[0], "phrases");
    assert_int_equal(json_array_size(phrases), 3);
    assert_true(json_is_true(json_object_get(json_array_get(phrases, 0), "hit")));
    assert_true(json_is_false(json_object_get(json_array_get(phrases, 1), "hit")));
    assert_true(json_is_false(json_object_get(json_array_get(phrases, 2), "present")));
    assert_true(verdict_number(json_array_get(phrases, 0), "iou") == 1);
    assert_true(json_is_null(json_object_get(json_array_get(phrases, 1), "mask")));
    ShownVerdict shown = show(&TASK_POINTS, data, 0, &options, "a ring and a star in a box",
                              (int[]){-1, 0, -1, -1, 3, -1, -1, 5}, verdicts[0]);
    assert_int_equal(shown.count, 3);
    expect_shown(&shown.phrases[0], (int[]){1, -1}, 16, "ring", 1, 1);
    expect_shown(&shown.phrases[1], (int[]){4, -1}, 16, "star", 0, 0);
    expect_shown(&shown.phrases[2], (int[]){7, -1}, 0, "box", 0, 0);
    assert_true(fabs(shown.figure - 1 / 3.0) < 1e-12);
    shown_verdict_free(&shown);
    verdicts[1] = judge(&TASK_POINTS, data, 1, truth, &options, "rings", (int[]){1});
    json_t *figures = measure(&TASK_POINTS, data, &options, verdicts, 2);
    assert_true(fabs(figure(figures, "point_accuracy") - (2 / 3.0)) < 1e-12);
    assert_true(figure(figures, "nouns") == 4 && figure(figures, "present") == 3);
    assert_true(fabs(figure(figures, "noun_precision") - (3 / 4.0)) < 1e-12);
    assert_true(fabs(figure(figures, "random_point") - ((0.25 + 0.25 + 0.5) / 3)) < 1e-12);
    assert_true(fabs(figure(figures, "centre") - (1 / 3.0)) < 1e-12);
    json_decref(figures);
    truth->close(truth);
    TASK_POINTS.close(data);
    free(path);
}

// ---- res

static const char REFERRING_INSTANCES[] =
    "{\"images\": [{\"id\": 1, \"file_name\": \"1.png\", \"width\": 8, \"height\": 8}],"
    "\"annotations\": [{\"id\": 7, \"image_id\": 1, \"category_id\": 3,"
    "\"segmentation\": [[0,0,4,0,4,4,0,4]]}], \"categories\": []}";

/// A pickle of one reference with two sentences, written by hand (protocol 0).
static const char REFERENCES[] =
    "(lp0\n(dp1\nVref_id\nI4\nsVann_id\nI7\nsVcategory_id\nI3\nsVimage_id\nI1\nsVsplit\nVval\n"
    "sVfile_name\nVx_7.jpg\nsVsent_ids\n(lI0\naI1\nasVsentences\n(l"
    "(dVsent_id\nI0\nsVsent\nVleft ring\nsVraw\nVleft ring\nsVtokens\n(lsa"
    "(dVsent_id\nI1\nsVsent\nVring\nsVraw\nVring\nsVtokens\n(lsasa.";

typedef struct Referring {
    char *path;
    EvaluationOptions options;
    void *data;
    Segmenter *truth;
} Referring;

static Referring open_referring(void) {
    Error error = {0};
    write_text("instances.json", REFERRING_INSTANCES);
    write_text("refs(unc).p", REFERENCES);
    Referring referring = {.path = format_string("%s", in_folder("refs(unc).p"))};
    referring.options = (EvaluationOptions){
        .annotations = referring.path, .samples = -1, .grounding = {.normalise = true}};
    referring.data = TASK_RES.open(&referring.options, &error);
    if (!referring.data) fail_msg("%s", error.message);
    referring.truth = segmenter_truth();
    return referring;
}

static void close_referring(Referring *referring) {
    referring->truth->close(referring->truth);
    TASK_RES.close(referring->data);
    free(referring->path);
}

static json_t *refer(const Referring *referring, const char *text, const int *cells) {
    return judge(&TASK_RES, referring->data, 0, referring->truth, &referring->options, text, cells);
}

/// Where the first phrase of a verdict points, as a cell; -1 without one.
static int cell_of(json_t *verdict) {
    const json_t *point =
        json_object_get(json_array_get(json_object_get(verdict, "phrases"), 0), "point");
    int cell = point ? (int)json_integer_value(json_array_get(point, 1)) / 2 * GRID +
                           (int)json_integer_value(json_array_get(point, 0)) / 2
                     : -1;
    json_decref(verdict);
    return cell;
}

static void the_token_behind_the_first_verb_of_being_answers_an_expression(void **state) {
    (void)state;
    Referring referring = open_referring();
    assert_int_equal(TASK_RES.count(referring.data), 2);
    // whole words: the "is" of "skis" is none
    assert_int_equal(cell_of(refer(&referring, "the skis is red", (int[]){1, 2, 3, 7})), 7);
    assert_int_equal(cell_of(refer(&referring, "the ring is", (int[]){1, 2, 3})), -1);
    assert_int_equal(cell_of(refer(&referring, "a ring", (int[]){1, 2})), -1);
    assert_int_equal(cell_of(refer(&referring, "", NULL)), -1);
    // what was meant is shown all the same
    json_t *verdict = refer(&referring, "a ring", (int[]){1, 2});
    ShownVerdict shown =
        show(&TASK_RES, referring.data, 0, &referring.options, "a ring", (int[]){1, 2}, verdict);
    assert_int_equal(shown.count, 1);
    assert_string_equal(shown.phrases[0].name, "left ring");
    expect_shown(&shown.phrases[0], (int[]){-1}, 16, "left ring", 0, 0);
    assert_true(shown.figure == 0);
    shown_verdict_free(&shown);
    json_decref(verdict);
    // the maximum over the first eight, whatever they say
    referring.options.referring_tokens = FIRST_EIGHT;
    assert_int_equal(cell_of(refer(&referring, "a ring", (int[]){-1, 9})), 9);
    close_referring(&referring);
}

static void expressions_are_counted_with_and_without_a_mask(void **state) {
    (void)state;
    Referring referring = open_referring();
    json_t *verdicts[] = {refer(&referring, "it is here", (int[]){-1, -1, 0}),
                          refer(&referring, "it is there", (int[]){-1, -1, 15})};
    assert_true(verdict_number(verdicts[0], "intersection") == 16);
    assert_true(verdict_number(verdicts[0], "union") == 16);
    assert_true(verdict_number(verdicts[1], "intersection") == 0);
    assert_true(verdict_number(verdicts[1], "union") == 16); // the area of the truth
    ShownVerdict shown = show(&TASK_RES, referring.data, 0, &referring.options, "it is there",
                              (int[]){-1, -1, 15}, verdicts[1]);
    assert_int_equal(shown.count, 1);
    expect_shown(&shown.phrases[0], (int[]){2, -1}, 16, "left ring", 0, 0);
    shown_verdict_free(&shown);
    json_t *figures = measure(&TASK_RES, referring.data, &referring.options, verdicts, 2);
    assert_true(figure(figures, "giou") == 0.5 && figure(figures, "ciou") == 0.5);
    assert_true(figure(figures, "precision_at_0.9") == 0.5);
    assert_true(figure(figures, "point_accuracy") == 0.5);
    assert_true(figure(figures, "random_point") == 0.25);
    assert_true(figure(figures, "images") == 1 && figure(figures, "expressions") == 2);
    json_decref(figures);
    close_referring(&referring);
}

// ---- png

static const char PANOPTIC[] =
    "{\"images\": [{\"id\": 1, \"file_name\": \"1.jpg\", \"width\": 8, \"height\": 8}],"
    "\"categories\": [{\"id\": 3, \"name\": \"ring\", \"isthing\": 1},"
    "{\"id\": 9, \"name\": \"grass\", \"isthing\": 0}],"
    "\"annotations\": [{\"image_id\": 1, \"file_name\": \"1.png\", \"segments_info\": ["
    "{\"id\": 1, \"category_id\": 3}, {\"id\": 2, \"category_id\": 3},"
    "{\"id\": 4, \"category_id\": 9}]}]}";
static const char NARRATIVES[] =
    "[{\"image_id\": \"1\", \"caption\": \"rings on ring grass\", \"segments\": ["
    "{\"utterance\": \"rings\", \"segment_ids\": [\"1\", \"2\"], \"plural\": true, \"noun\": true},"
    "{\"utterance\": \" on\", \"segment_ids\": [], \"plural\": false, \"noun\": false},"
    "{\"utterance\": \" ring\", \"segment_ids\": [\"2\"], \"plural\": false, \"noun\": true},"
    "{\"utterance\": \" grass\", \"segment_ids\": [\"4\"], \"plural\": false, \"noun\": true}]}]";

/// Segment 1 is the upper left quarter, 2 the upper right one, 4 the lower half.
static void write_panoptic_map(void) {
    Error error = {0};
    Image map = image_new(SIDE, SIDE);
    memset(map.pixels, 0, SIDE * SIDE * 3);
    for (int p = 0; p < SIDE * SIDE; p++)
        map.pixels[3 * p] = p / SIDE >= SIDE / 2 ? 4 : p % SIDE >= SIDE / 2 ? 2 : 1;
    assert_true(image_write_png(in_folder("1.png"), &map, &error));
    image_free(&map);
}

static void utterances_are_counted_as_things_and_plurals(void **state) {
    (void)state;
    Error error = {0};
    write_text("narratives.json", NARRATIVES);
    write_text("panoptic.json", PANOPTIC);
    write_panoptic_map();
    char *narratives = format_string("%s", in_folder("narratives.json")),
         *panoptic = format_string("%s", in_folder("panoptic.json"));
    EvaluationOptions options = {.annotations = narratives,
                                 .segments = panoptic,
                                 .masks = temporary_folder,
                                 .samples = -1,
                                 .grounding = {.normalise = true}};
    void *data = TASK_PNG.open(&options, &error);
    if (!data) fail_msg("%s", error.message);
    Segmenter *truth = segmenter_truth();
    // one of two rings is found; the other ring is looked for in the grass; the grass is found
    json_t *verdicts[] = {
        judge(&TASK_PNG, data, 0, truth, &options, "rings on ring grass", (int[]){0, -1, 15, 12})};
    assert_int_equal(mkdir(in_folder("predictions"), 0777), 0);
    assert_true(TASK_PNG.publish(data, verdicts, 1, in_folder("predictions"), &error));
    json_t *published = json_load_file(in_folder("predictions/png_predictions.json"), 0, NULL);
    json_t *segments = json_object_get(json_array_get(published, 0), "segments");
    assert_int_equal(json_array_size(segments), 4); // also those that name nothing
    assert_true(verdict_number(json_array_get(segments, 0), "iou") == 0.5);
    assert_null(json_object_get(json_array_get(segments, 1), "iou"));
    assert_true(json_is_object(json_object_get(json_array_get(segments, 3), "pd_mask")));
    json_decref(published);
    ShownVerdict shown = show(&TASK_PNG, data, 0, &options, "rings on ring grass",
                              (int[]){0, -1, 15, 12}, verdicts[0]);
    assert_int_equal(shown.count, 3);
    expect_shown(&shown.phrases[0], (int[]){0, -1}, 32, "ring", 1, 0.5);
    expect_shown(&shown.phrases[1], (int[]){2, -1}, 16, "ring", 0, 0);
    expect_shown(&shown.phrases[2], (int[]){3, -1}, 32, "grass", 1, 1);
    assert_true(shown.figure == 0.5);
    shown_verdict_free(&shown);
    json_t *figures = measure(&TASK_PNG, data, &options, verdicts, 1);
    assert_true(figure(figures, "average_recall_all") == 0.5);
    assert_true(figure(figures, "average_recall_things") == 0.25);
    assert_true(figure(figures, "average_recall_stuff") == 1);
    assert_true(figure(figures, "average_recall_plural") == 0.5);
    assert_true(figure(figures, "average_recall_singular") == 0.5);
    assert_true(fabs(figure(figures, "point_accuracy") - 2 / 3.0) < 1e-12);
    assert_true(fabs(figure(figures, "random_point") - (0.5 + 0.25 + 0.5) / 3) < 1e-12);
    assert_true(fabs(figure(figures, "centre") - 1 / 3.0) < 1e-12); // pixel (4, 4) is grass
    assert_true(figure(figures, "phrases") == 3 && figure(figures, "narratives") == 1);
    json_decref(figures);
    truth->close(truth);
    TASK_PNG.close(data);
    free(narratives);
    free(panoptic);
}

// ---- gcg

static const char CAPTIONS[] =
    "{\"images\": [{\"id\": \"a\"}, {\"id\": \"b\"}], \"annotations\": ["
    "{\"id\": 1, \"image_id\": \"a\", \"caption\": \"a ring and a star\","
    " \"labels\": [\"a ring\", \"a star\"]},"
    "{\"id\": 2, \"image_id\": \"b\", \"caption\": \"a box\", \"labels\": [\"a box\"]}]}";
static const char CAPTION_MASKS[] =
    "{\"annotations\": ["
    "{\"image_id\": \"a\", \"segmentation\": {\"size\": [8, 8], \"counts\": [0, 4, 4, 4, 4, 4, 4, "
    "4, 36]}},"
    "{\"image_id\": \"a\", \"segmentation\": {\"size\": [8, 8], \"counts\": [36, 4, 4, 4, 4, 4, 4, "
    "4]}},"
    "{\"image_id\": \"b\", \"segmentation\": {\"size\": [8, 8], \"counts\": [0, 64]}}]}";

static void phrases_of_a_conversation_are_published_and_counted(void **state) {
    (void)state;
    Error error = {0};
    write_text("captions.json", CAPTIONS);
    write_text("masks.json", CAPTION_MASKS);
    char *captions = format_string("%s", in_folder("captions.json")),
         *masks = format_string("%s", in_folder("masks.json"));
    EvaluationOptions options = {.annotations = captions,
                                 .masks = masks,
                                 .samples = -1,
                                 .similarity = word_similarity,
                                 .grounding = {.normalise = true}};
    void *data = TASK_GCG.open(&options, &error);
    if (!data) fail_msg("%s", error.message);
    Segmenter *truth = segmenter_truth();
    PhraseFinder *finder = phrase_finder_open(NULL, &error);
    found_by = finder;
    // image a: the ring is found, the star is looked for where the ring is; image b: nothing named
    json_t *verdicts[] = {
        judge(&TASK_GCG, data, 0, truth, &options, "A ring and a star.", (int[]){-1, 0, -1, -1, 0}),
        judge(&TASK_GCG, data, 1, truth, &options, "", NULL)};
    for (int i = 0; i < 2; i++)
        json_object_set_new(verdicts[i], "answer", json_string(i ? "" : "A ring and a star."));
    json_t *phrases = json_object_get(verdicts[0], "phrases");
    assert_int_equal(json_array_size(phrases), 2);
    assert_string_equal(json_string_value(json_object_get(json_array_get(phrases, 0), "phrase")),
                        "A ring");
    assert_int_equal(mkdir(in_folder("predictions"), 0777), 0);
    assert_true(TASK_GCG.publish(data, verdicts, 2, in_folder("predictions"), &error));
    GroundedCaption prediction;
    assert_true(grounded_caption_read(in_folder("predictions/a.json"), &prediction, &error));
    assert_int_equal(prediction.num_phrases, 2);
    assert_int_equal(prediction.num_points, 2);
    assert_int_equal(coco_mask_area(&prediction.masks[0]), 16);
    grounded_caption_free(&prediction);
    // an image without any phrase has its file all the same
    assert_true(grounded_caption_read(in_folder("predictions/b.json"), &prediction, &error));
    assert_int_equal(prediction.num_phrases, 0);
    grounded_caption_free(&prediction);
    ShownVerdict shown = show(&TASK_GCG, data, 0, &options, "A ring and a star.",
                              (int[]){-1, 0, -1, -1, 0}, verdicts[0]);
    assert_int_equal(shown.count, 2);
    expect_shown(&shown.phrases[0], (int[]){1, -1}, 16, "a ring", 1, 1);
    // it is where the ring is, and so compared with it
    expect_shown(&shown.phrases[1], (int[]){4, -1}, 16, "a ring", 1, 1);
    shown_verdict_free(&shown);
    shown = show(&TASK_GCG, data, 1, &options, "", NULL, verdicts[1]);
    assert_true(shown.count == 0 && isnan(shown.figure));
    shown_verdict_free(&shown);
    json_t *figures = measure(&TASK_GCG, data, &options, verdicts, 2);
    assert_true(fabs(figure(figures, "mask_recall_by_words") - 1 / 3.0) < 1e-12);
    assert_true(figure(figures, "miou") == 0.5); // 1 in a, 0 in b
    assert_true(json_object_get(figures, "mask_recall") == NULL);
    assert_true(figure(figures, "cider") >= 0);
    json_decref(figures);
    found_by = NULL;
    phrase_finder_close(finder);
    truth->close(truth);
    TASK_GCG.close(data);
    free(captions);
    free(masks);
}

// ---- instances

static void what_is_named_is_a_detection_of_its_category(void **state) {
    (void)state;
    Error error = {0};
    write_text("instances.json", INSTANCES);
    char *path = format_string("%s", in_folder("instances.json"));
    EvaluationOptions options = {
        .annotations = path, .samples = -1, .grounding = {.normalise = true}};
    void *data = TASK_INSTANCES.open(&options, &error);
    if (!data) fail_msg("%s", error.message);
    assert_int_equal(TASK_INSTANCES.count(data), 2);
    Segmenter *truth = segmenter_truth();
    PhraseFinder *finder = found_by = phrase_finder_open(NULL, &error);
    // no box is in image 1, and no star in image 2: such categories are not to be had
    json_t *verdicts[] = {judge(&TASK_INSTANCES, data, 0, truth, &options,
                                "A ring and a star and a box.",
                                (int[]){-1, 0, -1, -1, 15, -1, -1, 5}),
                          judge(&TASK_INSTANCES, data, 1, truth, &options, "A star and a ring.",
                                (int[]){-1, 0, -1, -1, 15})};
    json_t *first = json_object_get(verdicts[0], "phrases"),
           *second = json_object_get(verdicts[1], "phrases");
    assert_int_equal(json_array_size(first), 2);
    assert_int_equal(json_array_size(second), 1);
    assert_string_equal(json_string_value(json_object_get(json_array_get(second, 0), "category")),
                        "ring");
    assert_int_equal(mkdir(in_folder("predictions"), 0777), 0);
    assert_true(TASK_INSTANCES.publish(data, verdicts, 2, in_folder("predictions"), &error));
    json_t *results = json_load_file(in_folder("predictions/instances_results.json"), 0, NULL);
    assert_int_equal(json_array_size(results), 2); // the second ring's point is in nothing
    assert_int_equal(json_integer_value(json_object_get(json_array_get(results, 0), "image_id")),
                     1);
    assert_int_equal(json_integer_value(json_object_get(json_array_get(results, 1), "category_id")),
                     5);
    json_decref(results);
    ShownVerdict shown = show(&TASK_INSTANCES, data, 0, &options, "A ring and a star and a box.",
                              (int[]){-1, 0, -1, -1, 15, -1, -1, 5}, verdicts[0]);
    assert_int_equal(shown.count, 2);
    expect_shown(&shown.phrases[0], (int[]){1, -1}, 16, "ring", 1, 1);
    expect_shown(&shown.phrases[1], (int[]){4, -1}, 16, "star", 1, 1);
    assert_true(shown.figure == 1);
    shown_verdict_free(&shown);
    json_t *figures = measure(&TASK_INSTANCES, data, &options, verdicts, 2);
    assert_true(figure(figures, "point_accuracy") == 1);
    assert_true(fabs(figure(figures, "point_accuracy_by_phrase") - 2 / 3.0) < 1e-12);
    assert_true(figure(figures, "ap50") > 0.7 && figure(figures, "ap50") < 1);
    json_decref(figures);
    found_by = NULL;
    phrase_finder_close(finder);
    truth->close(truth);
    TASK_INSTANCES.close(data);
    free(path);
}

static void a_verdict_about_another_answer_is_not_shown(void **state) {
    (void)state;
    Error error = {0};
    Referring referring = open_referring();
    json_t *verdict = refer(&referring, "it is here", (int[]){-1, -1, 0});
    json_object_set_new(verdict, "answer", json_string("it is here"));
    Answer answer = say("it is now", (int[]){-1, -1, 0});
    ShownVerdict shown;
    assert_false(verdict_show(&TASK_RES, referring.data, 0, &referring.options, &answer, verdict,
                              &shown, &error));
    assert_non_null(strstr(error.message, "not about the stored answer"));
    // nor one that reaches beyond it
    answer_free(&answer);
    answer = say("it is here", (int[]){-1, -1, 0});
    json_t *phrase = json_array_get(json_object_get(verdict, "phrases"), 0);
    json_object_set_new(phrase, "end", json_integer(11));
    assert_false(verdict_show(&TASK_RES, referring.data, 0, &referring.options, &answer, verdict,
                              &shown, &error));
    // nor one that points to where no picture is
    json_object_set_new(phrase, "end", json_integer(10));
    json_object_set_new(phrase, "point", json_pack("[i, i]", 0, -1));
    assert_false(verdict_show(&TASK_RES, referring.data, 0, &referring.options, NULL, verdict,
                              &shown, &error));
    answer_free(&answer);
    json_decref(verdict);
    close_referring(&referring);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        IN_FOLDER(a_verdict_about_another_answer_is_not_shown),
        IN_FOLDER(points_count_against_the_masks_of_their_class_only),
        IN_FOLDER(the_token_behind_the_first_verb_of_being_answers_an_expression),
        IN_FOLDER(expressions_are_counted_with_and_without_a_mask),
        IN_FOLDER(utterances_are_counted_as_things_and_plurals),
        IN_FOLDER(phrases_of_a_conversation_are_published_and_counted),
        IN_FOLDER(what_is_named_is_a_detection_of_its_category),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
