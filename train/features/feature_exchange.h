/// How every rank comes to have a block of features that one of them has made.
///
/// A block in memory is handed out. Of one in a folder the others are told key and checksums, and
/// look for it in theirs, which may be the same; only if it is not in all of them is it handed out,
/// to be kept by those that lack it.
#pragma once
#include "train/features/feature_folder.h"
#include "train/group/process_group.h"

typedef struct FeatureExchange {
    ProcessGroup *group;
    const FeatureShape *shape;
    /// NULL: none
    FeatureFolder *folder;
} FeatureExchange;

/// Every rank calls it and fails alike. The block of `count` images is full on rank `owner`, empty
/// on the others. own_key: of the block that this rank has made last, NULL without a folder.
bool feature_exchange(const FeatureExchange *exchange, int owner, const char *own_key, int count,
                      FeatureBlock *block, Error *error);
