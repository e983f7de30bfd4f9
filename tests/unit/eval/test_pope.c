// rooms: eval models ops checkpoints data autograd
/// POPE: questions as they are published, answers read as LLaVA's script reads them, figures
/// counted by hand, and what is refused.
#include "eval/annotations/pope.h"
#include "eval/tasks/items.h"
#include "eval/tasks/tasks.h"
#include "tests/unit/task_figures.h"

#include <sys/stat.h>
#include <unistd.h>

static const char RANDOM[] =
    "{\"question_id\": 1, \"image\": \"a.jpg\", \"text\": \"Is there a dog in the image?\", "
    "\"label\": \"yes\"}\n"
    "{\"question_id\": 2, \"image\": \"a.jpg\", \"text\": \"Is there an egg in the image?\", "
    "\"label\": \"no\"}\n"
    "\n"
    "{\"question_id\": 3, \"image\": \"b.jpg\", \"image_id\": 7, \"text\": \"Is there a cat in the "
    "image?\", \"label\": \"yes\"}\n"
    "{\"question_id\": 4, \"image\": \"a.jpg\", \"text\": \"Is there a cup in the image?\", "
    "\"label\": \"no\"}"; // no end of line
static const char POPULAR[] =
    "\xef\xbb\xbf{\"question_id\": 1, \"image\": \"b.jpg\", \"text\": \"Is there a man in the "
    "image?\", \"label\": \"no\"}\r\n";
static const char ADVERSARIAL[] =
    "{\"question_id\": \"x\", \"image\": \"a.jpg\", \"text\": \"Is there a cow in the image?\", "
    "\"label\": \"no\"}\n";

/// The folder with the three files; freed by the caller.
static char *write_files(void) {
    char *folder = format_string("%s", in_folder("pope"));
    assert_int_equal(mkdir(folder, 0777), 0);
    write_text("pope/coco_pope_random.json", RANDOM);
    write_text("pope/coco_pope_popular.json", POPULAR);
    write_text("pope/coco_pope_adversarial.json", ADVERSARIAL);
    write_text("pope/coco_co_occur.json", "{}"); // what POPE's program writes besides
    return folder;
}

static void *open_items(const char *path) { return open_task(&TASK_POPE, path); }

static json_t *judge(const void *data, int64_t index, const char *text) {
    return judge_text(&TASK_POPE, data, index, text);
}

static json_t *measure(const void *data, json_t **verdicts, int64_t count) {
    return measure_verdicts(&TASK_POPE, data, verdicts, count);
}

static const char *text_of(const json_t *object, const char *key) {
    const char *text = json_string_value(json_object_get(object, key));
    if (!text) fail_msg("no text under %s", key);
    return text;
}

static void questions_of_an_image_follow_each_other_over_all_files(void **state) {
    (void)state;
    static const char *const EXPECTED[][3] = {
        {"random-1", "a.jpg", "Is there a dog in the image?"},
        {"random-2", "a.jpg", "Is there an egg in the image?"},
        {"random-4", "a.jpg", "Is there a cup in the image?"},
        {"adversarial-x", "a.jpg", "Is there a cow in the image?"},
        {"random-3", "b.jpg", "Is there a cat in the image?"},
        {"popular-1", "b.jpg", "Is there a man in the image?"}};
    Error error;
    char *folder = write_files();
    void *data = open_items(folder);
    EvaluationOptions options = {.annotations = folder, .samples = 1};
    assert_int_equal(TASK_POPE.count(data), 6);
    for (int i = 0; i < 6; i++) {
        TaskItem item = {0};
        TASK_POPE.item(data, i, &item);
        assert_string_equal(item.id, EXPECTED[i][0]);
        assert_string_equal(item.file_name, EXPECTED[i][1]);
        assert_string_equal(item.image_id, EXPECTED[i][1]);
        assert_string_equal(item.expression, EXPECTED[i][2]);
        assert_int_equal(item.image, i >= 4);
    }
    assert_int_equal(evaluation_items(&TASK_POPE, data, &options), 4);
    assert_true(evaluation_check_ids(&TASK_POPE, data, &options, &error));
    char *prompt = task_prompt(TASK_POPE.prompt, EXPECTED[0][2]);
    assert_string_equal(prompt, "Is there a dog in the image?\nAnswer the question using a single "
                                "word or phrase.");
    free(prompt);
    TASK_POPE.close(data);
    free(folder);
}

static void answers_are_read_as_published(void **state) {
    (void)state;
    static const struct {
        const char *answer, *says;
    } CASES[] = {{"Yes", "yes"},
                 {"No", "no"},
                 {"no", "no"},
                 {"NO", "yes"}, // published so
                 {"No.", "no"},
                 {"No, there is no ring.", "no"},
                 {"Yes, there is a small red ring.", "yes"},
                 {"There is not. Yes", "no"},
                 {"Yes. No", "yes"},
                 {".no", "yes"},
                 {"", "yes"},
                 {" no\n", "no"},
                 {"\x1eno\u00a0", "no"}, // white space as Python has it
                 {"No\nring", "yes"},    // words lie between blanks
                 {"No ring", "no"},
                 {"a,no", "yes"},
                 {"n,o", "no"},
                 {"yes,  not", "no"},
                 {"Nothing", "yes"},
                 {"none", "yes"},
                 {"it cannot be seen", "yes"},
                 {"I see no\tring", "yes"}};
    char *folder = write_files();
    void *data = open_items(folder);
    for (size_t i = 0; i < sizeof CASES / sizeof *CASES; i++) {
        json_t *verdict = judge(data, 0, CASES[i].answer);
        if (strcmp(text_of(verdict, "says"), CASES[i].says) != 0)
            fail_msg("'%s' is read as %s", CASES[i].answer, text_of(verdict, "says"));
        assert_string_equal(text_of(verdict, "label"), "yes");
        assert_string_equal(text_of(verdict, "category"), "random");
        json_decref(verdict);
    }
    TASK_POPE.close(data);
    free(folder);
}

static void figures_are_counted_per_category_and_over_all(void **state) {
    (void)state;
    char *folder = write_files();
    void *data = open_items(folder);
    // random: dog yes (right), egg yes (wrong), cup no (right), cat no (wrong)
    json_t *verdicts[] = {judge(data, 0, "Yes"), judge(data, 1, "Yes."), judge(data, 2, "No"),
                          judge(data, 3, "Yes"), judge(data, 4, "No"),   judge(data, 5, "No")};
    json_t *figures = measure(data, verdicts, 6);
    expect_figure(figures, "accuracy", 3 / 6.0);
    expect_figure(figures, "precision", 1 / 3.0);
    expect_figure(figures, "recall", 1 / 2.0);
    expect_figure(figures, "f1", 2 / 5.0);
    expect_figure(figures, "yes_ratio", 3 / 6.0);
    expect_figure(figures, "accuracy_random", 2 / 4.0);
    expect_figure(figures, "precision_random", 1 / 2.0);
    expect_figure(figures, "recall_random", 1 / 2.0);
    expect_figure(figures, "f1_random", 1 / 2.0);
    expect_figure(figures, "yes_ratio_random", 2 / 4.0);
    // where nothing is to be found or nothing was, there is no figure
    expect_figure(figures, "accuracy_popular", 1);
    expect_figure(figures, "precision_popular", NAN);
    expect_figure(figures, "recall_popular", NAN);
    expect_figure(figures, "f1_popular", NAN);
    expect_figure(figures, "yes_ratio_popular", 0);
    expect_figure(figures, "precision_adversarial", 0);
    expect_figure(figures, "f1_adversarial", 0);
    expect_figure(figures, "mean_f1", NAN);
    expect_figure(figures, "images", 2);
    expect_figure(figures, "questions", 6);
    assert_int_equal(json_array_size(json_object_get(json_object_get(figures, "intervals"), "f1")),
                     2);
    json_decref(figures);
    TASK_POPE.close(data);
    free(folder);
}

static void the_mean_of_f1_is_over_categories(void **state) {
    (void)state;
    char *folder = write_files();
    // f1: 2 / 3 in random, 1 in popular and adversarial
    write_text("pope/coco_pope_popular.json", "{\"question_id\": 1, \"image\": \"a.jpg\", "
                                              "\"text\": \"A?\", \"label\": \"yes\"}\n");
    write_text("pope/coco_pope_adversarial.json", "{\"question_id\": 1, \"image\": \"a.jpg\", "
                                                  "\"text\": \"B?\", \"label\": \"yes\"}\n");
    void *data = open_items(folder);
    // dog, egg, cup, A, B; cat
    json_t *verdicts[] = {judge(data, 0, "Yes"), judge(data, 1, "No"),  judge(data, 2, "No"),
                          judge(data, 3, "Yes"), judge(data, 4, "Yes"), judge(data, 5, "No")};
    json_t *figures = measure(data, verdicts, 6);
    expect_figure(figures, "f1_random", 2 / 3.0);
    expect_figure(figures, "mean_f1", (2 / 3.0 + 2) / 3);
    expect_figure(figures, "f1", 6 / 7.0);
    json_decref(figures);
    TASK_POPE.close(data);
    free(folder);
}

static void one_file_has_figures_without_categories(void **state) {
    (void)state;
    write_text("coco_pope_random.json", RANDOM);
    void *data = open_items(in_folder("coco_pope_random.json"));
    json_t *verdicts[] = {judge(data, 0, "Yes"), judge(data, 1, "No")};
    json_t *figures = measure(data, verdicts, 2);
    expect_figure(figures, "accuracy", 1);
    assert_null(json_object_get(figures, "accuracy_random"));
    assert_null(json_object_get(figures, "mean_f1"));
    json_decref(figures);
    TASK_POPE.close(data);
    // a file of any name: ids are the questions' own
    write_text("mine.txt", RANDOM);
    data = open_items(in_folder("mine.txt"));
    TaskItem item = {0};
    TASK_POPE.item(data, 0, &item);
    assert_string_equal(item.id, "1");
    json_decref(judge(data, 0, "Yes"));
    TASK_POPE.close(data);
}

static void expect_lines(const char *name, const char *const *questions, const char *const *texts,
                         int count) {
    FILE *file = fopen(in_folder(name), "r");
    assert_non_null(file);
    for (int i = 0; i < count; i++) {
        json_t *line = json_loadf(file, JSON_DISABLE_EOF_CHECK, NULL);
        json_t *id = json_object_get(line, "question_id");
        char *shown = json_dumps(id, JSON_ENCODE_ANY);
        assert_string_equal(shown, questions[i]);
        assert_string_equal(text_of(line, "text"), texts[i]);
        assert_true(*text_of(line, "prompt") && *text_of(line, "answer_id"));
        assert_string_equal(text_of(line, "model_id"), "difflmm");
        assert_int_equal(json_object_size(json_object_get(line, "metadata")), 0);
        assert_int_equal(json_object_size(line), 6);
        assert_int_equal(fgetc(file), '\n');
        free(shown);
        json_decref(line);
    }
    assert_int_equal(fgetc(file), EOF);
    fclose(file);
}

static void answers_are_published_in_the_order_of_the_questions(void **state) {
    (void)state;
    Error error;
    char *folder = write_files();
    void *data = open_items(folder);
    json_t *verdicts[] = {judge(data, 0, "Yes"),      judge(data, 1, "No."),
                          judge(data, 2, " a cup\n"), judge(data, 3, "\"ä\""),
                          judge(data, 4, "cat"),      judge(data, 5, "man")};
    assert_int_equal(mkdir(in_folder("predictions"), 0777), 0);
    assert_true(TASK_POPE.publish(data, verdicts, 6, in_folder("predictions"), &error));
    expect_lines("predictions/coco_pope_random_answers.jsonl", (const char *[]){"1", "2", "3", "4"},
                 (const char *[]){"Yes", "No.", "cat", "a cup"}, 4);
    expect_lines("predictions/coco_pope_popular_answers.jsonl", (const char *[]){"1"},
                 (const char *[]){"man"}, 1);
    expect_lines("predictions/coco_pope_adversarial_answers.jsonl", (const char *[]){"\"x\""},
                 (const char *[]){"\"ä\""}, 1);
    // of the first image alone
    assert_true(TASK_POPE.publish(data, verdicts, 4, in_folder("predictions"), &error));
    expect_lines("predictions/coco_pope_random_answers.jsonl", (const char *[]){"1", "2", "4"},
                 (const char *[]){"Yes", "No.", "a cup"}, 3);
    expect_lines("predictions/coco_pope_popular_answers.jsonl", NULL, NULL, 0);
    for (int i = 0; i < 6; i++) json_decref(verdicts[i]);
    TASK_POPE.close(data);
    free(folder);
}

#define LINE(id, image, text, label) \
    "{\"question_id\": " id ", \"image\": " image ", \"text\": " text ", \"label\": " label "}\n"
#define GOOD LINE("1", "\"a.jpg\"", "\"Is it?\"", "\"yes\"")

static void what_is_wrong_is_said_with_file_and_line(void **state) {
    (void)state;
    static const char *const CASES[][2] = {
        {"", "has no question"},
        {"\n \r\n", "has no question"},
        {GOOD LINE("2", "\"a.jpg\"", "\"Is it?\"", "\"maybe\""),
         ":2: \"label\" is \"maybe\"; expected \"yes\" or \"no\""},
        {GOOD LINE("2", "\"a.jpg\"", "\"Is it?\"", "\"Yes\""), ":2: \"label\" is \"Yes\""},
        {GOOD LINE("2", "\"a.jpg\"", "\"Is it?\"", "1"), ":2: \"label\" is 1"},
        {"{\"question_id\": 1, \"image\": \"a.jpg\", \"text\": \"Is it?\", \"category\": "
         "\"random\"}",
         ":1: \"label\" is missing"},
        {GOOD "\n" LINE("2", "null", "\"Is it?\"", "\"no\""), ":3: \"image\" is null"},
        {LINE("1", "\"\"", "\"Is it?\"", "\"no\""), ":1: \"image\" is \"\"; expected a text"},
        {LINE("1", "\"a.jpg\"", "[]", "\"no\""), ":1: \"text\" is []; expected a text"},
        {LINE("1.5", "\"a.jpg\"", "\"Is it?\"", "\"no\""), ":1: \"question_id\" is 1.5"},
        {"{\"image\": \"a.jpg\", \"text\": \"Is it?\", \"label\": \"no\"}",
         ":1: \"question_id\" is missing"},
        {GOOD LINE("\"1\"", "\"b.jpg\"", "\"Is it?\"", "\"no\""), ":2: question id 1 occurs twice"},
        {GOOD "[]", ":2: is []; expected an object"},
        {"[]", "has no question"},
        {"[3]", ": number 1 of the list: is 3; expected an object"},
        {"[\n{}", ":2: not valid JSON"},
        {GOOD "{\"question_id\": 2,\n\"image\"", ":2: not valid JSON, one question a line"},
        {GOOD "{\"question_id\": 2, \"text\": \"\xff\"}",
         ":2: not valid JSON, one question a line"},
        {"{\"images\": [], \"annotations\": []}", ":1: \"text\" is missing"}};
    for (size_t i = 0; i < sizeof CASES / sizeof *CASES; i++) {
        Error error = {0};
        EvaluationOptions options = {.annotations = in_folder("wrong.json"), .samples = -1};
        write_text("wrong.json", CASES[i][0]);
        assert_null(TASK_POPE.open(&options, &error));
        if (!strstr(error.message, "wrong.json") || !strstr(error.message, CASES[i][1]))
            fail_msg("case %zu: %s", i, error.message);
    }
}

static void a_folder_has_each_of_the_three_files_once(void **state) {
    (void)state;
    Error error = {0};
    char *folder = write_files();
    EvaluationOptions options = {.annotations = folder, .samples = -1};
    write_text("pope/gqa_pope_popular.json", POPULAR);
    assert_null(TASK_POPE.open(&options, &error));
    assert_non_null(strstr(error.message, "pope: has both coco_pope_popular.json and "
                                          "gqa_pope_popular.json"));
    unlink(in_folder("pope/gqa_pope_popular.json"));
    unlink(in_folder("pope/coco_pope_adversarial.json"));
    assert_null(TASK_POPE.open(&options, &error));
    assert_non_null(strstr(error.message, "pope: has no ..._pope_adversarial.json"));
    // as POPE names those of other data sets
    write_text("pope/gqa_pope_seem_adversarial.json",
               "\n[{\"question_id\": 1, \"image\": \"a.jpg\", \"text\": \"Is there a cow in the "
               "image?\", \"label\": \"no\"},\n {\"question_id\": 2, \"image\": \"a.jpg\", "
               "\"text\": \"Is there a\\npig?\", \"label\": \"yes\"}]\n");
    void *data = TASK_POPE.open(&options, &error);
    if (!data) fail_msg("%s", error.message);
    TaskItem item = {0};
    TASK_POPE.item(data, 3, &item);
    assert_string_equal(item.id, "adversarial-1");
    assert_int_equal(TASK_POPE.count(data), 7);
    TASK_POPE.close(data);
    options.annotations = "/missing/pope";
    assert_null(TASK_POPE.open(&options, &error));
    assert_non_null(strstr(error.message, "/missing/pope: "));
    free(folder);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        IN_FOLDER(questions_of_an_image_follow_each_other_over_all_files),
        IN_FOLDER(answers_are_read_as_published),
        IN_FOLDER(figures_are_counted_per_category_and_over_all),
        IN_FOLDER(the_mean_of_f1_is_over_categories),
        IN_FOLDER(one_file_has_figures_without_categories),
        IN_FOLDER(answers_are_published_in_the_order_of_the_questions),
        IN_FOLDER(what_is_wrong_is_said_with_file_and_line),
        IN_FOLDER(a_folder_has_each_of_the_three_files_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
