/// Reading a frozen network's weights from a published model directory into tensors of a device.
///
/// The first failure is remembered and every later call returns NULL at once, so that a network is read as a list of lines and
/// checked once at the end with weights_finish().
#pragma once
#include "autograd/tensor.h"
#include "checkpoints/model_directory.h"

typedef struct Weights Weights;

/// Opens directory `path` (config.json plus safetensors, single or sharded). Matrices and convolutions are given `dtype`
/// (FLOAT32 or BFLOAT16), vectors FLOAT32. NULL on failure.
Weights *weights_open(const char *path, Device *device, DType dtype, Error *error);
/// The parsed config.json.
ModelDirectory *weights_directory(Weights *weights);
/// Prefix put before every name from now on ("" at first), printf style.
void weights_prefix(Weights *weights, const char *format, ...) __attribute__((format(printf, 2, 3)));
/// Whether prefix + name exists in the files.
bool weights_have(const Weights *weights, const char *name);
/// [rows, columns] matrix. Owned by the caller's network (tensor_release).
Tensor *weights_matrix(Weights *weights, const char *name, int64_t rows, int64_t columns);
/// A vector, FLOAT32.
Tensor *weights_vector(Weights *weights, const char *name, int64_t length);
/// A convolution stored as [out, in, height, width], permuted to [out, height, width, in].
Tensor *weights_conv(Weights *weights, const char *name, int64_t out, int64_t in, int64_t height, int64_t width);
/// Closes; returns false with the first failure (file, tensor, expected shape) in `error`.
bool weights_finish(Weights *weights, Error *error);
