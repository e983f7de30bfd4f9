// Chooses the kernels for the processor at hand, once.
#include "ops/cpu/amx/attention_memory.h"
#include "ops/cpu/amx/convolution.h"
#include "ops/cpu/amx/product.h"
#include "ops/cpu/amx/tiles.h"
#include "ops/cpu/convolution/product.h"
#include "ops/cpu/cpu.h"
#include "ops/cpu/products/bfloat16_product.h"

#include <omp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static Kernels table;
static const OwnProduct *product;
/// of attention in tiles and of its gradient, or NULL
static int64_t (*attention_floats[2])(const Attention *shape);
static const OwnConvolution *convolution;

#define FILL_OF_LEVEL(family, level) fill_##family##_##level(to);

/// Declares what fills the parts of a table for a level, and defines what fills all of it.
#define LEVEL(level)                                      \
    KERNEL_FAMILIES(DECLARE_FAMILY, level)                \
    static void fill_##level(Kernels *to) {               \
        KERNEL_FAMILIES(FILL_OF_LEVEL, level)             \
        to->name = "cpu " #level;                         \
        product = &bfloat16_product;                      \
        attention_floats[0] = attention_floats[1] = NULL; \
        convolution = &convolution_product;               \
    }

#ifdef __x86_64__
LEVEL(v2)
LEVEL(v3)
LEVEL(v4)

KERNEL_FAMILIES(DECLARE_FAMILY, v4_bf16) // those of attention and of few rows are there

static void fill_v4_bf16(Kernels *to) {
    fill_v4(to);
    fill_few_rows_v4_bf16(to);
    fill_attention_v4_bf16(to);
    fill_attention_rows_v4_bf16(to);
    fill_attention_gradient_v4_bf16(to);
    to->name = "cpu v4_bf16";
}

/// What tiles do better; the rest, few rows among it, is bound by memory or has no products.
#define AMX_LEVEL(level)                                               \
    KERNEL_FAMILIES(DECLARE_FAMILY, level)                             \
    int64_t attention_floats_##level(const Attention *shape);          \
    int64_t attention_gradient_floats_##level(const Attention *shape); \
    static void fill_##level(Kernels *to) {                            \
        fill_v4_bf16(to);                                              \
        fill_attention_##level(to);                                    \
        fill_attention_gradient_##level(to);                           \
        attention_floats[0] = attention_floats_##level;                \
        attention_floats[1] = attention_gradient_floats_##level;       \
        to->name = "cpu " #level;                                      \
        product = &own_product_##level;                                \
        convolution = &own_convolution_##level;                        \
    }

AMX_LEVEL(amx)
AMX_LEVEL(amx_plain)

static bool has_v4(void) {
    return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
           __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq") &&
           __builtin_cpu_supports("avx512cd");
}

static bool has_v2(void) { return true; }

static bool has_v3(void) {
    return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") &&
           __builtin_cpu_supports("bmi2");
}

static bool has_v4_bf16(void) { return has_v4() && onednn_has_bfloat16(); }
static bool has_amx(void) { return has_v4_bf16() && amx_is_available(); }

/// From the best.
static const struct {
    const char *name;
    bool (*is_there)(void);
    void (*fill)(Kernels *table);
    /// not taken by itself
    bool by_name_only;
} LEVELS[] = {
    {"amx", has_amx, fill_amx, false},
    {"amx_plain", has_v4_bf16, fill_amx_plain, true},
    {"v4_bf16", has_v4_bf16, fill_v4_bf16, false},
    {"v4", has_v4, fill_v4, false},
    {"v3", has_v3, fill_v3, false},
    {"v2", has_v2, fill_v2, false},
};

/// Fills the table for the level of that name, or for the processor's best (NULL).
static bool fill(const char *level, Kernels *to) {
    for (size_t i = 0; i < sizeof LEVELS / sizeof *LEVELS; i++) {
        if (level ? strcmp(level, LEVELS[i].name) != 0 : LEVELS[i].by_name_only) continue;
        if (!LEVELS[i].is_there()) continue;
        LEVELS[i].fill(to);
        return true;
    }
    return false;
}
#else
LEVEL(generic)

static bool fill(const char *level, Kernels *to) {
    if (level && strcmp(level, "generic") != 0) return false;
    fill_generic(to);
    return true;
}
#endif

static void accumulate(const Tensor *x, Tensor *sum) { table.add(sum, x, sum); }

bool ops_cpu_use_level(const char *level) {
    Kernels chosen = {0};
    if (!fill(level, &chosen)) return false;
    onednn_limit_level(level);
    table = chosen;
    return true;
}

static void choose_level(void) {
    if (table.name) return;
    const char *level = getenv("DIFFLMM_CPU_LEVEL");
    if (level && !ops_cpu_use_level(level))
        fprintf(stderr,
                "DIFFLMM_CPU_LEVEL: no kernels of level '%s' for this processor; its best are "
                "used\n",
                level);
    if (!table.name) fill(NULL, &table);
}

const OwnProduct *own_product(void) {
    choose_level();
    return product;
}

int64_t attention_tile_floats(const Attention *shape, bool gradient) {
    choose_level();
    return attention_floats[gradient] ? attention_floats[gradient](shape) : 0;
}

const OwnConvolution *own_convolution(void) {
    choose_level();
    return convolution;
}

Device *ops_cpu_open(int threads) {
    Device *device = device_cpu();
    omp_set_dynamic(0);
    omp_set_num_threads(threads > 0 ? threads : omp_get_num_procs());
    choose_level();
    device->kernels = &table;
    device->accumulate = accumulate;
    device->release_prepared = onednn_release_prepared;
    return device;
}
