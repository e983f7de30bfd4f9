// Baseline TIFF and what cameras and scanners add: libtiff unpacks, the samples become RGB as in
// Pillow. The orientation tag is applied, as Pillow does for this format alone. The first page is
// read.
#include "data/images/image_tiff.h"

#include <string.h>

// ---- what is read

static bool refuse(const TiffSource *source, const char *what, int value) {
    return error_set(source->error,
                     "%s: a TIFF image with %s %d, which is not read; save it as PNG", source->name,
                     what, value);
}

static bool is_packing_read(uint16_t compression) {
    static const uint16_t read[] = {
        COMPRESSION_NONE,          COMPRESSION_CCITTRLE, COMPRESSION_CCITTFAX3,
        COMPRESSION_CCITTFAX4,     COMPRESSION_LZW,      COMPRESSION_JPEG,
        COMPRESSION_ADOBE_DEFLATE, COMPRESSION_PACKBITS, COMPRESSION_DEFLATE};
    for (size_t i = 0; i < sizeof read / sizeof *read; i++)
        if (compression == read[i]) return true;
    return false;
}

/// Colours of a pixel without extra samples; 0 for what is not read.
static int colours_of(const TiffPicture *picture) {
    switch (picture->photometric) {
    case PHOTOMETRIC_MINISWHITE:
    case PHOTOMETRIC_MINISBLACK:
    case PHOTOMETRIC_PALETTE:
        return 1;
    case PHOTOMETRIC_RGB:
        return 3;
    case PHOTOMETRIC_SEPARATED:
        return 4;
    case PHOTOMETRIC_YCBCR: // libtiff makes RGB of JPEG's, one after the other
        return picture->compression == COMPRESSION_JPEG && picture->planar == PLANARCONFIG_CONTIG
                   ? 3
                   : 0;
    default:
        return 0;
    }
}

/// What Pillow reads of bits and samples.
static bool check_samples(const TiffSource *source, const TiffPicture *picture) {
    const int bits = picture->bits, samples = picture->samples, colours = picture->colours;
    const bool is_small = bits == 1 || bits == 2 || bits == 4,
               is_palette = picture->photometric == PHOTOMETRIC_PALETTE,
               is_white_0 = picture->photometric == PHOTOMETRIC_MINISWHITE;
    const bool big_endian = TIFFIsBigEndian(picture->tiff);
    if (!(bits == 8 || is_small || (bits == 16 && !is_palette && !(is_white_0 && big_endian))))
        return refuse(source, "samples of bits:", bits);
    // Red, green, blue and one more that has no name is taken for alpha.
    const bool is_complete =
        samples == colours + picture->extras || (colours == 3 && samples == 4 && !picture->extras);
    int most = colours == 1 ? (is_white_0 || bits != 8 ? 1 : 2) : TIFF_MOST_SAMPLES;
    if (bits == 16 && colours > 1) most = 4;
    if (is_small && colours > 1) most = 0;
    return (is_complete && samples <= most) || refuse(source, "a pixel of samples:", samples);
}

static bool read_tags(const TiffSource *source, TiffPicture *picture) {
    TIFF *tiff = picture->tiff;
    uint16_t format = SAMPLEFORMAT_UINT, extras = 0, *extra = NULL;
    if (!TIFFGetField(tiff, TIFFTAG_IMAGEWIDTH, &picture->width) ||
        !TIFFGetField(tiff, TIFFTAG_IMAGELENGTH, &picture->height))
        return tiff_damaged(source);
    if (!image_check_size(picture->width, picture->height, source->name, source->error))
        return false;
    TIFFGetField(tiff, TIFFTAG_PHOTOMETRIC, &picture->photometric); // without: white is 0
    TIFFGetFieldDefaulted(tiff, TIFFTAG_BITSPERSAMPLE, &picture->bits);
    TIFFGetFieldDefaulted(tiff, TIFFTAG_SAMPLESPERPIXEL, &picture->samples);
    TIFFGetFieldDefaulted(tiff, TIFFTAG_PLANARCONFIG, &picture->planar);
    TIFFGetFieldDefaulted(tiff, TIFFTAG_COMPRESSION, &picture->compression);
    TIFFGetFieldDefaulted(tiff, TIFFTAG_ORIENTATION, &picture->orientation);
    TIFFGetFieldDefaulted(tiff, TIFFTAG_SAMPLEFORMAT, &format);
    TIFFGetFieldDefaulted(tiff, TIFFTAG_EXTRASAMPLES, &extras, &extra);
    if (source->is_palette_lost)
        return error_set(source->error, "%s: a damaged TIFF image: its palette cannot be read",
                         source->name);
    picture->extras = extras;
    picture->extra = extras ? extra[0] : EXTRASAMPLE_UNSPECIFIED;
    if (!is_packing_read(picture->compression))
        return refuse(source, "the compression", picture->compression);
    picture->colours = colours_of(picture);
    if (!picture->colours)
        return refuse(source, "the photometric interpretation", picture->photometric);
    if (format != SAMPLEFORMAT_UINT) return refuse(source, "samples of format", format);
    return check_samples(source, picture);
}

static bool prepare(const TiffSource *source, TiffPicture *picture) {
    TIFF *tiff = picture->tiff;
    if (picture->photometric == PHOTOMETRIC_YCBCR)
        TIFFSetField(tiff, TIFFTAG_JPEGCOLORMODE, JPEGCOLORMODE_RGB);
    if (picture->photometric != PHOTOMETRIC_PALETTE) return true;
    uint16_t *map[3];
    if (!TIFFGetField(tiff, TIFFTAG_COLORMAP, &map[0], &map[1], &map[2]))
        return error_set(source->error, "%s: a TIFF image with a palette, but without its colours",
                         source->name);
    for (int c = 0; c < 3; c++) picture->map[c] = map[c];
    return true;
}

// ---- orientation

/// Where the pixel at (x, y) of the upright picture is stored.
static size_t stored_at(uint16_t orientation, size_t width, size_t height, size_t x, size_t y) {
    const size_t right = width - 1, bottom = height - 1;
    switch (orientation) {
    case ORIENTATION_TOPRIGHT:
        return y * width + right - x;
    case ORIENTATION_BOTRIGHT:
        return (bottom - y) * width + right - x;
    case ORIENTATION_BOTLEFT:
        return (bottom - y) * width + x;
    case ORIENTATION_LEFTTOP:
        return x * width + y;
    case ORIENTATION_RIGHTTOP:
        return (bottom - x) * width + y;
    case ORIENTATION_RIGHTBOT:
        return (bottom - x) * width + right - y;
    case ORIENTATION_LEFTBOT:
        return x * width + right - y;
    default:
        return y * width + x;
    }
}

static void turn_upright(uint16_t orientation, Image *image) {
    if (orientation < ORIENTATION_TOPRIGHT || orientation > ORIENTATION_LEFTBOT) return;
    const bool is_across = orientation >= ORIENTATION_LEFTTOP;
    const size_t width = (size_t)image->width, height = (size_t)image->height;
    Image upright =
        is_across ? image_new(image->height, image->width) : image_new(image->width, image->height);
    uint8_t *to = upright.pixels;
    for (size_t y = 0; y < (size_t)upright.height; y++)
        for (size_t x = 0; x < (size_t)upright.width; x++, to += 3)
            memcpy(to, image->pixels + 3 * stored_at(orientation, width, height, x, y), 3);
    image_free(image);
    *image = upright;
}

bool tiff_decode(const uint8_t *bytes, size_t size, const char *name, Image *image, Error *error) {
    TiffSource source = {.bytes = bytes, .size = size, .name = name, .error = error};
    TiffPicture picture = {.tiff = tiff_open(&source)};
    bool decoded = false;
    if (!picture.tiff)
        tiff_damaged(&source);
    else
        decoded = read_tags(&source, &picture) && prepare(&source, &picture) &&
                  tiff_read_pixels(&source, &picture, image);
    if (picture.tiff) TIFFClose(picture.tiff);
    if (decoded)
        turn_upright(picture.orientation, image);
    else
        image_free(image);
    return decoded;
}
