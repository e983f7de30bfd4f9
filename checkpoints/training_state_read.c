// A checkpoint may come from anywhere. Arrays are found by walking hard links only, to a limited
// depth and number, and must be plain contiguous data within this file: links to other files,
// external storage, virtual data sets and filters are refused.
#include "checkpoints/training_state_internal.h"

#include "autograd/crc32c.h"
#include "autograd/file_content.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

enum { MAX_DEPTH = 8, MAX_LINKS = 100000 };

typedef struct Walk {
    StateFile *file;
    const char *prefix;
    int depth;
    /// Links that were followed so far, and why the walk ended where HDF5 itself found nothing
    /// wrong: shared by all depths.
    int *links;
    const char **refusal;
} Walk;

static herr_t visit(hid_t group, const char *name, const H5L_info_t *info, void *context);

static herr_t refuse(const Walk *walk, const char *why) {
    *walk->refusal = why;
    return -1;
}

static void keep_name(StateFile *file, char *name) {
    if ((file->count & (file->count - 1)) == 0) {
        size_t capacity = file->count ? 2 * (size_t)file->count : 1;
        file->names = checked_realloc(file->names, capacity * sizeof *file->names);
    }
    file->names[file->count++] = name;
}

/// Looks at an object, of which the file has the one link of this path, and at all below it.
static herr_t visit_object(const Walk *walk, hid_t object, const char *path) {
    H5O_info_t about;
    if (H5Oget_info2(object, &about, H5O_INFO_BASIC) < 0) return -1;
    if (about.rc != 1) return refuse(walk, "an object has several names in it");
    if (about.type == H5O_TYPE_DATASET) {
        keep_name(walk->file, checked_strdup(path));
        return 0;
    }
    if (about.type != H5O_TYPE_GROUP) return refuse(walk, "it has more than groups and arrays");
    if (walk->depth == MAX_DEPTH) return refuse(walk, "its groups are nested too deeply");
    Walk inner = *walk;
    char *prefix = format_string("%s/", path);
    inner.prefix = prefix;
    inner.depth++;
    herr_t status = H5Literate(object, H5_INDEX_NAME, H5_ITER_NATIVE, NULL, visit, &inner);
    free(prefix);
    return status;
}

static herr_t visit(hid_t group, const char *name, const H5L_info_t *info, void *context) {
    const Walk *walk = context;
    if (info->type != H5L_TYPE_HARD) return refuse(walk, "it links to elsewhere");
    // How many links an object has is only what the file says.
    if (++*walk->links > MAX_LINKS) return refuse(walk, "it has too many groups and arrays");
    hid_t object = H5Oopen(group, name, H5P_DEFAULT);
    if (object < 0) return -1;
    char *path = format_string("%s%s", walk->prefix, name);
    herr_t status = visit_object(walk, object, path);
    free(path);
    H5Oclose(object);
    return status < 0 ? -1 : 0;
}

static int compare_names(const void *a, const void *b) {
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static bool list_arrays(StateFile *file, Error *error) {
    static const char damaged[] = "damaged: its list of arrays cannot be read";
    int links = 0;
    const char *refusal = NULL;
    Walk walk = {file, "", 0, &links, &refusal};
    if (H5Literate(file->file, H5_INDEX_NAME, H5_ITER_NATIVE, NULL, visit, &walk) < 0)
        return refusal
                   ? error_set(error, "%s: no checkpoint of this program: %s", file->path, refusal)
                   : state_hdf5_error(error, file->path, damaged);
    if (file->count > 0)
        qsort(file->names, (size_t)file->count, sizeof *file->names, compare_names);
    return true;
}

static bool check_format(StateFile *file, Error *error) {
    char *format = NULL;
    int64_t version = 0;
    bool valid = state_has_attribute(file, STATE_FORMAT_ATTRIBUTE) &&
                 state_read_attribute_string(file, STATE_FORMAT_ATTRIBUTE, &format, error) &&
                 strcmp(format, STATE_FORMAT) == 0;
    free(format);
    if (!valid)
        return error_set(error, "%s: an HDF5 file, but not a training checkpoint", file->path);
    if (!state_read_attribute_int(file, STATE_VERSION_ATTRIBUTE, &version, error)) return false;
    if (version != STATE_VERSION)
        return error_set(error, "%s: checkpoint format version %lld; this program reads version %d",
                         file->path, (long long)version, STATE_VERSION);
    return true;
}

static bool open_hdf5(StateFile *file, Error *error) {
    struct stat status;
    if (stat(file->path, &status) != 0)
        return error_set(error, "%s: cannot be read: %s", file->path, strerror(errno));
    if (!file_at_is_fetched(file->path, error)) return false;
    file->file_bytes = status.st_size;
    hid_t access = H5Pcreate(H5P_FILE_ACCESS);
    H5Pset_file_locking(access, false, true);
    file->file = H5Fopen(file->path, H5F_ACC_RDONLY, access);
    H5Pclose(access);
    if (file->file < 0)
        return state_hdf5_error(error, file->path, "not an HDF5 checkpoint, or damaged or cut off");
    return check_format(file, error) && list_arrays(file, error);
}

StateFile *state_open(const char *path, Error *error) {
    state_prepare_hdf5();
    StateFile *file = checked_calloc(1, sizeof *file);
    file->path = checked_strdup(path);
    file->file = H5I_INVALID_HID;
    if (open_hdf5(file, error)) return file;
    state_close(file);
    return NULL;
}

void state_close(StateFile *file) {
    if (!file) return;
    if (file->file >= 0) H5Fclose(file->file);
    for (int64_t i = 0; i < file->count; i++) free(file->names[i]);
    free(file->names);
    free(file->path);
    free(file);
}

const char *state_path(const StateFile *file) { return file->path; }
int64_t state_array_count(const StateFile *file) { return file->count; }

const char *state_array_name(const StateFile *file, int64_t index) {
    CHECK(index >= 0 && index < file->count, "state_array_name: index %lld of %lld",
          (long long)index, (long long)file->count);
    return file->names[index];
}

bool state_has_array(const StateFile *file, const char *name) {
    return file->count > 0 && bsearch(&name, file->names, (size_t)file->count, sizeof *file->names,
                                      compare_names) != NULL;
}

static bool is_plain(hid_t set) {
    hid_t creation = H5Dget_create_plist(set);
    bool plain = creation >= 0 && H5Pget_layout(creation) == H5D_CONTIGUOUS &&
                 H5Pget_external_count(creation) == 0 && H5Pget_nfilters(creation) == 0;
    if (creation >= 0) H5Pclose(creation);
    return plain;
}

static bool describe_type(hid_t set, StateType *type) {
    hid_t stored = H5Dget_type(set);
    bool known = false;
    for (int i = STATE_FLOAT32; i <= STATE_BYTES && stored >= 0 && !known; i++) {
        known = H5Tequal(stored, state_file_type((StateType)i)) > 0;
        if (known) *type = (StateType)i;
    }
    if (stored >= 0) H5Tclose(stored);
    return known;
}

/// Shape and size in bytes; false if there are too many dimensions or more bytes than the file has.
static bool describe_shape(const StateFile *file, hid_t set, StateType type, int *rank,
                           int64_t *shape, size_t *bytes) {
    hid_t space = H5Dget_space(set);
    hsize_t dimensions[STATE_MAX_RANK];
    *rank = space >= 0 ? H5Sget_simple_extent_ndims(space) : -1;
    bool valid = *rank >= 0 && *rank <= STATE_MAX_RANK &&
                 (*rank == 0 || H5Sget_simple_extent_dims(space, dimensions, NULL) == *rank);
    int64_t size = (int64_t)state_element_size(type);
    for (int i = 0; valid && i < *rank; i++) {
        shape[i] = (int64_t)dimensions[i];
        valid = shape[i] >= 0 && !__builtin_mul_overflow(size, shape[i], &size);
    }
    if (space >= 0) H5Sclose(space);
    *bytes = (size_t)size;
    return valid && size <= file->file_bytes;
}

hid_t state_open_array(const StateFile *file, const char *name, StateType *type, int *rank,
                       int64_t *shape, size_t *bytes, Error *error) {
    if (!state_has_array(file, name)) {
        error_set(error, "%s: array '%s' is missing", file->path, name);
        return H5I_INVALID_HID;
    }
    hid_t set = H5Dopen2(file->file, name, H5P_DEFAULT);
    if (set < 0) {
        char what[512];
        snprintf(what, sizeof what, "array '%.400s' is damaged", name);
        state_hdf5_error(error, file->path, what);
    } else if (!is_plain(set) || !describe_type(set, type) ||
               !describe_shape(file, set, *type, rank, shape, bytes)) {
        error_set(error,
                  "%s: array '%s' is not stored as a checkpoint's arrays are (float32, int64, "
                  "int32 or bytes, contiguous, within the file)",
                  file->path, name);
        H5Dclose(set);
        set = H5I_INVALID_HID;
    }
    return set;
}

bool state_describe_array(const StateFile *file, const char *name, StateType *type, int *rank,
                          int64_t shape[STATE_MAX_RANK], Error *error) {
    size_t bytes;
    hid_t set = state_open_array(file, name, type, rank, shape, &bytes, error);
    if (set < 0) return false;
    H5Dclose(set);
    return true;
}

bool state_stored_checksum(hid_t set, uint32_t *stored) {
    hid_t attribute = H5Aopen(set, STATE_CHECKSUM_ATTRIBUTE, H5P_DEFAULT);
    hid_t space = attribute >= 0 ? H5Aget_space(attribute) : H5I_INVALID_HID;
    bool read = space >= 0 && H5Sget_simple_extent_npoints(space) == 1 &&
                H5Aread(attribute, H5T_NATIVE_UINT32, stored) >= 0;
    if (space >= 0) H5Sclose(space);
    if (attribute >= 0) H5Aclose(attribute);
    return read;
}

bool state_refuse_unreadable(const StateFile *file, const char *name, Error *error) {
    char what[512];
    snprintf(what, sizeof what, "array '%.400s' cannot be read", name);
    return state_hdf5_error(error, file->path, what);
}

bool state_refuse_damaged(const StateFile *file, const char *name, Error *error) {
    return error_set(error, "%s: array '%s' is damaged: its checksum does not match", file->path,
                     name);
}

static bool read_checked(const StateFile *file, hid_t set, const char *name, StateType type,
                         size_t bytes, void *out, Error *error) {
    uint32_t stored = 0;
    bool read = state_stored_checksum(set, &stored);
    if (read && bytes > 0)
        read = H5Dread(set, state_memory_type(type), H5S_ALL, H5S_ALL, H5P_DEFAULT, out) >= 0;
    if (!read) return state_refuse_unreadable(file, name, error);
    return crc32c(0, out, bytes) == stored || state_refuse_damaged(file, name, error);
}

static void append_shape(char *text, size_t size, StateType type, int rank, const int64_t *shape) {
    size_t used = (size_t)snprintf(text, size, "%s [", state_type_name(type));
    for (int i = 0; i < rank && used < size; i++)
        used +=
            (size_t)snprintf(text + used, size - used, i ? ", %lld" : "%lld", (long long)shape[i]);
    if (used < size) snprintf(text + used, size - used, "]");
}

bool state_read_array(const StateFile *file, const char *name, StateType type, int rank,
                      const int64_t *shape, void *out, Error *error) {
    StateType stored_type = STATE_BYTES;
    int stored_rank = 0;
    int64_t stored_shape[STATE_MAX_RANK];
    size_t bytes = 0;
    hid_t set =
        state_open_array(file, name, &stored_type, &stored_rank, stored_shape, &bytes, error);
    if (set < 0) return false;
    bool same = stored_type == type && stored_rank == rank;
    for (int i = 0; same && i < rank; i++) same = stored_shape[i] == shape[i];
    if (!same) {
        char is[256], expected[256];
        append_shape(is, sizeof is, stored_type, stored_rank, stored_shape);
        append_shape(expected, sizeof expected, type, rank, shape);
        error_set(error, "%s: array '%s' is %s; expected %s. The checkpoint is of another model",
                  file->path, name, is, expected);
    } else {
        same = read_checked(file, set, name, type, bytes, out, error);
    }
    H5Dclose(set);
    return same;
}

int64_t state_offset_of(hid_t set, size_t bytes) {
    const haddr_t offset = bytes ? H5Dget_offset(set) : 0;
    return offset == HADDR_UNDEF ? -1 : (int64_t)offset;
}

bool state_array_place(const StateFile *file, const char *name, int64_t *offset, int64_t *bytes,
                       uint32_t *checksum, Error *error) {
    StateType type;
    int rank;
    int64_t shape[STATE_MAX_RANK];
    size_t size;
    hid_t set = state_open_array(file, name, &type, &rank, shape, &size, error);
    if (set < 0) return false;
    const bool has_checksum = state_stored_checksum(set, checksum);
    *offset = state_offset_of(set, size);
    *bytes = (int64_t)size;
    H5Dclose(set);
    if (!has_checksum) return state_refuse_unreadable(file, name, error);
    return (*offset >= 0 && *bytes <= file->file_bytes - *offset) ||
           error_set(error, "%s: array '%s' lies outside of the file", file->path, name);
}
