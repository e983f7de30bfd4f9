// rooms: train eval models ops checkpoints data autograd
// What a resumed run may change.
#include "checkpoints/training_state.h"
#include "tests/unit/temporary_folder.h"
#include "train/saved/resume_check.h"
#include "train/saved/training_checkpoint.h"

/// the configuration of the run that is resumed
static char *written;
static char listed[4096];

static Config *configure(const char *setting) {
    Error error = {0};
    const char *settings[] = {"training.learning_rate=1e-3", "training.output_dir=runs/a", setting};
    Config *config = config_load(NULL, settings, setting ? 3 : 2, &error);
    if (!config) fail_msg("%s", error.message);
    return config;
}

/// What the checkpoint was trained on, with batches of 12.
static const TrainingPosition THEN = {.global_batch = 12, .train = {40, 0xabc}, .eval = {8, 0xdef}};

/// Whether the run goes on with this setting and from `now`.
static bool goes_on_from(const char *setting, const TrainingPosition *now,
                         const TrainingPosition *then, Error *error) {
    Config *config = configure(setting);
    memset(listed, 0, sizeof listed);
    FILE *out = fmemopen(listed, sizeof listed - 1, "w");
    bool same = resume_check(config, written, "checkpoint-3.h5", now, then, out, error);
    fclose(out);
    config_free(config);
    return same;
}

/// Whether it goes on with this setting and batches of `global_batch`.
static bool goes_on(const char *setting, int64_t global_batch, Error *error) {
    TrainingPosition now = THEN;
    now.global_batch = global_batch;
    return goes_on_from(setting, &now, &THEN, error);
}

static void the_same_configuration_goes_on_silently(void **state) {
    (void)state;
    Error error = {0};
    assert_true(goes_on(NULL, 12, &error));
    assert_string_equal(listed, "");
}

static void what_decides_nothing_may_change_and_is_listed(void **state) {
    (void)state;
    Error error = {0};
    const char *const harmless[] = {"training.output_dir=runs/b", "training.threads=3",
                                    "training.save_steps=7",      "eval.samples=3",
                                    "data.cache_features=true",   "model.recompute=all"};
    for (size_t i = 0; i < sizeof harmless / sizeof *harmless; i++) {
        assert_true(goes_on(harmless[i], 12, &error));
        char key[64];
        snprintf(key, sizeof key, "%.*s was ", (int)strcspn(harmless[i], "="), harmless[i]);
        assert_non_null(strstr(listed, key));
        assert_null(strstr(listed, "another run"));
    }
}

static void what_is_learned_must_not_change(void **state) {
    (void)state;
    const char *const meaningful[] = {"training.seed=7",
                                      "training.max_steps=9",
                                      "model.timestep=50",
                                      "model.projector_width=5",
                                      "lora.lora_r=3",
                                      "data.version=plain",
                                      "training.mm_projector_lr=5e-4",
                                      "data.image_normalization=clip_twice"};
    for (size_t i = 0; i < sizeof meaningful / sizeof *meaningful; i++) {
        Error error = {0};
        assert_false(goes_on(meaningful[i], 12, &error));
        assert_true(error.is_configuration);
        char key[64];
        snprintf(key, sizeof key, "%.*s", (int)strcspn(meaningful[i], "="), meaningful[i]);
        assert_non_null(strstr(error.message, key));
        assert_non_null(strstr(listed, "another run"));
    }
    Error error = {0};
    assert_true(goes_on("training.accept_changes=true", 12, &error));
}

static void batches_may_be_cut_anew_but_not_change_their_size(void **state) {
    (void)state;
    Error error = {0};
    assert_true(goes_on("training.per_device_train_batch_size=3", 12, &error));
    assert_false(goes_on("training.per_device_train_batch_size=3", 6, &error));
    assert_non_null(strstr(error.message, "had 12 samples and would now have 6"));
    assert_false(goes_on(NULL, 24, &error)); // the number of processes alone
}

static void data_that_changed_makes_another_run_whatever_its_name(void **state) {
    (void)state;
    TrainingPosition now = THEN;
    Error error = {0};
    now.train.samples = 120;
    assert_false(goes_on_from(NULL, &now, &THEN, &error));
    assert_true(error.is_configuration);
    assert_non_null(strstr(error.message, "data.train"));
    assert_non_null(strstr(listed, "the data of data.train was 40 samples"));
    assert_non_null(strstr(listed, "is 120"));
    now = THEN;
    now.eval.checksum++;
    assert_false(goes_on_from(NULL, &now, &THEN, &error));
    assert_non_null(strstr(error.message, "data.eval"));
    assert_true(goes_on_from("training.accept_changes=true", &now, &THEN, &error));
    assert_non_null(strstr(listed, "the data of data.eval"));
}

static void data_may_move_and_held_out_data_may_come_and_go(void **state) {
    (void)state;
    TrainingPosition now = THEN;
    Error error = {0};
    assert_true(goes_on("data.train=elsewhere.json", 12, &error));
    assert_non_null(strstr(listed, "data.train was "));
    assert_true(goes_on("data.eval=elsewhere.json", 12, &error));
    now.eval = (DataIdentity){0};
    assert_true(goes_on_from(NULL, &now, &THEN, &error));
    assert_true(goes_on_from(NULL, &THEN, &now, &error));
}

static void a_list_of_the_same_data_goes_on_unless_its_folders_are_others(void **state) {
    (void)state;
    Error error = {0};
    char *ours = written;
    Config *config = configure("data.train=[{path: a.json, image_folder: images}, b.json]");
    written = config_to_yaml(config);
    assert_true(goes_on("data.train=[{path: c.json, image_folder: images}, d.json]", 12, &error));
    assert_non_null(strstr(listed, "data.train was [{path: a.json, image_folder: images"));
    assert_false(goes_on("data.train=[{path: a.json, image_folder: others}, b.json]", 12, &error));
    assert_non_null(strstr(error.message, "data.train"));
    config_free(config);
    free(written);
    written = ours;
}

static void a_key_that_is_no_more_is_named(void **state) {
    (void)state;
    Error error = {0};
    char *ours = written;
    written = format_string("%s  no_such_key: 3\n", ours);
    assert_false(goes_on(NULL, 12, &error));
    assert_non_null(strstr(error.message, "no_such_key"));
    assert_true(error.is_configuration);
    assert_true(goes_on("training.accept_changes=true", 12, &error));
    assert_non_null(strstr(listed, "no_such_key"));
    free(written);
    written = ours;
}

static void a_checkpoint_that_does_not_know_its_data_goes_by_the_name(void **state) {
    (void)state;
    TrainingPosition then = {.global_batch = 12};
    Error error = {0};
    assert_true(goes_on_from(NULL, &THEN, &then, &error));
    assert_string_equal(listed, "");
    assert_false(goes_on_from("data.train=elsewhere.json", &THEN, &then, &error));
}

// ---- the configuration that a checkpoint carries

/// A checkpoint whose configuration is an array of that type and shape, and what reading it says.
static void assert_refused(StateType type, int rank, const int64_t *shape, const char *says) {
    static const float bytes[64];
    Error error = {0};
    const char *path = in_folder("checkpoint-1.h5");
    StateWriter *writer = state_create(path, &error);
    assert_non_null(writer);
    assert_true(state_write_attribute_string(writer, "training/format",
                                             "difflmm training checkpoint 2", &error));
    if (rank >= 0)
        assert_true(state_write_array(writer, "config.yaml", type, rank, shape, bytes, &error));
    assert_true(state_commit(writer, &error));
    error = (Error){0};
    assert_null(training_checkpoint_config(path, &error));
    if (!strstr(error.message, says) || !strstr(error.message, path))
        fail_msg("expected \"%s\", not: %s", says, error.message);
}

static void a_configuration_that_is_no_text_is_an_error_with_a_message(void **state) {
    (void)state;
    const int64_t shape[2] = {3, 2};
    assert_refused(STATE_BYTES, 2, shape, "'config.yaml' has 2 dimensions");
    assert_refused(STATE_BYTES, 0, shape, "'config.yaml' has 0 dimensions");
    assert_refused(STATE_FLOAT32, 1, shape, "expected");
    assert_refused(STATE_BYTES, -1, shape, "'config.yaml' is missing");
}

int main(void) {
    Config *config = configure(NULL);
    written = config_to_yaml(config);
    config_free(config);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_same_configuration_goes_on_silently),
        cmocka_unit_test(what_decides_nothing_may_change_and_is_listed),
        cmocka_unit_test(what_is_learned_must_not_change),
        cmocka_unit_test(batches_may_be_cut_anew_but_not_change_their_size),
        cmocka_unit_test(data_that_changed_makes_another_run_whatever_its_name),
        cmocka_unit_test(data_may_move_and_held_out_data_may_come_and_go),
        cmocka_unit_test(a_list_of_the_same_data_goes_on_unless_its_folders_are_others),
        cmocka_unit_test(a_key_that_is_no_more_is_named),
        cmocka_unit_test(a_checkpoint_that_does_not_know_its_data_goes_by_the_name),
        IN_FOLDER(a_configuration_that_is_no_text_is_an_error_with_a_message),
    };
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    free(written);
    return failed;
}
