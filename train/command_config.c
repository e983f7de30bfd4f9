// difflmm config: the documentation of every key, and what a configuration comes to.
#include "train/command.h"
#include "train/sweep/sweep_section.h"

#include <stdlib.h>
#include <string.h>

typedef struct ConfigArguments {
    ArgumentList names, settings;
} ConfigArguments;

static const Argument ARGUMENTS[] = {
    {"NAME", NULL,
     "a section (model, lora, data, training, eval, sweep) or a key, as SECTION.KEY; or else "
     "FILE.yaml, a "
     "configuration that is checked and shown as what it comes to, defaults and command line "
     "included",
     ARGUMENT_PATH, INTO(ConfigArguments, names), ARGUMENT_REPEATABLE},
    {"section.key=value", NULL, "sets a key of FILE.yaml", ARGUMENT_SETTINGS,
     INTO(ConfigArguments, settings)},
    {0}};

static const CommandLine LINE = {
    "config",
    "Explains keys of the configuration, meaning, type, range and default: without a name every "
    "one. Or checks a configuration.\n"
    "\n"
    "All of it is YAML: 'difflmm config > mine.yaml' is a start for a configuration of your own.\n",
    ARGUMENTS,
    "  difflmm config                                every key\n"
    "  difflmm config training                       the keys of a section\n"
    "  difflmm config training.learning_rate         one key\n"
    "  difflmm config configs/tiny_stage1.yaml training.max_steps=10\n"};

static bool is_file(const char *name) {
    const char *dot = strrchr(name, '.');
    return strchr(name, '/') || (dot && (!strcmp(dot, ".yaml") || !strcmp(dot, ".yml")));
}

static bool print_resolved(const char *path, const ArgumentList *settings, Error *error) {
    Config *config = config_load(path, settings->values, settings->count, error);
    if (!config) return false;
    char *yaml = config_to_yaml(config);
    fputs(yaml, stdout);
    free(yaml);
    config_free(config);
    return true;
}

/// The section, or a key of it: they are explained together.
static bool is_of_sweep(const char *name) {
    static const size_t LENGTH = sizeof CONFIG_SWEEP_SECTION - 1;
    return !strncmp(name, CONFIG_SWEEP_SECTION, LENGTH) && (!name[LENGTH] || name[LENGTH] == '.');
}

static bool print(const ArgumentList *names, const ArgumentList *settings, Error *error) {
    const bool has_file = names->count && is_file(names->values[0]);
    if (has_file && names->count > 1)
        return error_set(error, "'%s' is not of the form section.key=value", names->values[1]);
    if (has_file) return print_resolved(names->values[0], settings, error);
    if (settings->count)
        return error_set(error, "a setting is one of a file: difflmm config FILE.yaml %s",
                         settings->values[0]);
    if (!names->count) config_document(stdout);
    for (int i = 0; i < names->count; i++)
        if (is_of_sweep(names->values[i]))
            sweep_section_document(stdout);
        else if (!config_document_key(stdout, names->values[i], error))
            return false;
    return true;
}

int command_config(int argc, char **argv) {
    ConfigArguments arguments = {0};
    Error error = {0};
    int exit_code = EXIT_DONE;
    if (!command_begin(&LINE, argc, argv, &arguments, &exit_code)) return exit_code;
    if (!print(&arguments.names, &arguments.settings, &error))
        exit_code = command_refuse("config", &error, EXIT_USAGE);
    arguments_free(&LINE, &arguments);
    return exit_code;
}
