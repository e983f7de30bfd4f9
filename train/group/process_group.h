/// The processes of one job. MPI starts them (mpirun, or srun) and carries control messages and the
/// sums of CPU tensors; NCCL carries those of GPU tensors.
///
/// All collective functions are called by one thread, in the same order on every rank. Those that
/// can fail give the same verdict on every rank, or, where a rank is gone, an error on those that
/// wait for it, which says which one it is: after that only process_group_abort() makes sense. A
/// rank is taken for gone when it neither comes nor shows progress for `timeout` seconds of
/// another's wait; a process of the same machine that has ended, within seconds.
///
/// After such an error the group is broken: every call that can fail fails at once with the same
/// error, the others do nothing, and what sums of tensors were begun on must not be freed. Memory
/// that control messages come from or go to is the caller's again.
#pragma once
#include "autograd/tensor.h"

typedef struct ProcessGroup ProcessGroup;

/// Joins the job that this process was started for; alone (neither mpirun nor srun) it is a job of
/// one, without MPI. To be called once, before any thread is started. `timeout`: seconds that a
/// rank waits for a sign of life of the others. NULL on failure, as where the launcher has started
/// several processes and MPI sees one: `srun --mpi=none`, or the mpirun of another MPI library.
ProcessGroup *process_group_open(double timeout, Error *error);
/// A job of this process alone, without MPI, whatever it was started by: for what looks at a job
/// rather than taking part in it. Any number of times.
ProcessGroup *process_group_alone(void);
/// Leaves the job; every rank calls it. NULL is allowed; nothing happens to a broken group.
void process_group_close(ProcessGroup *group);
/// Another limit for the waits from now on.
void process_group_set_timeout(ProcessGroup *group, double timeout);
/// Whether a wait has failed: some rank is gone, and leaving in an orderly way would hang.
bool process_group_is_broken(const ProcessGroup *group);
/// Ends every rank of the job with this exit code. Does not return.
void process_group_abort(ProcessGroup *group, int exit_code) __attribute__((noreturn));

int process_rank(const ProcessGroup *group);
int process_count(const ProcessGroup *group);
/// Among the processes of this machine: which GPU is whose.
int process_local_rank(const ProcessGroup *group);
int process_local_count(const ProcessGroup *group);
/// The lowest rank on this machine: a number of it that its processes alone have.
int process_machine(const ProcessGroup *group);
/// How many of them, this one included, may run on cores that this one may run on.
int process_core_sharers(const ProcessGroup *group);

/// Whether this process was started as one of several by mpirun or srun.
bool process_group_is_launched(void);

// ---- control messages

/// values[i] becomes its sum, or its largest, over ranks.
bool process_group_sum(ProcessGroup *group, double *values, int count, Error *error);
bool process_group_max(ProcessGroup *group, double *values, int count, Error *error);
/// "rank 2", "ranks 1, 2 and 5", for messages.
typedef struct RankNames {
    int count;
    /// The lowest of them.
    int first;
    char text[128];
} RankNames;
/// Which ranks' `bytes` are not those of rank 0. `what` is for the message of a failed wait.
bool process_group_compare(ProcessGroup *group, const char *what, const void *bytes, size_t size,
                           RankNames *differing, Error *error);
/// Succeeds if `bytes` are the same on every rank; else names the ranks that differ from rank 0.
/// `what`: "the configuration".
bool process_group_same(ProcessGroup *group, const char *what, const void *bytes, size_t size,
                        Error *error);
/// Succeeds on every rank if `ok` is true on every rank. On a rank that fails itself `error` stays
/// as it is; on the others it says which rank failed and with what message.
bool process_group_agree(ProcessGroup *group, bool ok, Error *error);
/// Refuses, on every rank, that several ranks compute on one GPU. `bus_id`: the place of this
/// rank's on its machine's PCI bus, at most 31 bytes, "" if it has none.
bool process_group_distinct_gpus(ProcessGroup *group, const char *bus_id, Error *error);
/// Bits of `words` of all ranks together (or), on rank 0: how parts that different ranks hold are
/// put together.
bool process_group_gather_bits(ProcessGroup *group, uint32_t *words, int64_t count, Error *error);
/// The bytes of rank `root` for every rank.
bool process_group_broadcast(ProcessGroup *group, int root, void *bytes, size_t size, Error *error);

// ---- sums of tensors, beside computing

/// Tells the group on which device tensors will be; opens NCCL for a GPU.
bool process_group_use_device(ProcessGroup *group, Device *device, Error *error);
/// Begins to replace x (FLOAT32) by its sum over ranks. x must stay until process_group_wait().
void process_group_all_reduce(ProcessGroup *group, Tensor *x);
/// Begins to give each rank the sum over ranks of its own part of x (FLOAT32, numel a multiple of
/// the number of ranks; part r is elements [r n/R, (r+1) n/R)), in place; the other parts become
/// undefined.
void process_group_reduce_scatter(ProcessGroup *group, Tensor *x);
/// Begins to give every rank every part of x, from the rank whose part it is.
void process_group_all_gather(ProcessGroup *group, Tensor *x);
/// Lets what was begun make progress, where the transport needs the processor for that, and tells
/// the others that this rank is getting on with its work. To be called between pieces of work that
/// take less than the time limit. Cheap.
void process_group_progress(ProcessGroup *group);
/// Waits for all that was begun (on a GPU: orders it before what is computed next). `what` is for
/// the message: "gradients of step 12".
bool process_group_wait(ProcessGroup *group, const char *what, Error *error);
