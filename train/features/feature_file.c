#include "train/features/feature_file.h"

#include "autograd/crc32c.h"
#include "checkpoints/training_state.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { CLIP, MOMENTS };

void feature_file_free(FeatureFile *file) {
    if (!file) return;
    free(file->path);
    free(file);
}

// ---- its arrays

static int open_file(const FeatureFile *file, Error *error) {
    const int descriptor = open(file->path, O_RDONLY | O_CLOEXEC);
    if (descriptor < 0)
        error_set(error,
                  "%s: cannot be opened: %s. Features are read while a run uses them; the same "
                  "command computes anew what is missing",
                  file->path, strerror(errno));
    return descriptor;
}

static bool read_at(const FeatureFile *file, int descriptor, int64_t offset, size_t bytes, char *to,
                    Error *error) {
    for (size_t done = 0; done < bytes;) {
        const ssize_t count =
            pread(descriptor, to + done, bytes - done, (off_t)offset + (off_t)done);
        if (count < 0 && errno == EINTR) continue;
        if (count <= 0)
            return error_set(error, "%s: cannot be read: %s", file->path,
                             count < 0 ? strerror(errno) : "it has become shorter");
        done += (size_t)count;
    }
    return true;
}

/// Both kinds of one image.
static bool read_image(const FeatureFile *file, int descriptor, const FeatureShape *shape,
                       int place, char *clip, char *moments, Error *error) {
    const size_t clip_bytes = feature_clip_bytes(shape),
                 moments_bytes = feature_moments_bytes(shape);
    return read_at(file, descriptor, file->clip + (int64_t)clip_bytes * place, clip_bytes, clip,
                   error) &&
           (!moments_bytes ||
            read_at(file, descriptor, file->moments + (int64_t)moments_bytes * place, moments_bytes,
                    moments, error));
}

bool feature_file_read(const FeatureFile *file, const FeatureShape *shape, int place, char *clip,
                       char *moments, Error *error) {
    const int descriptor = open_file(file, error);
    if (descriptor < 0) return false;
    const bool ok = read_image(file, descriptor, shape, place, clip, moments, error);
    close(descriptor);
    if (!ok) return false;
    const uint32_t *expected = file->checksums[place];
    return (crc32c(0, clip, feature_clip_bytes(shape)) == expected[CLIP] &&
            crc32c(0, moments, feature_moments_bytes(shape)) == expected[MOMENTS]) ||
           error_set(error,
                     "%s: its features are no longer what they were; remove it and run the same "
                     "command again, which computes them anew",
                     file->path);
}

bool feature_file_note_checksums(FeatureFile *file, const FeatureShape *shape, int count,
                                 uint32_t checksums[2], Error *error) {
    const size_t clip_bytes = feature_clip_bytes(shape),
                 moments_bytes = feature_moments_bytes(shape);
    const int descriptor = open_file(file, error);
    if (descriptor < 0) return false;
    char *clip = checked_malloc(clip_bytes + moments_bytes), *moments = clip + clip_bytes;
    bool ok = true;
    checksums[CLIP] = checksums[MOMENTS] = 0;
    for (int i = 0; ok && i < count; i++) {
        ok = read_image(file, descriptor, shape, i, clip, moments, error);
        if (!ok) break;
        file->checksums[i][CLIP] = crc32c(0, clip, clip_bytes);
        file->checksums[i][MOMENTS] = crc32c(0, moments, moments_bytes);
        checksums[CLIP] = crc32c(checksums[CLIP], clip, clip_bytes);
        checksums[MOMENTS] = crc32c(checksums[MOMENTS], moments, moments_bytes);
    }
    free(clip);
    close(descriptor);
    return ok;
}

// ---- a block as a file

/// An array of a file.
typedef struct BlockArray {
    const char *name;
    StateType type;
    int rank;
    int64_t shape[MAX_RANK];
} BlockArray;

static BlockArray clip_array(const FeatureShape *shape, int count) {
    const bool whole = shape->dtype == FLOAT32;
    return (BlockArray){"clip",
                        whole ? STATE_FLOAT32 : STATE_BYTES,
                        whole ? 3 : 4,
                        {count, shape->tokens, shape->width, (int64_t)dtype_size(shape->dtype)}};
}

static BlockArray moments_array(const FeatureShape *shape, int count) {
    return (BlockArray){
        "moments", STATE_FLOAT32, 4, {count, shape->side, shape->side, shape->channels}};
}

/// Where an array lies, that is what it must be, and its checksum.
static bool find_array(const StateFile *file, const BlockArray *array, int64_t *offset,
                       uint32_t *checksum, Error *error) {
    StateType type;
    int rank;
    int64_t shape[STATE_MAX_RANK], bytes;
    if (!state_describe_array(file, array->name, &type, &rank, shape, error)) return false;
    bool is = type == array->type && rank == array->rank;
    for (int i = 0; is && i < rank; i++) is = shape[i] == array->shape[i];
    if (!is)
        return error_set(error, "%s: its array '%s' is not what features are", state_path(file),
                         array->name);
    return state_array_place(file, array->name, offset, &bytes, checksum, error);
}

static bool find_arrays(const StateFile *file, const FeatureShape *shape, int count,
                        FeatureFile *found, uint32_t checksums[2], Error *error) {
    const BlockArray clip = clip_array(shape, count), moments = moments_array(shape, count);
    return find_array(file, &clip, &found->clip, &checksums[CLIP], error) &&
           (!shape->channels ||
            find_array(file, &moments, &found->moments, &checksums[MOMENTS], error));
}

static bool is_of_key(const StateFile *file, const char *key, bool *is_it, Error *error) {
    char *made_of;
    if (!state_read_attribute_string(file, "made_of", &made_of, error)) return false;
    *is_it = !strcmp(made_of, key);
    free(made_of);
    return true;
}

static bool find_block(const StateFile *file, const FeatureShape *shape, int count, bool is_checked,
                       FeatureBlock *block, Error *error) {
    int64_t readable;
    uint32_t checksums[2] = {0}, found[2];
    if (!state_read_attribute_int(file, "readable", &readable, error)) return false;
    block->readable = (uint32_t)readable;
    block->file = checked_calloc(1, sizeof *block->file);
    block->file->path = checked_strdup(state_path(file));
    if (!find_arrays(file, shape, count, block->file, checksums, error)) return false;
    if (is_checked) return true;
    return feature_file_note_checksums(block->file, shape, count, found, error) &&
           (!memcmp(found, checksums, sizeof found) ||
            error_set(error, "%s: damaged: its features do not have their checksum",
                      state_path(file)));
}

bool feature_file_find(const char *path, const FeatureShape *shape, const char *key, int count,
                       bool is_checked, FeatureBlock *block, bool *is_it, Error *error) {
    *is_it = false;
    StateFile *file = state_open(path, error);
    if (!file) return false;
    const bool ok = is_of_key(file, key, is_it, error) &&
                    (!*is_it || find_block(file, shape, count, is_checked, block, error));
    state_close(file);
    if (ok) return true;
    *is_it = false;
    feature_block_free(block);
    return false;
}

static bool write_array(StateWriter *writer, const BlockArray *array, const char *data,
                        Error *error) {
    return state_write_array(writer, array->name, array->type, array->rank, array->shape, data,
                             error);
}

bool feature_file_write(const char *path, const FeatureShape *shape, const char *key, int count,
                        const FeatureBlock *block, Error *error) {
    const BlockArray clip = clip_array(shape, count), moments = moments_array(shape, count);
    StateWriter *writer = state_create(path, error);
    if (!writer) return false;
    if (state_write_attribute_string(writer, "made_of", key, error) &&
        state_write_attribute_int(writer, "readable", block->readable, error) &&
        write_array(writer, &clip, block->clip, error) &&
        (!block->moments || write_array(writer, &moments, block->moments, error)))
        return state_commit(writer, error);
    state_abandon(writer);
    return false;
}
