// rooms: eval models ops checkpoints data autograd
/// GQA: questions as they are published, answers read as LLaVA's scripts read them, figures counted
/// by hand, and what is refused.
#include "eval/annotations/gqa.h"
#include "eval/tasks/items.h"
#include "eval/tasks/tasks.h"
#include "tests/unit/task_figures.h"

#include <sys/stat.h>

#define QUESTION(id, image, text, answer, balanced, structural, semantic)                 \
    "\"" id "\": {\"semantic\": [{\"operation\": \"select\", \"dependencies\": []}], "    \
    "\"entailed\": [], \"question\": \"" text "\", \"imageId\": \"" image "\", "          \
    "\"isBalanced\": " balanced ", \"groups\": {\"global\": null}, \"answer\": \"" answer \
    "\", \"types\": {\"detailed\": \"x\", \"semantic\": \"" semantic                      \
    "\", \"structural\": \"" structural "\"}, \"fullAnswer\": \"It is.\"}"

static const char QUESTIONS[] = "{" QUESTION(
    "201307251", "n1", "Is it overcast?", "no", "true", "verify",
    "global") ", " QUESTION("7", "n2", "What color is it?", "light blue", "true", "query",
                            "attr") ", " QUESTION("201307252", "n1", "Who is it?", "man", "true",
                                                  "query",
                                                  "rel") ",\n" QUESTION("12345678901234567890",
                                                                        "n1", "Is it?", "yes",
                                                                        "false", "logical",
                                                                        "obj") ", " QUESTION("9",
                                                                                             "n1",
                                                                                             "Left "
                                                                                             "or "
                                                                                             "right"
                                                                                             "?",
                                                                                             "left",
                                                                                             "true",
                                                                                             "choos"
                                                                                             "e",
                                                                                             "rel") "}\n";

/// Written as testdev_balanced_questions.json.
static void *open_items(const char *text) {
    write_text("testdev_balanced_questions.json", text);
    return open_task(&TASK_GQA, in_folder("testdev_balanced_questions.json"));
}

static json_t *judge(const void *data, int64_t index, const char *text) {
    return judge_text(&TASK_GQA, data, index, text);
}

static void questions_of_an_image_follow_each_other(void **state) {
    (void)state;
    static const char *const EXPECTED[][3] = {{"201307251", "n1.jpg", "Is it overcast?"},
                                              {"201307252", "n1.jpg", "Who is it?"},
                                              {"12345678901234567890", "n1.jpg", "Is it?"},
                                              {"9", "n1.jpg", "Left or right?"},
                                              {"7", "n2.jpg", "What color is it?"}};
    Error error;
    void *data = open_items(QUESTIONS);
    EvaluationOptions options = {.samples = 1};
    assert_int_equal(TASK_GQA.count(data), 5);
    for (int i = 0; i < 5; i++) {
        TaskItem item = {0};
        TASK_GQA.item(data, i, &item);
        assert_string_equal(item.id, EXPECTED[i][0]);
        assert_string_equal(item.file_name, EXPECTED[i][1]);
        assert_string_equal(item.expression, EXPECTED[i][2]);
        assert_int_equal(item.image, i == 4);
    }
    assert_int_equal(evaluation_items(&TASK_GQA, data, &options), 4);
    assert_true(evaluation_check_ids(&TASK_GQA, data, &options, &error));
    char *prompt = task_prompt(TASK_GQA.prompt, EXPECTED[0][2]);
    assert_string_equal(prompt,
                        "Is it overcast?\nAnswer the question using a single word or phrase.");
    free(prompt);
    TASK_GQA.close(data);
}

static void answers_are_read_as_published(void **state) {
    (void)state;
    static const struct {
        const char *answer, *says;
        bool is_right;
    } CASES[] = {{"Light blue", "light blue", true},
                 {" LIGHT BLUE\n", "light blue", true},
                 {"Light blue...", "light blue", true}, // published so: all of them
                 {"Light blue. ", "light blue", true},
                 {"Light blue .", "light blue ", false},
                 {"\x1e\u00a0Light blue\u3000\x1c", "light blue", true}, // str.strip()
                 {"Light  blue", "light  blue", false},
                 {"It is light blue.", "it is light blue", false},
                 {"Blue", "blue", false},
                 {"light blue, green", "light blue, green", false},
                 {"\u00c4rger", "\u00e4rger", false},
                 {"...", "", false},
                 {"", "", false}};
    void *data = open_items(QUESTIONS);
    for (size_t i = 0; i < sizeof CASES / sizeof *CASES; i++) {
        json_t *verdict = judge(data, 4, CASES[i].answer);
        const char *says = json_string_value(json_object_get(verdict, "says"));
        if (strcmp(says, CASES[i].says) != 0)
            fail_msg("'%s' is read as '%s'", CASES[i].answer, says);
        assert_int_equal(json_is_true(json_object_get(verdict, "right")), CASES[i].is_right);
        assert_string_equal(json_string_value(json_object_get(verdict, "expected")), "light blue");
        json_decref(verdict);
    }
    TASK_GQA.close(data);
}

static void figures_are_of_balanced_questions(void **state) {
    (void)state;
    void *data = open_items(QUESTIONS);
    // overcast right, who wrong, the unbalanced one wrong, left right, the colour right
    json_t *verdicts[] = {judge(data, 0, "No"), judge(data, 1, "Woman"), judge(data, 2, "No"),
                          judge(data, 3, "left."), judge(data, 4, "Light blue")};
    json_t *described = measure_verdicts(&TASK_GQA, data, verdicts, 5);
    expect_figure(described, "accuracy", 3 / 4.0);
    expect_figure(described, "accuracy_binary", 1);
    expect_figure(described, "accuracy_open", 1 / 2.0);
    expect_figure(described, "accuracy_verify", 1);
    expect_figure(described, "accuracy_query", 1 / 2.0);
    expect_figure(described, "accuracy_choose", 1);
    expect_figure(described, "accuracy_rel", 1 / 2.0);
    expect_figure(described, "accuracy_attr", 1);
    expect_figure(described, "accuracy_logical", NAN);
    assert_null(json_object_get(described, "accuracy_compare"));
    expect_figure(described, "images", 2);
    expect_figure(described, "questions", 4);
    json_decref(described);
    TASK_GQA.close(data);
}

static void predictions_are_where_the_published_script_looks(void **state) {
    (void)state;
    static const char *const EXPECTED[][2] = {{"201307251", "no"},
                                              {"7", "light blue"},
                                              {"201307252", "the \"man\""},
                                              {"12345678901234567890", "yes"},
                                              {"9", ""}};
    Error error;
    void *data = open_items(QUESTIONS);
    json_t *verdicts[] = {judge(data, 0, "No."), judge(data, 1, "The \"man\""),
                          judge(data, 2, "Yes"), judge(data, 3, "."), judge(data, 4, "Light blue")};
    assert_int_equal(mkdir(in_folder("predictions"), 0777), 0);
    for (int count = 5; count >= 4; count--) { // all, and of the first image alone
        assert_true(TASK_GQA.publish(data, verdicts, count, in_folder("predictions"), &error));
        json_t *list =
            json_load_file(in_folder("predictions/testdev_balanced_predictions.json"), 0, NULL);
        assert_int_equal(json_array_size(list), count);
        for (int i = 0, at = 0; i < 5; i++) {
            if (count == 4 && i == 1) continue;
            const json_t *entry = json_array_get(list, (size_t)at++);
            assert_string_equal(json_string_value(json_object_get(entry, "questionId")),
                                EXPECTED[i][0]);
            assert_string_equal(json_string_value(json_object_get(entry, "prediction")),
                                EXPECTED[i][1]);
        }
        json_decref(list);
    }
    for (int i = 0; i < 5; i++) json_decref(verdicts[i]);
    TASK_GQA.close(data);
}

#define GOOD QUESTION("1", "a", "Is it?", "yes", "true", "verify", "obj")

static void what_is_wrong_is_said_with_file_and_question(void **state) {
    (void)state;
    static const char *const CASES[][2] = {
        {"{}", ": has no question"},
        {"", "expected an object at the top level"},
        {"[]", "expected an object at the top level"},
        {"{\"1\": 3}", ": question 1: is 3; expected an object"},
        {"{" GOOD ", " GOOD "}", ": question 1: occurs twice"},
        {"{" QUESTION("2", "a", "Is it?", "", "true", "verify", "obj") "}",
         ": question 2: \"answer\" is \"\"; expected a text"},
        {"{" QUESTION("2", "", "Is it?", "yes", "true", "verify", "obj") "}",
         ": question 2: \"imageId\" is \"\"; expected a text"},
        {"{" QUESTION("2", "a", "Is it?", "yes", "1", "verify", "obj") "}",
         ": question 2: \"isBalanced\" is 1; expected true or false"},
        {"{" QUESTION("2", "a", "Is it?", "yes", "true", "", "obj") "}",
         ": question 2: types: \"structural\" is \"\"; expected one of query, verify, choose, "
         "logical, compare"},
        {"{" QUESTION("2", "a", "Is it?", "yes", "true", "query", "relation") "}",
         ": question 2: types: \"semantic\" is \"relation\"; expected one of attr, obj, rel, cat, "
         "global"},
        {"{\"2\": {\"question\": \"Is it?\", \"imageId\": \"a\", \"isBalanced\": true}}",
         ": question 2: \"answer\" is missing; expected a text"},
        {"{\"2\": {\"question\": \"Is it?\", \"imageId\": \"a\", \"answer\": \"yes\"}}",
         ": question 2: \"types\" is missing; expected an object"},
        {"{" GOOD ",\n\"2\": {\"question\": \"\xff\"}}", ":2: not valid JSON: "},
        {"{" GOOD, "not valid JSON: ',' or '}' expected"},
        {"{" GOOD "} x", "not valid JSON: end of file expected"}};
    for (size_t i = 0; i < sizeof CASES / sizeof *CASES; i++) {
        Error error = {0};
        write_text("questions.json", CASES[i][0]);
        EvaluationOptions options = {.annotations = in_folder("questions.json")};
        assert_null(TASK_GQA.open(&options, &error));
        const char *name = "questions.json";
        if (!strstr(error.message, name) || !strstr(error.message, CASES[i][1]))
            fail_msg("'%s' is not in '%s'", CASES[i][1], error.message);
    }
    Error error = {0};
    EvaluationOptions options = {.annotations = in_folder("nowhere.json")};
    assert_null(TASK_GQA.open(&options, &error));
    assert_non_null(strstr(error.message, "nowhere.json"));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        IN_FOLDER(questions_of_an_image_follow_each_other),
        IN_FOLDER(answers_are_read_as_published),
        IN_FOLDER(figures_are_of_balanced_questions),
        IN_FOLDER(predictions_are_where_the_published_script_looks),
        IN_FOLDER(what_is_wrong_is_said_with_file_and_question),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
