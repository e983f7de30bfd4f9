#include "eval/attention/attention_map.h"

#include "data/images/resize.h"

#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

TokenFrame token_frame(const ImageGeometry *geometry) {
    return (TokenFrame){geometry->size / geometry->scale_y, geometry->size / geometry->scale_x,
                        -geometry->offset_y / geometry->scale_y,
                        -geometry->offset_x / geometry->scale_x};
}

TokenFrame token_frame_of_picture(PictureGeometry geometry, int height, int width) {
    if (geometry == PICTURE_WHOLE) return (TokenFrame){height, width, 0, 0};
    int side = height > width ? height : width, top = (side - height) / 2,
        left = (side - width) / 2;
    return (TokenFrame){side, side, -top, -left};
}

void attention_normalise(float *maps, int num_tokens, int num_cells) {
    for (int c = 0; c < num_cells; c++) {
        double sum = 0;
        for (int t = 0; t < num_tokens; t++) sum += maps[(size_t)t * (size_t)num_cells + (size_t)c];
        float average = (float)(sum / num_tokens);
        for (int t = 0; t < num_tokens; t++)
            maps[(size_t)t * (size_t)num_cells + (size_t)c] -= average;
    }
}

float attention_smallest(const float *map, CellGrid grid) {
    float smallest = FLT_MAX;
    for (int c = 0; c < grid.rows * grid.columns; c++) smallest = fminf(smallest, map[c]);
    return smallest;
}

void attention_set_corners(float *map, CellGrid grid, float value) {
    int cells = grid.rows * grid.columns;
    map[0] = map[grid.columns - 1] = map[cells - grid.columns] = map[cells - 1] = value;
}

void attention_group(const float *maps, int num_cells, const int *tokens, int num_listed,
                     GroupReduction reduction, float *out) {
    CHECK(num_listed >= 1, "a phrase of %d tokens", num_listed);
    for (int c = 0; c < num_cells; c++) {
        float value = maps[(size_t)tokens[0] * (size_t)num_cells + (size_t)c];
        for (int i = 1; i < num_listed && reduction != REDUCE_FIRST; i++) {
            float other = maps[(size_t)tokens[i] * (size_t)num_cells + (size_t)c];
            value = reduction == REDUCE_MEAN ? value + other : fmaxf(value, other);
        }
        out[c] = reduction == REDUCE_MEAN ? value / (float)num_listed : value;
    }
}

void attention_to_pixels(const float *map, CellGrid grid, TokenFrame frame, int height, int width,
                         float *out) {
    int rows = (int)lround(frame.height), columns = (int)lround(frame.width),
        top = (int)lround(frame.top), left = (int)lround(frame.left);
    float *upsampled = checked_malloc((size_t)rows * (size_t)columns * sizeof *upsampled);
    resize_bicubic_float(map, grid.rows, grid.columns, upsampled, rows, columns);
    float smallest = FLT_MAX;
    for (size_t i = 0; i < (size_t)rows * (size_t)columns; i++)
        smallest = fminf(smallest, upsampled[i]);
    for (int y = 0; y < height; y++)
        for (int x = 0; x < width; x++) {
            int v = y - top, u = x - left;
            bool inside = v >= 0 && u >= 0 && v < rows && u < columns;
            out[(size_t)y * (size_t)width + (size_t)x] =
                inside ? upsampled[(size_t)v * (size_t)columns + (size_t)u] : smallest;
        }
    free(upsampled);
}

Point attention_argmax(const float *pixels, int height, int width) {
    size_t best = 0;
    for (size_t i = 1; i < (size_t)height * (size_t)width; i++)
        if (pixels[i] > pixels[best]) best = i;
    return (Point){(int)(best / (size_t)width), (int)(best % (size_t)width)};
}
