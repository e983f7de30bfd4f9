/// The part of NCCL's interface in use, of version 2.14 and newer. NCCL is no part of the CUDA
/// Toolkit, and its header would be one more thing to install for a library that is opened when the
/// program runs. Names, values and layouts are NCCL's: where <nccl.h> was included before, its
/// types are taken, and the assertions below hold for both (tests/mpi/nccl_header.cpp).
#pragma once
#include <cuda_runtime.h>

#include <stddef.h>

#ifndef NCCL_MAJOR
typedef struct ncclComm *ncclComm_t;
typedef struct {
    char internal[128];
} ncclUniqueId;

typedef enum {
    ncclSuccess = 0,
    ncclUnhandledCudaError = 1,
    ncclSystemError = 2,
    ncclInternalError = 3,
    ncclInvalidArgument = 4,
    ncclInvalidUsage = 5,
    ncclRemoteError = 6,
    ncclInProgress = 7,
} ncclResult_t;

typedef enum { ncclSum = 0 } ncclRedOp_t;
typedef enum { ncclInt32 = 2, ncclFloat32 = 7, ncclBfloat16 = 9 } ncclDataType_t;

/// As of 2.14. Newer versions have more members; `size` and `version` say which ones are there.
typedef struct {
    size_t size;
    unsigned magic, version;
    int blocking;
} ncclConfig_t;
#endif

enum : unsigned { NCCL_CONFIG_MAGIC = 0xcafebeef };
enum { NCCL_2_14 = 21400 };

static_assert(sizeof(ncclUniqueId) == 128 && sizeof(ncclResult_t) == 4 &&
                  sizeof(ncclRedOp_t) == 4 && sizeof(ncclDataType_t) == 4,
              "NCCL's types");
static_assert(ncclUnhandledCudaError == 1 && ncclSystemError == 2 && ncclInternalError == 3 &&
                  ncclInvalidArgument == 4 && ncclInvalidUsage == 5 && ncclRemoteError == 6 &&
                  ncclInProgress == 7 && ncclSum == 0 && ncclInt32 == 2 && ncclFloat32 == 7 &&
                  ncclBfloat16 == 9,
              "NCCL's values");
static_assert(offsetof(ncclConfig_t, magic) == 8 && offsetof(ncclConfig_t, version) == 12 &&
                  offsetof(ncclConfig_t, blocking) == 16,
              "NCCL's configuration");

/// CALL(result, name without its beginning, parameters)
#define NCCL_CALLS(CALL)                                                                           \
    CALL(ncclResult_t, GetVersion, (int *version))                                                 \
    CALL(const char *, GetErrorString, (ncclResult_t result))                                      \
    CALL(const char *, GetLastError, (ncclComm_t communicator))                                    \
    CALL(ncclResult_t, GetUniqueId, (ncclUniqueId * id))                                           \
    CALL(ncclResult_t, CommInitRankConfig,                                                         \
         (ncclComm_t * communicator, int count, ncclUniqueId id, int rank, ncclConfig_t *config))  \
    CALL(ncclResult_t, CommGetAsyncError, (ncclComm_t communicator, ncclResult_t * state))         \
    CALL(ncclResult_t, CommAbort, (ncclComm_t communicator))                                       \
    CALL(ncclResult_t, CommFinalize, (ncclComm_t communicator))                                    \
    CALL(ncclResult_t, CommDestroy, (ncclComm_t communicator))                                     \
    CALL(ncclResult_t, AllReduce,                                                                  \
         (const void *from, void *to, size_t count, ncclDataType_t type, ncclRedOp_t operation,    \
          ncclComm_t communicator, cudaStream_t stream))                                           \
    CALL(ncclResult_t, ReduceScatter,                                                              \
         (const void *from, void *to, size_t received, ncclDataType_t type, ncclRedOp_t operation, \
          ncclComm_t communicator, cudaStream_t stream))                                           \
    CALL(ncclResult_t, AllGather,                                                                  \
         (const void *from, void *to, size_t sent, ncclDataType_t type, ncclComm_t communicator,   \
          cudaStream_t stream))

struct NcclCalls {
#define NCCL_POINTER(result, name, parameters) result(*name) parameters;
    NCCL_CALLS(NCCL_POINTER)
#undef NCCL_POINTER
};
