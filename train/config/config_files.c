// Lists of data files: what a configuration has in place of one path.
#include "autograd/text/byte_buffer.h"
#include "train/config/yaml_reader.h"

#include <stdlib.h>
#include <string.h>

enum { MOST_FILES = 1024 };

static DatasetFiles *files_of(Config *config, const ConfigField *field) {
    return (DatasetFiles *)((char *)config + field->offset);
}

DatasetFile *config_append_file(Config *config, const ConfigField *field, ConfigPlace place,
                                Error *error) {
    DatasetFiles *files = files_of(config, field);
    if (files->count == MOST_FILES) {
        config_refuse_at(place, error, "%s.%s has more than %d files", field->section, field->name,
                         MOST_FILES);
        return NULL;
    }
    files->values =
        checked_realloc(files->values, (unsigned long)(files->count + 1) * sizeof *files->values);
    DatasetFile *file = &files->values[files->count++];
    *file = (DatasetFile){.weight = 1};
    return file;
}

void config_free_files(DatasetFiles *files) {
    for (int i = 0; i < files->count; i++)
        for (int k = 0; k < NUM_DATASET_FILE_FIELDS; k++)
            config_free_value(&files->values[i], &DATASET_FILE_FIELDS[k]);
    free(files->values);
    *files = (DatasetFiles){0};
}

char *config_format_files(const DatasetFiles *files) {
    if (!files->is_list) return config_format_value(&files->values[0], &DATASET_FILE_FIELDS[0]);
    ByteBuffer text = {0};
    for (int i = 0; i < files->count; i++) {
        for (int k = 0; k < NUM_DATASET_FILE_FIELDS; k++) {
            const ConfigField *field = &DATASET_FILE_FIELDS[k];
            char *value = config_format_value(&files->values[i], field);
            const char *before = k ? ", " : i ? "}, {" : "[{";
            byte_buffer_print(&text, "%s%s: %s", before, field->name, value);
            free(value);
        }
    }
    byte_buffer_put_text(&text, "}]");
    return byte_buffer_take(&text);
}

static bool is_same(const char *a, const char *b) { return a && b ? strcmp(a, b) == 0 : a == b; }

bool config_same_folders(const DatasetFiles *a, const DatasetFiles *b) {
    bool same = a->count == b->count;
    for (int i = 0; same && i < a->count; i++)
        same = is_same(a->values[i].image_folder, b->values[i].image_folder);
    return same;
}

// ---- reading

static const ConfigField *find_file_field(const char *name) {
    for (int i = 0; i < NUM_DATASET_FILE_FIELDS; i++)
        if (!strcmp(DATASET_FILE_FIELDS[i].name, name)) return &DATASET_FILE_FIELDS[i];
    return NULL;
}

/// The value of a key of an element.
static bool read_file_value(YamlReader *reader, DatasetFile *file, const char *key,
                            ConfigPlace place, unsigned *seen) {
    const ConfigField *field = find_file_field(key);
    if (!field)
        return config_refuse_at(place, reader->error,
                                "unknown key '%.100s' of a file; expected path, image_folder or "
                                "weight",
                                key);
    const unsigned bit = 1u << (field - DATASET_FILE_FIELDS);
    if (*seen & bit)
        return config_refuse_at(place, reader->error, "%s was already given", field->name);
    *seen |= bit;
    ConfigScalar scalar;
    if (!yaml_next(reader)) return false;
    if (reader->event.type != YAML_SCALAR_EVENT)
        return config_refuse_at(yaml_here(reader), reader->error, "%s is no single value",
                                field->name);
    return yaml_scalar(reader, &scalar) && config_set_scalar(file, field, &scalar, reader->error);
}

/// The reader is at the beginning of the mapping.
static bool read_file(YamlReader *reader, Config *config, const ConfigField *list) {
    const ConfigPlace begin = yaml_here(reader);
    unsigned seen = 0;
    DatasetFile *file = config_append_file(config, list, begin, reader->error);
    for (char *key = ""; file && key;) {
        ConfigPlace place;
        if (!yaml_key(reader, &key, &place)) return false;
        if (!key) break;
        const bool is_read = read_file_value(reader, file, key, place, &seen);
        free(key);
        if (!is_read) return false;
    }
    return file &&
           (file->path || config_refuse_at(begin, reader->error, "a file of %s.%s has no path",
                                           list->section, list->name));
}

/// The reader is at the name of a file that has nothing else.
static bool read_file_path(YamlReader *reader, Config *config, const ConfigField *list) {
    ConfigScalar scalar;
    if (!yaml_scalar(reader, &scalar)) return false;
    DatasetFile *file = config_append_file(config, list, scalar.place, reader->error);
    return file && config_set_scalar(file, find_file_field("path"), &scalar, reader->error);
}

bool config_read_files(YamlReader *reader, Config *config, const ConfigField *field) {
    const ConfigPlace begin = yaml_here(reader);
    DatasetFiles *files = files_of(config, field);
    config_empty_list(config, field);
    files->is_list = true;
    for (;;) {
        if (!yaml_next(reader)) return false;
        bool is_read = false;
        if (reader->event.type == YAML_SEQUENCE_END_EVENT)
            return files->count > 0 ||
                   config_refuse_at(begin, reader->error, "%s.%s is an empty list; expected files",
                                    field->section, field->name);
        if (reader->event.type == YAML_SCALAR_EVENT)
            is_read = read_file_path(reader, config, field);
        else if (reader->event.type == YAML_MAPPING_START_EVENT)
            is_read = read_file(reader, config, field);
        else
            config_refuse_at(yaml_here(reader), reader->error,
                             "%s.%s has a list as an element; expected a path, or path, "
                             "image_folder and weight of a file",
                             field->section, field->name);
        if (!is_read) return false;
    }
}
