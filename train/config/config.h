/// The configuration of every verb: one typed schema, read from YAML and from `section.key=value`
/// on the command line.
///
/// The schema (config_schema.c) is one table: name, type, default, range and meaning of each key.
/// It produces the parser, the messages and the documentation (`difflmm config`). Names are those
/// that users of the HF Trainer, LLaVA and PEFT know, grouped in sections. Relative paths are
/// relative to the current directory, as in LLaVA;
/// `~` and `~user` at the beginning of a path are home folders.
///
/// Every message names the file, line and column (or the command line), the key, what was found and
/// what was expected; an unknown key gets the nearest valid one.
#pragma once
#include "autograd/error.h"
#include "data/conversation.h"
#include "data/images/preprocess.h"
#include "data/llava_dataset.h"
#include "eval/attention/answer.h"
#include "eval/segmenters/segmenter.h"
#include "eval/tasks/choices.h"
#include "models/difflmm.h"

#include <stdint.h>
#include <stdio.h>

typedef enum ScheduleType { SCHEDULE_COSINE, SCHEDULE_CONSTANT, SCHEDULE_LINEAR } ScheduleType;
typedef enum DeviceChoice { DEVICE_AUTO, DEVICE_CPU, DEVICE_CUDA } DeviceChoice;
typedef enum OutlierAction { OUTLIER_WARN, OUTLIER_SKIP, OUTLIER_STOP } OutlierAction;
typedef enum SegmenterChoice {
    SEGMENTER_NONE,
    SEGMENTER_REGION_GROWING,
    SEGMENTER_TRUTH,
    SEGMENTER_SAM,
    SEGMENTER_REGIONS
} SegmenterChoice;
/// An AttentionRow, or the task's own.
typedef enum QueryChoice { QUERY_PRODUCING, QUERY_OWN, QUERY_AUTO } QueryChoice;
/// A GroupReduction, or the task's own.
typedef enum AggregateChoice {
    AGGREGATE_MEAN,
    AGGREGATE_MAX,
    AGGREGATE_FIRST,
    AGGREGATE_AUTO
} AggregateChoice;
typedef enum PluralChoice { PLURALS_BY_SEGMENTS, PLURALS_FLAGGED } PluralChoice;

typedef struct IntList {
    int *values;
    int count;
} IntList;

typedef struct StringList {
    char **values;
    int count;
} StringList;

typedef struct DatasetFiles {
    /// After config_load() each has the image folder of the section where it has none of its own.
    DatasetFile *values;
    /// 0: null
    int count;
    /// written as a list, and not as the one path
    bool is_list;
} DatasetFiles;

typedef struct LoraSection {
    bool lora_enable;
    int64_t lora_r;
    double lora_alpha, lora_dropout;
    bool use_rslora;
    StringList target_modules;
} LoraSection;

typedef struct DataSection {
    DatasetFiles train;
    char *image_folder;
    /// none: no loss on held-out data
    DatasetFiles eval;
    char *eval_image_folder;
    ConversationTemplate version;
    /// NULL: as published
    char *system_message;
    ImageAspect image_aspect_ratio;
    ImageNormalization image_normalization;
    int64_t image_size, model_max_length;
    bool group_by_modality_length;
    /// 0: micro-batches have a fixed number of samples
    int64_t tokens_per_batch;
    MissingImage missing_image;
    bool cache_features;
    /// NULL: none; only with cache_features
    char *feature_folder;
    int64_t dataloader_num_workers, dataloader_prefetch_factor;
} DataSection;

typedef struct TrainingSection {
    char *output_dir;
    int64_t seed;
    double num_train_epochs;
    /// -1: as num_train_epochs says
    int64_t max_steps;
    int64_t per_device_train_batch_size, per_device_eval_batch_size, gradient_accumulation_steps;
    /// mm_projector_lr is never NAN after config_load()
    double learning_rate, mm_projector_lr;
    double weight_decay, adam_beta1, adam_beta2, adam_epsilon;
    /// 0: no clipping
    double max_grad_norm;
    double warmup_ratio;
    ScheduleType lr_scheduler_type;
    int64_t save_steps, save_total_limit, eval_steps, eval_samples, logging_steps;
    /// 0: none
    int64_t save_keep_steps;
    /// "false", "true" (the loss on data.eval), or a figure of eval.tasks
    char *save_best;
    bool save_in_background;
    /// 0: no detector
    double outlier_zscore;
    OutlierAction outlier_action;
    bool shard_optimizer;
    /// seconds
    int64_t distributed_timeout;
    bool tensorboard;
    int64_t log_samples;
    bool accept_changes;
    /// "auto", "never", or the checkpoint's path
    char *resume;
    DeviceChoice device;
    /// 0: one per core
    int64_t threads;
} TrainingSection;

typedef struct EvalSection {
    EvaluationTask task;
    /// in training: names of tasks, and YAML files
    StringList tasks;
    char *annotations, *masks, *segments, *image_folder, *split;
    SentenceChoice sentences;
    /// NULL: adapters as initialised
    char *checkpoint;
    /// NULL: below output_dir
    char *output_dir, *answers;
    /// of answers that groundLMM's scripts left: the tokenizer (NULL: model.llm's), how pictures
    /// were seen, ids in front of an answer
    char *tokenizer;
    PictureGeometry geometry;
    int64_t offset;
    /// NULL: the task's
    char *prompt;
    /// 0: the task's
    int64_t max_new_tokens;
    double temperature, top_p;
    int64_t batch_size;
    QueryChoice query;
    /// empty: all
    IntList layers, heads;
    KeptMaps keep;
    bool normalise, remove_corner;
    AggregateChoice aggregate;
    ReferringTokens referring_tokens;
    PluralChoice plurals;
    SegmenterChoice segmenter;
    char *sam;
    SamPromptKind sam_prompt;
    bool more_masks;
    char *regions, *region_images, *phrases, *wordnet;
    double category_threshold;
    char *meteor, *bert;
    bool as_published;
    /// -1: all
    int64_t samples;
    int64_t pictures;
    int64_t seed;
} EvalSection;

/// Where a value came from.
typedef struct ConfigOrigin {
    enum { ORIGIN_DEFAULT, ORIGIN_FILE, ORIGIN_COMMAND_LINE } kind;
    /// counted from 1, for ORIGIN_FILE
    int line, column;
} ConfigOrigin;

typedef struct Config {
    /// As the keys of the section say. What the others decide is not in it: image_size,
    /// model_max_length, seed and lora (model_setup_options()).
    DiffLMMOptions model;
    /// model.adapters, a checkpoint to start from, or NULL
    char *adapters;
    LoraSection lora;
    DataSection data;
    TrainingSection training;
    EvalSection eval;

    /// the file it was read from, or NULL
    char *path;
    /// one per key, in the schema's order
    ConfigOrigin *origins;
} Config;

/// Reads a YAML file (NULL: defaults only) and then `num_overrides` arguments of the form
/// section.key=value, of which the last one of a key counts. Lists are written as YAML writes them:
/// eval.layers=[0, 1]. A section `sweep` is passed over (train/sweep/). NULL on failure; the caller
/// frees with config_free().
Config *config_load(const char *path, const char *const *overrides, int num_overrides,
                    Error *error);
/// The same of a configuration's text, `path` being where it came from.
Config *config_load_text(const char *text, const char *path, const char *const *overrides,
                         int num_overrides, Error *error);
void config_free(Config *config);

/// Succeeds if every key has a value; else names the first that has none and says what it is for.
/// The keys end with NULL: config_require(config, error, "data.train", "training.output_dir",
/// NULL).
bool config_require(const Config *config, Error *error, ...) __attribute__((sentinel));

/// config_require() on data.train, and on data.image_folder unless each of its files has its own.
bool config_require_data(const Config *config, Error *error);

/// config_require() on the directories that the configured architecture is made of. Refuses a
/// data.image_normalization that it has no use for.
bool config_require_model(const Config *config, Error *error);

/// Fills the error with where the key was set, its name and the message: "tiny.yaml:3:10:
/// model.llm: <message>". For what only a verb can know. Returns false.
bool config_refuse(const Config *config, const char *key, Error *error, const char *format, ...)
    __attribute__((format(printf, 4, 5)));

/// The resolved configuration as a YAML document that config_load() reads back to the same values;
/// the caller frees it. Sections are all there, defaults included.
char *config_to_yaml(const Config *config);

/// The same without the keys that are as by default: who reads it back has the same keys set.
char *config_set_keys_to_yaml(const Config *config);

/// Writes config_to_yaml() to a file, whole or not at all.
bool config_save(const Config *config, const char *path, Error *error);

/// Every key with type, default, range and meaning, as a YAML document with comments.
void config_document(FILE *out);

/// The same about a section or a key. An unknown name is an error that names the nearest.
bool config_document_key(FILE *out, const char *name, Error *error);
