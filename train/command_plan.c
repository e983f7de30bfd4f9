// difflmm plan: what a job will be, and whether it can run, before it runs.
#include "train/command.h"
#include "train/plan/plan.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { TIMED_STEPS = 3, MOST_PROCESSES = 1 << 20 };

static const char HELP[] =
    "usage: difflmm plan CONFIG [section.key=value ...] [--processes N] [--time] [--json]\n"
    "\n"
    "Says what 'difflmm train CONFIG' would be: parameters trained and frozen, files found or "
    "missing, samples,\n"
    "steps and tokens, memory of a process by kind, disk for checkpoints; and whether it fits "
    "this machine.\n"
    "Only configurations, headers and text are read, no weights, and nothing is written.\n"
    "\n"
    "  --processes N  a job of N processes\n"
    "  --time         runs 3 real steps first, on one process, and predicts the duration\n"
    "  --json         one JSON object instead of the report\n"
    "\n"
    "Exit codes: 0 the job can run, 2 it cannot; every reason is listed with its key.\n"
    "\n"
    "examples:\n"
    "  difflmm plan configs/tiny_stage1.yaml --time\n"
    "  difflmm plan configs/difflmm-7b-finetune.yaml training.shard_optimizer=true --processes 8\n";

typedef struct PlanArguments {
    /// [rest_count], what command_load_config() takes
    char **rest;
    int rest_count;
    PlanOptions options;
    bool json;
} PlanArguments;

static bool parse_processes(const char *text, int64_t *processes, Error *error) {
    char *end;
    errno = 0;
    *processes = strtoll(text ? text : "", &end, 10);
    if (text && *text && !*end && !errno && *processes >= 1 && *processes <= MOST_PROCESSES)
        return true;
    return error_set(error, "--processes needs a number from 1 to %d, not '%s'", MOST_PROCESSES,
                     text ? text : "");
}

static bool parse_arguments(int argc, char **argv, PlanArguments *arguments, Error *error) {
    arguments->options.processes = 1;
    for (int i = 0; i < argc; i++) {
        if (!strcmp(argv[i], "--time"))
            arguments->options.timed_steps = TIMED_STEPS;
        else if (!strcmp(argv[i], "--json"))
            arguments->json = true;
        else if (!strcmp(argv[i], "--processes")) {
            i++;
            if (!parse_processes(i < argc ? argv[i] : NULL, &arguments->options.processes, error))
                return false;
        } else if (argv[i][0] == '-') {
            return error_set(error, "there is no option '%s'; 'difflmm plan --help' explains",
                             argv[i]);
        } else {
            arguments->rest[arguments->rest_count++] = argv[i];
        }
    }
    return true;
}

static int print_plan(const Config *config, const PlanArguments *arguments) {
    Plan *plan = plan_make(config, &arguments->options);
    if (arguments->json) {
        char *text = plan_to_json(plan);
        puts(text);
        free(text);
    } else {
        plan_print(plan, stdout);
    }
    int exit_code = plan->problem_count ? EXIT_USAGE : EXIT_DONE;
    plan_free(plan);
    return exit_code;
}

int command_plan(int argc, char **argv) {
    if (command_asks_for_help(argc, argv)) {
        fputs(HELP, stdout);
        return EXIT_DONE;
    }
    Error error = {0};
    PlanArguments arguments = {.rest = checked_calloc((size_t)argc + 1, sizeof(char *))};
    Config *config = NULL;
    if (parse_arguments(argc, argv, &arguments, &error))
        config = command_load_config(arguments.rest_count, arguments.rest, &error);
    int exit_code =
        config ? print_plan(config, &arguments) : command_refuse("plan", &error, EXIT_USAGE);
    config_free(config);
    free(arguments.rest);
    return exit_code;
}
