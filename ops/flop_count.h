/// How many floating-point operations a device does: those of products, convolutions and attention,
/// two for each multiply-add, forward and backward, recomputation included.
#pragma once
#include "autograd/tensor.h"

/// Counts from now on, from zero, what this device does and no other.
void flop_count_begin(Device *device);
/// Operations since then.
double flop_count(void);

/// Operations per second that the device reaches in large square products of this type: what a
/// step's rate is a share of. Takes a fraction of a second, and begins a new measurement of
/// bytes_peak.
double flop_rate_of_products(Device *device, DType dtype);
