/// Numbers in pickles: Python's own, and numpy's scalars and arrays, which pickle as calls of a few
/// functions. They are read as data; nothing is executed.
#pragma once
#include "checkpoints/torch/pickle.h"

/// What pickle_read() has to accept for them, ended by NULL.
extern const char *const PICKLED_NUMBER_GLOBALS[];

/// An int, a float, a bool, or a scalar of numpy's (or an array of one number). False, with the
/// message, for anything else.
bool pickled_number(const PickleValue *value, double *number, Error *error);

/// A list or tuple of such numbers, or an array of any shape, in its memory's order. The caller
/// frees *numbers.
bool pickled_numbers(const PickleValue *value, double **numbers, int64_t *count, Error *error);
