/// Sums gradients over processes while backward goes on. Gradients lie one behind the other in a
/// few large buckets; a bucket's sum begins as soon as no node left on the tape can add to it
/// [Li et al. 2020, arXiv 2006.15704]. Every rank sums every bucket in the same order, whatever its
/// samples were, none included: the order in which rank 0's backward pass completed them in the
/// first step in which it completed all; before that, the order in which they lie.
///
/// What lies in which bucket depends on the parameters' order of registration alone, never on what
/// was observed: how a transport adds up the ranks may depend on where in a message an element
/// lies, so a run that goes on from a checkpoint, and observes anew, has the bits of one that was
/// never stopped.
///
/// With `shard`, each rank gets the sums of its own part of each bucket, updates that part, and the
/// parts are gathered (ZeRO stage 1; Rajbhandari et al. 2020, arXiv 1910.02054): moments take 1/R
/// of the memory.
#pragma once
#include "autograd/tape.h"
#include "train/group/process_group.h"
#include "train/trainer/optimizer.h"

typedef struct GradientBuckets GradientBuckets;

/// The size of a bucket in training.
enum { GRADIENT_BUCKET_BYTES = 25 << 20 };

/// Lays out the gradients (and with `shard` the values) of all parameters registered so far; values
/// keep their content. Both outlive the buckets.
GradientBuckets *gradient_buckets_new(ParameterSet *parameters, ProcessGroup *group,
                                      int64_t bucket_bytes, bool shard);
/// NULL is allowed. Those of a broken group stay: MPI may still write into them.
void gradient_buckets_free(GradientBuckets *buckets);

/// What this rank updates, for optimizer_new(). Owned by the buckets.
const ParameterRange *gradient_buckets_ranges(const GradientBuckets *buckets, int *count);
bool gradient_buckets_sharded(const GradientBuckets *buckets);

/// Before the last backward pass of a step: the listener of that pass, which sums buckets as they
/// are completed; NULL where there is nobody to sum with. Owned by the buckets.
const LeafListener *gradient_buckets_begin(GradientBuckets *buckets);
/// After it (or without it, on a rank that had nothing to do): sums what is left and waits for all.
/// Then every gradient is there, zero where none came.
bool gradient_buckets_finish(GradientBuckets *buckets, int64_t step, Error *error);
/// How many sums of the step under way have begun.
int gradient_buckets_begun(const GradientBuckets *buckets);
/// After the optimizer: gathers the ranks' parts of the updated values.
bool gradient_buckets_gather_values(GradientBuckets *buckets, Error *error);
