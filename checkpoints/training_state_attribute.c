// A checkpoint may come from anywhere: what leads to an attribute is followed over hard links only,
// and its type is looked at before a value is read.
#include "checkpoints/training_state_internal.h"

#include <stdlib.h>
#include <string.h>

/// Opens the attribute a path leads to, over hard links only.
static hid_t open_attribute(const StateFile *file, const char *name) {
    const char *slash = strrchr(name, '/');
    const char *leaf = slash ? slash + 1 : name;
    char *path = slash ? format_string("%.*s", (int)(slash - name), name) : checked_strdup("/");
    bool plain = true;
    for (char *part = path; plain && slash && part; part = strchr(part + 1, '/')) {
        char *end = strchr(part + 1, '/');
        H5L_info_t info;
        if (end) *end = '\0';
        plain =
            H5Lget_info(file->file, path, &info, H5P_DEFAULT) >= 0 && info.type == H5L_TYPE_HARD;
        if (end) *end = '/';
    }
    hid_t attribute = H5I_INVALID_HID;
    if (plain && H5Aexists_by_name(file->file, path, leaf, H5P_DEFAULT) > 0)
        attribute = H5Aopen_by_name(file->file, path, leaf, H5P_DEFAULT, H5P_DEFAULT);
    H5Eclear2(H5E_DEFAULT);
    free(path);
    return attribute;
}

bool state_has_attribute(const StateFile *file, const char *name) {
    hid_t attribute = open_attribute(file, name);
    if (attribute >= 0) H5Aclose(attribute);
    return attribute >= 0;
}

/// The attribute's type if it is a single value of this class, otherwise an error and nothing left
/// open.
static bool open_scalar(const StateFile *file, const char *name, H5T_class_t wanted,
                        const char *expected, hid_t *attribute, hid_t *type, Error *error) {
    *attribute = open_attribute(file, name);
    if (*attribute < 0)
        return error_set(error, "%s: attribute '%s' is missing: expected %s", file->path, name,
                         expected);
    hid_t space = H5Aget_space(*attribute);
    *type = H5Aget_type(*attribute);
    bool single = space >= 0 && H5Sget_simple_extent_npoints(space) == 1;
    if (space >= 0) H5Sclose(space);
    if (single && *type >= 0 && H5Tget_class(*type) == wanted) return true;
    if (*type >= 0) H5Tclose(*type);
    H5Aclose(*attribute);
    return error_set(error, "%s: attribute '%s' is not %s", file->path, name, expected);
}

static bool read_number(const StateFile *file, const char *name, H5T_class_t wanted,
                        const char *expected, hid_t memory_type, void *value, Error *error) {
    hid_t attribute = H5I_INVALID_HID, type = H5I_INVALID_HID;
    if (!open_scalar(file, name, wanted, expected, &attribute, &type, error)) return false;
    bool read = H5Aread(attribute, memory_type, value) >= 0;
    if (!read) state_hdf5_error(error, file->path, "an attribute cannot be read");
    H5Tclose(type);
    H5Aclose(attribute);
    return read;
}

bool state_read_attribute_int(const StateFile *file, const char *name, int64_t *value,
                              Error *error) {
    return read_number(file, name, H5T_INTEGER, "an integer", H5T_NATIVE_INT64, value, error);
}

bool state_read_attribute_double(const StateFile *file, const char *name, double *value,
                                 Error *error) {
    return read_number(file, name, H5T_FLOAT, "a number", H5T_NATIVE_DOUBLE, value, error);
}

bool state_read_attribute_string(const StateFile *file, const char *name, char **value,
                                 Error *error) {
    hid_t attribute = H5I_INVALID_HID, type = H5I_INVALID_HID;
    if (!open_scalar(file, name, H5T_STRING, "a string", &attribute, &type, error)) return false;
    size_t size = H5Tget_size(type);
    bool read = H5Tis_variable_str(type) == 0 && size > 0 && size <= STATE_MAX_STRING + 1;
    char *text = read ? checked_calloc(size + 1, 1) : NULL;
    if (read) read = H5Aread(attribute, type, text) >= 0;
    if (read) {
        *value = text;
    } else {
        error_set(error, "%s: attribute '%s' cannot be read as a string", file->path, name);
        free(text);
    }
    H5Tclose(type);
    H5Aclose(attribute);
    return read;
}
