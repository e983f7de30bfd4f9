// rooms: train autograd
// How many cores a process takes to be its own.
#include "tests/unit/temporary_folder.h"
#include "train/group/core_count.h"

#include <math.h>
#include <sched.h>
#include <sys/stat.h>

/// A tree of groups; NULL: the group has no such file.
static double limit_of(const char *membership, const char *root, const char *job,
                       const char *task) {
    const char *limits[] = {root, job, task};
    const char *files[] = {"cgroup/cpu.max", "cgroup/job/cpu.max", "cgroup/job/task/cpu.max"};
    for (int i = 0; i < 3; i++) {
        remove(in_folder(files[i]));
        if (limits[i]) write_text(files[i], limits[i]);
    }
    write_text("membership", membership);
    char file[512];
    snprintf(file, sizeof file, "%s", in_folder("membership"));
    return cores_of_cgroup(file, in_folder("cgroup"));
}

static void the_lowest_limit_of_a_group_and_those_above_holds(void **state) {
    (void)state;
    const char *task = "0::/job/task\n";
    assert_true(limit_of(task, NULL, "max 100000\n", "150000 100000\n") == 1.5);
    assert_true(limit_of(task, NULL, "400000 100000\n", "max 100000\n") == 4);
    assert_true(limit_of(task, NULL, "100000 50000\n", "300000 100000\n") == 2);
    assert_true(limit_of(task, "800000 100000\n", NULL, NULL) == 8);
    assert_true(limit_of("0::/job\n", NULL, "400000 100000\n", "100000 100000\n") == 4);
}

static void without_a_limit_there_is_none(void **state) {
    (void)state;
    const char *task = "0::/job/task\n";
    assert_true(isinf(limit_of(task, NULL, NULL, NULL)));
    assert_true(isinf(limit_of(task, NULL, "max 100000\n", "max 100000\n")));
    assert_true(isinf(limit_of(task, NULL, "", "nonsense\n")));
    assert_true(isinf(limit_of(task, NULL, "-1 100000\n", "100000 0\n")));
    assert_true(isinf(limit_of("1:cpu:/job\n", NULL, "100000 100000\n", NULL))); // version 1
    assert_true(isinf(cores_of_cgroup(in_folder("nothing"), in_folder("cgroup"))));
}

static void both_versions_at_once_and_a_group_outside_of_the_mount_are_understood(void **state) {
    (void)state;
    assert_true(limit_of("2:cpu:/x\n1:name=systemd:/y\n0::/job\n", NULL, "300000 100000\n", NULL) ==
                3);
    assert_true(limit_of("0::/\n", "200000 100000\n", NULL, NULL) == 2);
    assert_true(limit_of("0::/../../job\n", "200000 100000\n", "100000 100000\n", NULL) == 2);
}

static void a_process_bound_to_one_core_has_one(void **state) {
    (void)state;
    cpu_set_t before, one;
    assert_int_equal(sched_getaffinity(0, sizeof before, &before), 0);
    assert_int_equal(cores_of_affinity(), CPU_COUNT(&before));
    assert_true(cores_allowed(1, 1) >= 1 && cores_allowed(1, 1) <= CPU_COUNT(&before));
    assert_int_equal(cores_allowed(1000, 1000), 1);
    int core = 0;
    while (!CPU_ISSET(core, &before)) core++;
    CPU_ZERO(&one);
    CPU_SET(core, &one);
    assert_int_equal(sched_setaffinity(0, sizeof one, &one), 0);
    assert_int_equal(cores_of_affinity(), 1);
    assert_int_equal(cores_allowed(1, 1), 1);
    assert_int_equal(sched_setaffinity(0, sizeof before, &before), 0);
}

static int make_groups(void **state) {
    return make_temporary_folder(state) || mkdir(in_folder("cgroup"), 0777) ||
           mkdir(in_folder("cgroup/job"), 0777) || mkdir(in_folder("cgroup/job/task"), 0777);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_lowest_limit_of_a_group_and_those_above_holds),
        cmocka_unit_test(without_a_limit_there_is_none),
        cmocka_unit_test(both_versions_at_once_and_a_group_outside_of_the_mount_are_understood),
        cmocka_unit_test(a_process_bound_to_one_core_has_one),
    };
    return cmocka_run_group_tests(tests, make_groups, remove_temporary_folder);
}
