/// The preparation of one file of training data.
#pragma once
#include "train/prepare/prepare.h"
#include "train/prepare/prepare_block.h"

typedef struct FilePreparation {
    const PrepareOptions *options;
    /// JSON
    const char *path;
    /// between its name and ".pack.h5" where packs have a folder of their own; ".eval" for
    /// data.eval
    const char *infix;
    Preparing preparing;
    ProcessGroup *group;
    int threads;
} FilePreparation;

/// Where the pack will be; the caller frees it.
char *prepare_pack_path(const FilePreparation *file);
/// Every rank calls it and fails alike.
bool prepare_file(const FilePreparation *file, Error *error);
