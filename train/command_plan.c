// difflmm plan: what a job will be, and whether it can run, before it runs.
#include "autograd/stop_request.h"
#include "train/command.h"
#include "train/plan/plan.h"
#include "train/plan/plan_images.h"
#include "train/saved/trained_weights.h"

#include <stdio.h>
#include <stdlib.h>

enum { TIMED_STEPS = 3, MOST_PROCESSES = 1 << 20 };

typedef struct PlanArguments {
    const char *config;
    int64_t processes;
    bool is_timed, checks_images, json;
    ArgumentList settings;
} PlanArguments;

static const Argument ARGUMENTS[] = {
    CONFIG_ARGUMENT(PlanArguments),
    SETTINGS_ARGUMENT(PlanArguments),
    {"--processes", "N", "a job of N processes", ARGUMENT_INTEGER, INTO(PlanArguments, processes),
     .minimum = 1, .maximum = MOST_PROCESSES},
    {"--time", NULL,
     "runs 3 real steps first, or asks eval.batch_size items, on one process, and predicts the "
     "duration",
     ARGUMENT_FLAG, INTO(PlanArguments, is_timed)},
    {"--check-images", NULL,
     "decodes every image of the data first and reports all that cannot be used", ARGUMENT_FLAG,
     INTO(PlanArguments, checks_images)},
    {"--json", NULL, "one JSON object instead of the report", ARGUMENT_FLAG,
     INTO(PlanArguments, json)},
    {0}};

static const CommandLine LINE = {
    "plan",
    "Says what 'difflmm train CONFIG' would be: parameters trained and frozen, files found or "
    "missing, samples, steps and tokens, memory of a process by kind, disk for checkpoints; "
    "whether it fits this machine; and where eval.annotations is there, how much disk the answers "
    "of 'difflmm eval CONFIG' take at most. A configuration without data.train, data.image_folder "
    "and training.output_dir but with eval.annotations is one of 'difflmm eval CONFIG': items, "
    "files, memory of asking, disk. Only configurations, headers and text are read, no weights, "
    "and nothing is written.\n"
    "\n"
    "Exit codes: 0 the job can run, 1 --check-images found an image that cannot be used, 2 the job "
    "cannot run; every reason is listed with its key.\n",
    ARGUMENTS,
    "  difflmm plan configs/tiny_stage1.yaml --time\n"
    "  difflmm plan configs/tiny_stage1.yaml --check-images\n"
    "  difflmm plan configs/difflmm-7b-finetune.yaml training.shard_optimizer=true --processes "
    "8\n"
    "  difflmm plan configs/tiny_eval.yaml --time\n"};

/// With --json the lines are not among what is printed.
static bool check_images(const Config *config, const PlanArguments *arguments, int64_t *bad) {
    Error error = {0};
    stop_request_listen();
    if (plan_check_images(config, arguments->json ? stderr : stdout, stderr, bad, &error))
        return true;
    command_refuse("plan", &error, EXIT_FAILED);
    return false;
}

static int print_plan(Config *config, const PlanArguments *arguments) {
    const PlanOptions options = {.processes = arguments->processes,
                                 .timed_steps = arguments->is_timed ? TIMED_STEPS : 0};
    Error error; // the plan says it, with the file
    if (plan_is_of_evaluation(config))
        trained_weights_settle(config, &error);
    else
        trained_weights_settle_start(config);
    int64_t bad_images = 0;
    if (arguments->checks_images && !check_images(config, arguments, &bad_images))
        return EXIT_FAILED;
    Plan *plan = plan_make(config, &options);
    if (arguments->json) {
        char *text = plan_to_json(plan);
        puts(text);
        free(text);
    } else {
        plan_print(plan, stdout);
    }
    int exit_code = plan->problem_count ? EXIT_USAGE : EXIT_DONE;
    if (bad_images) exit_code = EXIT_FAILED;
    plan_free(plan);
    return exit_code;
}

int command_plan(int argc, char **argv) {
    PlanArguments arguments = {.processes = 1};
    Error error = {0};
    int exit_code;
    if (!command_begin(&LINE, argc, argv, &arguments, &exit_code)) return exit_code;
    Config *config =
        config_load(arguments.config, arguments.settings.values, arguments.settings.count, &error);
    exit_code =
        config ? print_plan(config, &arguments) : command_refuse("plan", &error, EXIT_USAGE);
    config_free(config);
    arguments_free(&LINE, &arguments);
    return exit_code;
}
