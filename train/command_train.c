// difflmm train: start or resume training.
#include "autograd/stop_request.h"
#include "train/command.h"
#include "train/launch.h"
#include "train/trainer/trainer.h"

#include <stdio.h>

/// Seconds for all processes to have come up, before the configuration says anything.
static const double JOINING_TIMEOUT = 300;

/// Of one machine.
enum { MOST_PROCESSES = 65536 };

typedef struct TrainArguments {
    const char *config;
    /// 0: not told
    int64_t processes;
    ArgumentList settings;
} TrainArguments;

static const Argument ARGUMENTS[] = {
    CONFIG_ARGUMENT(TrainArguments),
    SETTINGS_ARGUMENT(TrainArguments),
    {"--processes", "N", "as many processes on this machine, started by mpirun", ARGUMENT_INTEGER,
     INTO(TrainArguments, processes), .minimum = 1, .maximum = MOST_PROCESSES},
    {0}};

static const CommandLine LINE = {
    "train",
    "Trains the adapters (and LoRA, with lora.lora_enable) as CONFIG says, or goes on where an "
    "interrupted run of the same training.output_dir stopped; the result is the same, bit by bit. "
    "Interrupting with Ctrl-C or SIGTERM finishes the step and saves; a second time, it ends the "
    "run at once, without saving.\n"
    "\n"
    "training.output_dir receives config.yaml (what the configuration came to), metrics.jsonl (one "
    "line per step) and checkpoint-<step>.h5.\n"
    "\n"
    "Many processes, on one machine or many, one GPU each: these are the same job, and give what "
    "one process with the same global batch gives, up to rounding:\n"
    "  difflmm train CONFIG --processes 8          this machine; runs mpirun\n"
    "  mpirun -n 8 difflmm train CONFIG            (stop it by SIGUSR1: mpirun kills it soon after "
    "SIGTERM)\n"
    "  srun -n 8 --mpi=pmix difflmm train CONFIG   under Slurm (sbatch --signal=USR1@60)\n",
    ARGUMENTS,
    "  difflmm train configs/tiny_stage1.yaml\n"
    "  difflmm train configs/tiny_stage2.yaml training.seed=1 training.output_dir=runs/seed1\n"
    "  difflmm config training                     what can be set\n"};

static bool check_processes(const TrainArguments *arguments, Error *error) {
    return arguments->processes == 0 || !process_group_is_launched() ||
           error_set(error, "--processes starts mpirun, and this process was started by mpirun or "
                            "srun already; leave one of them out");
}

/// The configuration on every rank, or an error on every rank.
static Config *load_config(const TrainArguments *arguments, ProcessGroup *group, Error *error) {
    Config *config = arguments ? config_load(arguments->config, arguments->settings.values,
                                             arguments->settings.count, error)
                               : NULL;
    bool ok = config &&
              config_require(config, error, "data.train", "data.image_folder",
                             "training.output_dir", NULL) &&
              config_require_model(config, error);
    if (process_group_agree(group, ok, error)) return config;
    config_free(config);
    return NULL;
}

static int refuse(ProcessGroup *group, const Error *error, int exit_code) {
    if (process_group_is_broken(group)) return EXIT_FAILED; // each rank speaks for itself
    // One rank speaks for all; the others fail for the same reason.
    if (process_rank(group) == 0) return command_refuse("train", error, exit_code);
    return error->is_configuration ? EXIT_USAGE : exit_code;
}

/// `arguments` is NULL if they were wrong, and the error says how: one rank of a job speaks.
static int run(const TrainArguments *arguments, Error *error) {
    ProcessGroup *group = process_group_open(JOINING_TIMEOUT, error);
    if (!group) return command_refuse("train", error, EXIT_FAILED);
    Config *config = load_config(arguments, group, error);
    int exit_code = EXIT_DONE;
    if (!config) {
        exit_code = refuse(group, error, EXIT_USAGE);
    } else {
        if (!trainer_run(config, group, error)) exit_code = refuse(group, error, EXIT_FAILED);
    }
    config_free(config);
    if (process_group_is_broken(group)) {
        fprintf(stderr, "difflmm train: rank %d: %s\n", process_rank(group), error->message);
        process_group_abort(group, exit_code);
    }
    process_group_close(group);
    return exit_code;
}

int command_train(int argc, char **argv) {
    TrainArguments arguments = {0};
    Error error = {0};
    if (command_gives_help(&LINE, argc, argv)) return EXIT_DONE;
    const bool is_right = arguments_parse(&LINE, argc, argv, &arguments, &error) &&
                          check_processes(&arguments, &error);
    int exit_code;
    if (is_right && arguments.processes > 1) {
        arguments_leave_out(&LINE, "--processes", argc, argv);
        exit_code = launch_processes((int)arguments.processes, argv);
    } else {
        stop_request_listen();
        exit_code = run(is_right ? &arguments : NULL, &error);
    }
    arguments_free(&LINE, &arguments);
    return exit_code;
}
