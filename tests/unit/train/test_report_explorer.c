// Explorers of evaluations, from stored answers to the page: evaluations are made by the program
// from answers made up here, without a model.
#include "autograd/json_file.h"
#include "data/coco_segmentation.h"
#include "eval/attention/answer_store.h"
#include "tests/pages/made_example.h"
#include "tests/unit/temporary_folder.h"
#include "train/report/report_explorer.h"

#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

enum { IMAGES = 6, WIDTH = 64, HEIGHT = 48 };

static const char *const NAMES[] = {"ring", "star", "butterfly", "box", "umbrella"};

/// stdout and stderr of the last run
static char output[65536];

/// `difflmm <arguments>`, '@' being the tests' folder; returns its exit code.
static int run(const char *arguments) {
    char command[4096];
    int used = snprintf(command, sizeof command, "cd '%s' && '%s' ", SOURCE_DIR, DIFFLMM_BINARY);
    for (const char *c = arguments; *c; c++) {
        const char put[] = {*c, 0};
        used += snprintf(command + used, sizeof command - (size_t)used, "%s",
                         *c == '@' ? temporary_folder : put);
    }
    snprintf(command + used, sizeof command - (size_t)used, " 2>&1");
    FILE *pipe = popen(command, "r");
    assert_non_null(pipe);
    output[fread(output, 1, sizeof output - 1, pipe)] = 0;
    int status = pclose(pipe);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static bool exists(const char *name) { return access(in_folder(name), F_OK) == 0; }

static void make_image(int i, uint32_t seed, MadeExample *made) {
    made_example(&(MadeOptions){.width = WIDTH,
                                .height = HEIGHT,
                                .grid = {8, 8},
                                .layers = 2,
                                .num_phrases = 1 + i % 3,
                                .seed = seed + (uint32_t)i},
                 made);
}

static void annotate(const MadeExample *made, int image, json_t *annotations) {
    for (int p = 0; p < made->num_phrases; p++) {
        int category = 0;
        while (strcmp(NAMES[category], made->phrases[p].category) != 0) category++;
        json_array_append_new(annotations,
                              json_pack("{s:i, s:i, s:i, s:o, s:i}", "id",
                                        1 + (int)json_array_size(annotations), "image_id", image,
                                        "category_id", category + 1, "segmentation",
                                        coco_runs_write(&made->truths[p]), "iscrowd", 0));
    }
}

/// Pictures, and what is in them: what the answers of seed 1 say.
static void write_world(void) {
    Error error = {0};
    json_t *images = json_array(), *annotations = json_array(), *categories = json_array();
    for (int c = 0; c < 5; c++)
        json_array_append_new(categories, json_pack("{s:i, s:s}", "id", c + 1, "name", NAMES[c]));
    for (int i = 0; i < IMAGES; i++) {
        MadeExample made;
        char file[16];
        snprintf(file, sizeof file, "%d.png", i);
        make_image(i, 1, &made);
        annotate(&made, i, annotations);
        json_array_append_new(images, json_pack("{s:i, s:s, s:i, s:i}", "id", i, "file_name", file,
                                                "width", WIDTH, "height", HEIGHT));
        assert_true(image_write_png(in_folder(file), &made.picture, &error));
        made_example_free(&made);
    }
    json_t *instances = json_pack("{s:o, s:o, s:o}", "images", images, "annotations", annotations,
                                  "categories", categories);
    assert_int_equal(json_dump_file(instances, in_folder("instances.json"), 0), 0);
    json_decref(instances);
}

/// Answers about the pictures, [folder]/answers-00?.h5.
static void write_answers(const char *folder, uint32_t seed) {
    Error error = {0};
    json_t *asked_with = json_pack("{s:s}", "eval.keep", "layers");
    assert_int_equal(mkdir(in_folder(folder), 0777), 0);
    AnswerWriter *writer = answer_writer_open(in_folder(folder), 0, 0, asked_with, &error);
    for (int i = 0; i < IMAGES; i++) {
        MadeExample made;
        char id[16];
        snprintf(id, sizeof id, "%d", i);
        make_image(i, seed, &made);
        assert_true(answer_writer_put(writer, id, &made.answer, &error));
        made_example_free(&made);
    }
    answer_writer_close(writer);
    assert_true(answer_store_pack(in_folder(folder), 0, 1, &error));
    json_decref(asked_with);
}

#define EVALUATE(name)                                                                    \
    "eval configs/tiny_eval.yaml eval.checkpoint=null eval.annotations=@/instances.json " \
    "eval.image_folder=@ eval.pictures=0 eval.answers=@/answers-" name                    \
    " eval.output_dir=@/run/eval/" name " "

static int make_evaluations(void **state) {
    make_temporary_folder(state);
    write_world();
    write_answers("answers-good", 1);
    write_answers("answers-bad", 77);
    assert_int_equal(mkdir(in_folder("run"), 0777), 0);
    if (run(EVALUATE("good")) != 0 || run(EVALUATE("bad")) != 0) fail_msg("%s", output);
    return 0;
}

#define WITH_EVALUATIONS(test) \
    cmocka_unit_test_setup_teardown(test, make_evaluations, remove_temporary_folder)

/// The examples of a page; the caller frees them.
static json_t *examples_of(const char *page) {
    static const char TAG[] = "id=\"examples\">";
    const char *begin = strstr(page, TAG) + strlen(TAG);
    json_t *examples = json_loadb(begin, (size_t)(strstr(begin, "</script>") - begin), 0, NULL);
    assert_non_null(examples);
    return examples;
}

static json_t *examples_in(const char *name) {
    static char page[4000000];
    FILE *file = fopen(in_folder(name), "r");
    assert_non_null(file);
    size_t length = fread(page, 1, sizeof page - 1, file);
    assert_true(length < sizeof page - 1);
    page[length] = 0;
    fclose(file);
    return examples_of(page);
}

static double figure_of(const json_t *examples, size_t at, size_t side) {
    const json_t *answers = json_object_get(json_array_get(examples, at), "answers");
    return json_number_value(json_object_get(json_array_get(answers, side), "figure"));
}

static void a_report_has_an_explorer_of_every_evaluation(void **state) {
    (void)state;
    if (run("report @/run") != 0) fail_msg("%s", output);
    assert_null(strstr(output, "warning"));
    json_t *examples = examples_in("run/report/explorer-bad.html");
    assert_int_equal(json_array_size(examples), IMAGES);
    for (size_t i = 1; i < IMAGES; i++)
        assert_true(figure_of(examples, i - 1, 0) <= figure_of(examples, i, 0));
    // two layers and both of the verdict's phrases, with points, truths and figures
    const json_t *answer =
        json_array_get(json_object_get(json_array_get(examples, 0), "answers"), 0);
    assert_int_equal(json_integer_value(json_object_get(answer, "layers")), 2);
    const json_t *phrase = json_array_get(json_object_get(answer, "phrases"), 0);
    assert_true(json_is_array(json_object_get(phrase, "point")));
    assert_true(json_is_boolean(json_object_get(phrase, "hit")));
    assert_true(json_array_size(json_object_get(phrase, "tokens")) > 0);
    json_decref(examples);
    char link[] = "grep -q 'href=\"explorer-good.html\"' '%s'", command[512];
    snprintf(command, sizeof command, link, in_folder("run/report/index.html"));
    assert_int_equal(system(command), 0);
}

static void examples_are_the_worst_or_the_first(void **state) {
    (void)state;
    assert_int_equal(run("report @/run --examples 2"), 0);
    json_t *all, *worst = examples_in("run/report/explorer-bad.html");
    assert_int_equal(json_array_size(worst), 2);
    assert_int_equal(run("report @/run --examples 3 --first"), 0);
    all = examples_in("run/report/explorer-bad.html");
    assert_int_equal(json_array_size(all), 3);
    for (int i = 0; i < 3; i++)
        assert_int_equal(
            json_integer_value(json_object_get(json_array_get(all, (size_t)i), "number")), i);
    for (size_t i = 0; i < 3; i++) assert_true(figure_of(worst, 0, 0) <= figure_of(all, i, 0));
    json_decref(worst);
    json_decref(all);
    assert_int_equal(run("report @/run --out @/alone.html --examples 0"), 0);
    assert_false(exists("alone-explorer-bad.html"));
    assert_int_equal(run("report @/run --out @/alone.html --examples 1"), 0);
    assert_true(exists("alone-explorer-bad.html"));
}

static void two_evaluations_stand_side_by_side(void **state) {
    (void)state;
    if (run("report @/run --side-by-side good bad") != 0) fail_msg("%s", output);
    json_t *examples = examples_in("run/report/explorer-good-bad.html");
    assert_int_equal(json_array_size(examples), IMAGES);
    for (size_t i = 1; i < IMAGES; i++)
        assert_true(fabs(figure_of(examples, i - 1, 0) - figure_of(examples, i - 1, 1)) >=
                    fabs(figure_of(examples, i, 0) - figure_of(examples, i, 1)));
    json_decref(examples);
    assert_int_equal(run("report @/run --side-by-side good better"), 1);
    assert_non_null(strstr(output, "has no evaluation 'better'"));
    assert_int_equal(run("report @/run --side-by-side good bad --examples 0"), 2);
    assert_int_equal(run("report @/run --side-by-side good good"), 2);
    assert_int_equal(run("report @/run @/run --side-by-side good bad"), 2);
    assert_non_null(strstr(output, "--side-by-side is about one run"));
}

static void two_runs_stand_side_by_side(void **state) {
    (void)state;
    assert_int_equal(mkdir(in_folder("other"), 0777), 0);
    assert_int_equal(mkdir(in_folder("other/eval"), 0777), 0);
    if (run(EVALUATE("bad") "eval.output_dir=@/other/eval/good eval.samples=4") != 0)
        fail_msg("%s", output);
    if (run("report @/run @/other") != 0) fail_msg("%s", output);
    json_t *examples = examples_in("comparison-explorer-good.html");
    assert_int_equal(json_array_size(examples), 4); // those that both have
    json_decref(examples);
    assert_false(exists("comparison-explorer-bad.html"));
    // as runs/* says it the next time
    assert_int_equal(run("report @/run @/other @/comparison.html @/comparison-explorer-good.html"),
                     0);
}

static void an_evaluation_whose_files_are_gone_costs_its_explorer_alone(void **state) {
    (void)state;
    assert_int_equal(rename(in_folder("answers-bad"), in_folder("elsewhere")), 0);
    assert_int_equal(run("report @/run"), 0);
    assert_non_null(strstr(output, "warning: no explorer of bad: "));
    assert_non_null(strstr(output, "answers-bad: holds no answers"));
    assert_true(exists("run/report/explorer-good.html"));
    assert_false(exists("run/report/explorer-bad.html"));
    // asked for by name, it is an error
    assert_int_equal(run("report @/run --side-by-side good bad"), 1);
    assert_non_null(strstr(output, "holds no answers"));
    // answers of something else
    assert_int_equal(rename(in_folder("answers-good"), in_folder("answers-bad")), 0);
    assert_int_equal(run("report @/run --examples 1"), 0);
    assert_non_null(strstr(output, "is not about the stored answer"));
    write_text("instances.json", "{\"images\": [], ");
    assert_int_equal(run("report @/run"), 0);
    assert_non_null(strstr(output, "instances.json"));
}

static void answers_move_with_the_folder_of_their_evaluation(void **state) {
    (void)state;
    char command[512];
    snprintf(command, sizeof command,
             "cd '%s' && cp -r answers-good run/eval/good/answers && mv run moved && rm -r "
             "answers-good && sed -i 's/answers: .*/answers: null/' moved/eval/good/config.yaml",
             temporary_folder);
    assert_int_equal(system(command), 0);
    assert_int_equal(run("report @/moved"), 0);
    assert_true(exists("moved/report/explorer-good.html"));
}

static void a_page_that_cannot_be_written_fails_the_report(void **state) {
    (void)state;
    assert_int_equal(mkdir(in_folder("run/report"), 0777), 0);
    assert_int_equal(mkdir(in_folder("run/report/explorer-bad.html"), 0777), 0);
    assert_int_equal(run("report @/run"), 1);
    assert_non_null(strstr(output, "explorer-bad.html"));
    assert_false(exists("run/report/index.html"));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        WITH_EVALUATIONS(a_report_has_an_explorer_of_every_evaluation),
        WITH_EVALUATIONS(examples_are_the_worst_or_the_first),
        WITH_EVALUATIONS(two_evaluations_stand_side_by_side),
        WITH_EVALUATIONS(two_runs_stand_side_by_side),
        WITH_EVALUATIONS(an_evaluation_whose_files_are_gone_costs_its_explorer_alone),
        WITH_EVALUATIONS(answers_move_with_the_folder_of_their_evaluation),
        WITH_EVALUATIONS(a_page_that_cannot_be_written_fails_the_report),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
