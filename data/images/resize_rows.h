/// Changing a picture's size while its rows come, from the top: image_resize_part()
/// (data/images/resize.h) without the picture. What is held are the rows that the filter reaches
/// over: about 4 rows of the picture, and 4 * (its height / the new height) + 9 of the new width.
#pragma once
#include <stdbool.h>
#include <stdint.h>

typedef enum ResizeFilter { RESIZE_BILINEAR, RESIZE_BICUBIC } ResizeFilter;

/// One colour of `width` x `height` pixels, on which the picture lies, whole, with its corner at
/// `left`, `top`.
typedef struct ResizeCanvas {
    int width, height;
    int left, top;
    uint8_t colour[3];
} ResizeCanvas;

/// Of what an image was resized to.
typedef struct ResizePart {
    int left, top;
    int width, height;
} ResizePart;

typedef struct RowResizer RowResizer;

/// Of a picture of `picture_width` x `picture_height` on the canvas, which is resized to `width` x
/// `height`, of which the part is made. All sizes are positive, and the part lies within.
RowResizer *row_resizer_new(int picture_width, int picture_height, const ResizeCanvas *canvas,
                            int width, int height, const ResizePart *part, ResizeFilter filter);
void row_resizer_free(RowResizer *resizer);

/// Where the picture's next row is to be written, [picture_width, 3]; any place behind the last.
uint8_t *row_resizer_row(RowResizer *resizer);
/// It has been written. What can be made of the rows so far is to be taken before the next one.
void row_resizer_put(RowResizer *resizer);
/// Makes the next row of the part, [part's width, 3]; false if it needs rows that are still to
/// come, or there is none.
bool row_resizer_take(RowResizer *resizer, uint8_t *out);
