#include "autograd/crc32c.h"
#include "autograd/stop_request.h"
#include "checkpoints/training_state_internal.h"

#include <stdlib.h>
#include <unistd.h>

/// Of bytes as they lie in the file, which may be more than memory holds.
static bool checksum_of(const StateFile *file, int64_t offset, size_t bytes, uint32_t *checksum) {
    static const size_t PIECE = 1 << 22;
    void *handle = NULL;
    if (offset < 0 || H5Fget_vfd_handle(file->file, H5P_DEFAULT, &handle) < 0 || !handle)
        return false;
    char *piece = checked_malloc(PIECE);
    ssize_t got = 1;
    *checksum = 0;
    for (; bytes > 0 && got > 0 && !stop_requested(); bytes -= (size_t)got, offset += got) {
        got = pread(*(const int *)handle, piece, bytes < PIECE ? bytes : PIECE, offset);
        if (got > 0) *checksum = crc32c(*checksum, piece, (size_t)got);
    }
    free(piece);
    return bytes == 0;
}

static bool verify_array(const StateFile *file, const char *name, Error *error) {
    StateType type;
    int rank;
    int64_t shape[STATE_MAX_RANK];
    size_t bytes = 0;
    uint32_t stored = 0, checksum = 0;
    hid_t set = state_open_array(file, name, &type, &rank, shape, &bytes, error);
    if (set < 0) return false;
    bool read = state_stored_checksum(set, &stored) &&
                checksum_of(file, state_offset_of(set, bytes), bytes, &checksum);
    H5Dclose(set);
    if (stop_requested()) return stop_request_error(error);
    if (!read) return state_refuse_unreadable(file, name, error);
    return checksum == stored || state_refuse_damaged(file, name, error);
}

bool state_verify(const StateFile *file, Error *error) {
    for (int64_t i = 0; i < file->count; i++)
        if (!verify_array(file, file->names[i], error)) return false;
    return true;
}
