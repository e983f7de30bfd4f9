// Losses. Sums of whole tensors take two steps: a block adds its part in double, then one block
// adds the parts, both in an order that depends on the shape alone. The cross-entropy reads a row
// of logits once for its largest and the sum of its exponentials together, and a second time only
// if the gradient is wanted.
#include "ops/cuda/reduce.h"

namespace {

enum {
    THREADS = 256,
    /// of a row of logits, at most
    ROW_THREADS = 512,
    /// whose partial sums one block adds up
    MAX_BLOCKS = 1024,
    PACKS_PER_THREAD = 4,
};

// ---- cross-entropy

struct CrossEntropy {
    /// [rows,classes]
    float *logits;
    const int32_t *targets;
    int64_t rows, classes;
    bool gradient;
    /// [rows]
    double *losses;
};

/// The largest of the numbers seen and the sum of exp(x - largest).
struct Exponentials {
    float largest, sum;

    /// Numbers in units of this; nothing but -inf has been seen yet if largest is.
    __device__ __forceinline__ float origin() const {
        return largest == -INFINITY ? 0.0f : largest;
    }

    template <int N> __device__ __forceinline__ void add(const float (&x)[N]) {
        float before = largest;
        UNROLL
        for (int i = 0; i < N; i++) largest = fmaxf(largest, x[i]);
        float zero = origin(), added = 0;
        if (largest > before) sum *= expf(before - zero);
        UNROLL
        for (int i = 0; i < N; i++) added += expf(x[i] - zero);
        sum += added;
    }
};

/// A block for each row. d(-log softmax(x)[t]) / dx = softmax(x) - onehot(t). A target that is no
/// class makes the loss NaN.
template <int N>
__global__ void __launch_bounds__(ROW_THREADS) cross_entropy_rows(CrossEntropy loss) {
    const int packs = (int)(loss.classes / N);
    for (int64_t row = blockIdx.x; row < loss.rows; row += gridDim.x) {
        float *logits = loss.logits + row * loss.classes;
        Exponentials own = {-INFINITY, 0.0f};
        for (int i = (int)threadIdx.x; i < packs; i += (int)blockDim.x) {
            float x[N];
            load_pack<N>(logits + (int64_t)i * N, x);
            own.add(x);
        }
        float largest = block_max(own.largest);
        double sum = block_sum_double((double)(own.sum * expf(own.largest - largest)));
        int32_t target = loss.targets[row];
        bool valid = target >= 0 && target < loss.classes;
        if (threadIdx.x == 0)
            loss.losses[row] =
                valid ? (double)largest + log(sum) - (double)logits[target] : (double)NAN;
        __syncthreads(); // the target's logit has been read
        if (!loss.gradient) continue;
        float inverse = (float)(1.0 / sum);
        for (int i = (int)threadIdx.x; i < packs; i += (int)blockDim.x) {
            float x[N];
            load_pack<N>(logits + (int64_t)i * N, x);
            UNROLL
            for (int j = 0; j < N; j++)
                x[j] = expf(x[j] - largest) * inverse - (i * N + j == target ? 1.0f : 0.0f);
            store_pack<N>(logits + (int64_t)i * N, x);
        }
    }
}

/// y = (plus y +) factor * the sum of n numbers, by one block.
__global__ void __launch_bounds__(THREADS)
    finish_sum(const double *parts, int64_t n, double divisor, bool accumulate, float *y) {
    double sum = 0;
    for (int64_t i = threadIdx.x; i < n; i += THREADS) sum += parts[i];
    sum = block_sum_double(sum);
    if (threadIdx.x == 0) *y = (accumulate ? *y : 0.0f) + (float)(sum / divisor);
}

void softmax_cross_entropy(Tensor *logits, const Tensor *targets, bool gradient, Tensor *loss_sum) {
    CrossEntropy loss = {};
    loss.logits = data_of<float>(logits);
    loss.targets = data_of<int32_t>(targets);
    loss.rows = tensor_rows(logits);
    loss.classes = tensor_columns(logits);
    loss.gradient = gradient;
    if (loss.rows == 0) return;
    CHECK(loss.classes < INT32_MAX, "cross-entropy: %s", tensor_describe(logits));
    Workspace losses(logits, (size_t)loss.rows * sizeof(double));
    loss.losses = losses.as<double>();
    bool packed = loss.classes % 4 == 0 && all_aligned(loss.logits);
    int64_t threads = ceil_divide(packed ? loss.classes / 4 : loss.classes, 32) * 32;
    int64_t most = ROW_THREADS;
    unsigned block = (unsigned)(threads < most ? threads : most);
    unsigned grid = (unsigned)(loss.rows < INT32_MAX ? loss.rows : INT32_MAX);
    if (packed)
        LAUNCH(cross_entropy_rows<4>, grid, block, 0, stream_of(logits), loss);
    else
        LAUNCH(cross_entropy_rows<1>, grid, block, 0, stream_of(logits), loss);
    LAUNCH(finish_sum, 1, THREADS, 0, stream_of(logits), losses.as<double>(), loss.rows, 1.0, true,
           data_of<float>(loss_sum));
}

// ---- means

/// Adds a pack of a, or of (a - b)^2.
template <typename T, int N> __device__ __forceinline__ float pack_sum(const T *a, const T *b) {
    float x[N], y[N], sum = 0;
    load_pack<N>(a, x);
    if (b) load_pack<N>(b, y);
    UNROLL
    for (int i = 0; i < N; i++) sum += b ? (x[i] - y[i]) * (x[i] - y[i]) : x[i];
    return sum;
}

/// partial [blocks]: every block's part of the sum of a (b NULL) or of (a - b)^2.
template <typename T, int N>
__global__ void __launch_bounds__(THREADS)
    sum_parts(const T *a, const T *b, int64_t n, double *partial) {
    int64_t packs = n / N, step = (int64_t)gridDim.x * THREADS;
    int64_t first = (int64_t)blockIdx.x * THREADS + threadIdx.x, left = packs * N + first;
    double sum = 0;
    for (int64_t i = first; i < packs; i += step)
        sum += (double)pack_sum<T, N>(a + i * N, b ? b + i * N : nullptr);
    if (left < n) sum += (double)pack_sum<T, 1>(a + left, b ? b + left : nullptr);
    sum = block_sum_double(sum);
    if (threadIdx.x == 0) partial[blockIdx.x] = sum;
}

template <typename T> void mean_of(const Tensor *a, const Tensor *b, Tensor *y) {
    const T *left = data_of<T>(a), *right = data_or_null<T>(b);
    int64_t n = tensor_numel(a), blocks = ceil_divide(n, THREADS * PACKS_PER_THREAD * pack_size<T>);
    if (blocks > MAX_BLOCKS) blocks = MAX_BLOCKS;
    Workspace partial(a, (size_t)blocks * sizeof(double));
    if (all_aligned(left, right))
        LAUNCH((sum_parts<T, pack_size<T>>), (unsigned)blocks, THREADS, 0, stream_of(a), left,
               right, n, partial.as<double>());
    else
        LAUNCH((sum_parts<T, 1>), (unsigned)blocks, THREADS, 0, stream_of(a), left, right, n,
               partial.as<double>());
    LAUNCH(finish_sum, 1, THREADS, 0, stream_of(a), partial.as<double>(), blocks, (double)n, false,
           data_of<float>(y));
}

void mean(const Tensor *x, Tensor *y) { WITH_TYPE(x->dtype, T, mean_of<T>(x, nullptr, y)); }

void mean_squared_error(const Tensor *a, const Tensor *b, Tensor *y) {
    WITH_TYPE(a->dtype, T, mean_of<T>(a, b, y));
}

} // namespace

FILL_FAMILY(loss)
