/// Real material that a machine may have beside the repository; a test that needs it is skipped
/// where it is not.
#pragma once
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

/// The path of a file or folder of the material; lives until the next eight calls. Skips the test
/// if it is not there.
static inline const char *shared_data(const char *name) {
    static char paths[8][512];
    static int next;
    char *path = paths[next++ % 8];
    const char *folder = getenv("DIFFLMM_SHARED_DATA");
    snprintf(path, sizeof paths[0], "%s/public/%s", folder ? folder : SOURCE_DIR "/../shared/data",
             name);
    if (access(path, R_OK)) {
        print_message("not here: %s\n", path);
        skip();
    }
    return path;
}
