// Preloaded: SIGINT at the INTERRUPT_AT-th time that the program flushes a stream, as it does
// behind every piece of an answer that it prints.
#include <dlfcn.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>

int fflush(FILE *stream) {
    static long flushes;
    int (*real)(FILE *) = dlsym(RTLD_NEXT, "fflush");
    const char *at = getenv("INTERRUPT_AT");
    int result = real(stream);
    if (at && ++flushes == atol(at)) raise(SIGINT);
    return result;
}
