// rooms: eval models ops checkpoints data autograd
// From answers to figures, task by task, with answers made up here: no model.
#include "data/coco_segmentation.h"
#include "eval/tasks/judging.h"
#include "eval/tasks/results.h"
#include "eval/tasks/tasks.h"
#include "tests/unit/temporary_folder.h"

#include <math.h>
#include <unistd.h>

enum { SIDE = 8, GRID = 4, CELLS = GRID * GRID };

// ---- made-up images and answers

static void write_file(const char *name, const char *text) {
    FILE *file = fopen(in_folder(name), "w");
    fputs(text, file);
    fclose(file);
}

/// An answer to a picture of SIDE x SIDE whose tokens are the words of `text`, with the blanks in
/// front of them; token t looks at cell cells[t] of GRID x GRID, -1: nowhere in particular.
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
    answer.maps = checked_calloc((size_t)answer.num_tokens * CELLS + 1, sizeof(float));
    for (int t = 0; t < answer.num_tokens; t++)
        if (cells[t] >= 0) answer.maps[t * CELLS + cells[t]] = 1;
    return answer;
}

static json_t *judge(const Task *task, const void *data, int64_t index, Segmenter *segmenter,
                     const EvaluationOptions *options, const char *text, const int *cells) {
    Error error = {0};
    Answer answer = say(text, cells);
    Image picture = image_new(SIDE, SIDE);
    memset(picture.pixels, 128, SIDE * SIDE * 3);
    TaskItem item = {0};
    task->item(data, index, &item);
    Judge how = {.options = options, .segmenter = segmenter, .picture = &picture};
    if (segmenter) assert_true(segmenter->see(segmenter, &picture, item.image_id, &error));
    json_t *verdict = task->judge(data, index, &how, &answer, &error);
    if (!verdict) fail_msg("%s", error.message);
    json_object_set_new(verdict, "id", json_string(item.id));
    json_object_set_new(verdict, "image_id", json_string(item.image_id));
    image_free(&picture);
    answer_free(&answer);
    return verdict;
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
    write_file("instances.json", INSTANCES);
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

int main(void) {
    const struct CMUnitTest tests[] = {
        IN_FOLDER(points_count_against_the_masks_of_their_class_only),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
