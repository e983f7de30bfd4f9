/// The end of a sweep: its cells and their evaluations as a table.
#pragma once
#include "train/sweep/sweep_jobs.h"

#include <stdio.h>

/// Writes the table into sweep.output_dir and prints it to `out`. *missing: how many cells have no
/// result.
bool sweep_result_write(const SweepJobs *jobs, FILE *out, int *missing, Error *error);
