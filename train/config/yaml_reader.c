#include "train/config/yaml_reader.h"

#include <stdlib.h>
#include <string.h>

bool yaml_reader_begin(YamlReader *reader, const char *path, const char *text, size_t length,
                       Error *error) {
    *reader = (YamlReader){.path = path, .text = text, .error = error};
    if (!yaml_parser_initialize(&reader->parser))
        return error_set(error, "out of memory: a YAML parser was asked for");
    yaml_parser_set_encoding(&reader->parser, YAML_UTF8_ENCODING);
    yaml_parser_set_input_string(&reader->parser, (const unsigned char *)text, length);
    return true;
}

void yaml_reader_end(YamlReader *reader) {
    yaml_event_delete(&reader->event);
    yaml_parser_delete(&reader->parser);
}

static ConfigPlace place_of(const YamlReader *reader, yaml_mark_t mark) {
    return (ConfigPlace){reader->path, (int)mark.line + 1, (int)mark.column + 1};
}

ConfigPlace yaml_here(const YamlReader *reader) {
    return place_of(reader, reader->event.start_mark);
}

/// Of a byte that is no text: libyaml, which reads ahead of what it has come to, tells its number.
static ConfigPlace place_of_byte(const YamlReader *reader, size_t offset) {
    yaml_mark_t mark = {0};
    for (size_t i = 0; i < offset; i++) {
        mark.line += reader->text[i] == '\n';
        mark.column = reader->text[i] == '\n' ? 0 : mark.column + 1;
    }
    return place_of(reader, mark);
}

static bool refuse_syntax(YamlReader *reader) {
    yaml_parser_t *parser = &reader->parser;
    ConfigPlace place = parser->error == YAML_READER_ERROR
                            ? place_of_byte(reader, parser->problem_offset)
                            : place_of(reader, parser->problem_mark);
    return config_refuse_at(place, reader->error, "not valid YAML: %s%s%s",
                            parser->context ? parser->context : "", parser->context ? ", " : "",
                            parser->problem ? parser->problem : "unreadable");
}

static bool refuse_extras(YamlReader *reader) {
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
            yaml_here(reader), reader->error,
            "anchors and aliases (& and *) are not supported: write the value out");
    if (tag)
        return config_refuse_at(
            yaml_here(reader), reader->error,
            "the tag '%.100s' is not supported: the key's type is known without it",
            (const char *)tag);
    return true;
}

bool yaml_next(YamlReader *reader) {
    yaml_event_delete(&reader->event);
    if (!yaml_parser_parse(&reader->parser, &reader->event)) return refuse_syntax(reader);
    return refuse_extras(reader);
}

bool yaml_scalar(YamlReader *reader, ConfigScalar *scalar) {
    const yaml_event_t *event = &reader->event;
    scalar->text = (const char *)event->data.scalar.value;
    scalar->is_plain = event->data.scalar.style == YAML_PLAIN_SCALAR_STYLE;
    scalar->place = yaml_here(reader);
    if (strlen(scalar->text) == event->data.scalar.length) return true;
    return config_refuse_at(scalar->place, reader->error, "text with a zero byte in it");
}

bool yaml_is_empty(const YamlReader *reader) {
    return reader->event.type == YAML_SCALAR_EVENT && !reader->event.data.scalar.length;
}

bool yaml_key(YamlReader *reader, char **key, ConfigPlace *place) {
    *key = NULL;
    if (!yaml_next(reader)) return false;
    *place = yaml_here(reader);
    if (reader->event.type == YAML_MAPPING_END_EVENT) return true;
    if (reader->event.type != YAML_SCALAR_EVENT)
        return config_refuse_at(*place, reader->error,
                                "a key must be a name, not a list or a mapping");
    ConfigScalar scalar;
    if (!yaml_scalar(reader, &scalar)) return false;
    *key = checked_strdup(scalar.text);
    return true;
}

bool yaml_pass_over(YamlReader *reader) {
    for (long depth = 0;;) {
        yaml_event_type_t type = reader->event.type;
        if (type == YAML_MAPPING_START_EVENT || type == YAML_SEQUENCE_START_EVENT) depth++;
        if (type == YAML_MAPPING_END_EVENT || type == YAML_SEQUENCE_END_EVENT) depth--;
        if (depth <= 0) return true;
        if (!yaml_next(reader)) return false;
    }
}

bool yaml_first_value(YamlReader *reader, bool *is_empty) {
    // the stream begins, the document begins
    if (!yaml_next(reader) || !yaml_next(reader)) return false;
    *is_empty = reader->event.type == YAML_STREAM_END_EVENT;
    return *is_empty || yaml_next(reader);
}

bool yaml_ends_here(YamlReader *reader) {
    if (!yaml_next(reader) || !yaml_next(reader)) return false;
    if (reader->event.type == YAML_STREAM_END_EVENT) return true;
    return config_refuse_at(yaml_here(reader), reader->error,
                            "a second YAML document begins here: one per file");
}
