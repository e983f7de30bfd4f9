// rooms: train eval models ops checkpoints data autograd
// What answers and verdicts depend on: no key of the configuration is forgotten, and what changes
// is noticed.
#include "tests/unit/temporary_folder.h"
#include "train/config/config_schema.h"
#include "train/evaluation/evaluation_setup.h"

#include <stdio.h>
#include <string.h>

#define TINY SOURCE_DIR "/checkpoints/tiny"

static const char INSTANCES[] =
    "{\"images\": [{\"id\": 1, \"file_name\": \"1.png\", \"width\": 8, \"height\": 8}],"
    "\"categories\": [{\"id\": 3, \"name\": \"ring\"}],"
    "\"annotations\": [{\"id\": 7, \"image_id\": 1, \"category_id\": 3, \"iscrowd\": 0,"
    "\"segmentation\": [[0,0,4,0,4,4,0,4]]}]}";

/// {"asked": ..., "judged": ...} of a configuration with these settings more.
static json_t *depends_on(const char *setting) {
    char annotations[320];
    Error error = {0};
    FILE *file = fopen(in_folder("instances.json"), "w");
    fputs(INSTANCES, file);
    fclose(file);
    snprintf(annotations, sizeof annotations, "eval.annotations=%s", in_folder("instances.json"));
    const char *settings[] = {"model.sd=" TINY "/sd",
                              "model.vision_tower=" TINY "/clip",
                              "model.llm=" TINY "/llm",
                              annotations,
                              "eval.image_folder=images",
                              "eval.output_dir=out",
                              setting};
    Config *config = config_load(NULL, settings, setting ? 7 : 6, &error);
    if (!config) fail_msg("%s", error.message);
    EvaluationOptions options = evaluation_options(config);
    void *data = evaluation_task(config)->open(&options, &error);
    if (!data) fail_msg("%s", error.message);
    json_t *asked = evaluation_asked_with(config, evaluation_task(config), data, &error);
    if (!asked) fail_msg("%s", error.message);
    json_t *judged = evaluation_judged_with(config, NULL);
    evaluation_task(config)->close(data);
    config_free(config);
    return json_pack("{s:o, s:o}", "asked", asked, "judged", judged);
}

static bool has_key(const json_t *depends, const char *key) {
    return json_object_get(json_object_get(depends, "asked"), key) ||
           json_object_get(json_object_get(depends, "judged"), key);
}

static void every_key_decides_about_answers_or_verdicts_or_about_neither(void **state) {
    (void)state;
    static const char *const NEITHER[] = {
        // which items there are: a checksum of these is what counts
        "eval.split", "eval.sentences", "eval.samples",
        // where, how fast
        "eval.output_dir", "eval.answers", "eval.batch_size",
        // of answers that others stored, which say it themselves
        "eval.tokenizer", "eval.geometry", "eval.offset",
        // figures and pictures, made anew of the verdicts
        "eval.plurals", "eval.meteor", "eval.bert", "eval.pictures",
        // of training
        "model.adapters", "model.recompute", "lora.lora_dropout", "eval.tasks"};
    json_t *depends = depends_on("eval.temperature=1"),
           *wide = depends_on("model.projector_width=5"),
           *narrow = depends_on("model.frozen_dtype=fp8");
    json_object_update(json_object_get(depends, "asked"), json_object_get(wide, "asked"));
    json_object_update(json_object_get(depends, "asked"), json_object_get(narrow, "asked"));
    json_decref(wide);
    json_decref(narrow);
    for (int i = 0; i < NUM_CONFIG_FIELDS; i++) {
        char key[128];
        const ConfigField *field = &CONFIG_FIELDS[i];
        if (strcmp(field->section, "eval") != 0 && strcmp(field->section, "model") != 0 &&
            strcmp(field->section, "lora") != 0)
            continue;
        snprintf(key, sizeof key, "%s.%s", field->section, field->name);
        bool listed = false;
        for (size_t n = 0; n < sizeof NEITHER / sizeof *NEITHER; n++)
            listed = listed || !strcmp(key, NEITHER[n]);
        if (listed == has_key(depends, key))
            fail_msg("%s: is %s", key,
                     listed ? "what answers or verdicts depend on after all"
                            : "forgotten: do answers or verdicts depend on it?");
    }
    json_decref(depends);
}

static bool differs(const char *which, const char *setting) {
    json_t *one = depends_on(NULL), *other = depends_on(setting);
    bool same = json_equal(json_object_get(one, which), json_object_get(other, which));
    json_decref(one);
    json_decref(other);
    return !same;
}

static void what_is_asked_otherwise_is_noticed(void **state) {
    (void)state;
    assert_true(differs("asked", "eval.prompt=What?"));
    assert_true(differs("asked", "eval.layers=[0]"));
    assert_true(differs("asked", "eval.max_new_tokens=3"));
    assert_true(differs("asked", "eval.query=own"));
    assert_true(differs("asked", "eval.temperature=0.5"));
    assert_false(differs("asked", "eval.top_p=0.5")); // nothing is drawn
    assert_true(differs("asked", "model.llm=" TINY "/clip"));
    assert_true(differs("asked", "model.projector_width=5"));
    assert_false(differs("asked", "model.projector_width=auto"));
    assert_true(differs("asked", "model.frozen_dtype=fp8"));
    assert_false(differs("asked", "model.frozen_dtype=auto"));
    // what is kept apart is chosen when it is judged
    json_t *apart = depends_on("eval.keep=heads");
    assert_null(json_object_get(json_object_get(apart, "asked"), "eval.layers"));
    assert_null(json_object_get(json_object_get(apart, "asked"), "eval.heads"));
    json_decref(apart);
    assert_false(differs("asked", "eval.segmenter=truth"));
    assert_false(differs("asked", "eval.batch_size=1"));
}

static void what_is_judged_otherwise_is_noticed(void **state) {
    (void)state;
    assert_true(differs("judged", "eval.segmenter=truth"));
    assert_true(differs("judged", "eval.aggregate=max"));
    assert_true(differs("judged", "eval.task=instances"));
    assert_true(differs("judged", "eval.region_images=there.json"));
    assert_false(differs("judged", "eval.pictures=2"));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        IN_FOLDER(every_key_decides_about_answers_or_verdicts_or_about_neither),
        IN_FOLDER(what_is_asked_otherwise_is_noticed),
        IN_FOLDER(what_is_judged_otherwise_is_noticed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
