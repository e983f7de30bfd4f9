// Arrays are contiguous. Small pieces are put together in memory before HDF5 sees them: a call of
// it takes longer than the few hundred bytes that a piece often has.
#include "autograd/crc32c.h"
#include "checkpoints/training_state_internal.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { BUFFER_BYTES = 1 << 20 };

struct StateArray {
    StateWriter *writer;
    char *name;
    StateType type;
    int rank;
    hid_t set;
    hsize_t shape[STATE_MAX_RANK];
    /// of an entry of the first dimension
    size_t row_bytes;
    /// rows that HDF5 was given
    int64_t written;
    uint32_t checksum;
    /// rows behind them
    char *buffer;
    size_t buffered;
    bool has_failed;
};

static bool refuse(StateArray *array, Error *error) {
    char what[512];
    array->has_failed = true;
    snprintf(what, sizeof what, "array '%.400s' could not be written", array->name);
    return state_hdf5_error(error, array->writer->path, what);
}

/// rank 0: one value.
static StateArray *begin(StateWriter *writer, const char *name, StateType type, int rank,
                         const int64_t *shape, Error *error) {
    CHECK(rank >= 0 && rank <= STATE_MAX_RANK, "array '%s' has rank %d", name, rank);
    StateArray *array = checked_calloc(1, sizeof *array);
    array->writer = writer;
    array->name = checked_strdup(name);
    array->type = type;
    array->rank = rank;
    array->row_bytes = state_element_size(type);
    for (int i = 0; i < rank; i++) {
        array->shape[i] = (hsize_t)shape[i];
        if (i > 0) array->row_bytes *= (size_t)shape[i];
    }
    hid_t space = rank ? H5Screate_simple(rank, array->shape, NULL) : H5Screate(H5S_SCALAR);
    hid_t creation = H5Pcreate(H5P_DATASET_CREATE);
    H5Pset_layout(creation, H5D_CONTIGUOUS);
    H5Pset_fill_time(creation, H5D_FILL_TIME_NEVER);
    H5Pset_obj_track_times(creation, false); // the same content is the same file
    array->set = state_make_groups(writer->file, name)
                     ? H5Dcreate2(writer->file, name, state_file_type(type), space, H5P_DEFAULT,
                                  creation, H5P_DEFAULT)
                     : H5I_INVALID_HID;
    H5Pclose(creation);
    H5Sclose(space);
    if (array->set >= 0) return array;
    refuse(array, error);
    state_array_end(array, NULL);
    return NULL;
}

StateArray *state_array_begin(StateWriter *writer, const char *name, StateType type, int rank,
                              const int64_t *shape, Error *error) {
    CHECK(rank > 0, "state_array_begin: '%s' has no dimension", name);
    return begin(writer, name, type, rank, shape, error);
}

static bool write_rows(StateArray *array, const void *data, int64_t count, Error *error) {
    hsize_t start[STATE_MAX_RANK] = {(hsize_t)array->written}, extent[STATE_MAX_RANK];
    memcpy(extent, array->shape, sizeof extent);
    extent[0] = (hsize_t)count;
    hid_t to = H5Dget_space(array->set), from = H5Screate_simple(array->rank, extent, NULL);
    bool ok =
        to >= 0 && from >= 0 &&
        H5Sselect_hyperslab(to, H5S_SELECT_SET, start, NULL, extent, NULL) >= 0 &&
        H5Dwrite(array->set, state_memory_type(array->type), from, to, H5P_DEFAULT, data) >= 0;
    if (from >= 0) H5Sclose(from);
    if (to >= 0) H5Sclose(to);
    array->written += count;
    return ok || refuse(array, error);
}

static bool flush(StateArray *array, Error *error) {
    const size_t rows = array->row_bytes ? array->buffered / array->row_bytes : 0;
    array->buffered = 0;
    return rows == 0 || write_rows(array, array->buffer, (int64_t)rows, error);
}

bool state_array_put(StateArray *array, const void *data, int64_t count, Error *error) {
    const size_t bytes = (size_t)count * array->row_bytes;
    const int64_t waiting = array->row_bytes ? (int64_t)(array->buffered / array->row_bytes) : 0;
    CHECK(count >= 0 && (uint64_t)(array->written + waiting + count) <= array->shape[0],
          "array '%s': %lld rows behind %lld of %llu", array->name, (long long)count,
          (long long)(array->written + waiting), (unsigned long long)array->shape[0]);
    if (bytes == 0) {
        array->written += count; // rows of nothing
        return true;
    }
    array->checksum = crc32c(array->checksum, data, bytes);
    if (array->buffered + bytes > BUFFER_BYTES && !flush(array, error)) return false;
    if (bytes > BUFFER_BYTES) return write_rows(array, data, count, error);
    if (!array->buffer) array->buffer = checked_malloc(BUFFER_BYTES);
    memcpy(array->buffer + array->buffered, data, bytes);
    array->buffered += bytes;
    return true;
}

bool state_array_end(StateArray *array, Error *error) {
    if (!array) return true;
    bool ok = !array->has_failed && flush(array, error);
    if (ok && array->rank && (uint64_t)array->written != array->shape[0])
        ok = error_set(error, "%s: array '%s' has %lld rows of %llu", array->writer->path,
                       array->name, (long long)array->written, (unsigned long long)array->shape[0]);
    if (ok)
        ok = state_put_scalar(array->set, STATE_CHECKSUM_ATTRIBUTE, H5T_STD_U32LE,
                              H5T_NATIVE_UINT32, &array->checksum) ||
             refuse(array, error);
    if (array->set >= 0) H5Dclose(array->set);
    free(array->buffer);
    free(array->name);
    free(array);
    return ok;
}

/// Of rank 0: the one value.
static bool put_value(StateArray *array, const void *data, Error *error) {
    array->checksum = crc32c(0, data, array->row_bytes);
    return H5Dwrite(array->set, state_memory_type(array->type), H5S_ALL, H5S_ALL, H5P_DEFAULT,
                    data) >= 0 ||
           refuse(array, error);
}

bool state_write_array(StateWriter *writer, const char *name, StateType type, int rank,
                       const int64_t *shape, const void *data, Error *error) {
    StateArray *array = begin(writer, name, type, rank, shape, error);
    if (!array) return false;
    bool ok = rank ? state_array_put(array, data, shape[0], error) : put_value(array, data, error);
    return state_array_end(array, ok ? error : NULL) && ok;
}
