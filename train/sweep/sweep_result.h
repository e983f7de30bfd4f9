/// The end of a sweep: its cells and their evaluations as a table.
#pragma once
#include "train/sweep/sweep_jobs.h"

#include <stdio.h>

/// Writes the table into sweep.output_dir and prints it to `out`, and what failed to stderr.
/// *is_whole: every cell has a result.
bool sweep_result_write(const SweepJobs *jobs, FILE *out, bool *is_whole, Error *error);
