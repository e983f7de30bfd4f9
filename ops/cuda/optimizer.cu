// AdamW and the gradient norm over many tensors in one launch: their addresses travel in the kernel's parameters (4 KiB at most), and
// every block finds the chunk of a tensor that it works on. All FLOAT32.
#include "ops/cuda/reduce.h"

namespace {

enum {
    THREADS = 256,
    CHUNK = 4096,    ///< elements that a block takes
    MAX_TENSORS = 64 ///< of a launch
};

/// Chunks of several tensors, numbered one after another.
struct Chunks {
    int count;
    int64_t numel[MAX_TENSORS];
    int64_t end[MAX_TENSORS]; ///< chunks of the tensors up to this one

    /// Adds a tensor. Chunks are numbered from 0 in a launch.
    void add(int64_t n) {
        int64_t before = count ? end[count - 1] : 0;
        numel[count] = n;
        end[count++] = before + ceil_divide(n, CHUNK);
    }
    unsigned total() const { return (unsigned)(count ? end[count - 1] : 0); }
};

/// A block's elements: first .. first + length of tensor number `tensor`.
struct Chunk {
    int tensor, length;
    int64_t first;

    __device__ __forceinline__ explicit Chunk(const Chunks &chunks) {
        int low = 0,
            high = chunks.count - 1; // the first tensor whose chunks end after this block's
        while (low < high) {
            int middle = (low + high) / 2;
            if (chunks.end[middle] > (int64_t)blockIdx.x)
                high = middle;
            else
                low = middle + 1;
        }
        tensor = low;
        first = ((int64_t)blockIdx.x - (low ? chunks.end[low - 1] : 0)) * CHUNK;
        int64_t left = chunks.numel[low] - first;
        length = left < CHUNK ? (int)left : CHUNK;
    }
};

// ---- gradient norm

struct SquaresTable {
    Chunks chunks;
    const float *x[MAX_TENSORS];
    double *partial; ///< a sum for each chunk
};

__device__ __forceinline__ double square(float x) { return (double)x * (double)x; }

__global__ void __launch_bounds__(THREADS) sum_chunks(const SquaresTable table) {
    Chunk chunk(table.chunks);
    const float *x = table.x[chunk.tensor] + chunk.first;
    double sum = 0;
    int packed = reinterpret_cast<uintptr_t>(x) % 16 == 0 ? chunk.length / 4 * 4 : 0;
    for (int i = 4 * (int)threadIdx.x; i < packed; i += 4 * THREADS) {
        float values[4];
        load_pack<4>(x + i, values);
        sum += (square(values[0]) + square(values[1])) + (square(values[2]) + square(values[3]));
    }
    for (int i = packed + (int)threadIdx.x; i < chunk.length; i += THREADS) sum += square(x[i]);
    sum = block_sum_double(sum);
    if (threadIdx.x == 0) table.partial[blockIdx.x] = sum;
}

/// Replaces the first of n numbers by their sum, by one block.
__global__ void __launch_bounds__(THREADS) add_chunks(double *partial, int64_t n) {
    double sum = 0;
    for (int64_t i = threadIdx.x; i < n; i += THREADS) sum += partial[i];
    sum = block_sum_double(sum);
    if (threadIdx.x == 0) partial[0] = sum;
}

double sum_squares(int count, Tensor *const *x) {
    int64_t chunks = 0, done = 0;
    for (int i = 0; i < count; i++) chunks += ceil_divide(tensor_numel(x[i]), CHUNK);
    if (chunks == 0) return 0;
    Workspace partial(x[0], (size_t)chunks * sizeof(double));
    for (int first = 0; first < count; first += MAX_TENSORS) {
        SquaresTable table = {};
        for (int i = first; i < count && i < first + MAX_TENSORS; i++) {
            table.x[table.chunks.count] = data_of<float>(x[i]);
            table.chunks.add(tensor_numel(x[i]));
        }
        table.partial = partial.as<double>() + done;
        done += table.chunks.total();
        if (table.chunks.total())
            LAUNCH(sum_chunks, table.chunks.total(), THREADS, 0, stream_of(x[0]), table);
    }
    LAUNCH(add_chunks, 1, THREADS, 0, stream_of(x[0]), partial.as<double>(), chunks);
    double sum;
    x[0]->device->to_host(x[0]->device, &sum, partial.as<double>(), sizeof sum);
    return sum;
}

// ---- AdamW

/// The constants of a step, worked out in double. The decay is subtracted rather than multiplied as 1 - decay, which as a
/// float would be off by the same fraction at every step.
struct Constants {
    float beta1, rest1, beta2, rest2;
    float decay, step_size, inverse_root_correction, epsilon, gradient_scale;
};

Constants constants_of(const AdamW *step) {
    double t = (double)step->step, rate = (double)step->learning_rate;
    Constants constants = {};
    constants.beta1 = step->beta1;
    constants.rest1 = (float)(1.0 - (double)step->beta1);
    constants.beta2 = step->beta2;
    constants.rest2 = (float)(1.0 - (double)step->beta2);
    constants.decay = (float)(rate * (double)step->weight_decay);
    constants.step_size = (float)(rate / (1.0 - pow((double)step->beta1, t)));
    constants.inverse_root_correction = (float)(1.0 / sqrt(1.0 - pow((double)step->beta2, t)));
    constants.epsilon = step->epsilon;
    constants.gradient_scale = step->gradient_scale;
    return constants;
}

struct AdamWTable {
    Constants constants;
    Chunks chunks;
    const float *gradient[MAX_TENSORS]; ///< NULL: zero
    float *exp_avg[MAX_TENSORS], *exp_avg_sq[MAX_TENSORS], *parameter[MAX_TENSORS];
};
static_assert(sizeof(AdamWTable) <= 4096, "more than a kernel's parameters may hold");

template <int N>
__device__ __forceinline__ void update(const Constants &k, const float *gradient, float *exp_avg,
                                       float *exp_avg_sq, float *parameter) {
    float g[N] = {}, m[N], v[N], p[N];
    if (gradient) load_pack<N>(gradient, g);
    load_pack<N>(exp_avg, m);
    load_pack<N>(exp_avg_sq, v);
    load_pack<N>(parameter, p);
    UNROLL
    for (int i = 0; i < N; i++) {
        g[i] *= k.gradient_scale;
        // Written out, so that an element's bits do not depend on how it is moved.
        m[i] = fmaf(k.beta1, m[i], k.rest1 * g[i]);
        v[i] = fmaf(k.beta2, v[i], k.rest2 * g[i] * g[i]);
        float root = fmaf(sqrtf(v[i]), k.inverse_root_correction, k.epsilon);
        p[i] -= fmaf(k.decay, p[i], k.step_size * m[i] / root);
    }
    store_pack<N>(exp_avg, m);
    store_pack<N>(exp_avg_sq, v);
    store_pack<N>(parameter, p);
}

__global__ void __launch_bounds__(THREADS) adamw_chunks(const AdamWTable table) {
    Chunk chunk(table.chunks);
    const float *gradient = table.gradient[chunk.tensor];
    if (gradient) gradient += chunk.first;
    float *exp_avg = table.exp_avg[chunk.tensor] + chunk.first;
    float *exp_avg_sq = table.exp_avg_sq[chunk.tensor] + chunk.first;
    float *parameter = table.parameter[chunk.tensor] + chunk.first;
    bool aligned =
        (reinterpret_cast<uintptr_t>(gradient) | reinterpret_cast<uintptr_t>(exp_avg) |
         reinterpret_cast<uintptr_t>(exp_avg_sq) | reinterpret_cast<uintptr_t>(parameter)) %
            16 ==
        0;
    int packed = aligned ? chunk.length / 4 * 4 : 0;
    for (int i = 4 * (int)threadIdx.x; i < packed; i += 4 * THREADS)
        update<4>(table.constants, gradient ? gradient + i : nullptr, exp_avg + i, exp_avg_sq + i,
                  parameter + i);
    for (int i = packed + (int)threadIdx.x; i < chunk.length; i += THREADS)
        update<1>(table.constants, gradient ? gradient + i : nullptr, exp_avg + i, exp_avg_sq + i,
                  parameter + i);
}

void adamw(const AdamW *step, int count, const AdamWTensors *tensors) {
    Constants constants = constants_of(step);
    for (int first = 0; first < count; first += MAX_TENSORS) {
        AdamWTable table = {};
        table.constants = constants;
        for (int i = first; i < count && i < first + MAX_TENSORS; i++) {
            int slot = table.chunks.count;
            table.gradient[slot] = data_or_null<float>(tensors[i].gradient);
            table.exp_avg[slot] = data_of<float>(tensors[i].exp_avg);
            table.exp_avg_sq[slot] = data_of<float>(tensors[i].exp_avg_sq);
            table.parameter[slot] = data_of<float>(tensors[i].parameter);
            table.chunks.add(tensor_numel(tensors[i].parameter));
        }
        if (table.chunks.total())
            LAUNCH(adamw_chunks, table.chunks.total(), THREADS, 0,
                   stream_of(tensors[first].parameter), table);
    }
}

} // namespace

void fill_optimizer(Kernels *table) {
    table->sum_squares = sum_squares;
    table->adamw = adamw;
}
