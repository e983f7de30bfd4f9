// Checkpoints, those that are there and those that will be, and features that are kept.
#include "train/plan/plan_parts.h"
#include "train/trainer/schedule.h"

#include "checkpoints/checkpoint_folder.h"
#include "train/features/feature_folder.h"
#include "train/log/progress.h"
#include "train/saved/resume_check.h"
#include "train/saved/trained_normalization.h"
#include "train/saved/trained_weights.h"
#include "train/saved/training_checkpoint.h"
#include "train/trainer/best_checkpoint.h"
#include "train/trainer/model_setup.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

// ---- those that are there

/// Whether the weights are the model's and were trained on such pictures; where it could not be
/// opened, whether they are there at all.
static bool adapters_fit(const Config *config, const char *path, PlanModel *model, Error *error) {
    char *resolved = trained_weights_resolve(path, error);
    bool fit = resolved &&
               (config->training.accept_changes ||
                trained_normalization_check(config, resolved, stderr, error)) &&
               (!model->model || trained_weights_load(resolved, &model->parameters,
                                                      model->model->lora, false, error));
    free(resolved);
    return fit;
}

/// What changed since the checkpoint was written; a problem if `difflmm train` would not go on from
/// it.
static void check_changes(Plan *plan, const char *path) {
    TrainingPosition then,
        now = {.global_batch = schedule_global_batch(plan->config, plan->options.processes),
               .train = plan->data.train,
               .eval = plan->data.eval};
    Error error;
    size_t size;
    char *written = training_checkpoint_config(path, &error);
    FILE *changes = open_memstream(&plan->changes, &size);
    bool ok = written && training_checkpoint_position(path, &then, &error);
    if (ok) {
        plan->schedule.first_step = then.step;
        ok = resume_check(plan->config, written, path, &now, &then, changes, &error);
    }
    if (changes) fclose(changes);
    if (!ok) plan_add_problem(plan, "training.resume", error.message);
    free(written);
}

static void check_resumed(Plan *plan, PlanModel *model, const char *key, const char *path) {
    Error error;
    bool fits = !model->model ||
                training_checkpoint_load_weights(path, &model->parameters,
                                                 plan->config->lora.lora_enable, false, &error);
    plan_add_file(plan, key, path, fits,
                  checked_strdup(fits ? "goes on from here" : error.message));
    if (fits) check_changes(plan, path);
}

static void resume_automatically(Plan *plan, PlanModel *model) {
    const TrainingSection *training = &plan->config->training;
    char *newest = NULL;
    Error error;
    if (!training->output_dir) return;
    if (!checkpoint_newest(training->output_dir, checkpoint_warn, NULL, &newest,
                           &plan->schedule.first_step, &error)) {
        plan_refuse(plan, "training.output_dir", "%s", error.message);
    } else if (newest && !strcmp(training->resume, "never")) {
        plan->schedule.first_step = 0;
        plan_refuse(plan, "training.resume",
                    "%s is in the way of a new run; remove it or choose another "
                    "training.output_dir",
                    newest);
    } else if (newest) {
        check_resumed(plan, model, "training.resume", newest);
    } else {
        plan->schedule.first_step = 0;
    }
    free(newest);
}

void plan_resume(Plan *plan, PlanModel *model) {
    const char *resume = plan->config->training.resume, *adapters = plan->config->adapters;
    Error error;
    bool given = strcmp(resume, "auto") != 0 && strcmp(resume, "never") != 0;
    if (given)
        check_resumed(plan, model, "training.resume", resume);
    else
        resume_automatically(plan, model);
    if (given || plan->schedule.first_step > 0 || !adapters) return;
    bool fit = adapters_fit(plan->config, adapters, model, &error);
    plan_add_file(plan, "model.adapters", adapters, fit,
                  checked_strdup(fit ? "the adapters begin with these" : error.message));
}

// ---- those that will be

/// Weights and two moments in FLOAT32, and what HDF5 writes around each array.
static int64_t checkpoint_bytes(const ParameterSet *parameters) {
    enum { ARRAY_OVERHEAD = 700, FILE_OVERHEAD = 16 << 10 };
    return 3 * (parameters_count_elements(parameters) * (int64_t)sizeof(float) +
                (int64_t)parameters->count * ARRAY_OVERHEAD) +
           FILE_OVERHEAD;
}

/// Counts the checkpoints of the whole run, and those that stay (checkpoint_retain()).
static void count_checkpoints(Plan *plan) {
    const TrainingSection *training = &plan->config->training;
    PlanDisk *disk = &plan->disk;
    int64_t steps = plan->schedule.total_steps, every = training->save_steps;
    if (steps == 0) return;
    int64_t regular = every > 0 ? steps / every : 0;
    bool last_is_extra = every == 0 || steps % every;
    disk->written = regular + last_is_extra;
    int64_t newest = training->save_total_limit ? training->save_total_limit : disk->written;
    if (newest > disk->written) newest = disk->written;
    int64_t older = disk->written - newest;
    disk->kept = newest + (best_is_kept(training) && training->eval_steps ? 1 : 0);
    if (every == 0 || training->save_keep_steps == 0) return;
    for (int64_t i = 1; i <= older; i++) disk->kept += i * every % training->save_keep_steps == 0;
}

/// The folder, or the nearest one above it that exists; the caller frees it.
static char *existing_folder(const char *path) {
    char *folder = checked_strdup(path);
    struct stat status;
    while (stat(folder, &status) != 0) {
        char *slash = strrchr(folder, '/');
        if (!slash || slash == folder) {
            strcpy(folder, slash ? "/" : ".");
            break;
        }
        *slash = 0;
    }
    return folder;
}

int64_t plan_free_bytes(const char *folder) {
    char *existing = existing_folder(folder);
    struct statvfs system;
    bool known = statvfs(existing, &system) == 0 && system.f_blocks > 0; // 0: without a limit
    free(existing);
    return known ? (int64_t)system.f_bavail * (int64_t)system.f_frsize : -1;
}

static int64_t bytes_of_checkpoints(const char *folder) {
    int64_t bytes = 0;
    DIR *directory = opendir(folder);
    for (struct dirent *entry; directory && (entry = readdir(directory));) {
        struct stat status;
        if (strncmp(entry->d_name, "checkpoint-", 11) != 0) continue;
        if (fstatat(dirfd(directory), entry->d_name, &status, AT_SYMLINK_NOFOLLOW) == 0 &&
            S_ISREG(status.st_mode))
            bytes += status.st_size;
    }
    if (directory) closedir(directory);
    return bytes;
}

/// A folder that will be made, or is there. Returns the bytes that are free in it, -1: not known.
static int64_t check_folder(Plan *plan, const char *key, const char *path) {
    char *folder = existing_folder(path);
    struct stat status;
    if (stat(folder, &status) != 0 || !S_ISDIR(status.st_mode) || access(folder, W_OK | X_OK) != 0)
        plan_add_file(plan, key, path, false,
                      format_string("%s is not a folder that can be written to", folder));
    else
        plan_add_file(plan, key, path, true,
                      checked_strdup(strcmp(folder, path) != 0 ? "will be made" : ""));
    free(folder);
    return plan_free_bytes(path);
}

/// A full disk costs a run its features there and nothing else, so that it is no problem.
static void count_features(Plan *plan, const PlanModel *model, const PlanBatches *batches) {
    const char *path = plan->config->data.feature_folder;
    PlanDisk *disk = &plan->disk;
    if (!path) return;
    disk->features_free = check_folder(plan, "data.feature_folder", path);
    if (!model->model) return;
    const FeatureShape shape = feature_shape(model->model);
    disk->feature_images = batches->cached_images;
    disk->feature_bytes = (int64_t)(feature_clip_bytes(&shape) + feature_moments_bytes(&shape));
    disk->features = feature_folder_bytes(&shape, disk->feature_images);
}

void plan_disk(Plan *plan, const PlanModel *model, const PlanBatches *batches) {
    const char *output = plan->config->training.output_dir;
    PlanDisk *disk = &plan->disk;
    count_features(plan, model, batches);
    if (!output) return;
    disk->free = check_folder(plan, "training.output_dir", output);
    if (!model->model) return;
    disk->known = true;
    disk->checkpoint_bytes = checkpoint_bytes(&model->parameters);
    count_checkpoints(plan);
    // A new one is written before an old one is removed.
    int64_t most = disk->kept < disk->written ? disk->kept + 1 : disk->kept;
    disk->needed = most * disk->checkpoint_bytes - bytes_of_checkpoints(output);
    if (disk->needed < 0) disk->needed = 0;
    if (disk->free < 0 || disk->needed <= disk->free) return;
    char *needed = format_bytes(disk->needed), *there = format_bytes(disk->free);
    plan_refuse(plan, "training.output_dir",
                "checkpoints need %s, and %s are free; a smaller training.save_total_limit or "
                "another folder help",
                needed, there);
    free(needed);
    free(there);
}
