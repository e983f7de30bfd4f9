#include "train/saved/resume_check.h"
#include "autograd/text/utf8.h"
#include "train/config/config_schema.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_KEY = 128 };

/// What the positions say: batches may be cut anew, and data may move.
typedef struct Same {
    bool global_batch, train;
} Same;

static bool may_change(const ConfigField *field, const Same *same) {
    switch (field->on_resume) {
    case ON_RESUME_MAY_CHANGE:
        return true;
    case ON_RESUME_BY_BATCH:
        return same->global_batch;
    case ON_RESUME_BY_DATA:
        return same->train;
    default:
        return false;
    }
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

static void compare_setting(Changes *changes, const ConfigField *field, const Config *now,
                            const Config *then, const Same *same) {
    char *is = config_format_value(now, field), *was = config_format_value(then, field),
         *key = format_string("%s.%s", field->section, field->name);
    if (strcmp(is, was) != 0) {
        bool harmless = may_change(field, same);
        if (changes->out)
            utf8_print(changes->out, "since %s: %s was %s, is %s%s\n", changes->checkpoint, key,
                       was, is, harmless ? "" : " (another run)");
        if (!harmless) note(changes, key);
    }
    free(is);
    free(was);
    free(key);
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

static bool refuse_batch(const Config *config, const Changes *changes, long long now,
                         long long then, Error *error) {
    const bool packed = config->data.tokens_per_batch != 0;
    return config_refuse(config, changes->first, error,
                         "a step of %s had %lld %s and would now have %lld; use %saccumulation x "
                         "processes of %lld, start anew in another training.output_dir, or set "
                         "training.accept_changes=true",
                         changes->checkpoint, then, packed ? "micro-batches" : "samples", now,
                         packed ? "" : "batch size x ", then);
}

/// The configuration that the checkpoint was written with; NULL with the error if this program does
/// not know a key or a value of it, which is a line on `out` where changes are accepted.
static Config *read_written(const Config *config, const char *yaml, const char *checkpoint,
                            FILE *out, Error *error) {
    Error reason;
    Config *written = config_load_text(yaml, checkpoint, NULL, 0, &reason);
    if (written) return written;
    if (config->training.accept_changes && out)
        utf8_print(out, "since %s: what changed is not known: %s\n", checkpoint, reason.message);
    if (!config->training.accept_changes)
        config_refuse(config, "training.resume", error,
                      "the run was begun by another version of this program: %s; "
                      "training.accept_changes=true goes on all the same",
                      reason.message);
    return NULL;
}

bool resume_check(const Config *config, const char *written_yaml, const char *checkpoint,
                  const TrainingPosition *now, const TrainingPosition *then, FILE *out,
                  Error *error) {
    Changes changes = {.checkpoint = checkpoint, .out = out};
    Same same = {now->global_batch == then->global_batch, is_same_data(&now->train, &then->train)};
    Config *written = read_written(config, written_yaml, checkpoint, out, error);
    if (!written && !config->training.accept_changes) return false;
    // The folder of one file is a key of its own.
    if (written && (config->data.train.is_list || written->data.train.is_list))
        same.train = same.train && config_same_folders(&config->data.train, &written->data.train);
    const bool is_same_unit =
        !written || !config->data.tokens_per_batch == !written->data.tokens_per_batch;
    for (int i = 0; written && i < NUM_CONFIG_FIELDS; i++)
        compare_setting(&changes, &CONFIG_FIELDS[i], config, written, &same);
    config_free(written);
    compare_data(&changes, "data.train", &now->train, &then->train);
    compare_data(&changes, "data.eval", &now->eval, &then->eval);
    if (!same.global_batch)
        note(&changes, config->data.tokens_per_batch ? "training.gradient_accumulation_steps"
                                                     : "training.per_device_train_batch_size");
    if (!changes.count || config->training.accept_changes) return true;
    if (!same.global_batch && is_same_unit)
        return refuse_batch(config, &changes, now->global_batch, then->global_batch, error);
    return config_refuse(config, changes.first, error,
                         "%d of the settings and data differ from those of %s and would make it "
                         "another run (each is listed above); change them back, start anew in "
                         "another training.output_dir, or set training.accept_changes=true",
                         changes.count, checkpoint);
}
