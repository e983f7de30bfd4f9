// Nothing runs when it is issued. A wait runs what it must; whether work of other streams that may
// run before does so is drawn, the stream with the most recently issued work first: what an event
// should have ordered comes out in the wrong order.
#include "stream.h"

#include "device_memory.h"
#include "emulator.h"

#include <algorithm>
#include <cstdlib>
#include <sched.h>
#include <vector>

namespace {

const size_t most_queued = 4096;

std::vector<cudaStream_t> streams;
uint64_t issued;
uint64_t random_state;

/// splitmix64 [Steele, Lea & Flood 2014]
uint64_t draw() {
    if (!random_state) {
        const char *seed = getenv("CUDA_ON_CPU_SEED");
        cuda_on_cpu_seed(seed ? strtoull(seed, nullptr, 10) : 1);
    }
    uint64_t x = random_state += 0x9e3779b97f4a7c15;
    x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9;
    x = (x ^ x >> 27) * 0x94d049bb133111eb;
    return x ^ x >> 31;
}

bool is_done(Recording &recording) {
    if (!recording.done && recording.outside) recording.done = recording.outside();
    return recording.done;
}

bool is_runnable(cudaStream_t stream) {
    return !stream->work.empty() &&
           (!stream->work.front().wait || is_done(*stream->work.front().wait));
}

void run_front(cudaStream_t stream) {
    Work work = std::move(stream->work.front());
    stream->work.pop_front();
    if (work.run) work.run();
}

/// What is needed and nothing else.
void run_needed(cudaStream_t stream, uint64_t number) {
    while (!stream->work.empty() && stream->work.front().number <= number) {
        std::shared_ptr<Recording> wait = stream->work.front().wait;
        while (wait && wait->outside && !is_done(*wait)) sched_yield();
        if (wait && !wait->done) run_needed(wait->stream, wait->number);
        run_front(stream);
    }
}

/// The stream to run a piece of work of, usually that with the most recently issued; NULL when none
/// can.
cudaStream_t pick(int device, cudaStream_t except) {
    std::vector<cudaStream_t> able;
    for (cudaStream_t s : streams)
        if (s != except && (device < 0 || s->device == device) && is_runnable(s)) able.push_back(s);
    if (able.empty()) return nullptr;
    uint64_t random = draw();
    if (random & 3)
        return *std::max_element(able.begin(), able.end(), [](cudaStream_t a, cudaStream_t b) {
            return a->work.back().number < b->work.back().number;
        });
    return able[(random >> 2) % able.size()];
}

} // namespace

void cuda_on_cpu_seed(uint64_t seed) { random_state = seed * 0x2545f4914f6cdd1d + 1; }

bool stream_exists(cudaStream_t stream) {
    return std::find(streams.begin(), streams.end(), stream) != streams.end();
}

cudaStream_t stream_create(int device) {
    cudaStream_t stream = new cudaOnCpuStream;
    stream->device = device;
    streams.push_back(stream);
    return stream;
}

void stream_destroy(cudaStream_t stream) {
    DeviceMemoryOpen open;
    run_needed(stream, issued);
    streams.erase(std::find(streams.begin(), streams.end(), stream));
    delete stream;
}

cudaStream_t stream_first(int device) {
    for (cudaStream_t s : streams)
        if (s->device == device) return s;
    return nullptr;
}

uint64_t stream_queue(cudaStream_t stream, const char *name, std::function<void()> run,
                      std::shared_ptr<Recording> wait) {
    if (stream->work.size() >= most_queued) stream_run_until(stream, issued);
    stream->work.push_back({++issued, name, std::move(run), std::move(wait)});
    return issued;
}

void stream_run_until(cudaStream_t stream, uint64_t number) {
    DeviceMemoryOpen open;
    if (draw() & 1)
        while (cudaStream_t other = pick(-1, stream)) run_front(other);
    run_needed(stream, number);
}

void stream_run_all(int device) {
    DeviceMemoryOpen open;
    for (;;) {
        cudaStream_t next = pick(device, nullptr);
        if (next) {
            run_front(next);
            continue;
        }
        // what is left waits for another device
        for (cudaStream_t s : streams)
            if (s->device == device && !s->work.empty()) next = s;
        if (!next) return;
        run_needed(next, next->work.front().number);
    }
}

bool stream_run_one(cudaStream_t stream) {
    if (stream->work.empty()) return false;
    DeviceMemoryOpen open;
    if (is_runnable(stream)) {
        run_front(stream);
        return true;
    }
    const Recording &wait = *stream->work.front().wait;
    if (!wait.outside) stream_run_one(wait.stream);
    return true;
}
