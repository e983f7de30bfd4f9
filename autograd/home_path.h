/// `~/runs` as a shell would read it: people write it in configurations, which no shell reads.
#pragma once
#include "autograd/error.h"

/// The path with `~` or `~user` at its beginning replaced by the home folder; any other path
/// unchanged. NULL, with the reason, if there is no such user. The caller frees it.
char *home_path(const char *path, Error *error);
