// HDF5 writes to a temporary file whose descriptor we hold as well, so that flushing to the disk
// and renaming are ours. Contiguous data sets: what fails on a full disk fails in the call that
// writes it.
//
// When H5Fclose() cannot write, HDF5 1.10 frees half of the file and keeps its identifier, and
// crashes over it when the program ends. So a file is closed only after a flush that succeeded, if
// need be one into memory, and HDF5 is told not to clean up at the program's end.
#include "autograd/crc32c.h"
#include "autograd/output/output_file.h"
#include "checkpoints/training_state_internal.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

/// Why the last call of HDF5 on this thread failed. Kept when it fails, for the next call, if only
/// one that closes something, forgets.
static _Thread_local char failure[256];

/// The stack runs from the call that was made (0) to the cause; the last description seen is the
/// cause.
static herr_t keep_description(unsigned level, const H5E_error2_t *entry, void *context) {
    (void)level;
    const char **description = context;
    if (entry->desc && entry->desc[0]) *description = entry->desc;
    return 0;
}

/// Called by HDF5 in place of printing. A failed read or write is described there by time, file,
/// errno, addresses and sizes, on two lines; what the system said of it is among them.
static herr_t keep_failure(hid_t stack, void *context) {
    static const char begin[] = "error message = '";
    (void)context;
    const char *cause = "unknown cause";
    H5Ewalk2(stack, H5E_WALK_DOWNWARD, keep_description, &cause);
    const char *quoted = strstr(cause, begin);
    if (quoted) cause = quoted + strlen(begin);
    int length = (int)strcspn(cause, quoted ? "'\n" : "\n");
    snprintf(failure, sizeof failure, "%.*s", length, cause);
    return 0;
}

void state_prepare_hdf5(void) {
    H5dont_atexit(); // takes effect only before the library's first other call
    H5Eset_auto2(H5E_DEFAULT, keep_failure, NULL); // of this thread
}

/// Flushes a file to memory or, where even that may not grow (a limit of file sizes), nowhere, and
/// closes it. HDF5 1.10 refuses the flush that follows one that failed, and does the next. False
/// where the file would have to be made longer, which a limit forbids and nowhere cannot.
static bool close_elsewhere(hid_t file, int descriptor) {
    const int sinks[] = {memfd_create("checkpoint", MFD_CLOEXEC),
                         open("/dev/null", O_RDWR | O_CLOEXEC)};
    bool flushed = false;
    for (int i = 0; i < 2; i++) {
        for (int attempt = 0; attempt < 3 && !flushed; attempt++) {
            flushed = dup2(sinks[i], descriptor) >= 0 && H5Fflush(file, H5F_SCOPE_GLOBAL) >= 0;
            if (flushed) H5Fclose(file);
        }
        if (sinks[i] >= 0) close(sinks[i]);
    }
    return flushed;
}

/// Closes a file that cannot be written to its end. HDF5 would take a later file of the same inode
/// for one that it could not close: so that there is none, the inode is kept, without its content,
/// until the program ends.
static void give_up(hid_t file) {
    void *handle = NULL;
    if (H5Fget_vfd_handle(file, H5P_DEFAULT, &handle) < 0 || !handle) return; // nothing to do
    const int descriptor = *(const int *)handle, inode = fcntl(descriptor, F_DUPFD_CLOEXEC, 0);
    if (!close_elsewhere(file, descriptor) && inode >= 0 && ftruncate(inode, 0) == 0) return;
    if (inode >= 0) close(inode);
}

/// Where only the last write fails, that of H5Fclose() itself, half of the file is freed, and
/// nothing more may be asked of it.
static bool flush_and_close(hid_t file) {
    if (H5Fflush(file, H5F_SCOPE_GLOBAL) >= 0) return H5Fclose(file) >= 0;
    char reason[sizeof failure];
    memcpy(reason, failure, sizeof reason);
    give_up(file);
    memcpy(failure, reason, sizeof reason);
    return false;
}

bool state_hdf5_error(Error *error, const char *path, const char *what) {
    error_set(error, "%s: %s: %s", path, what, failure[0] ? failure : "unknown cause");
    failure[0] = '\0';
    return false;
}

hid_t state_file_type(StateType type) {
    switch (type) {
    case STATE_FLOAT32:
        return H5T_IEEE_F32LE;
    case STATE_INT64:
        return H5T_STD_I64LE;
    case STATE_INT32:
        return H5T_STD_I32LE;
    case STATE_BYTES:
        break;
    }
    return H5T_STD_U8LE;
}

hid_t state_memory_type(StateType type) {
    switch (type) {
    case STATE_FLOAT32:
        return H5T_NATIVE_FLOAT;
    case STATE_INT64:
        return H5T_NATIVE_INT64;
    case STATE_INT32:
        return H5T_NATIVE_INT32;
    case STATE_BYTES:
        break;
    }
    return H5T_NATIVE_UINT8;
}

size_t state_element_size(StateType type) {
    static const size_t SIZES[] = {
        [STATE_FLOAT32] = 4, [STATE_INT64] = 8, [STATE_INT32] = 4, [STATE_BYTES] = 1};
    return SIZES[type];
}

const char *state_type_name(StateType type) {
    static const char *const NAMES[] = {[STATE_FLOAT32] = "float32",
                                        [STATE_INT64] = "int64",
                                        [STATE_INT32] = "int32",
                                        [STATE_BYTES] = "bytes"};
    return NAMES[type];
}

static bool open_hdf5(StateWriter *writer, Error *error) {
    hid_t access = H5Pcreate(H5P_FILE_ACCESS);
    // Version 1.8's structures and later carry checksums. Locks are of no use on a file that nobody
    // knows yet, and they fail on some network file systems.
    H5Pset_libver_bounds(access, H5F_LIBVER_V18, H5F_LIBVER_V110);
    H5Pset_file_locking(access, false, true);
    H5Pset_alignment(access, 1, STATE_ALIGNMENT);
    hid_t creation = H5Pcreate(H5P_FILE_CREATE);
    H5Pset_obj_track_times(creation, false);
    writer->file =
        H5Fcreate(output_temporary_path(writer->output), H5F_ACC_TRUNC, creation, access);
    H5Pclose(creation);
    H5Pclose(access);
    if (writer->file < 0) return state_hdf5_error(error, writer->path, "cannot be written");
    return state_write_attribute_string(writer, STATE_FORMAT_ATTRIBUTE, STATE_FORMAT, error) &&
           state_write_attribute_int(writer, STATE_VERSION_ATTRIBUTE, STATE_VERSION, error);
}

StateWriter *state_create(const char *path, Error *error) {
    state_prepare_hdf5();
    OutputFile *output = output_create(path, error);
    if (!output) return NULL;
    StateWriter *writer = checked_calloc(1, sizeof *writer);
    writer->path = checked_strdup(path);
    writer->output = output;
    writer->file = H5I_INVALID_HID;
    if (open_hdf5(writer, error)) return writer;
    state_abandon(writer);
    return NULL;
}

bool state_put_scalar(hid_t object, const char *name, hid_t file_type, hid_t memory_type,
                      const void *value) {
    hid_t space = H5Screate(H5S_SCALAR);
    hid_t attribute = H5Acreate2(object, name, file_type, space, H5P_DEFAULT, H5P_DEFAULT);
    bool written = attribute >= 0 && H5Awrite(attribute, memory_type, value) >= 0;
    if (attribute >= 0 && H5Aclose(attribute) < 0) written = false;
    H5Sclose(space);
    return written;
}

/// Without the time of their making: the same content is the same file.
bool state_make_groups(hid_t file, const char *name) {
    hid_t creation = H5Pcreate(H5P_GROUP_CREATE);
    H5Pset_obj_track_times(creation, false);
    bool ok = true;
    for (const char *slash = strchr(name, '/'); ok && slash; slash = strchr(slash + 1, '/')) {
        char *path = format_string("%.*s", (int)(slash - name), name);
        htri_t exists = H5Lexists(file, path, H5P_DEFAULT);
        if (exists == 0) {
            hid_t group = H5Gcreate2(file, path, H5P_DEFAULT, creation, H5P_DEFAULT);
            ok = group >= 0 && H5Gclose(group) >= 0;
        }
        ok = ok && exists >= 0;
        free(path);
    }
    H5Pclose(creation);
    return ok;
}

/// The group that an attribute's path leads to, made if it is not there yet; *leaf receives the
/// attribute's name.
static hid_t group_of_attribute(StateWriter *writer, const char *name, const char **leaf) {
    const char *slash = strrchr(name, '/');
    *leaf = slash ? slash + 1 : name;
    if (!slash) return H5Gopen2(writer->file, "/", H5P_DEFAULT);
    char *path = format_string("%.*s", (int)(slash - name), name);
    hid_t group = state_make_groups(writer->file, name) ? H5Gopen2(writer->file, path, H5P_DEFAULT)
                                                        : H5I_INVALID_HID;
    free(path);
    return group;
}

static bool write_attribute(StateWriter *writer, const char *name, hid_t file_type,
                            hid_t memory_type, const void *value, Error *error) {
    const char *leaf;
    hid_t group = group_of_attribute(writer, name, &leaf);
    bool written = group >= 0 && state_put_scalar(group, leaf, file_type, memory_type, value);
    if (!written) {
        char what[512];
        snprintf(what, sizeof what, "attribute '%.400s' could not be written", name);
        state_hdf5_error(error, writer->path, what);
    }
    if (group >= 0) H5Gclose(group);
    return written;
}

bool state_write_attribute_int(StateWriter *writer, const char *name, int64_t value, Error *error) {
    return write_attribute(writer, name, H5T_STD_I64LE, H5T_NATIVE_INT64, &value, error);
}

bool state_write_attribute_double(StateWriter *writer, const char *name, double value,
                                  Error *error) {
    return write_attribute(writer, name, H5T_IEEE_F64LE, H5T_NATIVE_DOUBLE, &value, error);
}

bool state_write_attribute_string(StateWriter *writer, const char *name, const char *value,
                                  Error *error) {
    size_t length = strlen(value);
    if (length > STATE_MAX_STRING)
        return error_set(error, "%s: attribute '%s' has %zu bytes, at most %d are possible",
                         writer->path, name, length, STATE_MAX_STRING);
    hid_t type = H5Tcopy(H5T_C_S1);
    H5Tset_size(type, length + 1);
    H5Tset_cset(type, H5T_CSET_UTF8);
    bool written = write_attribute(writer, name, type, type, value, error);
    H5Tclose(type);
    return written;
}

bool state_commit(StateWriter *writer, Error *error) {
    const hid_t file = writer->file;
    writer->file = H5I_INVALID_HID;
    bool written = flush_and_close(file);
    if (written) {
        written = output_commit(writer->output, error);
        writer->output = NULL;
    } else {
        state_hdf5_error(error, writer->path, "writing failed");
    }
    state_abandon(writer);
    return written;
}

void state_abandon(StateWriter *writer) {
    if (!writer) return;
    if (writer->file >= 0) flush_and_close(writer->file);
    H5Eclear2(H5E_DEFAULT);
    output_abandon(writer->output);
    free(writer->path);
    free(writer);
}
