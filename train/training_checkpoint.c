#include "train/training_checkpoint.h"

#include "checkpoints/training_state.h"

#include <stdlib.h>
#include <string.h>

static const char WEIGHTS[] = "weights", EXP_AVG[] = "optimizer/exp_avg",
                  EXP_AVG_SQ[] = "optimizer/exp_avg_sq";
static const char FORMAT[] = "difflmm training checkpoint 1";

// ---- one tensor

static bool write_tensor(StateWriter *writer, const char *folder, const char *name, const Tensor *x,
                         Error *error) {
    float *values = checked_malloc((size_t)tensor_numel(x) * sizeof *values + 1);
    char *path = format_string("%s/%s", folder, name);
    tensor_to_host_float(x, values);
    bool ok = state_write_array(writer, path, STATE_FLOAT32, x->rank, x->shape, values, error);
    free(path);
    free(values);
    return ok;
}

static bool read_tensor(const StateFile *file, const char *folder, const char *name, Tensor *x,
                        Error *error) {
    float *values = checked_malloc((size_t)tensor_numel(x) * sizeof *values + 1);
    char *path = format_string("%s/%s", folder, name);
    bool ok = state_read_array(file, path, STATE_FLOAT32, x->rank, x->shape, values, error);
    if (ok) tensor_fill_from_float(x, values);
    if (!ok)
        error_context(
            error,
            "the configured model's parameter '%s' is %s; is this the checkpoint of another model?",
            name, tensor_describe(x));
    free(path);
    free(values);
    return ok;
}

// ---- saving

static bool write_position(StateWriter *writer, const TrainingPosition *position, Error *error) {
    return state_write_attribute_int(writer, "position/step", position->step, error) &&
           state_write_attribute_int(writer, "position/position", position->position, error) &&
           state_write_attribute_int(writer, "position/tokens", position->tokens, error) &&
           state_write_attribute_int(writer, "position/seed", position->seed, error);
}

bool training_checkpoint_save(const char *path, const Optimizer *optimizer,
                              const TrainingPosition *position, const char *config_yaml,
                              Error *error) {
    StateWriter *writer = state_create(path, error);
    if (!writer) return false;
    bool ok = state_write_attribute_string(writer, "training/format", FORMAT, error) &&
              state_write_attribute_int(writer, "optimizer/steps", optimizer->steps, error) &&
              write_position(writer, position, error);
    int64_t length = (int64_t)strlen(config_yaml);
    ok =
        ok && state_write_array(writer, "config.yaml", STATE_BYTES, 1, &length, config_yaml, error);
    for (int i = 0; ok && i < optimizer->parameters->count; i++) {
        const Parameter *parameter = &optimizer->parameters->items[i];
        ok = write_tensor(writer, WEIGHTS, parameter->name, parameter->value, error) &&
             write_tensor(writer, EXP_AVG, parameter->name, optimizer->exp_avg[i], error) &&
             write_tensor(writer, EXP_AVG_SQ, parameter->name, optimizer->exp_avg_sq[i], error);
    }
    if (ok) return state_commit(writer, error);
    state_abandon(writer);
    return false;
}

// ---- loading

static StateFile *open_training_state(const char *path, Error *error) {
    StateFile *file = state_open(path, error);
    char *format = NULL;
    if (!file) return NULL;
    bool ok = state_has_attribute(file, "training/format") &&
              state_read_attribute_string(file, "training/format", &format, error);
    ok = ok && !strcmp(format, FORMAT);
    if (!ok)
        error_set(error,
                  "%s is not a training checkpoint of this program (expected the attribute format "
                  "= '%s')",
                  path, FORMAT);
    free(format);
    if (ok) return file;
    state_close(file);
    return NULL;
}

static bool is_lora(const char *name) { return strstr(name, ".lora_") != NULL; }

/// Refuses weights in the file that the model has no place for.
static bool check_known(const StateFile *file, const ParameterSet *parameters, bool ignore_lora,
                        Error *error) {
    for (int64_t i = 0; i < state_array_count(file); i++) {
        const char *name = state_array_name(file, i);
        size_t prefix = sizeof WEIGHTS - 1;
        if (strncmp(name, WEIGHTS, prefix) || name[prefix] != '/') continue;
        const char *parameter = name + prefix + 1;
        if (parameters_find(parameters, parameter) || (ignore_lora && is_lora(parameter))) continue;
        return error_set(error,
                         "%s holds '%s', which the configured model does not have; check model and "
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
        bool optional =
            parameter->group == GROUP_LORA && !require_lora && !state_has_array(file, path);
        free(path);
        if (!optional && !read_tensor(file, WEIGHTS, parameter->name, parameter->value, error))
            return false;
    }
    return true;
}

static bool read_moments(const StateFile *file, Optimizer *optimizer, Error *error) {
    for (int i = 0; i < optimizer->parameters->count; i++) {
        const char *name = optimizer->parameters->items[i].name;
        if (!read_tensor(file, EXP_AVG, name, optimizer->exp_avg[i], error)) return false;
        if (!read_tensor(file, EXP_AVG_SQ, name, optimizer->exp_avg_sq[i], error)) return false;
    }
    return state_read_attribute_int(file, "optimizer/steps", &optimizer->steps, error);
}

static bool read_position(const StateFile *file, TrainingPosition *position, Error *error) {
    return state_read_attribute_int(file, "position/step", &position->step, error) &&
           state_read_attribute_int(file, "position/position", &position->position, error) &&
           state_read_attribute_int(file, "position/tokens", &position->tokens, error) &&
           state_read_attribute_int(file, "position/seed", &position->seed, error);
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
