#include "train/command.h"

#include "autograd/text/utf8.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

bool command_asks_for_help(int argc, char **argv) {
    for (int i = 1; i < argc; i++)
        if (!strcmp(argv[i], "--help") || !strcmp(argv[i], "-h")) return true;
    return false;
}

int command_refuse(const char *verb, const Error *error, int exit_code) {
    fflush(stdout);
    fprintf(stderr, "difflmm %s: %s\n", verb, error->message);
    return error->is_configuration ? EXIT_USAGE : exit_code;
}

bool command_check_text(const char *name, const char *text, Error *error) {
    if (!text || is_utf8(text, strlen(text))) return true;
    char *shown = utf8_escape(text);
    error_set(error, "%s is not UTF-8, which the model's text is: '%.200s'", name, shown);
    free(shown);
    return false;
}

Config *command_load_config(int argc, char **argv, Error *error) {
    if (argc < 2) {
        error_set(error, "a configuration is missing: difflmm %s CONFIG [section.key=value ...]",
                  argv[0]);
        return NULL;
    }
    if (argv[1][0] == '-') {
        error_set(error, "there is no option '%s'; 'difflmm %s --help' explains", argv[1], argv[0]);
        return NULL;
    }
    return config_load(argv[1], (const char *const *)argv + 2, argc - 2, error);
}
