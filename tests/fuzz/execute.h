/// Runs a case in this process and judges what came of it.
#pragma once
#include "tests/fuzz/targets.h"

typedef struct Outcome {
    int exit_code;
    double seconds;
    /// File descriptors that were not closed.
    int descriptors;
    /// what was printed
    ByteBuffer out, err;
    /// "added PATH", "removed PATH", "changed PATH", a line each
    ByteBuffer changes;
} Outcome;

void outcome_free(Outcome *outcome);

/// Where stdout and stderr go while a case runs: files that outlive a process that dies in it.
typedef struct Capture {
    int out, err;
} Capture;

/// Runs the case in the current folder, whose overlays are in place, and leaves it as the case left
/// it.
Outcome execute(const Target *target, const FuzzCase *fuzz_case, Capture capture);

/// What is wrong with the outcome, a line that begins with the kind of fault; NULL: nothing. The
/// caller frees it.
char *judge(const Target *target, const FuzzCase *fuzz_case, const Outcome *outcome);
