// rooms: data checkpoints autograd
// How long training data take to open, and to have a sample of, in JSON or packed.
//
//   bench_dataset FILE IMAGE_FOLDER
//
// Images are not looked at. Columns: seconds to open, the process's peak memory, milliseconds a
// sample over 10,000 of them from all over the file.
#include "autograd/clock.h"
#include "data/llava_dataset.h"

#include <stdio.h>
#include <sys/resource.h>

enum { READS = 10000, STRIDE = 7919 };

static double peak_mib(void) {
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    return (double)usage.ru_maxrss / 1024;
}

int main(int argc, char **argv) {
    Error error = {0};
    if (argc != 3) {
        fprintf(stderr, "usage: bench_dataset FILE IMAGE_FOLDER\n");
        return 2;
    }
    const DatasetOptions options = {argv[1], argv[2], MISSING_IMAGE_UNCHECKED};
    const double begun = clock_seconds();
    Dataset *dataset = dataset_open(&options, &error);
    const double opened = clock_seconds();
    bool ok = dataset != NULL;
    for (int64_t i = 0; ok && i < READS; i++) {
        Sample sample;
        ok = dataset_sample(dataset, i * STRIDE % dataset_count(dataset), &sample, &error);
        if (ok) sample_free(&sample);
    }
    const double read = clock_seconds();
    if (ok)
        printf("%lld samples: opened in %.2f s, %.0f MiB at most, %.3f ms a sample\n",
               (long long)dataset_count(dataset), opened - begun, peak_mib(),
               1e3 * (read - opened) / READS);
    else
        fprintf(stderr, "bench_dataset: %s\n", error.message);
    dataset_close(dataset);
    return !ok;
}
