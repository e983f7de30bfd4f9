// What is in the data sets, and how long their samples are: those that are tokenized, all of them
// or, of a large data set, some, from whose ratio of tokens to words the others' are taken.
#include "train/plan/plan_parts.h"

#include "data/archive/archive_path.h"

#include "data/loader/loader.h"
#include "train/prepare/token_counts.h"
#include "train/trainer/schedule.h"
#include "train/trainer/training_check.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum {
    /// data sets up to this size are tokenized as a whole: a second
    MOST_TOKENIZED = 10000,
    SOME_TOKENIZED = 2000
};

// ---- opening

static void add_folders(Plan *plan, const char *key, const char *folder_key,
                        const DatasetFiles *files) {
    const char *last = "";
    for (int i = 0; i < files->count; i++) {
        const char *folder = files->values[i].image_folder;
        Error error = {0};
        if (!folder || !strcmp(folder, last)) continue;
        bool is_there = archive_path_is_folder(folder, &error);
        plan_add_file(plan, files->is_list ? key : folder_key, folder, is_there,
                      is_there ? NULL : checked_strdup(error.message));
        last = folder;
    }
}

static void add_part(Plan *plan, const char *key, const DatasetPart *part) {
    char *weight = part->weight == 1
                       ? checked_strdup("")
                       : format_string(", %lld in an epoch (weight %g)",
                                       llround(part->weight * (double)part->count), part->weight);
    char *formats = image_formats_text(part->formats);
    plan_add_file(plan, key, part->path, true,
                  format_string("%lld samples, %lld with an image (%s)%s%s", (long long)part->count,
                                (long long)part->with_image, formats, weight,
                                part->skipped ? "; images are missing" : ""));
    free(formats);
    free(weight);
}

static Dataset *open_data(Plan *plan, const char *key, const char *folder_key,
                          const DatasetFiles *files, DataIdentity *identity, int64_t *missing) {
    Error error = {0};
    add_folders(plan, key, folder_key, files);
    Dataset *data = dataset_open_files(files->values, files->count, MISSING_IMAGE_SKIP, &error);
    if (!data) {
        plan_add_file(plan, key, files->values[0].path, false, checked_strdup(error.message));
        return NULL;
    }
    *missing = dataset_skipped(data);
    *identity = (DataIdentity){dataset_count(data), dataset_checksum(data)};
    for (int i = 0; i < dataset_part_count(data); i++) {
        const DatasetPart part = dataset_part(data, i);
        add_part(plan, key, &part);
    }
    return data;
}

/// Whether missing images end the run: then says which is the first.
static void check_missing(Plan *plan, const char *key, const DatasetFiles *files, int64_t missing) {
    Error error = {0};
    if (!missing || plan->config->data.missing_image == MISSING_IMAGE_SKIP) return;
    Dataset *data = dataset_open_files(files->values, files->count, MISSING_IMAGE_FAIL, &error);
    dataset_close(data);
    plan_refuse(plan, key, "the images of %lld samples cannot be read; the first: %s",
                (long long)missing, error.message);
}

/// Lists why the data do not suit the configuration. False if there is a reason.
static bool check_data(Plan *plan, const PlanModel *model, const Dataset *data, bool is_held_out) {
    const int before = plan->problem_count;
    if (!model->model || !model->tokenizer) return true;
    for (int i = 0; i < TRAINING_CHECKS; i++) {
        const char *key;
        Error error = {0};
        const TrainingFacts facts = {plan->config, model->tokenizer,
                                     model->model->num_visual_tokens, data, is_held_out};
        // An image that does not fit, or turns too many, would be found again in the samples.
        if (plan->problem_count > before && i == TRAINING_CHECKS - 1) break;
        if (!training_check(i, &facts, &key, &error)) plan_add_problem(plan, key, error.message);
    }
    return plan->problem_count == before;
}

// ---- lengths

static void estimate(const Plan *plan, const PlanModel *model, const Dataset *data, int64_t index,
                     PlanLengths *lengths) {
    int64_t words = dataset_word_count(data, index), limit = plan->config->data.model_max_length;
    int64_t visual = dataset_has_image(data, index) ? model->model->num_visual_tokens : 0;
    int64_t tokens = visual + (int64_t)(lengths->per_word * (double)words) + 1;
    if (!plan->config->data.tokens_per_batch)
        lengths->tokens[index] = (int32_t)(tokens < limit ? tokens : limit);
    lengths->supervised[index] = (int32_t)(lengths->supervised_per_word * (double)words);
}

/// Tokenizes every `stride`-th sample.
static bool measure(Plan *plan, const PlanModel *model, const Dataset *data, int64_t stride,
                    PlanLengths *lengths, Error *error) {
    double text = 0, supervised = 0, words = 0, sum = 0;
    int64_t measured = 0;
    for (int64_t i = 0; i < dataset_count(data); i += stride, measured++) {
        TokenSequence sequence = {0};
        if (!plan_tokenize(plan, model, data, i, &sequence, error)) return false;
        lengths->tokens[i] = sequence.length;
        lengths->supervised[i] = sequence.supervised_count;
        bool has_image = sequence.image_position >= 0;
        text += sequence.length - (has_image ? model->model->num_visual_tokens : 0);
        supervised += sequence.supervised_count;
        words += dataset_word_count(data, i);
        sum += sequence.length;
        plan_note_length(plan, sequence.length);
        plan->data.cut += sequence.truncated;
        plan->data.unsupervised += sequence.supervised_count == 0;
        plan->data.answers_cut_off += sequence.answer_is_cut_off;
        token_sequence_free(&sequence);
    }
    lengths->per_word = words > 0 ? text / words : 1;
    lengths->supervised_per_word = words > 0 ? supervised / words : 1;
    plan->data.mean_length = sum / (double)measured;
    return true;
}

/// Room for the tokens of each sample; where they decide how samples are packed, as the run counts
/// them.
static bool begin_lengths(const Plan *plan, const PlanModel *model, const Dataset *data,
                          PlanLengths *lengths, Error *error) {
    const size_t count = (size_t)dataset_count(data);
    const ConversationFormat format =
        model_setup_format(plan->config, model->model->num_visual_tokens);
    const TokenCountOptions options = {
        .config = plan->config, .dataset = data, .tokenizer = model->tokenizer, .format = &format};
    bool stopping = false;
    lengths->supervised = checked_calloc(count, sizeof *lengths->supervised);
    if (plan->config->data.tokens_per_batch)
        return token_counts(&options, &stopping, &lengths->tokens, error);
    lengths->tokens = checked_calloc(count, sizeof *lengths->tokens);
    return true;
}

static bool find_lengths(Plan *plan, const PlanModel *model, const Dataset *data,
                         PlanLengths *lengths) {
    int64_t count = dataset_count(data);
    int64_t stride = count <= MOST_TOKENIZED ? 1 : count / SOME_TOKENIZED;
    Error error = {0};
    if (!begin_lengths(plan, model, data, lengths, &error) ||
        !measure(plan, model, data, stride, lengths, &error)) {
        plan_refuse(plan, "data.train", "%s", error.message);
        return false;
    }
    for (int64_t i = 0; i < count; i++)
        if (i % stride) estimate(plan, model, data, i, lengths);
    plan->data.lengths_known = true;
    plan->data.every_sample_measured = stride == 1;
    return true;
}

// ---- steps

/// NULL, without a problem, where it needs lengths that are not known.
static Sampler *open_sampler(Plan *plan, const Dataset *data, const PlanLengths *lengths) {
    const TrainingSection *training = &plan->config->training;
    const int64_t tokens_per_batch = plan->config->data.tokens_per_batch;
    Error error;
    if (tokens_per_batch && !plan->data.lengths_known) return NULL;
    const LoaderOptions options = {.dataset = data,
                                   .seed = (uint64_t)training->seed,
                                   .shuffle = true,
                                   .group_by_modality_length =
                                       plan->config->data.group_by_modality_length,
                                   .world_size = (int)plan->options.processes,
                                   .micro_batch = (int)training->per_device_train_batch_size,
                                   .token_lengths = tokens_per_batch ? lengths->tokens : NULL,
                                   .tokens_per_batch = tokens_per_batch,
                                   .accumulation = (int)training->gradient_accumulation_steps};
    Sampler *sampler = loader_sampler(&options, &error);
    if (!sampler) plan_refuse(plan, "data.train", "%s", error.message);
    return sampler;
}

static void count_steps(Plan *plan, const Sampler *sampler) {
    const TrainingSection *training = &plan->config->training;
    PlanSchedule *schedule = &plan->schedule;
    schedule->steps_per_epoch = sampler_steps_per_epoch(sampler);
    Error error;
    if (!schedule_total_steps(plan->config, schedule->steps_per_epoch, &schedule->total_steps,
                              &error)) {
        plan_add_problem(plan, "training.num_train_epochs", error.message);
        return;
    }
    schedule->warmup_steps = schedule_warmup_steps(training->warmup_ratio, schedule->total_steps);
    schedule->known = true;
}

// ---- held-out data

static void read_held_out(Plan *plan, const PlanModel *model, PlanBatches *batches) {
    const DataSection *section = &plan->config->data;
    int64_t missing = 0, limit = plan->config->training.eval_samples;
    if (!section->eval.count) return;
    Dataset *data = open_data(plan, "data.eval", "data.eval_image_folder", &section->eval,
                              &plan->data.eval, &missing);
    if (!data) return;
    check_missing(plan, "data.eval", &section->eval, missing);
    int64_t count = dataset_count(data);
    plan->data.held_out_samples = limit >= 0 && limit < count ? limit : count;
    for (int64_t i = 0; i < plan->data.held_out_samples; i++)
        batches->cached_images += dataset_has_image(data, i);
    if (check_data(plan, model, data, true) && model->model && model->tokenizer)
        plan_find_evaluation(plan, model, data, batches);
    dataset_close(data);
}

// ---- the whole

static void read_training(Plan *plan, const PlanModel *model, PlanBatches *batches) {
    const DataSection *section = &plan->config->data;
    if (!section->train.count) return;
    Dataset *data = open_data(plan, "data.train", "data.image_folder", &section->train,
                              &plan->data.train, &plan->data.missing_images);
    if (!data) return;
    check_missing(plan, "data.train", &section->train, plan->data.missing_images);
    plan->data.known = true;
    plan->data.samples = dataset_count(data);
    for (int64_t i = 0; i < plan->data.samples; i++)
        plan->data.with_image += dataset_has_image(data, i);
    batches->cached_images += plan->data.with_image;
    PlanLengths lengths = {0};
    const bool suits = check_data(plan, model, data, false),
               measured = suits && model->model && model->tokenizer &&
                          find_lengths(plan, model, data, &lengths);
    Sampler *sampler = open_sampler(plan, data, &lengths);
    if (sampler) count_steps(plan, sampler);
    if (measured && plan->schedule.known)
        plan_find_batches(plan, model, data, sampler, &lengths, batches);
    free(lengths.tokens);
    free(lengths.supervised);
    if (sampler) sampler_free(sampler);
    dataset_close(data);
}

void plan_data(Plan *plan, const PlanModel *model, PlanBatches *batches) {
    const TrainingSection *training = &plan->config->training;
    plan->schedule.global_batch = schedule_global_batch(plan->config, plan->options.processes);
    read_training(plan, model, batches);
    read_held_out(plan, model, batches);
    if (!plan->schedule.known && training->max_steps >= 0) {
        plan->schedule.total_steps = training->max_steps;
        plan->schedule.warmup_steps =
            schedule_warmup_steps(training->warmup_ratio, training->max_steps);
    }
}
