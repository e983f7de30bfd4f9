// From YAML events into the configuration. The accepted shape is fixed: sections of keys of scalars
// or lists of scalars (of files, also mappings of scalars), so nothing recurses, whatever the file
// nests.
#include "train/config/yaml_reader.h"

#include "autograd/file_content.h"

#include <stdlib.h>
#include <string.h>

enum { MOST_SECTIONS = 16 };

typedef struct Reader {
    YamlReader yaml;
    Config *config;
    bool seen_section[MOST_SECTIONS];
    Error *error;
} Reader;

static bool read_list(YamlReader *yaml, Config *config, const ConfigField *field) {
    config_empty_list(config, field);
    for (;;) {
        if (!yaml_next(yaml)) return false;
        if (yaml->event.type == YAML_SEQUENCE_END_EVENT) return true;
        if (yaml->event.type != YAML_SCALAR_EVENT) {
            char *expected = config_expected(field);
            config_refuse_at(yaml_here(yaml), yaml->error,
                             "%s.%s has an element that is no single value, expected %s",
                             field->section, field->name, expected);
            free(expected);
            return false;
        }
        ConfigScalar scalar;
        if (!yaml_scalar(yaml, &scalar) ||
            !config_append_to_list(config, field, &scalar, yaml->error))
            return false;
    }
}

bool config_read_event(YamlReader *yaml, Config *config, const ConfigField *field) {
    yaml_event_type_t type = yaml->event.type;
    if (type == YAML_SEQUENCE_START_EVENT && config_field_is_list(field))
        return read_list(yaml, config, field);
    if (type == YAML_SEQUENCE_START_EVENT && field->type == FIELD_DATASET_FILES)
        return config_read_files(yaml, config, field);
    ConfigScalar scalar;
    if (type == YAML_SCALAR_EVENT)
        return yaml_scalar(yaml, &scalar) && config_set_scalar(config, field, &scalar, yaml->error);
    char *expected = config_expected(field);
    config_refuse_at(yaml_here(yaml), yaml->error,
                     "%s.%s is a %s, expected %s. 'difflmm config %s.%s' explains it",
                     field->section, field->name,
                     type == YAML_SEQUENCE_START_EVENT ? "list" : "mapping of keys", expected,
                     field->section, field->name);
    free(expected);
    return false;
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
    if (!yaml_next(&reader->yaml)) return false;
    ConfigPlace value = yaml_here(&reader->yaml);
    *origin = (ConfigOrigin){ORIGIN_FILE, value.line, value.column};
    return config_read_event(&reader->yaml, reader->config, &CONFIG_FIELDS[index]);
}

static bool read_section(Reader *reader, const char *section) {
    for (;;) {
        char *key;
        ConfigPlace place;
        if (!yaml_key(&reader->yaml, &key, &place)) return false;
        if (!key) return true;
        bool is_read = read_field(reader, section, key, place);
        free(key);
        if (!is_read) return false;
    }
}

static bool begin_section(Reader *reader, const char *section, ConfigPlace place) {
    YamlReader *yaml = &reader->yaml;
    if (!strcmp(section, CONFIG_SWEEP_SECTION)) return yaml_next(yaml) && yaml_pass_over(yaml);
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
    if (!yaml_next(yaml)) return false;
    if (yaml_is_empty(yaml)) return true;
    if (yaml->event.type == YAML_MAPPING_START_EVENT) return read_section(reader, section);
    return config_refuse_at(
        yaml_here(yaml), reader->error,
        "section '%s' must hold keys, one a line and indented; 'difflmm config %s' lists them",
        section, section);
}

/// The reader is at the document's first value.
static bool read_sections(Reader *reader) {
    if (yaml_is_empty(&reader->yaml)) return true;
    if (reader->yaml.event.type != YAML_MAPPING_START_EVENT)
        return config_refuse_at(yaml_here(&reader->yaml), reader->error,
                                "a configuration consists of sections: 'model:', then keys, one a "
                                "line and indented; 'difflmm config' prints one");
    for (;;) {
        char *section;
        ConfigPlace place;
        if (!yaml_key(&reader->yaml, &section, &place)) return false;
        if (!section) return true;
        bool is_read = begin_section(reader, section, place);
        free(section);
        if (!is_read) return false;
    }
}

static bool read_document(Reader *reader) {
    bool is_empty;
    if (!yaml_first_value(&reader->yaml, &is_empty)) return false;
    return is_empty || (read_sections(reader) && yaml_ends_here(&reader->yaml));
}

bool config_read_text(Config *config, const char *path, const char *text, size_t length,
                      Error *error) {
    Reader reader = {.config = config, .error = error};
    if (!file_begin_text(path, &text, &length, error)) return false;
    if (!yaml_reader_begin(&reader.yaml, path, text, length, error)) return false;
    bool is_read = read_document(&reader);
    yaml_reader_end(&reader.yaml);
    return is_read;
}

bool config_read_file(Config *config, const char *path, Error *error) {
    char *text;
    size_t length = 0;
    if (!file_read_text(path, CONFIG_LARGEST_FILE, &text, &length, error)) return false;
    bool is_read = config_read_text(config, path, text, length, error);
    free(text);
    return is_read;
}

bool config_read_value(Config *config, const ConfigField *field, const char *yaml, Error *error) {
    YamlReader reader;
    bool is_empty;
    if (!yaml_reader_begin(&reader, NULL, yaml, strlen(yaml), error)) return false;
    bool is_read = yaml_first_value(&reader, &is_empty);
    if (is_read && is_empty) {
        ConfigScalar nothing = {.text = "", .is_plain = true, .place = {0}};
        is_read = config_set_scalar(config, field, &nothing, error);
    } else if (is_read) {
        is_read = config_read_event(&reader, config, field) && yaml_ends_here(&reader);
    }
    yaml_reader_end(&reader);
    return is_read;
}
