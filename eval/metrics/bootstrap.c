#include "eval/metrics/bootstrap.h"

#include "autograd/error.h"
#include "autograd/philox.h"
#include "autograd/random.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

const BootstrapOptions BOOTSTRAP_DEFAULTS = {.resamples = 1000, .level = 0.95, .seed = 0};

void bootstrap_times(uint64_t seed, int resample, int num_images, uint32_t *times) {
    const RandomStream stream = random_stream(seed, RANDOM_EVALUATION, (uint64_t)resample);
    const uint32_t count = (uint32_t)num_images;
    uint32_t bits[4];
    memset(times, 0, (size_t)num_images * sizeof *times);
    for (uint32_t i = 0; i < count; i++) {
        if (i % 2 == 0) philox4x32(stream.key, stream.index, i / 2, bits);
        // 64 random bits times n, of which the high word is even to n / 2^64.
        const uint64_t low = bits[i % 2 * 2], high = bits[i % 2 * 2 + 1];
        times[(high * count + (low * count >> 32)) >> 32]++;
    }
}

/// One figure, or the difference of two.
typedef struct Comparison {
    FigureFunction *figures[2];
    const void *contexts[2];
} Comparison;

static double value_of(const Comparison *comparison, const uint32_t *times) {
    double value = comparison->figures[0](comparison->contexts[0], times);
    if (comparison->figures[1]) value -= comparison->figures[1](comparison->contexts[1], times);
    return value;
}

static int by_value(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return x < y ? -1 : x > y;
}

static double percentile(const double *sorted, int count, double share) {
    const double place = share * (count - 1);
    const int below = (int)place, above = below + 1 < count ? below + 1 : below;
    return sorted[below] + (sorted[above] - sorted[below]) * (place - below);
}

static Interval interval_of(const Comparison *comparison, int num_images,
                            const BootstrapOptions *options) {
    CHECK(num_images > 0 && options->resamples > 0, "%d resamples of %d images", options->resamples,
          num_images);
    double *values = checked_malloc((size_t)options->resamples * sizeof *values);
#pragma omp parallel
    {
        uint32_t *times = checked_malloc((size_t)num_images * sizeof *times);
#pragma omp for schedule(dynamic)
        for (int i = 0; i < options->resamples; i++) {
            bootstrap_times(options->seed, i, num_images, times);
            values[i] = value_of(comparison, times);
        }
        free(times);
    }
    int count = 0;
    for (int i = 0; i < options->resamples; i++)
        if (!isnan(values[i])) values[count++] = values[i];
    Interval interval = {value_of(comparison, NULL), NAN, NAN, count};
    if (count > 1) {
        qsort(values, (size_t)count, sizeof *values, by_value);
        interval.low = percentile(values, count, (1 - options->level) / 2);
        interval.high = percentile(values, count, (1 + options->level) / 2);
    }
    free(values);
    return interval;
}

Interval bootstrap_interval(FigureFunction *figure, const void *context, int num_images,
                            const BootstrapOptions *options) {
    return interval_of(&(Comparison){{figure}, {context}}, num_images, options);
}

Interval bootstrap_difference(FigureFunction *figure_a, const void *context_a,
                              FigureFunction *figure_b, const void *context_b, int num_images,
                              const BootstrapOptions *options) {
    return interval_of(&(Comparison){{figure_a, figure_b}, {context_a, context_b}}, num_images,
                       options);
}
