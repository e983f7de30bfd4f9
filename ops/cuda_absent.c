// Stands in for the CUDA kernels where the program is built without nvcc.
#include "ops/collectives.h"
#include "ops/kernels.h"

Device *ops_cuda_open(int ordinal, Error *error) {
    (void)ordinal;
    error_set(error, "this program was built without CUDA: build it where nvcc is installed");
    return NULL;
}

bool ops_cuda_use_level(const char *level) {
    (void)level;
    return false;
}

int ops_cuda_count(void) { return 0; }

void ops_cuda_bus_id(const Device *device, char text[GPU_BUS_ID_BYTES]) {
    (void)device;
    text[0] = 0;
}

// No tensor is on a GPU, so none of these is reached.

bool collectives_new_id(unsigned char id[COLLECTIVES_ID_BYTES], Error *error) {
    (void)id;
    return error_set(error, "this program was built without CUDA and NCCL");
}

Collectives *collectives_open(Device *device, const unsigned char id[COLLECTIVES_ID_BYTES],
                              int rank, int count, double timeout, Error *error) {
    (void)device, (void)id, (void)rank, (void)count, (void)timeout;
    error_set(error, "this program was built without CUDA and NCCL");
    return NULL;
}

void collectives_close(Collectives *collectives) { (void)collectives; }
void collectives_all_reduce(Collectives *collectives, Tensor *x) { (void)collectives, (void)x; }
void collectives_reduce_scatter(Collectives *collectives, Tensor *x) { (void)collectives, (void)x; }
void collectives_all_gather(Collectives *collectives, Tensor *x) { (void)collectives, (void)x; }

void collectives_set_timeout(Collectives *collectives, double timeout) {
    (void)collectives, (void)timeout;
}

bool collectives_wait(Collectives *collectives, CollectivesGoOn *go_on, void *context,
                      Error *error) {
    (void)collectives, (void)go_on, (void)context, (void)error;
    return true;
}
