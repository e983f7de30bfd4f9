/// Stopping together: a signal reaches one rank, some or all, at different moments.
#pragma once
#include "train/group/process_group.h"

/// Whether all ranks are well (`ok`) and none was asked to stop; every rank calls it, between
/// pieces of work, and hears the same. False and *stopping: one was (on a rank that was, not to be
/// ok is the stop's doing and no failure). False otherwise: one has failed, as
/// process_group_agree() says it. *stopping stays true once it is.
bool ranks_go_on(ProcessGroup *group, bool ok, bool *stopping, Error *error);
