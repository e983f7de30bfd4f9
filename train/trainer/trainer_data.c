// The data of a run: files, their checks, the features that are kept of them, the loader, and how
// many steps they make.
#include "autograd/text/utf8.h"
#include "train/features/feature_fill.h"
#include "train/group/shared_look.h"
#include "train/prepare/token_counts.h"
#include "train/trainer/schedule.h"
#include "train/trainer/trainer_parts.h"
#include "train/trainer/training_check.h"

#include <stdlib.h>
#include <string.h>

/// What the first bytes of the image files say.
static void tell_of_images(const Dataset *data) {
    for (int i = 0; i < dataset_part_count(data); i++) {
        const DatasetPart part = dataset_part(data, i);
        char *formats = image_formats_text(part.formats);
        if (strcmp(formats, "none") != 0)
            utf8_print(stderr, "%s: images: %s\n", part.path, formats);
        if (part.skipped_because)
            utf8_print(stderr, "%s: left out %lld sample(s) without their image; the first: %s\n",
                       part.path, (long long)part.skipped, part.skipped_because);
        free(formats);
    }
}

/// Every rank calls it, since they look at images together.
static Dataset *open_files(Trainer *trainer, const DatasetFiles *files, const char *what,
                           Error *error) {
    SharedLook look = {trainer->group, what, &trainer->stopping};
    const ImageSharers sharers = shared_look_sharers(&look);
    return dataset_open_shared(files->values, files->count, trainer->config->data.missing_image,
                               &sharers, error);
}

bool trainer_open_data(Trainer *trainer, Error *error) {
    const DataSection *data = &trainer->config->data;
    trainer->data = open_files(trainer, &data->train, TRAINING_DATA, error);
    if (!trainer->data) return false;
    if (trainer->is_first) tell_of_images(trainer->data);
    if (trainer->is_first) trainer->skipped = dataset_skipped(trainer->data);
    if (!data->eval.count) return true;
    trainer->held_out = open_files(trainer, &data->eval, HELD_OUT_DATA, error);
    return trainer->held_out != NULL;
}

/// Whether the data suit the configuration.
bool trainer_check_data(const Trainer *trainer, Error *error) {
    const char *key;
    TrainingFacts facts = {.config = trainer->config,
                           .tokenizer = trainer->setup.tokenizer,
                           .num_visual_tokens = trainer->setup.model->num_visual_tokens,
                           .data = trainer->data};
    for (int i = 0; i < TRAINING_CHECKS; i++) {
        facts.data = trainer->data;
        facts.is_held_out = false;
        if (!training_check(i, &facts, &key, error)) return false;
        facts.data = trainer->held_out;
        facts.is_held_out = true;
        if (facts.data && !training_check(i, &facts, &key, error)) return false;
    }
    return true;
}

bool trainer_fill_caches(Trainer *trainer, Error *error) {
    const Config *config = trainer->config;
    bool is_kept = config->data.feature_folder != NULL;
    if (!config->data.cache_features) return true;
    FeatureFolder *folder =
        is_kept ? feature_folder_open(config, trainer->setup.model, false, error) : NULL;
    const FeatureFilling filling = {config, trainer->setup.model, trainer->group, folder};
    bool ok = ranks_go_on(trainer->group, folder || !is_kept, &trainer->stopping, error);
    if (ok) {
        trainer->cache = feature_fill(&filling, trainer->data, -1, &trainer->stopping, error);
        ok = trainer->cache != NULL;
    }
    if (ok && trainer->held_out) {
        trainer->held_out_cache = feature_fill(
            &filling, trainer->held_out, config->training.eval_samples, &trainer->stopping, error);
        ok = trainer->held_out_cache != NULL;
    }
    feature_folder_close(folder);
    return ok;
}

LoaderOptions trainer_loader_options(const Trainer *trainer) {
    const Config *config = trainer->config;
    int threads = (int)config->data.dataloader_num_workers;
    return (LoaderOptions){.tokenizer = trainer->setup.tokenizer,
                           .format = trainer->setup.format,
                           .image_aspect = config->data.image_aspect_ratio,
                           .image_normalization = config->data.image_normalization,
                           .image_size = (int)config->data.image_size,
                           .device = trainer->setup.device,
                           .without_images = config->data.cache_features,
                           .damaged_image = config->data.missing_image,
                           .seed = (uint64_t)config->training.seed,
                           .rank = process_rank(trainer->group),
                           .world_size = process_count(trainer->group),
                           .accumulation = 1,
                           .prefetch = (int)config->data.dataloader_prefetch_factor,
                           .threads = threads > 0 ? threads : 1};
}

/// Asked by the loader's threads, some batches ahead of the step.
static bool has_features(const void *cache, int64_t index) {
    if (!feature_cache_has(cache, index)) return false;
    feature_cache_expect(cache, index);
    return true;
}

static LoaderOptions training_options(const Trainer *trainer) {
    const Config *config = trainer->config;
    LoaderOptions options = trainer_loader_options(trainer);
    options.dataset = trainer->data;
    options.shuffle = true;
    options.group_by_modality_length = config->data.group_by_modality_length;
    options.micro_batch = (int)config->training.per_device_train_batch_size;
    options.token_lengths = trainer->token_lengths;
    options.tokens_per_batch = config->data.tokens_per_batch;
    options.accumulation = (int)config->training.gradient_accumulation_steps;
    return options;
}

bool trainer_open_loader(Trainer *trainer, Error *error) {
    LoaderOptions options = training_options(trainer);
    options.has_features = trainer->cache ? has_features : NULL;
    options.features = trainer->cache;
    options.first_step = trainer->position.step;
    options.end_step = trainer->max_steps;
    trainer->loader = loader_create(&options, error);
    return trainer->loader != NULL;
}

bool trainer_count_tokens(Trainer *trainer, Error *error) {
    if (!trainer->config->data.tokens_per_batch) return true;
    const TokenCountOptions options = {.config = trainer->config,
                                       .dataset = trainer->data,
                                       .tokenizer = trainer->setup.tokenizer,
                                       .format = &trainer->setup.format,
                                       .group = trainer->group,
                                       .progress = trainer->is_first ? stderr : NULL};
    return token_counts(&options, &trainer->stopping, &trainer->token_lengths, error);
}

/// Steps of the whole run.
bool trainer_count_steps(Trainer *trainer, Error *error) {
    LoaderOptions options = training_options(trainer);
    int64_t steps_per_epoch = loader_steps_per_epoch(&options, error);
    if (steps_per_epoch < 0 ||
        !schedule_total_steps(trainer->config, steps_per_epoch, &trainer->max_steps, error))
        return false;
    trainer->warmup_steps =
        schedule_warmup_steps(trainer->config->training.warmup_ratio, trainer->max_steps);
    return true;
}
