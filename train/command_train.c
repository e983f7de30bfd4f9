// difflmm train: start or resume training.
#include "train/command.h"
#include "train/trainer.h"

#include <stdio.h>

static const char HELP[] =
    "usage: difflmm train CONFIG [section.key=value ...]\n"
    "\n"
    "Trains the adapters (and LoRA, with lora.lora_enable) as CONFIG says, or goes on where an "
    "interrupted run\n"
    "of the same training.output_dir stopped; the result is the same, bit by bit. Interrupting "
    "with Ctrl-C or\n"
    "SIGTERM finishes the step and saves.\n"
    "\n"
    "training.output_dir receives config.yaml (what the configuration came to), metrics.jsonl (one "
    "line per\n"
    "step) and checkpoint-<step>.h5.\n"
    "\n"
    "examples:\n"
    "  difflmm train configs/tiny_stage1.yaml\n"
    "  difflmm train configs/tiny_stage2.yaml training.seed=1 training.output_dir=runs/seed1\n"
    "  difflmm config training                     what can be set\n";

int command_train(int argc, char **argv) {
    if (command_asks_for_help(argc, argv)) {
        fputs(HELP, stdout);
        return EXIT_DONE;
    }
    Error error = {0};
    Config *config = command_load_config(argc, argv, &error);
    if (!config) return command_refuse("train", &error, EXIT_USAGE);
    bool complete = config_require(config, &error, "data.train", "data.image_folder",
                                   "training.output_dir", NULL) &&
                    config_require_model(config, &error);
    bool ok = complete && trainer_run(config, &error);
    config_free(config);
    return ok ? EXIT_DONE : command_refuse("train", &error, complete ? EXIT_FAILED : EXIT_USAGE);
}
