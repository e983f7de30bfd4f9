/// The verbs of the program. `difflmm VERB ...` runs command_VERB() of train/command_VERB.c; a verb
/// is added by its line in VERBS.
///
/// A command gets the arguments from its own name on (argv[0] is the verb), prints results to
/// stdout and everything else to stderr, and returns an exit code.
#pragma once
#include "autograd/error.h"
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
    VERB(train, "start or resume training")                                            \
    VERB(eval, "one evaluation: where does it look when it names something?")          \
    VERB(ground, "an answer about a picture, and where the things are that it names")  \
    VERB(features, "every intermediate of one pass, as safetensors")                   \
    VERB(export, "trained weights as LLaVA, PEFT and transformers read them")          \
    VERB(inspect, "what is in a file of weights or data: names, types, shapes, sizes") \
    VERB(report, "one HTML page about a run, or comparing several: curves, figures")   \
    VERB(config, "every configuration key explained; check a configuration")

#define DECLARE_COMMAND(name, summary) int command_##name(int argc, char **argv);
VERBS(DECLARE_COMMAND)
#undef DECLARE_COMMAND

/// True if an argument is --help or -h.
bool command_asks_for_help(int argc, char **argv);

/// Prints "difflmm VERB: <message>" to stderr and returns `exit_code`, or EXIT_USAGE if the
/// configuration is to blame.
int command_refuse(const char *verb, const Error *error, int exit_code);

/// Whether a text for the model is one: UTF-8. `name` says which, for the message: "--text". NULL
/// is no text, and right.
bool command_check_text(const char *name, const char *text, Error *error);

/// Loads the configuration from arguments of the form CONFIG [section.key=value ...], argv[0] being
/// the verb. NULL: the error says what was wrong (exit with EXIT_USAGE).
Config *command_load_config(int argc, char **argv, Error *error);
