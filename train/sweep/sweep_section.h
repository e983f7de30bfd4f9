/// The section `sweep` of a configuration: which keys are varied, and what becomes of it. All other
/// sections of the file are an ordinary configuration, that of every cell but for what the sweep
/// sets.
///
///   sweep:
///     output_dir: runs/my-sweep
///     variants: {as_trained: {}, without_captioner: {model.implicit_captioner: false}}
///     grid: {eval.layers: [[0], [1], [0, 1]], eval.aggregate: [mean, max]}
///     zip: {training.seed: [1, 2], eval.seed: [1, 2]}
///
/// The cells are all combinations of a variant, a value of every key of `grid`, a line of `zip`,
/// whose lists go together, and, where they are given, one of `evaluations` and a stage of `train`.
#pragma once
#include "train/config/config_schema.h"

/// A key set to a value.
typedef struct SweepSetting {
    /// index into CONFIG_FIELDS
    int field;
    /// as YAML, as config_format_value() writes it
    char *value;
    ConfigPlace place;
} SweepSetting;

typedef struct SweepSettings {
    SweepSetting *list;
    int count;
} SweepSettings;

/// A key and the values that it takes.
typedef struct SweepAxis {
    int field;
    /// as YAML
    char **values;
    int count;
    /// It goes together with the others that are so.
    bool is_zipped;
    ConfigPlace place;
} SweepAxis;

typedef struct SweepVariant {
    char *name;
    SweepSettings settings;
    ConfigPlace place;
} SweepVariant;

/// A figure of an evaluation.
typedef struct SweepFigure {
    char *evaluation, *figure;
    ConfigPlace place;
} SweepFigure;

typedef struct SweepSection {
    /// of the file
    char *path;
    char *output_dir;
    /// a cell, or a variant; NULL: the first one
    char *base;
    /// a figure; NULL: cells as they come
    char *sort_by;
    ConfigPlace base_place;
    /// what stands in the table over all evaluations
    SweepFigure *headline;
    int num_headlines;
    /// configurations of training stages, in their order
    StringList train;
    /// configurations whose section `eval` says what each cell is evaluated on, one after the
    /// other; empty: the file's own
    StringList evaluations;
    /// Cells are evaluated after every stage, not only after the last.
    bool each_stage;
    ConfigPlace each_stage_place;
    /// words in front of a cell's command
    StringList launch;
    /// of every cell
    SweepSettings settings;
    /// fields that cells set in their evaluation, not in their training
    IntList evaluation_only;
    /// those of `grid`, then those of `zip`
    SweepAxis *axes;
    int num_axes;
    SweepVariant *variants;
    int num_variants;
} SweepSection;

/// A key of the section, for its reader and its documentation.
typedef struct SweepKey {
    const char *name, *doc, *example;
} SweepKey;
/// Ends with a row of NULL.
extern const SweepKey SWEEP_KEYS[];

/// Reads the section and checks every value in it against the schema. `settings`: those of the
/// command line, of which sweep.output_dir, sweep.base and sweep.sort_by belong here. NULL on
/// failure; the caller frees it with sweep_section_free().
SweepSection *sweep_section_read(const char *path, const char *const *settings, int num_settings,
                                 Error *error);
void sweep_section_free(SweepSection *section);

/// Prints what the section may hold.
void sweep_section_document(FILE *out);

/// Checkpoints that a pattern (with *, ? or [) names: training checkpoints and folders that hold
/// some, by their numbers. A value without a pattern is its own only one. False if there are none.
bool sweep_find_checkpoints(const char *pattern, ConfigPlace place, StringList *found,
                            Error *error);
void sweep_strings_free(StringList *strings);
void sweep_strings_add(StringList *strings, const char *text);
