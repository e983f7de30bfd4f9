#include "autograd/transfer_buffer.h"

#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

/// Of ordinary memory; page-locked memory comes in whole pages.
static const size_t ALIGNMENT = 64;

/// Every later buffer would say the same.
static void tell_once(const Device *device, const Error *reason) {
    static atomic_flag told = ATOMIC_FLAG_INIT;
    if (atomic_flag_test_and_set(&told)) return;
    fprintf(stderr,
            "%s: no memory for batches could be page-locked (%s); they are copied from ordinary "
            "memory, which takes longer and changes nothing else\n",
            device->name, reason->message);
}

TransferBuffer transfer_buffer_new(Device *device, size_t bytes) {
    TransferBuffer buffer = {.device = device, .bytes = bytes};
    if (bytes == 0) return buffer;
    if (device && device->pinned_memory) {
        Error reason = {0};
        buffer.data = device->pinned_memory->allocate(device, bytes, &buffer.copied, &reason);
        buffer.is_pinned = buffer.data != NULL;
        if (!buffer.is_pinned) tell_once(device, &reason);
    }
    if (!buffer.is_pinned) {
        buffer.data = aligned_alloc(ALIGNMENT, (bytes + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT);
        if (!buffer.data)
            stop_program("out of memory: %.1f MiB for a batch", (double)bytes / 0x1p20);
    }
    return buffer;
}

void transfer_buffer_free(TransferBuffer *buffer) {
    transfer_buffer_wait(buffer);
    if (buffer->is_pinned)
        buffer->device->pinned_memory->release(buffer->device, buffer->data, buffer->copied);
    else
        free(buffer->data);
    *buffer = (TransferBuffer){0};
}

void transfer_buffer_wait(const TransferBuffer *buffer) {
    if (buffer->is_pinned) buffer->device->pinned_memory->wait(buffer->device, buffer->copied);
}

Tensor *tensor_from_transfer_buffer(const TransferBuffer *buffer, DType dtype, int rank,
                                    const int64_t *shape) {
    Device *device = buffer->device;
    CHECK(device, "tensor_from_transfer_buffer: a buffer of no device");
    Tensor *x = tensor_new(device, dtype, rank, shape);
    const size_t bytes = (size_t)tensor_numel(x) * dtype_size(dtype);
    CHECK(bytes <= buffer->bytes, "tensor_from_transfer_buffer: %s from a buffer of %zu bytes",
          tensor_describe(x), buffer->bytes);
    if (buffer->is_pinned)
        device->pinned_memory->copy(device, x->data, buffer->data, bytes, buffer->copied);
    else
        device->from_host(device, x->data, buffer->data, bytes);
    return x;
}
