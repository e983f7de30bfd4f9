/// Threads that look at blocks of samples, and a journal that takes what they find.
#pragma once
#include "train/prepare/prepare_parts.h"

typedef struct Workers Workers;

/// preparing, journal: outlive the workers. NULL if no thread could be started.
Workers *workers_start(const Preparing *preparing, Journal *journal, int threads, Error *error);
/// Hands a block over, when there is room for it. False if something has failed before, as where
/// the disk is full; then the block is gone as well.
bool workers_add(Workers *workers, RawBlock *block, Error *error);
/// Waits until all that was handed over is in the journal, or something failed; ends the threads
/// and frees.
bool workers_finish(Workers *workers, Error *error);
