// One job in its folders: where it is, whether it is done, how it failed.
#include "autograd/json_file.h"
#include "autograd/output/output_file.h"
#include "autograd/text/byte_buffer.h"
#include "checkpoints/checkpoint_folder.h"
#include "train/group/run_lock.h"
#include "train/log/json_text.h"
#include "train/sweep/sweep_jobs.h"

#include <dirent.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/// Of the readable part of a folder's name, bytes.
enum { LONGEST_NAME = 80 };

const char *sweep_job_kind(const SweepJob *job) {
    static const char *const NAMES[SWEEP_KINDS] = {"training", "asking", "judging"};
    return NAMES[job->kind];
}

Config *sweep_copy_config(const Config *config) {
    Error error;
    char *yaml = config_set_keys_to_yaml(config);
    Config *copy = config_load_text(yaml, config->path, NULL, 0, &error);
    CHECK(copy, "%s", error.message);
    free(yaml);
    return copy;
}

static bool ends_with(const char *text, const char *end) {
    size_t length = strlen(text), of_end = strlen(end);
    return length >= of_end && !strcmp(text + length - of_end, end);
}

/// The folder in `parent` whose name ends with the hash, or NULL.
static char *find_folder(const char *parent, const char *hash) {
    DIR *directory = opendir(parent);
    char *found = NULL, *end = format_string("-%s", hash);
    for (struct dirent *entry; directory && !found && (entry = readdir(directory));)
        if (ends_with(entry->d_name, end)) found = format_string("%s/%s", parent, entry->d_name);
    if (directory) closedir(directory);
    free(end);
    return found;
}

static char *new_folder(const char *parent, const SweepJob *job) {
    ByteBuffer path = {0};
    byte_buffer_print(&path, "%s/", parent);
    for (int i = 0; i < LONGEST_NAME && job->name[i]; i++) {
        unsigned char c = (unsigned char)job->name[i];
        bool is_plain = (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z');
        byte_buffer_put_byte(&path, is_plain || strchr("._=,+-", c) ? c : '_');
    }
    byte_buffer_print(&path, "-%s", job->hash);
    return byte_buffer_take(&path);
}

void sweep_job_place(SweepJob *job, const char *output_dir) {
    static const char *const PARENTS[SWEEP_KINDS] = {"trainings", "answers", "evaluations"};
    char *parent = format_string("%s/%s", output_dir, PARENTS[job->kind]);
    job->product = find_folder(parent, job->hash);
    if (!job->product) job->product = new_folder(parent, job);
    job->folder = format_string("%s/jobs/%s", output_dir, job->hash);
    free(parent);
}

// ---- done

static char *in_folder(const SweepJob *job, const char *name) {
    return format_string("%s/%s", job->folder, name);
}

bool sweep_job_has_result(const SweepJob *job, Error *error) {
    const int64_t steps = job->config->training.max_steps;
    StringList found = {0};
    char *path = NULL;
    bool ok;
    if (job->kind != SWEEP_TRAIN) {
        path = format_string("%s/results.json", job->product);
        ok = access(path, F_OK) == 0 || error_set(error, "%s is not there", path);
    } else if (steps >= 0) {
        path = checkpoint_path(job->product, steps);
        ok = access(path, F_OK) == 0 ||
             error_set(error, "%s is not there: the training was stopped", path);
    } else {
        path = format_string("%s/*", job->product);
        ok = sweep_find_checkpoints(path, (ConfigPlace){0}, &found, error);
    }
    sweep_strings_free(&found);
    free(path);
    return ok;
}

/// Whether answers for so many images are enough.
static bool has_samples(const SweepJob *job, const json_t *done) {
    json_int_t samples = json_integer_value(json_object_get(done, "samples"));
    return job->kind != SWEEP_ASK || samples < 0 ||
           (job->config->eval.samples >= 0 && samples >= job->config->eval.samples);
}

void sweep_job_look(SweepJob *job) {
    char *path = in_folder(job, "done.json");
    Error ignored;
    json_t *done = access(path, F_OK) == 0 ? json_file_read_object(path, 0, &ignored) : NULL;
    bool is_done = done && json_equal(json_object_get(done, "depends_on"), job->identity) &&
                   has_samples(job, done) && sweep_job_has_result(job, &ignored);
    if (is_done) {
        job->state = SWEEP_DONE;
        job->seconds = json_number_value(json_object_get(done, "seconds"));
    }
    json_decref(done);
    free(path);
}

static bool write_note(const SweepJob *job, const char *name, json_t *note, Error *error) {
    char *path = in_folder(job, name), *text = json_dumps(note, JSON_INDENT(1));
    output_remove_remains(path); // of a kill
    bool ok = output_whole_file(path, text, strlen(text), error);
    json_decref(note);
    free(text);
    free(path);
    return ok;
}

static void remove_note(const SweepJob *job, const char *name) {
    char *path = in_folder(job, name);
    output_remove_remains(path); // of a kill
    unlink(path);
    free(path);
}

bool sweep_job_note_done(SweepJob *job, double seconds, Error *error) {
    json_t *note = json_pack("{s:s, s:s, s:f, s:I, s:O}", "job", sweep_job_kind(job), "product",
                             job->product, "seconds", seconds, "samples",
                             (json_int_t)job->config->eval.samples, "depends_on", job->identity);
    if (!note) return error_set(error, "%s: is no UTF-8", job->product);
    if (!write_note(job, "done.json", note, error)) return false;
    remove_note(job, "failed.json");
    job->state = SWEEP_DONE;
    job->seconds = seconds;
    return true;
}

void sweep_job_remove_remains(const SweepJob *job) {
    char *lock_path = in_folder(job, "run.lock"), *failure = in_folder(job, "failed.json");
    if (access(lock_path, F_OK) == 0 || access(failure, F_OK) == 0) {
        bool is_held;
        Error unused; // they are in nobody's way
        RunLock *lock = run_lock_try(job->folder, &is_held, &unused);
        if (lock) remove_note(job, "failed.json");
        run_lock_release(lock);
    }
    free(lock_path);
    free(failure);
}

// ---- failed

void sweep_job_note_failure(SweepJob *job, const char *reason) {
    Error ignored; // it is said, noted or not
    job->state = SWEEP_FAILED;
    free(job->failure);
    job->failure = checked_strdup(reason);
    write_note(job, "failed.json", json_pack("{s:o}", "reason", json_text(reason)), &ignored);
}

bool sweep_job_failed_elsewhere(SweepJob *job, const struct timespec *since) {
    char *path = in_folder(job, "failed.json");
    struct stat about;
    Error ignored;
    bool is_new =
        stat(path, &about) == 0 &&
        (about.st_mtim.tv_sec > since->tv_sec ||
         (about.st_mtim.tv_sec == since->tv_sec && about.st_mtim.tv_nsec >= since->tv_nsec));
    json_t *note = is_new ? json_file_read_object(path, 0, &ignored) : NULL;
    const char *reason = json_string_value(json_object_get(note, "reason"));
    if (reason) {
        job->state = SWEEP_FAILED;
        free(job->failure);
        job->failure = checked_strdup(reason);
    }
    json_decref(note);
    free(path);
    return reason != NULL;
}
