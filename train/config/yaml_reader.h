/// Inside of the configuration and of what is written like one: a YAML document event by event,
/// with the place of everything for messages. Anchors, aliases and tags have no use here and are
/// refused.
#pragma once
#include "train/config/config_schema.h"

#include <yaml.h>

typedef struct YamlReader {
    yaml_parser_t parser;
    /// the last one read, kept until the next
    yaml_event_t event;
    /// NULL: the command line
    const char *path;
    const char *text;
    Error *error;
} YamlReader;

/// `text` must stay until yaml_reader_end(), which is to be called where this succeeded.
bool yaml_reader_begin(YamlReader *reader, const char *path, const char *text, size_t length,
                       Error *error);
void yaml_reader_end(YamlReader *reader);

/// Goes to the next event.
bool yaml_next(YamlReader *reader);
/// Where the event begins.
ConfigPlace yaml_here(const YamlReader *reader);
/// The scalar that the reader is at. False, with the error set, for text with a zero byte in it.
bool yaml_scalar(YamlReader *reader, ConfigScalar *scalar);
/// Whether the reader is at a scalar with nothing in it, as behind "model:" at a line's end.
bool yaml_is_empty(const YamlReader *reader);
/// Goes to the next key of a mapping, whose text it copies (the caller frees); *key NULL: the
/// mapping ends.
bool yaml_key(YamlReader *reader, char **key, ConfigPlace *place);
/// Passes over the value whose first event the reader is at, whatever it nests.
bool yaml_pass_over(YamlReader *reader);
/// Goes to the document's first value; *is_empty: there is none.
bool yaml_first_value(YamlReader *reader, bool *is_empty);
/// Nothing follows but the ends of the document and of the stream.
bool yaml_ends_here(YamlReader *reader);

/// Reads the value whose first event the reader is at into a field.
bool config_read_event(YamlReader *reader, Config *config, const ConfigField *field);
/// The same of a list of files.
bool config_read_files(YamlReader *reader, Config *config, const ConfigField *field);
