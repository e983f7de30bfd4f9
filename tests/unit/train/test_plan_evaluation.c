// rooms: train eval models ops checkpoints tiny_world data autograd
// The plan of an evaluation alone against asking itself, and what it says is missing.
#include "data/tiny/world.h"
#include "eval/tasks/asking.h"
#include "ops/kernels.h"
#include "tests/unit/temporary_folder.h"
#include "train/evaluation/evaluation_setup.h"
#include "train/plan/plan.h"
#include "train/trainer/answer_setup.h"

#include <jansson.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define TINY SOURCE_DIR "/checkpoints/tiny"
enum { MOST_SETTINGS = 24, SETTING_BYTES = 320 };

static char in_world[6][SETTING_BYTES];

/// configs/tiny_eval.yaml for the test's own world, without a checkpoint, with these settings.
static Config *configure(const char *const *settings) {
    const char *overrides[MOST_SETTINGS] = {
        "model.sd=" TINY "/sd",   "model.vision_tower=" TINY "/clip",
        "model.llm=" TINY "/llm", "training.device=cpu",
        "training.threads=2",     "lora.lora_enable=false",
        "eval.checkpoint=null"};
    int count = 7;
    static const char *const values[] = {
        "eval.annotations=%s/world/test/instances.json", "eval.image_folder=%s/world/test/images",
        "eval.output_dir=%s/evaluation", "eval.segments=%s/world/test/png/panoptic_val2017.json",
        "eval.masks=%s/world/test/png/panoptic_val2017"};
    for (int i = 0; i < 5; i++) {
        snprintf(in_world[i], SETTING_BYTES, values[i], temporary_folder);
        overrides[count++] = in_world[i];
    }
    while (*settings) overrides[count++] = *settings++;
    Error error = {0};
    Config *config = config_load(SOURCE_DIR "/configs/tiny_eval.yaml", overrides, count, &error);
    if (!config) fail_msg("%s", error.message);
    return config;
}

#define SETTINGS(...) ((const char *const[]){__VA_ARGS__, NULL})

static Plan *plan_of(const Config *config, const PlanOptions *options) {
    Plan *plan = plan_make(config, options);
    assert_true(plan->evaluates);
    if (plan->problem_count) fail_msg("%s", plan->problems[0].message);
    return plan;
}

/// Asks the first `count` items, each until it has the most tokens; the device's peak.
static int64_t peak_of_asking(const Config *config, int count) {
    Error error = {0};
    ModelSetup setup;
    AnswerSetup answers;
    if (!model_setup_open(config, 1, NULL, &setup, &error) ||
        !answer_setup(config, &setup, &answers, &error))
        fail_msg("%s", error.message);
    const Task *task = evaluation_task(config);
    EvaluationOptions evaluation = evaluation_options(config);
    void *data = task->open(&evaluation, &error);
    if (!data) fail_msg("%s", error.message);
    setup.model->llama->config.num_eos = 0;
    AskingOptions options = {.task = task,
                             .data = data,
                             .evaluation = &evaluation,
                             .answers = answers.options,
                             .num_processes = 1};
    options.answers.generation.num_end_tokens = 0;
    int64_t missing, *items = asking_missing(&options, NULL, &missing);
    Answer *replies = checked_calloc((size_t)count, sizeof *replies);
    device_reset_peak(setup.device);
    if (!asking_answers(&options, items, count, replies, &error)) fail_msg("%s", error.message);
    int64_t peak = setup.device->bytes_peak;
    for (int i = 0; i < count; i++) answer_free(&replies[i]);
    free(replies);
    free(items);
    task->close(data);
    model_setup_close(&setup);
    return peak;
}

static void memory_at_the_peak_is_what_asking_needs(void **state) {
    (void)state;
    static char narratives[SETTING_BYTES];
    snprintf(narratives, sizeof narratives,
             "eval.annotations=%s/world/test/png/png_coco_val2017.json", temporary_folder);
    const struct {
        int at_once;
        const char *const *settings;
    } cases[] = {
        // with more tokens than the cache has room for at first
        {3, SETTINGS("eval.batch_size=3", "eval.max_new_tokens=140", "eval.keep=heads")},
        {4, SETTINGS("eval.batch_size=16", "eval.samples=4", "eval.max_new_tokens=8")},
        {2, SETTINGS("eval.batch_size=2", "eval.task=png", narratives)},
        {2, SETTINGS("eval.batch_size=2", "model.architecture=llava", "model.dtype=float32")},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        Config *config = configure(cases[i].settings);
        Plan *plan = plan_of(config, &(PlanOptions){.processes = 1});
        assert_int_equal(plan->memory.phase, PHASE_ASKING);
        assert_int_equal(plan->evaluation.at_once, cases[i].at_once);
        assert_true(plan->evaluation.answer_bytes > 0 && plan->evaluation.free > 0);
        double needed = (double)peak_of_asking(config, cases[i].at_once),
               planned = (double)plan->memory.peak;
        print_message("case %zu: planned %.2f MiB, needed %.2f\n", i, planned / 0x1p20,
                      needed / 0x1p20);
        // The working memory of kernels is the product library's affair.
        assert_true(fabs(planned / needed - 1) < 0.05);
        plan_free(plan);
        config_free(config);
    }
}

static void a_few_items_tell_the_duration(void **state) {
    (void)state;
    Config *config = configure(SETTINGS("eval.batch_size=2", "eval.max_new_tokens=4"));
    Plan *plan = plan_of(config, &(PlanOptions){.processes = 2, .timed_steps = 1});
    const PlanEvaluation *evaluation = &plan->evaluation;
    assert_int_equal(evaluation->timed_items, 2);
    assert_true(evaluation->seconds_per_item > 0);
    double all = evaluation->seconds_per_item * (double)evaluation->items / 2;
    assert_true(fabs(evaluation->seconds - all) <= 1e-9 * all);
    char *text = plan_to_json(plan);
    json_t *json = json_loads(text, 0, NULL);
    assert_string_equal(json_string_value(json_object_get(json, "plan_of")), "eval");
    assert_null(json_object_get(json, "schedule"));
    json_decref(json);
    free(text);
    plan_free(plan);
    config_free(config);
}

static void what_an_evaluation_lacks_is_named_with_its_key(void **state) {
    (void)state;
    const struct {
        const char *key;
        const char *const *settings;
    } cases[] = {
        {"eval.annotations", SETTINGS("eval.annotations=/nowhere/instances.json")},
        {"eval.image_folder", SETTINGS("eval.image_folder=/nowhere")},
        {"eval.checkpoint", SETTINGS("eval.checkpoint=/nowhere.h5")},
        {"eval.checkpoint", SETTINGS("eval.checkpoint=/nowhere.h5", "model.sd=/nowhere")},
        {"model.llm", SETTINGS("model.llm=/nowhere")},
        {"model.llm", SETTINGS("model.llm=null")},
        {"eval.layers", SETTINGS("eval.layers=[99]")},
        {"eval.bert", SETTINGS("eval.bert=/nowhere")},
        {"eval.sam", SETTINGS("eval.segmenter=sam", "eval.sam=/nowhere.pth")},
        {"eval.answers", SETTINGS("eval.answers=/nowhere")},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        Config *config = configure(cases[i].settings);
        Plan *plan = plan_make(config, &(PlanOptions){.processes = 1});
        bool named = false;
        for (int p = 0; p < plan->problem_count; p++) {
            const char *message = plan->problems[p].message;
            named |= strstr(message, cases[i].key) != NULL;
            assert_null(strstr(message, "data.train"));
            assert_null(strstr(message, "training.output_dir"));
        }
        if (!named) fail_msg("case %zu: %s is not named", i, cases[i].key);
        plan_free(plan);
        config_free(config);
    }
}

static void stored_answers_are_judged_without_a_model(void **state) {
    (void)state;
    static char answers[SETTING_BYTES];
    snprintf(answers, sizeof answers, "eval.answers=%s/world", temporary_folder);
    Config *config =
        configure(SETTINGS(answers, "model.llm=null", "model.sd=null", "model.vision_tower=null"));
    Plan *plan = plan_of(config, &(PlanOptions){.processes = 1});
    assert_true(plan->evaluation.items > 0);
    assert_int_equal(plan->evaluation.tokens, 0);
    assert_false(plan->memory.known);
    plan_free(plan);
    config_free(config);
}

static int make_world(void **state) {
    Error error = {0};
    char path[SETTING_BYTES];
    if (make_temporary_folder(state) != 0) return -1;
    snprintf(path, sizeof path, "%s/world", temporary_folder);
    ops_cpu_open(2);
    if (world_write(path, &(WorldOptions){.seed = 5, .num_train = 1, .num_test = 6}, &error))
        return 0;
    print_error("%s\n", error.message);
    return -1;
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(memory_at_the_peak_is_what_asking_needs),
        cmocka_unit_test(a_few_items_tell_the_duration),
        cmocka_unit_test(what_an_evaluation_lacks_is_named_with_its_key),
        cmocka_unit_test(stored_answers_are_judged_without_a_model),
    };
    return cmocka_run_group_tests(tests, make_world, remove_temporary_folder);
}
