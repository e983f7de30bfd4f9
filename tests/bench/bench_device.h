/// The device of a measurement.
#pragma once
#include "ops/kernels.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/// "cpu" (with that many threads, 0: all) or "cuda"; stops the program where there is none.
static inline Device *bench_device(const char *name, int threads) {
    Error error = {0};
    Device *device = NULL;
#ifndef DIFFLMM_TEST_WITHOUT_CPU
    if (!strcmp(name, "cpu")) device = ops_cpu_open(threads);
#endif
    if (!strcmp(name, "cuda")) device = ops_cuda_open(0, &error);
    if (device) return device;
    fprintf(stderr, "device %s: %s\n", name,
            *error.message ? error.message : "there is none of that name");
    exit(1);
}
