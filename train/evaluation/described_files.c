#include "train/evaluation/described_files.h"

#include "autograd/crc32c.h"

#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

static bool is_weights(const char *name) {
    static const char *const ENDINGS[] = {".safetensors", ".bin", ".pt", ".pth", ".h5"};
    size_t length = strlen(name);
    for (size_t i = 0; i < sizeof ENDINGS / sizeof *ENDINGS; i++) {
        size_t ending = strlen(ENDINGS[i]);
        if (length > ending && !strcmp(name + length - ending, ENDINGS[i])) return true;
    }
    return false;
}

/// Bytes of the weight files in a folder and the folders in it, to a depth; of a file its own. With
/// `checksum`, their content as well.
static bool measure_weights(const char *path, int depth, int64_t *bytes, uint32_t *checksum,
                            Error *error) {
    struct dirent **entries = NULL;
    struct stat about;
    if (stat(path, &about) != 0)
        return error_set(error, "%s: cannot be opened: %s", path, strerror(errno));
    if (!S_ISDIR(about.st_mode)) {
        *bytes += about.st_size;
        return !checksum || crc32c_add_file(checksum, path, error);
    }
    int count = scandir(path, &entries, NULL, alphasort);
    bool ok = count >= 0 || error_set(error, "%s: cannot be listed: %s", path, strerror(errno));
    for (int i = 0; i < count; i++) {
        const char *name = entries[i]->d_name;
        char *below = format_string("%s/%s", path, name);
        if (ok && name[0] != '.' && stat(below, &about) == 0 &&
            (S_ISDIR(about.st_mode) ? depth > 0 : is_weights(name)))
            ok = measure_weights(below, depth - 1, bytes, checksum, error);
        free(below);
        free(entries[i]);
    }
    free(entries);
    return ok;
}

json_t *describe_content(const char *path, Error *error) {
    uint32_t checksum = 0;
    int64_t bytes = 0;
    if (!measure_weights(path, 0, &bytes, &checksum, error)) return NULL;
    return json_sprintf("%lld bytes with CRC-32C %08x", (long long)bytes, checksum);
}

json_t *describe_network(const char *path, Error *error) {
    int64_t bytes = 0;
    if (!measure_weights(path, 1, &bytes, NULL, error)) return NULL;
    size_t length = strlen(path);
    while (length > 1 && path[length - 1] == '/') length--;
    size_t begin = length;
    while (begin > 0 && path[begin - 1] != '/') begin--;
    return json_sprintf("%.*s, %lld bytes", (int)(length - begin), path + begin, (long long)bytes);
}
