/// Inside the CUDA kernels only: copies to the device out of any host memory.
#pragma once
#include "ops/cuda/cuda.h"

#include <mutex>

/// Pinned memory through which all copies to one device go, used round and round: a piece of it is
/// free again when its copy has run, so that the host waits only if it is that far ahead. A batch
/// of images is well below its size.
class Staging {
  public:
    /// Queues the copy, after what was queued for computing before and before what is queued later.
    /// `from` may be changed at once. Any thread may call it.
    void copy(const CudaDevice *device, void *to, const void *from, size_t bytes);

  private:
    static constexpr size_t RING = 32u << 20;
    /// its copying overlaps with filling the next
    static constexpr size_t LARGEST_PIECE = 4u << 20;
    static constexpr size_t SMALL = 64u << 10;
    static constexpr int MOST_PIECES = 512;

    struct Piece {
        size_t begin;
        cudaEvent_t copied;
    };

    void allocate();
    Piece *take(size_t bytes);
    bool find_room(size_t bytes);
    void wait_for_oldest();
    cudaEvent_t copy_piece(cudaStream_t stream, void *to, const void *from, size_t bytes);

    std::mutex lock;
    char *ring = nullptr;
    /// what the copy stream waits for
    cudaEvent_t computed;
    /// round and round as well
    Piece pieces[MOST_PIECES];
    /// pieces whose copy may not have run
    int oldest = 0, count = 0;
    /// where the ring goes on
    size_t next = 0;
};
