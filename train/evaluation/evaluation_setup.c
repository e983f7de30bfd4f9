#include "train/evaluation/evaluation_setup.h"

#include "train/config/config_schema.h"

#include <stdlib.h>
#include <string.h>

const Task *evaluation_task(const Config *config) {
    EvaluationTask task = config->eval.task;
    return task == EVALUATE_POINT_ACCURACY ? &TASK_POINTS : TASKS[task];
}

const char *evaluation_prompt(const Config *config) {
    const char *own = evaluation_task(config)->prompt;
    if (config->eval.prompt) return config->eval.prompt;
    return strstr(own, "{}") ? TASK_POINTS.prompt : own;
}

int evaluation_max_new_tokens(const Config *config) {
    return config->eval.max_new_tokens ? (int)config->eval.max_new_tokens
                                       : evaluation_task(config)->max_new_tokens;
}

AttentionRow evaluation_row(const Config *config) {
    return config->eval.query == QUERY_AUTO ? evaluation_task(config)->row
                                            : (AttentionRow)config->eval.query;
}

GroupReduction evaluation_reduction(const Config *config) {
    return config->eval.aggregate == AGGREGATE_AUTO ? evaluation_task(config)->reduction
                                                    : (GroupReduction)config->eval.aggregate;
}

bool evaluation_require(const Config *config, Error *error) {
    return evaluation_require_files(config, error) &&
           config_require(config, error, "eval.output_dir", NULL);
}

bool evaluation_require_files(const Config *config, Error *error) {
    const Task *task = evaluation_task(config);
    if (!config_require(config, error, "eval.annotations", "eval.image_folder", NULL))
        return error_context(error, "the task %s reads %s", task->name, task->files);
    const EvalSection *eval = &config->eval;
    if ((task->reads_masks && !config_require(config, error, "eval.masks", NULL)) ||
        (task->reads_segments && !config_require(config, error, "eval.segments", NULL)) ||
        (eval->segmenter == SEGMENTER_SAM && !config_require(config, error, "eval.sam", NULL)) ||
        (eval->segmenter == SEGMENTER_REGIONS &&
         !config_require(config, error, "eval.regions", NULL)))
        return false;
    if (eval->prompt && strstr(task->prompt, "{}") && !strstr(eval->prompt, "{}"))
        return config_refuse(config, "eval.prompt", error,
                             "has no {} for the expression to stand in; the task's own is '%s'",
                             task->prompt);
    return true;
}

EvaluationOptions evaluation_options(const Config *config) {
    const EvalSection *eval = &config->eval;
    return (EvaluationOptions){.annotations = eval->annotations,
                               .masks = eval->masks,
                               .segments = eval->segments,
                               .image_folder = eval->image_folder,
                               .split = eval->split,
                               .sentences = eval->sentences,
                               .samples = eval->samples,
                               .prompt = eval->prompt,
                               .grounding = {.reduction = evaluation_reduction(config),
                                             .normalise = eval->normalise,
                                             .remove_corner = eval->remove_corner},
                               .referring_tokens = eval->referring_tokens,
                               .as_published = eval->as_published,
                               .plural_by_flag = eval->plurals == PLURALS_FLAGGED,
                               .category_threshold = eval->category_threshold,
                               .more_masks = eval->more_masks,
                               .wordnet = eval->wordnet,
                               .meteor = eval->meteor,
                               .seed = (uint64_t)eval->seed};
}

static bool was(const json_t *asked_with, const char *key, const char *value) {
    const char *there = json_string_value(json_object_get(asked_with, key));
    return there && !strcmp(there, value);
}

/// Whether the key names nothing else than what was averaged when the answers were asked.
static bool is_as_averaged(const Config *config, const char *key, const IntList *named,
                           const json_t *asked_with, Error *error) {
    char *value = config_format_value(config, &CONFIG_FIELDS[config_find_key(key)]);
    bool same = !named->count || was(asked_with, key, value);
    free(value);
    const char *then = json_string_value(json_object_get(asked_with, key));
    return same || config_refuse(config, key, error,
                                 "the stored answers are means over %s = %s (eval.keep); other "
                                 "ones are to be asked for",
                                 key, then ? then : "something else");
}

bool evaluation_select_maps(const Config *config, const json_t *asked_with,
                            GroundingOptions *grounding, Error *error) {
    const EvalSection *eval = &config->eval;
    bool heads = was(asked_with, "eval.keep", "heads"),
         layers = heads || was(asked_with, "eval.keep", "layers");
    if ((!layers && !is_as_averaged(config, "eval.layers", &eval->layers, asked_with, error)) ||
        (!heads && !is_as_averaged(config, "eval.heads", &eval->heads, asked_with, error)))
        return false;
    if (layers) {
        grounding->layers = eval->layers.values;
        grounding->num_layers = eval->layers.count;
    }
    if (heads) {
        grounding->heads = eval->heads.values;
        grounding->num_heads = eval->heads.count;
    }
    return true;
}
