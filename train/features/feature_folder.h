/// Frozen features on disk: what one run has computed, others read (data.feature_folder).
///
/// A file holds a block of images as train/features/feature_cache.c computes them together, and is
/// written whole or not at all:
///
///   made_of   attribute: JSON, the key: all that the features' bits depend on
///   readable  attribute: bit i says that image i could be read
///   clip      FLOAT32 [images,tokens,width]; of bfloat16 its bytes, [images,tokens,width,2]
///   moments   FLOAT32 [images,side,side,channels]; not with LLaVA
///
/// The key has the pictures of the block, in order, by the content of their files, how they are
/// made square and normalised, the encoders by the content of their weights and configuration, the
/// model's type, the kernels and the release of the program. A block and not an image has a key
/// because rounding may depend on the place in a batch and on the batch's size: data sets share
/// blocks as far as they begin alike. A file is named by the key's hash; any number of ranks and
/// runs may read and write one folder at the same time, since files that have the same name have
/// the same content.
///
/// U-Net features cannot be kept: they depend on the implicit captioner, which is trained, and on
/// the pass's noise.
#pragma once
#include "autograd/output/output_folder.h"
#include "data/instruction_sample.h"
#include "train/config/config.h"
#include "train/features/feature_file.h"

typedef struct FeatureFolder FeatureFolder;

/// Makes the folder that the configuration names, if it names one (output_folder_make(), with the
/// key in the message).
bool feature_folder_make(const Config *config, OutputFolder *made, Error *error);
/// Opens it for features of this model. Reads the encoders' files. `must_keep`: what cannot be
/// written is a failure. NULL on failure.
FeatureFolder *feature_folder_open(const Config *config, const DiffLMM *model, bool must_keep,
                                   Error *error);
void feature_folder_close(FeatureFolder *folder);

/// A picture by its content.
typedef struct PictureContent {
    char text[48];
} PictureContent;

/// Reads the sample's file or archive; one that cannot be read is "none".
PictureContent feature_folder_picture(const Sample *sample);
/// The key of a block of these pictures; the caller frees it.
char *feature_folder_key(const FeatureFolder *folder, const PictureContent *pictures, int count);

/// Whether the block of that key is there, undamaged; then its file and its bits are filled in.
/// `is_checked`: a block of which only its key is looked at, and not its features; their checksums
/// are then the caller's to fill in.
bool feature_folder_find(FeatureFolder *folder, const char *key, int count, bool is_checked,
                         FeatureBlock *block);
/// Adds a block that is in memory, which then is in its file instead. Where that fails (a full
/// disk) it warns, nothing more is written, and blocks stay in memory; if all must be kept, it
/// fails with the error.
bool feature_folder_keep(FeatureFolder *folder, const char *key, int count, FeatureBlock *block,
                         Error *error);
/// Warns of the damaged files since it was last called.
void feature_folder_warn(FeatureFolder *folder);

/// Bytes on disk of so many images, rather more than fewer.
int64_t feature_folder_bytes(const FeatureShape *shape, int64_t images);
