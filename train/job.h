/// Verbs that run as one job of several processes: train, eval.
#pragma once
#include "train/command.h"
#include "train/group/process_group.h"

/// What such a verb is told on the command line, beside what is its own.
typedef struct JobArguments {
    const char *config;
    /// 0: not told
    int64_t processes;
    ArgumentList settings;
} JobArguments;

/// Of one machine.
enum { MOST_PROCESSES = 65536 };

/// The row of --processes; `processes` is the member's path in the command's structure.
#define PROCESSES_ARGUMENT(type, processes)                                                  \
    {                                                                                        \
        "--processes", "N", "as many processes on this machine, started by mpirun",          \
            ARGUMENT_INTEGER, INTO(type, processes), .minimum = 1, .maximum = MOST_PROCESSES \
    }

typedef struct Job {
    const CommandLine *line;
    /// Whether the configuration has what the verb needs.
    bool (*require)(Config *config, Error *error);
    /// Every rank runs it; fails alike on every rank.
    bool (*run)(Config *config, ProcessGroup *group, Error *error);
} Job;

/// Runs the job in this process or, with --processes, in as many others, and returns the exit code.
/// `arguments` is NULL if they were wrong, and the error says how: one rank of a job speaks.
int job_run(const Job *job, const JobArguments *arguments, int argc, char **argv, Error *error);
