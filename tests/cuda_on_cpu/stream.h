/// Inside the emulator: work queued in streams, and the order in which it runs.
#pragma once
#include "cuda_runtime.h"

#include <deque>
#include <functional>
#include <memory>

/// One recording of an event; later recordings are others. Or something that comes from outside of
/// this process.
struct Recording {
    cudaStream_t stream;
    /// of the work that completes it
    uint64_t number;
    /// Where no work of this process completes it: asks whether it has come.
    std::function<bool()> outside;
    bool done = false;
    /// s
    double time = 0;
};

struct Work {
    /// counts everything that is issued
    uint64_t number;
    const char *name;
    std::function<void()> run;
    /// must be done before; or NULL
    std::shared_ptr<Recording> wait;
};

struct cudaOnCpuStream {
    int device;
    std::deque<Work> work;
};

struct cudaOnCpuEvent {
    bool timed;
    int device;
    /// the last, or NULL
    std::shared_ptr<Recording> recording;
};

bool stream_exists(cudaStream_t stream);
cudaStream_t stream_create(int device);
/// Runs what is queued, then frees the stream.
void stream_destroy(cudaStream_t stream);
/// The first stream made on the device, or NULL.
cudaStream_t stream_first(int device);
/// Returns the work's number.
uint64_t stream_queue(cudaStream_t stream, const char *name, std::function<void()> run,
                      std::shared_ptr<Recording> wait = nullptr);
/// Runs the stream up to that work, what this waits for, and perhaps other work that may run
/// before.
void stream_run_until(cudaStream_t stream, uint64_t number);
void stream_run_all(int device);
/// Runs one piece of work, or one that it waits for, for a host that polls: waits for nothing from
/// outside. False if nothing was left.
bool stream_run_one(cudaStream_t stream);
