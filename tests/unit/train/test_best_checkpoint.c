// rooms: train eval models ops checkpoints data autograd
// Which checkpoint is the best, and how a run that goes on knows it.
#include "checkpoints/training_state.h"
#include "tests/unit/temporary_folder.h"
#include "train/trainer/best_checkpoint.h"

#include <math.h>

static const BestSoFar LOSS = {.figure = "loss", .value = NAN, .step = -1},
                       ACCURACY = {
                           .figure = "points.point_accuracy", .basis = 7, .value = NAN, .step = -1};

static void the_lowest_loss_and_the_highest_figure_are_the_best(void **state) {
    (void)state;
    static const double VALUES[] = {0.5, 0.25, 0.75, 0.25, 0.75};
    BestSoFar loss = LOSS, accuracy = ACCURACY;
    for (int i = 0; i < 5; i++) {
        best_update(&loss, VALUES[i], 10 * i);
        best_update(&accuracy, VALUES[i], 10 * i);
    }
    // the first of equals
    assert_int_equal(loss.step, 10);
    assert_true(loss.value == 0.25);
    assert_int_equal(accuracy.step, 20);
    assert_true(accuracy.value == 0.75);
}

static void what_is_no_number_is_never_the_best(void **state) {
    (void)state;
    BestSoFar accuracy = ACCURACY;
    best_update(&accuracy, NAN, 1);
    best_update(&accuracy, INFINITY, 2);
    assert_int_equal(accuracy.step, -1);
    best_update(&accuracy, 0, 3);
    best_update(&accuracy, NAN, 4);
    assert_int_equal(accuracy.step, 3);
}

static char told[1024];

static BestSoFar go_on(const BestSoFar *now, const BestSoFar *then) {
    memset(told, 0, sizeof told);
    FILE *out = fmemopen(told, sizeof told - 1, "w");
    BestSoFar best = best_go_on(now, then, out);
    fclose(out);
    return best;
}

static void a_run_goes_on_with_its_best_or_says_that_it_looks_anew(void **state) {
    (void)state;
    BestSoFar then = ACCURACY, now = ACCURACY;
    then.step = 30;
    then.value = 0.5;
    assert_int_equal(go_on(&now, &then).step, 30);
    assert_string_equal(told, "");
    now.basis = 8;
    assert_int_equal(go_on(&now, &then).step, -1);
    assert_non_null(strstr(told,
                           "points.point_accuracy 0.5 after step 30, does not count any more: "
                           "it was measured on something else (eval.tasks)"));
    assert_int_equal(go_on(&LOSS, &then).step, -1);
    assert_non_null(strstr(told, "training.save_best is another"));
    assert_string_equal(go_on(&now, &LOSS).figure, "points.point_accuracy");
    assert_string_equal(told, ""); // nothing is lost
}

/// A checkpoint as far as its position is read.
static void write_position(const char *path, bool is_older, const char *figure) {
    static const char *const INTEGERS[] = {"position/step", "position/position", "position/tokens",
                                           "position/seed", "position/global_batch"};
    Error error = {0};
    const int64_t none = 0;
    StateWriter *writer = state_create(path, &error);
    bool ok = writer && state_write_attribute_string(writer, "training/format",
                                                     "difflmm training checkpoint 2", &error);
    for (int i = 0; ok && i < 5; i++)
        ok = state_write_attribute_int(writer, INTEGERS[i], 12, &error);
    ok = ok && state_write_attribute_int(writer, "position/best_step", 8, &error);
    if (is_older)
        ok = ok && state_write_attribute_double(writer, "position/best_loss", 1.5, &error);
    else
        ok = ok && state_write_attribute_string(writer, "position/best_figure", figure, &error) &&
             state_write_attribute_int(writer, "position/best_basis", 7, &error) &&
             state_write_attribute_double(writer, "position/best_value", 1.5, &error);
    static const char *const DETECTORS[] = {"loss", "grad_norm"};
    for (int i = 0; ok && i < 2; i++) {
        char *values = format_string("detectors/%s", DETECTORS[i]),
             *in_a_row = format_string("%s_outliers_in_a_row", values);
        ok = state_write_array(writer, values, STATE_FLOAT32, 1, &none, "", &error) &&
             state_write_attribute_int(writer, in_a_row, 0, &error);
        free(values);
        free(in_a_row);
    }
    if (!ok || !state_commit(writer, &error)) fail_msg("%s", error.message);
}

static void older_checkpoints_have_the_best_loss(void **state) {
    (void)state;
    Error error = {0};
    TrainingPosition position;
    write_position(in_folder("older.h5"), true, NULL);
    if (!training_checkpoint_position(in_folder("older.h5"), &position, &error))
        fail_msg("%s", error.message);
    assert_string_equal(position.best.figure, "loss");
    assert_true(position.best.value == 1.5 && position.best.step == 8 && position.best.basis == 0);
    write_position(in_folder("newer.h5"), false, "res.giou");
    if (!training_checkpoint_position(in_folder("newer.h5"), &position, &error))
        fail_msg("%s", error.message);
    assert_string_equal(position.best.figure, "res.giou");
    assert_true(position.best.value == 1.5 && position.best.step == 8 && position.best.basis == 7);
}

static void a_figure_with_an_endless_name_is_refused(void **state) {
    (void)state;
    Error error = {0};
    TrainingPosition position;
    char name[400];
    memset(name, 'x', sizeof name);
    name[sizeof name - 1] = 0;
    write_position(in_folder("long.h5"), false, name);
    assert_false(training_checkpoint_position(in_folder("long.h5"), &position, &error));
    assert_non_null(strstr(error.message, "long.h5: 'position/best_figure' is longer"));
}

static Config *configure(const char *setting) {
    Error error = {0};
    Config *config = config_load(NULL, &setting, setting ? 1 : 0, &error);
    if (!config) fail_msg("%s", error.message);
    return config;
}

static void what_is_kept_and_what_decides_come_from_save_best(void **state) {
    (void)state;
    static const struct {
        const char *setting, *figure, *yaml;
        bool kept;
    } cases[] = {
        {NULL, "loss", "save_best: false\n", false},
        {"training.save_best=False", "loss", "save_best: false\n", false},
        {"training.save_best=TRUE", "loss", "save_best: true\n", true},
        {"training.save_best=png.point_accuracy", "png.point_accuracy",
         "save_best: png.point_accuracy\n", true},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        Config *config = configure(cases[i].setting);
        char *yaml = config_to_yaml(config);
        assert_int_equal(best_is_kept(&config->training), cases[i].kept);
        assert_string_equal(best_figure(&config->training), cases[i].figure);
        assert_non_null(strstr(yaml, cases[i].yaml));
        free(yaml);
        config_free(config);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_lowest_loss_and_the_highest_figure_are_the_best),
        cmocka_unit_test(what_is_no_number_is_never_the_best),
        cmocka_unit_test(a_run_goes_on_with_its_best_or_says_that_it_looks_anew),
        IN_FOLDER(older_checkpoints_have_the_best_loss),
        IN_FOLDER(a_figure_with_an_endless_name_is_refused),
        cmocka_unit_test(what_is_kept_and_what_decides_come_from_save_best),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
