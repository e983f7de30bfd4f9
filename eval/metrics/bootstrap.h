/// Intervals for figures of an evaluation, by resampling its images with replacement [Efron and
/// Tibshirani 1993, "An introduction to the bootstrap", chapters 13 and 16].
///
/// Images are the units: what was measured in one image stays together. A resample is how often
/// each image counts, and depends on the seed, its own number and the number of images alone; so
/// two systems that answered about the same images are compared on the same resamples, and
/// differences that all images share do not widen the interval of their difference.
#pragma once
#include <stdbool.h>
#include <stdint.h>

/// A figure of all images, image i counted times[i] times (NULL: once each); NaN where nothing is
/// there to measure. Called by several threads at once.
typedef double FigureFunction(const void *context, const uint32_t *times);

typedef struct BootstrapOptions {
    /// a thousand is usual
    int resamples;
    /// share of the resamples that lies between the ends: 0.95
    double level;
    uint64_t seed;
} BootstrapOptions;

extern const BootstrapOptions BOOTSTRAP_DEFAULTS;

typedef struct Interval {
    /// of the images as they are; NaN where nothing is there to measure
    double estimate;
    /// percentiles of the resamples, interpolated linearly as numpy does
    double low, high;
    /// resamples that had the figure; with fewer than two there is no interval, and both ends are
    /// NaN
    int resamples;
} Interval;

/// How often each of num_images images counts in a resample; the sum is num_images.
void bootstrap_times(uint64_t seed, int resample, int num_images, uint32_t *times);

/// The percentile interval of one figure.
Interval bootstrap_interval(FigureFunction *figure, const void *context, int num_images,
                            const BootstrapOptions *options);

/// The percentile interval of figure a minus figure b over the same images: zero outside of it
/// tells the two apart at that level.
Interval bootstrap_difference(FigureFunction *figure_a, const void *context_a,
                              FigureFunction *figure_b, const void *context_b, int num_images,
                              const BootstrapOptions *options);
