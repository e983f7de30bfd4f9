// Matrix products of a warp: the lane that comes last gathers the shares of all, multiplies, and gives out the result.
#include "mma.h"

#include "block.h"

namespace nvcuda {
namespace wmma {

/// A permutation of the 256 elements; `factor` is odd.
static constexpr CudaOnCpuLayout scrambled(int factor, int offset) {
    CudaOnCpuLayout layout = {};
    for (int i = 0; i < 256; i++)
        layout.element[i % 32][i / 32] = (unsigned char)(i * factor + offset);
    return layout;
}

const CudaOnCpuLayout cuda_on_cpu_operand_layout = scrambled(77, 13);
const CudaOnCpuLayout cuda_on_cpu_accumulator_layout = scrambled(183, 101);

void cuda_on_cpu_meet_at_matrix(const char *operation, const void *pointer, unsigned leading,
                                size_t element_bytes) {
    if ((uintptr_t)pointer % 32)
        kernel_failed("%s: address %p is not a multiple of 32", operation, pointer);
    if (leading * element_bytes % 16)
        kernel_failed("%s: a leading dimension of %u elements is not a multiple of 16 bytes",
                      operation, leading);
    struct Matrix {
        const void *pointer;
        unsigned leading;
    } mine = {pointer, leading};
    cuda_on_cpu_meet(operation, &mine, [](void *const *records) {
        auto all = reinterpret_cast<Matrix *const *>(records);
        for (int lane = 1; lane < 32; lane++)
            if (all[lane]->pointer != all[0]->pointer || all[lane]->leading != all[0]->leading)
                kernel_failed("lanes of one warp name different matrices");
    });
}

struct Shares {
    __nv_bfloat16 *a, *b;
    float *c, *d;
};

/// A matrix's row: the compiler does better with it than with a loop.
typedef float Row __attribute__((vector_size(16 * sizeof(float))));

static void multiply(void *const *records) {
    auto all = reinterpret_cast<Shares *const *>(records);
    Row a[16], b[16], d[16];
    for (int lane = 0; lane < 32; lane++)
        for (int i = 0; i < 8; i++) {
            int element = cuda_on_cpu_operand_layout.element[lane][i];
            a[element / 16][element % 16] = (float)all[lane]->a[i];
            b[element / 16][element % 16] = (float)all[lane]->b[i];
            element = cuda_on_cpu_accumulator_layout.element[lane][i];
            d[element / 16][element % 16] = all[lane]->c[i];
        }
    for (int row = 0; row < 16; row++)
        for (int k = 0; k < 16; k++) d[row] += a[row][k] * b[k];
    for (int lane = 0; lane < 32; lane++)
        for (int i = 0; i < 8; i++) {
            int element = cuda_on_cpu_accumulator_layout.element[lane][i];
            all[lane]->d[i] = d[element / 16][element % 16];
        }
}

void cuda_on_cpu_mma(__nv_bfloat16 *a, __nv_bfloat16 *b, float *c, float *d) {
    Shares mine = {a, b, c, d};
    cuda_on_cpu_meet("mma_sync", &mine, multiply);
}

} // namespace wmma
} // namespace nvcuda
