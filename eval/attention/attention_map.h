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

/// Which part of the image's plane the visual tokens cover, in pixels of the original image. Padded
/// images: a square of side max(H,W), top and left <= 0; centre-cropped ones: of side min(H,W), top
/// and left >= 0; images that were resized without padding (other models): height x width.
typedef struct TokenFrame {
    double height, width, top, left;
} TokenFrame;

/// The square that a preprocessed picture shows.
TokenFrame token_frame(const ImageGeometry *geometry);

/// How a model that is not ours saw pictures: padded to a square of side max(H,W), at (side - H) /
/// 2 and (side - W) / 2, rounded down; or resized as a whole.
typedef enum PictureGeometry { PICTURE_PADDED, PICTURE_WHOLE } PictureGeometry;
/// What its visual tokens cover, in whole pixels.
TokenFrame token_frame_of_picture(PictureGeometry geometry, int height, int width);

/// Maps of `rows` x `columns` cells, row-major.
typedef struct CellGrid {
    int rows, columns;
} CellGrid;

/// A_i - mean over j of A_j, j over all output tokens: maps [num_tokens][num_cells] in place.
void attention_normalise(float *maps, int num_tokens, int num_cells);

/// The smallest value of a map.
float attention_smallest(const float *map, CellGrid grid);
/// Sets the four corner cells of a map, where attention sinks, to this value, in place.
void attention_set_corners(float *map, CellGrid grid, float value);

/// Reduces the maps of the listed tokens to one: mean, maximum per cell, or the first's. num_listed
/// >= 1.
void attention_group(const float *maps, int num_cells, const int *tokens, int num_listed,
                     GroupReduction reduction, float *out);

/// Upsamples a map bicubically (as PyTorch, align_corners=false, a=-0.75) to the frame's size in
/// pixels, keeps what lies in the image, and writes it to out [height*width]; pixels outside of the
/// frame get the smallest value.
void attention_to_pixels(const float *map, CellGrid grid, TokenFrame frame, int height, int width,
                         float *out);

/// The first largest value in row-major order.
Point attention_argmax(const float *pixels, int height, int width);
