// What a file's configuration is for a cell.
#include "train/sweep/sweep_cells.h"

#include <stdlib.h>
#include <string.h>

static bool is_of(const char *setting, const char *section) {
    size_t length = strlen(section);
    return !strncmp(setting, section, length) && setting[length] == '.';
}

static Config *load(const char *path, bool is_stage, const char *const *settings, int num_settings,
                    Error *error) {
    const char **own = checked_calloc((unsigned long)num_settings + 1, sizeof *own);
    int count = 0;
    for (int i = 0; i < num_settings; i++)
        if (!is_of(settings[i], CONFIG_SWEEP_SECTION) && !(is_stage && is_of(settings[i], "eval")))
            own[count++] = settings[i];
    Config *config = config_load(path, own, count, error);
    free(own);
    return config;
}

static bool set(Config *config, int field, const char *value, ConfigPlace place, Error *error) {
    config->origins[field] = (ConfigOrigin){ORIGIN_FILE, place.line, place.column};
    return config_read_value(config, &CONFIG_FIELDS[field], value, error);
}

static bool refuse_command_line(int field, Error *error) {
    error_set(error, "%s.%s is varied by the sweep; leave it out, or out of the sweep",
              CONFIG_FIELDS[field].section, CONFIG_FIELDS[field].name);
    error->is_configuration = true;
    return error_context(error, "command line");
}

static bool is_used(const SweepSection *section, int field, bool is_stage) {
    for (int i = 0; is_stage && i < section->evaluation_only.count; i++)
        if (section->evaluation_only.values[i] == field) return false;
    return !is_stage || strcmp(CONFIG_FIELDS[field].section, "eval") != 0;
}

/// Of the file that says what the cell is evaluated on, the keys of section eval that it sets.
static bool apply_evaluation(Config *config, const char *path, Error *error) {
    Config *other = config_load(path, NULL, 0, error);
    bool ok = other != NULL, has_keys = false;
    for (int f = 0; ok && f < NUM_CONFIG_FIELDS; f++) {
        const ConfigField *field = &CONFIG_FIELDS[f];
        if (strcmp(field->section, "eval") || other->origins[f].kind != ORIGIN_FILE) continue;
        has_keys = true;
        if (config->origins[f].kind == ORIGIN_COMMAND_LINE) continue;
        char *value = config_format_value(other, field);
        const ConfigPlace place = {.line = other->origins[f].line};
        ok = set(config, f, value, place, error);
        free(value);
    }
    config_free(other);
    return ok && (has_keys || error_set(error,
                                        "%s: sets no key of section 'eval', and sweep.evaluations "
                                        "names it for these",
                                        path));
}

static bool apply(Config *config, const SweepSection *section, const SweepCells *cells,
                  const SweepCombination *cell, bool is_stage, Error *error) {
    bool ok = is_stage || cell->evaluation < 0 ||
              apply_evaluation(config, section->evaluations.values[cell->evaluation], error);
    for (int i = 0; ok && i < section->settings.count; i++) {
        const SweepSetting *setting = &section->settings.list[i];
        if (is_used(section, setting->field, is_stage) &&
            config->origins[setting->field].kind != ORIGIN_COMMAND_LINE)
            ok = set(config, setting->field, setting->value, setting->place, error);
    }
    for (int f = 0; ok && f < cells->num_fields; f++) {
        int field = cells->fields[f];
        if (config->origins[field].kind == ORIGIN_COMMAND_LINE)
            return refuse_command_line(field, error);
        if (cell->values[f] && is_used(section, field, is_stage))
            ok = set(config, field, cell->values[f], (ConfigPlace){0}, error);
    }
    return ok;
}

Config *sweep_cell_config(const SweepSection *section, const SweepCells *cells,
                          const SweepCombination *cell, const char *path, bool is_stage,
                          const char *const *settings, int num_settings, Error *error) {
    Config *config = load(path, is_stage, settings, num_settings, error), *resolved = NULL;
    if (config && apply(config, section, cells, cell, is_stage, error)) {
        // keys whose default is another's value follow what the cell has set
        char *yaml = config_set_keys_to_yaml(config);
        resolved = config_load_text(yaml, path, NULL, 0, error);
        free(yaml);
    } else if (config) {
        error_context(error, "cell '%s'", cell->name);
    }
    config_free(config);
    return resolved;
}
