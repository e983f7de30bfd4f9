/// The width of a stored projector, Linear(in, width), GELU, Linear(width, out), by the shapes of
/// its matrices. Their names are DiffLMM's, mm_projector.linear.{0,2}, or LLaVA's,
/// mm_projector.{0,2}.
#pragma once
#include "autograd/parameters.h"

typedef struct ProjectorSizes {
    int64_t in, width, out;
} ProjectorSizes;

/// Gives the shape of the weight of that name in `source`; false if it holds no such matrix.
typedef bool MatrixShape(const void *source, const char *name, int64_t shape[2]);

/// False if there are no two matrices of which the second takes what the first gives.
bool projector_sizes(MatrixShape *matrix, const void *source, bool is_llava, ProjectorSizes *sizes);

/// The same of parameters.
bool parameters_projector_sizes(const ParameterSet *parameters, bool is_llava,
                                ProjectorSizes *sizes);

/// Refuses a projector, stored in the file at `path`, that differs from that of `parameters` in its
/// width alone; what else does not fit is for others to say.
bool projector_width_check(MatrixShape *matrix, const void *source, const char *path,
                           const ParameterSet *parameters, Error *error);
