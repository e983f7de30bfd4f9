#include "eval/metrics/figures.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

void figures_begin(Figures *figures, int num_units) {
    *figures = (Figures){.num_units = num_units,
                         .units = checked_calloc((size_t)num_units + 1, sizeof(char *)),
                         .remarks = json_object()};
}

void figures_name_unit(Figures *figures, int unit, const char *name) {
    free(figures->units[unit]);
    figures->units[unit] = format_string("%s", name);
}

void figures_add(Figures *figures, const char *name, FigureFunction *function,
                 const void *context) {
    figures->items =
        checked_realloc(figures->items, (size_t)(figures->count + 1) * sizeof *figures->items);
    figures->items[figures->count++] = (Figure){format_string("%s", name), function, context};
}

void figures_own(Figures *figures, void *memory, void (*release)(void *memory)) {
    figures->owned =
        checked_realloc(figures->owned, (size_t)(figures->num_owned + 1) * sizeof *figures->owned);
    figures->owned[figures->num_owned++] = (struct FigureMemory){memory, release};
}

typedef struct Ratio {
    int num_units;
    double (*parts)[2];
} Ratio;

static double ratio_of_sums(const void *context, const uint32_t *times) {
    const Ratio *ratio = context;
    double numerator = 0, denominator = 0;
    for (int i = 0; i < ratio->num_units; i++) {
        double weight = times ? times[i] : 1;
        numerator += weight * ratio->parts[i][0];
        denominator += weight * ratio->parts[i][1];
    }
    return denominator > 0 ? numerator / denominator : NAN;
}

static void free_ratio(void *context) {
    free(((Ratio *)context)->parts);
    free(context);
}

double (*figures_add_ratio(Figures *figures, const char *name))[2] {
    Ratio *ratio = checked_malloc(sizeof *ratio);
    *ratio = (Ratio){figures->num_units,
                     checked_calloc((size_t)figures->num_units + 1, sizeof *ratio->parts)};
    figures_add(figures, name, ratio_of_sums, ratio);
    figures_own(figures, ratio, free_ratio);
    return ratio->parts;
}

void figures_remark(Figures *figures, const char *name, double value) {
    json_object_set_new(figures->remarks, name,
                        value == (double)(json_int_t)value ? json_integer((json_int_t)value)
                                                           : json_real(value));
}

void figures_free(Figures *figures) {
    for (int i = 0; i < figures->num_units; i++) free(figures->units[i]);
    for (int i = 0; i < figures->count; i++) free(figures->items[i].name);
    for (int i = 0; i < figures->num_owned; i++)
        figures->owned[i].release(figures->owned[i].memory);
    free(figures->owned);
    free(figures->units);
    free(figures->items);
    json_decref(figures->remarks);
    *figures = (Figures){0};
}

static json_t *number(double value) { return isfinite(value) ? json_real(value) : json_null(); }

static json_t *ends(const Interval *interval) {
    return json_pack("[o, o]", number(interval->low), number(interval->high));
}

static BootstrapOptions bootstrap_of(uint64_t seed) {
    BootstrapOptions options = BOOTSTRAP_DEFAULTS;
    options.seed = seed;
    return options;
}

json_t *figures_describe(const Figures *figures, uint64_t seed) {
    json_t *described = json_object(), *intervals = json_object();
    BootstrapOptions options = bootstrap_of(seed);
    for (int i = 0; i < figures->count; i++) {
        const Figure *figure = &figures->items[i];
        Interval interval =
            bootstrap_interval(figure->function, figure->context, figures->num_units, &options);
        json_object_set_new(described, figure->name, number(interval.estimate));
        json_object_set_new(intervals, figure->name, ends(&interval));
    }
    json_object_update(described, figures->remarks);
    json_object_set_new(described, "intervals", intervals);
    return described;
}

static bool same_units(const Figures *a, const Figures *b, Error *error) {
    if (a->num_units != b->num_units)
        return error_set(error,
                         "the two evaluations are of %d and of %d images; a paired difference "
                         "needs the same",
                         a->num_units, b->num_units);
    for (int i = 0; i < a->num_units; i++)
        if (strcmp(a->units[i], b->units[i]) != 0)
            return error_set(error,
                             "image %d is '%s' in one evaluation and '%s' in the other; a paired "
                             "difference needs the same",
                             i + 1, a->units[i], b->units[i]);
    return true;
}

/// One figure of several evaluations.
typedef struct Mean {
    const Figure **items;
    int count;
} Mean;

static double mean_of(const void *context, const uint32_t *times) {
    const Mean *mean = context;
    double sum = 0;
    for (int i = 0; i < mean->count; i++)
        sum += mean->items[i]->function(mean->items[i]->context, times);
    return sum / mean->count;
}

static const Figure *find(const Figures *figures, const char *name) {
    for (int i = 0; i < figures->count; i++)
        if (!strcmp(figures->items[i].name, name)) return &figures->items[i];
    return NULL;
}

/// To be freed with free(mean->items), also on failure.
static bool gather(const Figures *const *of, int count, const char *name, const Figures *first,
                   Mean *mean, Error *error) {
    *mean = (Mean){checked_calloc((size_t)count, sizeof *mean->items), count};
    for (int i = 0; i < count; i++) {
        mean->items[i] = find(of[i], name);
        if (!mean->items[i]) return error_set(error, "an evaluation has no figure '%s'", name);
        if (!same_units(first, of[i], error)) return false;
    }
    return true;
}

bool figures_mean(const Figures *const *of, int count, const char *name, uint64_t seed,
                  Interval *mean, Error *error) {
    Mean gathered;
    BootstrapOptions options = bootstrap_of(seed);
    bool ok = gather(of, count, name, of[0], &gathered, error);
    if (ok) *mean = bootstrap_interval(mean_of, &gathered, of[0]->num_units, &options);
    free(gathered.items);
    return ok;
}

bool figures_mean_difference(const Figures *const *a, const Figures *const *b, int count,
                             const char *name, uint64_t seed, Interval *difference, Error *error) {
    Mean of_a, of_b = {0};
    BootstrapOptions options = bootstrap_of(seed);
    bool ok =
        gather(a, count, name, a[0], &of_a, error) && gather(b, count, name, a[0], &of_b, error);
    if (ok)
        *difference =
            bootstrap_difference(mean_of, &of_b, mean_of, &of_a, a[0]->num_units, &options);
    free(of_a.items);
    free(of_b.items);
    return ok;
}

json_t *figures_compare(const Figures *a, const Figures *b, uint64_t seed, Error *error) {
    if (!same_units(a, b, error)) return NULL;
    json_t *compared = json_object();
    for (int i = 0; i < a->count; i++) {
        const Figure *x = &a->items[i], *y = find(b, x->name);
        Interval interval;
        if (!y || !figures_mean_difference(&a, &b, 1, x->name, seed, &interval, error)) continue;
        json_object_set_new(compared, x->name,
                            json_pack("{s:o, s:o, s:o, s:o}", "a",
                                      number(x->function(x->context, NULL)), "b",
                                      number(y->function(y->context, NULL)), "difference",
                                      number(interval.estimate), "interval", ends(&interval)));
    }
    return compared;
}
