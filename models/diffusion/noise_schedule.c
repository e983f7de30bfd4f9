#include "models/diffusion/noise_schedule.h"

#include "checkpoints/model_config.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

typedef struct Betas {
    int64_t count;
    double start, end;
    /// the square roots are evenly spaced, not the betas
    bool scaled;
} Betas;

static bool read_betas(const ModelConfig *config, Betas *betas, Error *error) {
    const char *kind = NULL;
    bool zero_snr;
    if (!model_config_int_or(config, "num_train_timesteps", 1000, &betas->count, error) ||
        !model_config_float_or(config, "beta_start", 0.0001, &betas->start, error) ||
        !model_config_float_or(config, "beta_end", 0.02, &betas->end, error) ||
        !model_config_string_or(config, "beta_schedule", "linear", &kind, error) ||
        !model_config_bool_or(config, "rescale_betas_zero_snr", false, &zero_snr, error))
        return false;
    betas->scaled = !strcmp(kind, "scaled_linear");
    if (!betas->scaled && strcmp(kind, "linear") != 0)
        return model_config_unsupported(config, "beta_schedule", "linear or scaled_linear", error);
    if (zero_snr) return model_config_unsupported(config, "rescale_betas_zero_snr", "false", error);
    if (model_config_has(config, "trained_betas"))
        return model_config_unsupported(config, "trained_betas", "null", error);
    if (betas->count < 1 || betas->count > NOISE_SCHEDULE_MAX_TIMESTEPS)
        return model_config_unsupported(config, "num_train_timesteps", "1 to 1048576", error);
    if (!(betas->start >= 0 && betas->start < 1))
        return model_config_unsupported(config, "beta_start", "at least 0, below 1", error);
    if (!(betas->end >= 0 && betas->end < 1))
        return model_config_unsupported(config, "beta_end", "at least 0, below 1", error);
    return true;
}

static double beta_at(const Betas *betas, int64_t t) {
    double part = betas->count > 1 ? (double)t / (double)(betas->count - 1) : 0;
    if (!betas->scaled) return betas->start + part * (betas->end - betas->start);
    double root = sqrt(betas->start) + part * (sqrt(betas->end) - sqrt(betas->start));
    return root * root;
}

NoiseSchedule *noise_schedule_load(const char *directory, Error *error) {
    char *path = format_string("%s/scheduler_config.json", directory);
    ModelConfig *config = model_config_open(path, error);
    free(path);
    Betas betas;
    bool valid = config && read_betas(config, &betas, error);
    model_config_close(config);
    if (!valid) return NULL;
    NoiseSchedule *schedule = checked_calloc(1, sizeof *schedule);
    schedule->num_train_timesteps = (int)betas.count;
    schedule->alphas_cumprod =
        checked_calloc((size_t)betas.count, sizeof *schedule->alphas_cumprod);
    double product = 1;
    for (int64_t t = 0; t < betas.count; t++)
        schedule->alphas_cumprod[t] = product *= 1 - beta_at(&betas, t);
    return schedule;
}

void noise_schedule_free(NoiseSchedule *schedule) {
    if (!schedule) return;
    free(schedule->alphas_cumprod);
    free(schedule);
}

Tensor *q_sample(const NoiseSchedule *schedule, Tensor *z, Tensor *noise, int timestep) {
    CHECK(timestep >= 0 && timestep < schedule->num_train_timesteps, "q_sample: timestep %d of %d",
          timestep, schedule->num_train_timesteps);
    double kept = schedule->alphas_cumprod[timestep];
    scope_begin();
    return scope_end_returning(
        add(scale(z, (float)sqrt(kept)), scale(noise, (float)sqrt(1 - kept))));
}
