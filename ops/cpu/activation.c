// Activations and gates. Each is a loop over chunks around one straight-line function.
#include "ops/cpu/chunk.h"
#include "ops/cpu/cpu.h"
#include "ops/cpu/float_math.h"

static inline float gelu_value(float x) { return x * fast_normal(x).cumulative; }
/// d/dx x Phi(x) = Phi(x) + x phi(x).
static inline float gelu_slope(float x) {
    Normal normal = fast_normal(x);
    return normal.cumulative + x * normal.density;
}

/// 0.5 (1 + tanh(u)) = s(2u): the tail keeps its relative accuracy, which 1 + tanh would lose to
/// cancellation. s(2u) is 0 or 1 from |x| = 12 on, where u is held so that 0 is not multiplied by
/// infinity.
static const float tanh_linear = 1.59576912f;  // 2 sqrt(2/pi)
static const float tanh_cubic = 0.0713548163f; // that times 0.044715
static inline float gelu_tanh_clamp(float x) {
    x = x < -12.0f ? -12.0f : x;
    return x > 12.0f ? 12.0f : x;
}
static inline float gelu_tanh_value(float x) {
    float c = gelu_tanh_clamp(x);
    return x * fast_sigmoid(c * (tanh_linear + tanh_cubic * c * c));
}
/// d/dx x s(2u) = s + x s (1 - s) 2u'.
static inline float gelu_tanh_slope(float x) {
    float c = gelu_tanh_clamp(x), square = c * c;
    float s = fast_sigmoid(c * (tanh_linear + tanh_cubic * square));
    return s + c * s * (1.0f - s) * (tanh_linear + 3.0f * tanh_cubic * square);
}

static inline float silu_value(float x) { return x * fast_sigmoid(x); }
/// d/dx x s(x) = s + x s (1 - s).
static inline float silu_slope(float x) {
    float s = fast_sigmoid(x);
    return s + x * s * (1.0f - s);
}

static const float quick_factor = 1.702f;
static inline float quick_gelu_value(float x) { return x * fast_sigmoid(quick_factor * x); }
static inline float quick_gelu_slope(float x) {
    float s = fast_sigmoid(quick_factor * x);
    return s + quick_factor * x * s * (1.0f - s);
}

static inline float relu_value(float x) { return x < 0.0f ? 0.0f : x; }
static inline float relu_slope(float x) { return x > 0.0f ? 1.0f : 0.0f; }

static void values(Activation kind, const float *x, int64_t n, float *y) {
    if (kind == GELU) {
#pragma omp simd
        for (int64_t i = 0; i < n; i++) y[i] = gelu_value(x[i]);
    } else if (kind == GELU_TANH) {
#pragma omp simd
        for (int64_t i = 0; i < n; i++) y[i] = gelu_tanh_value(x[i]);
    } else if (kind == QUICK_GELU) {
#pragma omp simd
        for (int64_t i = 0; i < n; i++) y[i] = quick_gelu_value(x[i]);
    } else if (kind == RELU) {
#pragma omp simd
        for (int64_t i = 0; i < n; i++) y[i] = relu_value(x[i]);
    } else {
#pragma omp simd
        for (int64_t i = 0; i < n; i++) y[i] = silu_value(x[i]);
    }
}

/// grad_x = grad_y * slope(x).
static void gradients(Activation kind, const float *x, const float *grad_y, int64_t n,
                      float *grad_x) {
    if (kind == GELU) {
#pragma omp simd
        for (int64_t i = 0; i < n; i++) grad_x[i] = grad_y[i] * gelu_slope(x[i]);
    } else if (kind == GELU_TANH) {
#pragma omp simd
        for (int64_t i = 0; i < n; i++) grad_x[i] = grad_y[i] * gelu_tanh_slope(x[i]);
    } else if (kind == QUICK_GELU) {
#pragma omp simd
        for (int64_t i = 0; i < n; i++) grad_x[i] = grad_y[i] * quick_gelu_slope(x[i]);
    } else if (kind == RELU) {
#pragma omp simd
        for (int64_t i = 0; i < n; i++) grad_x[i] = grad_y[i] * relu_slope(x[i]);
    } else {
#pragma omp simd
        for (int64_t i = 0; i < n; i++) grad_x[i] = grad_y[i] * silu_slope(x[i]);
    }
}

static void activation(Activation kind, const Tensor *x, Tensor *y) {
    int64_t n = tensor_numel(x);
    PARALLEL_FOR(n)
    for (int64_t chunk = 0; chunk < chunk_count(n, CHUNK); chunk++) {
        float x_buffer[CHUNK], y_buffer[CHUNK];
        int64_t first = chunk * CHUNK, length = chunk_length(n, CHUNK, chunk);
        float *out = chunk_target(y, first, y_buffer);
        values(kind, chunk_read(x, first, length, x_buffer), length, out);
        chunk_write(y, first, length, out);
    }
}

static void activation_gradient(Activation kind, const Tensor *x, const Tensor *grad_y,
                                Tensor *grad_x) {
    int64_t n = tensor_numel(x);
    PARALLEL_FOR(n)
    for (int64_t chunk = 0; chunk < chunk_count(n, CHUNK); chunk++) {
        float x_buffer[CHUNK], grad_y_buffer[CHUNK], grad_x_buffer[CHUNK];
        int64_t first = chunk * CHUNK, length = chunk_length(n, CHUNK, chunk);
        float *out = chunk_target(grad_x, first, grad_x_buffer);
        gradients(kind, chunk_read(x, first, length, x_buffer),
                  chunk_read(grad_y, first, length, grad_y_buffer), length, out);
        chunk_write(grad_x, first, length, out);
    }
}

// ---- gates. A gated pair is a run of `gate` beside a run of `up`; for geglu both lie in one row
// of x.

/// Cuts [rows,columns] into pieces of at most CHUNK columns: piece p is `length` columns from
/// `column` of `row`.
typedef struct Piece {
    int64_t row, column, length;
} Piece;

static int64_t piece_count(int64_t rows, int64_t columns) {
    return rows * chunk_count(columns, CHUNK);
}

static Piece piece_at(int64_t columns, int64_t p) {
    int64_t per_row = chunk_count(columns, CHUNK), i = p % per_row;
    return (Piece){p / per_row, i * CHUNK, chunk_length(columns, CHUNK, i)};
}

static void geglu(const Tensor *x, Tensor *y) {
    int64_t rows = tensor_rows(y), columns = tensor_columns(y);
    PARALLEL_FOR(rows * columns)
    for (int64_t p = 0; p < piece_count(rows, columns); p++) {
        float up_buffer[CHUNK], gate_buffer[CHUNK], y_buffer[CHUNK];
        Piece piece = piece_at(columns, p);
        int64_t in = piece.row * 2 * columns + piece.column, first = in - piece.row * columns;
        const float *up = chunk_read(x, in, piece.length, up_buffer);
        const float *gate = chunk_read(x, in + columns, piece.length, gate_buffer);
        float *out = chunk_target(y, first, y_buffer);
#pragma omp simd
        for (int64_t i = 0; i < piece.length; i++) out[i] = up[i] * gelu_value(gate[i]);
        chunk_write(y, first, piece.length, out);
    }
}

static void geglu_gradient(const Tensor *x, const Tensor *grad_y, Tensor *grad_x) {
    int64_t rows = tensor_rows(grad_y), columns = tensor_columns(grad_y);
    PARALLEL_FOR(rows * columns)
    for (int64_t p = 0; p < piece_count(rows, columns); p++) {
        float up_buffer[CHUNK], gate_buffer[CHUNK], grad_buffer[CHUNK];
        float grad_up_buffer[CHUNK], grad_gate_buffer[CHUNK];
        Piece piece = piece_at(columns, p);
        int64_t in = piece.row * 2 * columns + piece.column, first = in - piece.row * columns;
        const float *up = chunk_read(x, in, piece.length, up_buffer);
        const float *gate = chunk_read(x, in + columns, piece.length, gate_buffer);
        const float *grad = chunk_read(grad_y, first, piece.length, grad_buffer);
        float *grad_up = chunk_target(grad_x, in, grad_up_buffer);
        float *grad_gate = chunk_target(grad_x, in + columns, grad_gate_buffer);
#pragma omp simd
        for (int64_t i = 0; i < piece.length; i++) {
            Normal normal = fast_normal(gate[i]);
            grad_up[i] = grad[i] * gate[i] * normal.cumulative;
            grad_gate[i] = grad[i] * up[i] * (normal.cumulative + gate[i] * normal.density);
        }
        chunk_write(grad_x, in, piece.length, grad_up);
        chunk_write(grad_x, in + columns, piece.length, grad_gate);
    }
}

static void swiglu(const Tensor *gate, const Tensor *up, Tensor *y) {
    int64_t n = tensor_numel(gate);
    PARALLEL_FOR(n)
    for (int64_t chunk = 0; chunk < chunk_count(n, CHUNK); chunk++) {
        float gate_buffer[CHUNK], up_buffer[CHUNK], y_buffer[CHUNK];
        int64_t first = chunk * CHUNK, length = chunk_length(n, CHUNK, chunk);
        const float *g = chunk_read(gate, first, length, gate_buffer);
        const float *u = chunk_read(up, first, length, up_buffer);
        float *out = chunk_target(y, first, y_buffer);
#pragma omp simd
        for (int64_t i = 0; i < length; i++) out[i] = silu_value(g[i]) * u[i];
        chunk_write(y, first, length, out);
    }
}

static void swiglu_gradient(const Tensor *gate, const Tensor *up, const Tensor *grad_y,
                            Tensor *grad_gate, Tensor *grad_up) {
    int64_t n = tensor_numel(gate);
    PARALLEL_FOR(n)
    for (int64_t chunk = 0; chunk < chunk_count(n, CHUNK); chunk++) {
        float gate_buffer[CHUNK], up_buffer[CHUNK], grad_buffer[CHUNK];
        float grad_gate_buffer[CHUNK], grad_up_buffer[CHUNK];
        int64_t first = chunk * CHUNK, length = chunk_length(n, CHUNK, chunk);
        const float *g = chunk_read(gate, first, length, gate_buffer);
        const float *u = chunk_read(up, first, length, up_buffer);
        const float *grad = chunk_read(grad_y, first, length, grad_buffer);
        float *out_gate =
            grad_gate ? chunk_target(grad_gate, first, grad_gate_buffer) : grad_gate_buffer;
        float *out_up = grad_up ? chunk_target(grad_up, first, grad_up_buffer) : grad_up_buffer;
#pragma omp simd
        for (int64_t i = 0; i < length; i++) {
            float s = fast_sigmoid(g[i]), slope = s + g[i] * s * (1.0f - s);
            out_gate[i] = grad[i] * u[i] * slope;
            out_up[i] = grad[i] * g[i] * s;
        }
        if (grad_gate) chunk_write(grad_gate, first, length, out_gate);
        if (grad_up) chunk_write(grad_up, first, length, out_up);
    }
}

FILL_FAMILY(activation)
