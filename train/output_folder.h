/// Folders that results are written to.
#pragma once
#include "autograd/error.h"

/// Creates the folder and those above it where they do not exist, and makes sure that files can be created in it.
bool output_folder_make(const char *path, Error *error);
