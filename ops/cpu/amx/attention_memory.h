/// Inside the CPU kernels, and for plan: working memory of attention.
#pragma once
#include "ops/types.h"

/// Floats that a thread takes for attention of BFLOAT16, or for its gradient, where the level in
/// use has kernels in tiles for it; otherwise 0.
int64_t attention_tile_floats(const Attention *shape, bool gradient);
