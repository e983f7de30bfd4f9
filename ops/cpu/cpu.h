/// Inside the CPU kernels only. Each file in this folder (but open.c and onednn.c) and
/// products/float32_blocks.c is compiled once per x86-64 level, what else is in products/ and
/// convolution/ once, and each file in amx/ (but tiles.c and tiles_plain.c) for both kinds of
/// tiles; its one public function fills its part of the table under a name of its own for each
/// level (amx/product.c has an OwnProduct in its place, amx/convolution.c an OwnConvolution,
/// float32_blocks.c two functions that float32_product.c calls).
#pragma once
#include "ops/kernels.h"

#define LEVEL_NAME_(name, level) name##_##level
#define LEVEL_NAME__(name, level) LEVEL_NAME_(name, level)
/// name_v2, name_v3, name_v4 or name_generic.
#define LEVEL_NAME(name) LEVEL_NAME__(name, CPU_LEVEL)

/// Declares fill_<family> of a level.
#define DECLARE_FAMILY_(family, level) void fill_##family##_##level(Kernels *table);
#define DECLARE_FAMILY(family, level) DECLARE_FAMILY_(family, level)
#ifdef CPU_LEVEL
KERNEL_FAMILIES(DECLARE_FAMILY, CPU_LEVEL)
#endif

/// The end of each file: a family's kernels are the functions of their names.
#define FILL_FAMILY(family) \
    void LEVEL_NAME(fill_##family)(Kernels * table) { TAKE_KERNELS(family) }
