#include "train/resume_check.h"

#include <stdlib.h>
#include <string.h>

/// Keys that say where, how fast or how visibly a run goes on, not what it learns.
static const char *const HARMLESS[] = {"data.cache_features",
                                       "data.dataloader_num_workers",
                                       "data.dataloader_prefetch_factor",
                                       "data.eval",
                                       "data.eval_image_folder",
                                       "model.adapters", // read before step 0 only
                                       "model.recompute",
                                       "training.accept_changes",
                                       "training.device",
                                       "training.distributed_timeout",
                                       "training.eval_samples",
                                       "training.eval_steps",
                                       "training.log_samples",
                                       "training.logging_steps",
                                       "training.output_dir",
                                       "training.per_device_eval_batch_size",
                                       "training.resume",
                                       "training.save_best",
                                       "training.save_in_background",
                                       "training.save_keep_steps",
                                       "training.save_steps",
                                       "training.save_total_limit",
                                       "training.shard_optimizer",
                                       "training.tensorboard",
                                       "training.threads"};
static const char *const BATCH_KEYS[] = {"training.per_device_train_batch_size",
                                         "training.gradient_accumulation_steps"};

enum { MAX_KEY = 128 };

static bool is_one_of(const char *key, const char *const *keys, size_t count) {
    for (size_t i = 0; i < count; i++)
        if (!strcmp(key, keys[i])) return true;
    return false;
}

static bool is_harmless(const char *key, bool same_global_batch) {
    return !strncmp(key, "eval.", 5) ||
           is_one_of(key, HARMLESS, sizeof HARMLESS / sizeof *HARMLESS) ||
           (same_global_batch &&
            is_one_of(key, BATCH_KEYS, sizeof BATCH_KEYS / sizeof *BATCH_KEYS));
}

/// Walks over a document that config_to_yaml() wrote: sections at the margin, one key a line below them.
typedef struct Walk {
    const char *at;
    char section[MAX_KEY], key[MAX_KEY]; ///< key: "section.name"
    const char *value;
    int value_length;
} Walk;

static bool next_key(Walk *walk) {
    while (*walk->at) {
        const char *line = walk->at, *end = strchr(line, '\n');
        if (!end) end = line + strlen(line);
        walk->at = *end ? end + 1 : end;
        const char *colon = memchr(line, ':', (size_t)(end - line));
        if (!colon || *line == '#') continue;
        const char *name = line + strspn(line, " ");
        int length = (int)(colon - name);
        if (name == line) {
            snprintf(walk->section, sizeof walk->section, "%.*s", length, name);
            continue;
        }
        snprintf(walk->key, sizeof walk->key, "%.60s.%.*s", walk->section,
                 length < 60 ? length : 60, name);
        walk->value = colon + 1 + strspn(colon + 1, " ");
        walk->value_length = (int)(end - walk->value);
        return true;
    }
    return false;
}

/// Finds a key's value; false if the document does not have it (a key that is newer than the checkpoint).
static bool find_key(const char *yaml, const char *key, Walk *found) {
    *found = (Walk){.at = yaml};
    while (next_key(found))
        if (!strcmp(found->key, key)) return true;
    return false;
}

static bool same_value(const Walk *a, const Walk *b) {
    return a->value_length == b->value_length &&
           !memcmp(a->value, b->value, (size_t)a->value_length);
}

bool resume_check(const Config *config, const char *written_yaml, const char *checkpoint,
                  int64_t global_batch, int64_t written_global_batch, FILE *out, Error *error) {
    char *yaml = config_to_yaml(config), meaningful[MAX_KEY] = {0};
    int count = 0;
    Walk now = {.at = yaml}, then;
    while (next_key(&now)) {
        if (!find_key(written_yaml, now.key, &then) || same_value(&now, &then)) continue;
        bool harmless = is_harmless(now.key, global_batch == written_global_batch);
        if (out)
            fprintf(out, "since %s: %s was %.*s, is %.*s%s\n", checkpoint, now.key,
                    then.value_length, then.value, now.value_length, now.value,
                    harmless ? "" : " (another run)");
        if (!harmless && !count++) snprintf(meaningful, sizeof meaningful, "%s", now.key);
    }
    free(yaml);
    if (global_batch != written_global_batch && !count++)
        snprintf(meaningful, sizeof meaningful, "training.per_device_train_batch_size");
    if (!count || config->training.accept_changes) return true;
    if (global_batch != written_global_batch)
        return config_refuse(config, meaningful, error,
                             "a step of %s had %lld samples and would now have %lld; use batch "
                             "size x accumulation x processes of %lld, start anew in another "
                             "training.output_dir, or set training.accept_changes=true",
                             checkpoint, (long long)written_global_batch, (long long)global_batch,
                             (long long)written_global_batch);
    return config_refuse(
        config, meaningful, error,
        "%d setting(s) differ from those of %s and would make it another run (each "
        "is listed above); change them back, start anew in another "
        "training.output_dir, or set training.accept_changes=true",
        count, checkpoint);
}
