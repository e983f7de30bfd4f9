/// Loaders in tests: what must not fail fails the test.
#pragma once
#include "data/loader/loader.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static inline Loader *create(LoaderOptions options) {
    Error error = {0};
    Loader *loader = loader_create(&options, &error);
    if (!loader) fail_msg("%s", error.message);
    return loader;
}

static inline MicroBatch *next(Loader *loader) {
    MicroBatch *batch;
    Error error = {0};
    if (!loader_next(loader, &batch, &error)) fail_msg("%s", error.message);
    return batch;
}
