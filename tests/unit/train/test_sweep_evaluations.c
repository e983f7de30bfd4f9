// rooms: train eval models ops checkpoints data autograd
// Cells of a sweep that are evaluated several times: on several tasks, and after every stage.
#include "tests/unit/sweep_sections.h"

static char *stage_file(const char *name, const char *more) {
    char stage[1024];
    char *train = strdup(write("train.json", "[]"));
    snprintf(stage, sizeof stage,
             "model: {sd: %s/sd, vision_tower: %s/clip, llm: %s/llm}\n"
             "data: {train: %s, image_folder: images}\n%s",
             TINY, TINY, TINY, train, more);
    free(train);
    return strdup(write(name, stage));
}

static void every_cell_is_evaluated_as_each_file_says(void **state) {
    (void)state;
    makes("  evaluations: [a/points.yaml, gcg]\n  variants: {x: {}, y: {}}\n  zip: {eval.seed: [1, "
          "2]}\n",
          "x,seed=1,points x,seed=1,gcg x,seed=2,points x,seed=2,gcg y,seed=1,points y,seed=1,gcg "
          "y,seed=2,points y,seed=2,gcg");
    makes("  train: [s/one.yaml, two.yaml]\n  each_stage: true\n  evaluations: [points.yaml]\n",
          "all,one,points all,two,points");
    makes("  train: [one.yaml, two.yaml]\n  each_stage: false\n", "all");
}

static void a_variant_is_the_base_on_every_evaluation(void **state) {
    (void)state;
    Error error = {0};
    SweepSection *section = section_of("  train: [one.yaml, two.yaml]\n  each_stage: true\n"
                                       "  evaluations: [p.yaml, g.yaml]\n"
                                       "  variants: {a: {}, b: {}}\n  base: b\n",
                                       &error);
    SweepCells *cells = sweep_cells_make(section, &error);
    assert_int_equal(cells->count, 8);
    assert_string_equal(cells->base, "b");
    assert_string_equal(cells->list[6].name, "b,two,p");
    assert_string_equal(cells->list[6].line, "b");
    assert_string_equal(cells->list[6].stage_name, "two");
    assert_string_equal(cells->list[6].evaluation_name, "p");
    assert_int_equal(cells->list[6].stages, 2);
    assert_int_equal(cells->list[4].stages, 1);
    sweep_cells_free(cells);
    sweep_section_free(section);
}

static void what_is_wrong_with_them_is_told_with_its_place(void **state) {
    (void)state;
    refused("  each_stage: true\n", "3:3", "sweep.train names none");
    refused("  each_stage: 1\n", "3:15", "is no true or false");
    refused("  each_stage: 'true'\n", "3:15", "is no true or false");
    refused("  each_stage: [true]\n", "3:15", "is no true or false");
    refused("  evaluation: [a.yaml]\n", "3:3", "did you mean 'evaluations'?");
    refused("  evaluations: {a: b}\n", "3:16", "is no text");
    refused("  evaluations: [x/a.yaml, y/a.yml]\n", "", "two files that are called a");
    refused("  train: [x/a.yaml, y/a.yaml]\n  each_stage: true\n", "",
            "sweep.train has two files that are called a");
    refused("  train: [a.yaml]\n  each_stage: true\n  variants: {x: {eval.checkpoint: null}}\n",
            "5:18", "variant 'x' sets eval.checkpoint, which has no stages");
    refused("  train: [a.yaml]\n  each_stage: true\n  grid: {eval.checkpoint: [null]}\n", "5:10",
            "sets eval.checkpoint, which has no stages");
}

static void a_headline_names_figures_of_evaluations_or_tasks(void **state) {
    (void)state;
    Error error = {0};
    SweepSection *section =
        section_of("  evaluations: [a/p.yaml, g.yaml]\n"
                   "  headline:\n    g: [cider, point_accuracy]\n    p: mean_iou\n",
                   &error);
    if (!section) fail_msg("%s", error.message);
    static const char *const EXPECTED[][2] = {
        {"g", "cider"}, {"g", "point_accuracy"}, {"p", "mean_iou"}};
    assert_int_equal(section->num_headlines, 3);
    for (int h = 0; h < 3; h++) {
        assert_string_equal(section->headline[h].evaluation, EXPECTED[h][0]);
        assert_string_equal(section->headline[h].figure, EXPECTED[h][1]);
    }
    sweep_section_free(section);
    makes("  headline: {points: [point_accuracy], gcg: [cider]}\n", "all");
    makes("  headline:\n", "all");
    refused("  evaluations: [p.yaml, gcg.yaml]\n  headline: {p: [x], ggc: [cider]}\n", "4:22",
            "'ggc' is no evaluation of the sweep; did you mean 'gcg'?");
    refused("  headline: {point: [x]}\n", "3:14", "'point' is no task; did you mean 'points'?");
    refused("  headline: {points: []}\n", "3:14", "names no figure of 'points'");
    refused("  headline: {points: [[a]]}\n", "3:23", "is no text");
    refused("  headline: [points]\n", "3:13", "is no mapping of evaluations to lists of figures");
    refused("  headline: {points: [a]}\n  headline: {points: [a]}\n", "4:3", "already given");
}

static void a_cell_takes_of_its_evaluation_what_that_sets_and_no_more(void **state) {
    (void)state;
    Error error = {0};
    char lines[1024];
    char *gcg =
        strdup(write("gcg.yaml", "model: {timestep: 3}\n"
                                 "eval: {task: gcg, masks: m.json, prompt: Why?, samples: 4}\n"));
    snprintf(lines, sizeof lines,
             "  evaluations: [%s]\n  settings: {eval.samples: 5}\n"
             "eval: {prompt: What?, max_new_tokens: 9}\n",
             gcg);
    SweepSection *section = section_of(lines, &error);
    SweepCells *cells = sweep_cells_make(section, &error);
    const char *setting = "eval.masks=n.json";
    Config *config = sweep_cell_config(section, cells, &cells->list[0], section->path, false,
                                       &setting, 1, &error);
    assert_non_null(config);
    assert_string_equal(config->eval.masks, "n.json"); // the command line is above all
    assert_string_equal(config->eval.prompt, "Why?");
    assert_int_equal(config->eval.samples, 5);
    assert_int_equal(config->eval.max_new_tokens, 9);
    assert_int_not_equal(config->model.timestep, 3);
    config_free(config);
    write("gcg.yaml", "eval: {tusk: gcg}\n");
    assert_null(
        sweep_cell_config(section, cells, &cells->list[0], section->path, false, NULL, 0, &error));
    assert_non_null(strstr(error.message, "gcg.yaml:1:8"));
    write("gcg.yaml", "model: {timestep: 3}\n");
    assert_null(
        sweep_cell_config(section, cells, &cells->list[0], section->path, false, NULL, 0, &error));
    assert_non_null(strstr(error.message, "gcg.yaml: sets no key of section 'eval'"));
    sweep_cells_free(cells);
    sweep_section_free(section);
    free(gcg);
}

static void answers_are_shared_where_evaluations_ask_the_same(void **state) {
    (void)state;
    char lines[2048];
    char *one = strdup(write("one.yaml", "eval: {segmenter: truth}\n")),
         *two = strdup(write("two.yaml", "eval: {segmenter: none}\n")),
         *three = strdup(write("three.yaml", "eval: {prompt: Where?}\n"));
    snprintf(lines, sizeof lines, "  evaluations: [%s, %s, %s]\n", one, two, three);
    Whole whole = whole_of(lines);
    assert_int_equal(count_of(&whole, SWEEP_ASK), 2);
    assert_int_equal(count_of(&whole, SWEEP_JUDGE), 3);
    whole_free(&whole);
    free(one);
    free(two);
    free(three);
}

static void each_stage_is_evaluated_with_its_own_lora(void **state) {
    (void)state;
    char lines[2048];
    char *one = stage_file("one.yaml", ""),
         *two = stage_file("two.yaml", "lora: {lora_enable: true, lora_r: 8}\n");
    snprintf(lines, sizeof lines,
             "  train: [%s, %s]\n  each_stage: true\n"
             "lora: {lora_enable: true, lora_r: 8}\n",
             one, two);
    Whole whole = whole_of(lines);
    const SweepJob *list = whole.jobs.list;
    assert_int_equal(count_of(&whole, SWEEP_TRAIN), 2);
    assert_int_equal(count_of(&whole, SWEEP_JUDGE), 2);
    const SweepJob *first = &list[list[whole.jobs.of_cell[0]].after],
                   *second = &list[list[whole.jobs.of_cell[1]].after];
    assert_string_equal(first->config->eval.checkpoint, list[first->after].product);
    assert_string_equal(second->config->eval.checkpoint, list[second->after].product);
    assert_int_equal(list[second->after].after, first->after);
    assert_false(first->config->lora.lora_enable);
    assert_true(second->config->lora.lora_enable);
    whole_free(&whole);
    free(one);
    free(two);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        IN_FOLDER(every_cell_is_evaluated_as_each_file_says),
        IN_FOLDER(a_variant_is_the_base_on_every_evaluation),
        IN_FOLDER(a_headline_names_figures_of_evaluations_or_tasks),
        IN_FOLDER(what_is_wrong_with_them_is_told_with_its_place),
        IN_FOLDER(a_cell_takes_of_its_evaluation_what_that_sets_and_no_more),
        IN_FOLDER(answers_are_shared_where_evaluations_ask_the_same),
        IN_FOLDER(each_stage_is_evaluated_with_its_own_lora),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
