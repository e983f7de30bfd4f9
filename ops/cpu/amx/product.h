/// Inside the CPU kernels: products of BFLOAT16 matrices in Intel's tiles, each element read where
/// it is stored and packed once.
///
/// All of a linear layer's: y = x W^T, grad_x = grad_y W and grad_W += grad_y^T x, from eight rows
/// and columns on. The order of an element's sum depends on k alone: products of even and of odd k
/// are added in runs of 32, the runs in their order; neither m and n nor the number of threads
/// matter, nor which of the two levels it is.
#pragma once
#include "ops/cpu/products/product.h"

extern const OwnProduct own_product_amx, own_product_amx_plain;
