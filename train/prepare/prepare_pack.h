/// The end of a preparation: what is known of all blocks, and the pack.
#pragma once
#include "train/prepare/prepare_parts.h"

/// Goes through all blocks: what a pack of them would hold, and all problems, sorted. False if a
/// block is missing.
bool prepare_collect(const PrepareParts *parts, PackTotals *totals, ProblemList *problems,
                     Error *error);
/// Writes the pack, whole or not at all.
bool prepare_write_pack(const PrepareParts *parts, const PackTotals *totals, const char *path,
                        const char *source, const char *tokens_of, Error *error);
