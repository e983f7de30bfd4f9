// rooms: data checkpoints autograd
// How long training data take to open, and to have a sample of, in JSON or packed.
//
//   bench_dataset FILE IMAGE_FOLDER [--look]
//
// --look: at the first bytes of every image. Columns: seconds to open, by the clock and of the
// processor (all threads), the process's peak memory, milliseconds a sample over 10,000 of them
// from all over the file.
#include "autograd/clock.h"
#include "data/llava_dataset.h"

#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>

enum { READS = 10000, STRIDE = 7919 };

static double peak_mib(void) {
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    return (double)usage.ru_maxrss / 1024;
}

static double processor_seconds(void) {
    struct timespec time;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &time);
    return (double)time.tv_sec + 1e-9 * (double)time.tv_nsec;
}

int main(int argc, char **argv) {
    Error error = {0};
    const bool look = argc == 4 && !strcmp(argv[3], "--look");
    if (argc != 3 && !look) {
        fprintf(stderr, "usage: bench_dataset FILE IMAGE_FOLDER [--look]\n");
        return 2;
    }
    const DatasetOptions options = {argv[1], argv[2],
                                    look ? MISSING_IMAGE_FAIL : MISSING_IMAGE_UNCHECKED};
    const double begun = clock_seconds(), processor = processor_seconds();
    Dataset *dataset = dataset_open(&options, &error);
    const double opened = clock_seconds(), used = processor_seconds() - processor;
    bool ok = dataset != NULL;
    for (int64_t i = 0; ok && i < READS; i++) {
        Sample sample;
        ok = dataset_sample(dataset, i * STRIDE % dataset_count(dataset), &sample, &error);
        if (ok) sample_free(&sample);
    }
    const double read = clock_seconds();
    if (ok)
        printf("%lld samples: opened in %.2f s (%.2f s of the processor), %.0f MiB at most, %.3f "
               "ms a sample\n",
               (long long)dataset_count(dataset), opened - begun, used, peak_mib(),
               1e3 * (read - opened) / READS);
    else
        fprintf(stderr, "bench_dataset: %s\n", error.message);
    dataset_close(dataset);
    return !ok;
}
