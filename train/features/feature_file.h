/// A file of a feature folder (train/features/feature_folder.h): a block's features, and reading
/// single images out of it.
///
/// Files are read and not mapped: a page of a mapped file that a disk, or whoever cut the file
/// short, no longer gives is a bus error, and this is a value; what was read once is in the
/// system's memory either way, and goes when that is needed. A file is open only while it is read,
/// so that there may be any number of them.
#pragma once
#include "autograd/error.h"
#include "train/features/feature_block.h"

/// Made by feature_file_find().
struct FeatureFile {
    char *path;
    /// of the first image's features and moments, from the file's beginning; those of the others
    /// follow
    int64_t clip, moments;
    /// CRC-32C of each image's features and moments
    uint32_t checksums[FEATURE_BLOCK][2];
};

/// NULL is allowed.
void feature_file_free(FeatureFile *file);
/// Reads the features of image `place` of the block, feature_clip_bytes() and
/// feature_moments_bytes() of them, and holds them against their checksums. Any thread may.
bool feature_file_read(const FeatureFile *file, const FeatureShape *shape, int place, char *clip,
                       char *moments, Error *error);
/// Notes the checksums of all `count` images as they are in the file. *checksums: those of the
/// whole arrays.
bool feature_file_note_checksums(FeatureFile *file, const FeatureShape *shape, int count,
                                 uint32_t checksums[2], Error *error);

/// Looks whether the file is the block of this key (*is_it; else it is that of another key with the
/// same hash), with so many images of this shape, undamaged; then its file and its bits are filled
/// in. `is_checked`: of its features only the place is looked at, and their checksums are the
/// caller's to fill in. False, with the reason and an empty block, if the file is damaged.
bool feature_file_find(const char *path, const FeatureShape *shape, const char *key, int count,
                       bool is_checked, FeatureBlock *block, bool *is_it, Error *error);
/// Writes a block that is in memory, whole or not at all.
bool feature_file_write(const char *path, const FeatureShape *shape, const char *key, int count,
                        const FeatureBlock *block, Error *error);
