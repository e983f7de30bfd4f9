// difflmm train: start or resume training.
#include "autograd/stop_request.h"
#include "train/command.h"
#include "train/launch.h"
#include "train/trainer/trainer.h"

#include <stdio.h>

/// Seconds for all processes to have come up, before the configuration says anything.
static const double JOINING_TIMEOUT = 300;

static const char HELP[] =
    "usage: difflmm train CONFIG [section.key=value ...] [--processes N]\n"
    "\n"
    "Trains the adapters (and LoRA, with lora.lora_enable) as CONFIG says, or goes on where an "
    "interrupted run\n"
    "of the same training.output_dir stopped; the result is the same, bit by bit. Interrupting "
    "with Ctrl-C or\n"
    "SIGTERM finishes the step and saves; a second time, it ends the run at once, without "
    "saving.\n"
    "\n"
    "training.output_dir receives config.yaml (what the configuration came to), metrics.jsonl (one "
    "line per\n"
    "step) and checkpoint-<step>.h5.\n"
    "\n"
    "Many processes, on one machine or many, one GPU each: these are the same job, and give what "
    "one process with\n"
    "the same global batch gives, up to rounding:\n"
    "  difflmm train CONFIG --processes 8          this machine; runs mpirun\n"
    "  mpirun -n 8 difflmm train CONFIG            (stop it by SIGUSR1: mpirun kills it soon after "
    "SIGTERM)\n"
    "  srun -n 8 --mpi=pmix difflmm train CONFIG   under Slurm (sbatch --signal=USR1@60)\n"
    "\n"
    "examples:\n"
    "  difflmm train configs/tiny_stage1.yaml\n"
    "  difflmm train configs/tiny_stage2.yaml training.seed=1 training.output_dir=runs/seed1\n"
    "  difflmm config training                     what can be set\n";

/// The configuration on every rank, or an error on every rank.
static Config *load_config(int argc, char **argv, ProcessGroup *group, Error *error) {
    Config *config = command_load_config(argc, argv, error);
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

int command_train(int argc, char **argv) {
    if (command_asks_for_help(argc, argv)) {
        fputs(HELP, stdout);
        return EXIT_DONE;
    }
    int processes = launch_take_count(&argc, argv);
    if (processes < 0) return EXIT_USAGE;
    if (processes > 1) return launch_processes(processes, argv);
    Error error = {0};
    stop_request_listen();
    ProcessGroup *group = process_group_open(JOINING_TIMEOUT, &error);
    if (!group) return command_refuse("train", &error, EXIT_FAILED);
    Config *config = load_config(argc, argv, group, &error);
    int exit_code = EXIT_DONE;
    if (!config) {
        exit_code = refuse(group, &error, EXIT_USAGE);
    } else {
        if (!trainer_run(config, group, &error)) exit_code = refuse(group, &error, EXIT_FAILED);
    }
    config_free(config);
    if (process_group_is_broken(group)) {
        fprintf(stderr, "difflmm train: rank %d: %s\n", process_rank(group), error.message);
        process_group_abort(group, exit_code);
    }
    process_group_close(group);
    return exit_code;
}
