#include "train/command.h"

#include <stdio.h>
#include <stdlib.h>

int command_refuse(const char *verb, const Error *error, int exit_code) {
    fflush(stdout);
    fprintf(stderr, "difflmm %s: %s\n", verb, error->message);
    return error->is_configuration ? EXIT_USAGE : exit_code;
}

bool command_gives_help(const CommandLine *line, int argc, char **argv) {
    if (!arguments_ask_for_help(argc, argv)) return false;
    char *help = arguments_help(line);
    fputs(help, stdout);
    free(help);
    return true;
}

bool command_begin(const CommandLine *line, int argc, char **argv, void *arguments,
                   int *exit_code) {
    Error error = {0};
    *exit_code = EXIT_DONE;
    if (command_gives_help(line, argc, argv)) return false;
    if (arguments_parse(line, argc, argv, arguments, &error)) return true;
    arguments_free(line, arguments);
    *exit_code = command_refuse(line->verb, &error, EXIT_USAGE);
    return false;
}
