/// Finds where a number that is not finite came from: for the one time that a loss is NaN, not for
/// every step.
#pragma once
#include "autograd/tensor.h"

/// From now on the results of every kernel of this device are looked at as they come, on the host:
/// slow. One device at a time.
void finite_check_begin(Device *device);

/// Back to normal. False if a result was not finite; then `what` says which kernel's was the first,
/// of which shape and beside which weight, and whether one of its inputs was not finite to begin
/// with.
bool finite_check_end(Device *device, char *what, size_t size);
