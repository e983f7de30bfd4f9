/// Inside of the configuration: the table of keys and the reading and writing of single values.
#pragma once
#include "train/config/config.h"

#include <stddef.h>
#include <stdint.h>

typedef enum FieldType {
    /// int64_t or int, as the member is; small values may have names
    FIELD_INT,
    /// double; NAN is null
    FIELD_FLOAT,
    /// bool
    FIELD_BOOL,
    /// char *; NULL is null
    FIELD_STRING,
    /// char *; NULL is null
    FIELD_PATH,
    /// an enumeration of an int's size, an index into the names
    FIELD_ENUM,
    FIELD_INT_LIST,
    FIELD_STRING_LIST
} FieldType;

/// What a changed value means to a run that goes on from a checkpoint.
typedef enum ConfigOnResume {
    /// It decides what is learned: another run.
    ON_RESUME_ANOTHER_RUN,
    /// It says where, how fast or how visibly the run goes on, or is read before its first step
    /// only.
    ON_RESUME_MAY_CHANGE,
    /// It cuts batches, and may change as long as a step has as many samples.
    ON_RESUME_BY_BATCH,
    /// It names data, and may change as long as these are the same.
    ON_RESUME_BY_DATA
} ConfigOnResume;

typedef struct ConfigField {
    const char *section, *name;
    FieldType type;
    /// of the member in Config
    size_t offset, size;
    /// the default as YAML; NULL: null
    const char *fallback;
    /// of numbers and of list elements, both included
    double minimum, maximum;
    /// FIELD_ENUM: of all values; FIELD_INT: of 0, 1, ...; ends with NULL
    const char *const *names;
    const char *doc;
    ConfigOnResume on_resume;
} ConfigField;

typedef struct ConfigSectionDoc {
    const char *name, *doc;
} ConfigSectionDoc;

extern const ConfigField CONFIG_FIELDS[];
extern const int NUM_CONFIG_FIELDS;
extern const ConfigSectionDoc CONFIG_SECTIONS[];
extern const int NUM_CONFIG_SECTIONS;

/// Index of a section, or -1.
int config_find_section(const char *name);
/// Index of section.name, or -1.
int config_find_field(const char *section, const char *name);
/// Index of a dotted key, or -1.
int config_find_key(const char *dotted);

/// A sentence on what the unknown `name` may have meant (in that section; NULL: as a dotted key).
/// The caller frees it.
char *config_suggest(const char *section, const char *name);
/// The same for the name of a section.
char *config_suggest_section(const char *name);

/// What a field may hold, in words: "an integer from 0 to 3". The caller frees it.
char *config_expected(const ConfigField *field);

/// A place in a YAML file, or the command line (path NULL).
typedef struct ConfigPlace {
    const char *path;
    int line, column;
} ConfigPlace;

/// "<file>:<line>:<column>: <message>". Returns false.
bool config_refuse_at(ConfigPlace place, Error *error, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/// A scalar as YAML gives it. Only a plain one (not quoted) can be null, a number, or true and
/// false.
typedef struct ConfigScalar {
    /// terminated
    const char *text;
    bool is_plain;
    ConfigPlace place;
} ConfigScalar;

/// Replaces the value of a field that is no list.
bool config_set_scalar(Config *config, const ConfigField *field, const ConfigScalar *scalar,
                       Error *error);
/// Replaces the value of a list by a list of nothing.
void config_empty_list(Config *config, const ConfigField *field);
bool config_append_to_list(Config *config, const ConfigField *field, const ConfigScalar *scalar,
                           Error *error);
bool config_field_is_list(const ConfigField *field);
bool config_field_is_null(const Config *config, const ConfigField *field);
void config_free_value(Config *config, const ConfigField *field);

/// The value as YAML that is read back to the same; the caller frees it.
char *config_format_value(const Config *config, const ConfigField *field);

/// Reads the whole file into the configuration and marks the origins.
bool config_read_file(Config *config, const char *path, Error *error);
/// The same of text that is there already; `path` is where it came from, for messages.
bool config_read_text(Config *config, const char *path, const char *text, size_t length,
                      Error *error);
/// Reads one value, written as YAML, into a field.
bool config_read_value(Config *config, const ConfigField *field, const char *yaml, Error *error);
/// Bytes of a configuration's file, at most.
#define CONFIG_LARGEST_FILE (1 << 20)
/// The section that train/sweep/ reads; it is passed over here.
#define CONFIG_SWEEP_SECTION "sweep"
