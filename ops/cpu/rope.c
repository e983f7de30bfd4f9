// Rotary embedding, row by row.
#include "ops/cpu/chunk.h"
#include "ops/cpu/cpu.h"

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

static void rope(const Tensor *x, const Tensor *rotations, bool transposed, Tensor *y) {
    int64_t rows = tensor_rows(x), columns = tensor_columns(x);
    int64_t head_dim = tensor_columns(rotations), half = head_dim / 2;
    int64_t heads_per_chunk = CHUNK / head_dim;
    PARALLEL_FOR(rows * columns)
    for (int64_t row = 0; row < rows; row++) {
        float x_buffer[CHUNK], y_buffer[CHUNK];
        const float *cosines = (const float *)rotations->data + row * head_dim;
        for (int64_t first = 0; first < columns; first += heads_per_chunk * head_dim) {
            int64_t length = heads_per_chunk * head_dim;
            length = columns - first < length ? columns - first : length;
            int64_t start = row * columns + first;
            const float *from = chunk_read(x, start, length, x_buffer);
            float *to = chunk_target(y, start, y_buffer);
            rotate(from, cosines, cosines + half, length / head_dim, half, transposed ? -1 : 1, to);
            chunk_write(y, start, length, to);
        }
    }
}

FILL_FAMILY(rope)
