/// What a sweep would do, for people.
#pragma once
#include "train/sweep/sweep_jobs.h"

#include <stdio.h>

/// Cells, the trainings and answers that they share, what is done, disk and time. at_once: jobs
/// that would run at a time.
void sweep_print(const SweepJobs *jobs, int at_once, FILE *out);
