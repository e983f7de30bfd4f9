/// Names of a store's files: answers-RRR-PPP.journal while round RRR is asked by process PPP, .h5
/// when it is packed.
#pragma once
#include <stdbool.h>

/// The path of a file; the caller frees it.
char *answer_file_path(const char *folder, int round, int process, const char *ending);
/// Whether a folder's entry is "answers-RRR-PPP.<ending>"; whose it is then.
bool answer_file_is_named(const char *entry, const char *ending, int *round, int *process);
