// rooms: ops autograd
// What it costs to bring a micro-batch's pictures to the device, out of ordinary memory and out of
// the memory that the loader asks for it (autograd/transfer_buffer.h): how long the thread that
// queues a step's kernels is busy with the call, and how long until the copy has arrived.
//
//   bench_transfer [--device cpu|cuda] [--rounds 20]
//
// In turns, micro-batches of 1 to 64 pictures of 336 and 512 pixels; medians over rounds, in
// milliseconds, and what arrives of gigabytes per second.
#include "autograd/transfer_buffer.h"
#include "bench.h"

enum { WAYS = 2, MOST_ROUNDS = 1000, ORDINARY = 0, ASKED_FOR = 1 };

typedef struct Settings {
    const char *device;
    int rounds;
} Settings;

/// Of every round, in seconds.
typedef struct Times {
    double call[MOST_ROUNDS], arrival[MOST_ROUNDS];
} Times;

static double median(double *values, int count) {
    qsort(values, (size_t)count, sizeof *values, bench_compare);
    return values[count / 2];
}

/// Copies the buffer once; round -1 is not counted.
static void copy(const TransferBuffer *buffer, int64_t count, int round, Times *times) {
    scope_begin();
    buffer->device->synchronize(buffer->device);
    const double begin = bench_now();
    tensor_from_transfer_buffer(buffer, FLOAT32, SHAPE(count));
    const double called = bench_now();
    buffer->device->synchronize(buffer->device);
    const double arrived = bench_now();
    transfer_buffer_wait(buffer);
    scope_end();
    if (round < 0) return;
    times->call[round] = called - begin;
    times->arrival[round] = arrived - begin;
}

static void measure(Device *device, int pictures, int side, int rounds) {
    static Times times[WAYS];
    const int64_t count = (int64_t)pictures * side * side * 3;
    const size_t bytes = (size_t)count * sizeof(float);
    TransferBuffer buffers[WAYS] = {transfer_buffer_new(NULL, bytes),
                                    transfer_buffer_new(device, bytes)};
    buffers[ORDINARY].device = device; // it is copied from all the same
    for (int way = 0; way < WAYS; way++) memset(buffers[way].data, 0, bytes);
    for (int round = -1; round < rounds; round++)
        for (int way = 0; way < WAYS; way++) copy(&buffers[way], count, round, &times[way]);
    printf("%4d x %3d  %7.1f MiB", pictures, side, (double)bytes / 0x1p20);
    for (int way = 0; way < WAYS; way++) {
        const double call = median(times[way].call, rounds),
                     arrival = median(times[way].arrival, rounds);
        printf("  %-9s %8.3f ms %8.3f ms %6.1f GB/s",
               buffers[way].is_pinned ? "pinned" : "ordinary", 1e3 * call, 1e3 * arrival,
               1e-9 * (double)bytes / arrival);
        transfer_buffer_free(&buffers[way]);
    }
    printf("\n");
    fflush(stdout);
}

static Settings read_settings(int argc, char **argv) {
    Settings settings = {.device = "cpu", .rounds = 20};
    for (int i = 1; i + 1 < argc; i += 2) {
        if (!strcmp(argv[i], "--device")) settings.device = argv[i + 1];
        if (!strcmp(argv[i], "--rounds")) settings.rounds = atoi(argv[i + 1]);
    }
    if (settings.rounds >= 1 && settings.rounds <= MOST_ROUNDS) return settings;
    fprintf(stderr, "bench_transfer: --rounds 1 to %d\n", MOST_ROUNDS);
    exit(2);
}

int main(int argc, char **argv) {
    const Settings settings = read_settings(argc, argv);
    Device *device = bench_device(settings.device, 1);
    printf("%s; of each: the call, until it has arrived\n", device->name);
    static const int PICTURES[] = {1, 4, 16, 64}, SIDES[] = {336, 512};
    for (int s = 0; s < 2; s++)
        for (int p = 0; p < 4; p++) measure(device, PICTURES[p], SIDES[s], settings.rounds);
    return 0;
}
