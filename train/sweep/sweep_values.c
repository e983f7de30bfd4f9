// Keys and their values. A value is read into a configuration that is there for nothing else, by
// the reader of configurations, and kept as the YAML that it writes: so a value has one form,
// whatever the file's.
#include "train/sweep/sweep_reader.h"

#include <stdlib.h>
#include <string.h>

/// Keys that the sweep itself sets.
static const char *const OWN_KEYS[] = {"training.output_dir", "training.resume", "eval.output_dir"};

// ---- keys and values

static bool refuse_key(const SweepReader *reader, const char *key, ConfigPlace place) {
    char *suggestion = config_suggest(NULL, key);
    config_refuse_at(place, reader->error, "unknown key '%s': %s", quote(key).text, suggestion);
    free(suggestion);
    return false;
}

/// Goes to the next key of a mapping of configuration keys; *field -1: the mapping ends.
static bool next_field(SweepReader *reader, int *field, ConfigPlace *place) {
    char *key;
    *field = -1;
    if (!yaml_key(&reader->yaml, &key, place)) return false;
    if (!key) return true;
    *field = config_find_key(key);
    bool ok = *field >= 0 || refuse_key(reader, key, *place);
    for (size_t i = 0; ok && i < sizeof OWN_KEYS / sizeof *OWN_KEYS; i++)
        if (!strcmp(key, OWN_KEYS[i]))
            ok = config_refuse_at(*place, reader->error,
                                  "%s is the sweep's own: each cell has its folder below "
                                  "sweep.output_dir",
                                  key);
    free(key);
    return ok;
}

/// The value that the reader is at, as YAML; NULL on failure.
static char *read_value(SweepReader *reader, int field) {
    if (!config_read_event(&reader->yaml, reader->scratch, &CONFIG_FIELDS[field])) return NULL;
    return config_format_value(reader->scratch, &CONFIG_FIELDS[field]);
}

bool sweep_refuse_shape(const SweepReader *reader, const char *what, const char *expected) {
    return config_refuse_at(yaml_here(&reader->yaml), reader->error,
                            "%s is no %s; 'difflmm config sweep' shows one", what, expected);
}

static bool has_setting(const SweepSettings *settings, int field) {
    for (int i = 0; i < settings->count; i++)
        if (settings->list[i].field == field) return true;
    return false;
}

static bool read_setting(SweepReader *reader, SweepSettings *settings, int field,
                         ConfigPlace place) {
    const ConfigField *key = &CONFIG_FIELDS[field];
    if (has_setting(settings, field))
        return config_refuse_at(place, reader->error, "%s.%s was already given", key->section,
                                key->name);
    if (!yaml_next(&reader->yaml)) return false;
    char *value = read_value(reader, field);
    if (!value) return false;
    settings->list = checked_realloc(settings->list,
                                     (unsigned long)(settings->count + 1) * sizeof *settings->list);
    settings->list[settings->count++] = (SweepSetting){field, value, place};
    return true;
}

/// The reader is at the value.
bool sweep_read_settings(SweepReader *reader, const char *what, SweepSettings *settings) {
    if (yaml_is_empty(&reader->yaml)) return true;
    if (reader->yaml.event.type != YAML_MAPPING_START_EVENT)
        return sweep_refuse_shape(reader, what, "mapping of keys to values");
    for (;;) {
        int field;
        ConfigPlace place;
        if (!next_field(reader, &field, &place)) return false;
        if (field < 0) return true;
        if (!read_setting(reader, settings, field, place)) return false;
    }
}

// ---- axes

static bool add_value(const SweepReader *reader, SweepAxis *axis, char *value, ConfigPlace place) {
    for (int i = 0; i < axis->count; i++)
        if (!strcmp(axis->values[i], value) && !axis->is_zipped) {
            config_refuse_at(place, reader->error, "the value %s is there twice",
                             quote(value).text);
            free(value);
            return false;
        }
    axis->values =
        checked_realloc(axis->values, (unsigned long)(axis->count + 1) * sizeof *axis->values);
    axis->values[axis->count++] = value;
    return true;
}

static bool is_checkpoint_key(int field) {
    return field == config_find_key("eval.checkpoint") ||
           field == config_find_key("model.adapters");
}

/// A pattern stands for what it finds.
static bool add_checkpoints(SweepReader *reader, SweepAxis *axis, ConfigPlace place) {
    const ConfigField *key = &CONFIG_FIELDS[axis->field];
    const char *pattern = *(char **)(void *)((char *)reader->scratch + key->offset);
    StringList found = {0};
    bool ok = sweep_find_checkpoints(pattern, place, &found, reader->error);
    for (int i = 0; ok && i < found.count; i++) {
        ConfigScalar scalar = {.text = found.values[i], .is_plain = false, .place = place};
        ok = config_set_scalar(reader->scratch, key, &scalar, reader->error) &&
             add_value(reader, axis, config_format_value(reader->scratch, key), place);
    }
    sweep_strings_free(&found);
    return ok;
}

static bool read_axis_value(SweepReader *reader, SweepAxis *axis) {
    const ConfigField *key = &CONFIG_FIELDS[axis->field];
    ConfigPlace place = yaml_here(&reader->yaml);
    if (config_field_is_list(key) && reader->yaml.event.type == YAML_SCALAR_EVENT)
        return config_refuse_at(place, reader->error,
                                "the values of %s.%s are lists themselves: [[0], [1], [0, 1]]",
                                key->section, key->name);
    char *value = read_value(reader, axis->field);
    if (!value) return false;
    if (!is_checkpoint_key(axis->field) || config_field_is_null(reader->scratch, key))
        return add_value(reader, axis, value, place);
    free(value);
    return add_checkpoints(reader, axis, place);
}

/// The reader is at the values: a list, or one that stands for itself (and, of checkpoints, for all
/// that it names).
static bool read_axis_values(SweepReader *reader, SweepAxis *axis) {
    const ConfigField *key = &CONFIG_FIELDS[axis->field];
    if (reader->yaml.event.type == YAML_SCALAR_EVENT && !yaml_is_empty(&reader->yaml))
        return read_axis_value(reader, axis);
    if (reader->yaml.event.type != YAML_SEQUENCE_START_EVENT) {
        char *what = format_string("%s.%s", key->section, key->name);
        sweep_refuse_shape(reader, what, "list of values");
        free(what);
        return false;
    }
    for (;;) {
        if (!yaml_next(&reader->yaml)) return false;
        if (reader->yaml.event.type == YAML_SEQUENCE_END_EVENT) break;
        if (!read_axis_value(reader, axis)) return false;
    }
    return axis->count > 0 || config_refuse_at(axis->place, reader->error, "%s.%s has no values",
                                               key->section, key->name);
}

static bool check_axis(const SweepReader *reader, const SweepAxis *axis) {
    const SweepSection *section = reader->section;
    const ConfigField *key = &CONFIG_FIELDS[axis->field];
    for (const SweepAxis *other = section->axes; other < axis; other++) {
        if (other->field == axis->field)
            return config_refuse_at(axis->place, reader->error, "%s.%s was already given",
                                    key->section, key->name);
        if (axis->is_zipped && other->is_zipped && other->count != axis->count)
            return config_refuse_at(axis->place, reader->error,
                                    "%s.%s has %d values and %s.%s %d: the lists of 'zip' go "
                                    "together, value by value",
                                    key->section, key->name, axis->count,
                                    CONFIG_FIELDS[other->field].section,
                                    CONFIG_FIELDS[other->field].name, other->count);
    }
    return true;
}

bool sweep_read_axes(SweepReader *reader, const char *what, bool is_zipped) {
    SweepSection *section = reader->section;
    if (yaml_is_empty(&reader->yaml)) return true;
    if (reader->yaml.event.type != YAML_MAPPING_START_EVENT)
        return sweep_refuse_shape(reader, what, "mapping of keys to lists of values");
    for (;;) {
        int field;
        ConfigPlace place;
        if (!next_field(reader, &field, &place)) return false;
        if (field < 0) return true;
        section->axes = checked_realloc(section->axes, (unsigned long)(section->num_axes + 1) *
                                                           sizeof *section->axes);
        SweepAxis *axis = &section->axes[section->num_axes++];
        *axis = (SweepAxis){.field = field, .is_zipped = is_zipped, .place = place};
        if (!yaml_next(&reader->yaml) || !read_axis_values(reader, axis) ||
            !check_axis(reader, axis))
            return false;
    }
}

// ---- variants

static bool check_variant_name(const SweepReader *reader, const char *name, ConfigPlace place) {
    const SweepSection *section = reader->section;
    for (int i = 0; i < section->num_variants; i++)
        if (!strcmp(section->variants[i].name, name))
            return config_refuse_at(place, reader->error, "variant '%s' was already given",
                                    quote(name).text);
    return (*name && !strpbrk(name, ",=/\n")) ||
           config_refuse_at(place, reader->error,
                            "a variant's name is a word without , = and /, not '%s'",
                            quote(name).text);
}

bool sweep_read_variants(SweepReader *reader) {
    SweepSection *section = reader->section;
    if (yaml_is_empty(&reader->yaml)) return true;
    if (reader->yaml.event.type != YAML_MAPPING_START_EVENT)
        return sweep_refuse_shape(reader, "'variants'", "mapping of names to settings");
    for (;;) {
        SweepVariant variant = {0};
        if (!yaml_key(&reader->yaml, &variant.name, &variant.place)) return false;
        if (!variant.name) return true;
        bool ok = check_variant_name(reader, variant.name, variant.place);
        section->variants = checked_realloc(
            section->variants, (unsigned long)(section->num_variants + 1) * sizeof variant);
        section->variants[section->num_variants++] = variant;
        SweepVariant *kept = &section->variants[section->num_variants - 1];
        if (!ok || !yaml_next(&reader->yaml) ||
            !sweep_read_settings(reader, kept->name, &kept->settings))
            return false;
    }
}

// ---- names of keys

bool sweep_read_keys(SweepReader *reader, const char *what, IntList *fields) {
    if (reader->yaml.event.type != YAML_SEQUENCE_START_EVENT)
        return sweep_refuse_shape(reader, what, "list of keys");
    for (;;) {
        ConfigScalar key;
        if (!yaml_next(&reader->yaml)) return false;
        if (reader->yaml.event.type == YAML_SEQUENCE_END_EVENT) return true;
        if (reader->yaml.event.type != YAML_SCALAR_EVENT)
            return sweep_refuse_shape(reader, what, "list of keys");
        if (!yaml_scalar(&reader->yaml, &key)) return false;
        int field = config_find_key(key.text);
        if (field < 0) return refuse_key(reader, key.text, key.place);
        fields->values = checked_realloc(fields->values, (unsigned long)(fields->count + 1) *
                                                             sizeof *fields->values);
        fields->values[fields->count++] = field;
    }
}
