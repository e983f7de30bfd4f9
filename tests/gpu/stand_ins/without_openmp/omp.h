/// Stands in for OpenMP where a program is built without it: what the tests in tests/unit use of
/// it.
#pragma once

static inline int omp_get_max_threads(void) { return 1; }
static inline void omp_set_num_threads(int count) { (void)count; }
