/// Reading a frozen network from a published model directory: values of its config.json, and
/// weights into tensors of a device.
///
/// The first failure is remembered and every later call returns at once (NULL, or the smallest
/// valid value), so that a network is read as a list of lines and checked once at the end with
/// weights_finish(). A request to stop is a failure, too.
#pragma once
#include "autograd/tensor.h"
#include "checkpoints/model_directory.h"

typedef struct Weights Weights;

/// Opens directory `path` (config.json plus safetensors, single or sharded). Matrices and
/// convolutions are given `dtype` (FLOAT32 or BFLOAT16), vectors FLOAT32. NULL on failure.
Weights *weights_open(const char *path, Device *device, DType dtype, Error *error);
/// The directory, with the parsed config.json.
ModelDirectory *weights_directory(Weights *weights);
/// Whether a call has failed.
bool weights_failed(const Weights *weights);
/// Remembers a failure, unless there is one already. The directory's path is put in front.
void weights_fail(Weights *weights, const char *format, ...) __attribute__((format(printf, 2, 3)));
/// The same where the directory is as it should be, and what was asked of it is wrong
/// (Error.is_configuration).
void weights_fail_asked(Weights *weights, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
/// Closes; returns false with the first failure (file, tensor, expected shape) in `error`. Tensors
/// that are missing are all looked for before, and named together. Tensors of the files that nobody
/// asked for give a warning, but for those that weights_leave() names.
bool weights_finish(Weights *weights, Error *error);
/// Tensors whose whole names match the shell pattern (printf style, "decoder.*") belong to other
/// parts of the model than this network; at most WEIGHTS_MAX_LEFT patterns.
enum { WEIGHTS_MAX_LEFT = 12 };
void weights_leave(Weights *weights, const char *pattern, ...)
    __attribute__((format(printf, 2, 3)));

/// Who hears that tensors of a file are not used, or not as its configuration says, from now on and
/// for all; NULL, as at first: nobody.
typedef void WeightsWarning(const char *message);
void weights_on_warning(WeightsWarning *warning);

// ---- config.json

/// An object of config.json in which keys are looked for from now on ("vision_config"), "" at
/// first. The text must live on.
void weights_section(Weights *weights, const char *section);
/// Whether the key has a value.
bool weights_has_key(const Weights *weights, const char *key);
/// Whether its value is an object.
bool weights_has_object(const Weights *weights, const char *key);
/// An integer within [minimum, maximum]; on failure minimum. The second form: `fallback` when the
/// key is absent.
int weights_int(Weights *weights, const char *key, int minimum, int maximum);
int weights_int_or(Weights *weights, const char *key, int fallback, int minimum, int maximum);
double weights_float_or(Weights *weights, const char *key, double fallback);
bool weights_bool_or(Weights *weights, const char *key, bool fallback);
/// Owned by the directory; on failure the fallback.
const char *weights_string_or(Weights *weights, const char *key, const char *fallback);
/// A list of 1 to `capacity` integers within [minimum, maximum]; a single integer is a list of one.
/// Returns how many; on failure 0.
int weights_int_list(Weights *weights, const char *key, int capacity, int *values, int minimum,
                     int maximum);
/// A list of 1 to `capacity` strings, owned by the directory. Returns how many; on failure 0.
int weights_string_list(Weights *weights, const char *key, int capacity, const char **values);
/// Fails: the key's value is not supported, `expected` is what would be.
void weights_refuse(Weights *weights, const char *key, const char *expected);

// ---- tensors

/// Prefix put before every name from now on ("" at first), printf style.
void weights_prefix(Weights *weights, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
/// Whether prefix + name exists in the files.
bool weights_have(const Weights *weights, const char *name);
/// Whether both exist and hold the same values. Reads them as far as they are equal.
bool weights_are_equal(const Weights *weights, const char *name, const char *other);
/// Tells who hears warnings, if somebody does. The directory's path is put in front.
void weights_warn(const Weights *weights, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
/// The type of weights_matrix() and weights_matrix_part() from now on: that of the directory, or
/// FLOAT8, which the device rounds to from the type that is stored.
void weights_matrix_type(Weights *weights, DType dtype);
/// [rows, columns] matrix; one stored as a 1x1 convolution [rows, columns, 1, 1] will do. Owned by
/// the caller's network (tensor_release).
Tensor *weights_matrix(Weights *weights, const char *name, int64_t rows, int64_t columns);
/// A vector, FLOAT32.
Tensor *weights_vector(Weights *weights, const char *name, int64_t length);
/// A tensor of any shape, as it is stored, in that type.
Tensor *weights_array(Weights *weights, const char *name, DType dtype, int rank,
                      const int64_t *shape);
/// The shape of the stored tensor of that name, which has `rank` dimensions. Owned by the
/// directory; on failure NULL.
const int64_t *weights_shape(Weights *weights, const char *name, int rank);
/// Of `parts` matrices [rows, columns] that are stored as one, below each other, number `part`; and
/// the same for vectors.
Tensor *weights_matrix_part(Weights *weights, const char *name, int part, int parts, int64_t rows,
                            int64_t columns);
Tensor *weights_vector_part(Weights *weights, const char *name, int part, int parts,
                            int64_t length);
/// A convolution stored as [out, in, height, width], permuted to [out, height, width, in].
Tensor *weights_conv(Weights *weights, const char *name, int64_t out, int64_t in, int64_t height,
                     int64_t width);
