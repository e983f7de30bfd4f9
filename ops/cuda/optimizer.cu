// AdamW and the gradient norm, each over all tensors in one launch: a table of their addresses and
// sizes is copied to the device ahead of it, and every block finds the chunk of a tensor that it
// works on. All FLOAT32.
#include "ops/cuda/reduce.h"

#include <vector>

namespace {

enum {
    THREADS = 256,
    /// elements that a block takes
    CHUNK = 4096
};

/// A row of the table. Chunks of all tensors are numbered one after another.
template <typename Pointers> struct Row {
    Pointers at;
    int64_t numel;
    /// chunks of the tensors up to this one
    int64_t end;
};

template <typename Pointers> struct Table {
    std::vector<Row<Pointers>> rows;

    void add(const Pointers &at, int64_t numel) {
        if (numel) rows.push_back({at, numel, chunks() + ceil_divide(numel, CHUNK)});
    }
    int64_t chunks() const { return rows.empty() ? 0 : rows.back().end; }
    size_t bytes() const { return rows.size() * sizeof(Row<Pointers>); }
    int count() const { return (int)rows.size(); }
    /// Queues the copy to the device; the host's rows may go at once.
    const Row<Pointers> *copy(const Tensor *like, const Workspace &workspace) const {
        like->device->from_host(like->device, workspace.as<void>(), rows.data(), bytes());
        return workspace.as<Row<Pointers>>();
    }
};

/// A block's elements: first .. first + length of the tensor in row number `row`.
struct Chunk {
    int row, length;
    int64_t first;

    template <typename Pointers>
    __device__ __forceinline__ Chunk(const Row<Pointers> *rows, int count) {
        int low = 0, high = count - 1; // the first tensor whose chunks end after this block's
        while (low < high) {
            int middle = (low + high) / 2;
            if (rows[middle].end > (int64_t)blockIdx.x)
                high = middle;
            else
                low = middle + 1;
        }
        row = low;
        first = ((int64_t)blockIdx.x - (low ? rows[low - 1].end : 0)) * CHUNK;
        int64_t left = rows[low].numel - first;
        length = left < CHUNK ? (int)left : CHUNK;
    }
};

// ---- gradient norm

__device__ __forceinline__ double square(float x) { return (double)x * (double)x; }

/// partial receives a sum for each chunk.
__global__ void __launch_bounds__(THREADS)
    sum_chunks(const Row<const float *> *rows, int count, double *partial) {
    Chunk chunk(rows, count);
    const float *x = rows[chunk.row].at + chunk.first;
    double sum = 0;
    int packed = reinterpret_cast<uintptr_t>(x) % 16 == 0 ? chunk.length / 4 * 4 : 0;
    for (int i = 4 * (int)threadIdx.x; i < packed; i += 4 * THREADS) {
        float values[4];
        load_pack<4>(x + i, values);
        sum += (square(values[0]) + square(values[1])) + (square(values[2]) + square(values[3]));
    }
    for (int i = packed + (int)threadIdx.x; i < chunk.length; i += THREADS) sum += square(x[i]);
    sum = block_sum_double(sum);
    if (threadIdx.x == 0) partial[blockIdx.x] = sum;
}

/// Replaces the first of n numbers by their sum, by one block.
__global__ void __launch_bounds__(THREADS) add_chunks(double *partial, int64_t n) {
    double sum = 0;
    for (int64_t i = threadIdx.x; i < n; i += THREADS) sum += partial[i];
    sum = block_sum_double(sum);
    if (threadIdx.x == 0) partial[0] = sum;
}

void sum_squares(int count, Tensor *const *x, double *sum) {
    *sum = 0;
    Table<const float *> table;
    for (int i = 0; i < count; i++) table.add(data_of<float>(x[i]), tensor_numel(x[i]));
    if (!table.chunks()) return;
    Workspace rows(x[0], table.bytes()), partial(x[0], (size_t)table.chunks() * sizeof(double));
    const Row<const float *> *on_device = table.copy(x[0], rows);
    LAUNCH(sum_chunks, (unsigned)table.chunks(), THREADS, 0, stream_of(x[0]), on_device,
           table.count(), partial.as<double>());
    LAUNCH(add_chunks, 1, THREADS, 0, stream_of(x[0]), partial.as<double>(), table.chunks());
    x[0]->device->to_host(x[0]->device, sum, partial.as<double>(), sizeof *sum);
}

// ---- AdamW

/// The constants of a step, worked out in double. The decay is subtracted rather than multiplied as
/// 1 - decay, which as a float would be off by the same fraction at every step.
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

struct AdamWPointers {
    /// NULL: zero
    const float *gradient;
    float *exp_avg, *exp_avg_sq, *parameter;
};

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

__global__ void __launch_bounds__(THREADS)
    adamw_chunks(Constants constants, const Row<AdamWPointers> *rows, int count) {
    Chunk chunk(rows, count);
    const AdamWPointers &at = rows[chunk.row].at;
    const float *gradient = at.gradient ? at.gradient + chunk.first : nullptr;
    float *exp_avg = at.exp_avg + chunk.first, *exp_avg_sq = at.exp_avg_sq + chunk.first;
    float *parameter = at.parameter + chunk.first;
    bool aligned =
        (reinterpret_cast<uintptr_t>(gradient) | reinterpret_cast<uintptr_t>(exp_avg) |
         reinterpret_cast<uintptr_t>(exp_avg_sq) | reinterpret_cast<uintptr_t>(parameter)) %
            16 ==
        0;
    int packed = aligned ? chunk.length / 4 * 4 : 0;
    for (int i = 4 * (int)threadIdx.x; i < packed; i += 4 * THREADS)
        update<4>(constants, gradient ? gradient + i : nullptr, exp_avg + i, exp_avg_sq + i,
                  parameter + i);
    for (int i = packed + (int)threadIdx.x; i < chunk.length; i += THREADS)
        update<1>(constants, gradient ? gradient + i : nullptr, exp_avg + i, exp_avg_sq + i,
                  parameter + i);
}

void adamw(const AdamW *step, int count, const AdamWTensors *tensors) {
    Table<AdamWPointers> table;
    for (int i = 0; i < count; i++)
        table.add({data_or_null<float>(tensors[i].gradient), data_of<float>(tensors[i].exp_avg),
                   data_of<float>(tensors[i].exp_avg_sq), data_of<float>(tensors[i].parameter)},
                  tensor_numel(tensors[i].parameter));
    if (!table.chunks()) return;
    const Tensor *like = tensors[0].parameter;
    Workspace rows(like, table.bytes());
    const Row<AdamWPointers> *on_device = table.copy(like, rows);
    LAUNCH(adamw_chunks, (unsigned)table.chunks(), THREADS, 0, stream_of(like), constants_of(step),
           on_device, table.count());
}

} // namespace

FILL_FAMILY(optimizer)
