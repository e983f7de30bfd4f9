/// The forward process of a diffusion model (Ho et al. 2020, arXiv 2006.11239) by a published
/// scheduler_config.json.
#pragma once
#include "ops/ops.h"

enum { NOISE_SCHEDULE_MAX_TIMESTEPS = 1 << 20 };

typedef struct NoiseSchedule {
    int num_train_timesteps;
    /// the share of the signal's variance that is left at timestep t
    double *alphas_cumprod;
} NoiseSchedule;

/// Reads scheduler_config.json in `directory`. Schedules: linear, scaled_linear. NULL on failure.
NoiseSchedule *noise_schedule_load(const char *directory, Error *error);
void noise_schedule_free(NoiseSchedule *schedule);

/// sqrt(alphas_cumprod[t]) z + sqrt(1 - alphas_cumprod[t]) noise; noise of z's shape and type, t in
/// [0, num_train_timesteps).
Tensor *q_sample(const NoiseSchedule *schedule, Tensor *z, Tensor *noise, int timestep);
