/// The figures of an evaluation, each as a function of how often every unit (an image) counts: so
/// that intervals and paired differences can be computed for any of them
/// (eval/metrics/bootstrap.h).
#pragma once
#include "autograd/error.h"
#include "eval/metrics/bootstrap.h"

#include <jansson.h>

typedef struct Figure {
    /// "ap50"
    char *name;
    FigureFunction *function;
    /// owned by nobody here: see figures_own()
    const void *context;
} Figure;

typedef struct Figures {
    int num_units;
    /// [num_units] what unit i is, as in "image_id"; owned
    char **units;
    Figure *items;
    int count;
    /// what lives as long as the figures
    struct FigureMemory {
        void *memory;
        void (*release)(void *memory);
    } * owned;
    int num_owned;
    /// plain numbers and remarks that have no interval: an object
    json_t *remarks;
} Figures;

/// Begins without figures; units are to be named with figures_name_unit().
void figures_begin(Figures *figures, int num_units);
void figures_name_unit(Figures *figures, int unit, const char *name);
/// The context must live as long as the figures.
void figures_add(Figures *figures, const char *name, FigureFunction *function, const void *context);
/// Hands memory over, to be released with the figures.
void figures_own(Figures *figures, void *memory, void (*release)(void *memory));
/// Adds a figure that is a sum over a sum, NaN where nothing counts: returns [num_units][2],
/// numerator and denominator of every unit, zeros, to be filled by the caller.
double (*figures_add_ratio(Figures *figures, const char *name))[2];
void figures_remark(Figures *figures, const char *name, double value);
void figures_free(Figures *figures);

/// A value that is not a number is null. {"<figure>": value, ..., "<remark>": ..., "intervals":
/// {"<figure>": [low, high]}}, 95% by a bootstrap over units with that seed. The caller has the
/// reference.
json_t *figures_describe(const Figures *figures, uint64_t seed);
/// {"<figure>": {"a": ., "b": ., "difference": b - a, "interval": [low, high]}} of figures that
/// both have, with the same resamples of the same units; fails where the units differ.
json_t *figures_compare(const Figures *a, const Figures *b, uint64_t seed, Error *error);
/// The mean of a figure over `count` >= 1 evaluations of the same units (those of several seeds),
/// every resample being the same for all of them. False where one of them lacks the figure, or the
/// units differ.
bool figures_mean(const Figures *const *of, int count, const char *name, uint64_t seed,
                  Interval *mean, Error *error);
/// The mean of the differences b[i] - a[i] of a figure over `count` >= 1 pairs, likewise.
bool figures_mean_difference(const Figures *const *a, const Figures *const *b, int count,
                             const char *name, uint64_t seed, Interval *difference, Error *error);
