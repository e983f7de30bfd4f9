// rooms: tiny_world data autograd
/// Questions that a word answers: answers are true of the scene, in conversations and in GQA's
/// form.
#include "data/tiny/short_questions.h"
#include "data/tiny/world.h"
#include "tests/unit/temporary_folder.h"

#include <string.h>

enum { NUM_TRAIN = 400, NUM_TEST = 80 };

static int make_world(void **state) {
    Error error;
    WorldOptions options = {
        .kind = WORLD_CROWDED, .seed = 5, .num_train = NUM_TRAIN, .num_test = NUM_TEST};
    return make_temporary_folder(state) || !world_write(in_folder("world"), &options, &error);
}

static json_t *load(const char *name) {
    json_t *value = json_load_file(in_folder(name), 0, NULL);
    if (!value) fail_msg("%s cannot be read", name);
    return value;
}

static const char *text_of(const json_t *object, const char *key) {
    const char *text = json_string_value(json_object_get(object, key));
    if (!text) fail_msg("no text under %s", key);
    return text;
}

/// The place of the name in a list, or -1.
static int find(const char *const *names, int count, const char *name, size_t length) {
    for (int i = 0; i < count; i++)
        if (strlen(names[i]) == length && !strncmp(names[i], name, length)) return i;
    return -1;
}

/// Whether the object of scenes.json has all these words but the last, and its last as its shape.
static bool is_called(const json_t *object, const char *words) {
    static const char *const KEYS[] = {"size", "color", "material", "shape"};
    for (const char *at = words; *at;) {
        const size_t length = strcspn(at, " ");
        bool is_its = false;
        for (int k = 0; k < 4; k++) {
            const char *value = text_of(object, KEYS[k]);
            is_its |= strlen(value) == length && !strncmp(value, at, length);
        }
        if (!is_its) return false;
        at += length + (at[length] == ' ');
    }
    return true;
}

/// The one object of the scene that is called so.
static const json_t *only(const json_t *scene, const char *words) {
    const json_t *found = NULL, *objects = json_object_get(scene, "objects");
    for (size_t i = 0; i < json_array_size(objects); i++) {
        if (!is_called(json_array_get(objects, i), words)) continue;
        if (found) fail_msg("'%s' names two objects", words);
        found = json_array_get(objects, i);
    }
    if (!found) fail_msg("'%s' names no object", words);
    return found;
}

static int count(const json_t *scene, const char *shape, size_t length) {
    const json_t *objects = json_object_get(scene, "objects");
    int found = 0;
    for (size_t i = 0; i < json_array_size(objects); i++) {
        const char *its = text_of(json_array_get(objects, i), "shape");
        found += strlen(its) == length && !strncmp(its, shape, length);
    }
    return found;
}

static double number_of(const json_t *object, const char *key) {
    return json_number_value(json_object_get(object, key));
}

static const char *third(double coordinate, const char *low, const char *high) {
    return coordinate < IMAGE_SIZE / 3.0 ? low : coordinate < 2 * IMAGE_SIZE / 3.0 ? "" : high;
}

/// What is true, worked out from scenes.json. Returns the kind of question.
static ShortKind answer_truly(const json_t *scene, const char *question, char answer[64]) {
    static const char *const NUMBERS[] = {"no", "one", "two", "three", "four", "five"};
    char first[64], second[64];
    if (!strcmp(question, "What is the ground?")) {
        snprintf(answer, 64, "%s", text_of(scene, "ground"));
        return SHORT_GROUND;
    }
    if (sscanf(question, "What color is the %63[^?]", first) == 1) {
        snprintf(answer, 64, "%s", text_of(only(scene, first), "color"));
        return SHORT_COLOR;
    }
    if (sscanf(question, "Is there a %63s in the image?", first) == 1) {
        snprintf(answer, 64, "%s", count(scene, first, strlen(first)) ? "yes" : "no");
        return SHORT_PRESENCE;
    }
    if (sscanf(question, "How many %63s are there?", first) == 1) {
        size_t length = strlen(first) - 1; // a plural
        if (find(SHAPE_NAMES, NUM_SHAPES, first, length) < 0) length--;
        assert_true(find(SHAPE_NAMES, NUM_SHAPES, first, length) >= 0);
        snprintf(answer, 64, "%s", NUMBERS[count(scene, first, length)]);
        return SHORT_COUNT;
    }
    if (sscanf(question, "Where is the %63[^?]", first) == 1) {
        const json_t *object = only(scene, first);
        const char *row = third(number_of(object, "y"), "top", "bottom"),
                   *column = third(number_of(object, "x"), "left", "right");
        snprintf(answer, 64, "%s%s%s", *row || *column ? row : "middle", *row && *column ? " " : "",
                 column);
        return SHORT_PLACE;
    }
    const char *middle = strstr(question, " left of, right of, above or below the ");
    if (!middle || strncmp(question, "Is the ", 7) != 0) fail_msg("'%s' is asked", question);
    snprintf(first, sizeof first, "%.*s", (int)(middle - question - 7), question + 7);
    snprintf(second, sizeof second, "%s",
             middle + strlen(" left of, right of, above or below the "));
    second[strcspn(second, "?")] = 0;
    const json_t *a = only(scene, first), *b = only(scene, second);
    const double right = number_of(a, "x") - number_of(b, "x"),
                 down = number_of(a, "y") - number_of(b, "y");
    if (right * right >= down * down)
        snprintf(answer, 64, "%s", right < 0 ? "left of" : "right of");
    else
        snprintf(answer, 64, "%s", down < 0 ? "above" : "below");
    return SHORT_RELATION;
}

static const json_t *scene_of(const json_t *scenes, const char *image) {
    for (size_t i = 0; i < json_array_size(scenes); i++)
        if (strstr(text_of(json_array_get(scenes, i), "file_name"), image))
            return json_array_get(scenes, i);
    fail_msg("there is no picture %s", image);
    return NULL;
}

static void the_test_s_answers_are_true_and_balanced(void **state) {
    (void)state;
    json_t *questions = load("world/test/gqa/testdev_balanced_questions.json"),
           *scenes = load("world/test/scenes.json"), *question;
    const char *id;
    int of_kind[NUM_SHORT_KINDS] = {0}, yes = 0, no = 0;
    json_object_foreach(questions, id, question) {
        char answer[64];
        const json_t *types = json_object_get(question, "types"),
                     *scene = scene_of(scenes, text_of(question, "imageId"));
        const ShortKind kind = answer_truly(scene, text_of(question, "question"), answer);
        assert_string_equal(text_of(question, "answer"), answer);
        assert_non_null(strcasestr(text_of(question, "fullAnswer"), answer));
        assert_true(json_is_true(json_object_get(question, "isBalanced")));
        assert_string_equal(text_of(types, "structural"), kind == SHORT_PRESENCE   ? "verify"
                                                          : kind == SHORT_RELATION ? "choose"
                                                                                   : "query");
        assert_true(*text_of(types, "semantic") && *text_of(types, "detailed"));
        yes += !strcmp(answer, "yes");
        no += !strcmp(answer, "no");
        of_kind[kind]++;
    }
    assert_int_equal(of_kind[SHORT_GROUND], NUM_TEST);
    for (int kind = 0; kind < NUM_SHORT_KINDS; kind++) assert_true(of_kind[kind] > NUM_TEST / 2);
    assert_true(yes == NUM_TEST && no > NUM_TEST * 9 / 10);
    json_decref(questions);
    json_decref(scenes);
}

static void every_fourth_conversation_is_answered_in_words(void **state) {
    (void)state;
    json_t *samples = load("world/train/llava_v1_5_mix665k.json"),
           *scenes = load("world/train/scenes.json");
    int found = 0, with_picture = 0, yes = 0, no = 0;
    for (size_t s = 0; s < json_array_size(samples); s++) {
        const json_t *sample = json_array_get(samples, s),
                     *turns = json_object_get(sample, "conversations"),
                     *image = json_object_get(sample, "image");
        with_picture += image != NULL;
        if (!strstr(text_of(json_array_get(turns, 0), "value"), SHORT_ANSWER_PROMPT)) continue;
        const json_t *scene = scene_of(scenes, text_of(sample, "id"));
        found++;
        for (size_t t = 0; t < json_array_size(turns); t += 2) {
            char question[256], answer[64];
            const char *asked = text_of(json_array_get(turns, t), "value");
            if (t == 0) assert_int_equal(strncmp(asked, "<image>\n", 8), 0);
            snprintf(question, sizeof question, "%s", asked + (t ? 0 : 8));
            char *end = strchr(question, '\n');
            assert_int_equal(end != NULL, t == 0); // the first alone says how to answer
            if (end) {
                assert_string_equal(end + 1, SHORT_ANSWER_PROMPT);
                *end = 0;
            }
            answer_truly(scene, question, answer);
            yes += !strcmp(answer, "yes");
            no += !strcmp(answer, "no");
            assert_string_equal(text_of(json_array_get(turns, t + 1), "value"), answer);
        }
    }
    assert_in_range(found, with_picture / 6, with_picture / 3);
    assert_in_range(yes, (yes + no) / 4, (yes + no) * 3 / 4);
    json_decref(samples);
    json_decref(scenes);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_test_s_answers_are_true_and_balanced),
        cmocka_unit_test(every_fourth_conversation_is_answered_in_words),
    };
    return cmocka_run_group_tests(tests, make_world, remove_temporary_folder);
}
