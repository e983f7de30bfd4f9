/// Folders that appear whole or not at all: filled under a temporary name beside the target, then
/// renamed.
#pragma once
#include "autograd/error.h"

typedef struct OutputDirectory OutputDirectory;

/// Begins the folder `path`, which must not exist. NULL on failure.
OutputDirectory *output_directory_create(const char *path, Error *error);
/// Where its files are to be written until the commit. Owned by the directory.
const char *output_directory_temporary_path(const OutputDirectory *directory);
/// Gives it its name and frees it. On failure (somebody else made `path` meanwhile) nothing is left
/// behind.
bool output_directory_commit(OutputDirectory *directory, Error *error);
/// Removes what was written, with all that is in it, and frees. NULL is allowed.
void output_directory_abandon(OutputDirectory *directory);

/// Removes what was left of making `path` by a kill. Nobody may be making it.
void output_directory_remove_remains(const char *path);
