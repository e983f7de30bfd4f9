// Two bilinear steps make each pixel from four logits along each axis, with weights that are
// products of both steps'. The picture in the square between them is never made.
#include "models/sam/sam.h"

#include <math.h>
#include <stdlib.h>

/// Two neighbours and their weights, as torch interpolate(align_corners=False) has them.
typedef struct Pair {
    int index[2];
    float weight[2];
} Pair;

static Pair bilinear(int position, int input, float scale) {
    float source = scale * ((float)position + 0.5f) - 0.5f;
    source = source < 0 ? 0 : source;
    int below = (int)source < input - 1 ? (int)source : input - 1;
    float t = source - (float)below;
    return (Pair){{below, below < input - 1 ? below + 1 : below}, {1 - t, t}};
}

/// One axis's four logits of a pixel.
typedef struct Taps {
    int index[4];
    float weight[4];
} Taps;

/// Of `original` pixels: from `side` logits to `square` pixels, the first `framed` of them, and
/// from there.
static Taps *make_taps(int side, int square, int framed, int original) {
    Taps *taps = checked_malloc((size_t)original * sizeof *taps);
    for (int i = 0; i < original; i++) {
        Pair outer = bilinear(i, framed, (float)framed / (float)original);
        for (int a = 0; a < 2; a++) {
            Pair inner = bilinear(outer.index[a], side, (float)side / (float)square);
            for (int b = 0; b < 2; b++) {
                taps[i].index[2 * a + b] = inner.index[b];
                taps[i].weight[2 * a + b] = outer.weight[a] * inner.weight[b];
            }
        }
    }
    return taps;
}

void sam_upscale_logits(const float *logits, int side, int square, SamFrame frame, float *out) {
    const int64_t width = frame.original_width;
    Taps *columns = make_taps(side, square, frame.width, frame.original_width);
    Taps *rows = make_taps(side, square, frame.height, frame.original_height);
    float *wide = checked_malloc((size_t)(side * width) * sizeof *wide);
    for (int64_t y = 0; y < side; y++)
        for (int64_t x = 0; x < width; x++) {
            const float *row = logits + y * side, *weight = columns[x].weight;
            const int *index = columns[x].index;
            wide[y * width + x] = (weight[0] * row[index[0]] + weight[1] * row[index[1]]) +
                                  (weight[2] * row[index[2]] + weight[3] * row[index[3]]);
        }
    for (int64_t y = 0; y < frame.original_height; y++) {
        const float *weight = rows[y].weight, *from[4];
        for (int i = 0; i < 4; i++) from[i] = wide + rows[y].index[i] * width;
        for (int64_t x = 0; x < width; x++)
            out[y * width + x] = (weight[0] * from[0][x] + weight[1] * from[1][x]) +
                                 (weight[2] * from[2][x] + weight[3] * from[3][x]);
    }
    free(wide);
    free(rows);
    free(columns);
}
