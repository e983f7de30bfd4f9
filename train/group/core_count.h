/// How much of the machine a process may use.
#pragma once

/// Processor cores: this process's share of those that it may run on, which `core_sharers`
/// processes have in common, and of the time that its control group allows (containers, Slurm,
/// Kubernetes) to the job's `processes` of this machine; at least 1.
int cores_allowed(int core_sharers, int processes);

/// The cores of the affinity mask alone.
int cores_of_affinity(void);
/// The limit of CPU time in cores that holds for a process of control groups version 2: the lowest
/// of its group and those above it; INFINITY if there is none. `membership`: /proc/self/cgroup;
/// `root`: where the groups are mounted, /sys/fs/cgroup.
double cores_of_cgroup(const char *membership, const char *root);
