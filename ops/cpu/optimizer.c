// AdamW and the gradient norm. All FLOAT32.
#include "ops/cpu/chunk.h"
#include "ops/cpu/cpu.h"

#include <math.h>
#include <stdlib.h>

static double sum_squares_of(const Tensor *x) {
    int64_t n = tensor_numel(x), chunks = chunk_count(n, CHUNK);
    double *partial = checked_malloc((size_t)(chunks + 1) * sizeof *partial);
    PARALLEL_FOR(n)
    for (int64_t chunk = 0; chunk < chunks; chunk++) {
        const float *in = (const float *)x->data + chunk * CHUNK;
        double squares = 0;
#pragma omp simd reduction(+ : squares)
        for (int64_t i = 0; i < chunk_length(n, CHUNK, chunk); i++)
            squares += (double)in[i] * (double)in[i];
        partial[chunk] = squares;
    }
    double sum = 0;
    for (int64_t chunk = 0; chunk < chunks; chunk++) sum += partial[chunk];
    free(partial);
    return sum;
}

static void sum_squares(int count, Tensor *const *x, double *sum) {
    *sum = 0;
    for (int i = 0; i < count; i++) *sum += sum_squares_of(x[i]);
}

/// The constants of a step, worked out in double. The decay is subtracted rather than multiplied as
/// 1 - decay, which as a float would be off by the same fraction at every step.
typedef struct Constants {
    float decay, step_size, inverse_root_correction;
} Constants;

static Constants constants_of(const AdamW *step) {
    double t = (double)step->step, rate = (double)step->learning_rate;
    return (Constants){
        .decay = (float)(rate * (double)step->weight_decay),
        .step_size = (float)(rate / (1.0 - pow((double)step->beta1, t))),
        .inverse_root_correction = (float)(1.0 / sqrt(1.0 - pow((double)step->beta2, t))),
    };
}

static void adamw_one(const AdamW *step, Constants constants, const AdamWTensors *tensors) {
    int64_t n = tensor_numel(tensors->parameter);
    float beta1 = step->beta1, rest1 = (float)(1.0 - (double)step->beta1);
    float beta2 = step->beta2, rest2 = (float)(1.0 - (double)step->beta2);
    const float *grad = tensors->gradient ? tensors->gradient->data : NULL;
    float *m = tensors->exp_avg->data, *v = tensors->exp_avg_sq->data;
    float *p = tensors->parameter->data;
    PARALLEL_FOR(n)
    for (int64_t chunk = 0; chunk < chunk_count(n, CHUNK); chunk++) {
        int64_t first = chunk * CHUNK, end = first + chunk_length(n, CHUNK, chunk);
#pragma omp simd
        for (int64_t i = first; i < end; i++) {
            float g = grad ? grad[i] * step->gradient_scale : 0.0f;
            m[i] = beta1 * m[i] + rest1 * g;
            v[i] = beta2 * v[i] + rest2 * g * g;
            float root = sqrtf(v[i]) * constants.inverse_root_correction + step->epsilon;
            p[i] -= constants.decay * p[i] + constants.step_size * m[i] / root;
        }
    }
}

static void adamw(const AdamW *step, int count, const AdamWTensors *tensors) {
    Constants constants = constants_of(step);
    for (int i = 0; i < count; i++) adamw_one(step, constants, &tensors[i]);
}

FILL_FAMILY(optimizer)
