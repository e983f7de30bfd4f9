// rooms: train autograd
// The lock of a folder between processes, and what a launcher says of their places.
#include "tests/unit/temporary_folder.h"
#include "train/group/launched.h"
#include "train/group/run_lock.h"

#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

static void a_lock_that_another_has_is_refused_at_once_by_who_tries(void **state) {
    (void)state;
    Error error = {0};
    bool is_held = true;
    RunLock *first = run_lock_try(temporary_folder, &is_held, &error);
    assert_non_null(first);
    assert_false(is_held);
    assert_null(run_lock_try(temporary_folder, &is_held, &error));
    assert_true(is_held);
    assert_non_null(strstr(error.message, "is in use by another run: process"));
    run_lock_release(first);
    RunLock *second = run_lock_try(temporary_folder, &is_held, &error);
    assert_non_null(second);
    run_lock_release(second);
}

static void a_folder_that_is_not_there_is_no_lock_of_another(void **state) {
    (void)state;
    Error error = {0};
    bool is_held = true;
    assert_null(run_lock_try("/nowhere", &is_held, &error));
    assert_false(is_held);
}

/// Takes the lock, passes it on to a program that waits, whose number it writes, and is gone.
static void be_killed_with_a_program_left(int output) {
    Error error;
    bool is_held;
    RunLock *lock = run_lock_try(temporary_folder, &is_held, &error);
    pid_t child = lock ? fork() : -1;
    if (child == 0) {
        run_lock_pass_on(lock);
        execlp("sleep", "sleep", "60", (char *)NULL);
        _exit(127);
    }
    if (write(output, &child, sizeof child) != sizeof child) _exit(1);
    _exit(0);
}

static void a_program_that_it_was_passed_on_to_keeps_the_lock(void **state) {
    (void)state;
    Error error = {0};
    bool is_held = false;
    int ends[2], status;
    pid_t left;
    assert_int_equal(pipe(ends), 0);
    pid_t holder = fork();
    if (holder == 0) be_killed_with_a_program_left(ends[1]);
    assert_int_equal(read(ends[0], &left, sizeof left), sizeof left);
    assert_true(left > 0);
    assert_int_equal(waitpid(holder, &status, 0), holder);
    assert_null(run_lock_try(temporary_folder, &is_held, &error));
    assert_true(is_held);
    kill(left, SIGKILL);
    RunLock *lock = run_lock_take(temporary_folder, &error); // when it has ended
    assert_non_null(lock);
    run_lock_release(lock);
    close(ends[0]);
    close(ends[1]);
}

static void places_are_what_launchers_say(void **state) {
    (void)state;
    static const char *const NAMES[] = {"OMPI_COMM_WORLD_RANK",
                                        "OMPI_COMM_WORLD_LOCAL_RANK",
                                        "OMPI_COMM_WORLD_LOCAL_SIZE",
                                        "PMIX_RANK",
                                        "PMI_RANK",
                                        "MPI_LOCALRANKID",
                                        "MPI_LOCALNRANKS",
                                        "SLURM_PROCID",
                                        "SLURM_LOCALID",
                                        "SLURM_TASKS_PER_NODE",
                                        "SLURM_STEP_TASKS_PER_NODE"};
    for (size_t i = 0; i < sizeof NAMES / sizeof *NAMES; i++) unsetenv(NAMES[i]);
    LaunchedPlace place = launched_place();
    assert_int_equal(place.rank, 0);
    assert_int_equal(place.local_count, 1);
    setenv("SLURM_PROCID", "5", 1);
    setenv("SLURM_LOCALID", "1", 1);
    setenv("SLURM_STEP_TASKS_PER_NODE", "4(x2)", 1);
    place = launched_place();
    assert_int_equal(place.rank, 5);
    assert_int_equal(place.local_rank, 1);
    assert_int_equal(place.local_count, 4);
    setenv("OMPI_COMM_WORLD_RANK", "3", 1);
    setenv("OMPI_COMM_WORLD_LOCAL_RANK", "7", 1);
    place = launched_place();
    assert_int_equal(place.rank, 3);
    assert_int_equal(place.local_count, 8); // no fewer than there must be
}

int main(void) {
    const struct CMUnitTest tests[] = {
        IN_FOLDER(a_lock_that_another_has_is_refused_at_once_by_who_tries),
        IN_FOLDER(a_folder_that_is_not_there_is_no_lock_of_another),
        IN_FOLDER(a_program_that_it_was_passed_on_to_keeps_the_lock),
        cmocka_unit_test(places_are_what_launchers_say),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
