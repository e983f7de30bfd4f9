// rooms: eval models ops checkpoints data autograd
// Verdicts are kept while an evaluation is under way, and results appear together: with a task of
// numbers made up here, without a model and without pictures.
#include "eval/tasks/judging.h"
#include "eval/tasks/results.h"
#include "tests/unit/temporary_folder.h"

#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

enum { NUM_ITEMS = 7 };

/// What the task was asked to do, beside its items.
typedef struct Numbers {
    int judged, fails_at;
    bool has_twins;
} Numbers;

static int64_t count_items(const void *data) {
    (void)data;
    return NUM_ITEMS;
}

/// Two items an image, but for the last.
static void item_at(const void *data, int64_t index, TaskItem *item) {
    static const char *const IMAGES[] = {"a", "b", "c", "d"};
    bool is_twin = ((const Numbers *)data)->has_twins && index == 4;
    snprintf(item->id, sizeof item->id, "%d", is_twin ? 2 : (int)index);
    item->image = index / 2;
    item->image_id = item->file_name = IMAGES[index / 2];
}

static json_t *judge_number(const void *data, int64_t index, const Judge *judge,
                            const Answer *answer, Error *error) {
    Numbers *numbers = (Numbers *)data;
    (void)judge, (void)answer;
    if (numbers->fails_at == index) {
        error_set(error, "number %d is unlucky", (int)index);
        return NULL;
    }
    numbers->judged++;
    return json_pack("{s:i}", "square", (int)(index * index));
}

static bool measure(const void *data, const EvaluationOptions *options, json_t *const *verdicts,
                    int64_t count, Figures *figures, Error *error) {
    (void)data, (void)options, (void)error;
    figures_begin(figures, (int)count);
    double(*mean)[2] = figures_add_ratio(figures, "mean");
    for (int64_t i = 0; i < count; i++) {
        figures_name_unit(figures, (int)i, "item");
        mean[i][0] = verdict_number(verdicts[i], "square");
        mean[i][1] = 1;
    }
    return true;
}

static const Task NUMBERS = {.name = "numbers",
                             .count = count_items,
                             .item = item_at,
                             .judge = judge_number,
                             .measure = measure};

static const EvaluationOptions EVERY = {.annotations = "numbers", .samples = -1};

/// A store with an answer to the items that are not `missing`.
static AnswerStore *store_without(int missing) {
    Error error = {0};
    json_t *with = json_pack("{s:s}", "model", "none");
    char folder[256];
    snprintf(folder, sizeof folder, "%s", in_folder("answers"));
    mkdir(folder, 0777);
    AnswerWriter *writer = answer_writer_open(folder, 0, 0, with, &error);
    for (int i = 0; i < NUM_ITEMS; i++) {
        char id[16];
        Answer answer = {.text = "so", .layers = 1, .heads = 1};
        snprintf(id, sizeof id, "%d", i);
        if (i != missing && !answer_writer_put(writer, id, &answer, &error))
            fail_msg("%s", error.message);
    }
    answer_writer_close(writer);
    AnswerStore *store = answer_store_open(folder, with, &error);
    if (!store) fail_msg("%s", error.message);
    json_decref(with);
    return store;
}

static JudgingOptions options_of(const Numbers *numbers, const AnswerStore *store,
                                 const json_t *judged_with, int process, int num_processes) {
    return (JudgingOptions){.task = &NUMBERS,
                            .data = numbers,
                            .evaluation = &EVERY,
                            .store = store,
                            .judged_with = judged_with,
                            .folder = temporary_folder,
                            .process = process,
                            .num_processes = num_processes};
}

static void judge_all(const JudgingOptions *options) {
    Error error = {0};
    if (!judging_run(options, &error)) fail_msg("%s", error.message);
}

static void check_verdicts(const JudgingOptions *options) {
    Error error = {0};
    int64_t count;
    json_t **verdicts = judging_collect(options, &count, &error);
    if (!verdicts) fail_msg("%s", error.message);
    assert_int_equal(count, NUM_ITEMS);
    for (int i = 0; i < NUM_ITEMS; i++) assert_true(verdict_number(verdicts[i], "square") == i * i);
    verdicts_free(verdicts, count);
}

static bool is_there(const char *name) { return access(in_folder(name), F_OK) == 0; }

// ---- verdicts

static void what_was_judged_before_is_not_judged_again(void **state) {
    (void)state;
    Error error = {0};
    json_t *with = json_pack("{s:s}", "segmenter", "one");
    AnswerStore *store = store_without(-1);
    Numbers numbers = {.fails_at = 5};
    JudgingOptions options = options_of(&numbers, store, with, 0, 1);
    assert_false(judging_run(&options, &error));
    assert_string_equal(error.message, "number 5 is unlucky");
    assert_int_equal(numbers.judged, 5);
    int64_t count;
    assert_null(judging_collect(&options, &count, &error));
    assert_non_null(strstr(error.message, "item 5 has not been judged"));
    // a kill in the middle of a record
    char path[256];
    snprintf(path, sizeof path, "%s", in_folder("verdicts-000.journal"));
    struct stat status;
    assert_int_equal(stat(path, &status), 0);
    assert_int_equal(truncate(path, status.st_size - 3), 0);
    numbers.fails_at = -1;
    // three processes go on: of items 4 (cut short), 5 and 6
    assert_true(judging_clean(&options, &error));
    for (int process = 0; process < 3; process++) {
        JudgingOptions share = options_of(&numbers, store, with, process, 3);
        judge_all(&share);
    }
    assert_int_equal(numbers.judged, 5 + 3);
    check_verdicts(&options);
    judging_remove_journals(&options);
    assert_false(is_there("verdicts-000.journal") || is_there("verdicts-002.journal"));
    answer_store_close(store);
    json_decref(with);
}

static void verdicts_of_another_judging_are_not_taken_over(void **state) {
    (void)state;
    Error error = {0};
    json_t *one = json_pack("{s:s}", "segmenter", "one"),
           *other = json_pack("{s:s}", "segmenter", "other");
    AnswerStore *store = store_without(-1);
    Numbers numbers = {.fails_at = -1};
    JudgingOptions first = options_of(&numbers, store, one, 0, 1),
                   second = options_of(&numbers, store, other, 0, 1);
    judge_all(&first);
    int64_t count;
    assert_null(judging_collect(&second, &count, &error)); // even if they were not cleaned
    assert_true(judging_clean(&second, &error));
    assert_false(is_there("verdicts-000.journal"));
    judge_all(&second);
    assert_int_equal(numbers.judged, 2 * NUM_ITEMS);
    check_verdicts(&second);
    answer_store_close(store);
    json_decref(one);
    json_decref(other);
}

static void a_process_with_nothing_to_judge_leaves_no_journal(void **state) {
    (void)state;
    json_t *with = json_pack("{s:s}", "segmenter", "one");
    AnswerStore *store = store_without(-1);
    Numbers numbers = {.fails_at = -1};
    JudgingOptions options = options_of(&numbers, store, with, 5, 6); // of four images
    judge_all(&options);
    assert_int_equal(numbers.judged, 0);
    assert_false(is_there("verdicts-005.journal"));
    answer_store_close(store);
    json_decref(with);
}

static void answers_that_are_missing_are_counted_before_anything_is_judged(void **state) {
    (void)state;
    Error error = {0};
    AnswerStore *store = store_without(3);
    Numbers numbers = {.fails_at = -1};
    JudgingOptions options = options_of(&numbers, store, NULL, 0, 1);
    assert_false(judging_check_answers(&options, &error));
    assert_non_null(strstr(error.message, "1 of 7 items have no answer there, the first is '3'"));
    answer_store_close(store);
}

static void two_items_of_one_id_are_refused(void **state) {
    (void)state;
    Error error = {0};
    Numbers numbers = {0};
    assert_true(evaluation_check_ids(&NUMBERS, &numbers, &EVERY, &error));
    numbers.has_twins = true;
    assert_false(evaluation_check_ids(&NUMBERS, &numbers, &EVERY, &error));
    assert_string_equal(error.message,
                        "numbers: two items have the id 2; every item needs its own");
}

// ---- results

static void write_file(const char *name, const char *text) {
    FILE *file = fopen(in_folder(name), "w");
    assert_non_null(file);
    fputs(text, file);
    fclose(file);
}

static bool write_results(double number) {
    Error error = {0};
    Numbers numbers = {0};
    json_t *verdict = json_pack("{s:s, s:s, s:s, s:f}", "id", "0", "image_id", "0", "answer", "",
                                "square", number),
           *none = json_object();
    ResultsOptions options = {.task = &NUMBERS,
                              .data = &numbers,
                              .evaluation = &EVERY,
                              .folder = temporary_folder,
                              .architecture = "none",
                              .asked_with = none,
                              .judged_with = none};
    FILE *out = fopen("/dev/null", "w");
    bool ok = results_write(&options, &verdict, 1, out, &error);
    fclose(out);
    json_decref(verdict);
    json_decref(none);
    return ok;
}

/// Of the only verdict in the folder.
static int first_square(void) {
    Error error = {0};
    int64_t count;
    json_t **verdicts = results_read_verdicts(temporary_folder, &count, &error);
    if (!verdicts) fail_msg("%s", error.message);
    assert_int_equal(count, 1);
    int square = (int)verdict_number(verdicts[0], "square");
    verdicts_free(verdicts, count);
    return square;
}

static void results_take_the_place_of_others_together(void **state) {
    (void)state;
    write_file("items.jsonl.abcdef", "half a li"); // of a kill
    assert_true(write_results(4));
    assert_false(is_there("items.jsonl.abcdef"));
    // A disk with room for items.jsonl, not for results.json.
    struct rlimit before, full;
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
    full = before;
    full.rlim_cur = 96;
    signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &full), 0);
    bool written = write_results(9);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &before), 0);
    signal(SIGXFSZ, SIG_DFL);
    assert_false(written);
    assert_int_equal(first_square(), 4);
    assert_true(is_there("results.json"));
    assert_true(write_results(9));
    assert_int_equal(first_square(), 9);
}

static void pictures_of_an_earlier_judging_go(void **state) {
    (void)state;
    assert_int_equal(mkdir(in_folder("pictures"), 0777), 0);
    write_file("pictures/000.png", "");
    write_file("pictures/001.png", "");
    write_file("pictures/000.png.abcdef", "");
    write_file("pictures/mine.png", "");
    assert_true(write_results(1));
    assert_false(is_there("pictures/000.png") || is_there("pictures/001.png") ||
                 is_there("pictures/000.png.abcdef"));
    assert_true(is_there("pictures/mine.png"));
}

static void a_line_that_is_no_verdict_is_named(void **state) {
    (void)state;
    Error error = {0};
    int64_t count;
    write_file("items.jsonl", "{\"id\": \"1\", \"image_id\": \"1\", \"answer\": \"\"}\n"
                              "{\"id\": \"2\"}\n");
    assert_null(results_read_verdicts(temporary_folder, &count, &error));
    assert_non_null(strstr(error.message, "items.jsonl:2: is no verdict"));
    assert_null(results_read_verdicts(in_folder("nowhere"), &count, &error));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        IN_FOLDER(what_was_judged_before_is_not_judged_again),
        IN_FOLDER(verdicts_of_another_judging_are_not_taken_over),
        IN_FOLDER(a_process_with_nothing_to_judge_leaves_no_journal),
        IN_FOLDER(answers_that_are_missing_are_counted_before_anything_is_judged),
        IN_FOLDER(two_items_of_one_id_are_refused),
        IN_FOLDER(results_take_the_place_of_others_together),
        IN_FOLDER(pictures_of_an_earlier_judging_go),
        IN_FOLDER(a_line_that_is_no_verdict_is_named),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
