// rooms: eval models ops checkpoints data autograd
// The program judges what groundLMM's scripts left behind: its points are those that the scripts'
// steps give (tests/parity/record_official_dumps.py), and what does not fit is said.
#include "eval/attention/answer_store.h"
#include "tests/unit/run_program.h"

#include <jansson.h>
#include <sys/stat.h>

#include <cmocka.h>

#define RECORDED "tests/parity/data/official_dumps/"
#define EVAL                                                                                 \
    "eval configs/tiny_eval.yaml eval.checkpoint=null eval.image_folder=" RECORDED "images " \
    "eval.output_dir=@/out "
#define POINTS EVAL "eval.annotations=" RECORDED "instances.json "
#define RES EVAL "eval.task=res 'eval.annotations=" RECORDED "refs(unc).p' "
#define PNG                                                                            \
    EVAL "eval.task=png eval.annotations=" RECORDED "png.json eval.segments=" RECORDED \
         "panoptic.json eval.masks=" RECORDED "panoptic "

static int run(const char *arguments) { return run_program(arguments, NULL); }

static json_t *load(const char *path) {
    json_error_t error;
    json_t *root = json_load_file(path, 0, &error);
    if (!root) fail_msg("%s: %s", path, error.text);
    return root;
}

/// The points of every item are those of its file, in their order; phrases that the scripts'
/// reading has not may stand between them. names: the files' in the order of the items.
static void check_points(const char *folder, const char *const *names, int count, int most_others) {
    json_t *all = load(SOURCE_DIR "/" RECORDED "expected.json");
    FILE *items = fopen(in_folder("out/items.jsonl"), "r");
    assert_non_null(items);
    char line[8192];
    for (int i = 0; i < count; i++) {
        assert_non_null(fgets(line, sizeof line, items));
        json_t *verdict = json_loads(line, 0, NULL), *phrase;
        const json_t *of = json_object_get(json_object_get(all, folder), names[i]),
                     *points = json_object_get(of, "points");
        assert_string_equal(json_string_value(json_object_get(verdict, "answer")),
                            json_string_value(json_object_get(of, "text")));
        const json_t *phrases = json_object_get(verdict, "phrases");
        size_t p, found = 0;
        json_array_foreach((json_t *)phrases, p, phrase)
            found += json_equal(json_object_get(phrase, "point"), json_array_get(points, found));
        assert_int_equal(found, json_array_size(points));
        assert_true(p - found <= (size_t)most_others);
        json_decref(verdict);
    }
    assert_null(fgets(line, sizeof line, items));
    fclose(items);
    json_decref(all);
}

static void other_models_points_are_those_of_the_scripts(void **state) {
    (void)state;
    if (run(POINTS "eval.answers=" RECORDED "points eval.geometry=original") != 0)
        fail_msg("%s", output);
    check_points("points", (const char *[]){"000000000001", "000000000002"}, 2, 0);
    json_t *results = load(in_folder("out/results.json"));
    const json_t *with = json_object_get(results, "asked_with");
    assert_string_equal(json_string_value(json_object_get(with, "dumps")), "groundLMM");
    assert_string_equal(json_string_value(json_object_get(with, "eval.geometry")), "original");
    assert_string_equal(json_string_value(json_object_get(results, "architecture")), "groundLMM's");
    assert_string_equal(json_string_value(json_object_get(results, "checkpoint")),
                        RECORDED "points");
    json_decref(results);
}

static void chunks_of_other_models_answers_point_as_the_scripts_do(void **state) {
    (void)state;
    const char *const names[] = {"000000000001", "000000000002"};
    if (run(POINTS "eval.task=instances eval.aggregate=mean eval.geometry=original "
                   "eval.answers=" RECORDED "points") != 0)
        fail_msg("%s", output);
    check_points("points", names, 2, 0);
    if (run(EVAL "eval.task=gcg eval.aggregate=mean eval.geometry=original eval.answers=" RECORDED
                 "points eval.annotations=" RECORDED "captions.json eval.masks=" RECORDED
                 "masks.json eval.output_dir=@/gcg") != 0)
        fail_msg("%s", output);
    assert_int_equal(rename(in_folder("gcg/items.jsonl"), in_folder("out/items.jsonl")), 0);
    check_points("points", names, 2, 1); // an emoji is a chunk
}

static void referring_expressions_are_found_by_their_sentences_number(void **state) {
    (void)state;
    if (run(RES "eval.answers=" RECORDED "res model.llm=null "
                "eval.tokenizer=checkpoints/tiny/llm/tokenizer.model") != 0)
        fail_msg("%s", output);
    check_points("res", (const char *[]){"101", "102", "205"}, 3, 0);
}

static void narratives_are_found_by_their_place_in_the_file(void **state) {
    (void)state;
    if (run(PNG "eval.answers=" RECORDED "png") != 0) fail_msg("%s", output);
    check_points("png", (const char *[]){"000000000001", "000000000000"}, 2, 0);
}

/// An answer of this program beside one of groundLMM's.
static void write_mixed_answers(void) {
    Error error = {0};
    assert_int_equal(mkdir(in_folder("mixed"), 0777), 0);
    json_t *with = json_object();
    AnswerWriter *writer = answer_writer_open(in_folder("mixed"), 0, 0, with, &error);
    Answer answer = {.text = checked_strdup(""), .grid = {1, 1}, .layers = 1, .heads = 1};
    if (!writer || !answer_writer_put(writer, "1", &answer, &error)) fail_msg("%s", error.message);
    answer_writer_close(writer);
    answer_free(&answer);
    json_decref(with);
    write_text("mixed/1.pth", "");
}

static void what_does_not_fit_is_said(void **state) {
    (void)state;
    write_mixed_answers();
    static const struct {
        const char *arguments;
        int exit_code;
        const char *says;
    } mistakes[] = {
        {RES "eval.answers=" RECORDED "res model.llm=null", 2,
         "eval.tokenizer: is missing: 'tests/parity/data/official_dumps/res' holds .pth files"},
        {RES "eval.answers=" RECORDED "res eval.tokenizer=@/none", 1, "none"},
        {RES "eval.answers=" RECORDED "res eval.offset=0", 1,
         "res/101.pth: 9 maps in 'attentions' and 10 ids in 'sequences'"},
        {RES "eval.answers=" RECORDED "points", 1,
         "item 51-0: " RECORDED "points: there is no 101.pth"},
        {RES "eval.answers=" RECORDED "res eval.tokenizer=tests/parity/data/tokenizers/qwen_2", 1,
         "eval.tokenizer is to be the tokenizer of the model that answered"},
        {PNG "eval.answers=" RECORDED "res", 1, "there is no 000000000001.pth"},
        {POINTS "eval.answers=" RECORDED "images", 2, "holds no answers"},
        {POINTS "eval.answers=@/mixed", 2, "holds answers of this program beside .pth files"},
        {POINTS "eval.answers=" RECORDED "points eval.geometry=crop", 2, "eval.geometry"},
    };
    for (size_t i = 0; i < sizeof mistakes / sizeof *mistakes; i++) {
        int code = run(mistakes[i].arguments);
        if (code != mistakes[i].exit_code || !strstr(output, mistakes[i].says))
            fail_msg("difflmm %s\nexit code %d, expected %d and: %s\n%s", mistakes[i].arguments,
                     code, mistakes[i].exit_code, mistakes[i].says, output);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        IN_FOLDER(other_models_points_are_those_of_the_scripts),
        IN_FOLDER(chunks_of_other_models_answers_point_as_the_scripts_do),
        IN_FOLDER(referring_expressions_are_found_by_their_sentences_number),
        IN_FOLDER(narratives_are_found_by_their_place_in_the_file),
        IN_FOLDER(what_does_not_fit_is_said),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
