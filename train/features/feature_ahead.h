/// Features of images that are read before they are needed, by the threads that make batches ready,
/// so that a step does not wait for a disk. No more than FEATURE_AHEAD_BYTES wait; what does not
/// fit, and what was not expected, is read when it is taken.
#pragma once
#include "train/features/feature_file.h"

enum { FEATURE_AHEAD_BYTES = 256 << 20 };

typedef struct FeatureAhead FeatureAhead;

FeatureAhead *feature_ahead_new(const FeatureShape *shape);
/// Nothing may be under way. NULL is allowed.
void feature_ahead_free(FeatureAhead *ahead);

/// An image, by a number of the caller's, that will be taken once: reads its features now, unless
/// they wait already. `place` is its own in the file.
void feature_ahead_expect(FeatureAhead *ahead, int32_t image, const FeatureFile *file, int place);
/// Its features, feature_clip_bytes() and behind them feature_moments_bytes() of them; the caller
/// frees them. NULL where they cannot be read.
char *feature_ahead_take(FeatureAhead *ahead, int32_t image, const FeatureFile *file, int place,
                         Error *error);
