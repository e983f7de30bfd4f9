#include "data/images/resize.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

Image image_resize_part(const Image *image, const ResizeCanvas *canvas, int width, int height,
                        const ResizePart *part, ResizeFilter filter) {
    const size_t row = 3 * (size_t)image->width;
    RowResizer *resizer =
        row_resizer_new(image->width, image->height, canvas, width, height, part, filter);
    Image result = image_new(part->width, part->height);
    uint8_t *out = result.pixels;
    for (int y = 0; y < image->height; y++) {
        memcpy(row_resizer_row(resizer), image->pixels + (size_t)y * row, row);
        row_resizer_put(resizer);
        while (row_resizer_take(resizer, out)) out += 3 * (size_t)part->width;
    }
    row_resizer_free(resizer);
    return result;
}

Image image_resize(const Image *image, int width, int height, ResizeFilter filter) {
    return image_resize_part(image, &(ResizeCanvas){.width = image->width, .height = image->height},
                             width, height, &(ResizePart){0, 0, width, height}, filter);
}

/// The four taps around an output position: clamped input indices and weights.
typedef struct Taps {
    int index[4];
    float weight[4];
} Taps;

static Taps cubic_taps(int position, int input, int output) {
    const float a = -0.75f, scale = (float)input / (float)output;
    const float source = scale * ((float)position + 0.5f) - 0.5f, below = floorf(source);
    const float t = source - below;
    Taps taps;
    for (int k = 0; k < 4; k++) {
        int index = (int)below - 1 + k;
        float d = fabsf(t + 1 - (float)k);
        taps.index[k] = index < 0 ? 0 : index >= input ? input - 1 : index;
        taps.weight[k] = d <= 1 ? ((a + 2) * d - (a + 3)) * d * d + 1
                                : ((a * d - 5 * a) * d + 8 * a) * d - 4 * a;
    }
    return taps;
}

void resize_bicubic_float(const float *x, int height, int width, float *out, int out_height,
                          int out_width) {
    Taps *columns = checked_malloc((size_t)out_width * sizeof *columns);
    for (int j = 0; j < out_width; j++) columns[j] = cubic_taps(j, width, out_width);
    for (int i = 0; i < out_height; i++) {
        const Taps rows = cubic_taps(i, height, out_height);
        for (int j = 0; j < out_width; j++) {
            float sum = 0;
            for (int r = 0; r < 4; r++) {
                const float *row = x + (int64_t)rows.index[r] * width;
                float line = 0;
                for (int k = 0; k < 4; k++) line += columns[j].weight[k] * row[columns[j].index[k]];
                sum += rows.weight[r] * line;
            }
            out[(int64_t)i * out_width + j] = sum;
        }
    }
    free(columns);
}
