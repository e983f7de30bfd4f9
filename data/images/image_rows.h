/// Pictures row by row, as their files give them: what does not need a whole picture does not hold
/// one.
///
/// JPEG and PNG come by rows, of which one is in memory (a progressive JPEG's coefficients are all
/// there, 3 to 6 bytes a pixel), except interlaced PNG. The other formats are decoded whole.
#pragma once
#include "data/images/image.h"

typedef struct ImageSink ImageSink;

/// Who takes a picture: by rows, begin() and then put() for each from the top, or whole, take().
/// What was taken of a file that turns out to be damaged is worth nothing.
struct ImageSink {
    /// Before the first row; sets `row`. Sizes are positive and within image.h's limit.
    void (*begin)(ImageSink *sink, int width, int height);
    /// [width, 3]: where the next row is to be written
    uint8_t *row;
    /// The next row has been written; sets `row` for the one behind it.
    void (*put)(ImageSink *sink);
    /// Takes over the pixels.
    void (*take)(ImageSink *sink, Image *image);
    void *context;
};

/// Reads a file in memory, `name` is for messages, as image_decode() does, with the same errors and
/// warnings. False: the sink may have been given rows, but not the whole picture.
bool image_decode_into(const void *bytes, size_t size, const char *name, ImageSink *sink,
                       Error *error);
