#include "data/images/preprocess.h"
#include "data/images/image_codecs.h"
#include "data/images/image_rows.h"
#include "data/images/resize.h"

#include <stdlib.h>
#include <string.h>

enum { CHANNELS = 3, LEVELS = 256 };

/// Of u = pixel / 255.
typedef struct ChannelStatistics {
    float mean[CHANNELS], std[CHANNELS];
} ChannelStatistics;

static const ChannelStatistics STATISTICS[] = {
    [IMAGE_NORMALIZATION_HALF] = {{0.5f, 0.5f, 0.5f}, {0.5f, 0.5f, 0.5f}},
    // OPENAI_CLIP_MEAN and OPENAI_CLIP_STD of transformers, whatever the vision tower's own are
    [IMAGE_NORMALIZATION_CLIP_TWICE] = {{0.48145466f, 0.4578275f, 0.40821073f},
                                        {0.26862954f, 0.26130258f, 0.27577711f}},
};

/// A square that is made of the rows that come.
typedef struct Square {
    const ImageView *view;
    ImageGeometry *geometry;
    /// NULL: the picture is refused, which is said when all of it was seen to be sound
    RowResizer *resizer;
    Error refusal;
    /// the next row of numbers
    float *out;
    /// [size, 3]
    uint8_t *row;
    /// what numbers stand for the levels of a channel
    float values[CHANNELS][LEVELS];
} Square;

static bool center_crop(Square *square, int picture_width, int picture_height) {
    // The long edge is cut to an integer, as the reference does, so the two scales may differ
    // slightly.
    ImageGeometry *geometry = square->geometry;
    const int size = square->view->size;
    const bool wide = picture_width > picture_height;
    const int64_t shorter = wide ? picture_height : picture_width;
    const int64_t longer = wide ? picture_width : picture_height;
    const int64_t resized = (int64_t)((double)(size * longer) / (double)shorter);
    if (!image_check_size((uint64_t)resized, (uint64_t)size, "after resizing its shortest edge",
                          &square->refusal))
        return false;
    const int width = wide ? (int)resized : size, height = wide ? size : (int)resized;
    const int left = (width - size) / 2, top = (height - size) / 2;
    const ResizeCanvas canvas = {.width = picture_width, .height = picture_height};
    square->resizer = row_resizer_new(picture_width, picture_height, &canvas, width, height,
                                      &(ResizePart){left, top, size, size}, RESIZE_BICUBIC);
    geometry->scale_x = (double)width / picture_width;
    geometry->scale_y = (double)height / picture_height;
    geometry->offset_x = -left;
    geometry->offset_y = -top;
    return true;
}

static bool pad(Square *square, int picture_width, int picture_height) {
    ImageGeometry *geometry = square->geometry;
    const int size = square->view->size;
    const int side = picture_width > picture_height ? picture_width : picture_height;
    if (!image_check_size((uint64_t)side, (uint64_t)side, "after padding to a square",
                          &square->refusal))
        return false;
    const int left = (side - picture_width) / 2, top = (side - picture_height) / 2;
    ResizeCanvas canvas = {side, side, left, top, {0}};
    for (int c = 0; c < CHANNELS; c++)
        canvas.colour[c] = (uint8_t)(255 * STATISTICS[square->view->normalization].mean[c]);
    square->resizer = row_resizer_new(picture_width, picture_height, &canvas, size, size,
                                      &(ResizePart){0, 0, size, size}, RESIZE_BICUBIC);
    geometry->scale_x = geometry->scale_y = (double)size / side;
    geometry->offset_x = left * geometry->scale_x;
    geometry->offset_y = top * geometry->scale_y;
    return true;
}

static void fill_values(Square *square) {
    const ChannelStatistics *of = &STATISTICS[square->view->normalization];
    for (int c = 0; c < CHANNELS; c++)
        for (int i = 0; i < LEVELS; i++)
            square->values[c][i] = ((float)(i * (1 / 255.0)) - of->mean[c]) / of->std[c];
}

/// Makes the rows of numbers that can be made.
static void make_numbers(Square *square) {
    const int size = square->view->size;
    while (row_resizer_take(square->resizer, square->row)) {
        for (int x = 0; x < size; x++)
            for (int c = 0; c < CHANNELS; c++)
                square->out[CHANNELS * x + c] = square->values[c][square->row[CHANNELS * x + c]];
        square->out += CHANNELS * size;
    }
}

static void begin_square(ImageSink *sink, int width, int height) {
    Square *square = sink->context;
    const ImageView *view = square->view;
    *square->geometry =
        (ImageGeometry){.original_width = width, .original_height = height, .size = view->size};
    if (view->aspect == IMAGE_PAD ? pad(square, width, height)
                                  : center_crop(square, width, height)) {
        square->row = checked_malloc(CHANNELS * (size_t)view->size);
        fill_values(square);
        sink->row = row_resizer_row(square->resizer);
    } else {
        error_context(&square->refusal, "a picture of %d x %d pixels", width, height);
        sink->row = square->row = checked_malloc(CHANNELS * (size_t)width);
    }
}

static void put_in_square(ImageSink *sink) {
    Square *square = sink->context;
    if (!square->resizer) return;
    row_resizer_put(square->resizer);
    make_numbers(square);
    sink->row = row_resizer_row(square->resizer);
}

static void put_image(ImageSink *sink, const Image *image) {
    const size_t row = CHANNELS * (size_t)image->width;
    sink->begin(sink, image->width, image->height);
    for (int y = 0; y < image->height; y++) {
        memcpy(sink->row, image->pixels + (size_t)y * row, row);
        sink->put(sink);
    }
}

static void take_in_square(ImageSink *sink, Image *image) {
    put_image(sink, image);
    image_free(image);
}

static ImageSink sink_of(Square *square) {
    return (ImageSink){
        .begin = begin_square, .put = put_in_square, .take = take_in_square, .context = square};
}

/// Nothing of a picture that is damaged or refused stays.
static bool finish(Square *square, bool is_decoded, float *out, Error *error) {
    const bool is_refused = is_decoded && !square->resizer;
    const size_t side = (size_t)square->view->size;
    row_resizer_free(square->resizer);
    free(square->row);
    if (is_refused && error) *error = square->refusal;
    if (is_refused || !is_decoded) memset(out, 0, CHANNELS * side * side * sizeof *out);
    return is_decoded && !is_refused;
}

bool image_preprocess(const Image *image, const ImageView *view, float *out,
                      ImageGeometry *geometry, Error *error) {
    Square square = {.view = view, .geometry = geometry, .out = out};
    ImageSink sink = sink_of(&square);
    put_image(&sink, image);
    return finish(&square, true, out, error);
}

bool image_decode_preprocess(const void *bytes, size_t size, const char *name,
                             const ImageView *view, float *out, ImageGeometry *geometry,
                             Error *error) {
    Square square = {.view = view, .geometry = geometry, .out = out};
    ImageSink sink = sink_of(&square);
    const bool is_decoded = image_decode_into(bytes, size, name, &sink, error);
    const bool done = finish(&square, is_decoded, out, error);
    return done || !is_decoded ? done : error_context(error, "%s", name);
}

bool image_resize_longest_side(const Image *image, int size, Image *resized, Error *error) {
    const int longest = image->width > image->height ? image->width : image->height;
    const double scale = (double)size / longest;
    const int width = (int)(image->width * scale + 0.5),
              height = (int)(image->height * scale + 0.5);
    if (width < 1 || height < 1)
        return error_set(
            error,
            "a picture of %d x %d pixels is too thin: at %d pixels for its longer side "
            "nothing is left of the other",
            image->width, image->height, size);
    *resized = image_resize(image, width, height, RESIZE_BILINEAR);
    return true;
}
