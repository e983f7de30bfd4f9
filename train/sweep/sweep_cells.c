#include "train/sweep/sweep_cells.h"

#include "autograd/text/byte_buffer.h"
#include "autograd/text/nearest_name.h"
#include "eval/tasks/evaluation.h"

#include <stdlib.h>
#include <string.h>

enum { MOST_CELLS = 10000, MOST_TABLES = 256 };

// ---- keys

static int find_field(const SweepCells *cells, int field) {
    for (int i = 0; i < cells->num_fields; i++)
        if (cells->fields[i] == field) return i;
    return -1;
}

static void add_field(SweepCells *cells, int field) {
    if (find_field(cells, field) >= 0) return;
    cells->fields = checked_realloc(cells->fields,
                                    (unsigned long)(cells->num_fields + 1) * sizeof *cells->fields);
    cells->fields[cells->num_fields++] = field;
}

/// A key has one source.
static bool check_sources(const SweepSection *section, Error *error) {
    for (int v = 0; v < section->num_variants; v++) {
        const SweepSettings *settings = &section->variants[v].settings;
        for (int i = 0; i < settings->count; i++)
            for (int a = 0; a < section->num_axes; a++)
                if (section->axes[a].field == settings->list[i].field)
                    return config_refuse_at(settings->list[i].place, error,
                                            "%s.%s is set by variant '%s' and varied in line %d",
                                            CONFIG_FIELDS[settings->list[i].field].section,
                                            CONFIG_FIELDS[settings->list[i].field].name,
                                            section->variants[v].name, section->axes[a].place.line);
    }
    return true;
}

// ---- names

char *sweep_bare_name(const char *path) {
    const char *last = strrchr(path, '/'), *name = last ? last + 1 : path,
               *dot = strrchr(name, '.');
    return format_string("%.*s", dot ? (int)(dot - name) : (int)strlen(name), name);
}

/// Without what is in front of the last slash, spaces and quotes; a comma would end the value. The
/// caller frees it.
static char *short_form(const char *value) {
    const char *last = strrchr(value, '/');
    ByteBuffer name = {0};
    for (const char *c = last && last[1] ? last + 1 : value; *c; c++)
        if (*c != ' ' && *c != '"') byte_buffer_put_byte(&name, *c == ',' ? '+' : *c);
    return byte_buffer_take(&name);
}

/// The value in a name: short, where that tells it from the others.
static char *value_in_name(const SweepAxis *axis, int index) {
    char *name = short_form(axis->values[index]);
    bool is_told_apart = true;
    for (int i = 0; is_told_apart && i < axis->count; i++) {
        char *other = short_form(axis->values[i]);
        is_told_apart = i == index || strcmp(other, name) != 0;
        free(other);
    }
    if (is_told_apart) return name;
    free(name);
    return checked_strdup(axis->values[index]);
}

static bool is_seed(const SweepAxis *axis) {
    return !strcmp(CONFIG_FIELDS[axis->field].name, "seed");
}

/// Of lists that go together the first stands for all; of seeds and others among them, the first
/// of either.
static bool is_named(const SweepSection *section, const SweepAxis *axis) {
    for (const SweepAxis *other = section->axes; axis->is_zipped && other < axis; other++)
        if (other->is_zipped && is_seed(other) == is_seed(axis)) return false;
    return true;
}

/// Whether another axis that stands in names has a key of that name.
static bool needs_section(const SweepSection *section, const SweepAxis *axis) {
    for (int a = 0; a < section->num_axes; a++) {
        const SweepAxis *other = &section->axes[a];
        if (other != axis && is_named(section, other) &&
            !strcmp(CONFIG_FIELDS[other->field].name, CONFIG_FIELDS[axis->field].name))
            return true;
    }
    return false;
}

/// "variant,key=value,...".
static char *name_of(const SweepSection *section, int variant, const int *indices,
                     bool with_seeds) {
    ByteBuffer name = {0};
    if (section->num_variants) byte_buffer_put_text(&name, section->variants[variant].name);
    for (int a = 0; a < section->num_axes; a++) {
        const SweepAxis *axis = &section->axes[a];
        const ConfigField *key = &CONFIG_FIELDS[axis->field];
        if (!is_named(section, axis) || (is_seed(axis) && !with_seeds)) continue;
        bool long_form = needs_section(section, axis);
        char *value = value_in_name(axis, indices[a]);
        byte_buffer_print(&name, "%s%s%s%s=%s", name.size ? "," : "", long_form ? key->section : "",
                          long_form ? "." : "", key->name, value);
        free(value);
    }
    if (!name.size) byte_buffer_put_text(&name, "all");
    return byte_buffer_take(&name);
}

// ---- combinations

/// Lines of lists that go together; 1 if there are none.
static int64_t zip_lines(const SweepSection *section) {
    for (int a = 0; a < section->num_axes; a++)
        if (section->axes[a].is_zipped) return section->axes[a].count;
    return 1;
}

/// Combinations of the values of all axes; more than MOST_CELLS are not counted further.
static int64_t count_combinations(const SweepSection *section) {
    int64_t count = zip_lines(section);
    for (int a = 0; a < section->num_axes && count <= MOST_CELLS; a++)
        if (!section->axes[a].is_zipped) count *= section->axes[a].count;
    return count;
}

/// Combination `number`: lists that go together move first, then the last of the others.
static void find_combination(const SweepSection *section, int64_t number, int *indices) {
    int64_t lines = zip_lines(section), rest = number / lines;
    for (int a = section->num_axes - 1; a >= 0; a--) {
        const SweepAxis *axis = &section->axes[a];
        indices[a] = (int)(axis->is_zipped ? number % lines : rest % axis->count);
        if (!axis->is_zipped) rest /= axis->count;
    }
}

/// stages: how many come before it; evaluation: which of the list, -1 if there is none.
static void add_cell(SweepCells *cells, const SweepSection *section, int variant,
                     const int *indices, int stages, int evaluation) {
    SweepCombination cell = {
        .training_name = name_of(section, variant, indices, true),
        .line = name_of(section, variant, indices, false),
        .values = checked_calloc((unsigned long)cells->num_fields + 1, sizeof *cell.values),
        .stages = stages,
        .evaluation = evaluation};
    if (section->each_stage) cell.stage_name = sweep_bare_name(section->train.values[stages - 1]);
    if (evaluation >= 0)
        cell.evaluation_name = sweep_bare_name(section->evaluations.values[evaluation]);
    const char *stage = cell.stage_name, *own = cell.evaluation_name;
    cell.name = format_string("%s%s%s%s%s", cell.training_name, stage ? "," : "",
                              stage ? stage : "", own ? "," : "", own ? own : "");
    if (section->num_variants) {
        const SweepSettings *settings = &section->variants[variant].settings;
        for (int i = 0; i < settings->count; i++)
            cell.values[find_field(cells, settings->list[i].field)] =
                checked_strdup(settings->list[i].value);
    }
    for (int a = 0; a < section->num_axes; a++)
        cell.values[find_field(cells, section->axes[a].field)] =
            checked_strdup(section->axes[a].values[indices[a]]);
    cells->list =
        checked_realloc(cells->list, (unsigned long)(cells->count + 1) * sizeof *cells->list);
    cells->list[cells->count++] = cell;
}

/// A combination after each of its stages, and on each of its evaluations.
static void add_cells(SweepCells *cells, const SweepSection *section, int variant,
                      const int *indices) {
    const int stages = section->train.count, evaluations = section->evaluations.count;
    for (int s = section->each_stage ? 1 : stages; s <= stages; s++)
        for (int e = evaluations ? 0 : -1; e < evaluations; e++)
            add_cell(cells, section, variant, indices, s, e);
}

static int64_t count_evaluations(const SweepSection *section) {
    int64_t evaluations = section->evaluations.count ? section->evaluations.count : 1;
    return section->each_stage ? evaluations * section->train.count : evaluations;
}

static bool combine(SweepCells *cells, const SweepSection *section, Error *error) {
    int64_t variants = section->num_variants ? section->num_variants : 1,
            combinations = count_combinations(section);
    if (variants * combinations * count_evaluations(section) > MOST_CELLS)
        return error_set(error, "%s: the sweep has more than %d cells", section->path, MOST_CELLS);
    int *indices = checked_calloc((unsigned long)section->num_axes + 1, sizeof *indices);
    for (int64_t n = 0; n < variants * combinations; n++) {
        find_combination(section, n % combinations, indices);
        add_cells(cells, section, (int)(n / combinations), indices);
    }
    free(indices);
    return true;
}

/// Stages and evaluations are told apart by the names of their files.
static bool check_files(const SweepSection *section, const char *key, const StringList *files,
                        Error *error) {
    bool ok = true;
    for (int i = 0; ok && i < files->count; i++)
        for (int j = 0; ok && j < i; j++) {
            char *a = sweep_bare_name(files->values[i]), *b = sweep_bare_name(files->values[j]);
            ok = strcmp(a, b) != 0 ||
                 error_set(error, "%s: sweep.%s has two files that are called %s; rename one",
                           section->path, key, a);
            free(a);
            free(b);
        }
    return ok;
}

static bool refuse_checkpoint(ConfigPlace place, const char *who, Error *error) {
    return config_refuse_at(place, error,
                            "%s sets eval.checkpoint, which has no stages; leave out "
                            "sweep.each_stage, or that",
                            who);
}

static bool check_stages(const SweepSection *section, Error *error) {
    const int checkpoint = config_find_key("eval.checkpoint");
    if (!section->each_stage) return true;
    if (!section->train.count)
        return config_refuse_at(section->each_stage_place, error,
                                "sweep.each_stage needs stages, and sweep.train names none");
    for (int a = 0; a < section->num_axes; a++)
        if (section->axes[a].field == checkpoint)
            return refuse_checkpoint(section->axes[a].place, "the sweep", error);
    for (int v = 0; v < section->num_variants; v++) {
        const SweepVariant *variant = &section->variants[v];
        for (int i = 0; i < variant->settings.count; i++) {
            if (variant->settings.list[i].field != checkpoint) continue;
            char *who = format_string("variant '%s'", variant->name);
            refuse_checkpoint(variant->settings.list[i].place, who, error);
            free(who);
            return false;
        }
    }
    return check_files(section, "train", &section->train, error);
}

/// Where they are not told apart, the values are not either.
static bool check_names(const SweepCells *cells, const SweepSection *section, Error *error) {
    for (int i = 0; i < cells->count; i++)
        for (int j = 0; j < i; j++)
            if (!strcmp(cells->list[i].name, cells->list[j].name))
                return error_set(error,
                                 "%s: two cells are called '%s': lines of 'zip' are to differ in "
                                 "their first key",
                                 section->path, cells->list[i].name);
    return true;
}

// ---- what the sweep is read by

/// Names by which tables are called: of the evaluations, or else of all tasks. Those of evaluations
/// are to be freed.
static int table_names(const SweepSection *section, const char **names) {
    int count = 0;
    for (int e = 0; e < section->evaluations.count && count < MOST_TABLES; e++)
        names[count++] = sweep_bare_name(section->evaluations.values[e]);
    if (section->evaluations.count) return count;
    for (; TASKS[count] && count < MOST_TABLES; count++) names[count] = TASKS[count]->name;
    return count;
}

static bool check_headline(const SweepSection *section, const SweepFigure *headline,
                           const char *const *names, int count, Error *error) {
    for (int i = 0; i < count; i++)
        if (!strcmp(names[i], headline->evaluation)) return true;
    const int nearest = nearest_name(headline->evaluation, names, count);
    return config_refuse_at(headline->place, error, "sweep.headline: '%s' is no %s%s%s%s",
                            quote(headline->evaluation).text,
                            section->evaluations.count ? "evaluation of the sweep" : "task",
                            nearest >= 0 ? "; did you mean '" : "",
                            nearest >= 0 ? names[nearest] : "", nearest >= 0 ? "'?" : "");
}

static bool check_headlines(const SweepSection *section, Error *error) {
    const char *names[MOST_TABLES];
    const int count = table_names(section, names);
    bool ok = true;
    for (int h = 0; ok && h < section->num_headlines; h++)
        ok = check_headline(section, &section->headline[h], names, count, error);
    for (int i = 0; section->evaluations.count && i < count; i++) free((char *)names[i]);
    return ok;
}

// ---- what is compared with what

static const char *find_name(const SweepCells *cells, const char *name) {
    for (int i = 0; i < cells->count; i++) {
        if (!strcmp(cells->list[i].line, name)) return cells->list[i].line;
        if (!strcmp(cells->list[i].name, name)) return cells->list[i].name;
    }
    return NULL;
}

/// A variant stands for the first line of it.
static const char *find_variant(const SweepSection *section, const SweepCells *cells,
                                const char *name) {
    for (int v = 0; v < section->num_variants; v++)
        if (!strcmp(section->variants[v].name, name))
            return cells->list[v * (cells->count / section->num_variants)].line;
    return NULL;
}

static bool find_base(SweepCells *cells, const SweepSection *section, Error *error) {
    cells->base = section->base ? find_name(cells, section->base) : cells->list[0].line;
    if (!cells->base) cells->base = find_variant(section, cells, section->base);
    return cells->base ||
           config_refuse_at(section->base_place, error,
                            "sweep.base: '%s' is no cell, line or variant; the first cell is '%s'",
                            quote(section->base).text, cells->list[0].name);
}

SweepCells *sweep_cells_make(const SweepSection *section, Error *error) {
    SweepCells *cells = checked_calloc(1, sizeof *cells);
    for (int v = 0; v < section->num_variants; v++)
        for (int i = 0; i < section->variants[v].settings.count; i++)
            add_field(cells, section->variants[v].settings.list[i].field);
    for (int a = 0; a < section->num_axes; a++) add_field(cells, section->axes[a].field);
    if (check_sources(section, error) && check_stages(section, error) &&
        check_files(section, "evaluations", &section->evaluations, error) &&
        check_headlines(section, error) && combine(cells, section, error) &&
        check_names(cells, section, error) && find_base(cells, section, error))
        return cells;
    error->is_configuration = true;
    sweep_cells_free(cells);
    return NULL;
}

void sweep_cells_free(SweepCells *cells) {
    if (!cells) return;
    for (int i = 0; i < cells->count; i++) {
        for (int f = 0; f < cells->num_fields; f++) free(cells->list[i].values[f]);
        free(cells->list[i].values);
        free(cells->list[i].name);
        free(cells->list[i].training_name);
        free(cells->list[i].line);
        free(cells->list[i].evaluation_name);
        free(cells->list[i].stage_name);
    }
    free(cells->list);
    free(cells->fields);
    free(cells);
}
