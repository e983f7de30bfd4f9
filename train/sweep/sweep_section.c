// The section's own keys, from YAML and from the command line.
#include "train/sweep/sweep_reader.h"

#include "autograd/file_content.h"
#include "autograd/home_path.h"
#include "autograd/text/nearest_name.h"
#include "autograd/text/utf8.h"

#include <stdlib.h>
#include <string.h>

static bool read_text(SweepReader *reader, const char *what, bool is_path, char **text) {
    ConfigScalar scalar;
    if (reader->yaml.event.type != YAML_SCALAR_EVENT || yaml_is_empty(&reader->yaml))
        return sweep_refuse_shape(reader, what, "text");
    if (!yaml_scalar(&reader->yaml, &scalar)) return false;
    free(*text);
    *text = is_path ? home_path(scalar.text, reader->error) : checked_strdup(scalar.text);
    return *text != NULL;
}

static bool read_texts(SweepReader *reader, const char *what, bool are_paths, StringList *texts) {
    bool is_list = reader->yaml.event.type == YAML_SEQUENCE_START_EVENT;
    if (yaml_is_empty(&reader->yaml)) return true;
    do {
        char *text = NULL;
        if (is_list && !yaml_next(&reader->yaml)) return false;
        if (reader->yaml.event.type == YAML_SEQUENCE_END_EVENT) return true;
        if (!read_text(reader, what, are_paths, &text)) return false;
        sweep_strings_add(texts, text);
        free(text);
    } while (is_list);
    return true;
}

static bool read_choice(SweepReader *reader, const char *what, bool *choice) {
    ConfigScalar scalar;
    if (reader->yaml.event.type != YAML_SCALAR_EVENT)
        return sweep_refuse_shape(reader, what, "true or false");
    if (!yaml_scalar(&reader->yaml, &scalar)) return false;
    *choice = scalar.is_plain && !strcmp(scalar.text, "true");
    return *choice || (scalar.is_plain && !strcmp(scalar.text, "false")) ||
           sweep_refuse_shape(reader, what, "true or false");
}

static bool add_headlines(SweepReader *reader, const char *evaluation, const StringList *figures,
                          ConfigPlace place) {
    SweepSection *section = reader->section;
    for (int i = 0; i < figures->count; i++) {
        section->headline =
            checked_realloc(section->headline, (unsigned long)(section->num_headlines + 1) *
                                                   sizeof *section->headline);
        section->headline[section->num_headlines++] =
            (SweepFigure){checked_strdup(evaluation), checked_strdup(figures->values[i]), place};
    }
    return figures->count > 0 ||
           config_refuse_at(place, reader->error, "sweep.headline names no figure of '%s'",
                            quote(evaluation).text);
}

/// Of each evaluation, one after the other.
static bool read_headline(SweepReader *reader, const char *what) {
    if (yaml_is_empty(&reader->yaml)) return true;
    if (reader->yaml.event.type != YAML_MAPPING_START_EVENT)
        return sweep_refuse_shape(reader, what, "mapping of evaluations to lists of figures");
    for (;;) {
        char *evaluation;
        ConfigPlace place;
        StringList figures = {0};
        if (!yaml_key(&reader->yaml, &evaluation, &place)) return false;
        if (!evaluation) return true;
        bool ok = yaml_next(&reader->yaml) && read_texts(reader, what, false, &figures) &&
                  add_headlines(reader, evaluation, &figures, place);
        sweep_strings_free(&figures);
        free(evaluation);
        if (!ok) return false;
    }
}

/// The reader is at the value of a key of the section.
static bool read_key(SweepReader *reader, const char *key, ConfigPlace place) {
    SweepSection *section = reader->section;
    if (!strcmp(key, "output_dir")) return read_text(reader, key, true, &section->output_dir);
    if (!strcmp(key, "sort_by")) return read_text(reader, key, false, &section->sort_by);
    if (!strcmp(key, "train")) return read_texts(reader, key, true, &section->train);
    if (!strcmp(key, "evaluations")) return read_texts(reader, key, true, &section->evaluations);
    if (!strcmp(key, "each_stage")) {
        section->each_stage_place = place;
        return read_choice(reader, key, &section->each_stage);
    }
    if (!strcmp(key, "launch")) return read_texts(reader, key, true, &section->launch);
    if (!strcmp(key, "settings")) return sweep_read_settings(reader, key, &section->settings);
    if (!strcmp(key, "grid")) return sweep_read_axes(reader, key, false);
    if (!strcmp(key, "zip")) return sweep_read_axes(reader, key, true);
    if (!strcmp(key, "evaluation_only"))
        return sweep_read_keys(reader, key, &section->evaluation_only);
    if (!strcmp(key, "variants")) return sweep_read_variants(reader);
    if (!strcmp(key, "headline")) return read_headline(reader, key);
    CHECK(!strcmp(key, "base"), "sweep.%s has no reader", key);
    section->base_place = place;
    return read_text(reader, key, false, &section->base);
}

/// Index of a key of the section, or -1 with a message.
static int find_key(const char *name, ConfigPlace place, Error *error) {
    const char *names[32];
    int count = 0;
    for (; SWEEP_KEYS[count].name; count++) {
        names[count] = SWEEP_KEYS[count].name;
        if (!strcmp(name, names[count])) return count;
    }
    int nearest = nearest_name(name, names, count);
    config_refuse_at(place, error, "unknown key '%s' in section 'sweep': %s%s%s", quote(name).text,
                     nearest >= 0 ? "did you mean '" : "'difflmm config sweep",
                     nearest >= 0 ? names[nearest] : "", nearest >= 0 ? "'?" : "' lists its keys");
    return -1;
}

static bool read_section(SweepReader *reader) {
    unsigned seen = 0;
    if (yaml_is_empty(&reader->yaml)) return true;
    if (reader->yaml.event.type != YAML_MAPPING_START_EVENT)
        return sweep_refuse_shape(reader, "'sweep'", "section of keys");
    for (;;) {
        char *key;
        ConfigPlace place;
        if (!yaml_key(&reader->yaml, &key, &place)) return false;
        if (!key) return true;
        int index = find_key(key, place, reader->error);
        bool ok = index >= 0;
        if (ok && (seen & 1u << index))
            ok = config_refuse_at(place, reader->error, "sweep.%s was already given", key);
        if (ok) seen |= 1u << index;
        ok = ok && yaml_next(&reader->yaml) && read_key(reader, key, place);
        free(key);
        if (!ok) return false;
    }
}

/// Goes through the sections to the one that is ours.
static bool read_document(SweepReader *reader) {
    bool is_empty, found = false;
    if (!yaml_first_value(&reader->yaml, &is_empty)) return false;
    bool has_sections = !is_empty && reader->yaml.event.type == YAML_MAPPING_START_EVENT;
    while (has_sections) {
        char *name;
        ConfigPlace place;
        if (!yaml_key(&reader->yaml, &name, &place)) return false;
        if (!name) break;
        bool is_ours = !strcmp(name, CONFIG_SWEEP_SECTION), again = is_ours && found;
        free(name);
        if (again)
            return config_refuse_at(place, reader->error, "section 'sweep' was already given");
        found = found || is_ours;
        if (!yaml_next(&reader->yaml) ||
            !(is_ours ? read_section(reader) : yaml_pass_over(&reader->yaml)))
            return false;
    }
    return found ||
           error_set(reader->error, "%s has no section 'sweep'; 'difflmm config sweep' shows one",
                     reader->section->path);
}

static bool read_file(SweepSection *section, Error *error) {
    char *text;
    const char *begin;
    size_t length = 0;
    if (!file_read_text(section->path, CONFIG_LARGEST_FILE, &text, &length, error)) return false;
    begin = text;
    SweepReader reader = {
        .section = section, .scratch = config_load(NULL, NULL, 0, error), .error = error};
    bool ok = reader.scratch && file_begin_text(section->path, &begin, &length, error) &&
              yaml_reader_begin(&reader.yaml, section->path, begin, length, error);
    if (ok) {
        ok = read_document(&reader);
        yaml_reader_end(&reader.yaml);
    }
    config_free(reader.scratch);
    free(text);
    return ok;
}

/// sweep.KEY=value of the command line.
static bool override(SweepSection *section, const char *setting, Error *error) {
    static const char PREFIX[] = CONFIG_SWEEP_SECTION ".";
    const ConfigPlace command_line = {0};
    const char *equals = strchr(setting, '=');
    if (strncmp(setting, PREFIX, sizeof PREFIX - 1) || !equals) return true;
    const char *name = setting + sizeof PREFIX - 1;
    char *key = format_string("%.*s", (int)(equals - name), name);
    char **text = !strcmp(key, "output_dir") ? &section->output_dir
                  : !strcmp(key, "base")     ? &section->base
                  : !strcmp(key, "sort_by")  ? &section->sort_by
                                             : NULL;
    if (text) {
        free(*text);
        *text = text == &section->output_dir ? home_path(equals + 1, error)
                                             : checked_strdup(equals + 1);
        section->base_place = text == &section->base ? command_line : section->base_place;
    } else if (find_key(key, command_line, error) >= 0) {
        config_refuse_at(command_line, error,
                         "sweep.%s is set in the file; on the command line: sweep.output_dir, "
                         "sweep.base and sweep.sort_by",
                         key);
    }
    free(key);
    return text && *text;
}

static bool check_folder(const SweepSection *section, Error *error) {
    const char *folder = section->output_dir;
    if (!folder || !*folder)
        return error_set(error, "%s: sweep.output_dir is missing: the folder for all of the sweep",
                         section->path);
    return is_utf8(folder, strlen(folder)) ||
           error_set(error, "sweep.output_dir: %s is not UTF-8, which configurations are", folder);
}

SweepSection *sweep_section_read(const char *path, const char *const *settings, int num_settings,
                                 Error *error) {
    SweepSection *section = checked_calloc(1, sizeof *section);
    section->path = checked_strdup(path);
    bool ok = read_file(section, error);
    for (int i = 0; ok && i < num_settings; i++) ok = override(section, settings[i], error);
    ok = ok && check_folder(section, error);
    if (ok) return section;
    error->is_configuration = true;
    sweep_section_free(section);
    return NULL;
}

static void free_settings(SweepSettings *settings) {
    for (int i = 0; i < settings->count; i++) free(settings->list[i].value);
    free(settings->list);
}

void sweep_section_free(SweepSection *section) {
    if (!section) return;
    for (int a = 0; a < section->num_axes; a++) {
        for (int i = 0; i < section->axes[a].count; i++) free(section->axes[a].values[i]);
        free(section->axes[a].values);
    }
    for (int v = 0; v < section->num_variants; v++) {
        free(section->variants[v].name);
        free_settings(&section->variants[v].settings);
    }
    for (int h = 0; h < section->num_headlines; h++) {
        free(section->headline[h].evaluation);
        free(section->headline[h].figure);
    }
    free(section->headline);
    free_settings(&section->settings);
    sweep_strings_free(&section->train);
    sweep_strings_free(&section->evaluations);
    sweep_strings_free(&section->launch);
    free(section->evaluation_only.values);
    free(section->axes);
    free(section->variants);
    free(section->path);
    free(section->output_dir);
    free(section->base);
    free(section->sort_by);
    free(section);
}
