/// Sums of tensors over the GPUs of a job, by NCCL. The processes themselves are the business of
/// train/group/process_group.h, which hands the id from rank 0 to the others.
///
/// All calls that begin something only queue it: it starts when what was queued for computing
/// before is done, runs beside what is computed later, and collectives_wait() orders it before what
/// is computed after that.
#pragma once
#include "autograd/tensor.h"

#ifdef __cplusplus
extern "C" {
#endif

enum { COLLECTIVES_ID_BYTES = 128 };

typedef struct Collectives Collectives;

/// A new id for one communicator, made on one rank. False with a message if NCCL cannot be opened.
bool collectives_new_id(unsigned char id[COLLECTIVES_ID_BYTES], Error *error);
/// Joins: every rank calls it with the same id. Waits at most `timeout` seconds for the others.
/// NULL on failure.
Collectives *collectives_open(Device *device, const unsigned char id[COLLECTIVES_ID_BYTES],
                              int rank, int count, double timeout, Error *error);
/// Leaves; work that hangs is aborted. NULL is allowed.
void collectives_close(Collectives *collectives);

/// Begins to replace x (FLOAT32) by its sum over ranks.
void collectives_all_reduce(Collectives *collectives, Tensor *x);
/// Begins to give each rank the sum of its own part of x in place (FLOAT32; numel a multiple of the
/// number of ranks).
void collectives_reduce_scatter(Collectives *collectives, Tensor *x);
/// Begins to give every rank every part of x, in place.
void collectives_all_gather(Collectives *collectives, Tensor *x);
/// Another limit for the calls that begin something, seconds.
void collectives_set_timeout(Collectives *collectives, double timeout);
/// Whether to go on waiting; if not, the error says why.
typedef bool CollectivesGoOn(void *context, Error *error);
/// Orders all that was begun before what is computed next. Waits on the host until it is done,
/// looking for asynchronous errors of NCCL, as long as go_on() says so: on failure the communicator
/// is aborted and the error says what NCCL, or go_on(), said.
bool collectives_wait(Collectives *collectives, CollectivesGoOn *go_on, void *context,
                      Error *error);

#ifdef __cplusplus
}
#endif
