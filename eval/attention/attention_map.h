/// From attention rows to points: attend-and-segment's reading of attention (arXiv 2410.08209,
/// section 3.2).
#pragma once
#include "autograd/error.h"
#include "data/images/preprocess.h"

typedef enum GroupReduction { REDUCE_MEAN, REDUCE_MAX, REDUCE_FIRST } GroupReduction;

typedef struct Point {
    /// pixels of the original image
    int row, column;
} Point;

/// Which square of the image's plane the visual tokens cover, in pixels of the original image.
/// Padded images: side max(H,W) and offsets <= 0; centre-cropped ones: side min(H,W) and offsets >=
/// 0.
typedef struct TokenSquare {
    double side, top, left;
} TokenSquare;

/// The square that a preprocessed picture shows.
TokenSquare token_square(const ImageGeometry *geometry);

/// A_i - mean over j of A_j, j over all output tokens: maps [num_tokens][num_cells] in place.
void attention_normalise(float *maps, int num_tokens, int num_cells);

/// Reduces the maps of the listed tokens to one: mean, maximum per cell, or the first's. num_listed
/// >= 1.
void attention_group(const float *maps, int num_cells, const int *tokens, int num_listed,
                     GroupReduction reduction, float *out);

/// Upsamples a map [grid,grid] bicubically (as PyTorch, align_corners=false, a=-0.75) to the
/// square's side in pixels, keeps what lies in the image, and writes it to out [height*width];
/// pixels outside of the square get the smallest value.
void attention_to_pixels(const float *map, int grid, TokenSquare square, int height, int width,
                         float *out);

/// The first largest value in row-major order.
Point attention_argmax(const float *pixels, int height, int width);
