/// Tells a loss or a gradient norm that is out of line with the recent ones.
///
///   z = (value - mean) / deviation
///
/// mean and deviation are those of the last `window` values, without the one that is judged: n
/// values x have mean = sum(x) / n and deviation = sqrt(sum((x - mean)^2) / (n - 1)), but at least
/// 0.001 |mean|, so that rounding in a loss that stands still is no event.
///
/// A falling loss raises no alarm, whatever its slope: where every new value is below those before,
/// z is negative. A straight fall brings the mean half a window behind, and the deviation grows
/// with the slope as well, so z is about -sqrt(3). What is lost on a steep slope is sensitivity:
/// only what stands out of the window's whole range is seen there. Fitting a line in place of the
/// mean would gain that, but put its extrapolation below a loss that levels off, and so alarm just
/// there.
///
/// Only values above the others are outliers: a loss that drops at once is news, but no harm.
#pragma once
#include "autograd/error.h"

#include <stdint.h>

/// The window of training; detectors with a shorter one are for small cases.
enum { DETECTOR_WINDOW = 128 };

/// What a checkpoint keeps, so that a resumed run judges as if it had never stopped.
typedef struct DetectorState {
    /// values in the window
    int64_t count;
    /// the last ones seen, that are not in it
    int64_t outliers_in_a_row;
    /// [count], the oldest first, all finite
    float values[DETECTOR_WINDOW];
} DetectorState;

/// Plain numbers: a copy is a detector of its own.
typedef struct OutlierDetector {
    int window;
    double threshold;
    DetectorState state;
} OutlierDetector;

/// A detector that has seen nothing. window: 4 to DETECTOR_WINDOW. Values with z > threshold (>
/// 0) stay out of the window, where they would hide the next ones; but half a window of them in a
/// row is the new level, and the window begins anew there. INFINITY: all finite values are taken
/// in.
OutlierDetector detector_new(int window, double threshold);

/// The z-score of `value`, which then joins the window if it may. NAN, undecided, until the window
/// is half full; but INFINITY at once for a value that is not finite (as float32), which never
/// joins. (A value above a window of zeros has INFINITY as well.)
double detector_update(OutlierDetector *detector, double value);

DetectorState detector_state(const OutlierDetector *detector);
/// Goes on from a state; of one with a longer window the last values are taken. Fails, leaving the
/// detector as it was, if the state is none that detector_state() gives.
bool detector_restore(OutlierDetector *detector, const DetectorState *state, Error *error);
