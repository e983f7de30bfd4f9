/// Memory of the host that a device copies from while the host goes on: page-locked where the
/// device asks for that (a GPU), ordinary memory elsewhere and where no more can be locked.
///
/// A copy out of ordinary memory has to be staged before the call returns. Out of page-locked
/// memory it is only queued, so the buffer must not change before the copy has run:
/// transfer_buffer_wait() says when. Different buffers may be used by different threads.
#pragma once
#include "autograd/error.h"
#include "autograd/tensor.h"

#ifdef __cplusplus
extern "C" {
#endif

/// A device's own way with page-locked memory (Device.pinned_memory). Any thread may call these.
typedef struct PinnedMemory {
    /// At least 64-byte aligned; NULL, with the reason, when no more can be locked. `*copied`
    /// becomes what tells when the last copy out of it has run.
    void *(*allocate)(Device *device, size_t bytes, void **copied, Error *reason);
    /// After wait().
    void (*release)(Device *device, void *pointer, void *copied);
    /// Queues a copy to the device, ordered with what is computed as from_host's are.
    void (*copy)(Device *device, void *to, const void *from, size_t bytes, void *copied);
    void (*wait)(Device *device, void *copied);
} PinnedMemory;

typedef struct TransferBuffer {
    /// NULL: none copies from it
    Device *device;
    /// [bytes], 64-byte aligned
    void *data;
    size_t bytes;
    bool is_pinned;
    /// the device's, where it is pinned
    void *copied;
} TransferBuffer;

/// A buffer of undefined content; device NULL: ordinary memory. The first one of the process that
/// should be page-locked and cannot be says so on stderr, in one line.
TransferBuffer transfer_buffer_new(Device *device, size_t bytes);
/// Waits for the copies out of it. All zeros are allowed.
void transfer_buffer_free(TransferBuffer *buffer);
/// Waits until everything that was queued out of it has been copied: it may be written again.
void transfer_buffer_wait(const TransferBuffer *buffer);
/// A tensor of the innermost scope, on the buffer's device, with the buffer's first numbers.
Tensor *tensor_from_transfer_buffer(const TransferBuffer *buffer, DType dtype, int rank,
                                    const int64_t *shape);

#ifdef __cplusplus
}
#endif
