/// Running `difflmm` in a test as a user does.
#pragma once
#include "tests/unit/temporary_folder.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/wait.h>

#include <cmocka.h>

/// stdout and stderr of the last run
static char output[65536];

/// Runs `difflmm <arguments>` from the repository's root; '@' in the arguments is the tests'
/// folder, '%' is `percent` (NULL: '%'). Returns the exit code, -1 for a signal.
static inline int run_program(const char *arguments, const char *percent) {
    char command[4096];
    int used = snprintf(command, sizeof command, "cd '%s' && '%s' ", SOURCE_DIR, DIFFLMM_BINARY);
    for (const char *c = arguments; *c; c++) {
        const char one[] = {*c, 0}, *text = *c == '@'              ? temporary_folder
                                            : *c == '%' && percent ? percent
                                                                   : one;
        used += snprintf(command + used, sizeof command - (size_t)used, "%s", text);
    }
    snprintf(command + used, sizeof command - (size_t)used, " 2>&1");
    FILE *pipe = popen(command, "r");
    assert_non_null(pipe);
    size_t length = fread(output, 1, sizeof output - 1, pipe);
    output[length] = 0;
    int status = pclose(pipe);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}
