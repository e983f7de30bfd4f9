/// Inside ops/cpu/amx/convolution*.c only: the input gradient's part of OwnConvolution.
#pragma once
#include "ops/cpu/convolution/convolution.h"
#include "ops/cpu/cpu.h"

#define convolution_gradient_bytes LEVEL_NAME(tiles_convolution_gradient_bytes)
#define convolution_gradient LEVEL_NAME(tiles_convolution_gradient)

/// Of working memory on so many threads.
size_t convolution_gradient_bytes(const Convolution *shape, int threads);

/// OwnConvolution.input_gradient.
void convolution_gradient(const Convolution *shape, const uint16_t *grad_y, const uint16_t *weight,
                          uint16_t *grad_x, Device *device);
