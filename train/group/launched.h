/// What mpirun and srun say to the processes that they start, and whether MPI agrees. Inside the
/// process group only.
#pragma once
#include "autograd/error.h"

/// How many processes the launcher says that it has started, and the variable of the environment
/// that says so; 0: none does.
int launched_count(const char **variable);

/// Before MPI is started: false, with what to do, where it would end a process that was started as
/// one of several without a way to find the others.
bool launched_can_meet(Error *error);
/// After it was started: false, with what to do, where one of several processes is alone.
bool launched_has_met(Error *error);

/// Where this process stands among those that were started with it, as the launcher says, without
/// MPI.
typedef struct LaunchedPlace {
    int rank;
    /// among those of this machine, and how many these are
    int local_rank, local_count;
} LaunchedPlace;
LaunchedPlace launched_place(void);
