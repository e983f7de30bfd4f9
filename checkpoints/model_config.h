/// The configuration of a published model (`config.json` and its kin), read key by key with types
/// checked.
///
/// A key may lead into nested objects with dots ("vision_config.hidden_size"). A key that is absent
/// or null has no value. Every message names the file, the key, what was found and what was
/// expected.
#pragma once
#include "autograd/error.h"

#include <stdint.h>

typedef struct ModelConfig ModelConfig;

/// Reads a JSON file whose top level is an object. NULL on failure.
ModelConfig *model_config_open(const char *path, Error *error);
/// A configuration without a key, of a file that has none beside it; `path` is for messages.
ModelConfig *model_config_empty(const char *path);
void model_config_close(ModelConfig *config);
const char *model_config_path(const ModelConfig *config);

/// True if the key has a value.
bool model_config_has(const ModelConfig *config, const char *key);
/// True if its value is an object.
bool model_config_has_object(const ModelConfig *config, const char *key);

/// Values that must be there.
bool model_config_int(const ModelConfig *config, const char *key, int64_t *value, Error *error);
/// Integers count as floats.
bool model_config_float(const ModelConfig *config, const char *key, double *value, Error *error);
bool model_config_bool(const ModelConfig *config, const char *key, bool *value, Error *error);
/// The string is owned by the configuration.
bool model_config_string(const ModelConfig *config, const char *key, const char **value,
                         Error *error);
/// At most `capacity` integers; `count` receives how many. A single integer is a list of one.
bool model_config_int_list(const ModelConfig *config, const char *key, int capacity,
                           int64_t *values, int *count, Error *error);
/// The same for numbers, integers among them; a single one is no list.
bool model_config_float_list(const ModelConfig *config, const char *key, int capacity,
                             double *values, int *count, Error *error);
/// At most `capacity` strings, owned by the configuration.
bool model_config_string_list(const ModelConfig *config, const char *key, int capacity,
                              const char **values, int *count, Error *error);

/// Values with a default: an absent or null key gives `fallback`; a value of another type is still
/// an error.
bool model_config_int_or(const ModelConfig *config, const char *key, int64_t fallback,
                         int64_t *value, Error *error);
bool model_config_float_or(const ModelConfig *config, const char *key, double fallback,
                           double *value, Error *error);
bool model_config_bool_or(const ModelConfig *config, const char *key, bool fallback, bool *value,
                          Error *error);
bool model_config_string_or(const ModelConfig *config, const char *key, const char *fallback,
                            const char **value, Error *error);

/// Fills the error for a value that is well-formed but not supported: file, key, the value and what
/// `expected` says.
bool model_config_unsupported(const ModelConfig *config, const char *key, const char *expected,
                              Error *error);
