#include "train/prepare/token_counts.h"

#include "train/group/going_on.h"
#include "train/log/progress.h"
#include "train/trainer/model_setup.h"

#include <stdlib.h>

enum {
    /// samples that a rank counts before it hears whether the others go on: a second at most
    PER_ROUND = 2048,
    /// numbers that ranks put together at a time
    PER_SUM = 1 << 16
};

static int64_t least(int64_t a, int64_t b) { return a < b ? a : b; }

/// Every rank its own of each round; what others count stays 0.
static bool count_own(const TokenCountOptions *options, ProcessGroup *group, bool *stopping,
                      int32_t *lengths, Error *error) {
    const int64_t count = dataset_count(options->dataset);
    const int threads = model_setup_threads(options->config, options->group),
              ranks = process_count(group);
    Progress *progress = progress_begin(options->progress, "tokens", 0, count, count);
    bool ok = true;
    for (int64_t first = 0; ok && first < count; first += (int64_t)ranks * PER_ROUND) {
        const int64_t begin = least(first + (int64_t)process_rank(group) * PER_ROUND, count),
                      end = least(begin + PER_ROUND, count);
        ok = sample_lengths(options->dataset, options->tokenizer, options->format, begin, end,
                            threads, lengths + begin, error);
        ok = ranks_go_on(group, ok, stopping, error);
        progress_update(progress, least(first + (int64_t)ranks * PER_ROUND, count),
                        "counted, to pack by data.tokens_per_batch");
    }
    progress_end(progress);
    return ok;
}

static bool put_together(ProcessGroup *group, int64_t count, int32_t *lengths, Error *error) {
    if (process_count(group) == 1) return true;
    double *sums = checked_malloc(PER_SUM * sizeof *sums);
    bool ok = true;
    for (int64_t first = 0; ok && first < count; first += PER_SUM) {
        const int64_t part = least(PER_SUM, count - first);
        for (int64_t i = 0; i < part; i++) sums[i] = lengths[first + i];
        ok = process_group_sum(group, sums, (int)part, error);
        for (int64_t i = 0; i < part; i++) lengths[first + i] = (int32_t)sums[i];
    }
    free(sums);
    return ok;
}

bool token_counts(const TokenCountOptions *options, bool *stopping, int32_t **lengths,
                  Error *error) {
    const int64_t count = dataset_count(options->dataset);
    ProcessGroup *group = options->group ? options->group : process_group_alone();
    *lengths = checked_calloc((size_t)count, sizeof **lengths);
    const bool ok = count_own(options, group, stopping, *lengths, error) &&
                    put_together(group, count, *lengths, error);
    if (!options->group) process_group_close(group);
    if (ok) return true;
    free(*lengths);
    *lengths = NULL;
    return false;
}
