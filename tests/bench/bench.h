/// What the measurements share: a device, and the time that a call takes on it.
#pragma once
#include "ops/kernels.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wunused-function"

/// "cpu" (with that many threads, 0: all) or "cuda"; stops the program where there is none.
static Device *bench_device(const char *name, int threads) {
    Error error = {0};
    Device *device = NULL;
#ifndef DIFFLMM_TEST_WITHOUT_CPU
    if (!strcmp(name, "cpu")) device = ops_cpu_open(threads);
#else
    (void)threads;
#endif
    if (!strcmp(name, "cuda")) device = ops_cuda_open(0, &error);
    if (device) return device;
    fprintf(stderr, "device %s: %s\n", name,
            *error.message ? error.message : "there is none of that name");
    exit(1);
}

/// seconds per measurement
static double bench_budget = 0.4;
static clockid_t bench_clock = CLOCK_MONOTONIC;

static double bench_now(void) {
    struct timespec t;
    clock_gettime(bench_clock, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static int bench_compare(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/// Sorts.
static double bench_median(double *times, int count) {
    qsort(times, (size_t)count, sizeof *times, bench_compare);
    return times[count / 2];
}

typedef void (*BenchCall)(void *context);

/// Seconds of `count` calls, until the device has done them.
static double bench_seconds(Device *device, BenchCall call, void *context, int count) {
    double begin = bench_now();
    for (int i = 0; i < count; i++) call(context);
    device->synchronize(device);
    return bench_now() - begin;
}

/// Median seconds of a call, after two that do not count. Short calls are timed by the group, so
/// that waiting for a device that works through a queue does not count either.
static double bench_measure(Device *device, BenchCall call, void *context) {
    enum { MOST = 2000 };
    static double times[MOST];
    int count = 0;
    bench_seconds(device, call, context, 1);
    double once = bench_seconds(device, call, context, 1);
    int group = device == device_cpu() || once > 5e-3 ? 1 : (int)(5e-3 / once) + 1;
    for (double start = bench_now();
         count < MOST && (count < 3 || bench_now() - start < bench_budget);)
        times[count++] = bench_seconds(device, call, context, group) / group;
    return bench_median(times, count);
}

#pragma GCC diagnostic pop
