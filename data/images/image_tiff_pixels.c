// Strips and tiles are unpacked by libtiff one by one; their samples become RGB as in Pillow.
#include "data/images/image_tiff.h"

#include <stdlib.h>
#include <string.h>

// ---- samples to RGB

static uint8_t small_sample(const TiffPicture *picture, const uint8_t *row, size_t x) {
    const size_t bit = x * picture->bits;
    return (uint8_t)((row[bit / 8] >> (8 - picture->bits - bit % 8)) & ((1 << picture->bits) - 1));
}

/// Sample number `sample` of those that a row has, in the machine's byte order.
static unsigned sample_at(const TiffPicture *picture, const uint8_t *row, size_t sample) {
    uint16_t value;
    if (picture->bits < 8) return small_sample(picture, row, sample);
    if (picture->bits == 8) return row[sample];
    memcpy(&value, row + 2 * sample, sizeof value);
    return value;
}

static uint8_t grey(TiffPicture *picture, unsigned value, const char *name) {
    if (picture->bits == 16) {
        const bool is_told = picture->is_16_told;
        const uint8_t byte = image_grey_16(value, &picture->is_16_told);
        if (picture->is_16_told && !is_told) image_warn_clipped(name);
        return byte;
    }
    const unsigned most = (1u << picture->bits) - 1;
    const uint8_t byte = (uint8_t)(value * 255 / most);
    return picture->photometric == PHOTOMETRIC_MINISWHITE ? (uint8_t)(255 - byte) : byte;
}

/// Colours that were multiplied by alpha are divided again.
static uint8_t divided(unsigned value, unsigned alpha) {
    if (alpha == 0) return 0;
    const unsigned whole = 255 * value / alpha;
    return (uint8_t)(whole < 255 ? whole : 255);
}

/// values: the pixel's samples.
static void put_pixel(TiffPicture *picture, const unsigned *values, const char *name,
                      uint8_t *rgb) {
    unsigned bytes[TIFF_MOST_SAMPLES];
    const unsigned shift = picture->bits == 16 ? 8 : 0;
    if (picture->photometric == PHOTOMETRIC_PALETTE) {
        for (int c = 0; c < 3; c++) rgb[c] = (uint8_t)(picture->map[c][values[0]] >> 8);
        return;
    }
    if (picture->colours == 1) {
        memset(rgb, grey(picture, values[0], name), 3);
        return;
    }
    for (int c = 0; c < picture->samples; c++) bytes[c] = values[c] >> shift;
    if (picture->colours == 4) {
        image_cmyk_to_rgb((int)bytes[0], (int)bytes[1], (int)bytes[2], (int)bytes[3], rgb);
        return;
    }
    const bool is_multiplied = picture->samples > 3 && picture->extra == EXTRASAMPLE_ASSOCALPHA;
    for (int c = 0; c < 3; c++)
        rgb[c] = is_multiplied ? divided(bytes[c], bytes[3]) : (uint8_t)bytes[c];
}

/// rows: of each plane, or of all in one.
static void put_pixels(TiffPicture *picture, const uint8_t *const *rows, size_t count,
                       const char *name, uint8_t *rgb) {
    const bool is_planar = picture->planar == PLANARCONFIG_SEPARATE;
    const size_t samples = picture->samples;
    unsigned values[TIFF_MOST_SAMPLES];
    for (size_t x = 0; x < count; x++, rgb += 3) {
        for (size_t s = 0; s < samples; s++)
            values[s] = is_planar ? sample_at(picture, rows[s], x)
                                  : sample_at(picture, rows[0], x * samples + s);
        put_pixel(picture, values, name, rgb);
    }
}

// ---- strips and tiles

/// A part of the picture that is packed by itself, once for each plane.
typedef struct Blocks {
    bool are_tiles;
    uint32_t width, height;
    /// of one plane
    size_t bytes, row_bytes;
    int planes;
    /// [planes, bytes]
    uint8_t *data;
} Blocks;

static bool find_blocks(const TiffSource *source, const TiffPicture *picture, Blocks *blocks) {
    TIFF *tiff = picture->tiff;
    uint32_t rows = 0;
    blocks->are_tiles = TIFFIsTiled(tiff);
    blocks->planes = picture->planar == PLANARCONFIG_SEPARATE ? picture->samples : 1;
    blocks->width = picture->width;
    if (blocks->are_tiles) {
        TIFFGetField(tiff, TIFFTAG_TILEWIDTH, &blocks->width);
        TIFFGetField(tiff, TIFFTAG_TILELENGTH, &blocks->height);
    } else {
        TIFFGetFieldDefaulted(tiff, TIFFTAG_ROWSPERSTRIP, &rows);
        blocks->height = rows < picture->height ? rows : picture->height;
    }
    const uint64_t bytes = blocks->are_tiles ? TIFFTileSize64(tiff) : TIFFStripSize64(tiff),
                   row = blocks->are_tiles ? TIFFTileRowSize64(tiff) : TIFFScanlineSize64(tiff);
    if (blocks->width == 0 || blocks->height == 0 || bytes == 0 || row == 0)
        return tiff_damaged(source);
    if (bytes > TIFF_MOST_BYTES / (uint64_t)blocks->planes || row * blocks->height > bytes)
        return error_set(source->error,
                         "%s: a TIFF image in blocks of %u x %u pixels, more than the limit of "
                         "%d bytes",
                         source->name, blocks->width, blocks->height, TIFF_MOST_BYTES);
    // A row holds what is taken from it.
    const uint64_t samples = blocks->planes > 1 ? 1 : picture->samples;
    if ((blocks->width * samples * picture->bits + 7) / 8 > row) return tiff_damaged(source);
    blocks->bytes = (size_t)bytes;
    blocks->row_bytes = (size_t)row;
    blocks->data = checked_calloc((size_t)blocks->planes, blocks->bytes);
    return true;
}

static bool read_block(const TiffSource *source, const TiffPicture *picture, const Blocks *blocks,
                       uint32_t x, uint32_t y) {
    TIFF *tiff = picture->tiff;
    for (int plane = 0; plane < blocks->planes; plane++) {
        const uint16_t sample = (uint16_t)plane;
        uint8_t *target = blocks->data + (size_t)plane * blocks->bytes;
        const tmsize_t size = (tmsize_t)blocks->bytes;
        const tmsize_t read =
            blocks->are_tiles
                ? TIFFReadEncodedTile(tiff, TIFFComputeTile(tiff, x, y, 0, sample), target, size)
                : TIFFReadEncodedStrip(tiff, TIFFComputeStrip(tiff, y, sample), target, size);
        const uint32_t left = picture->height - y,
                       rows = blocks->are_tiles || left > blocks->height ? blocks->height : left;
        if (read < (tmsize_t)(rows * blocks->row_bytes)) return tiff_damaged(source);
    }
    return true;
}

static void put_block(TiffPicture *picture, const Blocks *blocks, uint32_t x, uint32_t y,
                      const char *name, Image *image) {
    const uint32_t right = picture->width - x, below = picture->height - y;
    const uint32_t width = right < blocks->width ? right : blocks->width,
                   height = below < blocks->height ? below : blocks->height;
    for (uint32_t row = 0; row < height; row++) {
        const uint8_t *rows[TIFF_MOST_SAMPLES];
        for (int plane = 0; plane < blocks->planes; plane++)
            rows[plane] = blocks->data + (size_t)plane * blocks->bytes + row * blocks->row_bytes;
        put_pixels(picture, rows, width, name,
                   image->pixels + 3 * ((size_t)(y + row) * picture->width + x));
    }
}

bool tiff_read_pixels(const TiffSource *source, TiffPicture *picture, Image *image) {
    Blocks blocks = {0};
    bool done = find_blocks(source, picture, &blocks);
    if (done) *image = image_new((int)picture->width, (int)picture->height);
    for (uint64_t y = 0; done && y < picture->height; y += blocks.height) {
        for (uint64_t x = 0; done && x < picture->width; x += blocks.width) {
            done = read_block(source, picture, &blocks, (uint32_t)x, (uint32_t)y);
            if (done) put_block(picture, &blocks, (uint32_t)x, (uint32_t)y, source->name, image);
        }
    }
    free(blocks.data);
    return done;
}
