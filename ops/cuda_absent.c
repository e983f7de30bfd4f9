// Stands in for the CUDA kernels where the program is built without nvcc.
#include "ops/kernels.h"

Device *ops_cuda_open(int ordinal, Error *error) {
    (void)ordinal;
    error_set(error, "no GPU can be used: this program was built without CUDA. Build it where nvcc "
                     "is installed, or set `device: cpu`");
    return NULL;
}

int ops_cuda_count(void) { return 0; }
