/// Inside of the section's reader: values of configuration keys.
#pragma once
#include "train/config/yaml_reader.h"
#include "train/sweep/sweep_section.h"

typedef struct SweepReader {
    YamlReader yaml;
    SweepSection *section;
    /// where values are read
    Config *scratch;
    Error *error;
} SweepReader;

/// "WHAT is no EXPECTED", where the reader is. Returns false.
bool sweep_refuse_shape(const SweepReader *reader, const char *what, const char *expected);

/// Read the value whose first event the reader is at: keys and their values, `grid` or `zip`,
/// `variants`.
bool sweep_read_settings(SweepReader *reader, const char *what, SweepSettings *settings);
bool sweep_read_axes(SweepReader *reader, const char *what, bool is_zipped);
bool sweep_read_variants(SweepReader *reader);
/// A list of names of keys.
bool sweep_read_keys(SweepReader *reader, const char *what, IntList *fields);
