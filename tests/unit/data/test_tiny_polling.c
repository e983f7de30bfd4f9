// rooms: tiny_world data autograd
/// POPE's questions about the tiny world: labels are true, as many things are there as are not, and
/// those that are not were chosen as the file's name says.
#include "data/tiny/polling.h"
#include "data/tiny/world.h"
#include "tests/unit/temporary_folder.h"

#include <jansson.h>
#include <string.h>
#include <unistd.h>

enum { NUM_TEST = 60, MOST_QUESTIONS = NUM_TEST * 6, PAIRS = 3 };

static const char *const NAMES[] = {"random", "popular", "adversarial"};

/// By test picture.
static bool is_there[NUM_TEST][NUM_SHAPES];

typedef struct Question {
    int picture, shape;
    bool label;
} Question;

static int shape_named(const char *name) {
    int shape = 0;
    while (shape < NUM_SHAPES && strcmp(SHAPE_NAMES[shape], name) != 0) shape++;
    return shape;
}

static int make_world(void **state) {
    if (make_temporary_folder(state) != 0) return -1;
    Error error;
    WorldOptions options = {.seed = 5, .num_train = 2, .num_test = NUM_TEST};
    if (!world_write(in_folder("world"), &options, &error)) return -1;
    json_t *scenes = json_load_file(in_folder("world/test/scenes.json"), 0, NULL), *scene, *object;
    size_t s, i;
    json_array_foreach(scenes, s, scene) {
        json_array_foreach(json_object_get(scene, "objects"), i, object) {
            const char *name = json_string_value(json_object_get(object, "shape"));
            is_there[s][shape_named(name)] = true;
        }
    }
    json_decref(scenes);
    return 0;
}

static int read_questions(const char *name, Question *questions) {
    char path[64], line[256], shape[32], label[8];
    int count = 0, id, picture;
    snprintf(path, sizeof path, "world/test/pope/coco_pope_%s.json", name);
    FILE *file = fopen(in_folder(path), "r");
    assert_non_null(file);
    for (; fgets(line, sizeof line, file); count++) {
        assert_true(count < MOST_QUESTIONS);
        assert_int_equal(sscanf(line,
                                "{\"question_id\": %d, \"image\": \"%d.jpg\", \"text\": \"Is there "
                                "a %31s in the image?\", \"label\": \"%7[a-z]\"}",
                                &id, &picture, shape, label),
                         4);
        assert_int_equal(id, count + 1);
        questions[count] =
            (Question){picture - FIRST_TEST_ID, shape_named(shape), !strcmp(label, "yes")};
        assert_in_range(questions[count].picture, 0, NUM_TEST - 1);
        assert_true(questions[count].shape < NUM_SHAPES);
    }
    fclose(file);
    return count;
}

static void labels_are_true_and_half_of_them_are_yes(void **state) {
    (void)state;
    for (int f = 0; f < 3; f++) {
        static Question questions[MOST_QUESTIONS];
        int count = read_questions(NAMES[f], questions), asked[NUM_TEST] = {0};
        bool seen[NUM_TEST][NUM_SHAPES] = {{false}};
        for (int q = 0; q < count; q++) {
            const Question *question = &questions[q];
            assert_int_equal(question->label, q % 2 == 0);
            assert_int_equal(question->label, is_there[question->picture][question->shape]);
            assert_false(seen[question->picture][question->shape]);
            seen[question->picture][question->shape] = true;
            asked[question->picture]++;
        }
        for (int i = 0; i < NUM_TEST; i++) {
            int there = 0;
            for (int s = 0; s < NUM_SHAPES; s++) there += is_there[i][s];
            int most = there < NUM_SHAPES - there ? there : NUM_SHAPES - there;
            assert_int_equal(asked[i], 2 * (most < PAIRS ? most : PAIRS));
        }
    }
}

static void all_files_ask_about_the_same_things_that_are_there(void **state) {
    (void)state;
    static Question questions[3][MOST_QUESTIONS];
    int count[3];
    for (int f = 0; f < 3; f++) count[f] = read_questions(NAMES[f], questions[f]);
    int others = 0;
    for (int q = 0; q < count[0]; q++) {
        for (int f = 1; f < 3; f++) {
            assert_int_equal(count[f], count[0]);
            assert_int_equal(questions[f][q].picture, questions[0][q].picture);
            if (q % 2 == 0) assert_int_equal(questions[f][q].shape, questions[0][q].shape);
            others += questions[f][q].shape != questions[0][q].shape;
        }
    }
    assert_true(others > 0);
}

/// Whether no shape that could have been asked about instead of questions[at] has more counts.
static bool is_most(const Question *questions, int at, const int counts[NUM_SHAPES]) {
    const Question *question = &questions[at];
    bool asked[NUM_SHAPES] = {false};
    for (int q = 0; q < at; q++)
        if (questions[q].picture == question->picture) asked[questions[q].shape] = true;
    for (int s = 0; s < NUM_SHAPES; s++)
        if (!is_there[question->picture][s] && !asked[s] && counts[s] > counts[question->shape])
            return false;
    return true;
}

static void popular_things_are_frequent_and_adversarial_ones_go_with_what_is_there(void **state) {
    (void)state;
    static Question questions[MOST_QUESTIONS];
    int pictures[NUM_SHAPES] = {0}, together[NUM_SHAPES][NUM_SHAPES] = {{0}};
    for (int i = 0; i < NUM_TEST; i++) {
        for (int a = 0; a < NUM_SHAPES; a++) {
            pictures[a] += is_there[i][a];
            for (int b = 0; b < NUM_SHAPES; b++) together[a][b] += is_there[i][a] && is_there[i][b];
        }
    }
    int count = read_questions("popular", questions);
    for (int q = 1; q < count; q += 2) assert_true(is_most(questions, q, pictures));
    count = read_questions("adversarial", questions);
    for (int q = 1; q < count; q += 2)
        assert_true(is_most(questions, q, together[questions[q - 1].shape]));
    int random = 0;
    count = read_questions("random", questions);
    for (int q = 1; q < count; q += 2) random += !is_most(questions, q, pictures);
    assert_true(random > 0);
}

static void folders_above_the_world_are_made_and_go_again_after_a_failure(void **state) {
    (void)state;
    Error error;
    WorldOptions options = {.seed = 1, .num_train = 1, .num_test = 1};
    assert_true(world_write(in_folder("runs/of/world/"), &options, &error));
    assert_int_equal(access(in_folder("runs/of/world/test/pope/coco_pope_random.json"), R_OK), 0);
    // a name that is too long is found when the folders above are there
    char name[300];
    memset(name, 'x', sizeof name - 1);
    name[sizeof name - 1] = '\0';
    char *path = format_string("%s/%s", in_folder("made/too"), name);
    assert_false(world_write(path, &options, &error));
    free(path);
    assert_int_not_equal(access(in_folder("made"), F_OK), 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(labels_are_true_and_half_of_them_are_yes),
        cmocka_unit_test(all_files_ask_about_the_same_things_that_are_there),
        cmocka_unit_test(popular_things_are_frequent_and_adversarial_ones_go_with_what_is_there),
        cmocka_unit_test(folders_above_the_world_are_made_and_go_again_after_a_failure),
    };
    return cmocka_run_group_tests(tests, make_world, remove_temporary_folder);
}
