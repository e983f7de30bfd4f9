/// The arguments of a command. One table says what a command takes; its parser, its messages and
/// its help all come from that table, so that nothing is taken that is not explained.
///
///   static const Argument ARGUMENTS[] = {
///       {"IMAGE", NULL, "JPEG or PNG", ARGUMENT_PATH, INTO(Mine, image), ARGUMENT_REQUIRED},
///       {"--out", "DIR", "where it goes", ARGUMENT_PATH, INTO(Mine, out), ARGUMENT_REQUIRED},
///       {"--json", NULL, "for machines", ARGUMENT_FLAG, INTO(Mine, json)},
///       {0}};
///
/// Options stand anywhere, as "--out DIR" or "--out=DIR"; what is no option is taken by its place.
#pragma once
#include "autograd/error.h"

#include <stddef.h>
#include <stdint.h>

/// What an argument is, and with it the type of the member that receives it.
typedef enum ArgumentKind {
    /// bool, an option without a value
    ARGUMENT_FLAG,
    /// const char *, text for the model: UTF-8
    ARGUMENT_TEXT,
    /// const char *, any bytes
    ARGUMENT_PATH,
    /// int64_t, decimal
    ARGUMENT_INTEGER,
    /// double, decimal
    ARGUMENT_NUMBER,
    /// an enumeration of an int's size, an index into `names`
    ARGUMENT_NAME,
    /// ArgumentList of section.key=value. Behind everything that is required by place, what has
    /// this form is a setting; and what nothing else takes, if it has a '=' at all.
    ARGUMENT_SETTINGS
} ArgumentKind;

enum {
    ARGUMENT_REQUIRED = 1,
    /// any number of times, of texts and paths; the member is an ArgumentList
    ARGUMENT_REPEATABLE = 2
};

/// The texts are those of argv.
typedef struct ArgumentList {
    const char **values;
    int count;
} ArgumentList;

/// A row; a table ends with a row of zeros.
typedef struct Argument {
    /// of an option with its dashes, "--out"; else what stands for it in the usage, "IMAGE"
    const char *name;
    /// what stands for the value of an option, "DIR", or for several at once, "A B"; NULL: none
    const char *value_name;
    const char *help;
    ArgumentKind kind;
    /// of the member in the command's own structure. It keeps what it held if the argument is not
    /// given: the default.
    size_t offset;
    /// ARGUMENT_REQUIRED, ARGUMENT_REPEATABLE
    unsigned rules;
    /// values of an option at once, and the length of the array that the member is then; 0: one
    int value_count;
    /// of numbers, both included; INFINITY and -INFINITY: no bound
    double minimum, maximum;
    /// of ARGUMENT_NAME, ends with NULL
    const char *const *names;
} Argument;

/// The member of a command's structure that a row writes to; in a row the rules come next.
#define INTO(type, member) .offset = offsetof(type, member)

/// What a command is to the command line.
typedef struct CommandLine {
    const char *verb;
    /// Paragraphs and, indented, lines that stay as they are.
    const char *description;
    const Argument *arguments;
    /// lines, each of which ends
    const char *examples;
} CommandLine;

/// Writes the arguments (argv[0] is the verb) to the members of `into`. On failure the error says
/// which argument is wrong, and what was expected: an unknown option (with the nearest name), a
/// value that is missing, doubled or out of range, an argument too many or too few. Either way
/// arguments_free() is to be called. Values point into argv.
bool arguments_parse(const CommandLine *line, int argc, char **argv, void *into, Error *error);
/// Frees the lists in `into`.
void arguments_free(const CommandLine *line, void *into);

/// Whether help is asked for: --help or -h is among the arguments.
bool arguments_ask_for_help(int argc, char **argv);
/// What --help prints; the caller frees it.
char *arguments_help(const CommandLine *line);
/// "difflmm ground CONFIG IMAGE [PROMPT] --out DIR"; the caller frees it.
char *arguments_usage(const CommandLine *line);

/// Takes an option with its values out of arguments that arguments_parse() has taken, in place.
/// Returns how many are left; NULL stands behind them.
int arguments_leave_out(const CommandLine *line, const char *option, int argc, char **argv);
