// Emulated NCCL over MPI, on a communicator of its own. A collective is two pieces of work in its
// stream: the first copies what is sent, the second, which can run once all ranks' parts have come,
// writes what is received. The stream's work before and behind it runs whenever the emulator likes,
// on each rank at another time; nothing blocks but a host that waits for the stream.
//
// MPI is called only by the thread that made the communicator. What a GPU would do by itself, here
// needs the host: a rank whose host waits for another's message sends nothing meanwhile. So no rank
// may wait for its whole device between beginning a sum and waiting for it.
#define OMPI_SKIP_MPICXX 1
#define MPICH_SKIP_MPICXX 1
#include "device_memory.h"
#include "emulator.h"
#include "stream.h"

#include "autograd/error.h"

#include <mpi.h>
#include <nccl.h>

#include <climits>
#include <cstdarg>
#include <cstdio>
#include <cstring>
#include <ctime>
#include <memory>
#include <set>
#include <thread>
#include <unistd.h>
#include <vector>

namespace {

enum Kind { ALL_REDUCE, REDUCE_SCATTER, ALL_GATHER, LEAVE };
const char *const kind_names[] = {"ncclAllReduce", "ncclReduceScatter", "ncclAllGather",
                                  "ncclCommFinalize"};

/// What must be the same on every rank.
struct Signature {
    /// of the communicator's collectives
    uint64_t number;
    uint64_t count;
    int32_t kind, type;
};

struct Operation {
    Signature signature;
    const char *from;
    char *to;
    cudaStream_t stream;
    enum { QUEUED, COPIED, COMPARING, MOVING, DONE } phase = QUEUED;
    std::vector<char> sent, received;
    /// of all ranks
    std::vector<Signature> signatures;
    MPI_Request request = MPI_REQUEST_NULL;
};

/// What ranks tell one another when they join.
struct Member {
    ncclUniqueId id;
    char host[64];
    int32_t device, count;
};

const int polls_before_done = 2; // of a call that goes on behind its return

} // namespace

struct ncclComm {
    int rank, count, device;
    std::thread::id thread;
    ncclResult_t state = ncclInProgress;
    enum { DUPLICATING, COMPARING, JOINED, FLUSHING, LEAVING, LEFT, ABORTED } phase = DUPLICATING;
    MPI_Comm mpi = MPI_COMM_NULL;
    MPI_Request request = MPI_REQUEST_NULL;
    std::vector<Member> members;
    Operation leaving;
    /// not queued yet
    std::shared_ptr<Operation> issued;
    /// since it was issued
    int polls;
    /// of all collectives
    cudaStream_t stream = nullptr;
    uint64_t number = 0, finished = 0;
};

namespace {

/// Those that were not destroyed. An aborted one stays, since its messages may still come.
std::set<ncclComm *> &communicators() {
    static std::set<ncclComm *> *all = new std::set<ncclComm *>;
    return *all;
}

char last_error[1024];

ncclResult_t refuse(ncclResult_t result, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
ncclResult_t refuse(ncclResult_t result, const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(last_error, sizeof last_error, format, arguments);
    va_end(arguments);
    return result;
}

bool is_usable(ncclComm *c) { return communicators().count(c) && c->phase != ncclComm::ABORTED; }

bool has_come(MPI_Request *request) {
    int done;
    MPI_Test(request, &done, MPI_STATUS_IGNORE);
    return done;
}

// ---- agreeing on what is done

Signature signature_of(uint64_t number, Kind kind, size_t count, ncclDataType_t type) {
    Signature signature;
    memset(&signature, 0, sizeof signature);
    signature.number = number;
    signature.count = count;
    signature.kind = kind;
    signature.type = type;
    return signature;
}

void begin_comparing(const ncclComm *c, Operation &o) {
    o.signatures.resize((size_t)c->count);
    MPI_Iallgather(&o.signature, (int)sizeof(Signature), MPI_BYTE, o.signatures.data(),
                   (int)sizeof(Signature), MPI_BYTE, c->mpi, &o.request);
}

/// The real one would hang, or mix up memory.
ncclResult_t compare_signatures(const ncclComm *c, const Operation &o) {
    for (int r = 0; r < c->count; r++) {
        const Signature &other = o.signatures[(size_t)r], &own = o.signature;
        if (!memcmp(&own, &other, sizeof own)) continue;
        return refuse(ncclInvalidUsage,
                      "collective %llu is %s of %llu elements of type %d on rank %d, but %s of "
                      "%llu of type %d on rank %d",
                      (unsigned long long)own.number, kind_names[own.kind],
                      (unsigned long long)own.count, own.type, c->rank, kind_names[other.kind],
                      (unsigned long long)other.count, other.type, r);
    }
    return ncclSuccess;
}

// ---- joining and leaving

void begin_joining(ncclComm *c, const ncclUniqueId &id) {
    c->members.resize((size_t)c->count);
    Member &own = c->members[(size_t)c->rank];
    memset(&own, 0, sizeof own);
    own.id = id;
    own.device = c->device;
    own.count = c->count;
    gethostname(own.host, sizeof own.host - 1);
    if (c->count > 1) MPI_Comm_idup(MPI_COMM_WORLD, &c->mpi, &c->request);
}

ncclResult_t compare_members(const ncclComm *c) {
    const Member &own = c->members[(size_t)c->rank];
    for (int r = 0; r < c->count; r++) {
        const Member &other = c->members[(size_t)r];
        if (memcmp(&own.id, &other.id, sizeof own.id) || own.count != other.count)
            return refuse(ncclInvalidUsage, "rank %d joins with another id or number of ranks", r);
        if (r != c->rank && !strcmp(own.host, other.host) && own.device == other.device)
            return refuse(ncclInvalidUsage, "ranks %d and %d are both on GPU %d of %s", c->rank, r,
                          own.device, own.host);
    }
    return ncclSuccess;
}

void go_on_joining(ncclComm *c) {
    if (c->count > 1 && !has_come(&c->request)) return;
    if (c->count > 1 && c->phase == ncclComm::DUPLICATING) {
        c->phase = ncclComm::COMPARING;
        MPI_Iallgather(MPI_IN_PLACE, 0, MPI_DATATYPE_NULL, c->members.data(), (int)sizeof(Member),
                       MPI_BYTE, c->mpi, &c->request);
        return;
    }
    c->phase = ncclComm::JOINED;
    c->state = compare_members(c);
}

void go_on_leaving(ncclComm *c) {
    if (c->phase == ncclComm::FLUSHING) {
        if (c->finished < c->number) {
            cudaStreamQuery(c->stream);
            cudaGetLastError(); // that it is not ready
            return;
        }
        c->phase = ncclComm::LEAVING;
        c->leaving.signature = signature_of(c->number + 1, LEAVE, 0, ncclInt32);
        if (c->count > 1) begin_comparing(c, c->leaving);
    }
    if (c->count > 1 && !has_come(&c->leaving.request)) return;
    c->phase = ncclComm::LEFT;
    c->state = c->count > 1 ? compare_signatures(c, c->leaving) : ncclSuccess;
}

// ---- a collective

size_t size_of(ncclDataType_t type) {
    return type == ncclBfloat16 ? 2 : type == ncclFloat32 || type == ncclInt32 ? 4 : 0;
}

/// Bytes of one rank's part, or of all of an all-reduce.
size_t part_bytes(const Operation &o) {
    return (size_t)o.signature.count * size_of((ncclDataType_t)o.signature.type);
}

size_t sent_bytes(const ncclComm *c, const Operation &o) {
    return part_bytes(o) * (o.signature.kind == REDUCE_SCATTER ? (size_t)c->count : 1);
}

size_t received_bytes(const ncclComm *c, const Operation &o) {
    return part_bytes(o) * (o.signature.kind == ALL_GATHER ? (size_t)c->count : 1);
}

void begin_moving(ncclComm *c, Operation &o) {
    MPI_Datatype type =
        size_of((ncclDataType_t)o.signature.type) == 2 ? MPI_UINT16_T : MPI_UINT32_T;
    int count = (int)o.signature.count;
    o.received.resize(part_bytes(o) * (size_t)c->count);
    if (o.signature.kind == REDUCE_SCATTER)
        MPI_Ialltoall(o.sent.data(), count, type, o.received.data(), count, type, c->mpi,
                      &o.request);
    else
        MPI_Iallgather(o.sent.data(), count, type, o.received.data(), count, type, c->mpi,
                       &o.request);
}

/// One step of a collective whose first piece of work has run. Whether the second can run.
bool go_on(ncclComm *c, Operation &o) {
    if (c->phase == ncclComm::ABORTED) return true;
    if (std::this_thread::get_id() != c->thread || c->state != ncclSuccess) return false;
    if (c->count == 1) {
        o.received = o.sent;
        o.phase = Operation::DONE;
    } else if (o.phase == Operation::COPIED) {
        begin_comparing(c, o);
        o.phase = Operation::COMPARING;
    } else if (o.phase == Operation::COMPARING && has_come(&o.request)) {
        c->state = compare_signatures(c, o);
        if (c->state != ncclSuccess) return false;
        begin_moving(c, o);
        o.phase = Operation::MOVING;
    } else if (o.phase == Operation::MOVING && has_come(&o.request)) {
        o.phase = Operation::DONE;
    }
    return o.phase == Operation::DONE;
}

/// In the order of ranks, so that all have the same bits.
void add_parts(const ncclComm *c, const Operation &o) {
    const float *parts = reinterpret_cast<const float *>(o.received.data());
    float *to = reinterpret_cast<float *>(o.to);
    size_t count = (size_t)o.signature.count;
    for (size_t i = 0; i < count; i++) {
        float sum = parts[i];
        for (size_t r = 1; r < (size_t)c->count; r++) sum += parts[r * count + i];
        to[i] = sum;
    }
}

void finish(ncclComm *c, Operation &o) {
    if (c->phase == ncclComm::ABORTED) return;
    if (o.signature.kind == ALL_GATHER)
        memcpy(o.to, o.received.data(), o.received.size());
    else
        add_parts(c, o);
    c->finished++;
}

void queue(ncclComm *c, const std::shared_ptr<Operation> &o) {
    const char *name = kind_names[o->signature.kind];
    cuda_on_cpu_queue(name, o->stream, [c, o] {
        o->sent.assign(o->from, o->from + sent_bytes(c, *o));
        o->phase = Operation::COPIED;
    });
    cuda_on_cpu_queue(
        name, o->stream, [c, o] { finish(c, *o); }, [c, o] { return go_on(c, *o); });
}

/// Both in the device's memory, whole and aligned, and apart or in place as NCCL defines that.
ncclResult_t check_buffers(const ncclComm *c, const Operation &o) {
    const char *name = kind_names[o.signature.kind];
    size_t sent = sent_bytes(c, o), received = received_bytes(c, o);
    size_t element = size_of((ncclDataType_t)o.signature.type);
    if (device_memory_owner(o.from, sent) != c->device ||
        device_memory_owner(o.to, received) != c->device)
        return refuse(ncclInvalidArgument,
                      "%s: %zu bytes to send or %zu to receive are not all in "
                      "memory of GPU %d",
                      name, sent, received, c->device);
    if ((uintptr_t)o.from % element || (uintptr_t)o.to % element)
        return refuse(ncclInvalidArgument, "%s: a buffer is not aligned", name);
    size_t own = part_bytes(o) * (size_t)c->rank;
    bool in_place = o.signature.kind == ALL_REDUCE       ? o.to == o.from
                    : o.signature.kind == REDUCE_SCATTER ? o.to == o.from + own
                                                         : o.from == o.to + own;
    if (!in_place && o.from < o.to + received && o.to < o.from + sent)
        return refuse(ncclInvalidArgument, "%s: buffers overlap, and not as in place", name);
    return ncclSuccess;
}

ncclResult_t check(const ncclComm *c, const Operation &o, ncclRedOp_t operation) {
    const char *name = kind_names[o.signature.kind];
    if (c->state == ncclInProgress)
        return refuse(ncclInvalidArgument, "%s before the call before it was done", name);
    if (c->state != ncclSuccess) return c->state;
    if (c->phase != ncclComm::JOINED)
        return refuse(ncclInvalidUsage, "%s after ncclCommFinalize", name);
    if (!stream_exists(o.stream) || o.stream->device != c->device)
        return refuse(ncclInvalidArgument, "%s: no stream of GPU %d", name, c->device);
    if (c->stream && o.stream != c->stream)
        return refuse(ncclInvalidUsage, "%s: all collectives are in one stream here", name);
    bool adds = o.signature.kind != ALL_GATHER;
    if (!size_of((ncclDataType_t)o.signature.type) ||
        (adds && (o.signature.type != ncclFloat32 || operation != ncclSum)))
        return refuse(ncclInvalidArgument, "%s: type %d or operation %d is not in use", name,
                      o.signature.type, operation);
    if (o.signature.count > INT_MAX)
        return refuse(ncclInvalidArgument, "%s: more elements than MPI counts", name);
    return check_buffers(c, o);
}

ncclResult_t issue(ncclComm *c, Kind kind, const void *from, void *to, size_t count,
                   ncclDataType_t type, ncclRedOp_t operation, cudaStream_t stream) {
    if (!is_usable(c)) return refuse(ncclInvalidArgument, "no such communicator");
    auto o = std::make_shared<Operation>();
    o->signature = signature_of(c->number + 1, kind, count, type);
    o->from = static_cast<const char *>(from);
    o->to = static_cast<char *>(to);
    o->stream = stream;
    if (ncclResult_t failed = check(c, *o, operation)) return failed;
    if (!count) return ncclSuccess;
    c->stream = stream;
    c->number++;
    c->issued = o;
    c->polls = 0;
    return c->state = ncclInProgress;
}

void go_on_issuing(ncclComm *c) {
    if (++c->polls < polls_before_done) return;
    queue(c, c->issued);
    c->issued = nullptr;
    c->state = ncclSuccess;
}

void go_on(ncclComm *c) {
    if (c->issued)
        go_on_issuing(c);
    else if (c->phase == ncclComm::FLUSHING || c->phase == ncclComm::LEAVING)
        go_on_leaving(c);
    else
        go_on_joining(c);
}

/// Ranks are those of MPI.
ncclResult_t check_ranks(int count, int rank) {
    if (count < 1 || rank < 0 || rank >= count)
        return refuse(ncclInvalidArgument, "rank %d of %d", rank, count);
    if (count == 1) return ncclSuccess;
    int initialized, world_count, world_rank;
    MPI_Initialized(&initialized);
    CHECK(initialized, "NCCL on CPU moves memory by MPI, which is not initialized");
    MPI_Comm_size(MPI_COMM_WORLD, &world_count);
    MPI_Comm_rank(MPI_COMM_WORLD, &world_rank);
    CHECK(count == world_count && rank == world_rank,
          "NCCL on CPU: rank %d of %d is rank %d of %d in MPI", rank, count, world_rank,
          world_count);
    return ncclSuccess;
}

const char id_mark[] = "NCCL on CPU";

} // namespace

ncclResult_t ncclGetVersion(int *version) {
    *version = NCCL_2_14;
    return ncclSuccess;
}

const char *ncclGetErrorString(ncclResult_t result) {
    switch (result) {
    case ncclSuccess:
        return "no error";
    case ncclInvalidArgument:
        return "invalid argument";
    case ncclInvalidUsage:
        return "invalid usage";
    case ncclInProgress:
        return "in progress";
    default:
        return "an error that NCCL on CPU does not have";
    }
}

const char *ncclGetLastError(ncclComm_t) { return last_error; }

ncclResult_t ncclGetUniqueId(ncclUniqueId *id) {
    memset(id, 0, sizeof *id);
    timespec time;
    clock_gettime(CLOCK_REALTIME, &time);
    snprintf(id->internal, sizeof id->internal, "%s %d %lld.%09ld", id_mark, (int)getpid(),
             (long long)time.tv_sec, time.tv_nsec);
    return ncclSuccess;
}

ncclResult_t ncclCommInitRankConfig(ncclComm_t *communicator, int count, ncclUniqueId id, int rank,
                                    ncclConfig_t *config) {
    *communicator = nullptr;
    if (!config || config->magic != NCCL_CONFIG_MAGIC || config->size < sizeof *config ||
        config->version < NCCL_2_14)
        return refuse(ncclInvalidArgument, "the configuration was not initialized");
    if (config->blocking)
        return refuse(ncclInvalidArgument, "only communicators that do not block are in use");
    if (strncmp(id.internal, id_mark, strlen(id_mark)))
        return refuse(ncclInvalidArgument, "the id is not of ncclGetUniqueId");
    if (ncclResult_t failed = check_ranks(count, rank)) return failed;
    int device;
    if (cudaGetDevice(&device) != cudaSuccess)
        return refuse(ncclUnhandledCudaError, "no current GPU");
    ncclComm *c = new ncclComm;
    c->rank = rank;
    c->count = count;
    c->device = device;
    c->thread = std::this_thread::get_id();
    communicators().insert(c);
    begin_joining(c, id);
    *communicator = c;
    return c->state;
}

ncclResult_t ncclCommGetAsyncError(ncclComm_t c, ncclResult_t *state) {
    if (!is_usable(c)) return refuse(ncclInvalidArgument, "no such communicator");
    if (c->state == ncclInProgress) go_on(c);
    *state = c->state;
    return ncclSuccess;
}

ncclResult_t ncclCommAbort(ncclComm_t c) {
    if (!is_usable(c)) return refuse(ncclInvalidArgument, "no such communicator");
    c->phase = ncclComm::ABORTED;
    c->issued = nullptr;
    return ncclSuccess;
}

ncclResult_t ncclCommFinalize(ncclComm_t c) {
    if (!is_usable(c)) return refuse(ncclInvalidArgument, "no such communicator");
    if (c->state != ncclSuccess || c->phase != ncclComm::JOINED)
        return refuse(ncclInvalidUsage, "ncclCommFinalize of what is not ready for it");
    c->phase = ncclComm::FLUSHING;
    c->state = ncclInProgress;
    return c->state;
}

ncclResult_t ncclCommDestroy(ncclComm_t c) {
    if (!is_usable(c)) return refuse(ncclInvalidArgument, "no such communicator");
    if (c->phase != ncclComm::LEFT)
        return refuse(ncclInvalidUsage, "ncclCommDestroy before ncclCommFinalize was done");
    if (c->mpi != MPI_COMM_NULL) MPI_Comm_free(&c->mpi);
    communicators().erase(c);
    delete c;
    return ncclSuccess;
}

ncclResult_t ncclAllReduce(const void *from, void *to, size_t count, ncclDataType_t type,
                           ncclRedOp_t operation, ncclComm_t c, cudaStream_t stream) {
    return issue(c, ALL_REDUCE, from, to, count, type, operation, stream);
}

ncclResult_t ncclReduceScatter(const void *from, void *to, size_t received, ncclDataType_t type,
                               ncclRedOp_t operation, ncclComm_t c, cudaStream_t stream) {
    return issue(c, REDUCE_SCATTER, from, to, received, type, operation, stream);
}

ncclResult_t ncclAllGather(const void *from, void *to, size_t sent, ncclDataType_t type,
                           ncclComm_t c, cudaStream_t stream) {
    return issue(c, ALL_GATHER, from, to, sent, type, ncclSum, stream);
}
