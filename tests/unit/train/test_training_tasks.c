// rooms: train eval models ops checkpoints tiny_world data autograd
// Tasks that are evaluated during training, on a few scenes of the tiny world with the tiny frozen
// networks: what their figures are called, and that asking leaves no trace.
#include "data/tiny/world.h"
#include "tests/unit/temporary_folder.h"
#include "train/evaluation/training_tasks_internal.h"

#include <math.h>

#define TINY SOURCE_DIR "/checkpoints/tiny"

/// The world's files that a task reads, below its folder of test scenes.
typedef struct TaskFiles {
    const char *task, *annotations, *masks, *segments;
} TaskFiles;

static const TaskFiles TASK_FILES[] = {
    {"points", "instances.json", NULL, NULL},
    {"instances", "instances.json", NULL, NULL},
    {"gcg", "gcg/test_gcg_coco_caption_gt.json", "gcg/test_gcg_coco_mask_gt.json", NULL},
    {"res", "refcoco/refs(unc).p", NULL, NULL},
    {"png", "png/png_coco_val2017.json", "png/panoptic_val2017", "png/panoptic_val2017.json"},
};
enum { NUM_TASKS = sizeof TASK_FILES / sizeof *TASK_FILES };

/// With this setting more; the caller frees it.
static Config *configure(const TaskFiles *files, const char *tasks, const char *setting) {
    static const char *const SHARED[] = {
        "model.sd=" TINY "/sd",      "model.vision_tower=" TINY "/clip",
        "model.llm=" TINY "/llm",    "data.image_size=128",
        "data.model_max_length=512", "data.image_aspect_ratio=pad",
        "training.device=cpu",       "training.threads=2",
        "eval.max_new_tokens=6",     "eval.samples=2"};
    enum { NUM_SHARED = sizeof SHARED / sizeof *SHARED };
    const char *settings[NUM_SHARED + 6], *world = in_folder("world/test");
    char *own[] = {
        format_string("eval.image_folder=%s/images", world),
        format_string("eval.annotations=%s/%s", world, files->annotations),
        format_string("eval.masks=%s/%s", world, files->masks ? files->masks : ""),
        format_string("eval.segments=%s/%s", world, files->segments ? files->segments : ""),
        format_string("eval.tasks=%s", tasks)};
    int count = 0;
    for (int i = 0; i < NUM_SHARED; i++) settings[count++] = SHARED[i];
    for (int i = 0; i < 5; i++) settings[count++] = own[i];
    if (setting) settings[count++] = setting;
    Error error = {0};
    Config *config = config_load(NULL, settings, count, &error);
    if (!config) fail_msg("%s", error.message);
    for (int i = 0; i < 5; i++) free(own[i]);
    return config;
}

/// A model with the tasks of a configuration.
typedef struct Asked {
    Config *config;
    ProcessGroup *alone;
    ModelSetup setup;
    TrainingTasks *tasks;
} Asked;

static Asked asked_open(const TaskFiles *files, const char *setting) {
    char *tasks = format_string("[%s]", files->task);
    Asked asked = {.config = configure(files, tasks, setting), .alone = process_group_alone()};
    Error error = {0};
    free(tasks);
    if (!model_setup_open(asked.config, 1, asked.alone, &asked.setup, &error) ||
        !training_tasks_open(asked.config, &asked.tasks, &error) ||
        !training_tasks_use(asked.tasks, &asked.setup, &error))
        fail_msg("%s", error.message);
    return asked;
}

static void asked_close(Asked *asked) {
    training_tasks_close(asked->tasks);
    model_setup_close(&asked->setup);
    process_group_close(asked->alone);
    config_free(asked->config);
}

/// What is measured, as text; the caller frees it.
static char *measure(const Asked *asked, json_t **figures) {
    Error error = {0};
    bool stopping = false;
    json_t *measured = training_tasks_measure(asked->tasks, asked->alone, &stopping, &error);
    if (!measured) fail_msg("%s", error.message);
    char *text = json_dumps(measured, JSON_COMPACT);
    if (figures)
        *figures = measured;
    else
        json_decref(measured);
    return text;
}

static void the_names_of_figures_are_known_before_anything_is_measured(void **state) {
    (void)state;
    for (int i = 0; i < NUM_TASKS; i++) {
        Asked asked = asked_open(&TASK_FILES[i], NULL);
        json_t *measured, *interval;
        free(measure(&asked, &measured));
        const json_t *of_task = json_object_get(measured, TASK_FILES[i].task);
        const char *name;
        char *known = training_tasks_list(asked.tasks);
        size_t listed = 1;
        for (const char *comma = known; (comma = strchr(comma, ',')); comma++) listed++;
        assert_int_equal(json_object_size(json_object_get(of_task, "intervals")), listed);
        json_object_foreach(json_object_get(of_task, "intervals"), name, interval) {
            char *figure = format_string("%s.%s", TASK_FILES[i].task, name);
            const json_t *value = json_object_get(of_task, name);
            double there = training_tasks_figure(measured, figure);
            assert_true(training_tasks_have(asked.tasks, figure));
            assert_true(json_is_null(value) ? isnan(there) : there == json_number_value(value));
            free(figure);
        }
        assert_false(training_tasks_have(asked.tasks, "points.accuracy"));
        free(known);
        json_decref(measured);
        asked_close(&asked);
    }
}

/// All values of all parameters, one behind the other; the caller frees them.
static float *weights_of(const ModelSetup *setup, int64_t *count) {
    float *values = NULL;
    *count = 0;
    for (int i = 0; i < setup->parameters.count; i++) {
        const Tensor *value = setup->parameters.items[i].value;
        int64_t numel = tensor_numel(value);
        values = checked_realloc(values, (size_t)(*count + numel) * sizeof *values);
        tensor_to_host_float(value, values + *count);
        *count += numel;
    }
    return values;
}

static void asking_twice_gives_the_same_and_leaves_the_weights_as_they_are(void **state) {
    (void)state;
    Asked asked = asked_open(&TASK_FILES[3], "lora.lora_enable=true");
    int64_t count, again;
    float *before = weights_of(&asked.setup, &count);
    char *first = measure(&asked, NULL), *second = measure(&asked, NULL);
    float *after = weights_of(&asked.setup, &again);
    assert_string_equal(first, second);
    assert_int_equal(count, again);
    assert_memory_equal(before, after, (size_t)count * sizeof *before);
    free(first);
    free(second);
    free(before);
    free(after);
    asked_close(&asked);
}

static void the_noise_is_that_of_eval_seed(void **state) {
    (void)state;
    Asked asked = asked_open(&TASK_FILES[0], "eval.seed=3");
    assert_int_equal(asked.tasks->items[0].answers.options.model->options.seed, 3);
    assert_int_equal(asked.setup.model->options.seed, 1);
    asked_close(&asked);
}

static void what_figures_depend_on_is_told_apart(void **state) {
    (void)state;
    static const char *const SETTINGS[] = {NULL, "eval.samples=1", "eval.seed=3",
                                           "eval.plurals=flag", "eval.layers=[0]"};
    enum { COUNT = sizeof SETTINGS / sizeof *SETTINGS };
    char *bases[COUNT];
    for (int i = 0; i < COUNT; i++) {
        Asked asked = asked_open(&TASK_FILES[4], SETTINGS[i]);
        bases[i] = training_tasks_describe(asked.tasks, "png.point_accuracy");
        char *all = training_tasks_describe(asked.tasks, NULL),
             *none = training_tasks_describe(asked.tasks, "res.giou");
        assert_string_equal(bases[i], all);
        assert_string_equal(none, "{}");
        free(all);
        free(none);
        asked_close(&asked);
    }
    for (int i = 0; i < COUNT; i++)
        for (int k = 0; k < i; k++) assert_string_not_equal(bases[i], bases[k]);
    for (int i = 0; i < COUNT; i++) free(bases[i]);
}

static void without_tasks_there_is_nothing(void **state) {
    (void)state;
    Error error = {0};
    TrainingTasks *tasks;
    Config *config = configure(&TASK_FILES[0], "[]", NULL);
    assert_true(training_tasks_open(config, &tasks, &error));
    assert_null(tasks);
    assert_false(training_tasks_have(tasks, "points.point_accuracy"));
    char *known = training_tasks_list(tasks);
    assert_string_equal(known, "");
    free(known);
    training_tasks_close(tasks);
    config_free(config);
}

/// Why a list of tasks is refused.
static const char *refusal(const char *tasks) {
    static Error error;
    TrainingTasks *opened;
    Config *config = configure(&TASK_FILES[0], tasks, NULL);
    error = (Error){0};
    assert_false(training_tasks_open(config, &opened, &error));
    assert_null(opened);
    assert_true(error.is_configuration);
    config_free(config);
    return error.message;
}

static void entries_that_are_no_tasks_are_refused_with_what_there_is(void **state) {
    (void)state;
    assert_non_null(strstr(refusal("[points, instance]"), "eval.tasks: 'instance': is no task; did "
                                                          "you mean 'instances'? The tasks are"));
    assert_non_null(
        strstr(refusal("[q]"), "'q': is no task and no YAML file. The tasks are points, "));
    assert_non_null(strstr(refusal("[points, points]"), "would be called 'points' as those of"));
    assert_non_null(strstr(refusal("[nowhere.yml]"), "'nowhere.yml': nowhere.yml: cannot be read"));
    assert_non_null(strstr(refusal("[./points]"), "'./points': ./points: cannot be read"));
}

static int make_world(void **state) {
    Error error = {0};
    if (make_temporary_folder(state) != 0) return -1;
    WorldOptions options = {.seed = 5, .num_train = 1, .num_test = 2};
    if (world_write(in_folder("world"), &options, &error)) return 0;
    print_error("%s\n", error.message);
    return -1;
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_names_of_figures_are_known_before_anything_is_measured),
        cmocka_unit_test(asking_twice_gives_the_same_and_leaves_the_weights_as_they_are),
        cmocka_unit_test(the_noise_is_that_of_eval_seed),
        cmocka_unit_test(what_figures_depend_on_is_told_apart),
        cmocka_unit_test(without_tasks_there_is_nothing),
        cmocka_unit_test(entries_that_are_no_tasks_are_refused_with_what_there_is),
    };
    return cmocka_run_group_tests(tests, make_world, remove_temporary_folder);
}
