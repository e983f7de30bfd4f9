/// 'difflmm prepare': every sample of the training data is looked at before a training is, and what
/// can be used becomes a pack (data/pack/pack.h); where the configuration keeps the features of
/// frozen encoders in a folder, those of every image are computed.
///
/// A file is gone through once. Blocks of samples are handed to threads, on every rank its share of
/// blocks; what becomes of a block goes to a journal, whole or not at all, in <pack>.parts/. When
/// all blocks are there the first rank puts them together, in the file's order, whatever the number
/// of processes and threads was; so a run that was killed goes on with the blocks that are missing.
#pragma once
#include "train/config/config.h"
#include "train/group/process_group.h"

typedef struct PrepareOptions {
    /// the folder of the packs; NULL: each beside its JSON file
    const char *folder;
    /// the pictures' files go into the packs
    bool with_images;
    /// samples that training would refuse are left out; otherwise there is no pack if there is one
    bool leaves_out;
} PrepareOptions;

/// Prepares data.train and data.eval, and fills data.feature_folder. Every rank calls it and fails
/// alike.
bool prepare_run(const Config *config, const PrepareOptions *options, ProcessGroup *group,
                 Error *error);
