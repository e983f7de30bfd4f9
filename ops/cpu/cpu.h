/// Inside the CPU kernels only. Each file in this folder (but open.c, onednn.c, bfloat16_product.c and convolution_product.c) is compiled once
/// per x86-64 level; its one public function fills its part of the table under a name of its own for each level.
#pragma once
#include "ops/kernels.h"

#define LEVEL_NAME_(name, level) name##_##level
#define LEVEL_NAME__(name, level) LEVEL_NAME_(name, level)
/// name_v2, name_v3, name_v4 or name_generic.
#define LEVEL_NAME(name) LEVEL_NAME__(name, CPU_LEVEL)

/// The families: one file each, `void LEVEL_NAME(fill_<family>)(Kernels *table)`.
#define CPU_FAMILIES(F) \
    F(linear)           \
    F(conv2d)           \
    F(norm)             \
    F(attention) F(rope) F(activation) F(elementwise) F(random) F(shape) F(loss) F(optimizer)

#define DECLARE_FAMILY(family) void LEVEL_NAME(fill_##family)(Kernels * table);
#ifdef CPU_LEVEL
CPU_FAMILIES(DECLARE_FAMILY)
#endif
