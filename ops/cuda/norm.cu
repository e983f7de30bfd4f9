// Norms over rows: layer_norm and rms_norm, also of a residual sum. A row belongs to a warp if it
// is short, else to a block; its threads read it once into registers, where the statistics take two
// passes (mean, then squared distances from it), so nothing cancels. Rows that cannot be read 16
// bytes at a time are read again from the cache instead. Column sums are taken over slabs of rows,
// whose number depends on the shape alone, and the slabs are added in order.
#include "ops/cuda/reduce.h"

namespace {

enum {
    /// as on the CPU: twice as wide as the widest published Llama
    MAX_COLUMNS = 16384,
    WARP_ROWS_THREADS = 128,
    MAX_THREADS = 1024,
    /// elements of a row that a thread can hold
    HELD = MAX_COLUMNS / MAX_THREADS,
    /// column sums: packs side by side ...
    COLUMN_LANES = 32,
    /// ... and rows at a time in a block
    ROW_LANES = 8,
    MAX_SLABS = 128,
    MIN_SLAB_ROWS = 32,
};

/// One call: forward (grad_y NULL) or backward. rms_norm is layer_norm with mean 0, which is not
/// subtracted.
template <typename T> struct Norm {
    const T *x, *grad_y;
    /// in packs, forward: x + added is stored in `sum` and normalised as stored
    const T *added;
    T *sum;
    /// NULL: ones, zeros
    const float *weight, *bias;
    int64_t rows;
    int columns;
    float eps;
    bool centred;
    /// or grad_x
    T *y;
    /// forward: NULL if not wanted
    float *mean, *rstd;
};

template <bool WARP> __device__ __forceinline__ float team_sum(float x) {
    return WARP ? warp_sum(x) : block_sum(x);
}

/// The threads of a row, and the rows that they take.
template <bool WARP> struct Team {
    int size, lane;
    int64_t row, step;
    __device__ Team()
        : size(WARP ? 32 : (int)blockDim.x), lane((int)threadIdx.x % size),
          row((int64_t)blockIdx.x * (blockDim.x / size) + threadIdx.x / size),
          step((int64_t)gridDim.x * (blockDim.x / size)) {}
};

/// A thread's part of a row: packs lane, lane + size, ... of `count`, kept in registers.
template <typename T, int N> struct Part {
    static constexpr int most = HELD / N;
    Pack<T, N> packs[most];
    int lane, size, count;

    __device__ __forceinline__ Part(const T *row, int team_lane, int team_size, int columns)
        : lane(team_lane), size(team_size), count(columns / N) {
        const Pack<T, N> *from = reinterpret_cast<const Pack<T, N> *>(row);
        UNROLL
        for (int i = 0; i < most; i++)
            if (at(i) < count) packs[i] = from[at(i)];
    }
    /// Becomes this + added, rounded, and stores it.
    __device__ __forceinline__ void add(const T *added, T *sum) {
        const Pack<T, N> *from = reinterpret_cast<const Pack<T, N> *>(added);
        Pack<T, N> *to = reinterpret_cast<Pack<T, N> *>(sum);
        UNROLL
        for (int i = 0; i < most; i++) {
            if (at(i) >= count) continue;
            Pack<T, N> other = from[at(i)];
            UNROLL
            for (int j = 0; j < N; j++)
                packs[i].values[j] = from_float<T>(value(i, j) + to_float(other.values[j]));
            to[at(i)] = packs[i];
        }
    }
    __device__ __forceinline__ int steps() const { return most; }
    __device__ __forceinline__ int at(int i) const { return i * size + lane; }
    __device__ __forceinline__ float value(int i, int j) const {
        return to_float(packs[i].values[j]);
    }
};

/// Single elements: nothing is kept, there may be many.
template <typename T> struct Part<T, 1> {
    const T *row;
    int lane, size, count;

    __device__ __forceinline__ Part(const T *from, int team_lane, int team_size, int columns)
        : row(from), lane(team_lane), size(team_size), count(columns) {}
    __device__ __forceinline__ int steps() const { return (count + size - 1) / size; }
    __device__ __forceinline__ int at(int i) const { return i * size + lane; }
    __device__ __forceinline__ float value(int i, int) const { return to_float(row[at(i)]); }
};

template <bool WARP, typename T, int N>
__device__ __forceinline__ float sum_of(const Part<T, N> &x) {
    float sum = 0;
    for (int i = 0; i < x.steps(); i++) {
        if (x.at(i) >= x.count) continue;
        UNROLL
        for (int j = 0; j < N; j++) sum += x.value(i, j);
    }
    return team_sum<WARP>(sum);
}

template <bool WARP, typename T, int N>
__device__ __forceinline__ float squares_of(const Part<T, N> &x, float centre) {
    float sum = 0;
    for (int i = 0; i < x.steps(); i++) {
        if (x.at(i) >= x.count) continue;
        UNROLL
        for (int j = 0; j < N; j++) sum += (x.value(i, j) - centre) * (x.value(i, j) - centre);
    }
    return team_sum<WARP>(sum);
}

/// (x - mean) rstd weight + bias.
template <typename T, int N>
__device__ __forceinline__ void write_normalised(const Norm<T> &norm, const Part<T, N> &x,
                                                 float mean, float rstd, T *y) {
    for (int i = 0; i < x.steps(); i++) {
        int first = x.at(i) * N;
        if (first >= norm.columns) continue;
        float w[N], b[N], out[N];
        load_floats<N>(norm.weight ? norm.weight + first : nullptr, 1.0f, w);
        load_floats<N>(norm.bias ? norm.bias + first : nullptr, 0.0f, b);
        UNROLL
        for (int j = 0; j < N; j++) out[j] = (x.value(i, j) - mean) * rstd * w[j] + b[j];
        store_pack<N>(y + first, out);
    }
}

template <typename T, int N, bool WARP>
__global__ void __launch_bounds__(WARP ? WARP_ROWS_THREADS : MAX_THREADS) norm_rows(Norm<T> norm) {
    Team<WARP> team;
    for (int64_t row = team.row; row < norm.rows; row += team.step) {
        Part<T, N> x(norm.x + row * norm.columns, team.lane, team.size, norm.columns);
        if constexpr (N > 1) {
            int64_t at = row * norm.columns;
            if (norm.added) x.add(norm.added + at, norm.sum + at);
        }
        float n = (float)norm.columns;
        float mean = norm.centred ? sum_of<WARP>(x) / n : 0.0f;
        float rstd = 1.0f / sqrtf(squares_of<WARP>(x, mean) / n + norm.eps);
        write_normalised(norm, x, mean, rstd, norm.y + row * norm.columns);
        if (team.lane == 0 && norm.mean) norm.mean[row] = mean;
        if (team.lane == 0 && norm.rstd) norm.rstd[row] = rstd;
    }
}

/// With xhat = (x - mean) rstd and g = grad_y weight:
///   grad_x = rstd (g - average(g) - xhat average(g xhat)),
/// for rms_norm without average(g).
template <typename T, int N, bool WARP>
__global__ void __launch_bounds__(WARP ? WARP_ROWS_THREADS : MAX_THREADS)
    norm_rows_gradient(Norm<T> norm) {
    Team<WARP> team;
    for (int64_t row = team.row; row < norm.rows; row += team.step) {
        Part<T, N> x(norm.x + row * norm.columns, team.lane, team.size, norm.columns);
        Part<T, N> grad(norm.grad_y + row * norm.columns, team.lane, team.size, norm.columns);
        float mean = norm.centred ? norm.mean[row] : 0.0f, rstd = norm.rstd[row];
        float sum = 0, product = 0;
        for (int i = 0; i < x.steps(); i++) {
            if (x.at(i) >= x.count) continue;
            float w[N];
            load_floats<N>(norm.weight ? norm.weight + x.at(i) * N : nullptr, 1.0f, w);
            UNROLL
            for (int j = 0; j < N; j++) {
                float g = grad.value(i, j) * w[j];
                sum += g;
                product += g * ((x.value(i, j) - mean) * rstd);
            }
        }
        float average = norm.centred ? team_sum<WARP>(sum) / (float)norm.columns : 0.0f;
        float slope = team_sum<WARP>(product) / (float)norm.columns;
        for (int i = 0; i < x.steps(); i++) {
            if (x.at(i) >= x.count) continue;
            float w[N], out[N];
            load_floats<N>(norm.weight ? norm.weight + x.at(i) * N : nullptr, 1.0f, w);
            UNROLL
            for (int j = 0; j < N; j++) {
                float xhat = (x.value(i, j) - mean) * rstd;
                out[j] = rstd * (grad.value(i, j) * w[j] - average - xhat * slope);
            }
            store_pack<N>(norm.y + row * norm.columns + x.at(i) * N, out);
        }
    }
}

/// How many threads take a row of so many packs of N elements: few, while each can hold its part.
/// Single elements are not held.
template <int N> int team_size(int packs) {
    constexpr int few = N > 1 ? 2 : HELD / 2, most = HELD / N;
    return packs <= 32 * few     ? 32
           : packs <= 128 * few  ? 128
           : packs <= 256 * most ? 256
                                 : MAX_THREADS;
}

template <typename T, int N> void launch(const Norm<T> &norm, cudaStream_t stream) {
    int team = team_size<N>(norm.columns / N), threads = team == 32 ? WARP_ROWS_THREADS : team;
    int64_t blocks = ceil_divide(norm.rows, threads / team);
    unsigned grid = (unsigned)(blocks < INT32_MAX ? blocks : INT32_MAX);
    if (norm.grad_y && team == 32)
        LAUNCH((norm_rows_gradient<T, N, true>), grid, threads, 0, stream, norm);
    else if (norm.grad_y)
        LAUNCH((norm_rows_gradient<T, N, false>), grid, threads, 0, stream, norm);
    else if (team == 32)
        LAUNCH((norm_rows<T, N, true>), grid, threads, 0, stream, norm);
    else
        LAUNCH((norm_rows<T, N, false>), grid, threads, 0, stream, norm);
}

int norm_columns(const Tensor *x) {
    int64_t columns = tensor_columns(x);
    CHECK(columns >= 1 && columns <= MAX_COLUMNS, "norm over %s: up to %d channels",
          tensor_describe(x), MAX_COLUMNS);
    return (int)columns;
}

/// Whether rows are moved 16 bytes at a time.
template <typename T> bool in_packs(const Norm<T> &norm) {
    return norm.columns % pack_size<T> == 0 &&
           all_aligned(norm.x, norm.added, norm.sum, norm.grad_y, norm.weight, norm.bias, norm.y);
}

template <typename T> void run(Norm<T> norm, const Tensor *like) {
    norm.rows = tensor_rows(like);
    norm.columns = norm_columns(like);
    if (norm.rows == 0) return;
    if (in_packs(norm))
        launch<T, pack_size<T>>(norm, stream_of(like));
    else
        launch<T, 1>(norm, stream_of(like));
}

// ---- gradients of weight and bias

/// The sums over rows of grad_y xhat and of grad_y.
template <typename T> struct ColumnSums {
    const T *x, *grad_y;
    const float *mean, *rstd;
    int64_t rows, slab_rows;
    int columns, slabs;
    /// [slabs,2,C]
    float *partial;
};

/// Block (tile, slab): 32 packs of columns over one slab of rows.
template <typename T, int N>
__global__ void __launch_bounds__(COLUMN_LANES *ROW_LANES) sum_slabs(ColumnSums<T> sums) {
    SHARED_ARRAY(float, shared, 2 * ROW_LANES * COLUMN_LANES * N);
    int lane = (int)threadIdx.x % COLUMN_LANES, row_lane = (int)threadIdx.x / COLUMN_LANES;
    int column = ((int)blockIdx.x * COLUMN_LANES + lane) * N;
    int64_t begin = blockIdx.y * sums.slab_rows, end = begin + sums.slab_rows;
    if (end > sums.rows) end = sums.rows;
    float of_weight[N] = {}, of_bias[N] = {};
    if (column < sums.columns)
        for (int64_t row = begin + row_lane; row < end; row += ROW_LANES) {
            float x[N], grad[N], mean = sums.mean[row], rstd = sums.rstd[row];
            load_pack<N>(sums.x + row * sums.columns + column, x);
            load_pack<N>(sums.grad_y + row * sums.columns + column, grad);
            UNROLL
            for (int j = 0; j < N; j++) {
                of_weight[j] += grad[j] * ((x[j] - mean) * rstd);
                of_bias[j] += grad[j];
            }
        }
    // [2,ROW_LANES,N,COLUMN_LANES]: neighbouring lanes in neighbouring banks
    UNROLL
    for (int j = 0; j < N; j++) {
        shared[(row_lane * N + j) * COLUMN_LANES + lane] = of_weight[j];
        shared[((ROW_LANES + row_lane) * N + j) * COLUMN_LANES + lane] = of_bias[j];
    }
    __syncthreads();
    for (int i = (int)threadIdx.x; i < 2 * N * COLUMN_LANES; i += COLUMN_LANES * ROW_LANES) {
        int which = i / (N * COLUMN_LANES), j = i / COLUMN_LANES % N, from = i % COLUMN_LANES;
        int target = ((int)blockIdx.x * COLUMN_LANES + from) * N + j;
        float sum = 0;
        for (int r = 0; r < ROW_LANES; r++)
            sum += shared[((which * ROW_LANES + r) * N + j) * COLUMN_LANES + from];
        if (target < sums.columns)
            sums.partial[((int64_t)blockIdx.y * 2 + which) * sums.columns + target] = sum;
    }
}

/// sum [C] += the slabs' sums: partial points at the first slab's.
__global__ void __launch_bounds__(COLUMN_LANES *ROW_LANES)
    add_slabs(const float *partial, int slabs, int columns, float *sum) {
    SHARED_ARRAY(float, shared, ROW_LANES *COLUMN_LANES);
    int lane = (int)threadIdx.x % COLUMN_LANES, part = (int)threadIdx.x / COLUMN_LANES;
    int column = (int)blockIdx.x * COLUMN_LANES + lane;
    float own = 0;
    if (column < columns)
        for (int slab = part; slab < slabs; slab += ROW_LANES)
            own += partial[(int64_t)slab * 2 * columns + column];
    shared[part * COLUMN_LANES + lane] = own;
    __syncthreads();
    if (part > 0 || column >= columns) return;
    float total = 0;
    for (int i = 0; i < ROW_LANES; i++) total += shared[i * COLUMN_LANES + lane];
    sum[column] += total;
}

template <typename T, int N> void launch_sums(const ColumnSums<T> &sums, cudaStream_t stream) {
    dim3 grid((unsigned)ceil_divide(sums.columns / N, COLUMN_LANES), (unsigned)sums.slabs);
    LAUNCH((sum_slabs<T, N>), grid, COLUMN_LANES * ROW_LANES, 0, stream, sums);
}

template <typename T>
void parameter_gradients(ColumnSums<T> sums, const Tensor *x, Tensor *grad_weight,
                         Tensor *grad_bias) {
    sums.rows = tensor_rows(x);
    sums.columns = norm_columns(x);
    if (sums.rows == 0) return;
    sums.slab_rows = ceil_divide(sums.rows, MAX_SLABS);
    if (sums.slab_rows < MIN_SLAB_ROWS) sums.slab_rows = MIN_SLAB_ROWS;
    sums.slabs = (int)ceil_divide(sums.rows, sums.slab_rows);
    Workspace workspace(x, (size_t)sums.slabs * 2 * (size_t)sums.columns * sizeof(float));
    sums.partial = workspace.as<float>();
    if (sums.columns % pack_size<T> == 0 && all_aligned(sums.x, sums.grad_y))
        launch_sums<T, pack_size<T>>(sums, stream_of(x));
    else
        launch_sums<T, 1>(sums, stream_of(x));
    Tensor *const outputs[] = {grad_weight, grad_bias};
    for (int i = 0; i < 2; i++)
        if (outputs[i])
            LAUNCH(add_slabs, (unsigned)ceil_divide(sums.columns, COLUMN_LANES),
                   COLUMN_LANES * ROW_LANES, 0, stream_of(x), sums.partial + i * sums.columns,
                   sums.slabs, sums.columns, data_of<float>(outputs[i]));
}

// ---- the table

/// The norm of x, or of a + b, which is stored in `sum`.
struct Input {
    /// or a
    const Tensor *x;
    /// NULL: x alone
    const Tensor *b;
    Tensor *sum;
};

/// Rows that are not moved in packs are added before, by add() itself: the order of a row's sums is
/// then that of the sum's own norm.
template <typename T> void run_forward(Norm<T> norm, const Input &input, const Tensor *y) {
    norm.x = data_of<T>(input.x);
    norm.columns = norm_columns(y);
    if (input.b) {
        norm.added = data_of<T>(input.b);
        norm.sum = data_of<T>(input.sum);
    }
    if (norm.added && !in_packs(norm)) {
        kernels(y)->add(input.x, input.b, input.sum);
        norm.x = norm.sum;
        norm.added = nullptr;
    }
    run(norm, y);
}

void layer_norm_of(const Input &input, const Tensor *weight, const Tensor *bias, float eps,
                   Tensor *y, Tensor *mean, Tensor *rstd) {
    WITH_TYPE(y->dtype, T, {
        Norm<T> norm = {};
        norm.weight = data_or_null<float>(weight);
        norm.bias = data_or_null<float>(bias);
        norm.eps = eps;
        norm.centred = true;
        norm.y = data_of<T>(y);
        norm.mean = data_or_null<float>(mean);
        norm.rstd = data_or_null<float>(rstd);
        run_forward(norm, input, y);
    });
}

void layer_norm(const Tensor *x, const Tensor *weight, const Tensor *bias, float eps, Tensor *y,
                Tensor *mean, Tensor *rstd) {
    layer_norm_of({x, nullptr, nullptr}, weight, bias, eps, y, mean, rstd);
}

void add_layer_norm(const Tensor *a, const Tensor *b, const Tensor *weight, const Tensor *bias,
                    float eps, Tensor *sum, Tensor *y, Tensor *mean, Tensor *rstd) {
    layer_norm_of({a, b, sum}, weight, bias, eps, y, mean, rstd);
}

void rms_norm_of(const Input &input, const Tensor *weight, float eps, Tensor *y, Tensor *rstd) {
    WITH_TYPE(y->dtype, T, {
        Norm<T> norm = {};
        norm.weight = data_of<float>(weight);
        norm.eps = eps;
        norm.y = data_of<T>(y);
        norm.rstd = data_or_null<float>(rstd);
        run_forward(norm, input, y);
    });
}

void rms_norm(const Tensor *x, const Tensor *weight, float eps, Tensor *y, Tensor *rstd) {
    rms_norm_of({x, nullptr, nullptr}, weight, eps, y, rstd);
}

void add_rms_norm(const Tensor *a, const Tensor *b, const Tensor *weight, float eps, Tensor *sum,
                  Tensor *y, Tensor *rstd) {
    rms_norm_of({a, b, sum}, weight, eps, y, rstd);
}

/// mean NULL: rms_norm.
template <typename T>
void input_gradient(const Tensor *x, const Tensor *weight, const Tensor *mean, const Tensor *rstd,
                    const Tensor *grad_y, Tensor *grad_x) {
    Norm<T> norm = {};
    norm.x = data_of<T>(x);
    norm.grad_y = data_of<T>(grad_y);
    norm.weight = data_or_null<float>(weight);
    norm.centred = mean != nullptr;
    norm.y = data_of<T>(grad_x);
    // Only read in backward.
    norm.mean = mean ? static_cast<float *>(mean->data) : nullptr;
    norm.rstd = static_cast<float *>(rstd->data);
    run(norm, x);
}

void layer_norm_gradient(const Tensor *x, const Tensor *weight, const Tensor *mean,
                         const Tensor *rstd, const Tensor *grad_y, Tensor *grad_x,
                         Tensor *grad_weight, Tensor *grad_bias) {
    WITH_TYPE(x->dtype, T, {
        if (grad_weight || grad_bias) {
            ColumnSums<T> sums = {};
            sums.x = data_of<T>(x);
            sums.grad_y = data_of<T>(grad_y);
            sums.mean = data_of<float>(mean);
            sums.rstd = data_of<float>(rstd);
            parameter_gradients(sums, x, grad_weight, grad_bias);
        }
        if (grad_x) input_gradient<T>(x, weight, mean, rstd, grad_y, grad_x);
    });
}

void rms_norm_gradient(const Tensor *x, const Tensor *weight, const Tensor *rstd,
                       const Tensor *grad_y, Tensor *grad_x) {
    WITH_TYPE(x->dtype, T, input_gradient<T>(x, weight, nullptr, rstd, grad_y, grad_x));
}

} // namespace

FILL_FAMILY(norm)
