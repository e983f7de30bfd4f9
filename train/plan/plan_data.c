// The order of samples is a function of the seed, so the micro-batches of the run are known before
// it runs: their lengths are looked up in samples that are tokenized, all of them or, of a large
// data set, some, from whose ratio of tokens to words the others' are taken.
#include "train/plan/plan_parts.h"

#include "data/archive/archive_path.h"

#include "data/loader.h"
#include "train/trainer/schedule.h"
#include "train/trainer/training_check.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum {
    /// data sets up to this size are tokenized as a whole: a second
    MOST_TOKENIZED = 10000,
    SOME_TOKENIZED = 2000,
    /// places in the run's order of samples that are looked at
    MOST_SLOTS = 1 << 25
};

/// Of each sample.
typedef struct Lengths {
    /// visual tokens counted, cut
    int32_t *tokens, *supervised;
    double per_word, supervised_per_word;
} Lengths;

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

static bool tokenize(const Plan *plan, const PlanModel *model, const Dataset *data, int64_t index,
                     TokenSequence *sequence, Error *error) {
    ConversationFormat format = model_setup_format(plan->config, model->model->num_visual_tokens);
    Sample sample;
    if (!dataset_sample(data, index, &sample, error)) return false;
    bool ok = sample_tokenize(&sample, model->tokenizer, &format, sequence, error);
    sample_free(&sample);
    return ok;
}

static void note_length(Plan *plan, int64_t length) {
    if (length > plan->data.longest) plan->data.longest = length;
}

static void estimate(const Plan *plan, const PlanModel *model, const Dataset *data, int64_t index,
                     Lengths *lengths) {
    int64_t words = dataset_word_count(data, index), limit = plan->config->data.model_max_length;
    int64_t visual = dataset_has_image(data, index) ? model->model->num_visual_tokens : 0;
    int64_t tokens = visual + (int64_t)(lengths->per_word * (double)words) + 1;
    lengths->tokens[index] = (int32_t)(tokens < limit ? tokens : limit);
    lengths->supervised[index] = (int32_t)(lengths->supervised_per_word * (double)words);
}

/// Tokenizes every `stride`-th sample.
static bool measure(Plan *plan, const PlanModel *model, const Dataset *data, int64_t stride,
                    Lengths *lengths, Error *error) {
    double text = 0, supervised = 0, words = 0, sum = 0;
    int64_t measured = 0;
    for (int64_t i = 0; i < dataset_count(data); i += stride, measured++) {
        TokenSequence sequence = {0};
        if (!tokenize(plan, model, data, i, &sequence, error)) return false;
        lengths->tokens[i] = sequence.length;
        lengths->supervised[i] = sequence.supervised_count;
        bool has_image = sequence.image_position >= 0;
        text += sequence.length - (has_image ? model->model->num_visual_tokens : 0);
        supervised += sequence.supervised_count;
        words += dataset_word_count(data, i);
        sum += sequence.length;
        note_length(plan, sequence.length);
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

static bool find_lengths(Plan *plan, const PlanModel *model, const Dataset *data,
                         Lengths *lengths) {
    int64_t count = dataset_count(data);
    int64_t stride = count <= MOST_TOKENIZED ? 1 : count / SOME_TOKENIZED;
    Error error;
    lengths->tokens = checked_calloc((size_t)count + 1, sizeof *lengths->tokens);
    lengths->supervised = checked_calloc((size_t)count + 1, sizeof *lengths->supervised);
    if (!measure(plan, model, data, stride, lengths, &error)) {
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

static Sampler *open_sampler(Plan *plan, const Dataset *data) {
    const TrainingSection *training = &plan->config->training;
    Error error;
    const LoaderOptions options = {.dataset = data,
                                   .seed = (uint64_t)training->seed,
                                   .shuffle = true,
                                   .group_by_modality_length =
                                       plan->config->data.group_by_modality_length,
                                   .world_size = (int)plan->options.processes,
                                   .micro_batch = (int)training->per_device_train_batch_size,
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

// ---- the run's micro-batches

typedef struct Candidate {
    int64_t tokens, images, count;
    /// [micro_batch]
    int64_t *indices;
} Candidate;

/// The largest by tokens, in falling order, and in the last place the one with most images.
typedef struct Candidates {
    Candidate items[PLAN_BATCHES];
    int64_t micro_batch;
} Candidates;

static void put(Candidates *candidates, int place, const Candidate *candidate) {
    Candidate *item = &candidates->items[place];
    int64_t *indices = item->indices;
    memcpy(indices, candidate->indices, (size_t)candidates->micro_batch * sizeof *indices);
    *item = *candidate;
    item->indices = indices;
}

static void consider(Candidates *candidates, const Candidate *candidate) {
    enum { MOST_IMAGES = PLAN_BATCHES - 1 };
    const Candidate *images = &candidates->items[MOST_IMAGES];
    if (candidate->images > images->images ||
        (candidate->images == images->images && candidate->tokens > images->tokens))
        put(candidates, MOST_IMAGES, candidate);
    int place = MOST_IMAGES;
    while (place > 0 && candidate->tokens > candidates->items[place - 1].tokens) place--;
    if (place == MOST_IMAGES) return;
    for (int i = MOST_IMAGES - 1; i > place; i--) put(candidates, i, &candidates->items[i - 1]);
    put(candidates, place, candidate);
}

/// Goes through the run (at most MOST_SLOTS places of it): sums tokens and keeps the largest
/// micro-batches.
static void walk(Plan *plan, const Dataset *data, Sampler *sampler, const Lengths *lengths,
                 Candidates *candidates) {
    PlanSchedule *schedule = &plan->schedule;
    int64_t size = candidates->micro_batch, steps = schedule->total_steps,
            most = MOST_SLOTS / schedule->global_batch + 1;
    Candidate batch = {.indices = checked_calloc((size_t)size, sizeof *batch.indices)};
    double tokens = 0, supervised = 0;
    int64_t walked = steps < most ? steps : most;
    for (int64_t step = 0; step < walked; step++)
        for (int64_t slot = 0; slot < schedule->global_batch; slot++) {
            if (slot % size == 0) batch.tokens = batch.images = batch.count = 0;
            int64_t index = sampler_sample(sampler, step, slot);
            if (index >= 0) {
                batch.indices[batch.count++] = index;
                batch.tokens += lengths->tokens[index];
                batch.images += dataset_has_image(data, index);
                supervised += lengths->supervised[index];
            }
            if (slot % size == size - 1) {
                tokens += (double)batch.tokens;
                consider(candidates, &batch);
            }
        }
    double share = walked > 0 ? (double)steps / (double)walked : 0;
    plan->data.tokens = tokens * share;
    plan->data.supervised = supervised * share;
    free(batch.indices);
}

static void tokenize_batch(Plan *plan, const PlanModel *model, const Dataset *data,
                           const int64_t *indices, int64_t count, PlanBatch *batch) {
    batch->sequences = checked_calloc((size_t)count + 1, sizeof *batch->sequences);
    for (int64_t i = 0; i < count; i++) {
        Error error;
        if (tokenize(plan, model, data, indices[i], &batch->sequences[batch->count], &error))
            batch->count++;
        else
            plan_refuse(plan, "data.train", "%s", error.message);
    }
}

static void find_batches(Plan *plan, const PlanModel *model, const Dataset *data, Sampler *sampler,
                         const Lengths *lengths, PlanBatches *batches) {
    Candidates candidates = {.micro_batch = plan->config->training.per_device_train_batch_size};
    for (int i = 0; i < PLAN_BATCHES; i++)
        candidates.items[i].indices =
            checked_calloc((size_t)candidates.micro_batch, sizeof(int64_t));
    walk(plan, data, sampler, lengths, &candidates);
    for (int i = 0; i < PLAN_BATCHES; i++) {
        const Candidate *candidate = &candidates.items[i];
        PlanBatch *batch = &batches->training[batches->training_count];
        batches->training_count += candidate->count > 0;
        if (candidate->count)
            tokenize_batch(plan, model, data, candidate->indices, candidate->count, batch);
        for (int k = 0; k < batch->count; k++) note_length(plan, batch->sequences[k].length);
        free(candidate->indices);
    }
}

// ---- held-out data

static int64_t batch_tokens(const PlanBatch *batch) {
    int64_t tokens = 0;
    for (int i = 0; i < batch->count; i++) tokens += batch->sequences[i].length;
    return tokens;
}

/// The first samples, in order: the batch of those that is longest.
static void find_evaluation(Plan *plan, const PlanModel *model, const Dataset *data,
                            PlanBatches *batches) {
    enum { MOST_BATCHES = 100 };
    int64_t size = plan->config->training.per_device_eval_batch_size,
            count = plan->data.held_out_samples;
    int64_t *indices = checked_calloc((size_t)size, sizeof *indices);
    for (int64_t first = 0; first < count && first < MOST_BATCHES * size; first += size) {
        PlanBatch batch = {0}, *longest = &batches->evaluation;
        int64_t n = count - first < size ? count - first : size;
        for (int64_t i = 0; i < n; i++) indices[i] = first + i;
        tokenize_batch(plan, model, data, indices, n, &batch);
        if (batch_tokens(&batch) > batch_tokens(longest)) {
            PlanBatch shorter = *longest;
            *longest = batch;
            batch = shorter;
        }
        plan_batch_free(&batch);
    }
    free(indices);
}

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
        find_evaluation(plan, model, data, batches);
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
    Sampler *sampler = open_sampler(plan, data);
    Lengths lengths = {0};
    if (sampler) count_steps(plan, sampler);
    bool suits = check_data(plan, model, data, false);
    if (plan->schedule.known && suits && model->model && model->tokenizer &&
        find_lengths(plan, model, data, &lengths))
        find_batches(plan, model, data, sampler, &lengths, batches);
    free(lengths.tokens);
    free(lengths.supervised);
    if (sampler) sampler_free(sampler);
    dataset_close(data);
}

void plan_data(Plan *plan, const PlanModel *model, PlanBatches *batches) {
    const TrainingSection *training = &plan->config->training;
    plan->schedule.global_batch = training->per_device_train_batch_size *
                                  training->gradient_accumulation_steps * plan->options.processes;
    read_training(plan, model, batches);
    read_held_out(plan, model, batches);
    if (!plan->schedule.known && training->max_steps >= 0) {
        plan->schedule.total_steps = training->max_steps;
        plan->schedule.warmup_steps =
            schedule_warmup_steps(training->warmup_ratio, training->max_steps);
    }
}

void plan_batch_free(PlanBatch *batch) {
    for (int i = 0; i < batch->count; i++) token_sequence_free(&batch->sequences[i]);
    free(batch->sequences);
    *batch = (PlanBatch){0};
}

void plan_batches_free(PlanBatches *batches) {
    for (int i = 0; i < batches->training_count; i++) plan_batch_free(&batches->training[i]);
    plan_batch_free(&batches->evaluation);
}
