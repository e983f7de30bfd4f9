// difflmm train: start or resume training.
#include "train/job.h"
#include "train/saved/trained_weights.h"
#include "train/trainer/trainer.h"

static const Argument ARGUMENTS[] = {CONFIG_ARGUMENT(JobArguments),
                                     SETTINGS_ARGUMENT(JobArguments),
                                     PROCESSES_ARGUMENT(JobArguments, processes),
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

static bool require(Config *config, Error *error) {
    trained_weights_settle_start(config);
    return config_require_data(config, error) &&
           config_require(config, error, "training.output_dir", NULL) &&
           config_require_model(config, error);
}

static bool train(Config *config, ProcessGroup *group, Error *error) {
    return trainer_run(config, group, error);
}

int command_train(int argc, char **argv) {
    static const Job JOB = {&LINE, require, train};
    JobArguments arguments = {0};
    Error error = {0};
    if (command_gives_help(&LINE, argc, argv)) return EXIT_DONE;
    bool is_right = arguments_parse(&LINE, argc, argv, &arguments, &error);
    int exit_code = job_run(&JOB, is_right ? &arguments : NULL, argc, argv, &error);
    arguments_free(&LINE, &arguments);
    return exit_code;
}
