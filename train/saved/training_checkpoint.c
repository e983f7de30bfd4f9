#include "train/saved/training_checkpoint.h"

#include "checkpoints/projector_width.h"
#include "checkpoints/training_state.h"
#include "train/saved/training_checkpoint_names.h"

#include <stdlib.h>
#include <string.h>

/// The values stored for a tensor of x's shape; NULL on failure, the caller frees them.
static float *read_values(const StateFile *file, const char *folder, const char *name,
                          const Tensor *x, Error *error) {
    float *values = checked_calloc((size_t)tensor_numel(x) + 1, sizeof *values);
    char *path = format_string("%s/%s", folder, name);
    bool ok = state_read_array(file, path, STATE_FLOAT32, x->rank, x->shape, values, error);
    free(path);
    if (ok) return values;
    free(values);
    return NULL;
}

static bool read_tensor(const StateFile *file, const char *folder, const char *name, Tensor *x,
                        Error *error) {
    float *values = read_values(file, folder, name, x, error);
    if (values) tensor_fill_from_float(x, values);
    free(values);
    return values != NULL;
}

static StateFile *open_training_state(const char *path, Error *error) {
    StateFile *file = state_open(path, error);
    char *format = NULL;
    if (!file) return NULL;
    bool ok = state_has_attribute(file, "training/format") &&
              state_read_attribute_string(file, "training/format", &format, error);
    ok = ok && !strcmp(format, FORMAT);
    if (!ok)
        error_set(error,
                  "%s: not a training checkpoint of this program (expected the attribute format "
                  "= '%s')",
                  path, FORMAT);
    free(format);
    if (ok) return file;
    state_close(file);
    return NULL;
}

static bool is_lora(const char *name) { return strstr(name, ".lora_") != NULL; }

static bool matrix_of_file(const void *source, const char *name, int64_t shape[2]) {
    StateType type;
    int rank = 0;
    int64_t full[STATE_MAX_RANK];
    Error reason;
    char *path = format_string("%s/%s", WEIGHTS, name);
    bool is_there = state_has_array(source, path) &&
                    state_describe_array(source, path, &type, &rank, full, &reason) && rank == 2;
    free(path);
    for (int i = 0; is_there && i < 2; i++) shape[i] = full[i];
    return is_there;
}

/// Refuses weights in the file that the model has no place for.
static bool check_known(const StateFile *file, const ParameterSet *parameters, bool ignore_lora,
                        Error *error) {
    if (!projector_width_check(matrix_of_file, file, state_path(file), parameters, error))
        return false;
    for (int64_t i = 0; i < state_array_count(file); i++) {
        const char *name = state_array_name(file, i);
        size_t prefix = sizeof WEIGHTS - 1;
        if (strncmp(name, WEIGHTS, prefix) || name[prefix] != '/') continue;
        const char *parameter = name + prefix + 1;
        if (parameters_find(parameters, parameter) || (ignore_lora && is_lora(parameter))) continue;
        return error_set(
            error,
            "%s: holds '%s', which the configured model does not have; check model and "
            "lora in the configuration",
            state_path(file), parameter);
    }
    return true;
}

static bool read_weights(const StateFile *file, ParameterSet *parameters, bool require_lora,
                         Error *error) {
    for (int i = 0; i < parameters->count; i++) {
        Parameter *parameter = &parameters->items[i];
        char *path = format_string("%s/%s", WEIGHTS, parameter->name);
        const bool is_there = state_has_array(file, path);
        free(path);
        if (!is_there && parameter->group == GROUP_LORA && !require_lora) continue;
        if (!is_there)
            return error_set(error,
                             "%s: does not hold '%s', which the configured model has; check model "
                             "and lora in the configuration",
                             state_path(file), parameter->name);
        if (!read_tensor(file, WEIGHTS, parameter->name, parameter->value, error)) return false;
    }
    return true;
}

/// Reads this rank's part of a moment.
static bool read_part(const StateFile *file, const char *folder, const Parameter *parameter,
                      const ParameterRange *range, Tensor *moment, Error *error) {
    float *values = read_values(file, folder, parameter->name, parameter->value, error);
    if (values) tensor_fill_from_float(moment, values + range->first);
    free(values);
    return values != NULL;
}

static bool read_moments(const StateFile *file, Optimizer *optimizer, Error *error) {
    for (int i = 0; i < optimizer->part_count; i++) {
        OptimizerPart *part = &optimizer->parts[i];
        const Parameter *parameter = &optimizer->parameters->items[part->range.parameter];
        if (!read_part(file, EXP_AVG, parameter, &part->range, part->exp_avg, error) ||
            !read_part(file, EXP_AVG_SQ, parameter, &part->range, part->exp_avg_sq, error))
            return false;
    }
    return state_read_attribute_int(file, "optimizer/steps", &optimizer->steps, error);
}

static bool read_detector(const StateFile *file, const char *name, DetectorState *state,
                          Error *error) {
    char *values = format_string("detectors/%s", name),
         *in_a_row = format_string("detectors/%s_outliers_in_a_row", name);
    StateType type;
    int rank;
    int64_t shape[STATE_MAX_RANK];
    bool ok = state_describe_array(file, values, &type, &rank, shape, error);
    if (ok && (rank != 1 || shape[0] > DETECTOR_WINDOW))
        ok = error_set(error, "'%s' is not a detector's window", values);
    if (ok) state->count = shape[0];
    ok = ok && state_read_array(file, values, STATE_FLOAT32, 1, shape, state->values, error) &&
         state_read_attribute_int(file, in_a_row, &state->outliers_in_a_row, error);
    free(values);
    free(in_a_row);
    return ok;
}

/// Files that do not say it are read as well.
static bool read_data(const StateFile *file, const char *name, DataIdentity *data, Error *error) {
    char *samples = format_string("data/%s_samples", name),
         *checksum = format_string("data/%s_checksum", name);
    int64_t bits = 0;
    *data = (DataIdentity){0};
    bool ok = !state_has_attribute(file, samples) ||
              (state_read_attribute_int(file, samples, &data->samples, error) &&
               state_read_attribute_int(file, checksum, &bits, error));
    data->checksum = (uint64_t)bits;
    free(samples);
    free(checksum);
    return ok;
}

/// Files that say no figure are of a time when it was always the loss.
static bool read_best(const StateFile *file, BestSoFar *best, Error *error) {
    *best = (BestSoFar){.figure = "loss"};
    if (!state_read_attribute_int(file, "position/best_step", &best->step, error)) return false;
    if (!state_has_attribute(file, "position/best_figure"))
        return state_read_attribute_double(file, "position/best_loss", &best->value, error);
    char *figure = NULL;
    if (!state_read_attribute_string(file, "position/best_figure", &figure, error)) return false;
    bool fits = strlen(figure) < sizeof best->figure;
    if (fits) strcpy(best->figure, figure);
    free(figure);
    return (fits || error_set(error, "'position/best_figure' is longer than a figure's name")) &&
           state_read_attribute_int(file, "position/best_basis", &best->basis, error) &&
           state_read_attribute_double(file, "position/best_value", &best->value, error);
}

static bool read_position(const StateFile *file, TrainingPosition *position, Error *error) {
    return state_read_attribute_int(file, "position/step", &position->step, error) &&
           state_read_attribute_int(file, "position/position", &position->position, error) &&
           state_read_attribute_int(file, "position/tokens", &position->tokens, error) &&
           state_read_attribute_int(file, "position/seed", &position->seed, error) &&
           state_read_attribute_int(file, "position/global_batch", &position->global_batch,
                                    error) &&
           read_best(file, &position->best, error) &&
           read_data(file, "train", &position->train, error) &&
           read_data(file, "eval", &position->eval, error) &&
           read_detector(file, "loss", &position->loss_detector, error) &&
           read_detector(file, "grad_norm", &position->norm_detector, error);
}

bool training_checkpoint_position(const char *path, TrainingPosition *position, Error *error) {
    StateFile *file = open_training_state(path, error);
    if (!file) return false;
    bool ok = read_position(file, position, error);
    state_close(file);
    return ok || error_context(error, "%s", path);
}

bool training_checkpoint_load(const char *path, Optimizer *optimizer, TrainingPosition *position,
                              Error *error) {
    StateFile *file = open_training_state(path, error);
    if (!file) return false;
    bool ok = check_known(file, optimizer->parameters, false, error) &&
              read_weights(file, optimizer->parameters, true, error) &&
              read_moments(file, optimizer, error) && read_position(file, position, error);
    state_close(file);
    return ok || error_context(error, "%s", path);
}

bool training_checkpoint_load_weights(const char *path, ParameterSet *parameters, bool require_lora,
                                      bool ignore_lora, Error *error) {
    StateFile *file = open_training_state(path, error);
    if (!file) return false;
    bool ok = check_known(file, parameters, ignore_lora, error) &&
              read_weights(file, parameters, require_lora, error);
    state_close(file);
    return ok || error_context(error, "%s", path);
}

static bool register_weight(const StateFile *file, const char *array, Device *device,
                            ParameterSet *parameters, Error *error) {
    StateType type;
    int rank;
    int64_t shape[STATE_MAX_RANK];
    if (!state_describe_array(file, array, &type, &rank, shape, error)) return false;
    if (rank < 1 || rank > MAX_RANK)
        return error_set(error, "'%s' has %d dimensions; expected 1 to %d", array, rank, MAX_RANK);
    const char *name = array + sizeof WEIGHTS;
    parameters_add(parameters, name, is_lora(name) ? GROUP_LORA : GROUP_ADAPTERS, device, rank,
                   shape);
    return true;
}

bool training_checkpoint_read_parameters(const char *path, Device *device, ParameterSet *parameters,
                                         Error *error) {
    StateFile *file = open_training_state(path, error);
    if (!file) return false;
    bool ok = true;
    for (int64_t i = 0; ok && i < state_array_count(file); i++) {
        const char *array = state_array_name(file, i);
        if (strncmp(array, WEIGHTS, sizeof WEIGHTS - 1) == 0 && array[sizeof WEIGHTS - 1] == '/')
            ok = register_weight(file, array, device, parameters, error);
    }
    ok = ok && read_weights(file, parameters, true, error);
    state_close(file);
    return ok || error_context(error, "%s", path);
}

/// A configuration is text of a few thousand bytes.
static bool check_config_shape(const char *path, int rank, int64_t length, Error *error) {
    enum { LONGEST = 1 << 24 };
    if (rank != 1)
        return error_set(error, "%s: '%s' has %d dimensions; expected text, which has 1", path,
                         CONFIG, rank);
    return length <= LONGEST || error_set(error, "%s: '%s' has %lld bytes; expected at most %d",
                                          path, CONFIG, (long long)length, LONGEST);
}

char *training_checkpoint_config(const char *path, Error *error) {
    StateFile *file = open_training_state(path, error);
    if (!file) return NULL;
    StateType type;
    int rank;
    int64_t shape[STATE_MAX_RANK];
    char *text = NULL;
    bool ok = state_describe_array(file, CONFIG, &type, &rank, shape, error) &&
              check_config_shape(path, rank, shape[0], error);
    if (ok) {
        text = checked_calloc((size_t)shape[0] + 1, 1);
        ok = state_read_array(file, CONFIG, STATE_BYTES, 1, shape, text, error);
    }
    state_close(file);
    if (ok) return text;
    free(text);
    return NULL;
}
