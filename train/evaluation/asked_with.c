// What answers and verdicts depend on, so that those that do not go together are not put together.
#include "autograd/crc32c.h"
#include "train/config/config_schema.h"
#include "train/evaluation/described_files.h"
#include "train/evaluation/evaluation_setup.h"
#include "train/saved/trained_weights.h"

#include <stdlib.h>
#include <string.h>

/// Keys of the configuration that decide what a model says and where it looks.
static const char *const ASKING_KEYS[] = {"model.architecture",
                                          "model.implicit_captioner",
                                          "model.positional_encodings",
                                          "model.clip_concat",
                                          "model.unet_feature_block",
                                          "model.timestep",
                                          "model.ensemble_size",
                                          "model.positional_encoding_std",
                                          "model.dtype",
                                          "lora.lora_enable",
                                          "lora.lora_r",
                                          "lora.lora_alpha",
                                          "lora.use_rslora",
                                          "lora.target_modules",
                                          "data.version",
                                          "data.system_message",
                                          "data.image_aspect_ratio",
                                          "data.image_normalization",
                                          "data.image_size",
                                          "data.model_max_length",
                                          "eval.keep",
                                          "eval.seed"};

/// Likewise, where they are not as published.
static const char PROJECTOR_WIDTH[] = "model.projector_width", FROZEN_TYPE[] = "model.frozen_dtype";

/// Those that decide what is made of it.
static const char *const JUDGING_KEYS[] = {"eval.task",
                                           "eval.annotations",
                                           "eval.masks",
                                           "eval.segments",
                                           "eval.image_folder",
                                           "eval.layers",
                                           "eval.heads",
                                           "eval.normalise",
                                           "eval.remove_corner",
                                           "eval.segmenter",
                                           "eval.sam",
                                           "eval.sam_prompt",
                                           "eval.more_masks",
                                           "eval.regions",
                                           "eval.region_images",
                                           "eval.phrases",
                                           "eval.referring_tokens",
                                           "eval.wordnet",
                                           "eval.category_threshold",
                                           "eval.as_published"};

static void put(json_t *object, const Config *config, const char *key) {
    char *value = config_format_value(config, &CONFIG_FIELDS[config_find_key(key)]);
    json_object_set_new(object, key, json_string(value));
    free(value);
}

/// Sets the member, whose value is NULL on failure.
static bool put_file(json_t *object, const char *key, json_t *description) {
    return description && json_object_set_new(object, key, description) == 0;
}

static bool put_network(json_t *object, const char *key, const char *path, Error *error) {
    return !path || put_file(object, key, describe_network(path, error));
}

static bool put_checkpoint(json_t *asked_with, const char *path, Error *error) {
    if (!path) return put_file(asked_with, "eval.checkpoint", json_string("untrained"));
    char *file = trained_weights_resolve(path, error);
    bool ok = file && put_file(asked_with, "eval.checkpoint", describe_content(file, error));
    free(file);
    return ok;
}

// ---- items

static uint32_t checksum_of_text(uint32_t checksum, const char *text) {
    return text ? crc32c(checksum, text, strlen(text) + 1) : crc32c(checksum, "\xff", 1);
}

static json_t *describe_items(const Task *task, const void *data) {
    uint32_t checksum = 0;
    int64_t count = task->count(data);
    for (int64_t i = 0; i < count; i++) {
        TaskItem item = {0};
        task->item(data, i, &item);
        checksum = checksum_of_text(checksum, item.id);
        checksum = checksum_of_text(checksum, item.file_name);
        checksum = checksum_of_text(checksum, item.expression);
        for (int u = 0; u < item.num_utterances; u++)
            checksum = checksum_of_text(checksum, item.utterances[u]);
    }
    return json_sprintf("%lld of %s with CRC-32C %08x", (long long)count, task->name, checksum);
}

json_t *evaluation_asked_of_any(const Config *config, const Task *task, const void *data,
                                Error *error) {
    json_t *with = json_object();
    for (size_t i = 0; i < sizeof ASKING_KEYS / sizeof *ASKING_KEYS; i++)
        put(with, config, ASKING_KEYS[i]);
    // answers of the published width and type do not say it
    if (config->model.projector_width > 0) put(with, config, PROJECTOR_WIDTH);
    if (config->model.frozen_dtype != FROZEN_AS_DTYPE) put(with, config, FROZEN_TYPE);
    // of maps that are averaged, what they are averaged over
    if (config->eval.keep == KEEP_MEAN) put(with, config, "eval.layers");
    if (config->eval.keep != KEEP_HEADS) put(with, config, "eval.heads");
    // of answers that are drawn, how
    if (config->eval.temperature > 0) {
        put(with, config, "eval.temperature");
        put(with, config, "eval.top_p");
    }
    const char *prompt = config->eval.prompt ? config->eval.prompt : task->prompt;
    json_object_set_new(with, "eval.prompt", json_string(prompt));
    json_object_set_new(with, "eval.max_new_tokens",
                        json_integer(evaluation_max_new_tokens(config)));
    json_object_set_new(
        with, "eval.query",
        json_string(evaluation_row(config) == ATTENTION_OWN_ROW ? "own" : "producing"));
    if (data) json_object_set_new(with, "items", describe_items(task, data));
    bool ok = put_network(with, "model.llm", config->model.llm, error) &&
              put_network(with, "model.vision_tower", config->model.vision_tower, error) &&
              (config->model.architecture == ADAPTERS_LLAVA ||
               put_network(with, "model.sd", config->model.sd, error));
    if (ok) return with;
    json_decref(with);
    return NULL;
}

json_t *evaluation_asked_with(const Config *config, const Task *task, const void *data,
                              Error *error) {
    json_t *with = evaluation_asked_of_any(config, task, data, error);
    if (!with || put_checkpoint(with, config->eval.checkpoint, error)) return with;
    json_decref(with);
    return NULL;
}

json_t *evaluation_grounded_with(const Config *config, Error *error) {
    json_t *with = evaluation_asked_with(config, evaluation_task(config), NULL, error);
    if (!with) return NULL;
    json_t *judged = evaluation_judged_with(config, NULL);
    json_object_update(with, judged);
    json_decref(judged);
    return with;
}

bool evaluation_is_asked_with(const char *key) {
    if (!strcmp(key, PROJECTOR_WIDTH) || !strcmp(key, FROZEN_TYPE)) return true;
    for (size_t i = 0; i < sizeof ASKING_KEYS / sizeof *ASKING_KEYS; i++)
        if (!strcmp(ASKING_KEYS[i], key)) return true;
    return false;
}

json_t *evaluation_judged_with(const Config *config, const json_t *asked_with) {
    json_t *with = json_object();
    for (size_t i = 0; i < sizeof JUDGING_KEYS / sizeof *JUDGING_KEYS; i++)
        put(with, config, JUDGING_KEYS[i]);
    json_object_set_new(with, "eval.aggregate", json_integer(evaluation_reduction(config)));
    if (asked_with) json_object_set(with, "answers", (json_t *)asked_with);
    return with;
}
