// From YAML events into the configuration. The accepted shape is fixed: sections of keys of scalars
// or lists of scalars, so nothing recurses, whatever the file nests. Anchors, aliases and tags have
// no use here and are refused.
#include "train/config/config_schema.h"

#include "autograd/file_content.h"

#include <stdlib.h>
#include <string.h>
#include <yaml.h>

enum { LARGEST_FILE = 1 << 20, MOST_SECTIONS = 16 };

typedef struct Reader {
    Config *config;
    yaml_parser_t parser;
    /// the last one read, kept until the next
    yaml_event_t event;
    /// NULL: the command line
    const char *path;
    bool seen_section[MOST_SECTIONS];
    Error *error;
} Reader;

static bool reader_begin(Reader *reader, Config *config, const char *path, const char *text,
                         size_t length, Error *error) {
    *reader = (Reader){.config = config, .path = path, .error = error};
    if (!yaml_parser_initialize(&reader->parser))
        return error_set(error, "out of memory: a YAML parser was asked for");
    yaml_parser_set_encoding(&reader->parser, YAML_UTF8_ENCODING);
    yaml_parser_set_input_string(&reader->parser, (const unsigned char *)text, length);
    return true;
}

static void reader_end(Reader *reader) {
    yaml_event_delete(&reader->event);
    yaml_parser_delete(&reader->parser);
}

static ConfigPlace place_of(const Reader *reader, yaml_mark_t mark) {
    return (ConfigPlace){reader->path, (int)mark.line + 1, (int)mark.column + 1};
}

static ConfigPlace here(const Reader *reader) { return place_of(reader, reader->event.start_mark); }

static bool refuse_syntax(Reader *reader) {
    yaml_parser_t *parser = &reader->parser;
    bool is_reader = parser->error == YAML_READER_ERROR;
    ConfigPlace place = place_of(reader, is_reader ? parser->mark : parser->problem_mark);
    return config_refuse_at(place, reader->error, "not valid YAML: %s%s%s",
                            parser->context ? parser->context : "", parser->context ? ", " : "",
                            parser->problem ? parser->problem : "unreadable");
}

static bool refuse_extras(Reader *reader) {
    const yaml_event_t *event = &reader->event;
    const yaml_char_t *anchor = NULL, *tag = NULL;
    if (event->type == YAML_SCALAR_EVENT) {
        anchor = event->data.scalar.anchor;
        tag = event->data.scalar.tag;
    } else if (event->type == YAML_SEQUENCE_START_EVENT) {
        anchor = event->data.sequence_start.anchor;
        tag = event->data.sequence_start.tag;
    } else if (event->type == YAML_MAPPING_START_EVENT) {
        anchor = event->data.mapping_start.anchor;
        tag = event->data.mapping_start.tag;
    }
    if (event->type == YAML_ALIAS_EVENT || anchor)
        return config_refuse_at(
            here(reader), reader->error,
            "anchors and aliases (& and *) are not supported: write the value out");
    if (tag)
        return config_refuse_at(
            here(reader), reader->error,
            "the tag '%.100s' is not supported: the key's type is known without it",
            (const char *)tag);
    return true;
}

static bool next(Reader *reader) {
    yaml_event_delete(&reader->event);
    if (!yaml_parser_parse(&reader->parser, &reader->event)) return refuse_syntax(reader);
    return refuse_extras(reader);
}

/// The scalar that the reader is at. False, with the error set, for text with a zero byte in it.
static bool scalar_here(Reader *reader, ConfigScalar *scalar) {
    const yaml_event_t *event = &reader->event;
    scalar->text = (const char *)event->data.scalar.value;
    scalar->is_plain = event->data.scalar.style == YAML_PLAIN_SCALAR_STYLE;
    scalar->place = here(reader);
    if (strlen(scalar->text) == event->data.scalar.length) return true;
    return config_refuse_at(scalar->place, reader->error, "text with a zero byte in it");
}

static bool read_list(Reader *reader, const ConfigField *field) {
    config_empty_list(reader->config, field);
    for (;;) {
        if (!next(reader)) return false;
        if (reader->event.type == YAML_SEQUENCE_END_EVENT) return true;
        if (reader->event.type != YAML_SCALAR_EVENT) {
            char *expected = config_expected(field);
            config_refuse_at(here(reader), reader->error,
                             "%s.%s has an element that is no single value, expected %s",
                             field->section, field->name, expected);
            free(expected);
            return false;
        }
        ConfigScalar scalar;
        if (!scalar_here(reader, &scalar) ||
            !config_append_to_list(reader->config, field, &scalar, reader->error))
            return false;
    }
}

/// The reader is at the first event of the value.
static bool read_value(Reader *reader, const ConfigField *field) {
    yaml_event_type_t type = reader->event.type;
    if (type == YAML_SEQUENCE_START_EVENT && config_field_is_list(field))
        return read_list(reader, field);
    ConfigScalar scalar;
    if (type == YAML_SCALAR_EVENT)
        return scalar_here(reader, &scalar) &&
               config_set_scalar(reader->config, field, &scalar, reader->error);
    char *expected = config_expected(field);
    config_refuse_at(here(reader), reader->error,
                     "%s.%s is a %s, expected %s. 'difflmm config %s.%s' explains it",
                     field->section, field->name,
                     type == YAML_SEQUENCE_START_EVENT ? "list" : "mapping of keys", expected,
                     field->section, field->name);
    free(expected);
    return false;
}

/// Goes to the next key of a mapping, whose text it copies (the caller frees); *key NULL: the
/// mapping ends.
static bool read_key(Reader *reader, char **key, ConfigPlace *place) {
    *key = NULL;
    if (!next(reader)) return false;
    *place = here(reader);
    if (reader->event.type == YAML_MAPPING_END_EVENT) return true;
    if (reader->event.type != YAML_SCALAR_EVENT)
        return config_refuse_at(*place, reader->error,
                                "a key must be a name, not a list or a mapping");
    ConfigScalar scalar;
    if (!scalar_here(reader, &scalar)) return false;
    *key = checked_strdup(scalar.text);
    return true;
}

static bool read_field(Reader *reader, const char *section, const char *key, ConfigPlace place) {
    int index = config_find_field(section, key);
    if (index < 0) {
        char *suggestion = config_suggest(section, key);
        config_refuse_at(place, reader->error, "unknown key '%.100s' in section '%s': %s", key,
                         section, suggestion);
        free(suggestion);
        return false;
    }
    ConfigOrigin *origin = &reader->config->origins[index];
    if (origin->kind == ORIGIN_FILE)
        return config_refuse_at(place, reader->error, "%s.%s was already given in line %d", section,
                                key, origin->line);
    if (!next(reader)) return false;
    ConfigPlace value = here(reader);
    *origin = (ConfigOrigin){ORIGIN_FILE, value.line, value.column};
    return read_value(reader, &CONFIG_FIELDS[index]);
}

static bool read_section(Reader *reader, const char *section) {
    for (;;) {
        char *key;
        ConfigPlace place;
        if (!read_key(reader, &key, &place)) return false;
        if (!key) return true;
        bool is_read = read_field(reader, section, key, place);
        free(key);
        if (!is_read) return false;
    }
}

static bool begin_section(Reader *reader, const char *section, ConfigPlace place) {
    int index = config_find_section(section);
    if (index < 0) {
        char *suggestion = config_suggest_section(section);
        config_refuse_at(place, reader->error, "unknown section '%.100s': %s", section, suggestion);
        free(suggestion);
        return false;
    }
    CHECK(index < MOST_SECTIONS, "section %d", index);
    if (reader->seen_section[index])
        return config_refuse_at(place, reader->error, "section '%s' was already given", section);
    reader->seen_section[index] = true;
    if (!next(reader)) return false;
    if (reader->event.type == YAML_SCALAR_EVENT && !reader->event.data.scalar.length) return true;
    if (reader->event.type == YAML_MAPPING_START_EVENT) return read_section(reader, section);
    return config_refuse_at(
        here(reader), reader->error,
        "section '%s' must hold keys, one a line and indented; 'difflmm config %s' lists them",
        section, section);
}

/// The reader is at the document's first value.
static bool read_sections(Reader *reader) {
    if (reader->event.type == YAML_SCALAR_EVENT && !reader->event.data.scalar.length) return true;
    if (reader->event.type != YAML_MAPPING_START_EVENT)
        return config_refuse_at(here(reader), reader->error,
                                "a configuration consists of sections: 'model:', then keys, one a "
                                "line and indented; 'difflmm config' prints one");
    for (;;) {
        char *section;
        ConfigPlace place;
        if (!read_key(reader, &section, &place)) return false;
        if (!section) return true;
        bool is_read = begin_section(reader, section, place);
        free(section);
        if (!is_read) return false;
    }
}

/// Nothing follows but the ends of the document and of the stream.
static bool ends_here(Reader *reader) {
    if (!next(reader) || !next(reader)) return false;
    if (reader->event.type == YAML_STREAM_END_EVENT) return true;
    return config_refuse_at(here(reader), reader->error,
                            "a second YAML document begins here: one per file");
}

static bool read_document(Reader *reader) {
    if (!next(reader) || !next(reader)) return false; // the stream begins, the document begins
    if (reader->event.type == YAML_STREAM_END_EVENT) return true;
    return next(reader) && read_sections(reader) && ends_here(reader);
}

bool config_read_text(Config *config, const char *path, const char *text, size_t length,
                      Error *error) {
    Reader reader;
    if (!file_begin_text(path, &text, &length, error)) return false;
    if (!reader_begin(&reader, config, path, text, length, error)) return false;
    bool is_read = read_document(&reader);
    reader_end(&reader);
    return is_read;
}

bool config_read_file(Config *config, const char *path, Error *error) {
    char *text;
    size_t length = 0;
    if (!file_read_text(path, LARGEST_FILE, &text, &length, error)) return false;
    bool is_read = config_read_text(config, path, text, length, error);
    free(text);
    return is_read;
}

bool config_read_list(Config *config, const ConfigField *field, const char *yaml, Error *error) {
    Reader reader;
    if (!reader_begin(&reader, config, NULL, yaml, strlen(yaml), error)) return false;
    bool is_read = next(&reader) && next(&reader); // the stream begins, the document begins
    if (is_read && reader.event.type == YAML_STREAM_END_EVENT) {
        ConfigScalar nothing = {.text = "", .is_plain = true, .place = {0}};
        is_read = config_set_scalar(config, field, &nothing, error);
    } else if (is_read) {
        is_read = next(&reader) && read_value(&reader, field) && ends_here(&reader);
    }
    reader_end(&reader);
    return is_read;
}
