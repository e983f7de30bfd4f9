#include "train/saved/training_checkpoint.h"

#include "checkpoints/training_state.h"
#include "train/saved/training_checkpoint_names.h"

#include <stdlib.h>
#include <string.h>

// ---- taking a snapshot

/// One parameter with its moments, [numel] each.
typedef struct Entry {
    char *name;
    int rank;
    int64_t shape[MAX_RANK], numel;
    float *weights, *exp_avg, *exp_avg_sq;
    /// the three are the parameter's own
    bool borrowed;
} Entry;

struct TrainingSnapshot {
    Entry *entries;
    int count;
    TrainingPosition position;
    int64_t optimizer_steps;
    char *config_yaml;
};

static float *host_zeros(int64_t count) { return checked_calloc((size_t)count + 1, sizeof(float)); }

static Entry entry_of(const Parameter *parameter) {
    const Tensor *value = parameter->value;
    Entry entry = {
        .name = checked_strdup(parameter->name), .rank = value->rank, .numel = tensor_numel(value)};
    memcpy(entry.shape, value->shape, sizeof entry.shape);
    return entry;
}

static void borrow(const ParameterSet *parameters, const Optimizer *optimizer, Entry *entries) {
    for (int i = 0; i < optimizer->part_count; i++) {
        const OptimizerPart *part = &optimizer->parts[i];
        Entry *entry = &entries[part->range.parameter];
        CHECK(part->range.count == entry->numel, "%s: its moments are not whole", entry->name);
        entry->borrowed = true;
        entry->weights = parameters->items[part->range.parameter].value->data;
        entry->exp_avg = part->exp_avg->data;
        entry->exp_avg_sq = part->exp_avg_sq->data;
    }
}

static void make_room(Entry *entry) {
    entry->weights = host_zeros(entry->numel);
    entry->exp_avg = host_zeros(entry->numel);
    entry->exp_avg_sq = host_zeros(entry->numel);
}

/// Copies the moments that this rank holds to their places; the other places stay zero.
static void copy_parts(const Optimizer *optimizer, Entry *entries) {
    for (int i = 0; i < optimizer->part_count; i++) {
        const OptimizerPart *part = &optimizer->parts[i];
        Entry *entry = &entries[part->range.parameter];
        tensor_to_host_float(part->exp_avg, entry->exp_avg + part->range.first);
        tensor_to_host_float(part->exp_avg_sq, entry->exp_avg_sq + part->range.first);
    }
}

/// Puts the ranks' parts together on rank 0: everywhere but in its own part a rank holds zero bits.
static bool gather_parts(TrainingSnapshot *snapshot, ProcessGroup *group, Error *error) {
    bool ok = true;
    for (int i = 0; ok && i < snapshot->count; i++) {
        Entry *entry = &snapshot->entries[i];
        ok = process_group_gather_bits(group, (uint32_t *)(void *)entry->exp_avg, entry->numel,
                                       error) &&
             process_group_gather_bits(group, (uint32_t *)(void *)entry->exp_avg_sq, entry->numel,
                                       error);
    }
    return ok;
}

/// Copies of weights and moments; false on failure of a sum.
static bool copy_all(TrainingSnapshot *snapshot, const Optimizer *optimizer, bool sharded,
                     ProcessGroup *group, Error *error) {
    const ParameterSet *parameters = optimizer->parameters;
    for (int i = 0; i < parameters->count; i++) {
        make_room(&snapshot->entries[i]);
        if (process_rank(group) == 0)
            tensor_to_host_float(parameters->items[i].value, snapshot->entries[i].weights);
    }
    copy_parts(optimizer, snapshot->entries);
    return !sharded || gather_parts(snapshot, group, error);
}

bool training_snapshot_take(const Optimizer *optimizer, bool sharded, bool copy,
                            const TrainingPosition *position, const char *config_yaml,
                            ProcessGroup *group, TrainingSnapshot **snapshot, Error *error) {
    *snapshot = NULL;
    bool first = process_rank(group) == 0;
    if (!first && !sharded) return true;
    const ParameterSet *parameters = optimizer->parameters;
    TrainingSnapshot *taken = checked_calloc(1, sizeof *taken);
    *taken =
        (TrainingSnapshot){.entries = checked_calloc((size_t)parameters->count + 1, sizeof(Entry)),
                           .count = parameters->count,
                           .position = *position,
                           .optimizer_steps = optimizer->steps,
                           .config_yaml = checked_strdup(config_yaml)};
    for (int i = 0; i < parameters->count; i++) taken->entries[i] = entry_of(&parameters->items[i]);
    bool ok = true,
         on_host = parameters->count && parameters->items[0].value->device->shares_host_memory;
    if (!copy && on_host && !sharded)
        borrow(parameters, optimizer, taken->entries);
    else
        ok = copy_all(taken, optimizer, sharded, group, error);
    if (ok && first)
        *snapshot = taken;
    else
        training_snapshot_free(taken);
    return ok;
}

void training_snapshot_free(TrainingSnapshot *snapshot) {
    if (!snapshot) return;
    for (int i = 0; i < snapshot->count; i++) {
        free(snapshot->entries[i].name);
        if (snapshot->entries[i].borrowed) continue;
        free(snapshot->entries[i].weights);
        free(snapshot->entries[i].exp_avg);
        free(snapshot->entries[i].exp_avg_sq);
    }
    free(snapshot->entries);
    free(snapshot->config_yaml);
    free(snapshot);
}

// ---- writing it

static bool write_values(StateWriter *writer, const char *folder, const Entry *entry,
                         const float *values, Error *error) {
    char *path = format_string("%s/%s", folder, entry->name);
    bool ok =
        state_write_array(writer, path, STATE_FLOAT32, entry->rank, entry->shape, values, error);
    free(path);
    return ok;
}

static bool write_detector(StateWriter *writer, const char *name, const DetectorState *state,
                           Error *error) {
    char *values = format_string("detectors/%s", name),
         *in_a_row = format_string("detectors/%s_outliers_in_a_row", name);
    bool ok =
        state_write_array(writer, values, STATE_FLOAT32, 1, &state->count, state->values, error) &&
        state_write_attribute_int(writer, in_a_row, state->outliers_in_a_row, error);
    free(values);
    free(in_a_row);
    return ok;
}

static bool write_data(StateWriter *writer, const char *name, const DataIdentity *data,
                       Error *error) {
    char *samples = format_string("data/%s_samples", name),
         *checksum = format_string("data/%s_checksum", name);
    bool ok = state_write_attribute_int(writer, samples, data->samples, error) &&
              state_write_attribute_int(writer, checksum, (int64_t)data->checksum, error);
    free(samples);
    free(checksum);
    return ok;
}

static bool write_best(StateWriter *writer, const BestSoFar *best, Error *error) {
    return state_write_attribute_string(writer, "position/best_figure", best->figure, error) &&
           state_write_attribute_int(writer, "position/best_basis", best->basis, error) &&
           state_write_attribute_double(writer, "position/best_value", best->value, error) &&
           state_write_attribute_int(writer, "position/best_step", best->step, error);
}

static bool write_position(StateWriter *writer, const TrainingPosition *position, Error *error) {
    return state_write_attribute_int(writer, "position/step", position->step, error) &&
           state_write_attribute_int(writer, "position/position", position->position, error) &&
           state_write_attribute_int(writer, "position/tokens", position->tokens, error) &&
           state_write_attribute_int(writer, "position/seed", position->seed, error) &&
           state_write_attribute_int(writer, "position/global_batch", position->global_batch,
                                     error) &&
           write_best(writer, &position->best, error) &&
           write_data(writer, "train", &position->train, error) &&
           write_data(writer, "eval", &position->eval, error) &&
           write_detector(writer, "loss", &position->loss_detector, error) &&
           write_detector(writer, "grad_norm", &position->norm_detector, error);
}

bool training_snapshot_write(const TrainingSnapshot *snapshot, const char *path, Error *error) {
    StateWriter *writer = state_create(path, error);
    if (!writer) return false;
    int64_t length = (int64_t)strlen(snapshot->config_yaml);
    bool ok =
        state_write_attribute_string(writer, "training/format", FORMAT, error) &&
        state_write_attribute_int(writer, "optimizer/steps", snapshot->optimizer_steps, error) &&
        write_position(writer, &snapshot->position, error) &&
        state_write_array(writer, CONFIG, STATE_BYTES, 1, &length, snapshot->config_yaml, error);
    for (int i = 0; ok && i < snapshot->count; i++) {
        const Entry *entry = &snapshot->entries[i];
        ok = write_values(writer, WEIGHTS, entry, entry->weights, error) &&
             write_values(writer, EXP_AVG, entry, entry->exp_avg, error) &&
             write_values(writer, EXP_AVG_SQ, entry, entry->exp_avg_sq, error);
    }
    if (ok) return state_commit(writer, error);
    state_abandon(writer);
    return false;
}
