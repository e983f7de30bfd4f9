#include "train/resume_check.h"
#include "autograd/utf8.h"

#include <stdlib.h>
#include <string.h>

/// Keys that say where, how fast or how visibly a run goes on, not what it learns.
static const char *const HARMLESS[] = {"data.cache_features",
                                       "data.dataloader_num_workers",
                                       "data.dataloader_prefetch_factor",
                                       "data.eval", // by what is in it
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

/// What the positions say: batches may be cut anew, and data may move.
typedef struct Same {
    bool global_batch, train;
} Same;

static bool is_harmless(const char *key, const Same *same) {
    return !strncmp(key, "eval.", 5) ||
           is_one_of(key, HARMLESS, sizeof HARMLESS / sizeof *HARMLESS) ||
           (same->train && !strcmp(key, "data.train")) ||
           (same->global_batch &&
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

/// What makes the run another one: how much does, and what is the first.
typedef struct Changes {
    const char *checkpoint;
    FILE *out;
    int count;
    char first[MAX_KEY];
} Changes;

static void note(Changes *changes, const char *key) {
    if (!changes->count++) snprintf(changes->first, sizeof changes->first, "%s", key);
}

static void compare_settings(Changes *changes, const char *yaml, const char *written_yaml,
                             const Same *same) {
    Walk now = {.at = yaml}, then;
    while (next_key(&now)) {
        if (!find_key(written_yaml, now.key, &then) || same_value(&now, &then)) continue;
        bool harmless = is_harmless(now.key, same);
        if (changes->out)
            utf8_print(changes->out, "since %s: %s was %.*s, is %.*s%s\n", changes->checkpoint,
                       now.key, then.value_length, then.value, now.value_length, now.value,
                       harmless ? "" : " (another run)");
        if (!harmless) note(changes, now.key);
    }
}

static bool is_same_data(const DataIdentity *a, const DataIdentity *b) {
    return a->samples == b->samples && a->checksum == b->checksum;
}

static void compare_data(Changes *changes, const char *key, const DataIdentity *now,
                         const DataIdentity *then) {
    if (!now->samples || !then->samples || is_same_data(now, then)) return;
    if (changes->out)
        fprintf(changes->out,
                "since %s: the data of %s was %lld samples (checksum %016llx), is %lld (%016llx) "
                "(another run)\n",
                changes->checkpoint, key, (long long)then->samples,
                (unsigned long long)then->checksum, (long long)now->samples,
                (unsigned long long)now->checksum);
    note(changes, key);
}

bool resume_check(const Config *config, const char *written_yaml, const char *checkpoint,
                  const TrainingPosition *now, const TrainingPosition *then, FILE *out,
                  Error *error) {
    Changes changes = {.checkpoint = checkpoint, .out = out};
    Same same = {now->global_batch == then->global_batch, is_same_data(&now->train, &then->train)};
    char *yaml = config_to_yaml(config);
    compare_settings(&changes, yaml, written_yaml, &same);
    free(yaml);
    compare_data(&changes, "data.train", &now->train, &then->train);
    compare_data(&changes, "data.eval", &now->eval, &then->eval);
    if (!same.global_batch) note(&changes, "training.per_device_train_batch_size");
    if (!changes.count || config->training.accept_changes) return true;
    if (!same.global_batch)
        return config_refuse(config, changes.first, error,
                             "a step of %s had %lld samples and would now have %lld; use batch "
                             "size x accumulation x processes of %lld, start anew in another "
                             "training.output_dir, or set training.accept_changes=true",
                             checkpoint, (long long)then->global_batch,
                             (long long)now->global_batch, (long long)then->global_batch);
    return config_refuse(config, changes.first, error,
                         "%d of the settings and data differ from those of %s and would make it "
                         "another run (each is listed above); change them back, start anew in "
                         "another training.output_dir, or set training.accept_changes=true",
                         changes.count, checkpoint);
}
