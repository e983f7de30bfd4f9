/// A picture of the training data, looked at before there is a training.
#pragma once
#include <stdbool.h>
#include <stddef.h>

typedef struct PreparedImage {
    /// why it cannot be read; "": it can
    char problem[2048];
    /// it is not there; or it is, and its first bytes are no image's: both are noticed when
    /// training data are opened
    bool is_missing, is_none;
    /// that its content is not what its name says, and that it is damaged though whole; "": neither
    char name_note[256], warning[1024];
    /// the file, owned by the caller; NULL if it could not be read
    char *bytes;
    size_t size;
} PreparedImage;

/// Reads the file and decodes it as a whole.
void image_prepare(const char *path, PreparedImage *image);
