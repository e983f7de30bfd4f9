// A warp's matrices: the lane that comes last gathers the shares of all, and gives out the result.
#include "warp_instructions.h"
#include "block.h"

#include <cstring>
#include <vector>

namespace {

void check_aligned(const char *operation, const void *pointer) {
    if ((uintptr_t)pointer % 16)
        kernel_failed("%s: address %p is not a multiple of 16", operation, pointer);
}

struct Load {
    uint16_t row[8];
    unsigned *matrices;
    bool transposed;
};

void give_out_rows(void *const *records) {
    auto all = reinterpret_cast<Load *const *>(records);
    for (int lane = 0; lane < 32; lane++)
        for (int i = 0; i < 4; i++) {
            int row = lane / 4, column = lane % 4 * 2;
            unsigned low, high;
            if (all[lane]->transposed) {
                low = all[8 * i + column]->row[row];
                high = all[8 * i + column + 1]->row[row];
            } else {
                low = all[8 * i + row]->row[column];
                high = all[8 * i + row]->row[column + 1];
            }
            all[lane]->matrices[i] = low | high << 16;
        }
}

struct Product {
    float *c;
    unsigned a[4], b[2];
};

float first_of(unsigned pair) { return cuda_on_cpu_bits<float>(pair << 16); }
float second_of(unsigned pair) { return cuda_on_cpu_bits<float>(pair & 0xffff0000u); }

/// A row of c: the compiler does better with it than with a loop.
typedef float Row __attribute__((vector_size(8 * sizeof(float))));

void multiply(void *const *records) {
    auto all = reinterpret_cast<Product *const *>(records);
    float a[16][16], b[16][8];
    Row c[16];
    for (int lane = 0; lane < 32; lane++) {
        const Product &p = *all[lane];
        int row = lane / 4, column = lane % 4 * 2;
        for (int i = 0; i < 4; i++) {
            a[row + i % 2 * 8][column + i / 2 * 8] = first_of(p.a[i]);
            a[row + i % 2 * 8][column + i / 2 * 8 + 1] = second_of(p.a[i]);
            c[row + i / 2 * 8][column + i % 2] = p.c[i];
        }
        for (int i = 0; i < 2; i++) {
            b[column + i * 8][row] = first_of(p.b[i]);
            b[column + i * 8 + 1][row] = second_of(p.b[i]);
        }
    }
    for (int k = 0; k < 16; k++) {
        Row right;
        memcpy(&right, b[k], sizeof right);
        for (int row = 0; row < 16; row++) c[row] += a[row][k] * right;
    }
    for (int lane = 0; lane < 32; lane++)
        for (int i = 0; i < 4; i++) all[lane]->c[i] = c[lane / 4 + i / 2 * 8][lane % 4 * 2 + i % 2];
}

} // namespace

void cuda_on_cpu_ldmatrix(unsigned (&matrices)[4], const __nv_bfloat16 *row, bool transposed) {
    check_aligned("ldmatrix", row);
    Load mine;
    memcpy(mine.row, row, sizeof mine.row);
    mine.matrices = matrices;
    mine.transposed = transposed;
    cuda_on_cpu_meet("ldmatrix", &mine, give_out_rows);
}

void cuda_on_cpu_mma(float (&c)[4], const unsigned (&a)[4], unsigned b0, unsigned b1) {
    Product mine = {c, {a[0], a[1], a[2], a[3]}, {b0, b1}};
    cuda_on_cpu_meet("mma", &mine, multiply);
}
