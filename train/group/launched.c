#include "train/group/launched.h"

#include <mpi.h>
#include <stdlib.h>
#include <string.h>

// Open MPI's mpirun; that of MPICH and Intel MPI, and srun with PMI-2; srun. (SLURM_NTASKS is no
// such: a batch script has it too, which is one process.)
int launched_count(const char **variable) {
    static const char *const names[] = {"OMPI_COMM_WORLD_SIZE", "PMI_SIZE", "SLURM_STEP_NUM_TASKS"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        const char *value = getenv(names[i]);
        *variable = names[i];
        if (value) return atoi(value);
    }
    return 0;
}

/// One of several processes that takes itself for the only one would train the whole, in the same
/// folder as the others.
static bool refuse_to_be_alone(int started, const char *variable, Error *error) {
    char library[MPI_MAX_LIBRARY_VERSION_STRING];
    int length;
    MPI_Get_library_version(library, &length);
    library[strcspn(library, ",\n")] = 0;
    error_set(error,
              "%d processes were started (%s), but MPI sees this one alone: there would be %d jobs "
              "of one process. Start them by the mpirun of the MPI library that the program was "
              "built with (%.100s), or under Slurm by srun --mpi=pmix (srun --mpi=list says what "
              "there is); for one process leave the launcher out",
              started, variable, started, library);
    error->is_configuration = true;
    return false;
}

// Open MPI ends a process that srun has started without PMI, and blames its own installation.
bool launched_can_meet(Error *error) {
#ifdef OPEN_MPI
    const char *variable;
    int started = launched_count(&variable);
    bool has_pmi = getenv("PMIX_RANK") || getenv("PMI_RANK") || getenv("PMI_FD");
    if (started > 1 && !has_pmi && !strncmp(variable, "SLURM", 5))
        return refuse_to_be_alone(started, variable, error);
#else
    (void)error;
#endif
    return true;
}

bool launched_has_met(Error *error) {
    const char *variable;
    int seen, started = launched_count(&variable);
    MPI_Comm_size(MPI_COMM_WORLD, &seen);
    return seen > 1 || started <= 1 || refuse_to_be_alone(started, variable, error);
}

/// The first of these variables that is there, or `otherwise`.
static int first_of(const char *const *names, int otherwise) {
    for (; *names; names++) {
        const char *value = getenv(*names);
        if (value) return atoi(value);
    }
    return otherwise;
}

LaunchedPlace launched_place(void) {
    static const char *const RANK[] = {"OMPI_COMM_WORLD_RANK", "PMIX_RANK", "PMI_RANK",
                                       "SLURM_PROCID", NULL},
                             *const LOCAL_RANK[] = {"OMPI_COMM_WORLD_LOCAL_RANK", "MPI_LOCALRANKID",
                                                    "SLURM_LOCALID", NULL},
                             *const LOCAL_COUNT[] = {"OMPI_COMM_WORLD_LOCAL_SIZE",
                                                     "MPI_LOCALNRANKS", "SLURM_STEP_TASKS_PER_NODE",
                                                     "SLURM_TASKS_PER_NODE", NULL};
    LaunchedPlace place = {first_of(RANK, 0), first_of(LOCAL_RANK, 0), first_of(LOCAL_COUNT, 1)};
    if (place.local_count <= place.local_rank) place.local_count = place.local_rank + 1;
    return place;
}
