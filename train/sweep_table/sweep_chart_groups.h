/// Lines of a sweep that differ in one or two numeric keys only: the curves and maps of its charts.
#pragma once
#include "train/sweep_table/sweep_table_parts.h"

typedef struct ChartPoint {
    /// values of the keys
    double at[2];
    const TableLine *line;
} ChartPoint;

/// Lines that share all other settings, ascending in the first key, then in the second; no two at
/// the same place.
typedef struct ChartGroup {
    /// what tells the group from the others; "" where it is the only one
    char *label;
    ChartPoint *points;
    int count;
} ChartGroup;

typedef struct ChartGroups {
    ChartGroup *items;
    int count;
} ChartGroups;

/// keys: [num_keys], 1 or 2, indices of keys. Lines in whose settings a key is no number are left
/// out: of eval.layers and eval.heads, single ones are numbers. Where a line sets nothing the base
/// configuration's value counts. Groups are those in which every key has at least two values.
ChartGroups chart_groups(const TableContent *content, const TableTask *task, const int *keys,
                         int num_keys);
void chart_groups_free(ChartGroups *groups);
