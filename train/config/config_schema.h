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
    FIELD_STRING_LIST,
    /// DatasetFiles: a path, or a list whose elements have the keys of DATASET_FILE_FIELDS
    FIELD_DATASET_FILES
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
    /// NULL: of an element of a list
    const char *section;
    const char *name;
    FieldType type;
    /// of the member in Config, or in the element
    size_t offset, size;
    /// the default as YAML; NULL: null
    const char *fallback;
    /// of numbers and of list elements, both included
    double minimum, maximum;
    /// FIELD_ENUM: of all values; FIELD_INT: of 0, 1, ...; FIELD_STRING: texts that are written as
    /// they are, in any case of letters; ends with NULL
    const char *const *names;
    const char *doc;
    ConfigOnResume on_resume;
} ConfigField;

/// Of an element of FIELD_DATASET_FILES.
extern const ConfigField DATASET_FILE_FIELDS[];
extern const int NUM_DATASET_FILE_FIELDS;

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

/// "data.train", or the bare name of an element's field. The caller frees it.
char *config_field_name(const ConfigField *field);

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

// What a field is a member of is the Config, or the element of a list.

/// The text's name among the field's, in any case of letters; NULL if it is none of them.
const char *config_name_of_text(const ConfigField *field, const char *text);

/// Replaces the value of a field that is no list of scalars.
bool config_set_scalar(void *object, const ConfigField *field, const ConfigScalar *scalar,
                       Error *error);
/// Replaces the value of a list by a list of nothing.
void config_empty_list(void *object, const ConfigField *field);
bool config_append_to_list(void *object, const ConfigField *field, const ConfigScalar *scalar,
                           Error *error);
/// It can be written as [ ... ].
bool config_field_may_be_list(const ConfigField *field);
/// It is always written so.
bool config_field_is_list(const ConfigField *field);
bool config_field_is_null(const void *object, const ConfigField *field);
void config_free_value(void *object, const ConfigField *field);

/// Adds an element with the defaults of DATASET_FILE_FIELDS; NULL with the error if there are too
/// many.
DatasetFile *config_append_file(Config *config, const ConfigField *field, ConfigPlace place,
                                Error *error);
void config_free_files(DatasetFiles *files);
/// The one path, or the list of all elements with all their keys. The caller frees it.
char *config_format_files(const DatasetFiles *files);
/// Whether there are as many files, with the same folders.
bool config_same_folders(const DatasetFiles *a, const DatasetFiles *b);

/// The value as YAML that is read back to the same; the caller frees it.
char *config_format_value(const void *object, const ConfigField *field);

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
