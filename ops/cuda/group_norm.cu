// Group norm, channels last. A sample's rows are cut into slabs, whose number depends on the shape
// alone. A block sums a slab per channel, each thread along a column of its own; the slabs and then
// a group's channels are added in double, in order; a third kernel writes. Groups may be narrower
// than the 16 bytes that a thread reads at a time, so nothing before the second kernel knows of
// them.
#include "ops/cuda/reduce.h"

namespace {

enum {
    THREADS = 256,
    /// at least
    ROWS_PER_THREAD = 4,
    MAX_SLABS = 512,
};

/// One call: forward (grad_y NULL) or backward.
template <typename T> struct GroupNorm {
    const T *x, *grad_y;
    const float *weight, *bias;
    /// or grad_x
    T *y;
    int64_t batch, rows, slab_rows;
    int channels, groups;
    /// per sample
    int slabs;
    /// a block's threads: packs side by side, rows
    int tile_packs, height;
    float eps;
    bool silu;
    /// [batch,groups]
    float *mean, *rstd;
    /// the same, backward
    float *average, *slope;
    /// [batch,slabs,2,C]
    float *partial;
};

/// What a thread works on: one pack of channels in every height-th row from `row` to `end` of a
/// sample.
template <typename T, int N> struct Column {
    int64_t sample, row, end;
    int slab, channel, lane;
    bool active;

    __device__ __forceinline__ explicit Column(const GroupNorm<T> &norm)
        : sample(blockIdx.x / (unsigned)norm.slabs), slab((int)(blockIdx.x % (unsigned)norm.slabs)),
          lane((int)threadIdx.x / norm.tile_packs) {
        int pack = (int)blockIdx.y * norm.tile_packs + (int)threadIdx.x % norm.tile_packs;
        channel = pack * N;
        active = lane < norm.height && channel < norm.channels;
        row = slab * norm.slab_rows + lane;
        end = (slab + 1) * norm.slab_rows;
        if (end > norm.rows) end = norm.rows;
        if (!active) row = end;
    }
    /// Where the thread's pack of a row begins.
    __device__ __forceinline__ int64_t at(const GroupNorm<T> &norm, int64_t of_row) const {
        return (sample * norm.rows + of_row) * norm.channels + channel;
    }
    /// A value for each channel from one for each group [batch,groups].
    __device__ __forceinline__ void of_groups(const GroupNorm<T> &norm, const float *values,
                                              float (&to)[N]) const {
        int width = norm.channels / norm.groups;
        UNROLL
        for (int j = 0; j < N; j++)
            to[j] = active ? values[sample * norm.groups + (channel + j) / width] : 0.0f;
    }
    /// A value for each channel from [channels].
    __device__ __forceinline__ void of_channels(const float *values, float (&to)[N]) const {
        UNROLL
        for (int j = 0; j < N; j++) to[j] = active ? values[channel + j] : 0.0f;
    }
};

/// The sum over a block's rows of two values per channel, into the slab's place of `partial`. All
/// threads call it.
template <typename T, int N>
__device__ __forceinline__ void write_sums(const GroupNorm<T> &norm, const Column<T, N> &column,
                                           const float (&first)[N], const float (&second)[N]) {
    SHARED_ARRAY(float, shared, 2 * THREADS * N); // [2,N,THREADS]: neighbours in neighbouring banks
    UNROLL
    for (int j = 0; j < N; j++) {
        shared[j * THREADS + threadIdx.x] = first[j];
        shared[(N + j) * THREADS + threadIdx.x] = second[j];
    }
    __syncthreads();
    float *target =
        norm.partial + (column.sample * norm.slabs + column.slab) * 2 * (int64_t)norm.channels;
    for (int i = (int)threadIdx.x; i < 2 * N * norm.tile_packs; i += THREADS) {
        int which = i / (N * norm.tile_packs), j = i / norm.tile_packs % N;
        int pack = i % norm.tile_packs;
        int channel = ((int)blockIdx.y * norm.tile_packs + pack) * N + j;
        float sum = 0;
        for (int r = 0; r < norm.height; r++)
            sum += shared[(which * N + j) * THREADS + r * norm.tile_packs + pack];
        if (channel < norm.channels) target[which * norm.channels + channel] = sum;
    }
}

/// Sums of d and d^2, d = x - the sample's first row: with an origin inside the data nothing
/// cancels.
template <typename T, int N>
__global__ void __launch_bounds__(THREADS) sum_moments(GroupNorm<T> norm) {
    Column<T, N> column(norm);
    float sum[N] = {}, squares[N] = {}, origin[N] = {};
    if (column.active) load_pack<N>(norm.x + column.at(norm, 0), origin);
    for (int64_t row = column.row; row < column.end; row += norm.height) {
        float x[N];
        load_pack<N>(norm.x + column.at(norm, row), x);
        UNROLL
        for (int j = 0; j < N; j++) {
            float d = x[j] - origin[j];
            sum[j] += d;
            squares[j] += d * d;
        }
    }
    write_sums(norm, column, sum, squares);
}

/// Block: a group of a sample. With x = origin + d, sum (x - mean)^2 = sum d^2 - 2 (mean - origin)
/// sum d + (mean - origin)^2 per element: in double, where the differences may cancel.
template <typename T> __global__ void __launch_bounds__(THREADS) finish_moments(GroupNorm<T> norm) {
    int64_t sample = blockIdx.x / (unsigned)norm.groups;
    int group = (int)(blockIdx.x % (unsigned)norm.groups), width = norm.channels / norm.groups;
    const T *origin = norm.x + sample * norm.rows * norm.channels + group * width;
    const float *partial = norm.partial + sample * norm.slabs * 2 * norm.channels + group * width;
    double count = (double)norm.rows * width, total = 0, distances = 0;
    for (int i = (int)threadIdx.x; i < norm.slabs * width; i += (int)blockDim.x)
        total += (double)partial[(int64_t)(i / width) * 2 * norm.channels + i % width];
    for (int c = (int)threadIdx.x; c < width; c += (int)blockDim.x)
        total += (double)norm.rows * (double)to_float(origin[c]);
    double mean = block_sum_double(total) / count;
    for (int i = (int)threadIdx.x; i < norm.slabs * width; i += (int)blockDim.x) {
        const float *slab = partial + (int64_t)(i / width) * 2 * norm.channels + i % width;
        double shift = mean - (double)to_float(origin[i % width]);
        distances += (double)slab[norm.channels] - 2 * shift * (double)slab[0];
    }
    for (int c = (int)threadIdx.x; c < width; c += (int)blockDim.x) {
        double shift = mean - (double)to_float(origin[c]);
        distances += (double)norm.rows * shift * shift;
    }
    double variance = block_sum_double(distances) / count;
    if (threadIdx.x > 0) return;
    norm.mean[blockIdx.x] = (float)mean;
    norm.rstd[blockIdx.x] = (float)(1.0 / sqrt((variance > 0 ? variance : 0) + (double)norm.eps));
}

template <typename T, int N>
__global__ void __launch_bounds__(THREADS) normalise(GroupNorm<T> norm) {
    Column<T, N> column(norm);
    float mean[N], factor[N], weight[N], bias[N];
    column.of_groups(norm, norm.mean, mean);
    column.of_groups(norm, norm.rstd, factor);
    column.of_channels(norm.weight, weight);
    column.of_channels(norm.bias, bias);
    UNROLL
    for (int j = 0; j < N; j++) factor[j] *= weight[j];
    for (int64_t row = column.row; row < column.end; row += norm.height) {
        float x[N];
        load_pack<N>(norm.x + column.at(norm, row), x);
        UNROLL
        for (int j = 0; j < N; j++) {
            float u = (x[j] - mean[j]) * factor[j] + bias[j];
            x[j] = norm.silu ? u / (1.0f + expf(-u)) : u;
        }
        store_pack<N>(norm.y + column.at(norm, row), x);
    }
}

// ---- backward

/// A thread's channels in backward. With xhat = (x - mean) rstd, u = xhat w + b and y = silu(u) or
/// u:
///   g = grad_y y'(u) w,  grad_x = rstd (g - average(g) - xhat average(g xhat)), averages over the
///   group.
template <int N> struct Coefficients {
    float mean[N], rstd[N], weight[N], bias[N];

    template <typename T>
    __device__ __forceinline__ Coefficients(const GroupNorm<T> &norm, const Column<T, N> &column) {
        column.of_groups(norm, norm.mean, mean);
        column.of_groups(norm, norm.rstd, rstd);
        column.of_channels(norm.weight, weight);
        column.of_channels(norm.bias, bias);
    }
    __device__ __forceinline__ float xhat(int j, float x) const { return (x - mean[j]) * rstd[j]; }
    /// g
    __device__ __forceinline__ float inner(int j, float xhat, float grad, bool silu) const {
        if (silu) {
            float u = xhat * weight[j] + bias[j], s = 1.0f / (1.0f + expf(-u));
            grad *= s + u * s * (1.0f - s);
        }
        return grad * weight[j];
    }
};

/// Sums of g and g xhat.
template <typename T, int N>
__global__ void __launch_bounds__(THREADS) sum_gradients(GroupNorm<T> norm) {
    Column<T, N> column(norm);
    Coefficients<N> k(norm, column);
    float sum[N] = {}, product[N] = {};
    for (int64_t row = column.row; row < column.end; row += norm.height) {
        float x[N], grad[N];
        load_pack<N>(norm.x + column.at(norm, row), x);
        load_pack<N>(norm.grad_y + column.at(norm, row), grad);
        UNROLL
        for (int j = 0; j < N; j++) {
            float xhat = k.xhat(j, x[j]), g = k.inner(j, xhat, grad[j], norm.silu);
            sum[j] += g;
            product[j] += g * xhat;
        }
    }
    write_sums(norm, column, sum, product);
}

/// Block: a group of a sample.
template <typename T>
__global__ void __launch_bounds__(THREADS) finish_gradients(GroupNorm<T> norm) {
    int64_t sample = blockIdx.x / (unsigned)norm.groups;
    int group = (int)(blockIdx.x % (unsigned)norm.groups), width = norm.channels / norm.groups;
    const float *partial = norm.partial + sample * norm.slabs * 2 * norm.channels + group * width;
    double count = (double)norm.rows * width, sum = 0, product = 0;
    for (int i = (int)threadIdx.x; i < norm.slabs * width; i += (int)blockDim.x) {
        const float *slab = partial + (int64_t)(i / width) * 2 * norm.channels + i % width;
        sum += (double)slab[0];
        product += (double)slab[norm.channels];
    }
    sum = block_sum_double(sum);
    product = block_sum_double(product);
    if (threadIdx.x > 0) return;
    norm.average[blockIdx.x] = (float)(sum / count);
    norm.slope[blockIdx.x] = (float)(product / count);
}

template <typename T, int N>
__global__ void __launch_bounds__(THREADS) write_gradients(GroupNorm<T> norm) {
    Column<T, N> column(norm);
    Coefficients<N> k(norm, column);
    float average[N], slope[N];
    column.of_groups(norm, norm.average, average);
    column.of_groups(norm, norm.slope, slope);
    for (int64_t row = column.row; row < column.end; row += norm.height) {
        float x[N], grad[N];
        load_pack<N>(norm.x + column.at(norm, row), x);
        load_pack<N>(norm.grad_y + column.at(norm, row), grad);
        UNROLL
        for (int j = 0; j < N; j++) {
            float xhat = k.xhat(j, x[j]), g = k.inner(j, xhat, grad[j], norm.silu);
            x[j] = k.rstd[j] * (g - average[j] - xhat * slope[j]);
        }
        store_pack<N>(norm.y + column.at(norm, row), x);
    }
}

// ---- the calls

/// How a block's threads lie over packs and rows, and how many rows a slab has.
template <typename T, int N> void divide(GroupNorm<T> &norm) {
    int64_t packs = norm.channels / N, tiles = ceil_divide(packs, THREADS);
    norm.tile_packs = (int)ceil_divide(packs, tiles);
    norm.height = THREADS / norm.tile_packs;
    norm.slab_rows = ceil_divide(norm.rows, MAX_SLABS);
    int64_t least = (int64_t)ROWS_PER_THREAD * norm.height;
    if (norm.slab_rows < least) norm.slab_rows = least;
    norm.slabs = (int)ceil_divide(norm.rows, norm.slab_rows);
}

template <typename T, int N> void launch(GroupNorm<T> norm, const Tensor *like) {
    divide<T, N>(norm);
    cudaStream_t stream = stream_of(like);
    size_t sets = (size_t)(norm.batch * norm.groups);
    Workspace partial(like, (size_t)(norm.batch * norm.slabs * 2 * norm.channels) * sizeof(float));
    Workspace statistics(like, 2 * sets * sizeof(float));
    norm.partial = partial.as<float>();
    int64_t summands = (int64_t)norm.slabs * (norm.channels / norm.groups), most = THREADS;
    int64_t threads = ceil_divide(summands < most ? summands : most, 32) * 32;
    dim3 grid((unsigned)(norm.batch * norm.slabs),
              (unsigned)ceil_divide(norm.channels / N, norm.tile_packs));
    if (norm.grad_y) {
        norm.average = statistics.as<float>();
        norm.slope = norm.average + sets;
        LAUNCH((sum_gradients<T, N>), grid, THREADS, 0, stream, norm);
        LAUNCH(finish_gradients<T>, (unsigned)sets, (unsigned)threads, 0, stream, norm);
        LAUNCH((write_gradients<T, N>), grid, THREADS, 0, stream, norm);
    } else {
        if (!norm.mean) norm.mean = statistics.as<float>();
        if (!norm.rstd) norm.rstd = statistics.as<float>() + sets;
        LAUNCH((sum_moments<T, N>), grid, THREADS, 0, stream, norm);
        LAUNCH(finish_moments<T>, (unsigned)sets, (unsigned)threads, 0, stream, norm);
        LAUNCH((normalise<T, N>), grid, THREADS, 0, stream, norm);
    }
}

template <typename T> void run(GroupNorm<T> norm, const Tensor *x) {
    norm.batch = x->shape[0];
    norm.channels = (int)tensor_columns(x);
    if (tensor_numel(x) == 0) return;
    norm.rows = tensor_rows(x) / norm.batch;
    if (norm.channels % pack_size<T> == 0 && all_aligned(norm.x, norm.grad_y, norm.y))
        launch<T, pack_size<T>>(norm, x);
    else
        launch<T, 1>(norm, x);
}

void group_norm(const Tensor *x, const Tensor *weight, const Tensor *bias, int groups, float eps,
                bool silu, Tensor *y, Tensor *mean, Tensor *rstd) {
    WITH_TYPE(x->dtype, T, {
        GroupNorm<T> norm = {};
        norm.x = data_of<T>(x);
        norm.weight = data_of<float>(weight);
        norm.bias = data_of<float>(bias);
        norm.y = data_of<T>(y);
        norm.groups = groups;
        norm.eps = eps;
        norm.silu = silu;
        norm.mean = data_or_null<float>(mean);
        norm.rstd = data_or_null<float>(rstd);
        run(norm, x);
    });
}

void group_norm_gradient(const Tensor *x, const Tensor *weight, const Tensor *bias, int groups,
                         bool silu, const Tensor *mean, const Tensor *rstd, const Tensor *grad_y,
                         Tensor *grad_x) {
    WITH_TYPE(x->dtype, T, {
        GroupNorm<T> norm = {};
        norm.x = data_of<T>(x);
        norm.grad_y = data_of<T>(grad_y);
        norm.weight = data_of<float>(weight);
        norm.bias = data_of<float>(bias);
        norm.y = data_of<T>(grad_x);
        norm.groups = groups;
        norm.silu = silu;
        // Only read in backward.
        norm.mean = static_cast<float *>(mean->data);
        norm.rstd = static_cast<float *>(rstd->data);
        run(norm, x);
    });
}

} // namespace

FILL_FAMILY(group_norm)
