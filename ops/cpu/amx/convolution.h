/// Inside the CPU kernels: convolutions in Intel's tiles, with neither a matrix of columns in
/// memory nor a packed filter.
///
/// Any kernel, stride and padding. The order of an element's sum depends on the filter's shape and
/// the stride alone: neither on the image nor the number of threads, nor on which of the two levels
/// it is.
#pragma once
#include "ops/cpu/convolution/convolution.h"

extern const OwnConvolution own_convolution_amx, own_convolution_amx_plain;
