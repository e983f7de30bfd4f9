/// Files that appear whole or not at all: written under a temporary name beside the target, flushed
/// to the disk, renamed.
#pragma once
#include "autograd/error.h"

#include <stddef.h>

typedef struct OutputFile OutputFile;

/// Begins to write `path`; until output_commit() a file of that name stays as it is. NULL on
/// failure.
OutputFile *output_create(const char *path, Error *error);
/// The temporary name, for libraries that write by themselves (owned by the file).
const char *output_temporary_path(const OutputFile *file);
/// Appends bytes. After a failure (a full disk) only output_abandon() is allowed.
bool output_write(OutputFile *file, const void *data, size_t bytes, Error *error);
/// Flushes, renames, and frees the file. On failure nothing is left behind but what was at `path`
/// before.
bool output_commit(OutputFile *file, Error *error);
/// Removes what was written and frees the file. NULL is allowed.
void output_abandon(OutputFile *file);

/// Removes what writes of `path` left behind that a kill cut short. Nobody may be writing it.
void output_remove_remains(const char *path);

/// Appends bytes to a file, which need not be there: all of them, or none where the disk is full.
bool output_append(const char *path, const void *data, size_t bytes, Error *error);

/// All three in one: the whole content of `path`.
bool output_whole_file(const char *path, const void *data, size_t bytes, Error *error);
