// difflmm inspect: what is in a file.
#include "train/command.h"
#include "train/report/inspection.h"

#include <stdlib.h>
#include <string.h>

static const char HELP[] =
    "usage: difflmm inspect FILE | DIR [--json] [--checksums]\n"
    "\n"
    "Lists names, types, shapes and sizes of all tensors, and the metadata, of any format that is "
    "read:\n"
    "safetensors, PyTorch archives (.bin, .pt, .pth; nothing in them is executed), pickles (.p, "
    ".pkl, .pickle),\n"
    "training checkpoints (.h5), and model directories with all their shards.\n"
    "Only headers are read, so size does not matter.\n"
    "\n"
    "  --checksums  reads everything: CRC-32C of each tensor's elements (the same in every "
    "format), "
    "and the file's\n"
    "               own checksums are compared\n"
    "  --json       one JSON object instead of the table\n"
    "\n"
    "Exit codes: 0 done, 1 the file cannot be read or is damaged, 2 bad usage.\n"
    "\n"
    "examples:\n"
    "  difflmm inspect checkpoints/tiny/llm\n"
    "  difflmm inspect runs/tiny/stage1/checkpoint-600.h5 --checksums\n"
    "  difflmm inspect mm_projector.bin --json | jq '.tensors[].name'\n";

typedef struct InspectArguments {
    const char *path;
    bool json, checksums;
} InspectArguments;

static bool parse_arguments(int argc, char **argv, InspectArguments *arguments, Error *error) {
    for (int i = 1; i < argc; i++) {
        if (!strcmp(argv[i], "--json"))
            arguments->json = true;
        else if (!strcmp(argv[i], "--checksums"))
            arguments->checksums = true;
        else if (argv[i][0] == '-')
            return error_set(error, "there is no option '%s'; 'difflmm inspect --help' explains",
                             argv[i]);
        else if (arguments->path)
            return error_set(error, "one file at a time, not '%s' and '%s'", arguments->path,
                             argv[i]);
        else
            arguments->path = argv[i];
    }
    return arguments->path ||
           error_set(error, "a file is missing: difflmm inspect FILE | DIR [--json] [--checksums]");
}

int command_inspect(int argc, char **argv) {
    if (command_asks_for_help(argc, argv)) {
        fputs(HELP, stdout);
        return EXIT_DONE;
    }
    Error error = {0};
    InspectArguments arguments = {0};
    if (!parse_arguments(argc, argv, &arguments, &error))
        return command_refuse("inspect", &error, EXIT_USAGE);
    json_t *inspection = inspect_path(arguments.path, arguments.checksums, &error);
    if (!inspection) return command_refuse("inspect", &error, EXIT_FAILED);
    if (arguments.json) {
        json_dumpf(inspection, stdout, JSON_INDENT(1));
        putchar('\n');
    } else {
        inspection_print(inspection, stdout);
    }
    json_decref(inspection);
    return EXIT_DONE;
}
