// The real NCCL, as far as this machine goes: every call in use is found in the library and makes
// an id; with a GPU, one rank sums. Exits with 77 (skipped) where NCCL is not installed.
#include "ops/collectives.h"
#include "ops/kernels.h"

#include <stdio.h>
#include <string.h>

enum { SKIPPED = 77, N = 1001 };

static bool be_patient(void *context, Error *error) {
    (void)context, (void)error;
    return true;
}

/// One rank's sum is what it had.
static bool sum_on_gpu(const unsigned char id[COLLECTIVES_ID_BYTES], Error *error) {
    Device *device = ops_cuda_open(0, error);
    Collectives *collectives = device ? collectives_open(device, id, 0, 1, 60, error) : NULL;
    if (!collectives) return false;
    scope_begin();
    float values[N], back[N];
    for (int i = 0; i < N; i++) values[i] = (float)i;
    Tensor *x = tensor_from_host(device, FLOAT32, SHAPE(N), values);
    collectives_all_reduce(collectives, x);
    collectives_reduce_scatter(collectives, x);
    collectives_all_gather(collectives, x);
    bool ok = collectives_wait(collectives, be_patient, NULL, error);
    tensor_to_host_float(x, back);
    if (ok && memcmp(values, back, sizeof values)) ok = error_set(error, "a sum of one is another");
    scope_end();
    collectives_close(collectives);
    return ok;
}

int main(void) {
    Error error;
    unsigned char id[COLLECTIVES_ID_BYTES] = {0}, zero[COLLECTIVES_ID_BYTES] = {0};
    bool ok = collectives_new_id(id, &error);
    if (!ok && strstr(error.message, "cannot be opened")) {
        printf("skipped: %s\n", error.message);
        return SKIPPED;
    }
    if (ok && !memcmp(id, zero, sizeof id)) ok = error_set(&error, "the id is zero");
    int gpus = ops_cuda_count();
    ok = ok && (gpus == 0 || sum_on_gpu(id, &error));
    printf("%s\n", !ok ? error.message : gpus ? "one rank sums" : "NCCL is complete; no GPU here");
    return ok ? 0 : 1;
}
