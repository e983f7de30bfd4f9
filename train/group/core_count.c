// A control group's cpu.max ("150000 100000": 1.5 cores) holds for all processes in the group and
// below it together; the kernel stops them for the rest of each period when they have used it up,
// so that more threads than that wait for each other.
#include "train/group/core_count.h"

#include "autograd/error.h"

#include <math.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MOST_CORES = 8192, LONGEST_PATH = 4096 };

int cores_of_affinity(void) {
    cpu_set_t *allowed = CPU_ALLOC(MOST_CORES);
    size_t size = CPU_ALLOC_SIZE(MOST_CORES);
    int count =
        allowed && sched_getaffinity(0, size, allowed) == 0 ? CPU_COUNT_S(size, allowed) : 1;
    CPU_FREE(allowed);
    return count > 0 ? count : 1;
}

/// The group of version 2 in "0::/path"; false if the process is in none that is visible from here.
static bool find_group(const char *membership, char group[LONGEST_PATH]) {
    FILE *file = fopen(membership, "r");
    bool found = false;
    while (file && !found && fgets(group, LONGEST_PATH, file)) {
        found = !strncmp(group, "0::/", 4);
        if (found) memmove(group, group + 3, strlen(group + 3) + 1);
    }
    if (file) fclose(file);
    if (!found) return false;
    group[strcspn(group, "\n")] = 0;
    if (strstr(group, "/..")) strcpy(group, "/"); // outside of what is mounted
    return true;
}

/// The limit of one group.
static double read_limit(const char *root, const char *group) {
    char *path = format_string("%s%s/cpu.max", root, group);
    FILE *file = fopen(path, "r");
    free(path);
    double quota = 0, period = 0;
    int numbers = file ? fscanf(file, "%lf %lf", &quota, &period) : 0; // "max" is none
    if (file) fclose(file);
    return numbers == 2 && isfinite(quota) && quota > 0 && period > 0 ? quota / period : INFINITY;
}

double cores_of_cgroup(const char *membership, const char *root) {
    char group[LONGEST_PATH];
    if (!find_group(membership, group)) return INFINITY;
    double least = INFINITY;
    while (true) {
        least = fmin(least, read_limit(root, group));
        char *last = strrchr(group, '/');
        if (!last) return least;
        *last = 0;
    }
}

int cores_allowed(int core_sharers, int processes) {
    double own = (double)cores_of_affinity() / core_sharers,
           time = cores_of_cgroup("/proc/self/cgroup", "/sys/fs/cgroup") / processes;
    double cores = fmin(own, time);
    return cores >= 1 ? (int)cores : 1;
}
