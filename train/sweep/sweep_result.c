#include "train/sweep/sweep_result.h"

#include "train/sweep/sweep_run.h"
#include "train/sweep_table/sweep_table.h"

#include <stdlib.h>
#include <string.h>

/// What every cell has of a key that it does not set: the configuration of one that does not. NULL
/// if there is none.
static char *base_value(const SweepJobs *jobs, int field) {
    const SweepCells *cells = jobs->cells;
    const ConfigField *key = &CONFIG_FIELDS[cells->fields[field]];
    for (int c = 0; c < cells->count; c++) {
        if (cells->list[c].values[field] || jobs->of_cell[c] < 0) continue;
        const SweepJob *job = &jobs->list[jobs->of_cell[c]];
        const bool is_ours =
            config_find_field(key->section, "output_dir") >= 0 && !strcmp(key->section, "training");
        return is_ours ? NULL : config_format_value(job->config, key);
    }
    return NULL;
}

static SweepCell cell_of(const SweepJobs *jobs, int c) {
    const SweepCombination *combination = &jobs->cells->list[c];
    const SweepJob *job = jobs->of_cell[c] < 0 ? NULL : &jobs->list[jobs->of_cell[c]];
    const char *failure = sweep_cell_failure(jobs, c);
    if (!failure && job && job->state != SWEEP_DONE) failure = "is not done yet";
    return (SweepCell){.name = combination->name,
                       .line = combination->line,
                       .evaluation = combination->evaluation_name,
                       .stage = combination->stage_name,
                       .values = (const char *const *)combination->values,
                       .folder = job ? job->product : NULL,
                       .failure = failure};
}

bool sweep_result_write(const SweepJobs *jobs, FILE *out, int *missing, Error *error) {
    const SweepCells *cells = jobs->cells;
    const unsigned long keys = (unsigned long)cells->num_fields + 1;
    char **names = checked_calloc(keys, sizeof *names), **base = checked_calloc(keys, sizeof *base);
    SweepCell *table = checked_calloc((unsigned long)cells->count, sizeof *table);
    for (int f = 0; f < cells->num_fields; f++) {
        const ConfigField *key = &CONFIG_FIELDS[cells->fields[f]];
        names[f] = format_string("%s.%s", key->section, key->name);
        base[f] = base_value(jobs, f);
    }
    for (int c = 0; c < cells->count; c++) table[c] = cell_of(jobs, c);
    const SweepSection *section = jobs->section;
    SweepHeadline *headline =
        checked_calloc((unsigned long)section->num_headlines + 1, sizeof *headline);
    for (int h = 0; h < section->num_headlines; h++)
        headline[h] = (SweepHeadline){section->headline[h].evaluation, section->headline[h].figure};
    const SweepTable contract = {.keys = (const char *const *)names,
                                 .base_values = (const char *const *)base,
                                 .num_keys = cells->num_fields,
                                 .cells = table,
                                 .num_cells = cells->count,
                                 .base = cells->base,
                                 .sort_by = section->sort_by,
                                 .headline = headline,
                                 .num_headlines = section->num_headlines};
    bool ok = sweep_table_write(&contract, section->output_dir, out, error);
    *missing = 0;
    for (int c = 0; c < cells->count; c++) *missing += table[c].failure != NULL;
    for (int f = 0; f < cells->num_fields; f++) {
        free(names[f]);
        free(base[f]);
    }
    free(headline);
    free(table);
    free(names);
    free(base);
    return ok;
}
