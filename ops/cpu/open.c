// Chooses the kernels for the processor at hand, once.
#include "ops/cpu/cpu.h"
#include "ops/cpu/onednn.h"

#include <omp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define FILL_OF_LEVEL(family, level) fill_##family##_##level(table);

/// Declares what fills the parts of a table for a level, and defines what fills all of it.
#define LEVEL(level)                           \
    KERNEL_FAMILIES(DECLARE_FAMILY, level)     \
    static void fill_##level(Kernels *table) { \
        KERNEL_FAMILIES(FILL_OF_LEVEL, level)  \
        table->name = "cpu " #level;           \
    }

#ifdef __x86_64__
LEVEL(v2)
LEVEL(v3)
LEVEL(v4)

KERNEL_FAMILIES(DECLARE_FAMILY, v4_bf16) // those of attention and of few rows are there

static void fill_v4_bf16(Kernels *table) {
    fill_v4(table);
    fill_few_rows_v4_bf16(table);
    fill_attention_v4_bf16(table);
    fill_attention_rows_v4_bf16(table);
    fill_attention_gradient_v4_bf16(table);
    table->name = "cpu v4_bf16";
}

static bool has_v4(void) {
    return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
           __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq") &&
           __builtin_cpu_supports("avx512cd");
}

static bool has_v3(void) {
    return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") &&
           __builtin_cpu_supports("bmi2");
}

/// Whether v4_bf16 is meant: by name wherever it runs, otherwise only where it was measured, on
/// processors without tiles.
static bool takes_pairs(const char *level) {
    if (level) return !strcmp(level, "v4_bf16") && has_v4() && onednn_has_bfloat16();
    return has_v4() && onednn_has_bfloat16() && !onednn_has_tiles();
}

/// Fills the table for the level of that name, or for the processor's best (NULL).
static bool fill(const char *level, Kernels *table) {
    if (takes_pairs(level)) {
        fill_v4_bf16(table);
    } else if (!level && has_v4() && onednn_has_bfloat16()) {
        fill_v4(table);
        fill_few_rows_v4_bf16(table); // bound by memory, with tiles and without
    } else if ((!level || !strcmp(level, "v4")) && has_v4()) {
        fill_v4(table);
    } else if ((!level || !strcmp(level, "v3")) && has_v3()) {
        fill_v3(table);
    } else if (!level || !strcmp(level, "v2")) {
        fill_v2(table);
    } else {
        return false;
    }
    return true;
}
#else
LEVEL(generic)

static bool fill(const char *level, Kernels *table) {
    if (level && strcmp(level, "generic") != 0) return false;
    fill_generic(table);
    return true;
}
#endif

static Kernels table;

static void accumulate(const Tensor *x, Tensor *sum) { table.add(sum, x, sum); }

bool ops_cpu_use_level(const char *level) {
    Kernels chosen = {0};
    if (!fill(level, &chosen)) return false;
    onednn_limit_level(level);
    table = chosen;
    return true;
}

Device *ops_cpu_open(int threads) {
    Device *device = device_cpu();
    omp_set_dynamic(0);
    omp_set_num_threads(threads > 0 ? threads : omp_get_num_procs());
    if (!table.name) {
        const char *level = getenv("DIFFLMM_CPU_LEVEL");
        if (level && !ops_cpu_use_level(level))
            fprintf(stderr,
                    "DIFFLMM_CPU_LEVEL: no kernels of level '%s' for this processor; its best are "
                    "used\n",
                    level);
        if (!table.name) fill(NULL, &table);
    }
    device->kernels = &table;
    device->accumulate = accumulate;
    device->release_prepared = onednn_release_prepared;
    return device;
}
