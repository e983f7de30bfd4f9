/// Training checkpoints: one HDF5 file with named arrays and attributes, complete or absent.
///
/// Names are paths ("weights/clip_pe", "optimizer/exp_avg/clip_pe"; the last part of an attribute's
/// path is its name in that group, as in "position/step"). Every array carries a CRC-32C that is
/// checked on reading; HDF5's own structures are written in the file format versions that have
/// checksums. So a damaged file is an error, never other weights.
///
/// HDF5 is not safe for threads: one thread at a time may use these functions. HDF5's own messages
/// are silenced.
#pragma once
#include "autograd/error.h"

#include <stddef.h>
#include <stdint.h>

typedef enum StateType { STATE_FLOAT32, STATE_INT64, STATE_INT32, STATE_BYTES } StateType;

enum {
    STATE_MAX_RANK = 8,
    STATE_MAX_STRING = 60000,
    /// bytes, of what state_array_place() finds
    STATE_ALIGNMENT = 8
};

typedef struct StateWriter StateWriter;
typedef struct StateFile StateFile;

/// Begins a checkpoint that will be `path`. NULL on failure.
StateWriter *state_create(const char *path, Error *error);
/// Stores an array ([shape[0], ..., shape[rank-1]], rank 0 for one value). Names must be new.
bool state_write_array(StateWriter *writer, const char *name, StateType type, int rank,
                       const int64_t *shape, const void *data, Error *error);
/// An array that is stored piece by piece; several may be begun side by side.
typedef struct StateArray StateArray;

/// Begins an array of one dimension or more; its name must be new. NULL on failure.
StateArray *state_array_begin(StateWriter *writer, const char *name, StateType type, int rank,
                              const int64_t *shape, Error *error);
/// Appends the next `count` rows: entries of the first dimension, no more than are left.
bool state_array_put(StateArray *array, const void *data, int64_t count, Error *error);
/// Ends the array and frees it, before the checkpoint is committed or abandoned. Fails if rows are
/// missing or one could not be put. NULL is allowed, and true.
bool state_array_end(StateArray *array, Error *error);

bool state_write_attribute_int(StateWriter *writer, const char *name, int64_t value, Error *error);
bool state_write_attribute_double(StateWriter *writer, const char *name, double value,
                                  Error *error);
/// At most STATE_MAX_STRING bytes; longer text is an array of STATE_BYTES.
bool state_write_attribute_string(StateWriter *writer, const char *name, const char *value,
                                  Error *error);
/// Flushes to the disk, gives the file its name and frees the writer. On failure (a full disk) a
/// checkpoint that was there before under this name is still there.
bool state_commit(StateWriter *writer, Error *error);
/// Drops everything and frees the writer. NULL is allowed.
void state_abandon(StateWriter *writer);

/// Opens a checkpoint and lists its arrays. NULL if it is not one or is visibly damaged.
StateFile *state_open(const char *path, Error *error);
void state_close(StateFile *file);
const char *state_path(const StateFile *file);

/// Arrays, sorted by name.
int64_t state_array_count(const StateFile *file);
const char *state_array_name(const StateFile *file, int64_t index);
bool state_has_array(const StateFile *file, const char *name);
bool state_describe_array(const StateFile *file, const char *name, StateType *type, int *rank,
                          int64_t shape[STATE_MAX_RANK], Error *error);
/// Reads an array that must have this type and shape into `out`, and checks its checksum.
bool state_read_array(const StateFile *file, const char *name, StateType type, int rank,
                      const int64_t *shape, void *out, Error *error);
/// Where in the file the array's elements lie, one behind the other, little-endian: `bytes` of them
/// from `offset` on, and the CRC-32C that they had. For arrays that are larger than memory: whoever
/// reads them so checks them himself.
bool state_array_place(const StateFile *file, const char *name, int64_t *offset, int64_t *bytes,
                       uint32_t *checksum, Error *error);
bool state_has_attribute(const StateFile *file, const char *name);
bool state_read_attribute_int(const StateFile *file, const char *name, int64_t *value,
                              Error *error);
bool state_read_attribute_double(const StateFile *file, const char *name, double *value,
                                 Error *error);
/// The caller frees *value.
bool state_read_attribute_string(const StateFile *file, const char *name, char **value,
                                 Error *error);
/// Reads every array and checks its checksum.
bool state_verify(const StateFile *file, Error *error);
