/// The parts of the TIFF decoder (image_tiff*.c). Not for use elsewhere.
#pragma once
#include "data/images/image_codecs.h"

#include <tiffio.h>

enum {
    /// of one block that libtiff allocates: rows, a strip, a tile
    TIFF_MOST_BYTES = 1 << 30,
    TIFF_MOST_SAMPLES = 6,
    TIFF_MESSAGE = 256
};

typedef struct TiffSource {
    const uint8_t *bytes;
    size_t size;
    uint64_t at;
    const char *name;
    Error *error;
    /// libtiff's first
    char message[TIFF_MESSAGE];
    bool is_palette_lost;
} TiffSource;

typedef struct TiffPicture {
    TIFF *tiff;
    uint32_t width, height;
    uint16_t bits, samples, photometric, planar, compression, orientation;
    /// samples behind the colours, and what the first of them is
    uint16_t extras, extra;
    /// of a pixel, without extra samples
    int colours;
    const uint16_t *map[3];
    bool is_16_told;
} TiffPicture;

/// The file in memory as libtiff reads it; NULL with source->message. The caller closes it.
TIFF *tiff_open(TiffSource *source);
/// Says so, with libtiff's first message; returns false.
bool tiff_damaged(const TiffSource *source);
/// Unpacks strips or tiles and makes RGB of them, not yet upright. On failure *image may have
/// pixels.
bool tiff_read_pixels(const TiffSource *source, TiffPicture *picture, Image *image);
