// The plan for programs.
#include "train/plan/plan_parts.h"

#include "train/log/json_text.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>

const char *const PLAN_KIND_NAMES[MEMORY_KINDS] = {[MEMORY_WEIGHTS] = "weights",
                                                   [MEMORY_GRADIENTS] = "gradients",
                                                   [MEMORY_OPTIMIZER] = "optimizer",
                                                   [MEMORY_ACTIVATIONS] = "activations",
                                                   [MEMORY_WORKSPACE] = "workspace"};
const char *const PLAN_PHASE_NAMES[PHASE_COUNT] = {"filling the feature cache", "training",
                                                   "evaluation", "asking"};

static void put(json_t *object, const char *key, int64_t value) {
    json_object_set_new(object, key, json_integer(value));
}

static void put_real(json_t *object, const char *key, double value) {
    json_object_set_new(object, key, json_real(value));
}

static void put_bool(json_t *object, const char *key, bool value) {
    json_object_set_new(object, key, json_boolean(value));
}

static void put_text(json_t *object, const char *key, const char *value) {
    json_object_set_new(object, key, json_text(value));
}

static json_t *parts_to_json(const Plan *plan) {
    json_t *list = json_array();
    for (int i = 0; i < plan->part_count; i++) {
        const PlanPart *part = &plan->parts[i];
        json_t *item = json_object();
        put_text(item, "name", part->name);
        put_bool(item, "trained", part->trained);
        put(item, "parameters", part->parameters);
        if (part->trained) {
            put_real(item, "learning_rate", part->learning_rate);
            put_real(item, "weight_decay", part->weight_decay);
        }
        json_array_append_new(list, item);
    }
    return list;
}

static json_t *files_to_json(const Plan *plan) {
    json_t *list = json_array();
    for (int i = 0; i < plan->file_count; i++) {
        json_t *item = json_object();
        put_text(item, "key", plan->files[i].key);
        put_text(item, "path", plan->files[i].path);
        put_bool(item, "found", plan->files[i].found);
        put_text(item, "detail", plan->files[i].detail);
        json_array_append_new(list, item);
    }
    return list;
}

static json_t *changes_to_json(const Plan *plan) {
    json_t *list = json_array();
    for (const char *line = plan->changes; line && *line;) {
        size_t length = strcspn(line, "\n");
        char *change = format_string("%.*s", (int)length, line);
        json_array_append_new(list, json_text(change));
        free(change);
        line += length + (line[length] == '\n');
    }
    return list;
}

static json_t *problems_to_json(const Plan *plan) {
    json_t *list = json_array();
    for (int i = 0; i < plan->problem_count; i++) {
        json_t *item = json_object();
        put_text(item, "key", plan->problems[i].key);
        put_text(item, "message", plan->problems[i].message);
        json_array_append_new(list, item);
    }
    return list;
}

static json_t *data_to_json(const PlanData *data) {
    json_t *item = json_object();
    put(item, "samples", data->samples);
    put(item, "with_image", data->with_image);
    put(item, "missing_images", data->missing_images);
    put(item, "held_out_samples", data->held_out_samples);
    if (!data->lengths_known) return item;
    put_bool(item, "every_sample_measured", data->every_sample_measured);
    put(item, "cut", data->cut);
    put(item, "unsupervised", data->unsupervised);
    put(item, "answers_cut_off", data->answers_cut_off);
    put_real(item, "mean_length", data->mean_length);
    put(item, "longest", data->longest);
    put(item, "tokens", (int64_t)data->tokens);
    put(item, "supervised_tokens", (int64_t)data->supervised);
    put_real(item, "samples_per_batch", data->samples_per_batch);
    put_real(item, "tokens_per_batch", data->tokens_per_batch);
    return item;
}

static json_t *schedule_to_json(const Plan *plan) {
    json_t *item = json_object();
    put(item, "processes", plan->options.processes);
    put(item, "global_batch", plan->schedule.global_batch);
    put(item, "steps_per_epoch", plan->schedule.steps_per_epoch);
    put(item, "total_steps", plan->schedule.total_steps);
    put(item, "warmup_steps", plan->schedule.warmup_steps);
    put(item, "first_step", plan->schedule.first_step);
    return item;
}

static json_t *memory_to_json(const PlanMemory *memory) {
    json_t *item = json_object(), *kinds = json_object();
    put_text(item, "device", memory->cuda ? "cuda" : "cpu");
    for (int kind = 0; kind < MEMORY_KINDS; kind++)
        put(kinds, PLAN_KIND_NAMES[kind], memory->by_kind[kind]);
    json_object_set_new(item, "by_kind", kinds);
    put(item, "peak", memory->peak);
    put_text(item, "phase", PLAN_PHASE_NAMES[memory->phase]);
    put(item, "peak_features", memory->peak_of[PHASE_FEATURES]);
    put(item, "peak_training", memory->peak_of[PHASE_TRAINING]);
    put(item, "peak_evaluation", memory->peak_of[PHASE_EVALUATION]);
    put(item, "peak_asking", memory->peak_of[PHASE_ASKING]);
    put(item, "answers", memory->answers);
    put(item, "batch_tokens", memory->batch_tokens);
    put(item, "batch_images", memory->batch_images);
    put_bool(item, "assumed_longest", memory->assumed_longest);
    put(item, "prepared", memory->prepared);
    put(item, "kept", memory->kept);
    put(item, "feature_cache", memory->feature_cache);
    put(item, "loader", memory->loader);
    put(item, "snapshot", memory->snapshot);
    put(item, "program", memory->program);
    put(item, "host", memory->host);
    put(item, "processes_here", memory->processes_here);
    put(item, "machine_available", memory->machine);
    put(item, "gpu", memory->gpu);
    return item;
}

static json_t *disk_to_json(const PlanDisk *disk) {
    json_t *item = json_object();
    put(item, "checkpoint", disk->checkpoint_bytes);
    put(item, "written", disk->written);
    put(item, "kept", disk->kept);
    put(item, "needed", disk->needed);
    put(item, "free", disk->free);
    if (!disk->features) return item;
    put(item, "features", disk->features);
    put(item, "features_per_image", disk->feature_bytes);
    put(item, "features_free", disk->features_free);
    return item;
}

static json_t *evaluation_to_json(const PlanEvaluation *evaluation) {
    json_t *item = json_object();
    put_text(item, "task", evaluation->task);
    put(item, "items", evaluation->items);
    put(item, "tokens", evaluation->tokens);
    put(item, "layers", evaluation->layers);
    put(item, "heads", evaluation->heads);
    put(item, "answers", evaluation->answer_bytes);
    put(item, "free", evaluation->free);
    put(item, "at_once", evaluation->at_once);
    if (!evaluation->timed_items) return item;
    put(item, "timed_items", evaluation->timed_items);
    put_real(item, "seconds_per_item", evaluation->seconds_per_item);
    put_real(item, "seconds", evaluation->seconds);
    return item;
}

static json_t *time_to_json(const PlanTime *time) {
    json_t *item = json_object();
    put(item, "steps", time->steps);
    put_real(item, "seconds_per_step", time->seconds_per_step);
    put_real(item, "tokens_per_second", time->tokens_per_second);
    put_real(item, "features_seconds", time->features_seconds);
    put_real(item, "seconds", time->seconds);
    return item;
}

char *plan_to_json(const Plan *plan) {
    json_t *whole = json_object();
    put_bool(whole, "can_run", plan->problem_count == 0);
    put_text(whole, "plan_of", plan->evaluates ? "eval" : "train");
    json_object_set_new(whole, "problems", problems_to_json(plan));
    json_object_set_new(whole, "parameters", parts_to_json(plan));
    json_object_set_new(whole, "files", files_to_json(plan));
    json_object_set_new(whole, "changes", changes_to_json(plan));
    if (plan->data.known) json_object_set_new(whole, "data", data_to_json(&plan->data));
    if (!plan->evaluates) json_object_set_new(whole, "schedule", schedule_to_json(plan));
    if (plan->memory.known) json_object_set_new(whole, "memory", memory_to_json(&plan->memory));
    if (plan->disk.known) json_object_set_new(whole, "disk", disk_to_json(&plan->disk));
    if (plan->evaluation.known)
        json_object_set_new(whole, "evaluation", evaluation_to_json(&plan->evaluation));
    if (plan->time.known) json_object_set_new(whole, "time", time_to_json(&plan->time));
    char *text = json_dumps(whole, JSON_INDENT(2));
    json_decref(whole);
    return text;
}
