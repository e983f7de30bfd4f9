#include "train/sweep_table/sweep_chart_groups.h"

#include "autograd/text/byte_buffer.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static const char *setting(const TableContent *content, const TableLine *line, int key) {
    const char *const *base = content->table->base_values;
    return line->values[key] || !base ? line->values[key] : base[key];
}

static bool is_list_of_maps(const char *key) {
    return !strcmp(key, "eval.layers") || !strcmp(key, "eval.heads");
}

static bool number_of(const TableContent *content, const TableLine *line, int key, double *number) {
    const char *text = setting(content, line, key);
    if (!text) return false;
    bool is_list = is_list_of_maps(content->table->keys[key]);
    if (is_list && *text++ != '[') return false;
    char *end;
    *number = strtod(text, &end);
    if (end == text || !isfinite(*number)) return false;
    end += strspn(end, " ");
    return !strcmp(end, is_list ? "]" : "");
}

static bool is_one_of(int key, const int *keys, int num_keys) {
    for (int i = 0; i < num_keys; i++)
        if (keys[i] == key) return true;
    return false;
}

static bool share_the_rest(const TableContent *content, const TableLine *a, const TableLine *b,
                           const int *keys, int num_keys) {
    for (int k = 0; k < content->table->num_keys; k++)
        if (!content->is_seed[k] && !is_one_of(k, keys, num_keys) &&
            !table_same_value(setting(content, a, k), setting(content, b, k)))
            return false;
    return true;
}

/// The first at a place stays.
static void add_point(ChartGroup *group, ChartPoint point) {
    for (int i = 0; i < group->count; i++)
        if (group->points[i].at[0] == point.at[0] && group->points[i].at[1] == point.at[1]) return;
    group->points =
        checked_realloc(group->points, (size_t)(group->count + 1) * sizeof *group->points);
    group->points[group->count++] = point;
}

static void add_line(const TableContent *content, ChartGroups *groups, ChartPoint point,
                     const int *keys, int num_keys) {
    ChartGroup *found = NULL;
    for (int g = 0; g < groups->count && !found; g++)
        if (share_the_rest(content, groups->items[g].points[0].line, point.line, keys, num_keys))
            found = &groups->items[g];
    if (!found) {
        groups->items =
            checked_realloc(groups->items, (size_t)(groups->count + 1) * sizeof *groups->items);
        found = &groups->items[groups->count++];
        *found = (ChartGroup){0};
    }
    add_point(found, point);
}

static int by_place(const void *one, const void *other) {
    const ChartPoint *a = one, *b = other;
    int key = a->at[0] == b->at[0];
    return a->at[key] < b->at[key] ? -1 : a->at[key] > b->at[key];
}

static bool has_two_values(const ChartGroup *group, int num_keys) {
    for (int k = 0; k < num_keys; k++) {
        bool differ = false;
        for (int i = 1; i < group->count; i++)
            differ |= group->points[i].at[k] != group->points[0].at[k];
        if (!differ) return false;
    }
    return true;
}

static void free_group(ChartGroup *group) {
    free(group->label);
    free(group->points);
}

/// Settings that differ between the groups.
static char *label_of(const TableContent *content, const ChartGroups *groups, int group,
                      const int *keys, int num_keys) {
    ByteBuffer text = {0};
    const TableLine *line = groups->items[group].points[0].line;
    for (int k = 0; k < content->table->num_keys; k++) {
        bool differs = false;
        if (content->is_seed[k] || is_one_of(k, keys, num_keys)) continue;
        for (int g = 0; g < groups->count; g++)
            differs |= !table_same_value(setting(content, groups->items[g].points[0].line, k),
                                         setting(content, line, k));
        const char *value = setting(content, line, k);
        if (!differs || !value) continue;
        byte_buffer_print(&text, "%s%s: %s", text.size ? ", " : "", content->table->keys[k], value);
    }
    if (!text.size) byte_buffer_put_text(&text, groups->count > 1 ? "as configured" : "");
    return byte_buffer_take(&text);
}

ChartGroups chart_groups(const TableContent *content, const TableTask *task, const int *keys,
                         int num_keys) {
    ChartGroups groups = {0};
    for (int l = 0; l < task->num_lines; l++) {
        ChartPoint point = {.line = &task->lines[l]};
        bool has_numbers = true;
        for (int k = 0; k < num_keys && has_numbers; k++)
            has_numbers = number_of(content, point.line, keys[k], &point.at[k]);
        if (has_numbers) add_line(content, &groups, point, keys, num_keys);
    }
    int kept = 0;
    for (int g = 0; g < groups.count; g++) {
        if (has_two_values(&groups.items[g], num_keys))
            groups.items[kept++] = groups.items[g];
        else
            free_group(&groups.items[g]);
    }
    groups.count = kept;
    for (int g = 0; g < kept; g++) {
        qsort(groups.items[g].points, (size_t)groups.items[g].count, sizeof(ChartPoint), by_place);
        groups.items[g].label = label_of(content, &groups, g, keys, num_keys);
    }
    return groups;
}

void chart_groups_free(ChartGroups *groups) {
    for (int g = 0; g < groups->count; g++) free_group(&groups->items[g]);
    free(groups->items);
    *groups = (ChartGroups){0};
}
