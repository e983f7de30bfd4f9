// difflmm inspect: what is in a file.
#include "train/command.h"
#include "train/report/inspection.h"

#include <stdlib.h>
#include <string.h>

typedef struct InspectArguments {
    const char *path;
    bool json, checksums;
} InspectArguments;

static const Argument ARGUMENTS[] = {
    {"FILE|DIR", NULL, "weights in any format, or a model's directory", ARGUMENT_PATH,
     INTO(InspectArguments, path), ARGUMENT_REQUIRED},
    {"--checksums", NULL,
     "reads everything: CRC-32C of each tensor's elements (the same in every format), and the "
     "file's own checksums are compared",
     ARGUMENT_FLAG, INTO(InspectArguments, checksums)},
    {"--json", NULL, "one JSON object instead of the table", ARGUMENT_FLAG,
     INTO(InspectArguments, json)},
    {0}};

static const CommandLine LINE = {
    "inspect",
    "Lists names, types, shapes and sizes of all tensors, and the metadata, of any format that is "
    "read: safetensors, PyTorch archives (.bin, .pt, .pth; nothing in them is executed), pickles "
    "(.p, .pkl, .pickle), training checkpoints (.h5), and model directories with all their shards. "
    "Only headers are read, so size does not matter.\n"
    "\n"
    "Exit codes: 0 done, 1 the file cannot be read or is damaged, 2 bad usage.\n",
    ARGUMENTS,
    "  difflmm inspect checkpoints/tiny/llm\n"
    "  difflmm inspect runs/tiny/stage1/checkpoint-600.h5 --checksums\n"
    "  difflmm inspect mm_projector.bin --json | jq '.tensors[].name'\n"};

int command_inspect(int argc, char **argv) {
    InspectArguments arguments = {0};
    Error error = {0};
    int exit_code;
    if (!command_begin(&LINE, argc, argv, &arguments, &exit_code)) return exit_code;
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
