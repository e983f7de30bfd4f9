// The micro-batches of a run that may need most memory: the order of samples is a function of the
// seed, so they are known before it runs.
#include "train/plan/plan_parts.h"

#include <stdlib.h>

enum {
    /// samples of the run that are looked at
    MOST_VISITED = 1 << 25
};

bool plan_tokenize(const Plan *plan, const PlanModel *model, const Dataset *data, int64_t index,
                   TokenSequence *sequence, Error *error) {
    ConversationFormat format = model_setup_format(plan->config, model->model->num_visual_tokens);
    Sample sample;
    if (!dataset_sample(data, index, &sample, error)) return false;
    bool ok = sample_tokenize(&sample, model->tokenizer, &format, sequence, error);
    sample_free(&sample);
    return ok;
}

void plan_note_length(Plan *plan, int64_t length) {
    if (length > plan->data.longest) plan->data.longest = length;
}

// ---- the run's

/// A micro-batch, and where it is in the run.
typedef struct Candidate {
    int64_t tokens, images, supervised, count;
    int64_t step, chunk;
} Candidate;

/// The largest by tokens, in falling order, and in the last places those with most images and with
/// most to learn from (whose logits are the largest).
enum { MOST_IMAGES = PLAN_BATCHES - 2, MOST_SUPERVISED = PLAN_BATCHES - 1 };

static bool is_more(int64_t a, int64_t b, const Candidate *one, const Candidate *other) {
    return a > b || (a == b && one->tokens > other->tokens);
}

static void consider(Candidate *candidates, const Candidate *candidate) {
    Candidate *images = &candidates[MOST_IMAGES], *supervised = &candidates[MOST_SUPERVISED];
    if (is_more(candidate->images, images->images, candidate, images)) *images = *candidate;
    if (is_more(candidate->supervised, supervised->supervised, candidate, supervised))
        *supervised = *candidate;
    int place = MOST_IMAGES;
    while (place > 0 && candidate->tokens > candidates[place - 1].tokens) place--;
    if (place == MOST_IMAGES) return;
    for (int i = MOST_IMAGES - 1; i > place; i--) candidates[i] = candidates[i - 1];
    candidates[place] = *candidate;
}

static Candidate measure_chunk(const Dataset *data, Sampler *sampler, const PlanLengths *lengths,
                               int64_t step, int64_t chunk) {
    Candidate candidate = {.step = step, .chunk = chunk};
    const int64_t *samples = sampler_chunk(sampler, step, chunk, &candidate.count);
    for (int64_t i = 0; i < candidate.count; i++) {
        candidate.tokens += lengths->tokens[samples[i]];
        candidate.images += dataset_has_image(data, samples[i]);
        candidate.supervised += lengths->supervised[samples[i]];
    }
    return candidate;
}

/// Goes through the run (at most some MOST_VISITED samples of it): sums tokens and keeps the
/// largest micro-batches.
static void walk(Plan *plan, const Dataset *data, Sampler *sampler, const PlanLengths *lengths,
                 Candidate *candidates) {
    const PlanSchedule *schedule = &plan->schedule;
    const int64_t chunks =
        plan->options.processes * plan->config->training.gradient_accumulation_steps;
    double tokens = 0, supervised = 0;
    int64_t step = 0, samples = 0, batches = 0;
    for (; step < schedule->total_steps && samples <= MOST_VISITED; step++)
        for (int64_t chunk = 0; chunk < chunks; chunk++) {
            const Candidate batch = measure_chunk(data, sampler, lengths, step, chunk);
            tokens += (double)batch.tokens;
            supervised += (double)batch.supervised;
            samples += batch.count;
            batches += batch.count > 0;
            consider(candidates, &batch);
        }
    const double share = step > 0 ? (double)schedule->total_steps / (double)step : 0;
    plan->data.tokens = tokens * share;
    plan->data.supervised = supervised * share;
    if (batches > 0) {
        plan->data.samples_per_batch = (double)samples / (double)batches;
        plan->data.tokens_per_batch = tokens / (double)batches;
    }
}

static void tokenize_batch(Plan *plan, const PlanModel *model, const Dataset *data,
                           const int64_t *indices, int64_t count, PlanBatch *batch) {
    batch->sequences = checked_calloc((size_t)count + 1, sizeof *batch->sequences);
    for (int64_t i = 0; i < count; i++) {
        Error error;
        if (plan_tokenize(plan, model, data, indices[i], &batch->sequences[batch->count], &error))
            batch->count++;
        else
            plan_refuse(plan, "data.train", "%s", error.message);
    }
}

void plan_find_batches(Plan *plan, const PlanModel *model, const Dataset *data, Sampler *sampler,
                       const PlanLengths *lengths, PlanBatches *batches) {
    Candidate candidates[PLAN_BATCHES] = {0};
    walk(plan, data, sampler, lengths, candidates);
    for (int i = 0; i < PLAN_BATCHES; i++) {
        if (candidates[i].count == 0) continue;
        PlanBatch *batch = &batches->training[batches->training_count++];
        int64_t count;
        const int64_t *samples =
            sampler_chunk(sampler, candidates[i].step, candidates[i].chunk, &count);
        tokenize_batch(plan, model, data, samples, count, batch);
        for (int k = 0; k < batch->count; k++) plan_note_length(plan, batch->sequences[k].length);
    }
}

// ---- held-out data

static int64_t batch_tokens(const PlanBatch *batch) {
    int64_t tokens = 0;
    for (int i = 0; i < batch->count; i++) tokens += batch->sequences[i].length;
    return tokens;
}

/// The first samples, in order: the batch of those that is longest.
void plan_find_evaluation(Plan *plan, const PlanModel *model, const Dataset *data,
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

void plan_batch_free(PlanBatch *batch) {
    for (int i = 0; i < batch->count; i++) token_sequence_free(&batch->sequences[i]);
    free(batch->sequences);
    *batch = (PlanBatch){0};
}

void plan_batches_free(PlanBatches *batches) {
    for (int i = 0; i < batches->training_count; i++) plan_batch_free(&batches->training[i]);
    plan_batch_free(&batches->evaluation);
}
