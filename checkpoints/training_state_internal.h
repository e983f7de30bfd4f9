/// What the checkpoint's writer and reader agree on. Not for use outside of training_state*.c.
#pragma once
#include "checkpoints/training_state.h"

#include <hdf5.h>

#define STATE_FORMAT "difflmm training state"
#define STATE_FORMAT_ATTRIBUTE "format"
#define STATE_VERSION_ATTRIBUTE "format_version"
#define STATE_CHECKSUM_ATTRIBUTE "crc32c"
enum { STATE_VERSION = 1 };

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
