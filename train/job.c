#include "train/job.h"

#include "autograd/stop_request.h"
#include "train/launch.h"

#include <stdio.h>

/// Seconds for all processes to have come up, before the configuration says anything.
static const double JOINING_TIMEOUT = 300;

/// The configuration on every rank, or an error on every rank.
static Config *load_config(const Job *job, const JobArguments *arguments, ProcessGroup *group,
                           Error *error) {
    Config *config = arguments ? config_load(arguments->config, arguments->settings.values,
                                             arguments->settings.count, error)
                               : NULL;
    if (process_group_agree(group, config && job->require(config, error), error)) return config;
    config_free(config);
    return NULL;
}

static int refuse(const Job *job, ProcessGroup *group, const Error *error, int exit_code) {
    if (process_group_is_broken(group)) return EXIT_FAILED; // each rank speaks for itself
    // One rank speaks for all; the others fail for the same reason.
    if (process_rank(group) == 0) return command_refuse(job->line->verb, error, exit_code);
    return error->is_configuration ? EXIT_USAGE : exit_code;
}

static int run(const Job *job, const JobArguments *arguments, Error *error) {
    ProcessGroup *group = process_group_open(JOINING_TIMEOUT, error);
    if (!group) return command_refuse(job->line->verb, error, EXIT_FAILED);
    Config *config = load_config(job, arguments, group, error);
    int exit_code = EXIT_DONE;
    if (!config)
        exit_code = refuse(job, group, error, EXIT_USAGE);
    else if (!job->run(config, group, error))
        exit_code = refuse(job, group, error, EXIT_FAILED);
    config_free(config);
    if (process_group_is_broken(group)) {
        fprintf(stderr, "difflmm %s: rank %d: %s\n", job->line->verb, process_rank(group),
                error->message);
        process_group_abort(group, exit_code);
    }
    process_group_close(group);
    return exit_code;
}

int job_run(const Job *job, const JobArguments *arguments, int argc, char **argv, Error *error) {
    if (arguments && arguments->processes > 0 && process_group_is_launched()) {
        error_set(error,
                  "--processes starts mpirun, and this process was started by mpirun or srun "
                  "already; leave one of them out");
        arguments = NULL;
    }
    if (arguments && arguments->processes > 1) {
        arguments_leave_out(job->line, "--processes", argc, argv);
        return launch_processes((int)arguments->processes, argv);
    }
    stop_request_listen();
    return run(job, arguments, error);
}
