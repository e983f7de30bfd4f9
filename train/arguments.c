// What an argument is: an option, or something by its place; and which are missing.
#include "train/arguments.h"

#include "autograd/text/byte_buffer.h"
#include "autograd/text/nearest_name.h"
#include "train/arguments_value.h"

#include <stdlib.h>
#include <string.h>

enum { MOST_ROWS = 32 };

typedef struct Parser {
    const CommandLine *line;
    int argc;
    char **argv;
    /// the argument that is looked at
    int at;
    void *into;
    /// by row
    bool is_given[MOST_ROWS];
    Error *error;
} Parser;

static bool is_option(const Argument *row) { return row->name[0] == '-'; }

static int values_of(const Argument *row) {
    return row->kind == ARGUMENT_FLAG ? 0 : row->value_count ? row->value_count : 1;
}

bool arguments_ask_for_help(int argc, char **argv) {
    for (int i = 1; i < argc; i++)
        if (!strcmp(argv[i], "--help") || !strcmp(argv[i], "-h")) return true;
    return false;
}

/// The option that an argument names, alone or in front of "=value" (which *value then is, else
/// NULL); NULL: none.
static const Argument *find_option(const CommandLine *line, char *argument, char **value) {
    const size_t length = strcspn(argument, "=");
    *value = argument[length] ? argument + length + 1 : NULL;
    for (const Argument *row = line->arguments; row->name; row++)
        if (is_option(row) && strlen(row->name) == length && !strncmp(row->name, argument, length))
            return row;
    return NULL;
}

// ---- options

/// section.key=value: a prompt may have a '=' in it too.
static bool is_setting(const char *argument) {
    const char *dot = strchr(argument, '.'), *equals = strchr(argument, '='),
               *space = strchr(argument, ' ');
    return dot && equals && dot < equals && (!space || equals < space);
}

static const Argument *settings_row(const CommandLine *line) {
    const Argument *row = line->arguments;
    while (row->name && row->kind != ARGUMENT_SETTINGS) row++;
    return row->name ? row : NULL;
}

static bool refuse_option(const Parser *parser, const char *argument) {
    const char *verb = parser->line->verb, *bare = argument + strspn(argument, "-");
    if (is_setting(bare) && settings_row(parser->line))
        return error_set(parser->error,
                         "there is no option '%s'; a key of the configuration is set without "
                         "dashes: %s",
                         argument, bare);
    const char *names[MOST_ROWS];
    int count = 0;
    for (const Argument *row = parser->line->arguments; row->name; row++)
        if (is_option(row)) names[count++] = row->name + strspn(row->name, "-");
    char *name = format_string("%.*s", (int)strcspn(bare, "="), bare);
    const int nearest = nearest_name(name, names, count);
    if (nearest >= 0)
        error_set(parser->error, "there is no option '%s', did you mean '--%s'?", argument,
                  names[nearest]);
    else
        error_set(parser->error, "there is no option '%s'; 'difflmm %s --help' explains", argument,
                  verb);
    free(name);
    return false;
}

static bool refuse_absence(const Parser *parser, const Argument *row) {
    const int count = values_of(row);
    if (count == 1)
        return error_set(parser->error, "%s needs a value: %s %s", row->name, row->name,
                         row->value_name);
    return error_set(parser->error, "%s needs %d values: %s %s", row->name, count, row->name,
                     row->value_name);
}

/// The next argument, unless it is an option itself.
static char *next_value(Parser *parser) {
    char *unused;
    if (parser->at + 1 >= parser->argc ||
        find_option(parser->line, parser->argv[parser->at + 1], &unused))
        return NULL;
    return parser->argv[++parser->at];
}

static bool take_option(Parser *parser) {
    char *value;
    const Argument *row = find_option(parser->line, parser->argv[parser->at], &value);
    if (!row) return refuse_option(parser, parser->argv[parser->at]);
    const int count = values_of(row);
    if (!count && value)
        return error_set(parser->error, "%s takes no value, not '%s'", row->name, value);
    bool *is_given = &parser->is_given[row - parser->line->arguments];
    if (count && *is_given && !(row->rules & ARGUMENT_REPEATABLE))
        return error_set(parser->error, "%s is given twice", row->name);
    *is_given = true;
    if (!count) argument_set_flag(row, parser->into);
    for (int i = 0; i < count; i++) {
        if (i > 0 || !value) value = next_value(parser);
        if (!value) return refuse_absence(parser, row);
        if (!argument_store(row, i, value, parser->into, parser->error)) return false;
    }
    return true;
}

// ---- by place

/// The row that takes an argument that is no option; NULL: none.
static const Argument *row_for(const Parser *parser, const char *argument) {
    const Argument *settings = settings_row(parser->line), *free_row = NULL;
    for (const Argument *row = parser->line->arguments; row->name; row++) {
        if (is_option(row) || row == settings) continue;
        const bool is_given = parser->is_given[row - parser->line->arguments];
        if ((row->rules & ARGUMENT_REQUIRED) && !is_given) return row;
        if (!free_row && (!is_given || (row->rules & ARGUMENT_REPEATABLE))) free_row = row;
    }
    if (settings && is_setting(argument)) return settings;
    return !free_row && settings && strchr(argument, '=') ? settings : free_row;
}

static bool refuse_surplus(const Parser *parser, const char *argument) {
    char *usage = arguments_usage(parser->line);
    error_set(parser->error, "there is no place for '%s': %s", argument, usage);
    free(usage);
    return false;
}

static bool take_by_place(Parser *parser) {
    const char *argument = parser->argv[parser->at];
    const Argument *row = row_for(parser, argument);
    if (!row) return refuse_surplus(parser, argument);
    parser->is_given[row - parser->line->arguments] = true;
    return argument_store(row, 0, argument, parser->into, parser->error);
}

// ---- the whole

static bool check_required(const Parser *parser) {
    ByteBuffer missing = {0};
    int count = 0;
    for (const Argument *row = parser->line->arguments; row->name; row++) {
        if (!(row->rules & ARGUMENT_REQUIRED) || parser->is_given[row - parser->line->arguments])
            continue;
        byte_buffer_print(&missing, "%s%s%s%s", count++ ? " and " : "", row->name,
                          row->value_name ? " " : "", row->value_name ? row->value_name : "");
    }
    if (!count) return true;
    char *names = byte_buffer_take(&missing), *usage = arguments_usage(parser->line);
    error_set(parser->error, "%s %s missing: %s", names, count == 1 ? "is" : "are", usage);
    free(names);
    free(usage);
    return false;
}

bool arguments_parse(const CommandLine *line, int argc, char **argv, void *into, Error *error) {
    for (const Argument *row = line->arguments; row->name; row++)
        CHECK(row - line->arguments < MOST_ROWS, "%s has too many arguments", line->verb);
    Parser parser = {.line = line, .argc = argc, .argv = argv, .into = into, .error = error};
    for (parser.at = 1; parser.at < argc; parser.at++) {
        const bool is_one = argv[parser.at][0] == '-';
        if (!(is_one ? take_option(&parser) : take_by_place(&parser))) return false;
    }
    return check_required(&parser);
}

int arguments_leave_out(const CommandLine *line, const char *option, int argc, char **argv) {
    int kept = 0;
    for (int i = 0; i < argc; i++) {
        char *value;
        const Argument *row = i > 0 ? find_option(line, argv[i], &value) : NULL;
        const int length = row ? 1 + values_of(row) - (value != NULL) : 1;
        const bool is_out = row && !strcmp(row->name, option);
        for (int k = 0; k < length && !is_out; k++) argv[kept++] = argv[i + k];
        i += length - 1;
    }
    argv[kept] = NULL;
    return kept;
}
