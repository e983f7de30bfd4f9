// Rotary embedding. A thread takes the same pairs of several heads, which share their angles.
#include "ops/cuda/reduce.h"

namespace {

/// a thread's at most
enum { ROPE_HEADS = 8 };

template <typename T> struct Rope {
    const T *x;
    const float *rotations;
    T *y;
    int64_t rows;
    /// of head_dim
    int heads, half;
    float sign;
};

/// [x1, x2] of each head to [x1 cos - x2 sin, x2 cos + x1 sin]. Thread x: N pairs, y: a row; blocks
/// along y: heads.
template <typename T, int N> __global__ void rope_kernel(Rope<T> r) {
    int first_head = (int)blockIdx.y * ROPE_HEADS, end_head = min(first_head + ROPE_HEADS, r.heads);
    for (int pair = (int)threadIdx.x * N; pair < r.half; pair += (int)blockDim.x * N)
        for (int64_t row = (int64_t)blockIdx.x * blockDim.y + threadIdx.y; row < r.rows;
             row += (int64_t)gridDim.x * blockDim.y) {
            const float *cosines = r.rotations + row * 2 * r.half + pair;
            float cosine[N], sine[N];
            UNROLL
            for (int j = 0; j < N; j++) {
                cosine[j] = cosines[j];
                sine[j] = cosines[r.half + j] * r.sign;
            }
            for (int head = first_head; head < end_head; head++) {
                int64_t at = (row * r.heads + head) * 2 * r.half + pair;
                float first[N], second[N], to_first[N], to_second[N];
                load_pack<N>(r.x + at, first);
                load_pack<N>(r.x + at + r.half, second);
                UNROLL
                for (int j = 0; j < N; j++) {
                    to_first[j] = first[j] * cosine[j] - second[j] * sine[j];
                    to_second[j] = second[j] * cosine[j] + first[j] * sine[j];
                }
                store_pack<N>(r.y + at, to_first);
                store_pack<N>(r.y + at + r.half, to_second);
            }
        }
}

template <typename T, int N> void launch(const Rope<T> &r, const Tensor *like) {
    unsigned across = 1, down = 1;
    while (across < 128 && (int)across * N < r.half) across *= 2;
    while (across * down < 128) down *= 2;
    int64_t blocks = ceil_divide(r.rows, down), most = 16ll * cuda_device(like)->multiprocessors;
    dim3 grid((unsigned)(blocks < most ? blocks : most),
              (unsigned)ceil_divide(r.heads, ROPE_HEADS));
    LAUNCH((rope_kernel<T, N>), grid, dim3(across, down), 0, stream_of(like), r);
}

void rope(const Tensor *x, const Tensor *rotations, bool transposed, Tensor *y) {
    WITH_TYPE(x->dtype, T, {
        Rope<T> r = {};
        int head_dim = (int)tensor_columns(rotations);
        r.x = data_of<T>(x);
        r.rotations = data_of<float>(rotations);
        r.y = data_of<T>(y);
        r.rows = tensor_rows(x);
        r.heads = (int)(tensor_columns(x) / head_dim);
        r.half = head_dim / 2;
        r.sign = transposed ? -1.0f : 1.0f;
        if (r.rows == 0) return;
        if (r.half % pack_size<T> == 0 && all_aligned(r.x, r.y))
            launch<T, pack_size<T>>(r, x);
        else
            launch<T, 1>(r, x);
    });
}

} // namespace

FILL_FAMILY(rope)
