/// What is fuzzed: each verb of the program, and each parser by itself.
#pragma once
#include "tests/fuzz/case.h"

/// A command line that works, and the files that it reads, as patterns over the seeds' paths.
typedef struct Template {
    const char *arguments, *files;
} Template;

enum { MOST_TEMPLATES = 16 };

typedef struct Target {
    const char *name;
    /// A command, or a parser in the same form: prints what is wrong to stderr and returns an exit
    /// code.
    int (*run)(int argc, char **argv);
    /// Runs networks: sizes are kept small, whatever is asked for.
    bool computes;
    /// Executions in a row, of one process.
    int batch;
    /// Prints JSON with --json.
    bool has_json;
    /// Takes files, no options.
    bool is_parser;
    /// Writes files.
    bool writes;
    Template templates[MOST_TEMPLATES];
} Target;

extern const Target TARGETS[];
extern const int NUM_TARGETS;

/// NULL if there is none of that name.
const Target *target_find(const char *name);

/// The execution of that number. `tree`: the seeds.
FuzzCase target_make_case(const Target *target, uint64_t seed, uint64_t number, const Tree *tree,
                          const char *seeds);

/// Adds settings to the arguments that bring sizes and lengths within what an execution may cost.
void target_limit_cost(const Target *target, FuzzCase *fuzz_case);
