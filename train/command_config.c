// difflmm config: the documentation of every key, and what a configuration comes to.
#include "train/command.h"

#include <stdlib.h>
#include <string.h>

static const char HELP[] =
    "usage: difflmm config                              every key: meaning, type, range, default\n"
    "       difflmm config SECTION                      the keys of model, lora, data, training or "
    "eval\n"
    "       difflmm config SECTION.KEY                  one key\n"
    "       difflmm config FILE.yaml [section.key=value ...]\n"
    "                                                   checks a configuration and prints what it "
    "comes\n"
    "                                                   to, defaults and command line included\n"
    "\n"
    "All of it is YAML: 'difflmm config > mine.yaml' is a start for a configuration of your own.\n"
    "\n"
    "examples:\n"
    "  difflmm config training.learning_rate\n"
    "  difflmm config configs/tiny_stage1.yaml training.max_steps=10\n";

static bool is_file(const char *name) {
    const char *dot = strrchr(name, '.');
    return strchr(name, '/') || (dot && (!strcmp(dot, ".yaml") || !strcmp(dot, ".yml")));
}

static int print_resolved(int argc, char **argv) {
    Error error = {0};
    Config *config = command_load_config(argc, argv, &error);
    if (!config) return command_refuse("config", &error, EXIT_USAGE);
    char *yaml = config_to_yaml(config);
    fputs(yaml, stdout);
    free(yaml);
    config_free(config);
    return EXIT_DONE;
}

int command_config(int argc, char **argv) {
    if (command_asks_for_help(argc, argv)) {
        fputs(HELP, stdout);
        return EXIT_DONE;
    }
    if (argc == 1) {
        config_document(stdout);
        return EXIT_DONE;
    }
    if (is_file(argv[1])) return print_resolved(argc, argv);
    Error error = {0};
    for (int i = 1; i < argc; i++)
        if (!config_document_key(stdout, argv[i], &error))
            return command_refuse("config", &error, EXIT_USAGE);
    return EXIT_DONE;
}
