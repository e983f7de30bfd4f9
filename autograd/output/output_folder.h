/// Folders that results are written to.
#pragma once
#include "autograd/error.h"

#include <stddef.h>

/// What had to be made for a folder to be there. An OutputFolder of zeros has made nothing.
typedef struct OutputFolder {
    char *path;
    /// [count] how much of the path each folder that was made is, from the outermost one on.
    size_t *made;
    int count;
} OutputFolder;

/// Creates the folder and those above it where they do not exist, and makes sure that files can be
/// created in it. To be ended by output_folder_close(), also on failure.
bool output_folder_make(OutputFolder *folder, const char *path, Error *error);
/// Ends the use of the folder. If the work has failed, the folders that were made for it go again,
/// as far as nothing is in them.
void output_folder_close(OutputFolder *folder, bool has_failed);
