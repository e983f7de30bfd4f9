// rooms: train eval models ops checkpoints data autograd
// Checkpoints written beside training: the writer is asked how it goes all the time while its
// thread writes. The thread sanitizer sees no race here where pthread_join() stands for
// pthread_clockjoin_np(), which gcc 12's does not know.
#include "train/saved/checkpoint_writer.h"

#include "checkpoints/checkpoint_folder.h"
#include "tests/unit/temporary_folder.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { WRITES = 6 };

static const CheckpointRetention ALL = {.best_step = -1};

/// A run without a parameter.
static TrainingSnapshot *snapshot_of(ProcessGroup *alone) {
    ParameterSet none = {0};
    Optimizer optimizer = optimizer_new(&none, NULL, 0);
    TrainingPosition position = {.best = {.step = -1}};
    TrainingSnapshot *snapshot = NULL;
    Error error = {0};
    if (!training_snapshot_take(&optimizer, false, true, &position, "model: {}\n", alone, &snapshot,
                                &error))
        fail_msg("%s", error.message);
    optimizer_free(&optimizer);
    return snapshot;
}

/// Writes into `folder`, asking how it goes in between; returns how often a failure was told.
static int write_and_ask(const char *folder, bool *last_failed) {
    ProcessGroup *alone = process_group_alone();
    CheckpointWriter *writer = checkpoint_writer_new(folder, alone);
    int told = 0;
    for (int64_t step = 1; step <= WRITES; step++) {
        Error error = {0};
        checkpoint_writer_submit(writer, snapshot_of(alone), step, &ALL);
        for (int i = 0; i < 100; i++)
            if (checkpoint_writer_failed(writer, false, &error)) {
                assert_non_null(strstr(error.message, "checkpoint-"));
                told++;
            }
    }
    *last_failed = checkpoint_writer_failed(writer, true, NULL);
    checkpoint_writer_free(writer);
    process_group_close(alone);
    return told;
}

static void every_submitted_checkpoint_is_there_in_the_end(void **state) {
    (void)state;
    bool last_failed;
    assert_int_equal(write_and_ask(temporary_folder, &last_failed), 0);
    assert_false(last_failed);
    for (int64_t step = 1; step <= WRITES; step++) {
        Error error = {0};
        TrainingPosition position;
        char *path = checkpoint_path(temporary_folder, step);
        if (!training_checkpoint_position(path, &position, &error)) fail_msg("%s", error.message);
        free(path);
    }
}

static void a_failed_write_is_told_once_and_the_last_one_in_any_case(void **state) {
    (void)state;
    bool last_failed;
    int told = write_and_ask(in_folder("absent"), &last_failed);
    assert_true(told <= WRITES);
    assert_true(last_failed);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_submitted_checkpoint_is_there_in_the_end),
        cmocka_unit_test(a_failed_write_is_told_once_and_the_last_one_in_any_case),
    };
    return cmocka_run_group_tests(tests, make_temporary_folder, remove_temporary_folder);
}
