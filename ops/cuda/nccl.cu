// The one file that knows NCCL. Its communicator does not block: joining, and beginning a sum, may
// go on behind the call that asked for it and are polled, so that a rank that never comes is an
// error and not a hang. Nothing may be queued on the stream behind a call before NCCL says that it
// has queued its own work there.
#include "ops/collectives.h"
#include "ops/cuda/cuda.h"
#include "ops/cuda/nccl_api.h"

#include <cstdlib>
#include <cstring>
#include <ctime>
#include <initializer_list>

#ifdef __CUDACC__
#include <dlfcn.h>
#else
#include <nccl.h>
#endif

struct Collectives {
    CudaDevice *device;
    /// null once something failed
    ncclComm_t communicator;
    int rank, count;
    /// s, for what is polled by the calls that begin something
    double timeout;
    cudaEvent_t computed, reduced;
    Error failure;
};

namespace {

NcclCalls nccl;

#ifdef __CUDACC__
void *open_library(Error *error) {
    for (const char *name : {"libnccl.so.2", "libnccl.so"})
        if (void *handle = dlopen(name, RTLD_NOW | RTLD_LOCAL)) return handle;
    error_set(error,
              "NCCL, which sums gradients over GPUs, cannot be opened (%s). Install it (package "
              "libnccl2); its folder must be in LD_LIBRARY_PATH or known to ldconfig.",
              dlerror());
    return nullptr;
}

bool find_calls(Error *error) {
    void *handle = open_library(error);
    if (!handle) return false;
#define NCCL_FIND(result, name, parameters)                                            \
    nccl.name = reinterpret_cast<decltype(nccl.name)>(dlsym(handle, "nccl" #name));    \
    if (!nccl.name)                                                                    \
        return error_set(error, "NCCL has no nccl" #name ": version 2.14 or newer is " \
                                "needed");
    NCCL_CALLS(NCCL_FIND)
#undef NCCL_FIND
    return true;
}
#else
bool find_calls(Error *) {
#define NCCL_TAKE(result, name, parameters) nccl.name = &nccl##name;
    NCCL_CALLS(NCCL_TAKE)
#undef NCCL_TAKE
    return true;
}
#endif

bool open_nccl(Error *error) {
    static bool open;
    if (!open) open = find_calls(error);
    return open;
}

double now() {
    timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + 1e-9 * (double)time.tv_nsec;
}

/// Between two looks, so that a rank that waits leaves its core to others.
void rest() {
    const timespec time = {0, 20000};
    nanosleep(&time, nullptr);
}

/// Aborts what is going on and keeps the reason.
bool give_up(Collectives *collectives, const Error *reason) {
    collectives->failure = *reason;
    if (collectives->communicator) nccl.CommAbort(collectives->communicator);
    collectives->communicator = nullptr;
    return false;
}

/// `doing`: "joining the others".
bool fail(Collectives *collectives, const char *doing, ncclResult_t result, Error *error) {
    Error reason = {};
    int version = 0;
    nccl.GetVersion(&version); // 2.14.3 is 21403
    const char *more = nccl.GetLastError(collectives->communicator);
    error_set(&reason, "NCCL %d.%d.%d, %s: %s%s%.1500s", version / 10000, version / 100 % 100,
              version % 100, doing, nccl.GetErrorString(result), more && *more ? ": " : "",
              more ? more : "");
    if (error) *error = reason;
    return give_up(collectives, &reason);
}

bool give_up_waiting(Collectives *collectives, const char *doing, Error *error) {
    Error reason = {};
    error_set(&reason,
              "NCCL, %s: waited %.0f seconds in vain for the other ranks' GPUs; one has died or "
              "hangs, or is only slow (then raise training.distributed_timeout)",
              doing, collectives->timeout);
    if (error) *error = reason;
    return give_up(collectives, &reason);
}

ncclResult_t state_of(const Collectives *collectives) {
    ncclResult_t state, result = nccl.CommGetAsyncError(collectives->communicator, &state);
    return result == ncclSuccess ? state : result;
}

/// Until NCCL has done what a call that returned `result` has begun on the host.
bool settle(Collectives *collectives, ncclResult_t result, const char *doing, Error *error) {
    double end = now() + collectives->timeout;
    for (; result == ncclInProgress; result = state_of(collectives)) {
        if (now() > end) return give_up_waiting(collectives, doing, error);
        rest();
    }
    return result == ncclSuccess || fail(collectives, doing, result, error);
}

bool join(Collectives *collectives, const unsigned char id[COLLECTIVES_ID_BYTES], Error *error) {
    ncclConfig_t config = {};
    config.size = sizeof config;
    config.magic = NCCL_CONFIG_MAGIC;
    config.version = NCCL_2_14;
    config.blocking = 0;
    ncclUniqueId unique;
    memcpy(&unique, id, sizeof unique);
    ncclResult_t result = nccl.CommInitRankConfig(&collectives->communicator, collectives->count,
                                                  unique, collectives->rank, &config);
    return settle(collectives, result, "joining the others", error);
}

/// False if an earlier call has failed.
bool follow_computing(Collectives *collectives, const Tensor *x) {
    CudaDevice *device = collectives->device;
    CHECK(cuda_device(x) == device, "%s is on another device than the job's", tensor_describe(x));
    if (!collectives->communicator) return false;
    cuda_check(cudaEventRecord(collectives->computed, device->compute), "marking what is computed");
    cuda_check(cudaStreamWaitEvent(device->reduce, collectives->computed, 0),
               "ordering a sum over GPUs");
    return true;
}

ncclDataType_t nccl_type(DType type) {
    return type == FLOAT32 ? ncclFloat32 : type == BFLOAT16 ? ncclBfloat16 : ncclInt32;
}

/// Elements of one rank's part.
int64_t part_of(const Collectives *collectives, const Tensor *x) {
    CHECK(tensor_numel(x) % collectives->count == 0, "%s in %d parts", tensor_describe(x),
          collectives->count);
    return tensor_numel(x) / collectives->count;
}

/// This rank's part.
void *own_part(const Collectives *collectives, Tensor *x) {
    int64_t offset = collectives->rank * part_of(collectives, x);
    return static_cast<char *>(x->data) + offset * (int64_t)dtype_size(x->dtype);
}

} // namespace

bool collectives_new_id(unsigned char id[COLLECTIVES_ID_BYTES], Error *error) {
    static_assert(sizeof(ncclUniqueId) == COLLECTIVES_ID_BYTES, "an id is handed on whole");
    if (!open_nccl(error)) return false;
    ncclUniqueId unique;
    ncclResult_t result = nccl.GetUniqueId(&unique);
    if (result != ncclSuccess)
        return error_set(error, "NCCL makes no id for the job: %s: %.1500s",
                         nccl.GetErrorString(result), nccl.GetLastError(nullptr));
    memcpy(id, &unique, sizeof unique);
    return true;
}

Collectives *collectives_open(Device *device, const unsigned char id[COLLECTIVES_ID_BYTES],
                              int rank, int count, double timeout, Error *error) {
    if (!open_nccl(error)) return nullptr;
    auto *collectives = static_cast<Collectives *>(checked_calloc(1, sizeof(Collectives)));
    collectives->device = reinterpret_cast<CudaDevice *>(device);
    collectives->rank = rank;
    collectives->count = count;
    collectives->timeout = timeout;
    cuda_check(cudaSetDevice(collectives->device->ordinal), "choosing the GPU");
    for (cudaEvent_t *event : {&collectives->computed, &collectives->reduced})
        cuda_check(cudaEventCreateWithFlags(event, cudaEventDisableTiming), "making an event");
    if (join(collectives, id, error)) return collectives;
    collectives_close(collectives);
    return nullptr;
}

void collectives_close(Collectives *collectives) {
    if (!collectives) return;
    if (collectives->communicator &&
        settle(collectives, nccl.CommFinalize(collectives->communicator), "leaving the others",
               nullptr))
        nccl.CommDestroy(collectives->communicator);
    cudaEventDestroy(collectives->computed);
    cudaEventDestroy(collectives->reduced);
    free(collectives);
}

void collectives_all_reduce(Collectives *collectives, Tensor *x) {
    CHECK(x->dtype == FLOAT32, "a sum of %s", tensor_describe(x));
    if (!follow_computing(collectives, x)) return;
    settle(collectives,
           nccl.AllReduce(x->data, x->data, (size_t)tensor_numel(x), ncclFloat32, ncclSum,
                          collectives->communicator, collectives->device->reduce),
           "beginning a sum", nullptr);
}

void collectives_reduce_scatter(Collectives *collectives, Tensor *x) {
    CHECK(x->dtype == FLOAT32, "a sum of %s", tensor_describe(x));
    size_t part = (size_t)part_of(collectives, x);
    if (!follow_computing(collectives, x)) return;
    settle(collectives,
           nccl.ReduceScatter(x->data, own_part(collectives, x), part, ncclFloat32, ncclSum,
                              collectives->communicator, collectives->device->reduce),
           "beginning a sum in parts", nullptr);
}

void collectives_all_gather(Collectives *collectives, Tensor *x) {
    size_t part = (size_t)part_of(collectives, x);
    if (!follow_computing(collectives, x)) return;
    settle(collectives,
           nccl.AllGather(own_part(collectives, x), x->data, part, nccl_type(x->dtype),
                          collectives->communicator, collectives->device->reduce),
           "beginning to gather parts", nullptr);
}

void collectives_set_timeout(Collectives *collectives, double timeout) {
    collectives->timeout = timeout;
}

bool collectives_wait(Collectives *collectives, CollectivesGoOn *go_on, void *context,
                      Error *error) {
    if (!collectives->communicator) {
        if (error) *error = collectives->failure;
        return false;
    }
    CudaDevice *device = collectives->device;
    cuda_check(cudaEventRecord(collectives->reduced, device->reduce), "marking what is summed");
    cuda_check(cudaStreamWaitEvent(device->compute, collectives->reduced, 0),
               "ordering what follows a sum over GPUs");
    Error reason = {};
    cudaError_t status;
    while ((status = cudaEventQuery(collectives->reduced)) == cudaErrorNotReady) {
        cudaGetLastError(); // not an error, but launches would take it for one
        ncclResult_t state = state_of(collectives);
        if (state != ncclSuccess && state != ncclInProgress)
            return fail(collectives, "summing over ranks", state, error);
        if (!go_on(context, &reason)) {
            if (error) *error = reason;
            return give_up(collectives, &reason);
        }
        rest();
    }
    cuda_check(status, "summing over GPUs");
    ncclResult_t state = state_of(collectives);
    return state == ncclSuccess || fail(collectives, "summing over ranks", state, error);
}
