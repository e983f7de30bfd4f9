/// The tokens of every sample, which data.tokens_per_batch packs by.
#pragma once
#include "data/loader/sample_lengths.h"
#include "train/config/config.h"
#include "train/group/process_group.h"

typedef struct TokenCountOptions {
    const Config *config;
    const Dataset *dataset;
    const Tokenizer *tokenizer;
    const ConversationFormat *format;
    /// NULL: this process alone
    ProcessGroup *group;
    /// where progress is shown; NULL: nowhere
    FILE *progress;
} TokenCountOptions;

/// Counts them (data/loader/sample_lengths.h), shared out over the ranks: *lengths is
/// [dataset_count()], and the caller's to free. Every rank calls it, and it fails alike on every
/// rank, also where one was asked to stop (`*stopping`; train/group/going_on.h).
bool token_counts(const TokenCountOptions *options, bool *stopping, int32_t **lengths,
                  Error *error);
