// Rotary embedding. Angles are taken in double (position times a frequency loses digits that matter at large positions) and
// their sines kept, per position: every layer and every head asks for the same ones.
#include "ops/cpu/chunk.h"
#include "ops/cpu/cpu.h"

#include <math.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

typedef struct Rotations {
    int head_dim;
    float theta;
    int64_t positions; ///< how many are filled
    float *values;     ///< [positions][2][head_dim / 2]: cosines, then sines
} Rotations;

static Rotations rotations;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

/// Makes the table reach `positions`, for this geometry. Called with the lock held.
static void rotations_reach(int64_t positions, int head_dim, float theta) {
    Rotations *r = &rotations;
    if (r->head_dim != head_dim || memcmp(&r->theta, &theta, sizeof theta) != 0) r->positions = 0;
    if (r->positions >= positions) return;
    int64_t half = head_dim / 2, reach = positions + positions / 4;
    r->values = checked_realloc(r->values, (size_t)(reach * head_dim) * sizeof *r->values);
    for (int64_t i = 0; i < half; i++) {
        double frequency = pow((double)theta, -2.0 * (double)i / head_dim);
        for (int64_t position = r->positions; position < reach; position++) {
            double angle = (double)position * frequency;
            r->values[position * head_dim + i] = (float)cos(angle);
            r->values[position * head_dim + half + i] = (float)sin(angle);
        }
    }
    *r = (Rotations){head_dim, theta, reach, r->values};
}

/// One row: [x1, x2] of each head to [x1 cos - x2 sin, x2 cos + x1 sin]; sign -1 turns back.
static void rotate(const float *x, const float *cosines, const float *sines, int64_t heads,
                   int64_t half, float sign, float *restrict y) {
    for (int64_t head = 0; head < heads; head++) {
        const float *first = x + head * 2 * half, *second = first + half;
        float *y_first = y + head * 2 * half, *y_second = y_first + half;
        for (int64_t i = 0; i < half; i++) {
            float s = sign * sines[i];
            y_first[i] = first[i] * cosines[i] - second[i] * s;
            y_second[i] = second[i] * cosines[i] + first[i] * s;
        }
    }
}

static void rope(const Tensor *x, const Tensor *positions, int head_dim, float theta, bool inverse,
                 Tensor *y) {
    int64_t rows = tensor_numel(positions), columns = tensor_columns(x), half = head_dim / 2;
    const int32_t *at = positions->data;
    int64_t last = -1;
    for (int64_t row = 0; row < rows; row++) {
        CHECK(at[row] >= 0, "rope: position %d", at[row]);
        last = at[row] > last ? at[row] : last;
    }
    int64_t heads_per_chunk = CHUNK / head_dim;
    pthread_mutex_lock(&lock);
    rotations_reach(last + 1, head_dim, theta);
    PARALLEL_FOR(rows * columns)
    for (int64_t row = 0; row < rows; row++) {
        float x_buffer[CHUNK], y_buffer[CHUNK];
        const float *cosines = rotations.values + at[row] * (int64_t)head_dim;
        for (int64_t first = 0; first < columns; first += heads_per_chunk * head_dim) {
            int64_t length = heads_per_chunk * head_dim;
            length = columns - first < length ? columns - first : length;
            int64_t start = row * columns + first;
            const float *from = chunk_read(x, start, length, x_buffer);
            float *to = chunk_target(y, start, y_buffer);
            rotate(from, cosines, cosines + half, length / head_dim, half, inverse ? -1 : 1, to);
            chunk_write(y, start, length, to);
        }
    }
    pthread_mutex_unlock(&lock);
}

void LEVEL_NAME(fill_rope)(Kernels *table) { table->rope = rope; }
