#include "models/block_output.h"

#include <stdarg.h>
#include <stdio.h>

static _Thread_local struct {
    BlockListener *listener;
    void *context;
} listening;

void block_output_listen(BlockListener *listener, void *context) {
    listening.listener = listener;
    listening.context = context;
}

Tensor *block_output(Tensor *x, const char *format, ...) {
    if (!listening.listener) return x;
    char name[256];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(name, sizeof name, format, arguments);
    va_end(arguments);
    listening.listener(name, x, listening.context);
    return x;
}
