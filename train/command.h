/// The verbs of the program. `difflmm VERB ...` runs command_VERB() of train/command_VERB.c; a verb
/// is added by its line in VERBS.
///
/// What a verb takes is a table there (train/arguments.h), from which its --help comes.
///
/// A command gets the arguments from its own name on (argv[0] is the verb), prints results to
/// stdout and everything else to stderr, and returns an exit code.
#pragma once
#include "autograd/error.h"
#include "train/arguments.h"
#include "train/config/config.h"

enum {
    EXIT_DONE = 0,
    /// the world did not allow it: a file, an image, a full disk
    EXIT_FAILED = 1,
    /// bad usage or configuration
    EXIT_USAGE = 2
};

/// Name and summary of every verb, in the order of the help.
#define VERBS(VERB)                                                                    \
    VERB(plan, "what a job will be, and whether it can run, before it runs")           \
    VERB(prepare, "training data looked at, sample by sample, and packed")             \
    VERB(train, "start or resume training")                                            \
    VERB(eval, "one evaluation: where does it look when it names something?")          \
    VERB(sweep, "trainings and evaluations that differ in some keys, as one table")    \
    VERB(ground, "an answer about a picture, and where the things are that it names")  \
    VERB(features, "every intermediate of one pass, as safetensors")                   \
    VERB(export, "trained weights as LLaVA, PEFT and transformers read them")          \
    VERB(inspect, "what is in a file of weights or data: names, types, shapes, sizes") \
    VERB(report, "one HTML page about a run, or comparing several: curves, figures")   \
    VERB(config, "every configuration key explained; check a configuration")

#define DECLARE_COMMAND(name, summary) int command_##name(int argc, char **argv);
VERBS(DECLARE_COMMAND)
#undef DECLARE_COMMAND

/// Reads the arguments of a command into its structure (train/arguments.h). False if the command
/// ends here, with *exit_code: help was asked for and printed, or the arguments are wrong, and it
/// was said how. True: the caller calls arguments_free().
bool command_begin(const CommandLine *line, int argc, char **argv, void *arguments, int *exit_code);

/// The first half of it: prints the help if that is asked for, and returns whether it was.
bool command_gives_help(const CommandLine *line, int argc, char **argv);

/// The rows of what most commands take: members `config`, a path, and `settings`, an ArgumentList.
#define CONFIG_ARGUMENT(type)                                                               \
    {                                                                                       \
        "CONFIG", NULL, "a configuration, a YAML file; configs/ holds some", ARGUMENT_PATH, \
            INTO(type, config), ARGUMENT_REQUIRED                                           \
    }
#define SETTINGS_ARGUMENT(type)                                                     \
    {                                                                               \
        "section.key=value", NULL,                                                  \
            "sets a key of the configuration; 'difflmm config' explains every one", \
            ARGUMENT_SETTINGS, INTO(type, settings)                                 \
    }

/// Prints "difflmm VERB: <message>" to stderr and returns `exit_code`, or EXIT_USAGE if the
/// configuration is to blame.
int command_refuse(const char *verb, const Error *error, int exit_code);
