/// Inside of train/arguments.h: the members that arguments are written to.
#pragma once
#include "train/arguments.h"

void argument_set_flag(const Argument *row, void *into);

/// Writes the value of that index (of value_count at once) to the row's member; adds it to a list.
bool argument_store(const Argument *row, int index, const char *value, void *into, Error *error);
