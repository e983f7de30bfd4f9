#include "train/features/feature_file.h"

#include "autograd/crc32c.h"

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
