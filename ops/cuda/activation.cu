// Activations and gates, computed in float32: straight-line functions of an element, between loads
// and stores of 16 bytes.
#include "ops/cuda/elements.h"

// ---- the functions: value() and slope(), its derivative

static __device__ __forceinline__ float sigmoid(float x) { return 1.0f / (1.0f + expf(-x)); }

/// The standard normal distribution: density phi(x) and cumulative Phi(x).
struct Normal {
    float density, cumulative;
};

/// Phi(-z) = e^(-z^2/2) p(1 / (1 + z/4)), p the polynomial of ops/cpu/float_math.h: the tail keeps
/// its relative accuracy, which 1 + erf would lose to cancellation.
static __device__ __forceinline__ Normal normal_distribution(float x) {
    float z = fabsf(x), e = expf(-0.5f * z * z), t = 1.0f / fmaf(0.25f, z, 1.0f);
    float p = 3.39465087e-2f;
    p = fmaf(p, t, -1.96176192e-1f);
    p = fmaf(p, t, 3.94998855e-1f);
    p = fmaf(p, t, -3.33465930e-1f);
    p = fmaf(p, t, 3.04484220e-1f);
    p = fmaf(p, t, -2.03826866e-2f);
    p = fmaf(p, t, 1.21567486e-1f);
    p = fmaf(p, t, 9.48203443e-2f);
    p = fmaf(p, t, 1.00228988e-1f);
    p = fmaf(p, t, -2.15995593e-5f);
    float tail = e * p;
    return {0.398942280f * e, x > 0.0f ? 1.0f - tail : tail};
}

/// x Phi(x); its derivative is Phi(x) + x phi(x).
struct Gelu {
    static __device__ __forceinline__ float value(float x) {
        return x * normal_distribution(x).cumulative;
    }
    static __device__ __forceinline__ float slope(float x) {
        Normal normal = normal_distribution(x);
        return normal.cumulative + x * normal.density;
    }
};

/// x s(2u) with u = sqrt(2/pi) (x + 0.044715 x^3), since 0.5 (1 + tanh(u)) = s(2u), whose tail
/// keeps its relative accuracy. Its derivative is s + x s (1 - s) 2u'. s(2u) is 0 or 1 from |x| =
/// 12 on, where u is held so that 0 is not multiplied by infinity.
struct GeluTanh {
    static constexpr float linear = 1.59576912f;  // 2 sqrt(2/pi)
    static constexpr float cubic = 0.0713548163f; // that times 0.044715
    static __device__ __forceinline__ float clamp(float x) {
        x = x < -12.0f ? -12.0f : x; // NaN stays
        return x > 12.0f ? 12.0f : x;
    }
    static __device__ __forceinline__ float value(float x) {
        float c = clamp(x);
        return x * sigmoid(c * fmaf(cubic, c * c, linear));
    }
    static __device__ __forceinline__ float slope(float x) {
        float c = clamp(x), square = c * c, s = sigmoid(c * fmaf(cubic, square, linear));
        return s + c * s * (1.0f - s) * fmaf(3.0f * cubic, square, linear);
    }
};

/// x s(f x), s the sigmoid; its derivative is s + f x s (1 - s).
struct QuickGelu {
    static constexpr float factor = 1.702f;
    static __device__ __forceinline__ float value(float x) { return x * sigmoid(factor * x); }
    static __device__ __forceinline__ float slope(float x) {
        float s = sigmoid(factor * x);
        return s + factor * x * s * (1.0f - s);
    }
};

struct Silu {
    static __device__ __forceinline__ float value(float x) { return x * sigmoid(x); }
    static __device__ __forceinline__ float slope(float x) {
        float s = sigmoid(x);
        return s + x * s * (1.0f - s);
    }
};

struct Relu {
    static __device__ __forceinline__ float value(float x) { return x < 0.0f ? 0.0f : x; }
    static __device__ __forceinline__ float slope(float x) { return x > 0.0f ? 1.0f : 0.0f; }
};

#define WITH_ACTIVATION(kind, F, ...)      \
    do {                                   \
        if ((kind) == GELU) {              \
            using F = Gelu;                \
            __VA_ARGS__;                   \
        } else if ((kind) == GELU_TANH) {  \
            using F = GeluTanh;            \
            __VA_ARGS__;                   \
        } else if ((kind) == QUICK_GELU) { \
            using F = QuickGelu;           \
            __VA_ARGS__;                   \
        } else if ((kind) == RELU) {       \
            using F = Relu;                \
            __VA_ARGS__;                   \
        } else {                           \
            using F = Silu;                \
            __VA_ARGS__;                   \
        }                                  \
    } while (0)

// ---- activations

template <typename F> struct ValueOf {
    __device__ __forceinline__ float operator()(float x) const { return F::value(x); }
};
template <typename F> struct GradientOf {
    __device__ __forceinline__ float operator()(float x, float grad) const {
        return grad * F::slope(x);
    }
};

static void activation(Activation kind, const Tensor *x, Tensor *y) {
    WITH_TYPE(x->dtype, T, WITH_ACTIVATION(kind, F, {
                  map(x, ValueOf<F>(), data_of<T>(x), data_of<T>(y), tensor_numel(x));
              }));
}

static void activation_gradient(Activation kind, const Tensor *x, const Tensor *grad_y,
                                Tensor *grad_x) {
    int64_t n = tensor_numel(x);
    WITH_TYPE(x->dtype, T, WITH_ACTIVATION(kind, F, {
                  map_rows(x, GradientOf<F>(), Rows<const T>{data_of<T>(x), n},
                           Rows<const T>{data_of<T>(grad_y), n}, Rows<T>{data_of<T>(grad_x), n}, 1,
                           n);
              }));
}

// ---- gates: y = up * f(gate)

template <typename F> struct Gated {
    __device__ __forceinline__ float operator()(float up, float gate) const {
        return up * F::value(gate);
    }
};

template <typename T> struct GateRows {
    Rows<const T> gate, up, grad_y;
    Rows<T> grad_gate, grad_up;
};

template <int N, typename F, typename T>
static __global__ void gate_gradient_kernel(GateRows<T> p, int64_t rows, int64_t columns) {
    FOR_ROWS(row, rows)
        FOR_COLUMNS(i, columns / N) {
            float gate[N], up[N], grad[N], grad_gate[N], grad_up[N];
            load_pack<N>(p.gate.data + row * p.gate.stride + i * N, gate);
            load_pack<N>(p.up.data + row * p.up.stride + i * N, up);
            load_pack<N>(p.grad_y.data + row * p.grad_y.stride + i * N, grad);
            UNROLL
            for (int j = 0; j < N; j++) {
                grad_gate[j] = grad[j] * up[j] * F::slope(gate[j]);
                grad_up[j] = grad[j] * F::value(gate[j]);
            }
            if (p.grad_gate.data)
                store_pack<N>(p.grad_gate.data + row * p.grad_gate.stride + i * N, grad_gate);
            if (p.grad_up.data)
                store_pack<N>(p.grad_up.data + row * p.grad_up.stride + i * N, grad_up);
        }
}

/// The last columns % N elements of a row are left out by packs, so packs are for rows without
/// such.
template <typename F, typename T>
static void gate_gradient(const Tensor *like, GateRows<T> p, int64_t rows, int64_t columns) {
    if (rows == 0 || columns == 0) return;
    constexpr int N = pack_length(sizeof(T));
    bool packs = columns % N == 0 && packs_fit<N>(p.gate, rows) && packs_fit<N>(p.up, rows) &&
                 packs_fit<N>(p.grad_y, rows) && packs_fit<N>(p.grad_gate, rows) &&
                 packs_fit<N>(p.grad_up, rows);
    RowGrid grid = row_grid(like, 1, rows, packs ? columns / N : columns);
    if (packs)
        LAUNCH((gate_gradient_kernel<N, F, T>), grid.grid, grid.block, 0, stream_of(like), p, rows,
               columns);
    else
        LAUNCH((gate_gradient_kernel<1, F, T>), grid.grid, grid.block, 0, stream_of(like), p, rows,
               columns);
}

static void geglu(const Tensor *x, Tensor *y) {
    int64_t rows = tensor_rows(y), columns = tensor_columns(y);
    WITH_TYPE(x->dtype, T, {
        const T *in = data_of<T>(x);
        map_rows(x, Gated<Gelu>(), Rows<const T>{in, 2 * columns},
                 Rows<const T>{in + columns, 2 * columns}, Rows<T>{data_of<T>(y), columns}, rows,
                 columns);
    });
}

static void geglu_gradient(const Tensor *x, const Tensor *grad_y, Tensor *grad_x) {
    int64_t rows = tensor_rows(grad_y), columns = tensor_columns(grad_y);
    WITH_TYPE(x->dtype, T, {
        const T *in = data_of<T>(x);
        T *out = data_of<T>(grad_x);
        gate_gradient<Gelu>(x,
                            GateRows<T>{{in + columns, 2 * columns},
                                        {in, 2 * columns},
                                        {data_of<T>(grad_y), columns},
                                        {out + columns, 2 * columns},
                                        {out, 2 * columns}},
                            rows, columns);
    });
}

static void swiglu(const Tensor *gate, const Tensor *up, Tensor *y) {
    int64_t n = tensor_numel(gate);
    WITH_TYPE(gate->dtype, T, {
        map_rows(gate, Gated<Silu>(), Rows<const T>{data_of<T>(up), n},
                 Rows<const T>{data_of<T>(gate), n}, Rows<T>{data_of<T>(y), n}, 1, n);
    });
}

static void swiglu_gradient(const Tensor *gate, const Tensor *up, const Tensor *grad_y,
                            Tensor *grad_gate, Tensor *grad_up) {
    int64_t n = tensor_numel(gate);
    WITH_TYPE(gate->dtype, T, {
        gate_gradient<Silu>(gate,
                            GateRows<T>{{data_of<T>(gate), n},
                                        {data_of<T>(up), n},
                                        {data_of<T>(grad_y), n},
                                        {data_or_null<T>(grad_gate), n},
                                        {data_or_null<T>(grad_up), n}},
                            1, n);
    });
}

FILL_FAMILY(activation)
