/// The processes of a job look at image files together: each machine at all of them, each of its
/// processes at a share; what is missing on one machine is missing for all.
#pragma once
#include "data/images/image_check.h"
#include "train/group/process_group.h"

typedef struct SharedLook {
    ProcessGroup *group;
    /// what is looked at, for the message where ranks do not have as many samples: "the training
    /// data"
    const char *what;
    /// whether some rank was asked to stop, as ranks_go_on() says it
    bool *stopping;
} SharedLook;

/// For dataset_open_shared(); `look` outlives them. Findings of another machine say so.
ImageSharers shared_look_sharers(SharedLook *look);
