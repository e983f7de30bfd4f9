// Products of few rows, which are bound by reading the matrix (generation). A warp takes
// neighbouring columns of y and reads their rows of the matrix once for up to ROWS rows of x; a
// lane adds up every 32nd pack of k, and the lanes' sums are added as a tree. So an element of y is
// summed in an order that depends on k alone, where the library chooses its algorithm, and with it
// the order, by the number of rows.
#include "ops/cuda/float8.h"
#include "ops/cuda/reduce.h"

namespace {

enum {
    FEW_THREADS = 256,
    /// of a warp
    FEW_COLUMNS = 2,
};

/// The narrower of the types that y may have beside x.
template <typename T> struct Narrow { using Type = T; };
template <> struct Narrow<float8> { using Type = bfloat16; };

/// A weight as it is multiplied with x of type T.
template <typename T> __device__ __forceinline__ float beside(float weight) {
    return to_float(from_float<T>(weight));
}
template <> __device__ __forceinline__ float beside<float8>(float weight) { return weight; }

template <typename T, typename W> struct FewRows {
    /// elements; more of FLOAT8 than of the others do not fit in the registers
    static constexpr int PACK = sizeof(T) == 1 ? 8 : pack_length(widest(sizeof(T), sizeof(W)));

    const T *x;
    const W *weight;
    /// NULL: none
    const float *bias;
    /// of FLOAT8
    const float *x_scales, *weight_scales;
    void *y;
    int64_t rows, k, n;
    bool accumulate, float32;

    __device__ __forceinline__ void write(int64_t row, int64_t column, float sum) const {
        if (x_scales) sum *= x_scales[row] * weight_scales[column];
        if (bias) sum += bias[column];
        if (float32)
            put(static_cast<float *>(y) + row * n + column, sum);
        else
            put(static_cast<typename Narrow<T>::Type *>(y) + row * n + column, sum);
    }

  private:
    template <typename Y> __device__ __forceinline__ void put(Y *to, float sum) const {
        *to = from_float<Y>(accumulate ? to_float(*to) + sum : sum);
    }
};

/// Elements pack * N and on of a row of k, 0 where there are none.
template <int N, bool WHOLE, typename E>
__device__ __forceinline__ void load_part(const E *row, int64_t pack, int64_t k,
                                          float (&values)[N]) {
    if (WHOLE) {
        load_pack<N>(row + pack * N, values);
    } else {
        UNROLL
        for (int j = 0; j < N; j++)
            values[j] = pack * N + j < k ? to_float(row[pack * N + j]) : 0.0f;
    }
}

/// ROWS x FEW_COLUMNS elements of y, by a warp. WHOLE: k and all addresses are of whole packs.
template <typename T, typename W, bool WHOLE, int ROWS>
__device__ __forceinline__ void multiply_group(const FewRows<T, W> &f, int64_t row,
                                               int64_t column) {
    constexpr int N = FewRows<T, W>::PACK;
    int lane = (int)threadIdx.x % 32;
    float sums[ROWS][FEW_COLUMNS] = {};
    for (int64_t pack = lane; pack * N < f.k; pack += 32) {
        float weights[FEW_COLUMNS][N];
        UNROLL
        for (int c = 0; c < FEW_COLUMNS; c++) {
            int64_t from = column + c < f.n ? column + c : f.n - 1;
            load_part<N, WHOLE>(f.weight + from * f.k, pack, f.k, weights[c]);
            UNROLL
            for (int j = 0; j < N; j++) weights[c][j] = beside<T>(weights[c][j]);
        }
        UNROLL
        for (int r = 0; r < ROWS; r++) {
            float values[N];
            int64_t from = row + r < f.rows ? row + r : f.rows - 1;
            load_part<N, WHOLE>(f.x + from * f.k, pack, f.k, values);
            UNROLL
            for (int i = 0; i < FEW_COLUMNS * N; i++)
                sums[r][i / N] = fmaf(values[i % N], weights[i / N][i % N], sums[r][i / N]);
        }
    }
    UNROLL
    for (int i = 0; i < ROWS * FEW_COLUMNS; i++) {
        int r = i / FEW_COLUMNS, c = i % FEW_COLUMNS;
        float sum = warp_sum(sums[r][c]);
        if (lane == 0 && row + r < f.rows && column + c < f.n) f.write(row + r, column + c, sum);
    }
}

/// Blocks of a multiprocessor that should find registers: for Blackwell the compiler unrolls
/// further than two would leave room for.
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 1000
enum { FEW_BLOCKS = 1 };
#else
enum { FEW_BLOCKS = 2 };
#endif

/// More than ROWS rows are done in groups, which find the matrix in the caches.
template <typename T, typename W, bool WHOLE, int ROWS>
__global__ void __launch_bounds__(FEW_THREADS, FEW_BLOCKS) few_rows_kernel(FewRows<T, W> f) {
    int64_t warp = (int64_t)blockIdx.x * (FEW_THREADS / 32) + threadIdx.x / 32;
    if (warp * FEW_COLUMNS >= f.n) return;
    for (int64_t row = 0; row < f.rows; row += ROWS)
        multiply_group<T, W, WHOLE, ROWS>(f, row, warp * FEW_COLUMNS);
}

template <typename T, typename W, bool WHOLE, int ROWS>
void launch_groups(const FewRows<T, W> &f, const Tensor *like) {
    unsigned blocks = (unsigned)ceil_divide(f.n, FEW_COLUMNS * (FEW_THREADS / 32));
    LAUNCH((few_rows_kernel<T, W, WHOLE, ROWS>), blocks, FEW_THREADS, 0, stream_of(like), f);
}

/// As many rows at once as fit in the registers.
template <typename T, typename W, bool WHOLE>
void launch_rows(const FewRows<T, W> &f, const Tensor *like) {
    constexpr int MOST = sizeof(T) == 1 && !WHOLE ? 4 : 8;
    if (f.rows == 1)
        launch_groups<T, W, WHOLE, 1>(f, like);
    else if (f.rows <= 4)
        launch_groups<T, W, WHOLE, 4>(f, like);
    else
        launch_groups<T, W, WHOLE, MOST>(f, like);
}

template <typename T, typename W>
void launch(const Tensor *x, const Tensor *weight, const Tensor *bias, bool accumulate, Tensor *y) {
    FewRows<T, W> f = {data_of<T>(x),
                       data_of<W>(weight),
                       data_or_null<float>(bias),
                       x->scales ? data_of<float>(x->scales) : nullptr,
                       weight->scales ? data_of<float>(weight->scales) : nullptr,
                       y->data,
                       tensor_rows(x),
                       tensor_columns(x),
                       tensor_columns(y),
                       accumulate,
                       y->dtype == FLOAT32};
    if (f.k % f.PACK == 0 && all_aligned(f.x, f.weight))
        launch_rows<T, W, true>(f, y);
    else
        launch_rows<T, W, false>(f, y);
}

void linear_few_rows(const Tensor *x, Tensor *weight, const Tensor *bias, bool accumulate,
                     Tensor *y) {
    if (tensor_numel(y) == 0) return;
    if (weight->dtype == FLOAT8)
        launch<float8, float8>(x, weight, bias, accumulate, y);
    else if (x->dtype == FLOAT32)
        launch<float, float>(x, weight, bias, accumulate, y);
    else if (weight->dtype == FLOAT32)
        launch<bfloat16, float>(x, weight, bias, accumulate, y);
    else
        launch<bfloat16, bfloat16>(x, weight, bias, accumulate, y);
}

} // namespace

FILL_FAMILY(few_rows)
