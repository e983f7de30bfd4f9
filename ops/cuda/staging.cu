// A copy from ordinary memory makes the driver stage it, and wait for it. Staged here, small copies
// go in line with the kernels, large ones beside them: the next batch is on its way while the last
// one is computed.
#include "ops/cuda/staging.h"

#include <string.h>

void Staging::allocate() {
    if (ring) return;
    void *memory;
    cuda_check(cudaHostAlloc(&memory, RING, cudaHostAllocDefault), "allocating pinned memory");
    ring = static_cast<char *>(memory);
    cuda_check(cudaEventCreateWithFlags(&computed, cudaEventDisableTiming), "creating an event");
    for (Piece &piece : pieces)
        cuda_check(cudaEventCreateWithFlags(&piece.copied, cudaEventDisableTiming),
                   "creating an event");
}

/// Moves `next` to where that many bytes are free. False: first an older piece must go.
bool Staging::find_room(size_t bytes) {
    if (!count) next = 0;
    if (!count) return true;
    if (count == MOST_PIECES) return false;
    size_t used_from = pieces[oldest].begin;
    if (next <= used_from) return used_from - next >= bytes;
    if (RING - next >= bytes) return true;
    if (used_from < bytes) return false;
    next = 0;
    return true;
}

void Staging::wait_for_oldest() {
    cuda_check(cudaEventSynchronize(pieces[oldest].copied), "copying to the device");
    oldest = (oldest + 1) % MOST_PIECES;
    count--;
}

Staging::Piece *Staging::take(size_t bytes) {
    const size_t alignment = 256;
    bytes = (bytes + alignment - 1) & ~(alignment - 1);
    while (!find_room(bytes)) wait_for_oldest();
    Piece *piece = &pieces[(oldest + count++) % MOST_PIECES];
    piece->begin = next;
    next += bytes;
    return piece;
}

/// Returns an event after the copy.
cudaEvent_t Staging::copy_piece(cudaStream_t stream, void *to, const void *from, size_t bytes) {
    Piece *piece = take(bytes);
    char *staged = ring + piece->begin;
    memcpy(staged, from, bytes);
    cuda_check(cudaMemcpyAsync(to, staged, bytes, cudaMemcpyHostToDevice, stream),
               "copying to the device");
    cuda_check(cudaEventRecord(piece->copied, stream), "copying to the device");
    return piece->copied;
}

void Staging::copy(const CudaDevice *device, void *to, const void *from, size_t bytes) {
    std::lock_guard<std::mutex> locked(lock);
    allocate();
    if (bytes <= SMALL) {
        copy_piece(device->compute, to, from, bytes);
        return;
    }
    // The block may be one that a kernel in the queue still uses for what it was before.
    cuda_check(cudaEventRecord(computed, device->compute), "copying to the device");
    cuda_check(cudaStreamWaitEvent(device->copy, computed, 0), "copying to the device");
    cudaEvent_t copied = nullptr;
    for (size_t first = 0; first < bytes; first += LARGEST_PIECE) {
        size_t left = bytes - first;
        copied = copy_piece(device->copy, static_cast<char *>(to) + first,
                            static_cast<const char *>(from) + first,
                            left < LARGEST_PIECE ? left : LARGEST_PIECE);
    }
    cuda_check(cudaStreamWaitEvent(device->compute, copied, 0), "copying to the device");
}
