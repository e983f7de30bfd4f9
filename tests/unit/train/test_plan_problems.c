// rooms: train eval models ops checkpoints tiny_world data autograd
// Every reason why a job cannot run, and what a resumed one would change.
#include "tests/unit/planned_training.h"

#include <jansson.h>
#include <string.h>

static const PlanProblem *problem_with(const Plan *plan, const char *key) {
    for (int i = 0; i < plan->problem_count; i++)
        if (!strcmp(plan->problems[i].key, key)) return &plan->problems[i];
    fail_msg("no problem with %s", key);
    return NULL;
}

static void every_reason_is_named_with_its_key(void **state) {
    (void)state;
    static char broken[300], there[300], output[300];
    write_text("broken.json", "[{\"id\": ");
    snprintf(broken, sizeof broken, "data.train=%s", in_folder("broken.json"));
    snprintf(output, sizeof output, "training.output_dir=%s", in_folder("broken.json/run"));
    snprintf(there, sizeof there, "data.image_folder=%s", in_folder("nowhere"));
    Config *config = configure(SETTINGS(broken, there, "model.llm=/none", "model.sd=" TINY,
                                        "model.adapters=/none.h5", output, "lora.lora_enable=true",
                                        "data.image_size=256"));
    Plan *plan = plan_make(config, &(PlanOptions){.processes = 1});
    const char *const keys[] = {"data.train",     "data.image_folder", "model.llm",
                                "model.sd",       "model.adapters",    "training.output_dir",
                                "data.image_size"};
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++)
        assert_non_null(strstr(problem_with(plan, keys[i])->message, keys[i]));
    char *text = plan_to_json(plan);
    json_t *json = json_loads(text, 0, NULL);
    assert_true(json_is_false(json_object_get(json, "can_run")));
    assert_int_equal(json_array_size(json_object_get(json, "problems")), plan->problem_count);
    json_decref(json);
    free(text);
    plan_free(plan);
    config_free(config);
}

static void tasks_in_training_whose_files_are_missing_are_a_reason(void **state) {
    (void)state;
    Config *config = configure(SETTINGS("eval.tasks=[points]", "eval.image_folder=/nowhere",
                                        "eval.annotations=/nowhere/instances.json"));
    Plan *plan = plan_make(config, &(PlanOptions){.processes = 1});
    assert_int_equal(plan->problem_count, 1);
    assert_non_null(strstr(problem_with(plan, "eval.tasks")->message,
                           "eval.tasks: 'points': /nowhere/instances.json: cannot be read"));
    plan_free(plan);
    config_free(config);
}

static void a_resumed_run_says_what_changed_and_is_refused_if_it_would_be_another(void **state) {
    (void)state;
    static char named[320];
    snprintf(named, sizeof named, "training.resume=%s/run/checkpoint-2.h5", temporary_folder);
    const struct {
        const char *setting, *change, *problem;
        int processes;
    } cases[] = {
        {"training.threads=1", "training.threads was 2, is 1\n", NULL, 1},
        {"training.seed=9", "training.seed was 42, is 9 (another run)\n", "training.seed", 1},
        {"training.save_steps=1", "", "had 2 samples and would now have 4", 2},
        {named, "training.resume was ", NULL, 1},
    };
    Config *first = configure(SETTINGS("training.max_steps=3", "training.save_steps=1",
                                       "training.save_total_limit=0",
                                       "training.per_device_train_batch_size=2"));
    train(first);
    config_free(first);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        Config *config = configure(
            SETTINGS("training.max_steps=3", "training.save_steps=1", "training.save_total_limit=0",
                     "training.per_device_train_batch_size=2", cases[i].setting));
        Plan *plan = plan_make(config, &(PlanOptions){.processes = cases[i].processes});
        assert_non_null(plan->changes);
        assert_non_null(strstr(plan->changes, cases[i].change));
        assert_int_equal(plan->problem_count, cases[i].problem != NULL);
        if (cases[i].problem) assert_non_null(strstr(plan->problems[0].message, cases[i].problem));
        assert_int_equal(plan->schedule.first_step, cases[i].setting == named ? 2 : 3);
        char *json = plan_to_json(plan);
        assert_non_null(strstr(json, "\"changes\""));
        free(json);
        plan_free(plan);
        config_free(config);
    }
    remove_run();
}

static void missing_images_are_counted_and_the_first_is_named(void **state) {
    (void)state;
    static char data[300], skip[] = "data.missing_image=skip", fail[] = "data.missing_image=fail";
    write_text("ghosts.json",
               "[{\"id\": \"g\", \"image\": \"ghost.png\", \"conversations\": [{\"from\": "
               "\"human\", \"value\": \"<image>\"}, {\"from\": \"gpt\", \"value\": \"a\"}]}, "
               "{\"id\": \"t\", \"conversations\": [{\"from\": \"human\", \"value\": \"b\"}, "
               "{\"from\": \"gpt\", \"value\": \"a ring\"}]}]");
    snprintf(data, sizeof data, "data.train=%s", in_folder("ghosts.json"));
    for (int fails = 0; fails < 2; fails++) {
        Config *config = configure(SETTINGS(data, fails ? fail : skip, "lora.lora_enable=true"));
        Plan *plan = plan_make(config, &(PlanOptions){.processes = 1});
        assert_int_equal(plan->data.missing_images, 1);
        assert_int_equal(plan->data.samples, 1);
        assert_int_equal(plan->problem_count, fails);
        if (fails) assert_non_null(strstr(plan->problems[0].message, "ghost.png"));
        plan_free(plan);
        config_free(config);
    }
}

static void data_that_cannot_teach_are_a_reason(void **state) {
    (void)state;
    static char data[300], captions[300], system[300];
    snprintf(system, sizeof system, "data.train=%s", in_folder("system.jsonl"));
    write_text("system.jsonl",
               "{\"image\": \"images/000000000000.jpg\", \"system\": \"Be brief.\", "
               "\"conversations\": [{\"from\": \"human\", \"value\": \"<image>\"}, "
               "{\"from\": \"gpt\", \"value\": \"a ring\"}]}\n");
    snprintf(captions, sizeof captions, "data.train=%s",
             in_folder("world/train/blip_laion_cc_sbu_558k.json"));
    write_text("text.json", "[{\"conversations\": [{\"from\": \"human\", \"value\": \"b\"}, "
                            "{\"from\": \"gpt\", \"value\": \"a ring\"}]}]");
    snprintf(data, sizeof data, "data.train=%s", in_folder("text.json"));
    const struct {
        const char *setting, *other, *key, *message;
    } cases[] = {
        {data, NULL, "data.train", "no sample has an image"},
        {"data.version=plain", NULL, "data.version", "for one question and one answer"},
        {system, "data.version=plain", "data.version",
         "system.jsonl: sample 0 (id '', line 1): a system message; the template 'plain'"},
        {"data.model_max_length=65", NULL, "data.model_max_length", "an image alone takes 64"},
        {captions, "data.model_max_length=80", "data.train", "no token of any of the"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        Config *config = configure(SETTINGS(cases[i].setting, cases[i].other));
        Plan *plan = plan_make(config, &(PlanOptions){.processes = 1});
        const char *message = problem_with(plan, cases[i].key)->message;
        if (!strstr(message, cases[i].message)) fail_msg("case %zu: %s", i, message);
        assert_int_equal(plan->problem_count, 1);
        plan_free(plan);
        config_free(config);
    }
}

static void a_tokenizer_of_another_model_is_refused(void **state) {
    (void)state;
    char command[1200];
    static char llm[300];
    snprintf(llm, sizeof llm, "model.llm=%s", in_folder("llm"));
    snprintf(command, sizeof command,
             "cp -r %s/llm %s/llm && sed -i 's/\"vocab_size\": 640/\"vocab_size\": 600/' "
             "%s/llm/config.json",
             TINY, temporary_folder, temporary_folder);
    assert_int_equal(system(command), 0);
    Config *config = configure(SETTINGS(llm));
    Plan *plan = plan_make(config, &(PlanOptions){.processes = 1});
    problem_with(plan, "model.llm");
    plan_free(plan);
    config_free(config);
}

static void a_timestep_is_limited_by_the_noise_schedule_alone(void **state) {
    (void)state;
    static char sd[300];
    char command[1200];
    snprintf(sd, sizeof sd, "model.sd=%s", in_folder("sd"));
    snprintf(command, sizeof command,
             "cp -r %s/sd %s/ && sed -i 's/\"num_train_timesteps\": 1000/\"num_train_timesteps\": "
             "1500/' %s/sd/scheduler/scheduler_config.json",
             TINY, temporary_folder, temporary_folder);
    assert_int_equal(system(command), 0);
    for (int fails = 0; fails < 2; fails++) {
        Config *config =
            configure(SETTINGS(sd, fails ? "model.timestep=1500" : "model.timestep=1499"));
        Plan *plan = plan_make(config, &(PlanOptions){.processes = 1});
        assert_int_equal(plan->problem_count, fails);
        if (fails) problem_with(plan, "model.timestep");
        plan_free(plan);
        config_free(config);
    }
}

static void what_a_llava_asks_for_is_named_by_the_key_of_the_language_model(void **state) {
    (void)state;
    static char llm[300];
    char command[1200];
    snprintf(llm, sizeof llm, "model.llm=%s", in_folder("llava"));
    snprintf(command, sizeof command,
             "cp -r %s/llm %s/llava && sed -i '0,/{/s//{\"mm_hidden_size\": 7,/' "
             "%s/llava/config.json",
             TINY, temporary_folder, temporary_folder);
    assert_int_equal(system(command), 0);
    Config *config = configure(SETTINGS(llm, "model.architecture=llava"));
    Plan *plan = plan_make(config, &(PlanOptions){.processes = 1});
    assert_int_equal(plan->problem_count, 1);
    assert_non_null(strstr(problem_with(plan, "model.llm")->message, "mm_hidden_size"));
    plan_free(plan);
    config_free(config);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_timestep_is_limited_by_the_noise_schedule_alone),
        cmocka_unit_test(every_reason_is_named_with_its_key),
        cmocka_unit_test(tasks_in_training_whose_files_are_missing_are_a_reason),
        cmocka_unit_test(a_resumed_run_says_what_changed_and_is_refused_if_it_would_be_another),
        cmocka_unit_test(missing_images_are_counted_and_the_first_is_named),
        cmocka_unit_test(data_that_cannot_teach_are_a_reason),
        cmocka_unit_test(a_tokenizer_of_another_model_is_refused),
        cmocka_unit_test(what_a_llava_asks_for_is_named_by_the_key_of_the_language_model),
    };
    return cmocka_run_group_tests(tests, make_world, remove_temporary_folder);
}
