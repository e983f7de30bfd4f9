/// What the checkpoint's writer and reader agree on. Not for use outside of training_state*.c.
#pragma once
#include "autograd/output/output_file.h"
#include "checkpoints/training_state.h"

#include <hdf5.h>

#define STATE_FORMAT "difflmm training state"
#define STATE_FORMAT_ATTRIBUTE "format"
#define STATE_VERSION_ATTRIBUTE "format_version"
#define STATE_CHECKSUM_ATTRIBUTE "crc32c"
enum { STATE_VERSION = 1 };

struct StateWriter {
    char *path;
    OutputFile *output;
    hid_t file;
};

/// To be called before anything else of HDF5, on every thread: turns off the printing of its error
/// stack and its cleaning up at exit.
void state_prepare_hdf5(void);
/// Fills the error with "<path>: <what>" and why HDF5's last failed call failed, on one line.
/// Returns false.
bool state_hdf5_error(Error *error, const char *path, const char *what);
hid_t state_file_type(StateType type);
hid_t state_memory_type(StateType type);
size_t state_element_size(StateType type);
const char *state_type_name(StateType type);
/// Makes the groups on the way to `name` ("a/b" of "a/b/c") that are not there yet.
bool state_make_groups(hid_t file, const char *name);
/// Writes an attribute of one value; false if HDF5 fails.
bool state_put_scalar(hid_t object, const char *name, hid_t file_type, hid_t memory_type,
                      const void *value);

struct StateFile {
    char *path;
    hid_t file;
    int64_t file_bytes;
    char **names;
    int64_t count;
};

/// Opens an array that is what a checkpoint's array must be; H5I_INVALID_HID with the error
/// otherwise.
hid_t state_open_array(const StateFile *file, const char *name, StateType *type, int *rank,
                       int64_t *shape, size_t *bytes, Error *error);
/// The checksum that is kept with an array; false if it cannot be read.
bool state_stored_checksum(hid_t set, uint32_t *stored);
/// Where a contiguous array begins in the file; 0 for one of nothing, -1: it is nowhere.
int64_t state_offset_of(hid_t set, size_t bytes);
/// Both return false.
bool state_refuse_unreadable(const StateFile *file, const char *name, Error *error);
bool state_refuse_damaged(const StateFile *file, const char *name, Error *error);
