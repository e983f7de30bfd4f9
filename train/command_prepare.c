// difflmm prepare: looks at every sample of the training data and packs what can be used.
#include "autograd/text/utf8.h"
#include "train/job.h"
#include "train/prepare/prepare.h"

#include <string.h>

typedef struct PrepareArguments {
    JobArguments job;
    PrepareOptions options;
} PrepareArguments;

static const Argument ARGUMENTS[] = {
    {"CONFIG", NULL, "a configuration, a YAML file; configs/ holds some", ARGUMENT_PATH,
     INTO(PrepareArguments, job.config), ARGUMENT_REQUIRED},
    {"section.key=value", NULL,
     "sets a key of the configuration; 'difflmm config' explains every one", ARGUMENT_SETTINGS,
     INTO(PrepareArguments, job.settings)},
    PROCESSES_ARGUMENT(PrepareArguments, job.processes),
    {"--out", "DIR", "the folder of the packs; by default each lies beside its JSON file",
     ARGUMENT_PATH, INTO(PrepareArguments, options.folder)},
    {"--images", NULL,
     "packs the files of the pictures as well: one file instead of hundreds of thousands",
     ARGUMENT_FLAG, INTO(PrepareArguments, options.with_images)},
    {"--leave-out", NULL,
     "leaves out the samples that training would refuse; without it there is no pack if there is "
     "one",
     ARGUMENT_FLAG, INTO(PrepareArguments, options.leaves_out)},
    {0}};

static const CommandLine LINE = {
    "prepare",
    "Looks at every sample of data.train and data.eval before there is a training: its form, its "
    "turns, its mark <image>, its picture (which is decoded), its length behind the visual tokens. "
    "Says how many problems of each kind there are and writes all of them, with sample and line, "
    "to "
    "NAME.pack.h5.problems.jsonl; does not stop at the first.\n"
    "\n"
    "What can be used becomes NAME.pack.h5: texts and tokens, with --images the pictures as well. "
    "Set data.train and data.eval to the packs: they open at once, are shared by the processes of "
    "a "
    "machine, and hold the same samples in the same order as the JSON files, so that the training "
    "is the same to the bit, also one that began with the JSON file. Tokens for another tokenizer "
    "or template are made anew.\n"
    "\n"
    "Where the configuration names a data.feature_folder, what the frozen encoders make of every "
    "image is computed and kept there, and training computes nothing of it.\n"
    "\n"
    "Stopped or killed, the same line goes on where it was. On many cores and machines:\n"
    "  difflmm prepare CONFIG --processes 2        this machine; runs mpirun\n"
    "  srun -n 8 --mpi=pmix difflmm prepare CONFIG under Slurm\n",
    ARGUMENTS,
    "  difflmm prepare configs/tiny_stage2.yaml\n"
    "  difflmm prepare configs/difflmm-7b-finetune.yaml --images --out packs\n"};

static bool require(Config *config, Error *error) {
    return config_require_data(config, error) &&
           config_require(config, error, "model.llm", "model.vision_tower", NULL);
}

/// What the command line says beside the job.
static PrepareOptions options;

static bool prepare(Config *config, ProcessGroup *group, Error *error) {
    return prepare_run(config, &options, group, error);
}

/// Packs that no configuration could name would be of no use.
static bool check_folder(const char *folder, Error *error) {
    return !folder || is_utf8(folder, strlen(folder)) ||
           error_set(error, "--out is not UTF-8, which configurations are: none could name packs "
                            "in that folder");
}

int command_prepare(int argc, char **argv) {
    static const Job JOB = {&LINE, require, prepare};
    PrepareArguments arguments = {0};
    Error error = {0};
    if (command_gives_help(&LINE, argc, argv)) return EXIT_DONE;
    const bool is_right = arguments_parse(&LINE, argc, argv, &arguments, &error) &&
                          check_folder(arguments.options.folder, &error);
    options = arguments.options;
    const int exit_code = job_run(&JOB, is_right ? &arguments.job : NULL, argc, argv, &error);
    arguments_free(&LINE, &arguments);
    return exit_code;
}
